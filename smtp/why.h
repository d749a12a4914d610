/* why.h - why a delivery, or a step of it, did not succeed */
#ifndef SMTP_WHY_H
#define SMTP_WHY_H
#include <stdarg.h>
#include "smtp/reply.h"

#define WHY_TEXT_MAX 2000

struct why {
	struct mail_status status; /* class 4: try later, 5: never */
	char text[WHY_TEXT_MAX + 1]; /* what the log says in parentheses */
	char remote[256];          /* host that said it, or "" */
	char diagnostic[REPLY_TEXT_MAX + 1]; /* its reply, or "" */
	/* not the fault of this message: the whole next hop is of no use now */
	bool nexthop_dead;
	bool file_damaged; /* the queue file's: nobody can deliver it */
};

/* Sets status and text; forgets remote, diagnostic and nexthop_dead. What is
 * not printable in the text becomes '?'. */
void why_set(struct why *, struct mail_status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * "host NAME[ADDRESS] said: REPLY (in reply to COMMAND)". A reply of class 2
 * or 3 where it makes no sense is a protocol error: 5.5.0 becomes 4.5.0, try
 * later.
 */
void why_reply(struct why *, const char *host, const char *name_address,
    const struct reply *, const char *command);
static inline bool why_is_permanent(const struct why *w)
{
	return w->status.class == 5;
}
#endif
