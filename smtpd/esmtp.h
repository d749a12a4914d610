/* esmtp.h - what the parameters of MAIL and RCPT say */
#ifndef SMTPD_ESMTP_H
#define SMTPD_ESMTP_H
#include "mail/path.h"

enum esmtp_body { ESMTP_BODY_NONE, ESMTP_7BIT, ESMTP_8BITMIME };

/* What MAIL may carry. envid lives in the arena given. */
struct esmtp_mail {
	bool has_size;
	uint64_t size; /* octets, RFC 1870; UINT64_MAX: beyond counting */
	enum esmtp_body body;
	bool smtputf8;
	unsigned ret;	  /* 0 none, 1 FULL, 2 HDRS */
	struct str envid; /* decoded; RFC 3461 4.4 */
};

/* What RCPT may carry. */
struct esmtp_rcpt {
	unsigned notify;  /* enum submit_notify bits; 0: not given */
	struct str orcpt; /* "rfc822;user@host", decoded; or empty */
};

/* Both: 0, or -1 with the reply (constant text). */
int esmtp_mail(const struct mail_params *, struct arena *,
    struct esmtp_mail *mail_r, struct mail_refusal *why_r);
int esmtp_rcpt(const struct mail_params *, bool smtputf8, struct arena *,
    struct esmtp_rcpt *rcpt_r, struct mail_refusal *why_r);

/*
 * Does SMTPUTF8 stand among the parameters in text? The path before them can
 * only be parsed when that is known (RFC 6531 3.4).
 */
bool esmtp_wants_utf8(struct str text);
#endif
