/*
 * targets.h - what an alias, an :include: file or a .forward leads to
 * (aliases(5)): addresses, "|command", /file, :include:/file
 */
#ifndef LOCAL_TARGETS_H
#define LOCAL_TARGETS_H
#include "base/arena.h"

enum target_kind { TARGET_ADDRESS, TARGET_FILE, TARGET_COMMAND,
	TARGET_INCLUDE };

struct target {
	enum target_kind kind;
	/* address: local part without quoting, "@domain" when it had one;
	 * command: without "|"; file: with "/" at its end it is a Maildir;
	 * include: the path */
	struct str text;
	bool is_final;		/* \user: no alias, no .forward any more */
};

struct targets {
	struct target *v;
	size_t n;
};

/*
 * Entries are separated by commas and line ends; quotes protect them, lines
 * that begin with # are comments. At most `limit` entries. Everything lives
 * in the arena. 0, or -1 with why_r: the limit, an entry that is none of
 * these or only the sign of one, no memory.
 */
int targets_parse(struct str value, size_t limit, struct arena *,
    struct targets *, const char **why_r);
#endif
