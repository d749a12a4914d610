/* addr.h - addresses of the network: texts, lists, listening, connecting */
#ifndef NET_ADDR_H
#define NET_ADDR_H
#include <netinet/in.h>
#include <sys/socket.h>
#include "base/buf.h"
#include "base/str.h"

/* An IPv4 or IPv6 address with port, or none (family AF_UNSPEC: a local
 * socket or a pipe). IPv4-mapped IPv6 addresses are turned into IPv4. */
struct net_addr {
	sa_family_t family;
	uint16_t port;
	uint8_t ip[16];		/* 4 or 16 octets, network order */
	uint32_t scope;		/* link-local IPv6: interface index */
};

/* "[" + 45 + "]:65535" + NUL, and room for a scope. */
#define NET_ADDR_TEXT 72

/* An address without port: "192.0.2.1", "2001:db8::1", with or without
 * brackets. 0 or -1. */
int net_addr_parse(struct str, struct net_addr *addr_r);
/* RFC 5321 4.1.3, between the brackets: "192.0.2.1", "IPv6:2001:db8::1". */
int net_addr_parse_literal(struct str, struct net_addr *addr_r);
/* Plain text: "192.0.2.1", "2001:db8::1"; "unknown" for none. Returns out. */
const char *net_addr_text(const struct net_addr *, char out[NET_ADDR_TEXT]);
/* "192.0.2.1:25", "[2001:db8::1]:25". */
const char *net_addr_text_port(const struct net_addr *,
    char out[NET_ADDR_TEXT]);
/* "192.0.2.1", "IPv6:2001:db8::1", as in a Received: literal. */
const char *net_addr_text_literal(const struct net_addr *,
    char out[NET_ADDR_TEXT]);
/* Same address (the port is not compared). */
bool net_addr_same(const struct net_addr *, const struct net_addr *);
bool net_addr_is_loopback(const struct net_addr *);
/* The network of `bits4` bits (IPv4) or `bits6` (IPv6) that the address is
 * in: "192.0.2.0/24", "2001:db8::/64"; of one address, and of none, the plain
 * text. Returns out. */
const char *net_addr_text_network(const struct net_addr *, unsigned bits4,
    unsigned bits6, char out[NET_ADDR_TEXT]);
void net_addr_from_sockaddr(const struct sockaddr *, struct net_addr *addr_r);
/* Octets written to *out. */
socklen_t net_addr_to_sockaddr(const struct net_addr *,
    struct sockaddr_storage *out);
/* The peer's or our own end of a socket; AF_UNSPEC when there is none. */
void net_addr_of_peer(int fd, struct net_addr *addr_r);
void net_addr_of_self(int fd, struct net_addr *addr_r);

/* A block: prefix bits of an address. Bits behind the prefix must be zero. */
struct net_cidr {
	struct net_addr addr;
	uint8_t bits;
	bool negate;		/* "!192.0.2.1" */
};

struct net_cidr_list {
	struct net_cidr *items;
	size_t count;
};

#define NET_CIDR_MAX 4096
/* Elements separated by commas or white space: ADDRESS, ADDRESS/BITS, with
 * [] around an IPv6 address (as Postfix writes mynetworks: "[::1]/128",
 * "[::1/128]" too), "!" in front. 0, or -1 with why and the element. */
int net_cidr_list_parse(struct str text, struct net_cidr_list *list_r,
    struct str *bad_r, const char **why_r);
void net_cidr_list_free(struct net_cidr_list *);
/* First match wins; "!" makes it a no. */
bool net_cidr_list_match(const struct net_cidr_list *,
    const struct net_addr *);

/* A listener as master.cf and parameters write it: "25", "smtp" (service
 * names), "127.0.0.1:25", "[::1]:25", "*:25", "inet:...". host is empty for
 * all addresses; a host name is not resolved here. 0, or -1 with why. */
int net_listen_parse(struct str text, struct str *host_r, uint16_t *port_r,
    const char **why_r);

/*
 * Connects by the deadline (clock_now() value). from: the local address, or
 * NULL. The descriptor is blocking and close-on-exec; -1 with errno
 * (ETIMEDOUT past the deadline).
 */
int net_connect(const struct net_addr *, const struct net_addr *from,
    int64_t deadline);
int net_connect_unix(const char *path, int64_t deadline);
#endif
