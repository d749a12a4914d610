/*
 * session.h - one connection to a server, from the greeting to QUIT
 *
 *   connect, greeting, EHLO or HELO (LHLO), STARTTLS and EHLO again
 *   transactions (transact.h), RSET where one was left unfinished
 *   kept idle for the next message (cache.h)
 *   QUIT
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H
#include "smtp/config.h"

enum {	/* what the server offers, struct session.features */
	SESSION_EHLO = 1,
	SESSION_PIPELINING = 2,		/* RFC 2920 */
	SESSION_SIZE = 4,		/* RFC 1870 */
	SESSION_8BITMIME = 8,		/* RFC 6152 */
	SESSION_SMTPUTF8 = 16,		/* RFC 6531 */
	SESSION_DSN = 32,		/* RFC 3461 */
	SESSION_STARTTLS = 64,		/* RFC 3207 */
};

struct session {
	const struct smtp_config *config;
	struct stream *stream;
	bool lmtp;
	char host[256];		/* "mx.example.com" */
	char peer[360];		/* "mx.example.com[192.0.2.1]" */
	char relay[370];	/* "mx.example.com[192.0.2.1]:25" */
	struct net_addr addr;
	unsigned features;
	uint64_t size_max;	/* octets the server takes; 0: not said */
	unsigned uses;		/* transactions begun */
	bool dead;		/* only session_close() is left */
	bool dirty;		/* a transaction was begun and not ended */
	int64_t opened;		/* clock_now() */
	char tls[128];		/* "TLSv1.3 with cipher X (256/256 bits)" */
};

/* How opening failed. */
enum session_failure {
	SESSION_NO_CONNECTION,	/* not reached: costs no session */
	SESSION_REFUSED,	/* reached, but of no use now */
	SESSION_NO_TLS,		/* TLS failed; plain may do (level may) */
};

/*
 * Connects and goes as far as the answer to EHLO. domain: the next hop's
 * name, for certificates. plain: without TLS even when it is offered. NULL
 * with why and *failure_r.
 */
struct session *session_open(const struct smtp_config *, bool lmtp,
    const struct target *, struct str domain, bool plain, struct why *,
    enum session_failure *failure_r);
/* QUIT, if the server can still hear it, without waiting for the answer. */
void session_close(struct session **);

/*
 * Reads the answer to a command within `seconds`. -1 with why when there is
 * none (or one that is no reply): the session is dead then. *octets_r counts
 * what came; may be NULL. doing: "sending MAIL FROM".
 */
int session_reply(struct session *, int64_t seconds, const char *doing,
    struct reply *, struct why *, size_t *octets_r);
/* The failure that follows from a reply that was not wanted; marks the
 * session dead when the server is leaving (421). */
void session_said(struct session *, const struct reply *,
    const char *command, struct why *);
/* Ends an unfinished transaction. -1: the session is dead. */
int session_reset(struct session *);
/* Whether an idle session can be used again: nothing came, nobody left. */
bool session_is_fresh(struct session *);
#endif
