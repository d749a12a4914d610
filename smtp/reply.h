/* reply.h - what a server answers (RFC 5321 4.2), strictly bounded */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H
#include "mail/status.h"
#include "net/stream.h"

#define REPLY_LINE_MAX 2048	/* octets of a line that are looked at */
#define REPLY_LINES_MAX 1000	/* lines of one reply */
#define REPLY_SIZE_MAX 65536	/* octets of one reply */
#define REPLY_TEXT_MAX 1500	/* octets kept for log and bounce */

enum reply_result {
	REPLY_OK,	/* a whole reply; its code may say no */
	REPLY_EOF,	/* the connection was closed or failed */
	REPLY_TIMEOUT,
	REPLY_FLOOD,	/* over a limit above: close */
	REPLY_GARBAGE,	/* not a reply: close */
};

struct reply {
	unsigned code;	/* 200 to 599 */
	/* From the text, or the nearest meaning of the code. */
	struct mail_status status;
	/*
	 * "250 2.1.0 Ok", all lines in one line of printable octets (others
	 * are '?'); from the second line on without the code. NUL behind.
	 */
	char text[REPLY_TEXT_MAX + 1];
	size_t n;
};

/* Called for each line's text behind the code (EHLO's keywords); the first
 * line is number 0. */
typedef void reply_line_fn(void *ctx, unsigned number, struct str text);

/* Reads one reply. fn may be NULL. *octets_r counts what was read, also when
 * it was no reply; may be NULL. */
enum reply_result reply_read(struct stream *, struct reply *, reply_line_fn *,
    void *ctx, size_t *octets_r);
/* Reads one out of a text that was received already. REPLY_EOF: not whole. */
enum reply_result reply_parse(struct str text, struct reply *);

static inline unsigned reply_class(const struct reply *r)
{
	return r->code / 100;
}

/* The octets of s that may stand in a log line and in a notification, others
 * as '?', into out[size] with a NUL. UTF-8 stays when all of it is valid. */
size_t reply_clean(struct str s, char *out, size_t size);
#endif
