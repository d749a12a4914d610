/* source.h - the text that postmap and postalias read */
#ifndef TABLE_SOURCE_H
#define TABLE_SOURCE_H
#include "base/buf.h"

enum table_source {
	TABLE_SOURCE_MAP,	/* key white-space value */
	TABLE_SOURCE_ALIASES,	/* name: value, aliases(5) */
};

#define TABLE_SOURCE_MAX (256 * 1024 * 1024)	/* octets of a file */

/* An entry; a non-zero result ends the reading. The key has its case. */
typedef int table_entry_fn(struct str key, struct str value, unsigned line,
    void *ctx);
/* A line that is no entry, and why. */
typedef void table_trouble_fn(unsigned line, const char *why, void *ctx);

/*
 * Visits the entries of a text: comments and continuation lines as in
 * main.cf; a key may stand in "". Returns how many lines were no entry, or
 * what the visitor returned when that was not 0 (negative).
 */
int table_source_read(struct str text, enum table_source, table_entry_fn *,
    table_trouble_fn *, void *ctx);
/* The text of an open file. 0, or -1 and errno. */
int table_source_load(int fd, struct buf *text);
#endif
