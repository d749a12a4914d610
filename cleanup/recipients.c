#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "cleanup/recipients.h"
#include "msgs/lookup.h"
#include "service/service.h"

#define LOOKUP_TIMEOUT (30 * CLOCK_SECOND)

void recipients_init(struct recipients *r, struct arena *arena)
{
	*r = (struct recipients){ .arena = arena };
}

void recipients_fini(struct recipients *r)
{
	map_free(&r->seen, NULL);
	free(r->v);
	*r = (struct recipients){ 0 };
}

/* Remembers the address; false when it was there already. The map only
 * comes with the second recipient: most messages have one. */
static int note(struct recipients *r, struct str address, bool *is_new)
{
	static char mark;

	*is_new = true;
	if (r->n == 0)
		return 0;
	if (r->seen == NULL) {
		if ((r->seen = map_new(false)) == NULL ||
		    map_set(r->seen, r->v[0].address, &mark, NULL) < 0)
			return -1;
	}
	if (map_find(r->seen, address) != NULL) {
		*is_new = false;
		return 0;
	}
	return map_set(r->seen, address, &mark, NULL);
}

static enum recipients_status push(struct recipients *r,
    const struct queue_recipient *q)
{
	bool is_new;

	if (note(r, q->address, &is_new) < 0)
		return RECIPIENTS_NO_MEMORY;
	if (!is_new)
		return RECIPIENTS_OK;
	if (r->n == QUEUE_RECIPIENT_MAX)
		return RECIPIENTS_TOO_MANY;
	if (r->n == r->cap) {
		size_t cap = r->cap == 0 ? 2 : r->cap * 2;
		struct queue_recipient *v =
		    reallocarray(r->v, cap, sizeof(*v));

		if (v == NULL)
			return RECIPIENTS_NO_MEMORY;
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = *q;
	return RECIPIENTS_OK;
}

/* Nobody is there: `error` says so to the sender (RFC 3463 5.1.1). */
static enum recipients_status push_unknown(struct recipients *r,
    struct queue_recipient q, struct str text)
{
	q.transport = STR("error");
	q.nexthop = text.n > 0 ? arena_str(r->arena, text)
			       : STR("5.1.1 User unknown");
	return push(r, &q);
}

static enum recipients_status expand(struct recipients *r,
    struct queue_recipient q)
{
	struct expand_request ask = { .address = q.address };
	enum recipients_status status = RECIPIENTS_OK;
	struct expand_reply reply;
	struct conv *conv;
	const char *why;

	if (service_ask("lookup", &expand_request_schema, &ask,
		&expand_reply_schema, &reply, LOOKUP_TIMEOUT, &conv,
		&why) < 0) {
		log_warn("lookup of " STR_FMT ": %s", STR_ARG(q.address),
		    why);
		return RECIPIENTS_TEMPFAIL;
	}
	if (reply.status == LOOKUP_TEMPFAIL)
		status = RECIPIENTS_TEMPFAIL;
	else if (reply.status != LOOKUP_OK)
		status = push_unknown(r, q, reply.text);
	for (size_t i = 0; status == RECIPIENTS_OK &&
	     reply.status == LOOKUP_OK && i < reply.addresses.n &&
	     i < reply.transports.n && i < reply.nexthops.n; i++) {
		struct queue_recipient one = q;

		one.address = arena_str(r->arena, reply.addresses.v[i]);
		one.transport = arena_str(r->arena, reply.transports.v[i]);
		one.nexthop = arena_str(r->arena, reply.nexthops.v[i]);
		if (q.original.n == 0 && !str_eq(one.address, q.address))
			one.original = q.address;
		status = push(r, &one);
	}
	conv_keep(&conv);
	return status;
}

static enum recipients_status resolve(struct recipients *r,
    struct queue_recipient q)
{
	struct resolve_request ask = { .address = q.address };
	enum recipients_status status;
	struct resolve_reply reply;
	struct conv *conv;
	const char *why;

	if (service_ask("lookup", &resolve_request_schema, &ask,
		&resolve_reply_schema, &reply, LOOKUP_TIMEOUT, &conv,
		&why) < 0) {
		log_warn("lookup of " STR_FMT ": %s", STR_ARG(q.address),
		    why);
		return RECIPIENTS_TEMPFAIL;
	}
	if (reply.status == LOOKUP_TEMPFAIL) {
		status = RECIPIENTS_TEMPFAIL;
	} else if (reply.status != LOOKUP_OK) {
		status = push_unknown(r, q, reply.text);
	} else {
		q.address = arena_str(r->arena, reply.address);
		q.transport = arena_str(r->arena, reply.transport);
		q.nexthop = arena_str(r->arena, reply.nexthop);
		status = push(r, &q);
	}
	conv_keep(&conv);
	return status;
}

/* The parallel arrays are of one length, or the sender is not ours. */
static bool is_even(const struct submit_rcpts *m)
{
	size_t n = m->rcpts.n;

	return m->originals.n == n && m->transports.n == n &&
	    m->nexthops.n == n && m->orcpts.n == n && m->notify.n == n;
}

enum recipients_status recipients_add(struct recipients *r,
    const struct submit_rcpts *m, bool do_expand)
{
	if (!is_even(m))
		return RECIPIENTS_TEMPFAIL;
	for (size_t i = 0; i < m->rcpts.n; i++) {
		struct queue_recipient q = {
			.address = arena_str(r->arena, m->rcpts.v[i]),
			.orcpt = arena_str(r->arena, m->orcpts.v[i]),
			.transport = arena_str(r->arena, m->transports.v[i]),
			.nexthop = arena_str(r->arena, m->nexthops.v[i]),
			.notify = (unsigned)m->notify.v[i],
		};
		enum recipients_status status;

		if (!str_eq(m->originals.v[i], m->rcpts.v[i]))
			q.original = arena_str(r->arena, m->originals.v[i]);
		if (q.transport.n > 0)
			status = push(r, &q);
		else if (do_expand)
			status = expand(r, q);
		else
			status = resolve(r, q);
		if (arena_failed(r->arena))
			status = RECIPIENTS_NO_MEMORY;
		if (status != RECIPIENTS_OK)
			return status;
	}
	return RECIPIENTS_OK;
}
