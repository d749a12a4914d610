/*
 * config.h - main.cf and master.cf, read, checked and evaluated
 *
 * Only master, the operator's command and programs of the command line read
 * these files; children get "name=value" pairs (params.h).
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H
#include "base/arena.h"
#include "base/buf.h"
#include "config/master_cf.h"

struct config;

/*
 * What is wrong, and what to do. A warning is for the operator to read; an
 * error means that these files must not be used to start or reload.
 */
struct config_problem {
	bool is_error;
	const char *file;	/* "main.cf", "master.cf", or a path */
	unsigned line;		/* 0: none in particular */
	const char *text;	/* what is wrong */
	const char *remedy;	/* NULL: evident */
};

enum {
	CONFIG_NO_MASTER = 1,	/* master.cf is not wanted (postmap) */
	CONFIG_NO_TRUST = 2,	/* the files' owner and mode do not matter */
};

/*
 * Reads main.cf and master.cf in the directory dirfd, whose path (for
 * $config_directory and messages) is `directory`. Problems are collected,
 * not fatal: ask config_problems(). NULL only without memory. The result is
 * constant: threads may share it.
 */
struct config *config_read(int dirfd, const char *directory, unsigned flags);
/* The same with more lines behind those of main.cf (postconf -o). */
struct config *config_read_with(int dirfd, const char *directory,
    unsigned flags, struct str more);
void config_free(struct config **);

/* Whether main.cf could be read: else every value is a default. */
bool config_has_main(const struct config *);
/* All problems, errors first, in the order of file and line. */
const struct config_problem *config_problems(const struct config *,
    size_t *count_r);
/* How many of them are errors. */
size_t config_error_count(const struct config *);

/*
 * The evaluated text of a parameter of main.cf, or its evaluated default, in
 * the config's memory; NULL when there is no such name. In order of calls,
 * not of threads: one thread evaluates.
 */
const char *config_value(const struct config *, const char *name);
/* The text as main.cf has it, in one line, or NULL when it has none. */
const char *config_raw(const struct config *, const char *name);
/* The text of a default before it is evaluated (for the host's names: what
 * they are here), or NULL when there is no such row. */
const char *config_default(const struct config *, const char *name);
/* The nth name that main.cf sets, NULL behind the last. */
const char *config_nth_name(const struct config *, size_t n);
/* Whether a program reads it, main.cf refers to it as $name, or Postfix knows
 * it (a warning or an error says then what is lost). */
bool config_is_known(const struct config *, const char *name);
/* Where it was set ("main.cf", line); NULL and 0 for a default. */
const char *config_where(const struct config *, const char *name,
    unsigned *line_r);

/* The lines of master.cf, in order. */
const struct master_service *config_services(const struct config *,
    size_t *count_r);
/* NULL when there is none. */
const struct master_service *config_service(const struct config *,
    const char *name, enum master_type);

/*
 * The pairs "name=value" that a child of this service needs (main.cf with
 * the service's -o over it): all whose evaluated value is not the default's
 * text. service NULL: main.cf alone. In the arena. 0, or -1 without memory.
 */
int config_service_values(const struct config *,
    const struct master_service *, struct arena *, struct str **pairs_r,
    size_t *count_r);

/* Whether lookup has tables of that type. */
bool config_is_table_type(struct str type);

/* Writes a problem as one line: "file:line: error: text (remedy)", with its
 * octets as the log shows them. */
void config_problem_print(const struct config_problem *, const char *directory,
    struct buf *);
#endif
