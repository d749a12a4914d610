/* serve_lookup.c - lookup, asked by a smtpd that was taken over */
int lookup_main(int, char **);
#define main lookup_main
#include "lookup/main.c"
#undef main
#include "msgs/auth.h"
#include "msgs/submit.h"
#include "tests/fuzz/fakes/serve.h"

static struct params params;
static unsigned seed;

static void play_auth(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct user_request *q = msg;
	struct user_reply r = { .status = AUTH_NO };

	(void)schema;
	if (str_starts(q->address, STR("a")))
		r.status = AUTH_OK;
	if ((seed += 7) % 16 == 0)
		fake_leave(c);
	else
		fake_say(c, &user_reply_schema, &r);
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct resolve_reply *r = msg;
	const struct expand_reply *e = msg;

	(void)c;
	if (schema == &resolve_reply_schema) {
		fuzz_check(r->status >= LOOKUP_OK, "no status");
		/* the null sender leads nowhere, and is fine */
		fuzz_check(r->status != LOOKUP_OK || r->transport.n > 0 ||
		    r->address.n == 0, "OK, and no transport");
		fuzz_check(!str_has_ctl(r->text), "a control octet");
	} else if (schema == &expand_reply_schema) {
		fuzz_check(e->status != LOOKUP_OK || (e->addresses.n > 0 &&
		    e->addresses.n == e->transports.n &&
		    e->addresses.n == e->nexthops.n), "arrays differ");
	} else {
		fuzz_check(schema == &alias_reply_schema, "another answer");
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct str values[] = { STR("myhostname=mx.our.test"),
		STR("mydestination=our.test localhost"),
		STR("virtual_mailbox_domains=box.test"),
		STR("virtual_alias_domains=alias.test"),
		STR("relay_domains=relay.test"), STR("recipient_delimiter=+"),
		STR("virtual_mailbox_maps=inline:{a@box.test=x}"),
		STR("virtual_alias_maps=inline:{"
		    "{a@alias.test=a@our.test,b@our.test} "
		    "{loop@our.test=loop@our.test} "
		    "{x@our.test=y@our.test} {y@our.test=x@our.test} "
		    "{@elsewhere.test=@our.test} "
		    "{big@our.test=x@our.test,x@our.test,y@our.test}}"),
		STR("transport_maps=inline:{{b.test=smtp:[127.0.0.1]:25} "
		    "{.c.test=:x} {*=relay:hub.test}}"),
		STR("alias_maps=inline:{root=a}"),
		STR("local_recipient_maps=") };
	const char *why;

	fuzz_mute_log();
	fake_arena = arena_new(1 << 20);
	fuzz_check(params_load(&params, values, sizeof(values) /
	    sizeof(values[0]), fake_arena, &why) == 0, "%s", why);
	fake_params = &params;
	lookup_main(*argc, *argv);
	fuzz_check(serve_program->start() == 0, "no start");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const kinds[] = {
		&resolve_request_schema, &expand_request_schema,
		&alias_request_schema, &resolve_reply_schema,
		&submit_begin_schema, NULL };
	static const struct msg_schema *const ask[] = {
		&user_request_schema, NULL };
	static const struct resolve_request question = {
		.address = STR("a@our.test"), .sender = STR("b@c.test") };
	const struct serve s = { .client = "smtpd", .kinds = kinds,
		.hear = hear, .kind = &resolve_request_schema,
		.question = &question, .heap = 24 << 20 };

	seed = 1;
	fake_edge("auth", play_auth, ask);
	serve_input(&s, p, n);
	fake_forget();
	return 0;
}
