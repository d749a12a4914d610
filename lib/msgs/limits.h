/*
 * limits.h - what clients may, counted in one place for all processes
 *
 * One request, one reply. Connections are counted for as long as the
 * conversation lives over which they were announced: a process that dies
 * gives back what it held. So each process speaks over one conversation
 * (struct limits_client).
 */
#ifndef MSGS_LIMITS_H
#define MSGS_LIMITS_H
#include "ipc/conv.h"

enum limits_event {
	LIMITS_CONNECT = 1,	/* count: now open, with this; rate: in the span */
	LIMITS_DISCONNECT,
	LIMITS_MESSAGE,		/* rate */
	LIMITS_RECIPIENTS,	/* rate; `number` more */
	LIMITS_AUTH,		/* rate: AUTH commands */
	LIMITS_TLS,		/* rate: full handshakes */
	/* auth asks these three itself; nobody else needs to */
	LIMITS_LOGIN_ASK,	/* count: failures remembered; delay_us: before
				 * a login is judged */
	LIMITS_LOGIN_FAILED,	/* delay_us: before the answer goes out */
	LIMITS_LOGIN_GOOD,	/* only needed when there were failures */
};

struct limits_request {
	uint64_t event;
	struct str service;	/* "smtp", "submission", "imap": counted apart */
	struct str client_addr;	/* text form (net/addr.h) */
	struct str user;	/* of logins, else "" */
	uint64_t number;	/* of LIMITS_RECIPIENTS */
};

struct limits_reply {
	uint64_t count;
	uint64_t rate;		/* in the last anvil_rate_time_unit */
	uint64_t delay_us;
};

extern const struct msg_schema limits_request_schema;
extern const struct msg_schema limits_reply_schema;

/*
 * One per process, made at start, used by all its threads. Never stands in
 * mail's way: when `limits` is away or slow everything is 0 and -1 is
 * returned, and it is asked again some seconds later.
 */
struct limits_client;

/* NULL: no memory. The edge may be NULL (no such edge): always away. */
struct limits_client *limits_client_new(struct edge *);
void limits_client_free(struct limits_client **);
int limits_tell(struct limits_client *, const struct limits_request *,
    struct limits_reply *reply_r);
#endif
