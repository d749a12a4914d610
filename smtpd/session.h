/*
 * session.h - one client, from the greeting to the end
 *
 * State      Entered when                       Leaves on
 * GREETED    banner sent, or TLS began anew     HELO, EHLO, LHLO
 * READY      the client said who it is          MAIL
 * MAIL       a sender is known                  RCPT, RSET, HELO...
 * RCPT       at least one recipient             DATA, BDAT, RSET, HELO...
 * BDAT       a chunk came, not the last         BDAT, RSET, HELO...
 * CLOSING    QUIT, or the session has to end    (never)
 *
 * TLS and the login are no states: a command's row says whether it minds.
 * session_enter() is the only function that changes the state; the
 * transaction (txn.h) exists exactly in MAIL, RCPT and BDAT.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H
#include "net/stream.h"
#include "smtpd/smtpd.h"
#include "smtpd/txn.h"

enum session_state {
	SESSION_GREETED,
	SESSION_READY,
	SESSION_MAIL,
	SESSION_RCPT,
	SESSION_BDAT,
	SESSION_CLOSING,
	SESSION_STATE_COUNT
};

/* Rows of the table in command.c, for the counts in the log. */
#define SESSION_COMMAND_MAX 24

struct session {
	const struct smtpd *smtpd;
	struct stream *stream;
	struct arena *arena; /* until the end of the session */
	enum smtpd_protocol protocol;
	enum session_state state;
	struct txn *txn; /* NULL outside of a transaction */
	unsigned messages; /* taken */

	/* who */
	struct net_addr peer;
	char address[NET_ADDR_TEXT];
	struct str name;   /* verified, or "unknown" */
	struct str client; /* "name[address]" */
	enum access_name name_status, reverse_status;
	bool is_stdio; /* sendmail -bs: a local user, no restrictions */
	uint32_t uid;  /* of that user */
	bool in_mynetworks, is_own_host;

	/* what it said */
	struct str helo;
	bool esmtp;
	struct str login, login_method; /* p NULL: not logged in */
	struct str tls; /* "TLSv1.3 with cipher X (256/256 bits)", or empty */
	const char *where; /* last command, for the log */

	/* how it behaves */
	bool is_counted; /* by limits */
	unsigned errors, junk, login_failures;
	bool was_refused; /* the command that runs, for the counts */
	bool has_quit;
	uint32_t total[SESSION_COMMAND_MAX], good[SESSION_COMMAND_MAX];
};

/* Room for the longest line a client may send: RFC 4954 4, with AUTH. */
#define SESSION_LINE_MAX 12288

/*
 * Serves the client on the descriptor until the end; owns fd. Nothing of a
 * session outlives it.
 */
void session_serve(const struct smtpd *, int fd,
    const struct net_addr *peer, const struct net_addr *local);
/* The same for `sendmail -bs`: two descriptors of a local user, who may do
 * what the service's clients may not. How many messages were taken. */
unsigned session_serve_stdio(const struct smtpd *, int in, int out,
    uint32_t uid);

/* --- for the commands --- */

/* Changes the state. Leaving MAIL, RCPT or BDAT for another state destroys
 * the transaction. */
void session_enter(struct session *, enum session_state);
/* One reply line, "250 2.0.0 Ok"; CRLF is added. 4yz and 5yz count as an
 * error of the client. */
void session_reply(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A line of a longer reply ("250-..."), or a refusal that is no error of
 * the client's. */
void session_line(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/*
 * RFC 2920 3.1: this command had to be the last of its group. False when
 * more was sent already: the client was refused and the session is CLOSING.
 */
bool session_is_in_step(struct session *);
/* Logs "lost connection after", "timeout after" and answers as far as that
 * is possible; CLOSING. */
void session_lost(struct session *, enum stream_result);
/* "501 5.1.3 text" of a parser's refusal. */
void session_refuse(struct session *, const struct mail_refusal *);
/* "ESMTPSA" and so on (RFC 3848), for the log and for Received:. */
const char *session_protocol(const struct session *);
bool session_is_lmtp(const struct session *);
/* May a password be sent over this connection as it is? */
bool session_may_login(const struct session *);
/* Counts an error of the client that session_reply() does not see. */
void session_error(struct session *);
/* A message was taken: past errors are forgiven. */
void session_forgive(struct session *);
/* Handshake; then all that was said is forgotten (RFC 3207 4.2). -1: the
 * connection is of no use any more. */
int session_start_tls(struct session *);
#endif
