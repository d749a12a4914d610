/* submit.c - see submit.h */
#include <stdlib.h>
#include "tests/fuzz/fakes/submit.h"
#include "tests/fuzz/fuzz.h"

#define MESSAGES_MAX 256
#define OCTETS_MAX (64u << 20)

unsigned (*fake_submit_answer)(const struct fake_message *, bool whole);
bool fake_submit_handed_on;
static struct fake_message messages[MESSAGES_MAX];
static size_t count;

static void take_rcpts(struct fake_message *m, const struct submit_rcpts *r)
{
	size_t n = r->rcpts.n;

	fuzz_check(r->originals.n == n && r->transports.n == n &&
	    r->nexthops.n == n && r->orcpts.n == n && r->notify.n == n,
	    "arrays do not run in parallel");
	for (size_t i = 0; i < n; i++) {
		fuzz_check(r->rcpts.v[i].n > 0 && (fake_submit_handed_on ||
		    (!str_has_ctl(r->rcpts.v[i]) &&
		    !str_has_ctl(r->originals.v[i]))), "a bad recipient");
		buf_append(&m->rcpts, r->rcpts.v[i]);
		buf_append_char(&m->rcpts, '\n');
	}
	m->rcpt_count += n;
}

static void take_content(struct fake_message *m, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool after_cr = m->content.n > 0 &&
		    m->content.p[m->content.n - 1] == '\r';

		fuzz_check((s.p[i] == '\n') == after_cr,
		    "content is not in wire form");
		buf_append_char(&m->content, s.p[i]);
	}
}

static void answer(struct conv *c, struct fake_message *m)
{
	unsigned code = fake_submit_answer(m, m->whole);
	struct submit_reply r = { .code = code, .dsn = code == 250 ?
		STR("2.0.0") : code >= 500 ? STR("5.7.1") : STR("4.3.0"),
		.text = STR("as it is") };

	if (code == 1 && !m->whole)
		return;
	m->code = code;
	if (code == 0) {
		fake_leave(c);
		return;
	}
	fuzz_check(m->whole || code != 250, "the target promises too early");
	if (code == 250)
		r.queue_id = STR("1A2B3C");
	fake_say(c, &submit_reply_schema, &r);
}

static struct fake_message *begin(const struct submit_begin *b)
{
	struct fake_message *m = &messages[count++];
	struct submit_rcpts r = { b->rcpts, b->originals, b->transports,
		b->nexthops, b->orcpts, b->notify };

	fuzz_check(count < MESSAGES_MAX, "more than %d messages",
	    MESSAGES_MAX);
	*m = (struct fake_message){ .begun = true, .flags = b->flags,
		.sender = fuzz_exact(b->sender),
		.envid = fuzz_exact(b->envid), .local_uid = b->local_uid };
	buf_init(&m->rcpts, OCTETS_MAX);
	buf_init(&m->content, OCTETS_MAX);
	fuzz_check(fake_submit_handed_on || (!str_has_ctl(b->sender) &&
	    !str_has_ctl(b->envid)), "a control octet in the envelope");
	take_rcpts(m, &r);
	take_content(m, b->content);
	m->whole = b->last;
	return m;
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct fake_message *m = *fake_state(c);
	const struct submit_data *d = msg;

	if (schema == &submit_begin_schema) {
		fuzz_check(m == NULL || m->code == 250,
		    "a message in a message");
		*fake_state(c) = m = begin(msg);
		answer(c, m);
		return;
	}
	fuzz_check(m != NULL && !m->whole, "%s without a beginning",
	    schema->name);
	if (schema == &submit_rcpts_schema) {
		fuzz_check(m->content.n == 0, "recipients after content");
		take_rcpts(m, msg);
	} else {
		take_content(m, d->content);
		m->whole = d->last;
	}
	if (m->code == 0)
		answer(c, m);
}

void fake_submit_start(void)
{
	static const struct msg_schema *const ask[] = { &submit_begin_schema,
		&submit_rcpts_schema, &submit_data_schema, NULL };

	fake_edge("cleanup", hear, ask);
}

size_t fake_submit_count(void)
{
	return count;
}

const struct fake_message *fake_submit_nth(size_t i)
{
	return &messages[i];
}

void fake_submit_end(void)
{
	for (; count > 0; count--) {
		buf_fini(&messages[count - 1].rcpts);
		buf_fini(&messages[count - 1].content);
	}
}
