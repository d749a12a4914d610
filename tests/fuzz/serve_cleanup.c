/*
 * serve_cleanup.c - cleanup, given messages by a smtpd that was taken over
 *
 * The queue files are real, in memory: what cleanup commits is read back by
 * the queue's own reader and is a whole message, with the recipients that
 * qmgr is told of; a 250 goes out only for what was committed. (The content
 * is the client's: that a bare CR or LF in it does no harm on the way out is
 * for smtp.c.)
 */
int cleanup_main(int, char **);
#define main cleanup_main
#include "cleanup/main.c"
#undef main
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "msgs/lookup.h"
#include "queue/read.h"
#include "tests/fuzz/fakes/serve.h"

static struct params params;
static int dir = -1;
static char path[64];
static unsigned given, out, committed, promised;
static unsigned char answers[8];
static size_t answered;

static unsigned answer(void)
{
	return answers[answered++ % sizeof(answers)];
}

/* --- in the place of cleanup/stock.c --- */

int stock_start(void)
{
	return 0;
}

int stock_take(struct stock_entry *e, int64_t deadline)
{
	(void)deadline;
	if (answer() == 255)
		return -1;
	e->id = 0x100000 + given++;
	queue_id_text(e->id, e->text);
	e->fd = openat(dir, e->text, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0600);
	fuzz_check(e->fd >= 0, "no queue file");
	out++;
	return 0;
}

static void end(const struct stock_entry *e)
{
	close(e->fd);
	unlinkat(dir, e->text, 0);
	out--;
}

void stock_put_back(const struct stock_entry *e)
{
	struct stat st;

	fuzz_check(fstat(e->fd, &st) == 0 && st.st_size == 0,
	    "what was put back is not empty");
	end(e);
}

void stock_give_back(const struct stock_entry *e)
{
	end(e);
}

void stock_committed(const struct stock_entry *e,
    const struct stock_commit *c)
{
	struct arena *a = arena_new(8 << 20);
	struct queue_reader r;
	const char *why = "";

	fuzz_check(str_eq_c(c->queue_id, e->text), "another id");
	fuzz_check(queue_reader_open(&r, e->fd, e->id, a, &why) == 0,
	    "the committed file: %s", why);
	fuzz_check(r.envelope.recipient_count > 0, "a message for nobody");
	fuzz_check(str_eq(r.envelope.sender, c->sender), "another sender");
	for (size_t i = 0; !c->more && i < c->rcpts.n; i++)
		fuzz_check(str_eq(c->rcpts.v[i],
		    r.envelope.recipients[i].address), "another recipient");
	fuzz_check(c->more || c->rcpts.n == r.envelope.recipient_count,
	    "%zu recipients, %zu told", r.envelope.recipient_count,
	    c->rcpts.n);
	fuzz_check(queue_reader_verify(&r) == 0, "the checksum is wrong");
	committed++;
	arena_free(&a);
	end(e);
}

/* --- lookup --- */

static void play_lookup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	static struct str two[] = { { "a@our.test", 10 },
		{ "b@our.test", 10 } }, transports[] = { { "local", 5 },
		{ "smtp", 4 } };
	const struct resolve_request *q = msg;
	unsigned a = answer();
	struct expand_reply r = { .status = LOOKUP_OK,
		.addresses = { two, a % 3 }, .transports = { transports,
		    a % 3 }, .nexthops = { two, a % 3 } };

	if (a % 16 > 11)
		r.status = a % 16 - 10;
	if (a % 16 == 15) {
		fake_leave(c);
	} else if (schema == &resolve_request_schema) {
		struct resolve_reply one = { .status = r.status,
			.klass = LOOKUP_LOCAL, .address = q->address,
			.transport = STR("local"), .nexthop = STR("x"),
			.has_alias = a & 64 };

		fake_say(c, &resolve_reply_schema, &one);
	} else {
		fake_say(c, &expand_reply_schema, &r);
	}
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct submit_reply *r = msg;

	(void)c;
	fuzz_check(schema == &submit_reply_schema, "another answer");
	fuzz_check(r->code == 250 || r->code / 100 == 4 ||
	    r->code / 100 == 5, "code %llu", (unsigned long long)r->code);
	fuzz_check((r->code == 250) == (r->queue_id.n > 0), "a queue id");
	fuzz_check(!str_has_ctl(r->text) && r->dsn.n >= 5, "no reply text");
	promised += r->code == 250;
}

static void clean(void)
{
	rmdir(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct str values[] = { STR("message_size_limit=200000"),
		STR("header_size_limit=4000"), STR("hopcount_limit=5"),
		STR("virtual_alias_expansion_limit=10"),
		STR("myhostname=mx.our.test") };
	const char *why;

	fuzz_mute_log();
	fake_arena = arena_new(1 << 20);
	fuzz_check(params_load(&params, values, sizeof(values) /
	    sizeof(values[0]), fake_arena, &why) == 0, "%s", why);
	fake_params = &params;
	cleanup_main(*argc, *argv);
	snprintf(path, sizeof(path), "%s/postern-fuzz-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	fuzz_check(mkdtemp(path) != NULL, "no directory");
	atexit(clean);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const kinds[] = {
		&submit_begin_schema, &submit_begin_schema,
		&submit_begin_schema, &submit_rcpts_schema,
		&submit_data_schema, &submit_data_schema,
		&submit_reply_schema, &expand_request_schema, NULL };
	static const struct msg_schema *const ask[] = {
		&expand_request_schema, &resolve_request_schema, NULL };
	static struct str rcpt = { "a@our.test", 10 }, way = { "local", 5 },
	    none = { "", 0 };
	static uint64_t zero;
	static const struct submit_begin question = { .service = STR("smtpd"),
		.sender = STR("x@y.test"), .local_uid = UINT32_MAX,
		.rcpts = { &rcpt, 1 }, .originals = { &rcpt, 1 },
		.transports = { &way, 1 }, .nexthops = { &rcpt, 1 },
		.orcpts = { &none, 1 }, .notify = { &zero, 1 },
		.content = STR("Subject: x\r\n\r\nx\r\n"), .last = true };
	const struct serve s = { .client = "smtpd", .kinds = kinds,
		.hear = hear, .kind = &submit_begin_schema,
		.question = &question, .heap = 24 << 20 };
	size_t k = n < sizeof(answers) ? n : sizeof(answers);

	memset(answers, 0, sizeof(answers));
	memcpy(answers, p, k);
	given = out = committed = promised = 0;
	answered = 0;
	fake_edge("lookup", play_lookup, ask);
	serve_input(&s, p + k, n - k);
	fuzz_check(out == 0, "%u queue files were not given back", out);
	fuzz_check(promised <= committed, "%u promises, %u messages",
	    promised, committed);
	fake_forget();
	return 0;
}
