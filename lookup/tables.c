/* tables.c - everything that the parameters name, opened once */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "lookup/lookup.h"

#define OWN_MAX 1000

static struct table_list *open_list(const char *name, const char *text,
    struct buf *why)
{
	struct table_list *list = table_list_new(str_of(text), why);
	struct buf reason;

	if (list == NULL) {
		buf_init(&reason, 2000);
		buf_printf(&reason, "%s: " STR_FMT, name,
		    STR_ARG(buf_str(why)));
		buf_reset(why);
		buf_append(why, buf_str(&reason));
		buf_fini(&reason);
	}
	return list;
}

static bool has_word(const char *text, const char *wanted)
{
	struct str rest = str_of(text), word;

	while (param_word(&rest, false, &word))
		if (str_eq_nocase_c(word, wanted))
			return true;
	return false;
}

static void add_own(struct lookup *l, const void *address, int family)
{
	char text[INET6_ADDRSTRLEN];

	if (l->own_count < OWN_MAX && inet_ntop(family, address, text,
	    sizeof(text)) != NULL)
		l->own_addresses[l->own_count++] = arena_str(l->arena,
		    str_of(text));
}

/* Mail to user@[one of our addresses] is local. */
static int list_own_addresses(struct lookup *l)
{
	struct str rest = str_of(l->params->proxy_interfaces), word;
	struct ifaddrs *list = NULL, *i;

	l->own_addresses = arena_array(l->arena, OWN_MAX, sizeof(struct str));
	if (l->own_addresses == NULL)
		return -1;
	while (param_word(&rest, false, &word) && l->own_count < OWN_MAX)
		l->own_addresses[l->own_count++] = arena_str(l->arena, word);
	if (getifaddrs(&list) < 0)
		return 0;
	for (i = list; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			add_own(l, &((struct sockaddr_in *)
			    (void *)i->ifa_addr)->sin_addr, AF_INET);
		else if (i->ifa_addr->sa_family == AF_INET6)
			add_own(l, &((struct sockaddr_in6 *)
			    (void *)i->ifa_addr)->sin6_addr, AF_INET6);
	}
	freeifaddrs(list);
	return 0;
}

static int open_domains(struct domain_list **list_r, const char *name,
    const char *text, bool parents, struct buf *why)
{
	struct buf reason;

	buf_init(&reason, 2000);
	*list_r = domain_list_new(str_of(text), parents, &reason);
	if (*list_r == NULL) {
		buf_reset(why);
		buf_printf(why, "%s: " STR_FMT, name,
		    STR_ARG(buf_str(&reason)));
	}
	buf_fini(&reason);
	return *list_r ? 0 : -1;
}

struct lookup *lookup_new(const struct params *p, lookup_user_fn *user_exists,
    void *ctx, struct buf *why)
{
	struct lookup *l = calloc(1, sizeof(*l));
	bool relay_parents = has_word(p->parent_domain_matches_subdomains,
	    "relay_domains");

	if (l == NULL || (l->arena = arena_new(1024 * 1024)) == NULL) {
		free(l);
		return NULL;
	}
	l->params = p;
	l->user_exists = user_exists;
	l->ctx = ctx;
	l->propagates_virtual = has_word(p->propagate_unmatched_extensions,
	    "virtual");
	if (list_own_addresses(l) < 0 ||
	    open_domains(&l->mydestination, "mydestination",
		p->mydestination, false, why) < 0 ||
	    open_domains(&l->virtual_alias_domains, "virtual_alias_domains",
		p->virtual_alias_domains, false, why) < 0 ||
	    open_domains(&l->virtual_mailbox_domains,
		"virtual_mailbox_domains", p->virtual_mailbox_domains, false,
		why) < 0 ||
	    open_domains(&l->relay_domains, "relay_domains",
		p->relay_domains, relay_parents, why) < 0 ||
	    !(l->virtual_alias_maps = open_list("virtual_alias_maps",
		p->virtual_alias_maps, why)) ||
	    !(l->virtual_mailbox_maps = open_list("virtual_mailbox_maps",
		p->virtual_mailbox_maps, why)) ||
	    !(l->local_recipient_maps = open_list("local_recipient_maps",
		p->local_recipient_maps, why)) ||
	    !(l->relay_recipient_maps = open_list("relay_recipient_maps",
		p->relay_recipient_maps, why)) ||
	    !(l->transport_maps = open_list("transport_maps",
		p->transport_maps, why)) ||
	    !(l->alias_maps = open_list("alias_maps", p->alias_maps, why)))
		lookup_free(&l);
	return l;
}

void lookup_free(struct lookup **lp)
{
	struct lookup *l = *lp;

	if (l == NULL)
		return;
	domain_list_free(&l->mydestination);
	domain_list_free(&l->virtual_alias_domains);
	domain_list_free(&l->virtual_mailbox_domains);
	domain_list_free(&l->relay_domains);
	table_list_free(&l->virtual_alias_maps);
	table_list_free(&l->virtual_mailbox_maps);
	table_list_free(&l->local_recipient_maps);
	table_list_free(&l->relay_recipient_maps);
	table_list_free(&l->transport_maps);
	table_list_free(&l->alias_maps);
	arena_free(&l->arena);
	free(l);
	*lp = NULL;
}
