#include "base/clock.h"
#include "msgs/dns.h"

#define WHY_MAX 500
#define DNS_WAIT_MAX (600 * 1000) /* milliseconds */

static const struct msg_field question_fields[] = {
	MSG_U64(struct dns_question, tag, UINT64_MAX),
	MSG_U64(struct dns_question, type, UINT16_MAX),
	MSG_STR(struct dns_question, name, DNS_NAME_MAX),
	MSG_U64(struct dns_question, wait_ms, DNS_WAIT_MAX),
};
const struct msg_schema dns_question_schema = MSG_SCHEMA("dns_question",
    0x0d01, struct dns_question, question_fields);

static const struct msg_field reply_fields[] = {
	MSG_U64(struct dns_reply, tag, UINT64_MAX),
	MSG_U64(struct dns_reply, status, DNS_STATUS_MAX),
	MSG_BOOL(struct dns_reply, secure),
	MSG_U64(struct dns_reply, ttl, UINT32_MAX),
	MSG_STR(struct dns_reply, canonical, DNS_NAME_MAX),
	MSG_STRS(struct dns_reply, data, DNS_RECORD_MAX),
	MSG_NUMS(struct dns_reply, numbers, DNS_RECORD_MAX),
	MSG_U64(struct dns_reply, ignored, UINT32_MAX),
	MSG_STR(struct dns_reply, why, WHY_MAX),
};
const struct msg_schema dns_reply_schema = MSG_SCHEMA("dns_reply",
    0x0d02, struct dns_reply, reply_fields);

const char *dns_type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_PTR:
		return "PTR";
	case DNS_MX:
		return "MX";
	case DNS_TXT:
		return "TXT";
	case DNS_AAAA:
		return "AAAA";
	case DNS_TLSA:
		return "TLSA";
	}
	return "?";
}

static void set_tempfail(struct dns_reply *r, const char *why)
{
	*r = (struct dns_reply){ .status = DNS_TEMPFAIL,
		.why = str_of(why) };
}

/* What was received lives until the next message: copy it. */
static void copy_reply(const struct dns_reply *from, struct arena *arena,
    struct dns_reply *to)
{
	*to = *from;
	to->canonical = arena_str(arena, from->canonical);
	to->why = arena_str(arena, from->why);
	to->data.v = arena_array(arena, from->data.n + 1, sizeof(struct str));
	to->numbers.v = arena_array(arena, from->data.n + 1,
	    sizeof(uint64_t));
	if (to->data.v == NULL || to->numbers.v == NULL)
		goto no_memory;
	for (size_t i = 0; i < from->data.n; i++) {
		to->data.v[i] = arena_str(arena, from->data.v[i]);
		to->numbers.v[i] = from->numbers.v[i];
	}
	if (!arena_failed(arena))
		return;
no_memory:
	set_tempfail(to, "no memory for the DNS answer");
}

/* Replies come in any order; each tag is answered once. */
static int collect(struct conv *c, size_t n, int64_t deadline,
    struct arena *arena, struct dns_reply *replies, bool *have,
    const char **why)
{
	const struct msg_schema *allowed[] = { &dns_reply_schema }, *got;
	struct dns_reply r;

	for (size_t left = n; left > 0; left--) {
		if (conv_recv(c, allowed, 1, &got, &r, deadline, why) !=
		    CONV_MESSAGE)
			return -1;
		if (r.tag >= n || have[r.tag] || r.data.n != r.numbers.n) {
			*why = "dns answered another question";
			return -1;
		}
		have[r.tag] = true;
		copy_reply(&r, arena, &replies[r.tag]);
	}
	return 0;
}

static int ask_once(struct conv *c, struct dns_question *q, size_t n,
    int64_t deadline, struct arena *arena, struct dns_reply *replies,
    bool *have, const char **why)
{
	for (size_t i = 0; i < n; i++)
		if (conv_send(c, &dns_question_schema, &q[i], deadline,
			why) < 0)
			return -1;
	/* dns answers at its own deadline, which is ours: a moment later. */
	return collect(c, n, deadline + CLOCK_SECOND, arena, replies, have,
	    why);
}

void dns_ask_many(struct edge *edge, struct dns_question *q, size_t n,
    int64_t deadline, struct arena *arena, struct dns_reply *replies)
{
	bool have[DNS_ASK_MAX] = { false };
	const char *why = "dns is not there";
	int64_t left = (deadline - clock_now()) / CLOCK_MS;
	struct conv *c;

	if (n > DNS_ASK_MAX)
		n = DNS_ASK_MAX;
	left = left < 1 ? 1 : left > DNS_WAIT_MAX ? DNS_WAIT_MAX : left;
	for (size_t i = 0; i < n; i++) {
		q[i].tag = i;
		q[i].wait_ms = (uint64_t)left;
	}
	/* A kept conversation may be with a process that ends just now: the
	 * second attempt has a fresh one. */
	for (int attempt = 0; edge != NULL && attempt < 2; attempt++) {
		c = attempt ? edge_open_fresh(edge, deadline)
		    : edge_open(edge, deadline);
		if (c == NULL)
			break;
		if (ask_once(c, q, n, deadline, arena, replies, have,
			&why) == 0) {
			conv_keep(&c);
			return;
		}
		conv_close(&c);
		if (clock_now() >= deadline)
			break;
		memset(have, 0, sizeof(have));
	}
	for (size_t i = 0; i < n; i++)
		if (!have[i])
			set_tempfail(&replies[i], why);
}

void dns_ask(struct edge *edge, enum dns_type type, struct str name,
    int64_t deadline, struct arena *arena, struct dns_reply *reply)
{
	struct dns_question q = { .type = type, .name = name };

	dns_ask_many(edge, &q, 1, deadline, arena, reply);
}
