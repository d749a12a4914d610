#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include "service/overload.h"

struct overload_net overload_net_of(const struct sockaddr_storage *sa)
{
	struct overload_net net = { .family = 0 };

	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		net.family = 4;
		memcpy(net.prefix, &in->sin_addr, 3);
	} else if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)sa;

		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
			net.family = 4;
			memcpy(net.prefix, in->sin6_addr.s6_addr + 12, 3);
		} else {
			net.family = 6;
			memcpy(net.prefix, &in->sin6_addr, 8);
		}
	}
	return net;
}

uint64_t overload_octets(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		return 0;
	return info.tcpi_bytes_received + info.tcpi_bytes_acked;
}

struct candidate {
	const struct overload_session *session;
	size_t index;
};

static int compare_nets(const struct overload_net *a,
    const struct overload_net *b)
{
	return memcmp(a, b, sizeof(*a));
}

static int by_net(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return compare_nets(&x->session->net, &y->session->net);
}

/* Who just came has moved nothing yet: a second is given to everybody. */
static double rate_of(const struct overload_session *s)
{
	return (double)s->octets * 1e6 / ((double)s->age + 1e6);
}

static int by_rate(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	double p = rate_of(x->session), q = rate_of(y->session);

	if (p != q)
		return p < q ? -1 : 1;
	/* of equals the one that is there for longer */
	return (x->session->age < y->session->age) -
	    (x->session->age > y->session->age);
}

/* The largest network's part of the candidates, which are sorted by it, and
 * how many the newcomer's has. */
static struct candidate *find_largest(struct candidate *all, size_t n,
    const struct overload_net *newcomer, size_t *size_r, size_t *his_r)
{
	struct candidate *largest = all;

	*size_r = *his_r = 0;
	for (size_t from = 0, to; from < n; from = to) {
		const struct overload_net *net = &all[from].session->net;

		for (to = from + 1; to < n && compare_nets(net,
		    &all[to].session->net) == 0; to++)
			continue;
		if (compare_nets(net, newcomer) == 0)
			*his_r = to - from;
		if (to - from > *size_r) {
			*size_r = to - from;
			largest = all + from;
		}
	}
	return largest;
}

bool overload_is_great(size_t share, size_t n)
{
	return share > OVERLOAD_SHARE && share > n / OVERLOAD_SHARE;
}

static bool may_go(const struct overload_session *s)
{
	return s->age >= OVERLOAD_AGE && rate_of(s) < OVERLOAD_RATE;
}

size_t overload_choose(const struct overload_session *sessions, size_t n,
    const struct overload_net *newcomer, size_t *picked, size_t most)
{
	struct candidate *all = calloc(n > 0 ? n : 1, sizeof(*all)), *from;
	size_t size, his, count = 0;
	bool by_share;

	if (all == NULL)
		return 0;
	for (size_t i = 0; i < n; i++)
		all[i] = (struct candidate){ &sessions[i], i };
	qsort(all, n, sizeof(*all), by_net);
	from = find_largest(all, n, newcomer, &size, &his);
	by_share = overload_is_great(size, n) && size > 2 * (his + 1);
	if (!by_share) {
		from = all;
		size = overload_is_great(his + 1, n) ? 0 : n;
	}
	qsort(from, size, sizeof(*from), by_rate);
	/* not all of them at once: they may be the last clients we have */
	for (size_t i = 0; i < size / OVERLOAD_SHARE + 1 && i < size &&
	    count < most; i++)
		if (by_share || may_go(from[i].session))
			picked[count++] = from[i].index;
	free(all);
	return count;
}
