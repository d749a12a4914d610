#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "net/addr.h"

static size_t ip_size(sa_family_t family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

/* ::ffff:192.0.2.1 is 192.0.2.1 (RFC 4291 2.5.5.2): lists and logs know one
 * form. */
static void unmap(struct net_addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->family != AF_INET6 || memcmp(a->ip, mapped, 12) != 0)
		return;
	memmove(a->ip, a->ip + 12, 4);
	memset(a->ip + 4, 0, 12);
	a->family = AF_INET;
	a->scope = 0;
}

int net_addr_parse(struct str text, struct net_addr *addr_r)
{
	char buf[NET_ADDR_TEXT], *scope;
	struct net_addr a = { .family = AF_UNSPEC };

	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = str_n(text.p + 1, text.n - 2);
	if (str_to_c(text, buf, sizeof(buf)) != 0)
		return -1;
	if (inet_pton(AF_INET, buf, a.ip) == 1) {
		a.family = AF_INET;
	} else {
		if ((scope = strchr(buf, '%')) != NULL) {
			uint64_t n;

			*scope++ = '\0';
			if (str_to_u64(str_of(scope), UINT32_MAX, &n) == 0)
				a.scope = (uint32_t)n;
			else if ((a.scope = if_nametoindex(scope)) == 0)
				return -1;
		}
		if (inet_pton(AF_INET6, buf, a.ip) != 1)
			return -1;
		a.family = AF_INET6;
		unmap(&a);
	}
	*addr_r = a;
	return 0;
}

int net_addr_parse_literal(struct str text, struct net_addr *addr_r)
{
	struct str tag = STR("IPv6:");
	bool v6 = str_starts_nocase(text, tag);

	if (v6)
		text = str_from(text, tag.n);
	/* Without the tag only IPv4 (RFC 5321 4.1.3); no scope in mail. */
	if (text.n == 0 || text.p[0] == '[' || str_chr(text, '%') >= 0 ||
	    (str_chr(text, ':') >= 0) != v6)
		return -1;
	return net_addr_parse(text, addr_r);
}

const char *net_addr_text(const struct net_addr *a, char out[NET_ADDR_TEXT])
{
	if (ip_size(a->family) == 0 ||
	    inet_ntop(a->family, a->ip, out, INET6_ADDRSTRLEN) == NULL)
		snprintf(out, NET_ADDR_TEXT, "unknown");
	return out;
}

const char *net_addr_text_port(const struct net_addr *a,
    char out[NET_ADDR_TEXT])
{
	char ip[NET_ADDR_TEXT];

	net_addr_text(a, ip);
	snprintf(out, NET_ADDR_TEXT, a->family == AF_INET6 ? "[%.46s]:%u" :
	    "%.46s:%u", ip, a->port);
	return out;
}

const char *net_addr_text_literal(const struct net_addr *a,
    char out[NET_ADDR_TEXT])
{
	char ip[NET_ADDR_TEXT];

	net_addr_text(a, ip);
	snprintf(out, NET_ADDR_TEXT, "%s%.46s",
	    a->family == AF_INET6 ? "IPv6:" : "", ip);
	return out;
}

const char *net_addr_text_network(const struct net_addr *a, unsigned bits4,
    unsigned bits6, char out[NET_ADDR_TEXT])
{
	unsigned bits = a->family == AF_INET ? bits4 : bits6;
	size_t size = ip_size(a->family), n;
	struct net_addr net = *a;

	if (bits >= 8 * size)
		return net_addr_text(a, out);
	net.ip[bits / 8] &= (uint8_t)(0xff00 >> bits % 8);
	for (size_t i = bits / 8 + 1; i < size; i++)
		net.ip[i] = 0;
	net_addr_text(&net, out);
	n = strlen(out);
	snprintf(out + n, NET_ADDR_TEXT - n, "/%u", bits);
	return out;
}

bool net_addr_same(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family &&
	    memcmp(a->ip, b->ip, ip_size(a->family)) == 0;
}

bool net_addr_is_loopback(const struct net_addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (a->family == AF_INET)
		return a->ip[0] == 127;
	return a->family == AF_INET6 && memcmp(a->ip, one, 16) == 0;
}

void net_addr_from_sockaddr(const struct sockaddr *sa,
    struct net_addr *addr_r)
{
	*addr_r = (struct net_addr){ .family = AF_UNSPEC };
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		addr_r->family = AF_INET;
		addr_r->port = ntohs(in.sin_port);
		memcpy(addr_r->ip, &in.sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		addr_r->family = AF_INET6;
		addr_r->port = ntohs(in6.sin6_port);
		addr_r->scope = in6.sin6_scope_id;
		memcpy(addr_r->ip, &in6.sin6_addr, 16);
		unmap(addr_r);
	}
}

socklen_t net_addr_to_sockaddr(const struct net_addr *a,
    struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET) {
		struct sockaddr_in in = { .sin_family = AF_INET,
			.sin_port = htons(a->port) };

		memcpy(&in.sin_addr, a->ip, 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	if (a->family == AF_INET6) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
			.sin6_port = htons(a->port),
			.sin6_scope_id = a->scope };

		memcpy(&in6.sin6_addr, a->ip, 16);
		memcpy(out, &in6, sizeof(in6));
		return sizeof(in6);
	}
	return sizeof(sa_family_t);
}

typedef int name_fn(int, struct sockaddr *, socklen_t *);

static void addr_by(name_fn *get, int fd, struct net_addr *addr_r)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof(ss);

	if (get(fd, (struct sockaddr *)&ss, &n) != 0)
		ss.ss_family = AF_UNSPEC;
	net_addr_from_sockaddr((struct sockaddr *)&ss, addr_r);
}

static int get_peer(int fd, struct sockaddr *sa, socklen_t *n)
{
	return getpeername(fd, sa, n);
}

static int get_self(int fd, struct sockaddr *sa, socklen_t *n)
{
	return getsockname(fd, sa, n);
}

void net_addr_of_peer(int fd, struct net_addr *addr_r)
{
	addr_by(get_peer, fd, addr_r);
}

void net_addr_of_self(int fd, struct net_addr *addr_r)
{
	addr_by(get_self, fd, addr_r);
}

/* Are the first `bits` bits the same? */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static const char *parse_cidr(struct str word, struct net_cidr *c)
{
	struct net_addr *a = &c->addr;
	uint64_t bits;
	ssize_t slash;
	struct str ip;

	*c = (struct net_cidr){ .bits = 0 };
	while (word.n > 0 && word.p[0] == '!') {
		c->negate = !c->negate;
		word = str_from(word, 1);
	}
	/* "[::1/128]" and "[::1]/128" */
	if (word.n >= 2 && word.p[0] == '[' && word.p[word.n - 1] == ']')
		word = str_n(word.p + 1, word.n - 2);
	slash = str_rchr(word, '/');
	ip = slash < 0 ? word : str_sub(word, 0, (size_t)slash);
	if (net_addr_parse(ip, a) != 0)
		return "not an address";
	c->bits = (uint8_t)(ip_size(a->family) * 8);
	if (slash < 0)
		return NULL;
	if (str_to_u64(str_from(word, (size_t)slash + 1), 128, &bits) != 0)
		return "bad prefix length";
	/* A mapped block counts its bits from the IPv6 start. */
	if (a->family == AF_INET && str_chr(ip, ':') >= 0)
		bits = bits < 96 ? 255 : bits - 96;
	if (bits > ip_size(a->family) * 8)
		return "bad prefix length";
	c->bits = (uint8_t)bits;
	for (unsigned i = c->bits; i < ip_size(a->family) * 8; i++)
		if (a->ip[i / 8] & (0x80 >> (i % 8)))
			return "non-zero bits behind the prefix";
	return NULL;
}

int net_cidr_list_parse(struct str text, struct net_cidr_list *list_r,
    struct str *bad_r, const char **why_r)
{
	struct net_cidr_list list = { .items = NULL };
	size_t cap = 0;
	struct str word;

	*bad_r = STR_NONE;
	while (str_word(&text, ", \t\r\n", &word)) {
		*bad_r = word;
		if (list.count == cap) {
			struct net_cidr *p;

			cap = cap ? cap * 2 : 8;
			if (cap > NET_CIDR_MAX) {
				*why_r = "too many elements";
				goto fail;
			}
			p = reallocarray(list.items, cap, sizeof(*p));
			if (p == NULL) {
				*why_r = "out of memory";
				goto fail;
			}
			list.items = p;
		}
		*why_r = parse_cidr(word, &list.items[list.count]);
		if (*why_r != NULL)
			goto fail;
		list.count++;
	}
	*bad_r = STR_NONE;
	*list_r = list;
	return 0;
fail:
	net_cidr_list_free(&list);
	*list_r = list;
	return -1;
}

void net_cidr_list_free(struct net_cidr_list *list)
{
	free(list->items);
	*list = (struct net_cidr_list){ .items = NULL };
}

bool net_cidr_list_match(const struct net_cidr_list *list,
    const struct net_addr *a)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct net_cidr *c = &list->items[i];

		if (c->addr.family == a->family &&
		    same_prefix(c->addr.ip, a->ip, c->bits))
			return !c->negate;
	}
	return false;
}

static int parse_port(struct str text, uint16_t *port_r)
{
	struct servent se, *found = NULL;
	char name[64], buf[1024];
	uint64_t n;

	if (str_to_u64(text, 65535, &n) == 0) {
		*port_r = (uint16_t)n;
		return n > 0 ? 0 : -1;
	}
	if (text.n == 0 || str_to_c(text, name, sizeof(name)) != 0)
		return -1;
	if (getservbyname_r(name, "tcp", &se, buf, sizeof(buf), &found) != 0 ||
	    found == NULL)
		return -1;
	*port_r = ntohs((uint16_t)se.s_port);
	return 0;
}

int net_listen_parse(struct str text, struct str *host_r, uint16_t *port_r,
    const char **why_r)
{
	ssize_t colon;
	struct str host = STR(""), port = text;

	if (str_starts(text, STR("inet:")))
		text = port = str_from(text, 5);
	if (text.n > 0 && text.p[0] == '[') {
		ssize_t close_at = str_chr(text, ']');

		if (close_at < 0) {
			*why_r = "missing ]";
			return -1;
		}
		host = str_sub(text, 1, (size_t)close_at - 1);
		port = str_from(text, (size_t)close_at + 1);
		if (port.n < 2 || port.p[0] != ':') {
			*why_r = "missing port";
			return -1;
		}
		port = str_from(port, 1);
	} else if ((colon = str_rchr(text, ':')) >= 0) {
		host = str_sub(text, 0, (size_t)colon);
		port = str_from(text, (size_t)colon + 1);
		if (str_chr(host, ':') >= 0) {
			*why_r = "an IPv6 address needs []";
			return -1;
		}
	}
	if (parse_port(port, port_r) != 0) {
		*why_r = "bad port";
		return -1;
	}
	if (str_eq_c(host, "*"))
		host = STR("");
	*host_r = host;
	*why_r = NULL;
	return 0;
}

/* Waits for a connect(2) in progress. 0 or -1 with errno. */
static int finish_connect(int fd, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(int);
	int err = 0;

	for (;;) {
		int r = poll(&p, 1, clock_poll_ms(deadline));

		if (r > 0)
			break;
		if (r == 0 && clock_now() >= deadline) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (r < 0 && errno != EINTR)
			return -1;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0)
		return -1;
	errno = err;
	return err == 0 ? 0 : -1;
}

static int connect_by(int fd, const struct sockaddr_storage *ss,
    socklen_t len, int64_t deadline)
{
	int flags;

	if (connect(fd, (const struct sockaddr *)ss, len) != 0 &&
	    ((errno != EINPROGRESS && errno != EINTR) ||
	    finish_connect(fd, deadline) != 0))
		return -1;
	flags = fcntl(fd, F_GETFL);
	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static int close_with_errno(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
	return -1;
}

int net_connect(const struct net_addr *to, const struct net_addr *from,
    int64_t deadline)
{
	struct sockaddr_storage ss;
	socklen_t n;
	int fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);

	if (fd < 0)
		return -1;
	if (from != NULL && from->family == to->family) {
		n = net_addr_to_sockaddr(from, &ss);
		if (bind(fd, (struct sockaddr *)&ss, n) != 0)
			return close_with_errno(fd);
	}
	n = net_addr_to_sockaddr(to, &ss);
	if (connect_by(fd, &ss, n, deadline) != 0)
		return close_with_errno(fd);
	return fd;
}

int net_connect_unix(const char *path, int64_t deadline)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	int fd;

	if (str_to_c(str_of(path), un.sun_path, sizeof(un.sun_path)) != 0) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(&ss, &un, sizeof(un));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect_by(fd, &ss, sizeof(un), deadline) != 0)
		return close_with_errno(fd);
	return fd;
}
