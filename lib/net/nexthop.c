#include "net/addr.h"
#include "net/nexthop.h"

int nexthop_port(struct str s)
{
	static const struct { const char *name; int port; } names[] = {
		{ "smtp", 25 }, { "mail", 25 }, { "lmtp", 24 },
		{ "submission", 587 }, { "submissions", 465 },
		{ "smtps", 465 }, { "ssmtp", 465 }, { "urd", 465 },
	};
	uint64_t port;

	if (str_to_u64(s, 65535, &port) == 0)
		return port > 0 ? (int)port : -1;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_nocase_c(s, names[i].name))
			return names[i].port;
	return -1;
}

/* "[host]:port" or "host:port" into its parts. */
static int split_port(struct str text, struct str *host, struct str *port,
    bool *brackets)
{
	ssize_t at;

	*port = STR_NONE;
	*brackets = text.n > 0 && text.p[0] == '[';
	if (*brackets) {
		struct str rest;

		if ((at = str_chr(text, ']')) < 0)
			return -1;
		*host = str_sub(text, 1, (size_t)at - 1);
		rest = str_from(text, (size_t)at + 1);
		if (rest.n == 0)
			return host->n > 0 ? 0 : -1;
		if (rest.p[0] != ':')
			return -1;
		*port = str_from(rest, 1);
		return host->n > 0 && port->n > 0 ? 0 : -1;
	}
	at = str_chr(text, ':');
	/* more than one colon: a bare IPv6 address */
	if (at >= 0 && at == str_rchr(text, ':')) {
		*host = str_sub(text, 0, (size_t)at);
		*port = str_from(text, (size_t)at + 1);
		return host->n > 0 && port->n > 0 ? 0 : -1;
	}
	*host = text;
	return host->n > 0 ? 0 : -1;
}

static int parse_one(struct str word, bool lmtp, uint16_t default_port,
    struct arena *arena, struct nexthop *out, const char **why_r)
{
	struct net_addr addr;
	struct str host, port;
	bool brackets, is_address;
	int number;

	*out = (struct nexthop){ .port = default_port };
	*why_r = "bad next hop";
	if (lmtp && str_starts(word, STR("unix:"))) {
		word = str_from(word, 5);
		if (word.n == 0 || str_has_nul(word))
			return -1;
		out->path = arena_cstr(arena, word);
		return out->path != NULL ? 0 : -1;
	}
	if (str_starts(word, STR("inet:")))
		word = str_from(word, 5);
	if (split_port(word, &host, &port, &brackets) < 0 ||
	    str_has_ctl(host) || host.n > 255)
		return -1;
	if (port.n > 0) {
		if ((number = nexthop_port(port)) < 0) {
			*why_r = "unknown port in next hop";
			return -1;
		}
		out->port = (uint16_t)number;
	}
	is_address = net_addr_parse(host, &addr) == 0;
	if (!brackets && !is_address && str_chr(host, ':') >= 0)
		return -1;
	/* a bare address is never a domain with MX records */
	out->use_mx = !lmtp && !brackets && !is_address;
	if (host.n > 1 && host.p[host.n - 1] == '.')
		host.n--;
	out->host = arena_str(arena, host);
	return arena_failed(arena) ? -1 : 0;
}

int nexthop_parse(struct str text, bool lmtp, uint16_t default_port,
    struct arena *arena, struct nexthop out[NEXTHOP_MAX], const char **why_r)
{
	struct str word;
	int n = 0;

	*why_r = "no next hop";
	while (n < NEXTHOP_MAX && str_word(&text, ", \t\r\n", &word)) {
		if (parse_one(word, lmtp, default_port, arena, &out[n],
			why_r) < 0)
			return -1;
		n++;
	}
	return n > 0 ? n : -1;
}
