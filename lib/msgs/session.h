/*
 * session.h - `login` hands an authenticated connection to the user's process
 *
 * login opens a fresh conversation over the edge that auth gave it, sends
 * session_start and waits for session_reply. `connection` is the client's
 * socket, or, under TLS, one end of a stream socket pair that login relays.
 */
#ifndef MSGS_SESSION_H
#define MSGS_SESSION_H
#include "ipc/msg.h"

struct session_start {
	int connection;
	struct str user;
	struct str client_addr;
	struct str local_addr;
	bool tls;
	struct str tag;   /* IMAP: of the command that logged in, whose OK the
			     session sends; POP3: "" and it sends +OK */
	struct str input; /* read from the client already, not yet used */
	struct str session_id; /* for the log */
};

struct session_reply {
	bool accepted; /* false: the process is ending, ask auth again */
	struct str text;
};

extern const struct msg_schema session_start_schema;
extern const struct msg_schema session_reply_schema;
#endif
