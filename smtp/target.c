#include <stdlib.h>
#include <sys/random.h>
#include "smtp/target.h"

#define HOSTS_MAX DNS_RECORD_MAX
#define TARGETS_MAX 400
#define ADDRESSES_OF_A_HOST 32

struct host {
	struct str name;
	unsigned preference;
	uint32_t luck; /* order among equals */
};

struct search {
	const struct target_options *o;
	struct arena *arena;
	uint16_t port;
	struct target *v;
	size_t n;
	bool by_mx;
	/* what went wrong with a host, when nothing is found in the end */
	bool tempfail, loop;
	struct why *why;
};

static uint32_t draw(void)
{
	uint32_t v;

	while (getrandom(&v, sizeof(v), 0) != sizeof(v))
		; /* only a signal comes between */
	return v;
}

static const char *status_text(const struct dns_reply *r)
{
	switch (r->status) {
	case DNS_NXDOMAIN:
		return "Host not found";
	case DNS_OK:
	case DNS_NODATA:
		return "Host found but no data record of requested type";
	case DNS_BOGUS:
		return "DNSSEC validation failure, try again";
	default:
		return "Host not found, try again";
	}
}

static void dns_failed(struct why *w, struct str name, const char *type,
    const struct dns_reply *r)
{
	bool later = r->status == DNS_TEMPFAIL || r->status == DNS_BOGUS;

	/* RFC 3463: 4.4.3 directory server failure, 5.4.4 unable to route */
	why_set(w, later ? MAIL_STATUS(4, 4, 3) : MAIL_STATUS(5, 4, 4),
	    "Host or domain name not found. Name service error for name="
	    STR_FMT " type=%s: %s%s" STR_FMT "%s", STR_ARG(name), type,
	    status_text(r), r->why.n ? " (" : "", STR_ARG(r->why),
	    r->why.n ? ")" : "");
}

static void add_target(struct search *s, struct str host,
    unsigned preference, struct str raw)
{
	static const uint8_t nowhere[16],
	    mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct target *t = &s->v[s->n];

	if (s->n == TARGETS_MAX || (raw.n != 4 && raw.n != 16))
		return;
	/* an IPv4 address in IPv6's clothes is one */
	if (raw.n == 16 && memcmp(raw.p, mapped, sizeof(mapped)) == 0)
		raw = str_from(raw, sizeof(mapped));
	*t = (struct target){ .preference = preference };
	t->host = arena_cstr(s->arena, host);
	t->addr.family = raw.n == 4 ? AF_INET : AF_INET6;
	t->addr.port = s->port;
	memcpy(t->addr.ip, raw.p, raw.n);
	/* an MX record that leads to this machine's own port 25 is a loop */
	if (s->by_mx && s->port == 25 && (net_addr_is_loopback(&t->addr) ||
		memcmp(t->addr.ip, nowhere, raw.n) == 0)) {
		s->loop = true;
		return;
	}
	for (size_t i = 0; i < s->n; i++)
		if (net_addr_same(&s->v[i].addr, &t->addr))
			return; /* the same machine by another name */
	s->n++;
}

static void shuffle(struct target *v, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = draw() % i;
		struct target t = v[i - 1];

		v[i - 1] = v[k];
		v[k] = t;
	}
}

/* The addresses of one host, in its place: shuffled, the preferred family
 * first. */
static void order_addresses(const struct target_options *o,
    struct target *v, size_t n)
{
	size_t first = 0;

	shuffle(v, n);
	for (size_t i = 0; o->prefer != AF_UNSPEC && i < n; i++)
		if (v[i].addr.family == o->prefer) {
			struct target t = v[i];

			memmove(&v[first + 1], &v[first],
			    (i - first) * sizeof(*v));
			v[first++] = t;
		}
}

/* There are records and none can be read: that may get better. */
static void all_malformed(struct why *w, const char *type, struct str name)
{
	why_set(w, MAIL_STATUS(4, 4, 3), "all %s records of " STR_FMT
	    " are malformed", type, STR_ARG(name));
}

/* One host's answers (A, AAAA or one of them). */
static void take_addresses(struct search *s, const struct host *h,
    const struct dns_question *q, const struct dns_reply *r, size_t n)
{
	size_t begin = s->n;
	bool tempfail = false;

	for (size_t i = 0; i < n; i++) {
		if (r[i].status == DNS_TEMPFAIL || r[i].status == DNS_BOGUS) {
			tempfail = true;
			dns_failed(s->why, h->name,
			    dns_type_name((enum dns_type)q[i].type), &r[i]);
		} else if (r[i].status == DNS_NODATA && r[i].ignored > 0) {
			tempfail = true;
			all_malformed(s->why, dns_type_name(
				(enum dns_type)q[i].type), h->name);
		} else if (r[i].status != DNS_OK && !s->tempfail &&
		    !tempfail)
			dns_failed(s->why, h->name,
			    dns_type_name((enum dns_type)q[i].type), &r[i]);
		for (size_t k = 0; r[i].status == DNS_OK &&
		    k < r[i].data.n && k < ADDRESSES_OF_A_HOST; k++)
			add_target(s, h->name, h->preference, r[i].data.v[k]);
	}
	if (s->n == begin && tempfail)
		s->tempfail = true;
	order_addresses(s->o, s->v + begin, s->n - begin);
}

/* Asks for the addresses of hosts in batches, until there are enough. */
static void find_addresses(struct search *s, const struct host *hosts,
    size_t n)
{
	size_t each = (size_t)s->o->ipv4 + (size_t)s->o->ipv6, at = 0;
	size_t batch = DNS_ASK_MAX / (each ? each : 1);
	struct dns_question q[DNS_ASK_MAX];
	struct dns_reply r[DNS_ASK_MAX];

	while (at < n && each > 0 && (s->o->limit == 0 ||
	    s->n < s->o->limit * 2)) {
		size_t hosts_now = n - at < batch ? n - at : batch, k = 0;

		for (size_t i = 0; i < hosts_now; i++) {
			if (s->o->ipv4)
				q[k++] = (struct dns_question){ .type = DNS_A,
					.name = hosts[at + i].name };
			if (s->o->ipv6)
				q[k++] = (struct dns_question){
					.type = DNS_AAAA,
					.name = hosts[at + i].name };
		}
		s->o->ask(s->o->ctx, q, k, s->arena, r);
		for (size_t i = 0; i < hosts_now; i++)
			take_addresses(s, &hosts[at + i], q + i * each,
			    r + i * each, each);
		at += hosts_now;
	}
}

/*
 * Cuts to the limit. When the other address family would be gone with what
 * is cut, its first takes the last place: one family may be unreachable
 * from here (and we cannot know before we try).
 */
static void cut(struct search *s)
{
	size_t limit = s->o->limit, other;

	if (limit == 0 || s->n <= limit)
		return;
	for (size_t i = 1; i < limit; i++)
		if (s->v[i].addr.family != s->v[0].addr.family)
			goto done;
	other = limit;
	while (other < s->n && s->v[other].addr.family ==
	    s->v[0].addr.family)
		other++;
	if (other < s->n && limit > 1)
		s->v[limit - 1] = s->v[other];
done:
	s->n = limit;
}

static int by_preference(const void *a, const void *b)
{
	const struct host *x = a, *y = b;

	if (x->preference != y->preference)
		return x->preference < y->preference ? -1 : 1;
	return x->luck < y->luck ? -1 : x->luck > y->luck;
}

static bool is_own_name(const struct target_options *o, struct str name)
{
	return str_eq_nocase(name, o->myhostname) ||
	    str_eq_nocase_c(name, "localhost");
}

/*
 * RFC 5321 5.1: where we are a mail exchanger ourselves, only those that are
 * preferred to us count; to go on to equal or lesser ones would be a loop.
 * Returns how many remain.
 */
static size_t leave_out_self(const struct target_options *o,
    const struct host *hosts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t keep = 0;

		if (!is_own_name(o, hosts[i].name))
			continue;
		while (hosts[keep].preference < hosts[i].preference)
			keep++;
		return keep;
	}
	return n;
}

static void looped(struct search *s, struct str domain)
{
	why_set(s->why, MAIL_STATUS(5, 4, 6), "mail for " STR_FMT
	    " loops back to myself", STR_ARG(domain));
}

static int find_by_mx(struct search *s, struct str domain)
{
	struct dns_question q = { .type = DNS_MX, .name = domain };
	struct dns_reply r;
	struct host hosts[HOSTS_MAX];
	size_t n = 0, keep;

	s->by_mx = true;
	s->o->ask(s->o->ctx, &q, 1, s->arena, &r);
	if (r.status == DNS_NODATA && r.ignored == 0) {
		/* RFC 5321 5.1: the implicit MX */
		hosts[0] = (struct host){ .name = domain };
		find_addresses(s, hosts, 1);
		return 0;
	}
	if (r.status == DNS_NODATA) {
		all_malformed(s->why, "MX", domain);
		return -1;
	}
	if (r.status != DNS_OK) { /* never falls back to A on a failure */
		dns_failed(s->why, domain, "MX", &r);
		return -1;
	}
	for (size_t i = 0; i < r.data.n && n < HOSTS_MAX; i++)
		if (r.data.v[i].n > 0)
			hosts[n++] = (struct host){ r.data.v[i],
				(unsigned)r.numbers.v[i], draw() };
	if (n == 0) { /* RFC 7505 4.1: 556 and 5.1.10 */
		why_set(s->why, MAIL_STATUS(5, 1, 10), "Domain " STR_FMT
		    " does not accept mail (nullMX)", STR_ARG(domain));
		return -1;
	}
	qsort(hosts, n, sizeof(hosts[0]), by_preference);
	if ((keep = leave_out_self(s->o, hosts, n)) == 0) {
		looped(s, domain);
		return -1;
	}
	find_addresses(s, hosts, keep);
	if (s->n == 0 && s->loop && !s->tempfail)
		looped(s, domain);
	return 0;
}

static int find_literal(struct search *s, const struct net_addr *addr)
{
	char text[NET_ADDR_TEXT];
	bool off = addr->family == AF_INET ? !s->o->ipv4 : !s->o->ipv6;

	net_addr_text(addr, text);
	if (off) {
		why_set(s->why, MAIL_STATUS(5, 4, 4), "address %s is of a "
		    "protocol that inet_protocols leaves out", text);
		return -1;
	}
	add_target(s, str_of(text), 0, str_n(addr->ip,
	    addr->family == AF_INET ? 4 : 16));
	return 0;
}

int targets_find(const struct target_options *o, const struct nexthop *hop,
    struct arena *arena, struct targets *out, struct why *why)
{
	struct search s = { .o = o, .arena = arena, .port = hop->port,
		.why = why };
	struct host host = { .name = hop->host };
	struct net_addr addr;
	int rc = 0;

	why_set(why, MAIL_STATUS(4, 3, 0), "no memory");
	s.v = arena_array(arena, TARGETS_MAX + 1, sizeof(*s.v));
	if (s.v == NULL)
		return -1;
	if (hop->path != NULL) {
		s.v[s.n++] = (struct target){ .host = hop->path,
			.path = hop->path };
	} else if (net_addr_parse(hop->host, &addr) == 0 ||
	    net_addr_parse_literal(hop->host, &addr) == 0) {
		rc = find_literal(&s, &addr);
	} else if (hop->use_mx) {
		rc = find_by_mx(&s, hop->host);
	} else {
		find_addresses(&s, &host, 1);
	}
	if (rc < 0 || s.n == 0 || arena_failed(arena))
		return -1;
	cut(&s);
	out->v = s.v;
	out->n = s.n;
	return 0;
}
