/*
 * serve_pickup.c - pickup, at its socket asked by any user of the machine
 *
 * Who he is says the kernel: cleanup and smtpd are told that uid, and what
 * only the owner may order never reaches qmgr from another. A 250 goes out
 * only for a whole message that cleanup has; a message with more recipients
 * than one packet holds is one like any other.
 */
int pickup_main(int, char **);
#define main pickup_main
#include "sendmail/pickup_main.c"
#undef main
#include <stdlib.h>
#include "tests/fuzz/fakes/serve.h"
#include "tests/fuzz/fakes/submit.h"

static uid_t uid;
static struct conv *arrived;
static unsigned char answers[8];
static size_t answered;
static unsigned promised, taken;

static unsigned answer(void)
{
	return answers[answered++ % sizeof(answers)];
}

/* In the place of the skeleton's way from a socket to a conversation. */
struct conv *conv_new(const char *name, int fd)
{
	(void)name;
	(void)fd;
	return arrived;
}

int maildrop_start(void)
{
	return 0;
}

bool maildrop_drain(void)
{
	return true;
}

static unsigned answer_submit(const struct fake_message *m, bool whole)
{
	static const unsigned codes[] = { 250, 250, 250, 451, 550, 0 };
	unsigned a = answer();

	fuzz_check(m->local_uid == uid, "cleanup is told of uid %llu",
	    (unsigned long long)m->local_uid);
	fuzz_check(!(m->flags & SUBMIT_INTERNAL), "a user's mail as ours");
	if (!whole)
		return a % 16 == 15 ? a & 16 ? 451 : 0 : 1;
	taken += codes[a % 6] == 250;
	return codes[a % 6];
}

static void play_lookup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct resolve_request *q = msg;
	unsigned a = answer();
	struct resolve_reply r = { .status = a % 16 < 12 ? LOOKUP_OK :
		a % 4 + 1, .klass = LOOKUP_LOCAL, .address = q->address,
		.transport = STR("local") };

	(void)schema;
	if (a % 16 == 11)
		fake_leave(c);
	else
		fake_say(c, &resolve_reply_schema, &r);
}

static void play_smtpd(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct stdio_session *s = msg;
	struct stdio_done done = { 1 };

	(void)schema;
	fuzz_check(s->uid == uid && s->input >= 0 && s->output >= 0,
	    "a session of another");
	if (answer() % 4 == 3)
		fake_leave(c);
	else
		fake_say(c, &stdio_done_schema, &done);
}

static bool owns(void)
{
	return uid == 0 || uid == geteuid();
}

static void play_qmgr(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct queue_order *order = msg;
	struct queue_item item = { .queue_id = STR("1A2B3C") };
	struct queue_end end = { .count = 1 };
	struct queue_file file = { .fd = -1 };
	unsigned a = answer();

	fuzz_check(owns() || schema == &queue_list_schema ||
	    (schema == &queue_order_schema && order->verb == QUEUE_DO_FLUSH),
	    "uid %u orders %s", (unsigned)uid, schema->name);
	if (a % 8 == 7)
		fake_leave(c);
	else if (schema == &queue_show_schema)
		fake_say(c, &queue_file_schema, &file);
	else if (a % 8 > 4)
		fake_say(c, &queue_item_schema, &item);
	else
		fake_say(c, &queue_end_schema, &end);
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct pickup_reply *r = msg;

	(void)c;
	fuzz_check(schema == &pickup_reply_schema ||
	    schema == &pickup_stdio_done_schema ||
	    schema == &pickup_verified_schema ||
	    schema == &queue_item_schema || schema == &queue_end_schema ||
	    schema == &queue_file_schema, "another answer");
	if (schema != &pickup_reply_schema)
		return;
	fuzz_check(r->code == 250 || r->code / 100 == 4 || r->code / 100 == 5,
	    "code %llu", (unsigned long long)r->code);
	fuzz_check((r->code == 250) == (r->queue_id.n > 0), "a queue id");
	promised += r->code == 250;
}

static void take(struct conv *c, const char *client)
{
	(void)client;
	arrived = c;
	fake_is(c, 1, uid);
	session(-1, NULL);
}

/* What every part of it may be is taken, whatever its parts are together. */
static void submit_large(struct fuzz_in *in)
{
	size_t most = PICKUP_RCPTS_MAX, octets = 100 + fuzz_number(in, 400);
	size_t n = 1 + fuzz_number(in, most - 1), more;
	struct str *rcpts = calloc(most, sizeof(*rcpts));
	struct conv *c = fake_client("sendmail", hear);
	struct pickup_data data = { .last = true };
	char *address = malloc(octets), *content = malloc(PICKUP_CHUNK);
	struct pickup_submit m = { .sender = str_n(address, octets) };
	const struct fake_message *taken_as;
	unsigned before = promised;

	if (n * (octets + 4) > MSG_MAX - 2000)
		n = (MSG_MAX - 2000) / (octets + 4);
	memset(address, 'a', octets);
	memset(content, 'c', PICKUP_CHUNK);
	for (size_t i = 0; i < most; i++)
		rcpts[i] = str_n(address, octets);
	m.rcpts = (struct strs){ rcpts, n };
	fake_say(c, &pickup_submit_schema, &m);
	more = fuzz_number(in, 3);
	for (size_t i = 0; i < more; i++) {
		struct pickup_rcpts r = { m.rcpts };

		fake_say(c, &pickup_rcpts_schema, &r);
	}
	data.content = str_n(content, fuzz_number(in, PICKUP_CHUNK));
	fake_say(c, &pickup_data_schema, &data);
	memset(answers, 0, sizeof(answers));
	fake_leave_last(c);
	serve_program->converse(c, "sendmail");
	fuzz_check(promised == before + 1, "it is not taken");
	taken_as = fake_submit_nth(fake_submit_count() - 1);
	fuzz_check(taken_as->rcpt_count == n * (1 + more),
	    "%zu recipients of %zu", taken_as->rcpt_count, n * (1 + more));
	free(rcpts);
	free(address);
	free(content);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct service asked = { .name = "pickup",
		.converse = take };
	static struct params params;

	(void)argc;
	(void)argv;
	serve_init(&params, pickup_main);
	fake_submit_answer = answer_submit;
	serve_program = &asked;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const kinds[] = {
		&pickup_submit_schema, &pickup_submit_schema,
		&pickup_rcpts_schema, &pickup_rcpts_schema,
		&pickup_data_schema, &pickup_data_schema,
		&pickup_stdio_schema, &pickup_verify_schema,
		&queue_list_schema, &queue_order_schema, &queue_show_schema,
		&submit_begin_schema, NULL };
	static const struct msg_schema *const resolve[] = {
		&resolve_request_schema, NULL };
	static const struct msg_schema *const stdio[] = {
		&stdio_session_schema, NULL };
	static const struct msg_schema *const queue[] = { &queue_list_schema,
		&queue_order_schema, &queue_show_schema, NULL };
	static const struct pickup_verify question = { STR("a@our.test") };
	const struct serve s = { .client = "sendmail", .kinds = kinds,
		.hear = hear, .kind = &pickup_verify_schema,
		.question = &question, .heap = 24 << 20 };
	const uid_t uids[] = { 0, 1000, 65534, geteuid() };
	size_t k = n < sizeof(answers) ? n : sizeof(answers);

	memset(answers, 0, sizeof(answers));
	memcpy(answers, p, k);
	answered = promised = taken = 0;
	uid = uids[answer() % 4];
	fake_edge("lookup", play_lookup, resolve);
	fake_edge("smtpd", play_smtpd, stdio);
	fake_edge("qmgr", play_qmgr, queue);
	fake_submit_start();
	serve_input(&s, p + k, n - k);
	fuzz_check(promised <= taken, "%u promises, %u messages", promised,
	    taken);
	if (n > 4 && p[n / 2] % 8 == 0) {
		struct fuzz_in in = fuzz_in(p, n);

		submit_large(&in);
	}
	for (size_t i = 0; i < USERS_MAX; i++)
		fuzz_check(busy.users[i].sessions == 0, "a session is left");
	fake_submit_end();
	fake_forget();
	return 0;
}
