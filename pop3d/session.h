/*
 * session.h - a POP3 session in its TRANSACTION state (RFC 1939 5)
 *
 * The maildrop is INBOX as it was when the session began: messages have
 * the numbers 1..count until it ends, whatever comes or goes meanwhile.
 * DELE only marks; QUIT alone removes (RFC 1939 6).
 */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H
#include "base/buf.h"
#include "net/stream.h"
#include "store/mailbox.h"
#include "store/store.h"

#define POP3_LINE_MAX 255	/* RFC 2449 4: a command with its CR LF */
#define POP3_ERRORS_MAX 20	/* -ERR in a row, then the session ends */

struct pop3d_server {
	const char *user;
	struct store *store;
	int64_t idle_timeout;	/* microseconds */
};

enum session_state {
	SESSION_TRANSACTION,
	SESSION_UPDATE,		/* QUIT was said */
	SESSION_ENDED,
	SESSION_STATE_COUNT
};

struct session {
	const struct pop3d_server *server;
	enum session_state state;
	const char *ended_why;
	struct stream *stream;
	struct mailbox *mailbox;
	int lock;		/* of the maildrop, or -1 */
	uint32_t count;		/* messages */
	uint64_t *sizes;	/* on the wire, [count]; NULL: not known yet */
	uint64_t total;		/* of all sizes */
	unsigned char *deleted;	/* a bit a message */
	uint32_t deleted_count;
	uint64_t deleted_size;
	unsigned errors;	/* in a row */
	/* for the log */
	char id[65];		/* login's name for the session; main's to set */
	uint32_t retr, top;
	uint64_t retr_octets, top_octets;
};

/*
 * Takes the connection, and the octets that were read from it already, locks
 * and opens the maildrop. NULL: no memory, and the connection is closed. A
 * maildrop that cannot be had is told to the client by session_run().
 */
struct session *session_new(const struct pop3d_server *, int connection,
    struct str input);
/* Greets, serves, ends; frees the session. */
void session_run(struct session *);
int session_fd(const struct session *);

/* --- for the commands --- */

/* "+OK text" and "-ERR text"; one line each. */
void session_ok(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void session_err(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A line of a multi-line answer, and its end. Lines never begin with '.'. */
void session_line(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void session_dot(struct session *);
void session_enter(struct session *, enum session_state, const char *why);
/* The message that the argument names, or 0 after -ERR. */
uint32_t session_message(struct session *, struct str arg);
bool session_is_deleted(const struct session *, uint32_t number);
/* Sizes of all messages are known; -1 after -ERR. */
int session_need_sizes(struct session *);
/* RETR and TOP: headers and `lines` of the body, or all. Octets of the
 * message that were sent. */
uint64_t session_send_message(struct session *, uint32_t number, uint64_t lines,
    bool all);
#endif
