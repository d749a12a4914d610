/*
 * resolver.h - questions to the configured DNS servers, by libunbound in our
 * event loop
 *
 * Only the configured servers are asked, never the Internet's root servers:
 * without a server every answer is DNS_TEMPFAIL.
 *
 * With trust anchors answers are validated. Whether the servers pass DNSSEC
 * on is tried first (DNSKEY of each anchor's name): if not, validation is
 * off as a whole, said so in the log and tried again every five minutes;
 * a half-validating resolver would turn every signed zone into a failure.
 * Questions wait until the first trial is over.
 */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H
#include "base/loop.h"
#include "dns/servers.h"
#include "msgs/dns.h"

struct resolver;
struct lookup;

#define RESOLVER_WHY_MAX 400 /* octets of a reply's why */

struct resolver_options {
	const struct servers *servers;
	struct str anchors;  /* DS or DNSKEY records, a line each; or none */
	int64_t timeout;     /* microseconds: longest wait for an answer */
	size_t limit;        /* questions in flight; above: DNS_TEMPFAIL */
	int64_t probe_again; /* microseconds; 0: five minutes */
};

/* NULL with why. The loop must outlive it. */
struct resolver *resolver_new(struct loop *, const struct resolver_options *,
    const char **why_r);
void resolver_free(struct resolver **);
/* Whether answers are validated now; false before the trial is over. */
bool resolver_validates(const struct resolver *);

/* The reply lives until the function returns. */
typedef void resolver_done_fn(void *ctx, const struct dns_reply *);

/*
 * Asks; fn is called once, perhaps before this returns. *slot is the
 * question while it is in flight and NULL before fn is called. deadline: a
 * clock_now() value; the resolver's own limit counts too.
 */
void resolver_ask(struct resolver *, struct lookup **slot, struct str name,
    enum dns_type, int64_t deadline, resolver_done_fn *fn, void *ctx);
/* Forgets a question; fn is not called. *slot may be NULL. */
void resolver_cancel(struct lookup **slot);
#endif
