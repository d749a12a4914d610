/*
 * serve_dns.c - dns, asked by a smtp that was taken over, beside an honest one
 *
 * libunbound is played: it answers at once, later, in any order or never,
 * with packets of the network, bogus ones among them, and DNSSEC is on trial.
 * Each question has one answer, with its tag and of the shape that msgs/dns.h
 * promises; who leaves takes his questions along; no more is asked at a time
 * than may be; the honest one is answered in time whatever the other does.
 */
int dns_main(int, char **);
#define main dns_main
#include "dns/main.c"
#undef main
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>
#include <unbound-event.h>
#include "dns/answer.h"
#include "dns/ubloop.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/serve.h"

#define ACTIONS 120
#define PENDING_MAX 256
#define CONVERSATIONS 3

static struct params params;
static struct fuzz_in *input;

/* --- libunbound -------------------------------------------------------- */

struct ub_ctx {
	size_t pending;
	bool has_anchors;
};

static struct asked {
	struct ub_ctx *ctx;
	ub_event_callback_type fn;
	void *data;
	int id, type;
	char name[DNS_NAME_MAX + 2];
} asked[PENDING_MAX];
static size_t asked_count, contexts;
static int last_id;

struct ub_event_base *ubloop_new(struct loop *loop)
{
	(void)loop;
	return malloc(1);
}

void ubloop_free(struct ub_event_base **bp)
{
	free(*bp);
	*bp = NULL;
}

struct ub_ctx *ub_ctx_create_ub_event(struct ub_event_base *base)
{
	(void)base;
	contexts++;
	return calloc(1, sizeof(struct ub_ctx));
}

void ub_ctx_delete(struct ub_ctx *ctx)
{
	size_t n = 0;

	/* What it has in flight goes with it; nobody is called. */
	for (size_t i = 0; i < asked_count; i++)
		if (asked[i].ctx != ctx)
			asked[n++] = asked[i];
	asked_count = n;
	contexts--;
	free(ctx);
}

int ub_ctx_set_option(struct ub_ctx *ctx, const char *opt, const char *val)
{
	(void)ctx;
	(void)opt;
	(void)val;
	return 0;
}

int ub_ctx_debuglevel(struct ub_ctx *ctx, int d)
{
	(void)ctx;
	(void)d;
	return 0;
}

int ub_ctx_set_fwd(struct ub_ctx *ctx, const char *addr)
{
	(void)ctx;
	(void)addr;
	return 0;
}

int ub_ctx_add_ta(struct ub_ctx *ctx, const char *ta)
{
	(void)ta;
	ctx->has_anchors = true;
	return 0;
}

int ub_ctx_zone_remove(struct ub_ctx *ctx, const char *zone)
{
	(void)ctx;
	(void)zone;
	return 0;
}

int ub_ctx_zone_add(struct ub_ctx *ctx, const char *zone, const char *type)
{
	(void)ctx;
	(void)zone;
	(void)type;
	return 0;
}

int ub_ctx_data_add(struct ub_ctx *ctx, const char *data)
{
	(void)ctx;
	(void)data;
	return 0;
}

const char *ub_strerror(int err)
{
	(void)err;
	return "it cannot";
}

static void put_number(struct buf *b, unsigned v)
{
	buf_append_char(b, (char)(v >> 8));
	buf_append_char(b, (char)v);
}

/* An answer to the question: two records, whose data are the input's. */
static void make_packet(const struct asked *a, struct buf *b)
{
	struct str rest = str_of(a->name), label;

	put_number(b, 1);
	put_number(b, 0x8180 | (fuzz_number(input, 7) == 7 ? 3 : 0));
	put_number(b, 1);
	put_number(b, 2);
	put_number(b, 0);
	put_number(b, 0);
	while (str_split(&rest, '.', &label)) {
		buf_append_char(b, (char)(label.n & 63));
		buf_append(b, str_sub(label, 0, 63));
	}
	buf_append_char(b, '\0');
	put_number(b, (unsigned)a->type);
	put_number(b, 1);
	for (int i = 0; i < 2; i++) {
		struct str data = fuzz_take(input, a->type == DNS_A ? 4 :
		    a->type == DNS_AAAA ? 16 : fuzz_number(input, 30));

		put_number(b, 0xc00c);
		put_number(b, (unsigned)a->type);
		put_number(b, 1);
		put_number(b, 0);
		put_number(b, 300);
		put_number(b, (unsigned)data.n);
		buf_append(b, data);
	}
}

static void answer_with(const struct asked *a)
{
	static char why[] = "a signature is wrong";
	unsigned how = fuzz_octet(input);
	struct str raw;
	struct buf b;

	buf_init(&b, 70000);
	if (how & 1) {
		make_packet(a, &b);
	} else {
		raw = fuzz_take(input, fuzz_number(input, 200));
		buf_append(&b, raw);
	}
	/* Exactly its octets, as libunbound's own buffer may end there. */
	raw = fuzz_exact(buf_str(&b));
	buf_fini(&b);
	a->fn(a->data, how & 2 ? (int)(how >> 4 & 7) : 0,
	    how & 4 ? NULL : (void *)(uintptr_t)raw.p,
	    how & 4 ? 0 : (int)raw.n, a->ctx->has_anchors ? how >> 6 & 2 :
	    how >> 6 == 3, how & 8 ? why : NULL, 0);
}

int ub_resolve_event(struct ub_ctx *ctx, const char *name, int rrtype,
    int rrclass, void *mydata, ub_event_callback_type callback, int *id)
{
	struct asked a = { .ctx = ctx, .fn = callback, .data = mydata,
		.id = ++last_id, .type = rrtype };
	unsigned how = fuzz_octet(input);

	fuzz_check(rrclass == 1 && strlen(name) <= DNS_NAME_MAX + 1,
	    "libunbound is asked what it may not be");
	fuzz_check(asked_count < PENDING_MAX, "%d questions at a time",
	    PENDING_MAX);
	snprintf(a.name, sizeof(a.name), "%s", name);
	if (how % 16 == 15)
		return UB_NOMEM;
	*id = a.id;
	if (how % 16 > 11) { /* it knows */
		answer_with(&a);
		return 0;
	}
	asked[asked_count++] = a;
	return 0;
}

int ub_cancel(struct ub_ctx *ctx, int id)
{
	size_t i = 0;

	while (i < asked_count && (asked[i].ctx != ctx || asked[i].id != id))
		i++;
	fuzz_check(i < asked_count, "what was never asked is cancelled");
	memmove(asked + i, asked + i + 1,
	    (--asked_count - i) * sizeof(asked[0]));
	return 0;
}

static void answer_one(size_t i)
{
	struct asked a;

	if (asked_count == 0)
		return;
	i %= asked_count;
	a = asked[i];
	memmove(asked + i, asked + i + 1,
	    (--asked_count - i) * sizeof(asked[0]));
	answer_with(&a);
}

/* --- who asks ---------------------------------------------------------- */

static struct asker {
	int fd;
	size_t questions, answers;	/* heard by dns; given */
} askers[CONVERSATIONS];
static bool honest_answered;

static void check_reply(const struct dns_reply *r)
{
	fuzz_check(r->status <= DNS_STATUS_MAX, "status");
	fuzz_check(r->data.n == r->numbers.n && r->data.n <= DNS_RECORD_MAX,
	    "%zu records, %zu numbers", r->data.n, r->numbers.n);
	fuzz_check((r->status == DNS_OK) == (r->data.n > 0), "records");
	fuzz_check(r->ttl <= ANSWER_TTL_MAX, "ttl");
	fuzz_check(!r->secure || r->status == DNS_OK ||
	    r->status == DNS_NXDOMAIN || r->status == DNS_NODATA,
	    "a failure that is secure");
	fuzz_check(!r->secure || resolver_validates(resolver),
	    "secure without validation");
	/* The tag tells the type, where the question was of one. */
	for (size_t i = 0; r->tag <= UINT16_MAX && i < r->data.n; i++) {
		struct str d = r->data.v[i];

		fuzz_check(r->tag != DNS_A || d.n == 4, "A");
		fuzz_check(r->tag != DNS_AAAA || d.n == 16, "AAAA");
		fuzz_check(r->tag != DNS_PTR || answer_is_hostname(d), "PTR");
		fuzz_check(r->tag != DNS_MX || d.n == 0 ||
		    answer_is_hostname(d), "MX");
	}
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct asker *a = *fake_state(c);

	fuzz_check(schema == &dns_reply_schema, "another answer");
	check_reply(msg);
	if (a == NULL)
		honest_answered = true;
	else
		a->answers++;
}

/* Types that exist, names of some length, and the type as the tag. */
static void mend(void *ctx, const struct msg_schema *schema, void *msg)
{
	static const uint64_t types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_PTR,
		DNS_TXT, DNS_TLSA };
	static const char *const names[] = { "our.test", "a.b.our.test",
		"4.3.2.1.in-addr.arpa", "_25._tcp.mx.our.test" };
	struct dns_question *q = msg;

	if (schema != &dns_question_schema)
		return;
	if (fuzz_number(ctx, 15) < 15)
		q->type = types[fuzz_number(ctx, 5)];
	if (fuzz_number(ctx, 3) > 0)
		q->name = str_of(names[fuzz_number(ctx, 3)]);
	q->tag = q->type;
}

static void say(struct conv *c)
{
	static const struct msg_schema *const kinds[] = {
		&dns_question_schema, &dns_question_schema,
		&dns_question_schema, &dns_question_schema,
		&dns_question_schema, &dns_question_schema,
		&dns_reply_schema, NULL };
	const struct serve s = { .client = "smtp", .kinds = kinds,
		.mend = mend };

	serve_say(&s, input, c, serve_scratch);
}

/* A hang-up is told though nothing is wanted (lib/base/loop.c). */
static void listen_to(int fd, bool hangs_up)
{
	if (fake_wants(fd) & LOOP_READ || hangs_up)
		fake_fire(fd, LOOP_READ);
}

static void act(void)
{
	static const int64_t times[] = { CLOCK_MS, 100 * CLOCK_MS,
		CLOCK_SECOND, 6 * CLOCK_SECOND, 31 * CLOCK_SECOND,
		301 * CLOCK_SECOND };
	unsigned what = fuzz_octet(input);
	struct asker *a = &askers[what / 16 % CONVERSATIONS];
	struct conv *c = fake_find(a->fd);

	switch (what % 16) {
	case 0:
		if (c != NULL)
			break;
		c = fake_client("smtp", hear);
		a->fd = conv_fd(c);
		*fake_state(c) = a;
		serve_program->conv_arrived(c, "smtp");
		break;
	case 1: case 2: case 3: case 4:
		if (c != NULL)
			say(c);
		break;
	case 5: case 6: case 7:
		listen_to(a->fd, false);
		break;
	case 8: case 9: case 10:
		answer_one(what / 16);
		break;
	case 11:
		fake_pass(times[what / 16 % 6]);
		break;
	case 12:
		if (c != NULL)
			fake_full(c, what & 128);
		break;
	case 13:
		if (c == NULL)
			break;
		fake_leave(c);
		listen_to(a->fd, true);
		break;
	default: /* many at once */
		for (unsigned i = 0; c != NULL && i < 40; i++)
			say(c);
		listen_to(a->fd, false);
	}
	fuzz_check(asked_count <= CONVERSATIONS * DNS_ASK_MAX + 16,
	    "%zu questions in flight", asked_count);
}

static void ask_honestly(void)
{
	const struct dns_question q = { .tag = DNS_A, .type = DNS_A,
		.name = STR("our.test"), .wait_ms = 5000 };
	struct conv *c = fake_client("smtpd", hear);
	int fd = conv_fd(c);

	honest_answered = false;
	fake_say(c, &dns_question_schema, &q);
	serve_program->conv_arrived(c, "smtpd");
	listen_to(fd, false);
	fake_pass(6 * CLOCK_SECOND);
	fuzz_check(honest_answered, "the honest one is not answered");
	fake_leave(c);
	listen_to(fd, true);
	fuzz_check(fake_find(fd) == NULL, "it is never closed");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, dns_main);
	params.dns_servers = "192.0.2.53";
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);

	input = &in;
	fake_time = 1000 * CLOCK_SECOND;
	asked_count = 0;
	memset(askers, 0, sizeof(askers));
	serve_begin();
	buf_init(&anchors, FILE_MAX + 1);
	memset(&servers, 0, sizeof(servers));
	servers_parse(str_of(params.dns_servers), &servers,
	    &(struct str){ 0 });
	if (fuzz_bool(&in))
		buf_append_c(&anchors, ". DS 20326 8 2 E06D44B8\n"
		    "test. DS 1 8 2 00 ; ours\n");
	fuzz_check(serve_program->ready(NULL) == 0, "no start");
	for (unsigned i = 0; i < ACTIONS && in.rest.n > 0; i++)
		act();
	ask_honestly();
	fake_pass(31 * CLOCK_SECOND);
	for (size_t i = 0; i < CONVERSATIONS; i++) {
		struct conv *c = fake_find(askers[i].fd);

		if (c == NULL)
			continue;
		fake_leave(c);
		for (unsigned k = 0; k < 100 && fake_find(askers[i].fd) !=
		    NULL; k++) {
			listen_to(askers[i].fd, true);
			fake_pass(31 * CLOCK_SECOND);
		}
		fuzz_check(fake_find(askers[i].fd) == NULL,
		    "who left is not closed");
	}
	fuzz_check(clients_count(clients) == 0, "clients are left");
	clients_free(&clients);
	resolver_free(&resolver);
	fuzz_check(contexts == 0, "%zu contexts are left", contexts);
	buf_fini(&anchors);
	fuzz_check(fake_timers() == 0 && fake_watches() == 0,
	    "a timer or a watch is left");
	serve_end(8 << 20);
	return 0;
}
