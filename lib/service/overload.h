/*
 * overload.h - who is served when there is room for no more; the choice is
 * no I/O
 *
 * A network (/24 of IPv4, /64 of IPv6) that has a great share of the sessions
 * loses its slowest ones to a newcomer from elsewhere; where there is no such
 * network, whoever has been there for a while and hardly moved an octet goes.
 * So a crowd that trickles or sleeps, from one place or from many, does not
 * keep others out, and who works is left alone.
 */
#ifndef SERVICE_OVERLOAD_H
#define SERVICE_OVERLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* More than one in so many sessions are a great share; no fewer than that
 * many sessions ever are. */
#define OVERLOAD_SHARE 8
/* With nobody who has a great share: from this age on, microseconds, and
 * below this rate, octets a second both ways, a session may go. */
#define OVERLOAD_AGE (5 * 1000000)
#define OVERLOAD_RATE 100

struct overload_net {
	uint8_t family;		/* 0: no address */
	uint8_t prefix[8];
};

struct overload_session {
	struct overload_net net;
	int64_t age;		/* microseconds */
	uint64_t octets;	/* moved so far, both ways */
};

struct overload_net overload_net_of(const struct sockaddr_storage *);
/* Octets that a TCP connection moved; 0 when that is not known. */
uint64_t overload_octets(int fd);
/* Have so many of n sessions a great share? */
bool overload_is_great(size_t share, size_t n);
/*
 * Picks at most `most` sessions to end, the slowest first, so that one from
 * `newcomer` gets room; their indexes. 0: he has to wait; also when his
 * network has a great share itself.
 */
size_t overload_choose(const struct overload_session *, size_t n,
    const struct overload_net *newcomer, size_t *picked, size_t most);
#endif
