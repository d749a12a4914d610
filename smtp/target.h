/*
 * target.h - from a next hop to the addresses to try, in order
 * (RFC 5321 5.1, RFC 7505)
 */
#ifndef SMTP_TARGET_H
#define SMTP_TARGET_H
#include "msgs/dns.h"
#include "net/addr.h"
#include "net/nexthop.h"
#include "smtp/why.h"

struct target {
	const char *host;	/* name, or the address as text */
	struct net_addr addr;	/* with port; AF_UNSPEC: path */
	const char *path;	/* unix: */
	unsigned preference;
};

struct targets {
	struct target *v;
	size_t n;
};

/* n questions (at most DNS_ASK_MAX) and their answers in that order. */
typedef void target_ask_fn(void *ctx, struct dns_question *, size_t n,
    struct arena *, struct dns_reply *);

struct target_options {
	bool ipv4, ipv6;	/* inet_protocols */
	sa_family_t prefer;	/* among equals; AF_UNSPEC: by chance */
	size_t limit;		/* addresses; 0: all */
	struct str myhostname;	/* an MX record that names us is a loop */
	target_ask_fn *ask;
	void *ctx;
};

/*
 * MX hosts by preference, in random order among equals, and behind each its
 * addresses; both address families stay among the first `limit` when both
 * are there. Everything lives in the arena. 0 with at least one target, or
 * -1 with why.
 */
int targets_find(const struct target_options *, const struct nexthop *,
    struct arena *, struct targets *targets_r, struct why *);
#endif
