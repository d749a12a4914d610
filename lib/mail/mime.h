/*
 * mime.h - the structure of a message (RFC 2045, RFC 2046)
 *
 * One pass over the message's octets (memory or mmap) gives a flat array of
 * parts in the order of the text: a part's parent has a smaller index, so no
 * cycle can exist. Iterative; each octet is looked at once, those of lines
 * that start with "--" once more for each open boundary.
 *
 * A multipart without a usable boundary is text/plain; one (or a message)
 * nested deeper than MIME_DEPTH_MAX is application/octet-stream.
 *
 * Messages are stored with LF or CRLF line ends. Offsets and `_n` count
 * octets as stored; `_size` counts as the protocols do, every line end being
 * CRLF (an LF without CR before it counts two).
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H
#include "base/arena.h"
#include "mail/encoded.h"
#include "mail/transfer.h"

#define MIME_DEPTH_MAX 100
#define MIME_PARTS_MAX 10000
/* Octets of headers of all parts that are parsed; the parts of a message
 * with more have the default type from there on. */
#define MIME_HEADERS_MAX (1024 * 1024)
#define MIME_NO_PART UINT32_MAX

struct mime_part {
	uint32_t parent;	/* MIME_NO_PART: the message itself */
	uint32_t first_child;	/* MIME_NO_PART: none */
	uint32_t next;		/* sibling; MIME_NO_PART: last */
	uint32_t children;
	uint16_t depth;		/* root 0 */
	bool multipart;		/* children are body parts */
	bool message;		/* message/rfc822 or message/global; its one
				 * child is the message inside */
	bool text;
	enum mail_encoding transfer;

	size_t header_at, header_n;	/* with the empty line */
	size_t body_at, body_n;
	uint64_t header_size, body_size;
	uint32_t header_lines, body_lines;	/* line ends in each */

	/* As written in the message; never empty: the default is text/plain,
	 * message/rfc822 in multipart/digest (RFC 2046 5.1.5). */
	struct str type, subtype;
	struct mail_mime_params params;
	/* p is NULL: no such field. Unfolded, comments out where the field
	 * is structured. */
	struct str id, description, encoding, md5, location, language;
	struct str disposition;
	struct mail_mime_params disposition_params;
};

struct mime {
	struct str message;
	struct mime_part *parts;	/* parts[0] is the message */
	uint32_t count;
	bool truncated;			/* a limit above was met */
};

/*
 * Parses message, which must stay as it is while *mime_r is used; the rest
 * lives in the arena. Never fails for the contents. -1: the arena is full.
 */
int mime_parse(struct str message, struct arena *, struct mime *mime_r);

/* Octets of the whole message with CRLF line ends (RFC822.SIZE). */
uint64_t mime_size(const struct mime *);
/*
 * The part that an IMAP section number names: "1.2" is {1, 2} (RFC 3501
 * 6.4.5). NULL: there is none. count 0 is the message.
 */
const struct mime_part *mime_find(const struct mime *, const uint32_t *numbers,
    unsigned count);
/* Views of the message. */
struct str mime_header(const struct mime *, const struct mime_part *);
struct str mime_body(const struct mime *, const struct mime_part *);
bool mime_is(const struct mime_part *, const char *type, const char *subtype);
/*
 * Line ends in s and how many octets CRLF form would add: for callers that
 * need sizes without structure.
 */
void mime_count_lines(struct str s, uint64_t *lines_r, uint64_t *added_r);
#endif
