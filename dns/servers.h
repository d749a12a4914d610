/* servers.h - which DNS servers are asked */
#ifndef DNS_SERVERS_H
#define DNS_SERVERS_H
#include "base/str.h"

#define SERVERS_MAX 8

struct servers {
	char text[SERVERS_MAX][80]; /* "192.0.2.1@53", "2001:db8::1@5353" */
	size_t n;
};

/*
 * The parameter dns_servers: addresses with an optional @port (53), separated
 * by commas or spaces. Appends. 0, or -1 with the word that is wrong.
 */
int servers_parse(struct str list, struct servers *, struct str *bad_r);
/* The nameserver lines of a resolv.conf; others, and bad ones, are skipped. */
void servers_parse_resolv_conf(struct str text, struct servers *);
#endif
