/* master_cf.h - the services of master.cf */
#ifndef CONFIG_MASTER_CF_H
#define CONFIG_MASTER_CF_H
#include <stdbool.h>
#include <stddef.h>

enum master_type { MASTER_INET, MASTER_UNIX, MASTER_FIFO, MASTER_PASS,
	MASTER_UNIX_DGRAM };

#define MASTER_LIMIT_DEFAULT (-1)	/* "-": default_process_limit */

struct master_override {
	const char *name, *value;	/* the value is not expanded */
};

/* One line with its continuation lines. All strings are never NULL but
 * `host`, and live as long as the config. */
struct master_service {
	const char *name;	/* as written: "smtp", "[::1]:25" */
	enum master_type type;
	bool is_private, is_unpriv, is_chroot;
	long wakeup;		/* seconds; 0: never */
	bool wakeup_if_used;	/* "1000?" */
	long limit;		/* most sessions; 0: none, or the default */
	const char *command;	/* "smtpd" */
	/* Arguments after the command, without -o and what belongs to it. */
	const char *const *args;
	size_t arg_count;
	const struct master_override *overrides;
	size_t override_count;
	int verbose;		/* how many -v */
	/* MASTER_INET: host without brackets, NULL for all of
	 * inet_interfaces; port in host order. */
	const char *host;
	unsigned port;
	unsigned line;
};

/* "inet", "unix", ... */
const char *master_type_name(enum master_type);
#endif
