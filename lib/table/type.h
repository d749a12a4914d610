/* type.h - what a type of table is to table.c; nobody else includes it */
#ifndef TABLE_TYPE_H
#define TABLE_TYPE_H
#include <pthread.h>
#include <sys/stat.h>
#include "table/table.h"

enum { TABLE_FILE = 1, TABLE_PATTERN = 2, TABLE_CONSTANT = 4, TABLE_USERS = 8,
	TABLE_KEEPS_CASE = 16 };

/*
 * A type's functions run under the table's lock. open makes `state` of what
 * the name says (a file is read whole, or opened) and fills *opened with
 * what it is when TABLE_FILE. find gets a key in lower case.
 */
struct table_type {
	const char *name;
	unsigned flags;
	const char *suffix;	/* of the file, behind the name */
	int (*open)(struct table *, struct buf *why);
	void (*close)(struct table *);
	enum table_answer (*find)(struct table *, struct str key,
	    struct buf *value);
	int (*each)(struct table *, table_visit_fn *, void *ctx,
	    struct buf *why);	/* NULL: has no entries to list */
};

struct table {
	const struct table_type *type;
	char *spec;		/* type:name, without proxy: */
	const char *name;	/* into spec */
	char *path;		/* TABLE_FILE: name and suffix */
	pthread_mutex_t lock;
	void *state;		/* NULL: not open */
	struct stat opened;
	int64_t next_check;	/* clock_now() when the file is looked at */
};

extern const struct table_type table_type_hash, table_type_btree,
    table_type_texthash, table_type_inline, table_type_static,
    table_type_fail, table_type_users, table_type_cidr, table_type_regexp,
    table_type_pcre;

/* Opens the table's path for a type that reads it whole: the text of a
 * regular file, and *opened. */
int table_read_text(struct table *, struct buf *text, struct buf *why);
#endif
