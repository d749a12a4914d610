/*
 * auth.h - questions to `auth`: who a user is, and where his mail lives
 *
 * Each is one request and one reply; a conversation may hold many.
 */
#ifndef MSGS_AUTH_H
#define MSGS_AUTH_H
#include "ipc/msg.h"

enum auth_status {
	AUTH_OK = 1,
	AUTH_NO,       /* unknown user or wrong password: nobody learns which */
	AUTH_TEMPFAIL, /* the user database cannot be read */
};

/* smtpd, login: a name and a password. The reply comes after the delay that
 * earlier failures cost. */
struct verify_request {
	struct str user;
	struct str password;
	struct str service;     /* "smtp", "imap", "pop3" */
	struct str client_addr;
	bool tls;
	bool want_session;      /* imap, pop3: also the way to the session */
	bool again;             /* the session given before refused or is gone:
				   order another process */
};

struct verify_reply {
	uint64_t status;
	struct str user;  /* canonical: user@domain, lower case */
	int session;      /* client's end of the edge to the user's process */
	struct str text;  /* for the log */
};

/* lookup: is there such a user? */
struct user_request {
	struct str address; /* user@domain, or a system user's name */
};

struct user_reply {
	uint64_t status; /* AUTH_OK, AUTH_NO, AUTH_TEMPFAIL */
};

/* local: where a delivery goes. */
struct mailbox_request {
	struct str address;
	bool command;     /* not `deliver` but `deliver_command` is wanted */
};

struct mailbox_reply {
	uint64_t status;
	struct str user;  /* canonical */
	uint64_t uid, gid;
	bool is_virtual;  /* dir is below the mail root, else a home directory */
	struct str dir;
	int deliver;      /* client's end of the edge to that uid's `deliver` */
};

extern const struct msg_schema verify_request_schema;
extern const struct msg_schema verify_reply_schema;
extern const struct msg_schema user_request_schema;
extern const struct msg_schema user_reply_schema;
extern const struct msg_schema mailbox_request_schema;
extern const struct msg_schema mailbox_reply_schema;
#endif
