/* handover.h - from a name and a password to the user's process */
#ifndef LOGIN_HANDOVER_H
#define LOGIN_HANDOVER_H
#include "login/client.h"

enum handover_result {
	HANDOVER_DONE,		/* the connection is the session's */
	HANDOVER_NO,		/* unknown user or wrong password */
	HANDOVER_TEMPFAIL	/* not now */
};

/* tag: of the IMAP command, whose OK the session sends; "" for POP3, where
 * it sends +OK. What the client sent behind the command goes along. */
enum handover_result handover(struct client *, struct str user,
    struct str password, struct str tag);
#endif
