/*
 * search_text.h - what SEARCH looks through: decoded, converted to UTF-8,
 * case-folded text of a message (RFC 3501 6.4.4)
 */
#ifndef MAIL_SEARCH_TEXT_H
#define MAIL_SEARCH_TEXT_H
#include "mail/mime.h"
#include "mail/charset.h"

#define SEARCH_KEY_MAX 65536	/* octets of a folded key */

/* A key: folded UTF-8, ready to be matched. */
struct search_key;

/*
 * Makes a key from a command's octets in that charset (NULL: UTF-8). NULL:
 * too long, or no memory. An empty key matches everything.
 */
struct search_key *search_key_new(struct str octets,
    const struct mail_charset *);
void search_key_free(struct search_key **);
/* The key's text is in s (UTF-8; folded here). */
bool search_key_in(const struct search_key *, struct str utf8);
/*
 * In any field of that name (decoded); with an empty key: the field exists.
 * name as the client gave it. 1, 0, or -1 without memory.
 */
int search_text_header(const struct search_key *, struct str message,
    struct str name);
/* In From, To, Cc, Bcc: also in "local@domain" without quoting. */
int search_text_addresses(const struct search_key *, struct str message,
    struct str name);
/*
 * BODY: the parts of type text and (but for nested messages, whose parts are
 * meant) message, and the headers of nested messages; TEXT (`with_header`):
 * the headers of the message and of its parts too. Parts are decoded in
 * pieces, so memory does not depend on the message. 1, 0, -1.
 */
int search_text_message(const struct search_key *, const struct mime *,
    bool with_header);
#endif
