/* check.h - what the files of `postern check` share */
#ifndef POSTERN_CHECK_H
#define POSTERN_CHECK_H
#include "config/config.h"
#include "postern/postern.h"

struct check {
	const struct context *ctx;
	const struct config *c;
	size_t errors, warnings;
	bool quiet;	/* errors only */
};

/* A problem of a parameter's value, at the line that set it. */
void check_report(struct check *, bool is_error, const char *param,
    const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Whether the service's line says it with -o. service may be NULL. */
bool check_overrides(const struct master_service *, const char *param);
/* As check_report(), of what the parameter is for that service: at its line of
 * master.cf if that says so, else as above. */
void check_report_service(struct check *, const struct master_service *,
    bool is_error, const char *param, const char *remedy,
    const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* An error in a line of another file: an absolute path, or a name in the
 * configuration directory (master.cf). */
void check_report_file(struct check *, const char *file, unsigned line,
    const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The evaluated value, "" for none. */
const char *check_value(const struct check *, const char *param);

/* What must not run: mistakes of the two files themselves, not of tables and
 * other files that a boot may find late. 0, or -1 when it complained. */
int check_before_start(const struct context *);

/*
 * check_network.c: addresses, ports and next hops, read as the programs that
 * obey them read them.
 */
void check_network(struct check *);
/* The next hop of a route ("smtp:[host]:25") that `program` carries; other
 * programs than smtp and lmtp have none that could be wrong. */
void check_next_hop(struct check *, const char *param, const char *program,
    struct str hop);

/* check_keys.c: the files of certificates and private keys. */
void check_keys(struct check *);
/* check_users_file.c: its mode and its lines. */
void check_users_file(struct check *);
#endif
