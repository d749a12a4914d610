/*
 * restriction.h - the words of the restriction lists, and what each does
 *
 * A row of the table in restriction.c is a word; its function decides or says
 * DUNNO. access.c runs lists of them.
 */
#ifndef SMTPD_RESTRICTION_H
#define SMTPD_RESTRICTION_H
#include "smtpd/access.h"

/* One evaluation of some lists. */
struct access_run {
	const struct access_request *q;
	enum access_stage stage; /* the list's */
	struct buf *reply;
	/* The refusal of defer_if_permit, or empty. */
	struct buf *if_permit;
	bool defer_if_reject;
};

enum {
	ACCESS_GUARDS = 1,	     /* refuses foreign recipients */
	ACCESS_WARNS = 2,	     /* warn_if_reject */
	ACCESS_ASKS_SENDER = 4, /* looks at the sender's class */
};

struct restriction {
	const char *name;
	enum access_verdict (*run)(struct access_run *);
	unsigned flags;
};

/* NULL: no such word. */
const struct restriction *restriction_find(struct str name);
/* What follows RCPT's lists: smtpd_reject_unlisted_recipient, _sender. */
enum access_verdict restriction_unlisted(struct access_run *);
#endif
