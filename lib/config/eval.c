/* eval.c - what a parameter's text comes to, with $names replaced */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "config/expand.h"
#include "config/internal.h"

/* myhostname may name mydomain and mydomain be made of myhostname. */
#define COMPUTED_DEPTH 3
#define NETWORK_FILES_DEEP 5

struct evaluation {
	const struct config *c;
	const struct master_service *service;
	struct arena *arena;
	unsigned computed;
};

static bool find_raw(struct str name, struct str *value_r, void *ctx);

/* The first line of a file, as Debian keeps the mail name. */
static struct str first_line(struct arena *arena, struct str path)
{
	char name[4096], line[1024];
	struct str found = STR_NONE;
	FILE *f;

	if (str_to_c(path, name, sizeof(name)) < 0 ||
	    (f = fopen(name, "re")) == NULL)
		return STR_NONE;
	if (fgets(line, sizeof(line), f) != NULL)
		found = arena_str(arena, str_trim(str_of(line)));
	fclose(f);
	return found;
}

static bool find_set(const struct evaluation *e, struct str name,
    struct str *value_r)
{
	const struct master_service *s = e->service;
	struct entry *entry;

	for (size_t i = s ? s->override_count : 0; i-- > 0;)
		if (str_eq_c(name, s->overrides[i].name)) {
			*value_r = str_of(s->overrides[i].value);
			return true;
		}
	if ((entry = config_entry(e->c, name)) == NULL)
		return false;
	*value_r = entry->value;
	return true;
}

/* What nobody can set. */
static bool find_fixed(const struct evaluation *e, struct str name,
    struct str *value_r)
{
	if (str_eq_c(name, "config_directory"))
		*value_r = str_of(e->c->directory);
	else if (str_eq_c(name, "postern_version"))
		*value_r = str_of(POSTERN_VERSION);
	else if (str_eq_c(name, "service_name"))
		*value_r = str_of(e->service ? e->service->name : "");
	else if (str_eq_c(name, "process_name"))
		*value_r = str_of(e->service ? e->service->command : "");
	else if (str_eq_c(name, "process_id"))
		*value_r = STR_NONE;
	else
		return false;
	return true;
}

/* mydomain is myhostname without its first label. */
static struct str compute_domain(struct evaluation *e)
{
	struct evaluation inner = *e;
	struct str raw, host = STR_NONE;
	const char *why;
	struct buf out;
	ssize_t dot;

	if (++inner.computed > COMPUTED_DEPTH)
		return STR_NONE;
	buf_init(&out, EXPAND_SIZE);
	if (find_raw(STR("myhostname"), &raw, &inner) &&
	    expand_text(raw, find_raw, &inner, &out, &why) == 0)
		host = arena_str(e->arena, buf_str(&out));
	buf_fini(&out);
	dot = str_chr(host, '.');
	return dot < 0 ? STR("localdomain") : str_from(host, (size_t)dot + 1);
}

/* An expand_lookup_fn: what is set, computed, or the default. */
static bool find_raw(struct str name, struct str *value_r, void *ctx)
{
	struct evaluation *e = ctx;
	const struct param *p;

	if (find_fixed(e, name, value_r))
		return true;
	if (find_set(e, name, value_r)) {
		if (str_eq_c(name, "myorigin") && value_r->n > 0 &&
		    *value_r->p == '/')
			*value_r = first_line(e->arena, *value_r);
		return true;
	}
	if (str_eq_c(name, "myhostname"))
		*value_r = str_of(e->c->hostname);
	else if (str_eq_c(name, "mydomain"))
		*value_r = compute_domain(e);
	else if (str_eq_c(name, "mynetworks"))
		*value_r = str_of(e->c->networks);
	else if (str_eq_c(name, "stress"))
		*value_r = STR_NONE;
	else if ((p = param_find(name)) != NULL)
		*value_r = str_of(p->default_text);
	else
		return false;
	return true;
}

const char *config_evaluate_text(const struct config *c,
    const struct master_service *s, struct str text, struct arena *arena,
    const char **why)
{
	struct evaluation e = { .c = c, .service = s, .arena = arena };
	struct buf out;
	const char *result = NULL;

	buf_init(&out, EXPAND_SIZE);
	if (expand_text(text, find_raw, &e, &out, why) == 0 &&
	    (result = arena_cstr(arena, str_trim(buf_str(&out)))) == NULL)
		*why = "out of memory";
	buf_fini(&out);
	return result;
}

/*
 * Lists of networks are matched by programs that open no files: the words
 * of /files that they name take the names' places.
 */
static const char *const network_lists[] = { "mynetworks",
	"smtpd_forbid_bare_newline_exclusions",
	"smtpd_client_event_limit_exceptions", NULL };

bool config_is_network_list(struct str name)
{
	for (size_t i = 0; network_lists[i] != NULL; i++)
		if (str_eq_c(name, network_lists[i]))
			return true;
	return false;
}

static int put_network_file(struct str path, struct buf *out, unsigned depth);

static int put_networks(struct str text, struct buf *out, unsigned depth)
{
	struct str word;

	while (param_word(&text, true, &word)) {
		if (*word.p == '/') {
			if (put_network_file(word, out, depth + 1) < 0)
				return -1;
			continue;
		}
		if (out->n > 0)
			buf_append_c(out, ", ");
		buf_append(out, word);
	}
	return out->failed ? -1 : 0;
}

static int put_network_file(struct str path, struct buf *out, unsigned depth)
{
	char name[4096], line[4096];
	struct str text;
	FILE *f;
	int ret = 0;

	if (depth > NETWORK_FILES_DEEP ||
	    str_to_c(path, name, sizeof(name)) < 0 ||
	    (f = fopen(name, "re")) == NULL)
		return -1;
	while (ret == 0 && fgets(line, sizeof(line), f) != NULL) {
		text = str_trim(str_of(line));
		if (text.n > 0 && *text.p != '#')
			ret = put_networks(text, out, depth);
	}
	if (ferror(f))
		ret = -1;
	fclose(f);
	return ret;
}

static const char *flatten_networks(const char *text, struct arena *arena,
    const char **why)
{
	const char *result = NULL;
	struct buf out;

	buf_init(&out, EXPAND_SIZE);
	if (put_networks(str_of(text), &out, 0) < 0)
		*why = "a /file that it names cannot be read";
	else if ((result = arena_cstr(arena, buf_str(&out))) == NULL)
		*why = "out of memory";
	buf_fini(&out);
	return result;
}

const char *config_evaluate(const struct config *c,
    const struct master_service *s, struct str name, struct arena *arena,
    const char **why)
{
	struct evaluation e = { .c = c, .service = s, .arena = arena };
	const struct param *p = param_find(name);
	const char *result;
	struct str raw;

	*why = NULL;
	if (!find_raw(name, &raw, &e))
		return NULL;
	if (p == NULL || p->kind != PARAM_RAW) {
		result = config_evaluate_text(c, s, raw, arena, why);
		if (result != NULL && config_is_network_list(name) &&
		    (*result == '/' || strstr(result, " /") ||
			strstr(result, ",/")))
			result = flatten_networks(result, arena, why);
		return result;
	}
	if ((result = arena_cstr(arena, raw)) == NULL)
		*why = "out of memory";
	return result;
}

void config_compute_defaults(struct config *c)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) < 0 || name[0] == '\0')
		snprintf(name, sizeof(name), "localhost");
	c->hostname = config_printf(c, "%s%s", name,
	    strchr(name, '.') ? "" : ".localdomain");
	c->networks = config_printf(c, "127.0.0.0/8 [::1]/128");
	if (c->hostname == NULL || c->networks == NULL)
		c->failed = true;
}

static unsigned count_bits(const uint8_t *mask, size_t n)
{
	unsigned bits = 0;

	for (size_t i = 0; i < n; i++)
		bits += (unsigned)__builtin_popcount(mask[i]);
	return bits;
}

static bool is_wanted(struct str interfaces, const char *address,
    bool loopback)
{
	struct str word;

	while (param_word(&interfaces, true, &word)) {
		if (str_eq_c(word, "all") ||
		    (loopback && str_eq_c(word, "loopback-only")))
			return true;
		if (word.n > 1 && *word.p == '[')
			word = str_sub(word, 1, word.n - 2);
		if (str_eq_nocase_c(word, address))
			return true;
	}
	return false;
}

/* The bits of the network that an IPv4 address's class had. */
static unsigned class_bits(uint8_t first)
{
	return first < 128 ? 8 : first < 192 ? 16 : 24;
}

static void add_network(struct buf *out, const struct ifaddrs *i,
    const char *style, struct str interfaces, struct str protocols)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];
	bool is6 = i->ifa_addr->sa_family == AF_INET6;
	size_t n = is6 ? 16 : 4;
	unsigned bits = is6 ? 128 : 32, keep;
	const void *mask = NULL;

	if (str_find(protocols, str_of(is6 ? "ipv6" : "ipv4")) < 0 &&
	    str_find(protocols, STR("all")) < 0)
		return;
	memcpy(address, is6
	    ? (const void *)&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr
	    : (const void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr, n);
	inet_ntop(i->ifa_addr->sa_family, address, text, sizeof(text));
	if (!is_wanted(interfaces, text, i->ifa_flags & IFF_LOOPBACK))
		return;
	if (i->ifa_netmask != NULL)
		mask = is6 ? (const void *)
		    &((struct sockaddr_in6 *)i->ifa_netmask)->sin6_addr
		    : (const void *)
		    &((struct sockaddr_in *)i->ifa_netmask)->sin_addr;
	if (strcmp(style, "host") != 0 && mask != NULL)
		bits = count_bits(mask, n);
	if (strcmp(style, "class") == 0 && !is6)
		bits = class_bits(address[0]);
	for (size_t k = 0; k < n; k++) {
		keep = bits > k * 8 ? bits - (unsigned)k * 8 : 0;
		if (keep < 8)
			address[k] &= (uint8_t)(0xff00 >> keep);
	}
	inet_ntop(i->ifa_addr->sa_family, address, text, sizeof(text));
	buf_printf(out, is6 ? "%s[%s]/%u" : "%s%s/%u", out->n ? " " : "",
	    text, bits);
}

void config_compute_networks(struct config *c)
{
	const char *style, *interfaces, *protocols, *why;
	struct ifaddrs *list = NULL, *i;
	struct buf out;

	style = config_evaluate(c, NULL, STR("mynetworks_style"), c->arena,
	    &why);
	interfaces = config_evaluate(c, NULL, STR("inet_interfaces"), c->arena,
	    &why);
	protocols = config_evaluate(c, NULL, STR("inet_protocols"), c->arena,
	    &why);
	if (style == NULL || interfaces == NULL || protocols == NULL ||
	    getifaddrs(&list) < 0)
		return;
	buf_init(&out, 60000);
	for (i = list; i != NULL; i = i->ifa_next)
		if (i->ifa_addr != NULL &&
		    (i->ifa_addr->sa_family == AF_INET ||
			i->ifa_addr->sa_family == AF_INET6))
			add_network(&out, i, style, str_of(interfaces),
			    str_of(protocols));
	if (out.n > 0)
		c->networks = arena_cstr(c->arena, buf_str(&out));
	buf_fini(&out);
	freeifaddrs(list);
}
