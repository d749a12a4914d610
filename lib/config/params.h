/*
 * params.h - the parameters as the programs read them
 *
 * params.def is the table. Here it becomes `struct params`, with one member
 * of each row's name: const char * for STR, RAW and ENUM (never NULL), int64_t
 * for INT, SIZE (octets) and TIME (seconds), bool for BOOL.
 */
#ifndef CONFIG_PARAMS_H
#define CONFIG_PARAMS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/str.h"

enum param_kind { PARAM_STR, PARAM_RAW, PARAM_INT, PARAM_SIZE, PARAM_TIME,
	PARAM_BOOL, PARAM_ENUM };

#define PARAM_TYPE_STR const char *
#define PARAM_TYPE_RAW const char *
#define PARAM_TYPE_INT int64_t
#define PARAM_TYPE_SIZE int64_t
#define PARAM_TYPE_TIME int64_t
#define PARAM_TYPE_BOOL bool

struct params {
#define PARAM_GROUP(program, title)
#define PARAM(kind, name, dflt, least, most, help) PARAM_TYPE_##kind name;
#define PARAM_ENUM(name, dflt, words, help) const char *name;
#include "config/params.def"
#undef PARAM_GROUP
#undef PARAM
#undef PARAM_ENUM
	/*
	 * Parameters that have no row because a site makes their names: the
	 * lists of smtpd_restriction_classes and those of single transports.
	 */
	const struct param_extra *extra;
	size_t extra_count;
};

struct param_extra {
	const char *name, *value;
};

/* A row as data. */
struct param {
	const char *name;
	enum param_kind kind;
	size_t offset;		/* into struct params */
	const char *default_text;
	int64_t least, most;
	const char *words;	/* ENUM: "a|b|c", else NULL */
	const char *help;
};

/* All rows in the order of the table; ends with a NULL name. */
extern const struct param params_table[];
extern const size_t params_count;
/* NULL when there is no such row. Names have case. */
const struct param *param_find(struct str name);
/* The group (a program's name) that a row of the table stands in, and its
 * title through title_r if that is not NULL. */
const char *param_group(const struct param *, const char **title_r);

/*
 * Parses text (expanded already) as the row asks, and stores it in *params.
 * Strings are copied into the arena. -1 and *why (static or in the arena)
 * when it is no value of that kind or out of range.
 */
int param_set(const struct param *, struct params *, struct str text,
    struct arena *, const char **why);

/*
 * Fills *params in a child: pairs are "name=value" as
 * config_service_values() gave them, everything else gets its default
 * (expanded with the values given). Strings live as long as the arena.
 * With n 0 it is all defaults, which is what unit tests want. 0, or -1 and
 * *why for a pair that is malformed or out of range.
 */
int params_load(struct params *, const struct str *pairs, size_t n,
    struct arena *, const char **why);

/* A parameter without a row, or NULL. */
const char *params_extra(const struct params *, const char *name);
/*
 * <transport><suffix>, as in ("slow", "_destination_concurrency_limit"): the
 * site's value for that transport if there is one, in least..most, else
 * fallback.
 */
int64_t params_transport_int(const struct params *, struct str transport,
    const char *suffix, int64_t least, int64_t most, int64_t fallback);

/*
 * Takes the next word of a list value (separated by commas and white space;
 * what is in {} is one word, without the braces if it is all of it and
 * keep_braces is false). False at the end.
 */
bool param_word(struct str *rest, bool keep_braces, struct str *word);
#endif
