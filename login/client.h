/* client.h - a connection whose user is not known yet */
#ifndef LOGIN_CLIENT_H
#define LOGIN_CLIENT_H
#include "net/addr.h"
#include "net/stream.h"
#include "service/service.h"

/* Limits before login. */
#define LOGIN_LINE_MAX 8192
#define LOGIN_LITERAL_MAX 4096	/* of all literals of a command */
#define LOGIN_HANDSHAKE_TIME (30 * CLOCK_SECOND)

struct client {
	struct stream *stream;
	const struct params *params;
	const char *service;		/* "imap", "pop3" */
	char remote[NET_ADDR_TEXT], local[NET_ADDR_TEXT];
	char session_id[24];
	bool may_plain;			/* passwords without TLS */
	bool has_quit;			/* it wished to end */
	int64_t since;
	unsigned bad;			/* commands in error */
	unsigned attempts;		/* logins that failed */
	char user[256];			/* that was tried last, for the log */
	const char *method;		/* "PLAIN", "LOGIN", or NULL */
	const char *end;		/* why it ended, for the log */
	bool handed_over;		/* stream is gone */
};

/* Bound to TLS, or from a network that needs none. */
bool client_may_login(const struct client *);
/* TLS is configured and not on yet. */
bool client_may_start_tls(const struct client *);
/* The handshake; the plaintext answer was written. 0, or -1 and c->end. */
int client_start_tls(struct client *);
/* "user=<...>, method=..., rip=..., lip=..., TLS, session=<...>" */
void client_describe(const struct client *, struct buf *);
/* The reason for a stream's failure, into c->end. */
void client_note(struct client *, enum stream_result);
/* One command in error more. True when it was one too many. */
bool client_count_bad(struct client *);
/* An HTTP client at the wrong door (ALPACA): nothing of its text may be sent
 * back. */
bool client_is_http(struct str line);

/* The protocols: until handed over, or c->end says why not. */
void imap_run(struct client *);
void pop3_run(struct client *);
/* The answer to one client too many; flushed by the caller. */
void imap_refuse(struct client *, const char *why);
void pop3_refuse(struct client *, const char *why);
#endif
