/* answer.c - a question, whole */
#include "base/log.h"
#include "lookup/lookup.h"

static const char temporary[] = "4.3.0 Temporary lookup failure";

static void warn(struct query *q, struct str address)
{
	log_warn("lookup of " STR_FMT ": " STR_FMT, STR_ARG(address),
	    STR_ARG(buf_str(&q->why)));
}

/*
 * Mail that would only be sent back is not taken: the way is `error`, or
 * `retry` for the time being, with the reason as its next hop.
 */
static void refuse_route(struct resolve_reply *r)
{
	if (str_eq_c(r->transport, "error"))
		r->status = LOOKUP_NO_USER;
	else if (str_eq_c(r->transport, "retry"))
		r->status = LOOKUP_TEMPFAIL;
	else
		return;
	r->text = r->nexthop;
}

void lookup_answer_resolve(struct query *q, const struct resolve_request *m,
    struct resolve_reply *r)
{
	enum lookup_class class = LOOKUP_DEFAULT;
	struct parts p;
	int found;

	*r = (struct resolve_reply){ .status = LOOKUP_OK,
		.klass = LOOKUP_DEFAULT };
	if (m->address.n == 0 && m->is_sender)
		return;
	if (lookup_rewrite(q, m->address, &r->address) < 0) {
		r->status = LOOKUP_BAD;
		r->text = STR("5.1.3 Bad address syntax");
		return;
	}
	p = lookup_split(r->address);
	if (lookup_route(q, p, &class, &r->transport, &r->nexthop) < 0 ||
	    (found = lookup_has_alias(q, p)) < 0)
		goto temporary;
	r->klass = class;
	r->has_alias = found > 0;
	if (!r->has_alias &&
	    (found = lookup_recipient_exists(q, p, class)) < 0)
		goto temporary;
	if (!found) {
		r->status = LOOKUP_NO_USER;
		r->text = str_of(lookup_unknown_text(class));
	} else if (!r->has_alias && !m->is_sender) {
		refuse_route(r);
	}
	return;
temporary:
	warn(q, m->address);
	*r = (struct resolve_reply){ .status = LOOKUP_TEMPFAIL,
		.klass = LOOKUP_DEFAULT, .text = str_of(temporary) };
}

void lookup_answer_expand(struct query *q, const struct expand_request *m,
    struct expand_reply *r)
{
	struct str address;
	enum lookup_class class;
	size_t n;

	*r = (struct expand_reply){ .status = LOOKUP_OK };
	if (lookup_rewrite(q, m->address, &address) < 0) {
		r->status = LOOKUP_BAD;
		r->text = STR("5.1.3 Bad address syntax");
		return;
	}
	if (lookup_expand(q, address, &r->addresses) < 0)
		goto temporary;
	n = r->addresses.n;
	r->transports = (struct strs){ arena_array(q->arena, n,
	    sizeof(struct str)), n };
	r->nexthops = (struct strs){ arena_array(q->arena, n,
	    sizeof(struct str)), n };
	if (r->transports.v == NULL || r->nexthops.v == NULL)
		goto temporary;
	for (size_t i = 0; i < n; i++)
		if (lookup_route(q, lookup_split(r->addresses.v[i]), &class,
		    &r->transports.v[i], &r->nexthops.v[i]) < 0)
			goto temporary;
	return;
temporary:
	warn(q, m->address);
	*r = (struct expand_reply){ .status = LOOKUP_TEMPFAIL,
		.text = str_of(temporary) };
}

void lookup_answer_alias(struct query *q, const struct alias_request *m,
    struct alias_reply *r)
{
	struct table_list *maps = q->l->alias_maps;
	struct buf value;
	int found = 0;
	size_t i;

	*r = (struct alias_reply){ .status = LOOKUP_NO_USER };
	if (str_has_ctl(m->name))
		return;
	buf_init(&value, TABLE_VALUE_MAX);
	for (i = 0; i < table_list_count(maps) && found == 0; i++)
		found = table_find(table_list_at(maps, i), m->name, &value);
	if (found > 0) {
		r->status = LOOKUP_OK;
		r->value = arena_str(q->arena, buf_str(&value));
		/* Only root's own word (in an instance without root, its
		 * owner's) may name commands and files. */
		r->by_root = table_is_trusted(table_list_at(maps, i - 1));
		if (value.n > 0 && r->value.p == NULL)
			r->status = LOOKUP_TEMPFAIL;
	} else if (found < 0) {
		buf_reset(&q->why);
		buf_append(&q->why, buf_str(&value));
		warn(q, m->name);
		r->status = LOOKUP_TEMPFAIL;
	}
	buf_fini(&value);
}
