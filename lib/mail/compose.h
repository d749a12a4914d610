/* compose.h - fields that we write: Received:, Message-ID:, Date: */
#ifndef MAIL_COMPOSE_H
#define MAIL_COMPOSE_H
#include "base/buf.h"

enum mail_protocol { MAIL_PROTOCOL_SMTP, MAIL_PROTOCOL_LMTP,
	MAIL_PROTOCOL_LOCAL };

/* Everything a Received: field says (RFC 5321 4.4). Views; empty: left out. */
struct mail_received {
	struct str helo;	/* what the client said, as said */
	struct str client_name;	/* verified host name, or "unknown" */
	struct str client_address;	/* "192.0.2.1" or "2001:db8::1" */
	struct str tls;		/* "(using TLSv1.3 with cipher ...)" inside */
	struct str login;	/* authenticated name, if it is to be shown */
	struct str by;		/* our name */
	struct str by_comment;	/* "(Postern)" inside */
	enum mail_protocol protocol;
	bool esmtp, with_tls, with_auth, with_utf8;	/* RFC 3848, 6531 */
	struct str id;		/* queue id */
	struct str rcpt_local, rcpt_domain;	/* "for", when there is one */
	unsigned uid;		/* MAIL_PROTOCOL_LOCAL: "by ..., from userid";
				 * UINT32_MAX: made by the suite itself */
	int64_t time;		/* seconds, UTC */
	int zone;		/* minutes east of UTC */
};

/* ESMTPSA, LMTPS, UTF8SMTPSA, ... (RFC 3848, RFC 6531 4.3). */
const char *mail_received_with(const struct mail_received *);
/*
 * Appends the field, folded, each line ended by `eol` ("\r\n" or "\n").
 * Octets that could leave a comment or a line are replaced by "?". -1: out's
 * limit.
 */
int mail_received_append(struct buf *, const struct mail_received *,
    const char *eol);
/* Appends <unique@domain> made of time, id (or random when empty). */
int mail_msgid_append(struct buf *, int64_t time, struct str id,
    struct str domain);
/*
 * Appends s with every control octet, and 8-bit ones when !utf8, replaced by
 * "?": for text of strangers in fields and comments that we write.
 */
int mail_text_append(struct buf *, struct str s, bool utf8);
#endif
