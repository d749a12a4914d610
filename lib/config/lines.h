/*
 * lines.h - logical lines, as main.cf, master.cf and table sources have them
 *
 * A line that begins with white space continues the one before. Empty lines
 * and lines whose first visible octet is # are comments, also between a line
 * and its continuation.
 */
#ifndef CONFIG_LINES_H
#define CONFIG_LINES_H
#include "base/buf.h"
#include "base/str.h"

struct lines {
	struct str rest;
	unsigned next;		/* number of the line that rest begins with */
	struct buf text;	/* of the logical line */
};

/* text stays the caller's. No logical line is longer than limit octets. */
void lines_init(struct lines *, struct str text, size_t limit);
void lines_fini(struct lines *);
/*
 * The next logical line without its line ends, valid until the next call,
 * and the number of its first line. 1, 0 at the end, -1 when it is longer
 * than the limit (the rest is skipped).
 */
int lines_next(struct lines *, struct str *line_r, unsigned *number_r);
#endif
