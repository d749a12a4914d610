#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "config/params.h"
#include "net/addr.h"
#include "net/nexthop.h"
#include "postern/check.h"

#define ARENA_MAX (1024 * 1024)

/* Each says whether a value is good, else why not. Empty ones do not come. */
typedef const char *value_fn(struct str value);

static const char *check_interfaces(struct str value)
{
	struct str word;
	struct net_addr addr;

	while (param_word(&value, false, &word))
		if (!str_eq_nocase_c(word, "all") &&
		    !str_eq_nocase_c(word, "loopback-only") &&
		    !str_eq_nocase_c(word, "localhost") &&
		    net_addr_parse(word, &addr) < 0)
			return "want all, loopback-only or addresses";
	return NULL;
}

static const char *check_protocols(struct str value)
{
	struct str word;

	while (param_word(&value, false, &word))
		if (!str_eq_nocase_c(word, "all") &&
		    !str_eq_nocase_c(word, "ipv4") &&
		    !str_eq_nocase_c(word, "ipv6"))
			return "want all, ipv4 or ipv6";
	return NULL;
}

static const char *why_no_next_hop(struct str value, bool lmtp)
{
	struct arena *arena = arena_new(ARENA_MAX);
	struct nexthop hops[NEXTHOP_MAX];
	const char *why = "no memory";

	if (arena != NULL &&
	    nexthop_parse(value, lmtp, 25, arena, hops, &why) >= 0)
		why = NULL;
	arena_free(&arena);
	return why;
}

static const char *check_relay(struct str value)
{
	return why_no_next_hop(value, false);
}

/* As dns/servers.c reads it. */
static const char *check_servers(struct str value)
{
	struct str word;

	while (str_word(&value, ", \t\r\n", &word)) {
		struct net_addr addr;
		ssize_t at = str_chr(word, '@');
		uint64_t port = 53;

		if ((at >= 0 && str_to_u64(str_from(word, (size_t)at + 1),
			65535, &port) < 0) || port == 0 || *word.p == '[' ||
		    net_addr_parse(at >= 0 ? str_sub(word, 0, (size_t)at)
			: word, &addr) < 0)
			return "want address or address@port";
	}
	return NULL;
}

static const char *check_address4(struct str value)
{
	struct net_addr addr;

	return net_addr_parse(value, &addr) == 0 && addr.family == AF_INET
	    ? NULL : "want an IPv4 address";
}

static const char *check_address6(struct str value)
{
	struct net_addr addr;

	return net_addr_parse(value, &addr) == 0 && addr.family == AF_INET6
	    ? NULL : "want an IPv6 address";
}

static const char *check_port(struct str value)
{
	return nexthop_port(value) > 0 ? NULL : "want a port";
}

static const struct {
	const char *param;
	value_fn *why_not;
} rows[] = {
	{ "inet_interfaces", check_interfaces },
	{ "inet_protocols", check_protocols },
	{ "relayhost", check_relay },
	{ "smtp_fallback_relay", check_relay },
	{ "dns_servers", check_servers },
	{ "smtp_bind_address", check_address4 },
	{ "smtp_bind_address6", check_address6 },
	{ "smtp_tcp_port", check_port },
	{ "lmtp_tcp_port", check_port },
};

/* Asks as master will: the host may allow addresses that it has not. */
static bool is_elsewhere(struct str text)
{
	struct net_addr addr;
	struct sockaddr_storage sa;
	socklen_t n;
	int fd;
	bool elsewhere;

	if (net_addr_parse(text, &addr) < 0)
		return false;
	n = net_addr_to_sockaddr(&addr, &sa);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	elsewhere = fd >= 0 && bind(fd, (struct sockaddr *)&sa, n) < 0 &&
	    errno == EADDRNOTAVAIL;
	if (fd >= 0)
		close(fd);
	return elsewhere;
}

static const char elsewhere[] = "no interface of this host has the address";

static void check_addresses(struct check *k)
{
	struct str rest = str_of(check_value(k, "inet_interfaces")), word;
	size_t n;
	const struct master_service *s = config_services(k->c, &n);

	while (param_word(&rest, false, &word))
		if (is_elsewhere(word))
			check_report(k, true, "inet_interfaces", "write one "
			    "that it has, all or loopback-only", "%s "
			    STR_FMT, elsewhere, STR_ARG(word));
	for (size_t i = 0; i < n; i++)
		if (s[i].type == MASTER_INET && s[i].host != NULL &&
		    is_elsewhere(str_of(s[i].host)))
			check_report_file(k, "master.cf", s[i].line, "write "
			    "one that it has, or the port alone", "%s %s",
			    elsewhere, s[i].host);
}

static const char *why_not(const char *param, struct str value)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].param, param) == 0)
			return str_trim(value).n > 0
			    ? rows[i].why_not(str_trim(value)) : NULL;
	return NULL;
}

static void check_services(struct check *k)
{
	size_t n;
	const struct master_service *s = config_services(k->c, &n);
	const char *why;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < s[i].override_count; j++) {
			const struct master_override *o = &s[i].overrides[j];

			/* $names are main.cf's, which was told of */
			if (strchr(o->value, '$') == NULL && (why = why_not(
			    o->name, str_of(o->value))) != NULL)
				check_report_file(k, "master.cf", s[i].line,
				    NULL, "%s = %.60s: %s", o->name, o->value,
				    why);
		}
}

void check_network(struct check *k)
{
	const char *value, *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		value = check_value(k, rows[i].param);
		if ((why = why_not(rows[i].param, str_of(value))) != NULL)
			check_report(k, true, rows[i].param, NULL,
			    "%.60s: %s", value, why);
	}
	check_services(k);
	check_addresses(k);
}

void check_next_hop(struct check *k, const char *param, const char *program,
    struct str hop)
{
	bool lmtp = strcmp(program, "lmtp") == 0;
	const char *why;

	if ((!lmtp && strcmp(program, "smtp") != 0 &&
		strcmp(program, "relay") != 0) || hop.n == 0)
		return;
	if ((why = why_no_next_hop(hop, lmtp)) != NULL)
		check_report(k, true, param, "write domain, [host] or "
		    "[host]:port", "%s: " STR_FMT, why,
		    STR_ARG(str_sub(hop, 0, 60)));
}
