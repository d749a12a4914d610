/*
 * counts.h - what clients did lately; no I/O, the clock is an argument
 *
 * Connections, and rates over a span, per service and client; failed logins
 * per client network and per user. A client is a text, an address or a
 * network, however wide the caller counts. Bounded: at COUNTS_MAX entries of a kind
 * the one that was used longest ago goes (a client with open connections
 * never does; when all have some, a new one is not counted).
 */
#ifndef LIMITS_COUNTS_H
#define LIMITS_COUNTS_H
#include "base/str.h"

#define COUNTS_MAX 100000

struct counts;
/* What one process announced: given back when it dies. */
struct holder;

struct counts_options {
	int64_t span_us;	/* anvil_rate_time_unit */
	int64_t delay_us;	/* of a first failed login */
	int64_t delay_max_us;
	int64_t memory_us;	/* failures are remembered so long */
	uint64_t patience;	/* failures of a network that cost only who
				 * fails */
};

enum counts_rate { COUNTS_CONNECTIONS, COUNTS_MESSAGES, COUNTS_RECIPIENTS,
	COUNTS_AUTHS, COUNTS_HANDSHAKES, COUNTS_RATES };

struct counts *counts_new(const struct counts_options *); /* NULL: no memory */
void counts_free(struct counts **);
struct holder *counts_holder_new(void);
/* Its open connections are no longer counted. */
void counts_holder_free(struct counts *, struct holder **, int64_t now);

/* A connection more: *count_r now open, *rate_r opened in this span. All 0
 * when it could not be counted. */
void counts_connect(struct counts *, struct holder *, struct str service,
    struct str addr, int64_t now, uint64_t *count_r, uint64_t *rate_r);
void counts_disconnect(struct counts *, struct holder *, struct str service,
    struct str addr, int64_t now);
/* n more of a kind; the sum in this span. */
uint64_t counts_add(struct counts *, enum counts_rate, struct str service,
    struct str addr, uint64_t n, int64_t now);

/* From where a login comes. */
struct counts_origin {
	struct str addr, net;
};

/*
 * Failures of the network and the user that are still remembered, and how
 * long this login waits before it is judged: by the network only, for nobody
 * may slow a user's logins down from elsewhere; and not for a user who lately
 * logged in from this very address, for a guesser next door is not his doing.
 */
uint64_t counts_login_ask(struct counts *, const struct counts_origin *,
    struct str user, int64_t now, int64_t *delay_us_r);
/* One failure more; how long its answer waits. It doubles with each failure
 * of the network or the user, whichever has more. */
int64_t counts_login_failed(struct counts *, const struct counts_origin *,
    struct str user, int64_t now);
/* The user's failures are forgotten. Of the network's the half: one good
 * login must not give a guesser his patience back. */
void counts_login_good(struct counts *, const struct counts_origin *,
    struct str user, int64_t now);
#endif
