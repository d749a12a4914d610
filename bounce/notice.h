/*
 * notice.h - a delivery status notification as a message (RFC 3464 in RFC
 * 6522, RFC 6533 where UTF-8 needs it)
 */
#ifndef BOUNCE_NOTICE_H
#define BOUNCE_NOTICE_H
#include "bounce/submission.h"
#include "config/params.h"
#include "queue/read.h"

enum notice_kind { NOTICE_FAILED, NOTICE_DELAYED, NOTICE_DELIVERED };

/* What is known of a recipient's last attempt. Views. */
struct notice_recipient {
	const struct queue_recipient *envelope;
	bool relayed;
	int64_t when;		/* microseconds since the epoch */
	struct str status, host, text, diagnostic;
};

struct notice {
	enum notice_kind kind;
	bool copy;		/* for the postmaster */
	const struct params *params;
	struct queue_reader *reader;
	const char *queue_id;
	const struct notice_recipient *recipients;
	size_t count;
};

/* What the submission needs to know: enum submit_flags. */
uint64_t notice_flags(const struct notice *);
/* Writes all of it; to: who gets it. */
void notice_write(const struct notice *, struct str to, struct submission *);
#endif
