/*
 * stdio.h - `pickup` hands the descriptors of `sendmail -bs` to `smtpd`
 *
 *   pickup                         smtpd
 *     stdio_session  ------------->          the session begins
 *                    <-------------  stdio_done   it is over
 *
 * One session a conversation. The submitter is who called sendmail, as the
 * kernel knows him: no login is asked for and no restriction applies.
 */
#ifndef MSGS_STDIO_H
#define MSGS_STDIO_H
#include "ipc/msg.h"

struct stdio_session {
	int input;	/* stream socket, pipe or terminal */
	int output;	/* may be the same open file */
	uint64_t uid;	/* of the submitter */
};

struct stdio_done {
	uint64_t messages; /* taken */
};

extern const struct msg_schema stdio_session_schema;
extern const struct msg_schema stdio_done_schema;
#endif
