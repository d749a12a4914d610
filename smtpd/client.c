#include <stdio.h>
#include "base/log.h"
#include "msgs/dns.h"
#include "service/service.h"
#include "smtpd/client.h"
#include "smtpd/command.h"
#include "smtpd/policy.h"

#define ARENA_MAX (64 * 1024)
#define TIMEOUT_DNS (10 * CLOCK_SECOND)
/* 32 nibbles with dots, "ip6.arpa", NUL */
#define REVERSE_SIZE 80

/* RFC 1035 3.5, RFC 3596 2.5 */
static void reverse_name(const struct net_addr *a, char out[REVERSE_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	char *p = out;

	if (a->family == AF_INET) {
		snprintf(out, REVERSE_SIZE, "%u.%u.%u.%u.in-addr.arpa",
		    a->ip[3], a->ip[2], a->ip[1], a->ip[0]);
		return;
	}
	for (int i = 15; i >= 0; i--) {
		*p++ = hex[a->ip[i] & 15];
		*p++ = '.';
		*p++ = hex[a->ip[i] >> 4];
		*p++ = '.';
	}
	memcpy(p, "ip6.arpa", sizeof("ip6.arpa"));
}

/* The name from the address, and whether the name leads back to it. */
void client_find_name(struct session *s)
{
	struct edge *edge = service_edge("dns");
	int64_t deadline = clock_now() + TIMEOUT_DNS;
	struct arena *arena;
	struct dns_reply r;
	char reverse[REVERSE_SIZE];
	struct str name;

	s->name = STR("unknown");
	s->name_status = s->reverse_status = ACCESS_NAME_NONE;
	if (net_addr_is_loopback(&s->peer)) { /* RFC 6761 6.3 */
		s->name = STR("localhost");
		s->name_status = s->reverse_status = ACCESS_NAME_OK;
		return;
	}
	if (s->peer.family == AF_UNSPEC ||
	    !s->smtpd->params->smtpd_peername_lookup)
		return;
	s->name_status = s->reverse_status = ACCESS_NAME_TEMPFAIL;
	if (edge == NULL || (arena = arena_new(ARENA_MAX)) == NULL)
		return;
	reverse_name(&s->peer, reverse);
	dns_ask(edge, DNS_PTR, str_of(reverse), deadline, arena, &r);
	if (r.status == DNS_NXDOMAIN || r.status == DNS_NODATA)
		s->name_status = s->reverse_status = ACCESS_NAME_NONE;
	if (r.status != DNS_OK || r.data.n == 0)
		goto out;
	s->reverse_status = ACCESS_NAME_OK;
	name = r.data.v[0];
	dns_ask(edge, s->peer.family == AF_INET ? DNS_A : DNS_AAAA, name,
	    deadline, arena, &r);
	if (r.status == DNS_TEMPFAIL || r.status == DNS_BOGUS)
		goto out;
	s->name_status = ACCESS_NAME_NONE;
	for (size_t i = 0; r.status == DNS_OK && i < r.data.n; i++)
		if (str_eq(r.data.v[i], str_n(s->peer.ip,
			s->peer.family == AF_INET ? 4 : 16)))
			s->name_status = ACCESS_NAME_OK;
	if (s->name_status == ACCESS_NAME_OK)
		s->name = arena_str(s->arena, name);
	else
		log_warn("hostname " STR_FMT " does not resolve to address %s",
		    STR_ARG(name), s->address);
out:
	arena_free(&arena);
}

static bool is_counted(const struct session *s)
{
	return s->smtpd->limits != NULL && s->peer.family != AF_UNSPEC &&
	    !net_cidr_list_match(&s->smtpd->event_exceptions, &s->peer);
}

static int count(struct session *s, uint64_t event, uint64_t number,
    struct limits_reply *r)
{
	struct limits_request q = {
		.event = event,
		.service = str_of(service_name()),
		.client_addr = str_of(s->address),
		.number = number,
	};

	memset(r, 0, sizeof(*r));
	return is_counted(s) ? limits_tell(s->smtpd->limits, &q, r) : -1;
}

static bool exceeds(struct session *s, const char *what, uint64_t value,
    int64_t limit)
{
	if (limit == 0 || value <= (uint64_t)limit)
		return false;
	log_warn("%s limit exceeded: %llu from " STR_FMT " for service %s",
	    what, (unsigned long long)value, STR_ARG(s->client),
	    service_name());
	return true;
}

/* Counts the connection; false: too many, the client was told. */
static bool admit(struct session *s)
{
	const struct params *p = s->smtpd->params;
	struct limits_reply r;

	if (count(s, LIMITS_CONNECT, 0, &r) < 0)
		return true;
	s->is_counted = true;
	if (!exceeds(s, "Connection concurrency", r.count,
		p->smtpd_client_connection_count_limit) &&
	    !exceeds(s, "Connection rate", r.rate,
		p->smtpd_client_connection_rate_limit))
		return true;
	session_line(s, "421 4.7.0 %s Error: too many connections from %s",
	    p->myhostname, s->address);
	return false;
}

/* RFC 5321 4.3.1: the client waits for the greeting. */
static bool waits_for_greeting(struct session *s)
{
	int64_t wait = s->smtpd->params->smtpd_greet_wait * CLOCK_SECOND;
	bool early = stream_input_pending(s->stream);

	if (s->is_stdio)
		return true;
	if (!early && wait > 0)
		early = stream_wait_input(s->stream, clock_now() + wait) ==
		    STREAM_OK;
	if (!early)
		return true;
	log_info("PREGREET from " STR_FMT, STR_ARG(s->client));
	session_line(s, "554 5.5.0 Error: SMTP protocol synchronization");
	return false;
}

bool client_greet(struct session *s)
{
	if (!admit(s))
		return false;
	if (s->smtpd->params->smtpd_tls_wrappermode && !s->is_stdio &&
	    session_start_tls(s) < 0)
		return false;
	if (!policy_permits(s, ACCESS_CLIENT, NULL))
		return false;
	if (s->tls.n == 0 && !waits_for_greeting(s))
		return false;
	session_line(s, "220 " STR_FMT, STR_ARG(s->smtpd->banner));
	return true;
}

bool client_may(struct session *s, uint64_t event, const char *what,
    int64_t limit, const char *complaint)
{
	struct limits_reply r;

	if (limit == 0 || count(s, event, 1, &r) < 0 ||
	    !exceeds(s, what, r.rate, limit))
		return true;
	session_reply(s, "450 4.7.1 Error: %s from %s", complaint, s->address);
	return false;
}

void client_leave(struct session *s)
{
	struct limits_reply unused;

	if (s->is_counted)
		count(s, LIMITS_DISCONNECT, 0, &unused);
	s->is_counted = false;
}
