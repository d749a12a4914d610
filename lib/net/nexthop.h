/* nexthop.h - where a message goes next, as the configuration writes it */
#ifndef NET_NEXTHOP_H
#define NET_NEXTHOP_H
#include "base/arena.h"

#define NEXTHOP_MAX 16 /* destinations of one next hop */

/*
 *   example.com          MX records of example.com, port 25
 *   example.com:587      MX records, port 587
 *   [mail.example.com]   addresses of that host, no MX
 *   [192.0.2.1]:2525     that address; [IPv6:2001:db8::1], [2001:db8::1] too
 *   192.0.2.1            the same without brackets
 *   inet:host:port       as above, for LMTP
 *   unix:/path           a local socket, for LMTP
 */
struct nexthop {
	struct str host;	/* without brackets, lower case not forced */
	uint16_t port;
	bool use_mx;
	const char *path;	/* unix: the rest is not used then */
};

/*
 * One or more destinations, separated by commas or spaces, to be tried in
 * turn. LMTP never looks for MX records. The strings live in the arena.
 * Returns how many, or -1 with why (static).
 */
int nexthop_parse(struct str text, bool lmtp, uint16_t default_port,
    struct arena *, struct nexthop out[NEXTHOP_MAX], const char **why_r);
/* "25", "smtp", "submission", "lmtp" ... -> port; -1: unknown. Names are
 * built in: an agent in an empty root cannot read /etc/services. */
int nexthop_port(struct str);
#endif
