/* transact.h - one mail transaction (RFC 5321 3.3, RFC 2920, RFC 2033) */
#ifndef SMTP_TRANSACT_H
#define SMTP_TRANSACT_H
#include "smtp/job.h"

enum transact_result {
	TRANSACT_DONE,	/* each pending recipient was tried; see session */
	TRANSACT_STALE,	/* a kept connection was dead: nothing was tried */
};

/*
 * Tries all RCPT_PENDING recipients of the job over the session, in as many
 * transactions as the server's limit on recipients asks for. Results go to
 * job_sent() and job_failed(). Afterwards the session is dead, dirty (wants
 * session_reset()) or ready for the next.
 */
enum transact_result transact(struct session *, struct job *);
#endif
