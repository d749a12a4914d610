/* SEARCH (RFC 3501 6.4.4), with RETURN (RFC 4731) */
#include "imapd/search.h"

/* Memory for the structure of one message; answers leave at this size. */
#define SEARCH_ARENA_MAX (32 << 20)
#define PIECE 32768

/* Results as they come: numbers or uids, ascending. */
struct results {
	struct session *s;
	uint32_t *found;
	size_t n;
};

static int collect(struct session *s, const struct search *q,
    struct results *r)
{
	uint32_t count = mailbox_count(s->mailbox);
	struct search_message x = { .s = s,
		.now = clock_wall() / CLOCK_SECOND };

	r->s = s;
	r->found = arena_array(s->arena, (size_t)count + 1,
	    sizeof(*r->found));
	x.arena = arena_new(SEARCH_ARENA_MAX);
	if (r->found == NULL || x.arena == NULL) {
		arena_free(&x.arena);
		return -1;
	}
	for (uint32_t i = 1; i <= count; i++) {
		x.seq = i;
		x.m = mailbox_get(s->mailbox, i);
		if ((x.m.flags & MAILBOX_GONE) == 0 && search_matches(q, &x))
			r->found[r->n++] = s->uid ? x.m.uid : i;
	}
	arena_free(&x.arena);
	return 0;
}

static void write_piece(struct session *s)
{
	if (s->out.n >= PIECE)
		session_write_out(s);
}

/* RFC 3501 7.2.5 */
static void say_search(const struct results *r)
{
	struct session *s = r->s;

	buf_append_c(&s->out, "* SEARCH");
	for (size_t i = 0; i < r->n; i++) {
		buf_printf(&s->out, " %u", r->found[i]);
		write_piece(s);
	}
	buf_append_c(&s->out, "\r\n");
	session_write_out(s);
}

static void append_set(const struct results *r)
{
	struct session *s = r->s;

	for (size_t i = 0; i < r->n;) {
		uint32_t from = r->found[i], to = from;
		const char *sep = i == 0 ? "" : ",";

		while (++i < r->n && r->found[i] == to + 1)
			to++;
		if (from == to)
			buf_printf(&s->out, "%s%u", sep, from);
		else
			buf_printf(&s->out, "%s%u:%u", sep, from, to);
		write_piece(s);
	}
}

/* RFC 4731 section 3.1: without results MIN, MAX and ALL are left out. */
static void say_esearch(const struct results *r, unsigned back)
{
	struct session *s = r->s;

	buf_append_c(&s->out, "* ESEARCH (TAG \"");
	buf_append(&s->out, s->tag);
	buf_append_c(&s->out, "\")");
	if (s->uid)
		buf_append_c(&s->out, " UID");
	if ((back & RETURN_MIN) != 0 && r->n > 0)
		buf_printf(&s->out, " MIN %u", r->found[0]);
	if ((back & RETURN_MAX) != 0 && r->n > 0)
		buf_printf(&s->out, " MAX %u", r->found[r->n - 1]);
	if ((back & RETURN_COUNT) != 0)
		buf_printf(&s->out, " COUNT %zu", r->n);
	if ((back & RETURN_ALL) != 0 && r->n > 0) {
		buf_append_c(&s->out, " ALL ");
		append_set(r);
	}
	buf_append_c(&s->out, "\r\n");
	session_write_out(s);
}

static int run(struct session *s, struct search *q)
{
	struct results r = { .n = 0 };

	if (search_parse(s, q) < 0)
		return -1;
	if (q->bad_charset) {
		session_no(s, "[BADCHARSET (US-ASCII UTF-8)] Unknown charset");
		return 0;
	}
	search_prepare(s, q);
	if (collect(s, q, &r) < 0) {
		session_no(s, "[UNAVAILABLE] Out of memory");
		return 0;
	}
	if (q->extended)
		say_esearch(&r, q->back);
	else
		say_search(&r);
	session_ok(s, "Search completed");
	return 0;
}

int cmd_search(struct session *s)
{
	struct search q;
	int rc = run(s, &q);

	search_free(&q);
	return rc;
}
