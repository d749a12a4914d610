/*
 * table.h - lookup tables: "type:name", or a list of them
 *
 * Only lookup and the operator's commands open tables. A wrong "not found"
 * lets in what a table was meant to refuse, so there are three answers, and
 * everything that cannot be read is the third.
 *
 *   hash:file btree:file   Berkeley DB, file.db
 *   texthash:file          the source itself, kept in memory
 *   inline:{ k=v, ... }    what stands in the configuration
 *   static:value           the same for every key
 *   fail:reason            never an answer
 *   cidr:file              addresses in networks
 *   regexp:file pcre:file  patterns
 *   unix:passwd.byname     the system's users; the caller asks auth
 *
 * "proxy:" in front changes nothing. Without a type it is hash:.
 */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H
#include <sys/types.h>
#include "base/buf.h"

#define TABLE_KEY_MAX 2000		/* longest key, in octets */
#define TABLE_VALUE_MAX (256 * 1024)	/* longest value */

enum table_answer { TABLE_ERROR = -1, TABLE_NOT_FOUND = 0, TABLE_FOUND = 1 };

struct table;
struct table_list;

/*
 * Once, before any table is named: a program that may not search the
 * directories above `directory` has it as its current one, and files below
 * it are opened from there. directory is kept.
 */
void table_set_directory(const char *directory);
/* What to open for a file's whole path. */
const char *table_path(const char *path);

/*
 * Names a table. Files are opened at the first question, and again when
 * they changed (asked at most once a second). NULL and *why when there is no
 * such type or the name is malformed; *why is a constant.
 */
struct table *table_new(struct str spec, const char **why);
void table_free(struct table **);
/* The nth type's name, NULL behind the last. */
const char *table_nth_type(size_t n);
/* "hash:/etc/aliases" */
const char *table_name(const struct table *);
/* Whether it is the system's users: table_find() gives TABLE_ERROR then. */
bool table_is_users(const struct table *);
/* Patterns and networks: one question with the whole address answers. */
bool table_is_pattern(const struct table *);
/* static: and fail:, which know no keys. */
bool table_is_constant(const struct table *);
/* Whether the file, as it was opened last, is root's or ours and nobody else
 * may write to it. False without a file. */
bool table_is_trusted(struct table *);

/*
 * The value of a key into *value (emptied before). ASCII letters of the key
 * are folded to lower case. With TABLE_ERROR *value holds the reason.
 * Threads may share a table.
 */
enum table_answer table_find(struct table *, struct str key,
    struct buf *value);
/* Whether the table can be opened now; -1 and the reason in *why. */
int table_check(struct table *, struct buf *why);

/* All entries of a table in its order: 0, or -1 and the reason in *why.
 * A visitor that returns non-zero ends it. */
typedef int table_visit_fn(struct str key, struct str value, void *ctx);
int table_each(struct table *, table_visit_fn *, void *ctx, struct buf *why);

/*
 * A list of tables, as in alias_maps. Empty text is an empty list. NULL and
 * the reason in *why.
 */
struct table_list *table_list_new(struct str text, struct buf *why);
void table_list_free(struct table_list **);
size_t table_list_count(const struct table_list *);
struct table *table_list_at(const struct table_list *, size_t);
/* The first table that knows the key; an error before that ends it. */
enum table_answer table_list_find(struct table_list *, struct str key,
    struct buf *value);
#endif
