/*
 * serve_bounce.c - bounce (and what every agent shares, service/agent.c), given
 * jobs by a qmgr that was taken over
 *
 * The jobs follow their schema and nothing else, the queue files beside them
 * are whole, damaged or no files at all. Each recipient of a job has one
 * result, which is of the job; a notice goes to the file's sender or to the
 * postmaster, and to nobody when the sender is null (RFC 5321 6.1); it is said
 * to be written only when cleanup has it.
 */
int bounce_main(int, char **);
#define main bounce_main
#include "bounce/main.c"
#undef main
#include <fcntl.h>
#include <unistd.h>
#include "queue/commit.h"
#include "tests/fuzz/fakes/agent.h"
#include "tests/fuzz/fakes/submit.h"

#define ID UINT64_C(0x6925B1F30001)
#define JOBS 4

static struct params params;
static struct fuzz_in *input;
static char sender[64];

/* --- cleanup ----------------------------------------------------------- */

static unsigned char answers[8];
static size_t answered, written;

static unsigned answer_submit(const struct fake_message *m, bool whole)
{
	static const unsigned codes[] = { 250, 250, 250, 451, 550, 0 };
	unsigned a = answers[answered++ % sizeof(answers)];

	fuzz_check(m->flags & SUBMIT_INTERNAL, "a notice as a user's");
	fuzz_check(m->rcpt_count == 1, "%zu recipients", m->rcpt_count);
	if (str_eq_c(buf_str(&m->rcpts), "postmaster\n")) {
		fuzz_check(m->sender.n > 0, "a copy without a sender");
	} else {
		fuzz_check_same("a notice to somebody else",
		    str_sub(buf_str(&m->rcpts), 0, m->rcpts.n - 1),
		    str_of(sender));
		fuzz_check(m->sender.n == 0, "a notice that is answered");
	}
	if (!whole)
		return a % 16 == 15 ? 451 : 1;
	written += codes[a % 6] == 250;
	return codes[a % 6];
}

/* --- qmgr -------------------------------------------------------------- */

static unsigned sent;

static void count(const struct agent_task *t, size_t i,
    const struct agent_outcome *o)
{
	(void)t;
	(void)i;
	sent += o->status == AGENT_SENT;
}

/* A queue file: of the job, another's, torn, or something else. */
static int make_file(void)
{
	static const char *const senders[] = { "x@y.test", "",
		"double-bounce@mx.our.test", "\xc3\xa4@y.test" };
	struct queue_recipient rcpts[3] = {
		{ .address = STR("a@b.test"), .nexthop = STR("b.test") },
		{ .address = fuzz_take(input, fuzz_number(input, 40)),
		    .orcpt = STR("rfc822;z@b.test") },
		{ .address = STR("c@d.test"), .notify = 4 } };
	struct queue_envelope e = { .arrival = (int64_t)fuzz_number(input,
		UINT64_MAX), .recipients = rcpts, .recipient_count = 3,
		.envid = STR("id"), .ret = fuzz_number(input, 2) };
	struct queue_log_record rec = { .what = 1 + fuzz_number(input,
		QUEUE_LOG_WHAT_END - 2), .status = STR("5.1.1"),
		.when = (int64_t)fuzz_number(input, UINT64_MAX) };
	unsigned what = fuzz_octet(input);
	struct queue_reader r;
	struct queue_commit *c;
	uint64_t end;
	const char *why;
	struct buf b;
	int fd;

	snprintf(sender, sizeof(sender), "%s", senders[what / 8 % 4]);
	e.sender = str_of(sender);
	if (what % 8 == 0)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (what % 8 == 1) {
		sender[0] = '\0';
		return fuzz_file(fuzz_take(input, fuzz_number(input, 300)));
	}
	fd = fuzz_new_file("queue");
	fuzz_check(queue_commit_begin(&c, fd, ID, 1 << 20) == 0, "no commit");
	queue_commit_append(c, fuzz_take(input, fuzz_number(input, 500)));
	if (queue_commit(c, &e, &why) < 0)
		sender[0] = '\0';
	queue_commit_end(&c);
	rec.text = fuzz_take(input, fuzz_number(input, 60));
	rec.diagnostic = fuzz_take(input, fuzz_number(input, 60));
	rec.host = fuzz_take(input, fuzz_number(input, 20));
	rec.recipient = (uint32_t)fuzz_number(input, 3);
	buf_init(&b, 1 << 20);
	if (sender[0] != '\0' && queue_reader_open_header(&r, fd, ID,
	    &why) == 0 && queue_log_read(fd, &r.header, NULL, NULL,
	    &end) == 0 && queue_log_encode(ID, &rec, &b) == 0)
		queue_log_append(fd, buf_str(&b), &end);
	buf_fini(&b);
	if (what % 8 == 2 && fuzz_bool(input))
		(void)!ftruncate(fd, (off_t)fuzz_number(input, 700));
	return fd;
}

static int file = -1;

static int give_file(void *ctx)
{
	(void)ctx;
	return dup(file);
}

static void mend(void *ctx, const struct msg_schema *schema, void *msg)
{
	struct agent_job *job = msg;

	if (schema != &agent_job_schema)
		return;
	if (fuzz_number(ctx, 7) > 0)
		job->queue_id = STR("6925B1F30001");
	for (size_t i = 0; i < job->indexes.n && i < 4; i++)
		if (fuzz_number(ctx, 7) > 0)
			job->indexes.v[i] = fuzz_number(ctx, 3);
}

static void say_jobs(struct conv *c)
{
	for (size_t i = fuzz_number(input, JOBS); i > 0; i--)
		fake_agent_garble(input, c, serve_scratch, mend, give_file);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, bounce_main);
	params.notify_classes = "bounce 2bounce delay";
	fuzz_directory(NULL);
	fake_submit_answer = answer_submit;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const transports[] = { "bounce", NULL };
	const struct fake_qmgr qmgr = { .transports = transports,
		.conversations = 2, .say = say_jobs, .outcome = count };
	struct fuzz_in in = fuzz_in(p, n);

	input = &in;
	for (size_t i = 0; i < sizeof(answers); i++)
		answers[i] = (unsigned char)fuzz_octet(&in);
	answered = written = 0;
	sent = 0;
	serve_begin();
	file = make_file();
	fake_submit_start();
	fake_agent_run(&qmgr);
	fuzz_check(sent == 0 || sender[0] == '\0' || written > 0,
	    "a notice that nobody has");
	close(file);
	fake_submit_end();
	serve_end(24 << 20);
	return 0;
}
