/* smtpd.h - what all sessions of the process share; constant after start */
#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H
#include "config/params.h"
#include "net/addr.h"
#include "net/tls.h"
#include "smtpd/access.h"

enum smtpd_protocol {
	SMTPD_SMTP,
	SMTPD_SUBMISSION, /* RFC 6409: AUTH first, missing fields are added */
	SMTPD_LMTP,	  /* RFC 2033 */
};

struct smtpd {
	const struct params *params;
	enum smtpd_protocol protocol;
	const struct access_list *lists[ACCESS_STAGE_COUNT];
	struct access_codes codes;
	struct net_cidr_list mynetworks, bare_newline_exclusions,
	    plaintext_login, event_exceptions;
	struct tls_server *tls; /* NULL: not offered */
	bool tls_required;	/* encrypt: MAIL only under TLS */
	struct str banner;
	bool asks_sender; /* some list or parameter wants to know its class */
	struct limits_client *limits;
};

/*
 * Reads the parameters into *smtpd. 0, or -1 with the reason, which names the
 * parameter: the program must not start then.
 */
int smtpd_configure(struct smtpd *, const struct params *,
    const char *service, struct arena *, struct buf *why);
#endif
