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
#define drain drain_agent
#include "service/agent.c"
#undef drain
int bounce_main(int, char **);
#define main bounce_main
#include "bounce/main.c"
#undef main
#include <fcntl.h>
#include <setjmp.h>
#include "queue/commit.h"
#include "tests/fuzz/fakes/serve.h"
#include "tests/fuzz/fakes/submit.h"

#define ID UINT64_C(0x6925B1F30001)
#define JOBS 4

static struct params params;
static struct fuzz_in *input;
static struct arena *scratch;
static char sender[64];

/* --- the agent's threads, one after the other ---------------------------- */

static struct { void (*fn)(void *); void *arg; } receiver;
static jmp_buf out;

int __wrap_usleep(useconds_t);
int __wrap_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *,
    const struct timespec *);

/* The conversation is over and the next would be opened. */
int __wrap_usleep(useconds_t us)
{
	(void)us;
	longjmp(out, 1);
}

/* No job comes any more: the thread ends. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond,
    pthread_mutex_t *mutex, const struct timespec *until)
{
	(void)cond;
	(void)mutex;
	(void)until;
	return ETIMEDOUT;
}

/* The first is the one that receives; a worker does what is there. */
static int run_thread(void (*fn)(void *), void *arg)
{
	if (receiver.fn != NULL) {
		fn(arg);
		return 0;
	}
	receiver.fn = fn;
	receiver.arg = arg;
	return 0;
}

/* --- cleanup --------------------------------------------------------------- */

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

/* --- qmgr ------------------------------------------------------------------- */

static struct { size_t rcpts, results, sent; } told;

static void hear_agent(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct agent_result *r = msg;
	const struct agent_hello *hello = msg;

	(void)c;
	if (schema == &agent_hello_schema) {
		fuzz_check(hello->transports.n == 1 &&
		    str_eq_c(hello->transports.v[0], "bounce"), "its hello");
		return;
	}
	if (schema != &agent_result_schema)
		return;
	fuzz_check(r->status >= AGENT_SENT && r->status <= AGENT_FAILED &&
	    r->dsn.n >= 5, "its result");
	told.results++;
	told.sent += r->status == AGENT_SENT;
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

static uint64_t draw(void *ctx, uint64_t max)
{
	return max == 0 ? 0 : fuzz_number(ctx, max);
}

static int file = -1;

static int give_file(void *ctx)
{
	(void)ctx;
	return file;
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

static void say_job(struct conv *c)
{
	static const struct msg_schema *const kinds[] = { &agent_job_schema,
		&agent_job_schema, &agent_job_schema, &agent_job_schema,
		&agent_recorded_schema, &agent_hello_schema };
	struct garble g = { .draw = draw, .ctx = input, .arena = scratch,
		.descriptor = give_file, .mend = mend };
	int fds[MSG_FD_MAX];
	size_t nfds = 0;
	struct buf b;

	buf_init(&b, 2 * MSG_MAX);
	if (garble_packet(&g, kinds[fuzz_number(input, 5)], &b, fds,
	    &nfds) == 0) {
		for (size_t i = 0; i < nfds; i++)
			fds[i] = dup(fds[i]);
		fake_say_raw(c, buf_str(&b), fds, nfds);
	}
	buf_fini(&b);
	arena_reset(scratch);
}

/* The agent opened its conversation: it hears what we have for it. */
static void open_qmgr(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	hear_agent(c, schema, msg);
	if (schema != &agent_present_schema)
		return;
	for (size_t i = fuzz_number(input, JOBS); i > 0; i--)
		say_job(c);
	fake_leave_last(c);
}

static int free_number(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *why;

	(void)argc;
	(void)argv;
	fuzz_mute_log();
	fake_arena = arena_new(1 << 20);
	scratch = arena_new(8 << 20);
	fuzz_check(params_load(&params, NULL, 0, fake_arena, &why) == 0, "%s",
	    why);
	params.notify_classes = "bounce 2bounce delay";
	fake_params = &params;
	fake_spawn = run_thread;
	fuzz_directory(NULL);
	fake_submit_answer = answer_submit;
	bounce_main(0, NULL);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const say[] = { &agent_hello_schema,
		&agent_result_schema, &agent_running_schema,
		&agent_present_schema, NULL };
	struct fuzz_in in = fuzz_in(p, n);
	int before = free_number();
	struct held *h;

	input = &in;
	for (size_t i = 0; i < sizeof(answers); i++)
		answers[i] = (unsigned char)fuzz_octet(&in);
	answered = written = 0;
	memset(&told, 0, sizeof(told));
	receiver.fn = NULL;
	file = make_file();
	fuzz_budget_start();
	fake_edge("qmgr", open_qmgr, say);
	fake_submit_start();
	fuzz_check(serve_program->ready(NULL) == 0, "no start");
	if (setjmp(out) == 0)
		receiver.fn(receiver.arg);
	fuzz_check(LIST_EMPTY(&agent->all) && agent->queued == 0 &&
	    agent->threads == 0, "a job is left");
	fuzz_check(told.sent == 0 || sender[0] == '\0' || written > 0,
	    "a notice that nobody has");
	fuzz_check_heap(24 << 20);
	while ((h = TAILQ_FIRST(&agent->held)) != NULL) {
		TAILQ_REMOVE(&agent->held, h, link);
		free(h);
	}
	free(agent);
	close(file);
	fuzz_check(free_number() == before, "a descriptor is left open");
	fake_submit_end();
	fake_forget();
	fuzz_end();
	return 0;
}
