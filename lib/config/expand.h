/* expand.h - $name and its relatives in the values of main.cf */
#ifndef CONFIG_EXPAND_H
#define CONFIG_EXPAND_H
#include "base/buf.h"
#include "base/str.h"

#define EXPAND_DEPTH 100	/* values inside values */
#define EXPAND_STEPS 20000	/* names looked up in one evaluation */
#define EXPAND_SIZE (256 * 1024)	/* octets of the result */

/*
 * The unexpanded value of a name. False when the name is not defined; it
 * counts as empty then.
 */
typedef bool expand_lookup_fn(struct str name, struct str *value_r, void *ctx);

/*
 * Appends text to out with $name, ${name}, $(name), ${name?text},
 * ${name:text}, ${name?{text}:{text}}, ${{text} op {text} ? {text} : {text}}
 * and $$ replaced, and so on in the values of names. out's limit bounds the
 * result. 0, or -1 and *why (a constant).
 */
int expand_text(struct str text, expand_lookup_fn *, void *ctx,
    struct buf *out, const char **why);
#endif
