/* resolve.c - address class, transport, next hop */
#include "lookup/lookup.h"

int lookup_class(struct query *q, struct parts p, enum lookup_class *class_r)
{
	const struct lookup *l = q->l;
	const struct {
		struct domain_list *list;
		enum lookup_class class;
	} order[] = {
		{ l->virtual_alias_domains, LOOKUP_VIRTUAL_ALIAS },
		{ l->virtual_mailbox_domains, LOOKUP_VIRTUAL_MAILBOX },
		{ l->relay_domains, LOOKUP_RELAY },
	};
	int found = domain_list_match(l->mydestination, p.domain, &q->why);

	if (found == 0 && p.domain.n > 0 && *p.domain.p == '[')
		found = lookup_is_ours(q, p.domain);
	*class_r = LOOKUP_LOCAL;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && found == 0;
	    i++) {
		found = domain_list_match(order[i].list, p.domain, &q->why);
		*class_r = order[i].class;
	}
	if (found == 0)
		*class_r = LOOKUP_DEFAULT;
	return found < 0 ? -1 : 0;
}

/* "transport:nexthop" in its parts; without a colon it is a transport. */
static void split_route(struct str text, struct str *transport,
    struct str *nexthop)
{
	ssize_t colon = str_chr(text, ':');

	text = str_trim(text);
	*transport = colon < 0 ? text : str_sub(text, 0, (size_t)colon);
	*nexthop = colon < 0 ? STR_NONE : str_from(text, (size_t)colon + 1);
}

/* One key of transport_maps; a hit changes what it names. */
static int try_transport(struct query *q, struct str key, bool is_partial,
    struct str domain, struct str *transport_r, struct str *nexthop_r)
{
	struct table_list *maps = q->l->transport_maps;
	struct str transport, nexthop;
	struct buf value;
	int found = 0;

	buf_init(&value, TABLE_VALUE_MAX);
	for (size_t i = 0; i < table_list_count(maps) && found == 0; i++) {
		struct table *t = table_list_at(maps, i);

		if (is_partial && (table_is_pattern(t) || table_is_constant(t)))
			continue;
		if ((found = table_find(t, key, &value)) < 0) {
			buf_reset(&q->why);
			buf_append(&q->why, buf_str(&value));
		}
	}
	if (found > 0) {
		split_route(buf_str(&value), &transport, &nexthop);
		/* ":" alone: as if there were no entry. "x:" : to the domain
		 * itself, whatever relayhost says. */
		if (nexthop.n > 0)
			*nexthop_r = arena_str(q->arena, nexthop);
		else if (transport.n > 0)
			*nexthop_r = domain;
		if (transport.n > 0)
			*transport_r = arena_str(q->arena, transport);
	}
	buf_fini(&value);
	return found;
}

/* user+ext@domain, user@domain, domain, .parent ..., * */
static int apply_transport_maps(struct query *q, struct parts p,
    struct str *transport_r, struct str *nexthop_r)
{
	struct str ext, bare = lookup_strip(q->l, p.local, &ext), rest;
	int found;

	if (table_list_count(q->l->transport_maps) == 0)
		return 0;
	found = try_transport(q, arena_printf(q->arena, STR_FMT "@" STR_FMT,
	    STR_ARG(p.local), STR_ARG(p.domain)), false, p.domain,
	    transport_r, nexthop_r);
	if (found == 0 && ext.n > 0)
		found = try_transport(q, arena_printf(q->arena, STR_FMT "@"
		    STR_FMT, STR_ARG(bare), STR_ARG(p.domain)), true,
		    p.domain, transport_r, nexthop_r);
	if (found == 0)
		found = try_transport(q, p.domain, true, p.domain,
		    transport_r, nexthop_r);
	for (rest = p.domain; found == 0 && rest.n > 1;) {
		ssize_t dot = str_chr(str_from(rest, 1), '.');

		if (dot < 0)
			break;
		rest = str_from(rest, (size_t)dot + 1);
		found = try_transport(q, rest, true, p.domain, transport_r,
		    nexthop_r);
	}
	if (found == 0)
		found = try_transport(q, STR("*"), true, p.domain,
		    transport_r, nexthop_r);
	return found < 0 ? -1 : 0;
}

int lookup_route(struct query *q, struct parts p, enum lookup_class *class_r,
    struct str *transport_r, struct str *nexthop_r)
{
	const struct params *params = q->l->params;
	const char *route = params->default_transport;

	if (lookup_class(q, p, class_r) < 0)
		return -1;
	switch (*class_r) {
	case LOOKUP_LOCAL:
		route = params->local_transport;
		break;
	case LOOKUP_VIRTUAL_ALIAS:
		route = "error:5.1.1 User unknown in virtual alias table";
		break;
	case LOOKUP_VIRTUAL_MAILBOX:
		route = params->virtual_transport;
		break;
	case LOOKUP_RELAY:
		route = params->relay_transport;
		break;
	case LOOKUP_DEFAULT:
		break;
	}
	split_route(str_of(route), transport_r, nexthop_r);
	if (nexthop_r->n == 0 && *params->relayhost != '\0' &&
	    (*class_r == LOOKUP_RELAY || *class_r == LOOKUP_DEFAULT))
		*nexthop_r = str_of(params->relayhost);
	if (nexthop_r->n == 0)
		*nexthop_r = p.domain;
	if (apply_transport_maps(q, p, transport_r, nexthop_r) < 0)
		return -1;
	if (transport_r->n == 0) {
		buf_reset(&q->why);
		buf_append_c(&q->why, "a transport without a name");
		return -1;
	}
	return 0;
}
