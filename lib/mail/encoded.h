/*
 * encoded.h - what headers encode: words (RFC 2047), parameters (RFC 2231),
 * and mailbox names in modified UTF-7 (RFC 3501 5.1.3)
 */
#ifndef MAIL_ENCODED_H
#define MAIL_ENCODED_H
#include "base/arena.h"
#include "base/buf.h"

/*
 * Appends an unfolded field body as UTF-8 with its encoded words decoded.
 * White space between two encoded words is dropped (RFC 2047 6.2); a word
 * in an unknown set, or broken, stays as it is; raw 8-bit octets that are no
 * UTF-8 become U+FFFD; CR, LF and NUL that come out of a word become
 * spaces. -1: out's limit.
 */
int mail_words_decode(struct str, struct buf *out);
/* Appends utf8 as it is when it is printable US-ASCII without "=?", else as
 * encoded words of at most 75 octets, folded with CRLF SP. */
int mail_words_encode(struct str utf8, struct buf *out);

/* Parameters of one field; those beyond are ignored. */
#define MAIL_MIME_PARAMS_MAX 200
/* Continuations of one parameter (name*0 ... name*99). */
#define MAIL_MIME_SECTIONS_MAX 100

struct mail_mime_param {
	struct str name;	/* as written, "name*0*" and all */
	struct str value;	/* without quoting and folds, not decoded */
};

struct mail_mime_params {
	struct mail_mime_param *items;
	unsigned count;
};

/*
 * Content-Type, Content-Disposition and their like: value [ "/" subtype ]
 * *( ";" name "=" value ). `subtype_r` NULL: there is no "/". What cannot be
 * read up to the next ";" is left out. *value_r has n 0 when nothing is
 * there. In the arena. -1: the arena is full.
 */
int mail_mime_value_parse(struct str body, struct arena *,
    struct str *value_r, struct str *subtype_r, struct mail_mime_params *);
/*
 * The parameter's value in UTF-8: name*0, name*1* ... joined, %XX and
 * charset decoded (RFC 2231 3 to 5); without these name=, whose encoded
 * words (common, though RFC 2047 5 forbids them) are decoded when `words`.
 * p is NULL: there is none, or the arena is full.
 */
struct str mail_mime_param_get(const struct mail_mime_params *,
    const char *name, bool words, struct arena *);
/* name= or the raw join of name*0 name*1 ... without any decoding: what a
 * boundary is. p is NULL: none. */
struct str mail_mime_param_raw(const struct mail_mime_params *,
    const char *name, struct arena *);
/*
 * The parameters with the continuations of each joined to one (RFC 2231 6):
 * name=, or name*= with the text percent-encoded when a part of it is. In
 * the arena. -1: the arena is full.
 */
int mail_mime_params_join(const struct mail_mime_params *, struct arena *,
    struct mail_mime_params *joined_r);

/*
 * Modified UTF-7 to UTF-8, strictly: -1 for 8-bit octets, bad or not
 * canonical encodings (encoded US-ASCII, superfluous shifts, odd bits,
 * lone surrogates) and control characters; out is as before.
 */
int mail_utf7_decode(struct str, struct buf *out);
/* The other way. -1: not valid UTF-8, or out's limit. */
int mail_utf7_encode(struct str utf8, struct buf *out);
#endif
