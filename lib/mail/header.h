/*
 * header.h - RFC 5322 header sections: fields, one by one
 *
 * Works on stored messages as they are: lines end with CRLF or LF. A CR that
 * is not before LF is data. Nothing is copied.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H
#include "base/arena.h"
#include "base/buf.h"

/* What one header section may hold before the rest is not looked at. */
#define MAIL_HEADER_FIELDS_MAX 10000
#define MAIL_HEADER_SIZE_MAX (1024 * 1024)	/* octets */

struct mail_field {
	struct str name;	/* before the colon, without white space */
	struct str body;	/* behind the colon: folds inside, without the
				 * white space before and the last line end */
	struct str raw;		/* all of it, with its line end(s) */
};

/*
 * A walk through a header section. It ends behind the empty line, or before
 * the first line that is no field: white space first, no colon, or an octet
 * outside 33..126 in the name (RFC 5322 2.2). White space before the colon
 * is allowed (RFC 5322 4.5). A first line "From " or ">From " is skipped.
 */
struct mail_fields {
	struct str message;
	size_t at;		/* next octet to look at */
	size_t body_at;		/* once ended: where the body starts */
	unsigned count;
	bool ended;
	bool truncated;		/* a limit above was met */
	bool has_blank;		/* ended with an empty line */
};

void mail_fields_init(struct mail_fields *, struct str message);
/* The next field, or false at the end (`ended`). */
bool mail_fields_next(struct mail_fields *, struct mail_field *field_r);
/*
 * Octets of the header section with its empty line. Does not stop at the
 * limits above: this is the one place that says where the body begins.
 */
size_t mail_header_size(struct str message);
/* The body of the nth (from 0) field of that name; p is NULL: none. */
struct str mail_header_get(struct str message, const char *name, unsigned nth);
unsigned mail_header_count(struct str message, const char *name);

/*
 * Appends a field body unfolded: CRLF or LF before white space is removed,
 * the white space stays (RFC 5322 2.2.3); white space at both ends is cut;
 * any other CR, LF or NUL becomes a space, so that the result is one line.
 */
int mail_unfold(struct str body, struct buf *out);
/* The same, without copying when there is nothing to unfold. */
struct str mail_unfold_arena(struct str body, struct arena *);
/* The first token, without comments and white space before it (fields of
 * one token: Content-Transfer-Encoding). A view; n 0: there is none. */
struct str mail_field_token(struct str body);
/* The first <...> of *rest with its brackets, as it stands (Message-ID,
 * References); p is NULL: none. Moves *rest behind it. */
struct str mail_msgid_next(struct str *rest);
#endif
