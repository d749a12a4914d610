/* internal.h - what the files of lib/config share; nobody else includes it */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H
#include "base/map.h"
#include "config/config.h"
#include "config/params.h"

#define CONFIG_FILE_MAX (4 * 1024 * 1024)	/* octets of a file */
#define CONFIG_LINE_MAX (256 * 1024)		/* of a logical line */
#define CONFIG_ARENA (64 * 1024 * 1024)
#define CONFIG_PROBLEMS 1000			/* more are counted only */

/* "name = value" of main.cf, or of a service's -o. */
struct entry {
	const char *name;
	struct str value;	/* not expanded */
	const char *evaluated;	/* NULL until it is, or when it cannot be */
	unsigned line;
	bool referred;		/* some $name means it */
};

struct config {
	struct arena *arena;
	struct map *entries;	/* name -> struct entry */
	struct entry **order;	/* as written */
	size_t count, room;
	struct map *defaults;	/* name -> evaluated default (char *) */
	const char *directory;
	char *hostname, *domain, *origin, *networks; /* computed defaults */
	struct master_service *services;
	size_t service_count, service_room;
	bool has_main, has_master;
	struct config_problem *problems;
	size_t problem_count, problem_room, error_count;
	bool failed;		/* no memory */
};

/* text and remedy are formats' results; remedy may be NULL. */
void config_problem(struct config *, bool is_error, const char *file,
    unsigned line, const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
char *config_printf(struct config *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* main_cf.c: splits text into entries. */
void config_parse_main(struct config *, struct str text);
/* Splits "name = value" into both, trimmed. 0, or -1 and why. */
int config_split_pair(struct str, struct str *name, struct str *value,
    const char **why);
struct entry *config_entry(const struct config *, struct str name);
/* Adds one that main.cf does not have, as if at `line`. */
struct entry *config_add(struct config *, struct str name, struct str value,
    unsigned line);

/* master_cf.c */
void config_parse_master(struct config *, struct str text);

/* eval.c: values. service may be NULL. NULL with the reason in *why. */
const char *config_evaluate(const struct config *,
    const struct master_service *, struct str name, struct arena *,
    const char **why);
const char *config_evaluate_text(const struct config *,
    const struct master_service *, struct str text, struct arena *,
    const char **why);
/* mynetworks and its like. */
bool config_is_network_list(struct str name);
/* Computes what the defaults of myhostname and so on are on this host. */
void config_compute_defaults(struct config *);
void config_compute_networks(struct config *);

/* known.c: Postfix's names that have no row. */
enum known_kind {
	KNOWN_HARMLESS,		/* nothing is lost without it */
	KNOWN_POLICY,		/* refused: without it a policy is looser */
	KNOWN_MOVED,		/* an obsolete name; see replace */
};
struct known {
	const char *name;	/* or a prefix with * at the end */
	enum known_kind kind;
	const char *off;	/* words: values that ask for nothing */
	const char *remedy;
};
const struct known *known_find(struct str name);
/* <transport>_destination_concurrency_limit and so on. */
bool known_is_transport_parameter(struct str name, struct str *transport_r,
    const char **suffix_r);

/* suggest.c: the known parameter whose name is close, or NULL. */
const char *suggest_parameter(struct str name);
/* words ends with NULL. */
const char *suggest_word(struct str word, const char *const *words);

/* check.c */
void config_check_main(struct config *);
void config_check_services(struct config *);

/* check_access.c */
/* Those of main.cf (NULL), or what a service's -o say otherwise. */
void config_check_access(struct config *, const struct master_service *);
/* Whether smtpd_restriction_classes names it. */
bool config_is_class(const struct config *, const struct master_service *,
    struct str name);
/* The line of main.cf that sets it; 0: none. */
unsigned config_line_of(const struct config *, const char *name);
#endif
