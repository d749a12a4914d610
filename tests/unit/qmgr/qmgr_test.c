/*
 * qmgr as its neighbours see it: the real parts around a loop in a thread of
 * its own, and this test as `cleanup` and as agents.
 */
#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/log.h"
#include "base/sys.h"
#include "msgs/stock.h"
#include "qmgr/core.h"
#include "queue/commit.h"
#include "service/service.h"

#define SOON (clock_now() + 20 * CLOCK_SECOND)

/* --- what the service skeleton would give ----------------------------- */

static int spool_dir = -1;

int service_dir(const char *role)
{
	assert_string_equal(role, "spool");
	return spool_dir;
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	(void)server, (void)request, (void)req, (void)reply, (void)rep;
	(void)timeout_us;
	*conv_r = NULL;
	*why_r = "there is none";
	return -1;
}

void service_done(void)
{
}

struct plain { void (*fn)(void *); void *arg; };

static void *run_plain(void *p)
{
	struct plain t = *(struct plain *)p;

	free(p);
	t.fn(t.arg);
	return NULL;
}

int service_thread(void (*fn)(void *), void *arg)
{
	struct plain *t = malloc(sizeof(*t));
	pthread_t thread;

	*t = (struct plain){ fn, arg };
	if (pthread_create(&thread, NULL, run_plain, t) != 0)
		return -1;
	pthread_detach(thread);
	return 0;
}

/* --- a qmgr in a thread ----------------------------------------------- */

static const char *const clients[] = { "cleanup", "local", "smtp", "bounce" };
enum { CLEANUP, LOCAL, SMTP, BOUNCE, CLIENTS };

struct running {
	struct qmgr *qmgr;
	struct params params;
	struct arena *arena;
	struct loop *loop;
	struct edge *edges[CLIENTS];	/* our ends */
	int ends[CLIENTS], stop[2];
	pthread_t thread;
};

static void on_edge(int fd, unsigned ready, void *ctx)
{
	struct running *r = ctx;
	int conv = edge_accept(fd);

	(void)ready;
	for (int i = 0; conv >= 0 && i < CLIENTS; i++)
		if (r->ends[i] == fd)
			qmgr_take(r->qmgr, conv_new(clients[i], conv),
			    clients[i]);
}

static void on_stop(int fd, unsigned ready, void *ctx)
{
	struct running *r = ctx;

	(void)fd;
	(void)ready;
	loop_stop(r->loop);
}

static void *run_loop(void *p)
{
	struct running *r = p;

	if (qmgr_start(r->qmgr, r->loop, &r->params) == 0)
		loop_run(r->loop);
	return NULL;
}

static void start(struct running *r, const struct str *pairs, size_t n)
{
	const char *why;

	memset(r, 0, sizeof(*r));
	r->qmgr = calloc(1, sizeof(*r->qmgr));
	r->arena = arena_new(1 << 20);
	assert_int_equal(params_load(&r->params, pairs, n, r->arena, &why),
	    0);
	r->loop = loop_new();
	assert_int_equal(pipe(r->stop), 0);
	assert_non_null(watch_new(r->loop, r->stop[0], LOOP_READ, on_stop,
	    r));
	for (int i = 0; i < CLIENTS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair),
		    0);
		r->edges[i] = edge_new(clients[i], pair[0]);
		r->ends[i] = pair[1];
		assert_non_null(watch_new(r->loop, pair[1], LOOP_READ,
		    on_edge, r));
	}
	assert_int_equal(pthread_create(&r->thread, NULL, run_loop, r), 0);
}

/* As a death: nothing is tidied, but the lock goes with the descriptor. Its
 * disk threads stay, without work. */
static void die(struct running *r)
{
	assert_int_equal(write(r->stop[1], "x", 1), 1);
	pthread_join(r->thread, NULL);
	sys_close(r->qmgr->spool.lock);
}

/* --- the test's side -------------------------------------------------- */

static char root[64];

static int begin(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/postern-qmgr-XXXXXX");
	assert_non_null(mkdtemp(root));
	spool_dir = open(root, O_RDONLY | O_DIRECTORY);
	return 0;
}

static int end(void **state)
{
	char *argv[] = { "rm", "-rf", root, NULL };
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	close(spool_dir);
	return 0;
}

static void say(struct conv *c, const struct msg_schema *schema,
    const void *m)
{
	const char *why;

	assert_int_equal(conv_send(c, schema, m, SOON, &why), 0);
}

/* Waits for that message; false when `wait_ms` passed without one. */
static bool hear(struct conv *c, const struct msg_schema *schema, void *m,
    int wait_ms)
{
	const struct msg_schema *allowed[] = { schema }, *got;
	const char *why = "";

	return conv_recv(c, allowed, 1, &got, m,
	    clock_now() + wait_ms * CLOCK_MS, &why) == CONV_MESSAGE;
}

/* A job is heard among agent_recorded, which are counted. */
static bool hear_job(struct conv *c, struct agent_job *job, int wait_ms)
{
	const struct msg_schema *allowed[] = { &agent_job_schema,
		&agent_recorded_schema }, *got;
	int64_t until = clock_now() + wait_ms * CLOCK_MS;
	union { struct agent_job job; struct agent_recorded recorded; } m;
	const char *why;

	while (conv_recv(c, allowed, 2, &got, &m, until, &why) ==
	    CONV_MESSAGE)
		if (got == &agent_job_schema) {
			*job = m.job;
			return true;
		}
	return false;
}

struct wanted {
	const char *rcpts[3];
	const char *transport, *nexthop, *sender;
	bool untold;		/* the commit is not told */
	const char *nexthops[3];	/* NULL: all have nexthop */
};

/* Verb 1 and 2: takes a file, commits a message, tells. The id. */
static uint64_t submit(struct conv *cleanup, const struct wanted *w)
{
	struct queue_recipient rcpts[3];
	struct queue_envelope e = { .arrival = clock_wall(),
		.sender = str_of(w->sender), .recipients = rcpts };
	struct str addresses[3], transports[3], nexthops[3], none[3];
	uint64_t zero[3] = { 0 }, id;
	struct stock_want want = { 1 };
	struct stock_file f;
	char text[QUEUE_ID_SIZE];
	struct queue_commit *c;
	const char *why;

	say(cleanup, &stock_want_schema, &want);
	assert_true(hear(cleanup, &stock_file_schema, &f, 20000));
	assert_int_equal(queue_id_parse(f.queue_id, &id), 0);
	for (size_t i = 0; i < 3 && w->rcpts[i] != NULL; i++) {
		addresses[i] = str_of(w->rcpts[i]);
		transports[i] = str_of(w->transport);
		nexthops[i] = str_of(w->nexthops[i] != NULL ? w->nexthops[i]
		    : w->nexthop);
		none[i] = STR_NONE;
		rcpts[i] = (struct queue_recipient){ .address = addresses[i],
			.transport = transports[i], .nexthop = nexthops[i] };
		e.recipient_count++;
	}
	assert_int_equal(queue_commit_begin(&c, f.fd, id, 1 << 20), 0);
	queue_commit_append(c, STR("Subject: x\r\n\r\n"));
	assert_int_equal(queue_commit(c, &e, &why), 0);
	queue_commit_end(&c);
	close(f.fd);
	if (!w->untold) {
		struct stock_commit m = {
			.queue_id = str_of(queue_id_text(id, text)),
			.sender = e.sender, .arrival = e.arrival,
			.size = e.size,
			.rcpts = { addresses, e.recipient_count },
			.originals = { none, e.recipient_count },
			.transports = { transports, e.recipient_count },
			.nexthops = { nexthops, e.recipient_count },
			.orcpts = { none, e.recipient_count },
			.notify = { zero, e.recipient_count },
		};

		say(cleanup, &stock_commit_schema, &m);
	}
	return id;
}

static struct conv *open_agent(struct running *r, int client,
    const char *transport)
{
	struct conv *c = edge_open_fresh(r->edges[client], SOON);
	struct str t = str_of(transport);
	struct agent_hello hello = { str_of(clients[client]), { &t, 1 }, 10 };

	assert_non_null(c);
	say(c, &agent_hello_schema, &hello);
	return c;
}

static void say_present(struct conv *c)
{
	say(c, &agent_present_schema, NULL);
}

static void answer(struct conv *c, uint64_t id, uint64_t index,
    enum agent_status status, bool dead)
{
	char text[QUEUE_ID_SIZE];
	struct agent_result res = { .queue_id = str_of(queue_id_text(id,
	    text)), .index = index, .status = status, .nexthop_dead = dead,
	    .dsn = status == AGENT_SENT ? STR("2.0.0") :
	    status == AGENT_FAILED ? STR("5.1.1") : STR("4.4.1"),
	    .text = STR("said so") };

	say(c, &agent_result_schema, &res);
}

static void expect_recorded(struct conv *c, uint64_t id)
{
	struct agent_recorded m;
	char text[QUEUE_ID_SIZE];

	assert_true(hear(c, &agent_recorded_schema, &m, 20000));
	assert_true(m.queue_ids.n >= 1);
	for (size_t i = 0; i < m.queue_ids.n; i++)
		assert_true(str_eq_c(m.queue_ids.v[i],
		    queue_id_text(id, text)));
}

static bool exists(const char *place, uint64_t id)
{
	char path[256], text[QUEUE_ID_SIZE];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/%s", root, place,
	    queue_id_text(id, text));
	return stat(path, &st) == 0;
}

static bool is_deferred(uint64_t id)
{
	char pattern[256], text[QUEUE_ID_SIZE];
	glob_t found;
	int rc;

	snprintf(pattern, sizeof(pattern), "%s/deferred/*/%s", root,
	    queue_id_text(id, text));
	rc = glob(pattern, GLOB_NOSORT, NULL, &found);
	if (rc == 0)
		globfree(&found);
	return rc == 0;
}

static void wait_until(bool (*check)(uint64_t), uint64_t id, bool want)
{
	for (int64_t until = SOON; check(id) != want;) {
		if (clock_now() > until)
			fail_msg("it did not happen");
		usleep(5000);
	}
}

static bool is_corrupt(uint64_t id)
{
	return exists("corrupt", id);
}

static const struct wanted one = { { "anna@x.test" }, "local", "x.test",
	"sender@y.test", false, { NULL } };

/* --- tests ------------------------------------------------------------ */

static void a_committed_message_is_handed_on_and_its_end_is_recorded(
    void **state)
{
	struct running r;
	struct conv *cleanup, *agent;
	struct arena *arena = arena_new(1 << 20);
	struct queue_reader reader;
	struct agent_job job;
	const char *why;
	uint64_t id;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, LOCAL, "local");
	say_present(agent);
	id = submit(cleanup, &one);
	assert_true(hear_job(agent, &job, 20000));
	assert_true(str_eq_c(job.transport, "local"));
	assert_true(str_eq_c(job.sender, "sender@y.test"));
	assert_int_equal(job.rcpts.n, 1);
	assert_true(str_eq_c(job.rcpts.v[0], "anna@x.test"));
	assert_int_equal(queue_reader_open(&reader, job.file, id, arena,
	    &why), 0);
	assert_int_equal(queue_reader_verify(&reader), 0);
	/* Whoever has the descriptor can read, and only that. */
	assert_int_equal(write(job.file, "x", 1), -1);
	close(job.file);
	answer(agent, id, 0, AGENT_SENT, false);
	expect_recorded(agent, id);
	arena_free(&arena);
	die(&r);
}

static void an_agent_has_no_say_in_the_mail_of_another(void **state)
{
	struct running r;
	struct conv *cleanup, *agent, *thief;
	struct agent_job job;
	uint64_t id, index = 0;
	char text[QUEUE_ID_SIZE];
	struct agent_running running = { .indexes = { &index, 1 } };

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	thief = open_agent(&r, SMTP, "local");
	say_present(thief);
	agent = open_agent(&r, LOCAL, "local");
	say_present(agent);
	id = submit(cleanup, &one);
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	running.queue_id = str_of(queue_id_text(id, text));
	say(thief, &agent_running_schema, &running);
	answer(thief, id, 0, AGENT_SENT, false);
	/* the answer to this one tells that the others were heard */
	answer(thief, id, 999, AGENT_SENT, false);
	expect_recorded(thief, id);
	answer(agent, id, 0, AGENT_DEFERRED, false);
	wait_until(is_deferred, id, true);
	assert_false(hear_job(thief, &job, 1));
	die(&r);
}

static void what_an_agent_runs_stays_with_it_across_a_break(void **state)
{
	struct running r;
	struct conv *cleanup, *agent;
	struct agent_job job;
	char text[QUEUE_ID_SIZE];
	uint64_t id, index = 0;
	struct agent_running running = { .indexes = { &index, 1 } };

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, LOCAL, "local");
	say_present(agent);
	id = submit(cleanup, &one);
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	conv_close(&agent);
	agent = open_agent(&r, LOCAL, "local");
	running.queue_id = str_of(queue_id_text(id, text));
	say(agent, &agent_running_schema, &running);
	say_present(agent);
	assert_false(hear_job(agent, &job, 3500));
	answer(agent, id, 0, AGENT_SENT, false);
	expect_recorded(agent, id);
	die(&r);
}

static void a_message_that_agents_die_of_goes_to_corrupt(void **state)
{
	struct running r;
	struct conv *cleanup, *agent;
	struct agent_job job;
	uint64_t id;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, LOCAL, "local");
	id = submit(cleanup, &one);
	for (int i = 0; i < QMGR_CRASHES; i++) {
		assert_true(hear_job(agent, &job, 20000));
		close(job.file);
		conv_close(&agent);
		agent = open_agent(&r, LOCAL, "local");
	}
	wait_until(is_corrupt, id, true);
	die(&r);
}

static void a_dead_next_hop_defers_all_that_waits_for_it(void **state)
{
	static const struct str pairs[] = {
		{ "smtp_destination_concurrency_limit=1", 36 },
	};
	static const struct wanted away = { { "a@far.test" }, "smtp",
		"far.test", "s@y.test", false, { NULL } };
	struct running r;
	struct conv *cleanup, *agent;
	struct agent_job job;
	uint64_t ids[3];

	(void)state;
	start(&r, pairs, 1);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, SMTP, "smtp");
	for (int i = 0; i < 3; i++)
		ids[i] = submit(cleanup, &away);
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	assert_false(hear_job(agent, &job, 300));
	answer(agent, ids[0], 0, AGENT_DEFERRED, true);
	for (int i = 0; i < 3; i++)
		wait_until(is_deferred, ids[i], true);
	assert_false(hear_job(agent, &job, 300));
	die(&r);
}

static void recipients_of_one_next_hop_go_together(void **state)
{
	static const struct wanted mixed = { { "a@x.test", "b@y.test",
		"c@x.test" }, "smtp", NULL, "s@z.test", false,
		{ "x.test", "y.test", "x.test" } };
	struct running r;
	struct conv *cleanup, *agent;
	struct agent_job job;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, SMTP, "smtp");
	submit(cleanup, &mixed);
	for (int i = 0; i < 2; i++) {
		assert_true(hear_job(agent, &job, 20000));
		close(job.file);
		if (str_eq_c(job.nexthop, "x.test")) {
			assert_int_equal(job.indexes.n, 2);
			assert_int_equal(job.indexes.v[0], 0);
			assert_int_equal(job.indexes.v[1], 2);
		} else {
			assert_true(str_eq_c(job.nexthop, "y.test"));
			assert_int_equal(job.indexes.n, 1);
			assert_int_equal(job.indexes.v[0], 1);
		}
	}
	die(&r);
}

static void what_was_answered_while_it_waited_is_not_handed_out(void **state)
{
	static const struct wanted two = { { "a@x.test", "b@x.test" }, "smtp",
		"x.test", "s@z.test", false, { 0 } };
	struct str transport = STR("smtp");
	struct agent_hello hello = { transport, { &transport, 1 }, 0 };
	struct stock_want want = { 1 };
	struct conv *cleanup, *agent;
	struct stock_file spare;
	struct agent_job job;
	struct running r;
	uint64_t id;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = edge_open_fresh(r.edges[SMTP], SOON);
	say(agent, &agent_hello_schema, &hello);
	id = submit(cleanup, &two);
	/* When this comes the commit was heard. */
	say(cleanup, &stock_want_schema, &want);
	assert_true(hear(cleanup, &stock_file_schema, &spare, 20000));
	close(spare.fd);
	answer(agent, id, 0, AGENT_SENT, false);
	expect_recorded(agent, id);
	hello.capacity = 1;
	say(agent, &agent_hello_schema, &hello);
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	assert_int_equal(job.indexes.n, 1);
	assert_int_equal(job.indexes.v[0], 1);
	answer(agent, id, 1, AGENT_SENT, false);
	expect_recorded(agent, id);
	die(&r);
}

/* --- a cleanup that was taken over ------------------------------------ */

static size_t count_transports(const struct qmgr *q)
{
	const struct transport *t;
	size_t n = 0;

	LIST_FOREACH(t, &q->transports, link)
		n++;
	return n;
}

static void what_no_program_serves_is_deferred_and_not_kept(void **state)
{
	/* `bounce` could do nothing with it, and would never be free again */
	static const char *const names[] = { "bounce", "slow", "local2" };
	struct running r;
	struct conv *cleanup, *bounce;
	struct agent_job job;
	struct wanted w = one;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	bounce = open_agent(&r, BOUNCE, "bounce");
	say_present(bounce);
	for (size_t i = 0; i < 3; i++) {
		w.transport = names[i];
		wait_until(is_deferred, submit(cleanup, &w), true);
	}
	assert_false(hear_job(bounce, &job, 1));
	die(&r);
	assert_int_equal(count_transports(r.qmgr), 1); /* the agent's */
}

static void a_cleanup_has_no_more_files_than_it_can_write(void **state)
{
	enum { MOST = 4096, BEYOND = 100 };
	struct running r;
	struct conv *cleanup;
	struct stock_want want = { 256 };
	struct stock_file f;
	struct stock_return back;
	char text[QUEUE_ID_SIZE];
	uint64_t id = 0;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	for (size_t i = 0; i < MOST; i++) {
		if (i % 128 == 0) /* 256 at a time are heeded */
			say(cleanup, &stock_want_schema, &want);
		assert_true(hear(cleanup, &stock_file_schema, &f, 20000));
		assert_int_equal(queue_id_parse(f.queue_id, &id), 0);
		close(f.fd);
	}
	say(cleanup, &stock_want_schema, &want);
	assert_false(hear(cleanup, &stock_file_schema, &f, 300));
	/* One for each that it gives back, whatever else it says. */
	back.queue_id = str_of(queue_id_text(id, text));
	for (int i = 0; i < BEYOND; i++)
		say(cleanup, &stock_return_schema, &back);
	assert_true(hear(cleanup, &stock_file_schema, &f, 20000));
	close(f.fd);
	assert_false(hear(cleanup, &stock_file_schema, &f, 300));
	die(&r);
	assert_int_equal(map_count(TAILQ_FIRST(&r.qmgr->cleanups)->files),
	    MOST);
}

static void a_file_that_stays_open_is_watched_once(void **state)
{
	struct running r;
	struct conv *cleanup;
	struct stock_want want = { 2 };
	struct stock_file f, next;
	struct stock_return back;
	char text[64];

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	say(cleanup, &stock_want_schema, &want);
	assert_true(hear(cleanup, &stock_file_schema, &f, 20000));
	assert_int_equal(str_to_c(f.queue_id, text, sizeof(text)), 0);
	assert_true(hear(cleanup, &stock_file_schema, &next, 20000));
	back.queue_id = str_of(text);
	for (int i = 0; i < 500; i++)
		say(cleanup, &stock_return_schema, &back);
	/* All of them were heard when a file comes that is wanted now. */
	want.files = 1;
	say(cleanup, &stock_want_schema, &want);
	assert_true(hear(cleanup, &stock_file_schema, &next, 20000));
	die(&r);
	assert_true(r.qmgr->held_count <= 1);
	assert_int_equal(r.qmgr->held_count, map_count(r.qmgr->held_ids));
}

static void a_process_has_one_conversation_with_qmgr(void **state)
{
	struct running r;
	struct conv *first, *second;
	struct stock_file f;

	(void)state;
	start(&r, NULL, 0);
	first = edge_open_fresh(r.edges[CLEANUP], SOON);
	submit(first, &one);
	second = edge_open_fresh(r.edges[CLEANUP], SOON);
	submit(second, &one);
	assert_false(hear(first, &stock_file_schema, &f, 20000));
	die(&r);
	assert_null(TAILQ_NEXT(TAILQ_FIRST(&r.qmgr->cleanups), link));
}

/* --- the next qmgr ---------------------------------------------------- */

/* Opening the file of that message fails. */
static struct {
	_Atomic uint64_t id;	/* 0: none */
	atomic_int refused;
} sickness;

/* (set once: threads of a qmgr that died may still run) */
static int refuse_to_open(const struct sys_event *ev, void *ctx)
{
	uint64_t id = atomic_load(&sickness.id);
	char text[QUEUE_ID_SIZE];

	(void)ctx;
	if (id == 0 || ev->after || ev->op != SYS_OPEN || ev->path == NULL ||
	    strcmp(ev->path, queue_id_text(id, text)) != 0)
		return 0;
	atomic_fetch_add(&sickness.refused, 1);
	return EIO;
}

static void fall_sick(uint64_t id)
{
	atomic_store(&sickness.refused, 0);
	atomic_store(&sickness.id, id);
}

static void get_well(void)
{
	atomic_store(&sickness.id, 0);
}

static void wait_refused(void)
{
	for (int64_t until = SOON; atomic_load(&sickness.refused) == 0;) {
		if (clock_now() > until)
			fail_msg("nobody opened the file");
		usleep(1000);
	}
}

/*
 * The file is one that the next qmgr could not take up at its start. Whoever
 * says now that it has just been committed is no reason to give it to an agent
 * before all said what they run.
 */
static void a_strangers_word_of_a_commit_makes_no_copy(void **state)
{
	struct running first, second;
	struct conv *cleanup, *agent;
	struct agent_job job;
	char text[QUEUE_ID_SIZE];
	uint64_t id, index = 0;
	struct agent_running running = { .indexes = { &index, 1 } };
	struct stock_commit commit = { .sender = STR("s"), .more = true };

	(void)state;
	start(&first, NULL, 0);
	cleanup = edge_open_fresh(first.edges[CLEANUP], SOON);
	agent = open_agent(&first, LOCAL, "local");
	id = submit(cleanup, &one);
	running.queue_id = commit.queue_id = str_of(queue_id_text(id, text));
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	die(&first);
	fall_sick(id);
	start(&second, NULL, 0);
	agent = open_agent(&second, LOCAL, "local");
	cleanup = edge_open_fresh(second.edges[CLEANUP], SOON);
	wait_refused();
	get_well();
	say(cleanup, &stock_commit_schema, &commit);
	/* It has it since before, and says so once more than one would: qmgr
	 * may hear it sooner than the other. */
	for (int i = 0; i < 20; i++) {
		say(agent, &agent_running_schema, &running);
		assert_false(hear_job(agent, &job, 20));
	}
	say_present(agent);
	assert_false(hear_job(agent, &job, 3500));
	answer(agent, id, 0, AGENT_SENT, false);
	expect_recorded(agent, id);
	die(&second);
}

/* A cleanup of before has an empty file, and fills it now: that overtakes what
 * waits for the agents of before. */
static void a_commit_after_the_start_waits_for_nobody(void **state)
{
	struct queue_recipient rcpt = { .address = STR("b@x.test"),
		.transport = STR("local"), .nexthop = STR("x.test") };
	struct queue_envelope e = { .sender = STR("s"), .arrival =
		clock_wall(), .recipients = &rcpt, .recipient_count = 1 };
	struct running first, second;
	struct conv *cleanup, *agent;
	struct stock_want want = { 1 };
	struct stock_file f;
	struct agent_job job;
	char text[QUEUE_ID_SIZE];
	struct stock_commit commit = { .sender = STR("s"), .more = true };
	struct queue_commit *c;
	const char *why;
	uint64_t id, old;

	(void)state;
	start(&first, NULL, 0);
	cleanup = edge_open_fresh(first.edges[CLEANUP], SOON);
	old = submit(cleanup, &one);
	say(cleanup, &stock_want_schema, &want);
	assert_true(hear(cleanup, &stock_file_schema, &f, 20000));
	assert_int_equal(queue_id_parse(f.queue_id, &id), 0);
	commit.queue_id = str_of(queue_id_text(id, text));
	die(&first);
	start(&second, NULL, 0);
	agent = open_agent(&second, LOCAL, "local");
	cleanup = edge_open_fresh(second.edges[CLEANUP], SOON);
	/* The answer tells that it has started. */
	say(cleanup, &stock_want_schema, &want);
	assert_true(hear(cleanup, &stock_file_schema, &(struct stock_file){
		.fd = -1 }, 20000));
	assert_int_equal(queue_commit_begin(&c, f.fd, id, 1 << 20), 0);
	queue_commit_append(c, STR("Subject: x\r\n\r\n"));
	assert_int_equal(queue_commit(c, &e, &why), 0);
	queue_commit_end(&c);
	close(f.fd);
	say(cleanup, &stock_commit_schema, &commit);
	assert_true(hear_job(agent, &job, 20000));
	assert_true(str_eq_c(job.queue_id, text));
	close(job.file);
	assert_true(hear_job(agent, &job, 20000));
	assert_true(str_eq_c(job.queue_id, queue_id_text(old, text)));
	close(job.file);
	die(&second);
}

/* --- what `bounce` and the next qmgr know ----------------------------- */

static void a_failure_is_told_by_bounce_and_only_then_over(void **state)
{
	static const struct wanted lost = { { "a@far.test", "b@far.test" },
		"error", "5.7.1 not here", "s@y.test", false, { NULL } };
	struct running r;
	struct conv *cleanup, *bounce;
	struct agent_job job;
	uint64_t id;

	(void)state;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	bounce = open_agent(&r, BOUNCE, "bounce");
	id = submit(cleanup, &lost);
	assert_true(hear_job(bounce, &job, 20000));
	assert_int_equal(job.why, 0);
	assert_int_equal(job.rcpts.n, 2);
	close(job.file);
	assert_true(exists("incoming", id));
	answer(bounce, id, 0, AGENT_SENT, false);
	answer(bounce, id, 1, AGENT_SENT, false);
	expect_recorded(bounce, id);
	die(&r);
}

static void a_commit_that_nobody_told_of_is_found(void **state)
{
	struct wanted w = one;
	struct running r;
	struct conv *cleanup, *agent;
	struct agent_job job;

	(void)state;
	w.untold = true;
	start(&r, NULL, 0);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, LOCAL, "local");
	submit(cleanup, &w);
	conv_close(&cleanup);
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	die(&r);
}

/* At the start, and when the `cleanup` that had it is gone. */
static void what_could_not_be_read_is_looked_at_again(void **state)
{
	static const struct str pairs[] = {
		{ "minimal_backoff_time=2", 22 },
	};
	struct wanted w = one;
	struct running r, next;
	struct conv *cleanup, *agent;
	struct agent_job job;
	uint64_t id;

	(void)state;
	w.untold = true;
	start(&r, pairs, 1);
	cleanup = edge_open_fresh(r.edges[CLEANUP], SOON);
	agent = open_agent(&r, LOCAL, "local");
	id = submit(cleanup, &w);
	fall_sick(id);
	conv_close(&cleanup);
	wait_refused();
	get_well();
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	die(&r);
	fall_sick(id);
	start(&next, pairs, 1);
	agent = open_agent(&next, LOCAL, "local");
	wait_refused();
	get_well();
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	die(&next);
}

static void the_next_qmgr_repeats_only_what_is_not_recorded(void **state)
{
	static const struct wanted two = { { "a@x.test", "b@x.test" },
		"local", "x.test", "s@y.test", false, { NULL } };
	struct running first, second;
	struct conv *cleanup, *agent;
	struct agent_job job;
	uint64_t id;

	(void)state;
	start(&first, NULL, 0);
	cleanup = edge_open_fresh(first.edges[CLEANUP], SOON);
	agent = open_agent(&first, LOCAL, "local");
	id = submit(cleanup, &two);
	for (int i = 0; i < 2; i++) {
		assert_true(hear_job(agent, &job, 20000));
		assert_int_equal(job.indexes.n, 1);
		close(job.file);
	}
	answer(agent, id, 1, AGENT_SENT, false);
	expect_recorded(agent, id);
	die(&first);
	start(&second, NULL, 0);
	agent = open_agent(&second, LOCAL, "local");
	say_present(agent);
	assert_true(hear_job(agent, &job, 20000));
	assert_int_equal(job.indexes.n, 1);
	assert_int_equal(job.indexes.v[0], 0);
	close(job.file);
	assert_false(hear_job(agent, &job, 500));
	answer(agent, id, 0, AGENT_SENT, false);
	expect_recorded(agent, id);
	die(&second);
}

static void what_an_agent_held_for_the_last_qmgr_counts(void **state)
{
	struct running first, second;
	struct conv *cleanup, *agent;
	struct agent_job job;
	uint64_t id;

	(void)state;
	start(&first, NULL, 0);
	cleanup = edge_open_fresh(first.edges[CLEANUP], SOON);
	agent = open_agent(&first, LOCAL, "local");
	id = submit(cleanup, &one);
	assert_true(hear_job(agent, &job, 20000));
	close(job.file);
	die(&first);
	start(&second, NULL, 0);
	agent = open_agent(&second, LOCAL, "local");
	answer(agent, id, 0, AGENT_SENT, false);
	say_present(agent);
	expect_recorded(agent, id);
	assert_false(hear_job(agent, &job, 3000));
	die(&second);
}

/* --- retry times ------------------------------------------------------ */

static void the_wait_grows_with_the_age(void **state)
{
	static const struct { int64_t age, least, most; } rows[] = {
		{ 0, 300, 364 }, { 299, 300, 364 }, { 1000, 1000, 1064 },
		{ 4000, 4000, 4064 }, { 400000, 4000, 4064 },
		{ -5000, 300, 364 },
	};
	struct params params;
	struct arena *arena = arena_new(1 << 20);
	struct qmgr *q = calloc(1, sizeof(*q));
	struct message m = { .sender = STR("s") };
	const int64_t now = 1800000000;
	const char *why;

	(void)state;
	assert_int_equal(params_load(&params, NULL, 0, arena, &why), 0);
	q->params = &params;
	q->bucket = 64;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t wait;

		m.arrival = (now - rows[i].age) * CLOCK_SECOND;
		wait = retry_next(q, &m, now) - now;
		assert_true(wait >= rows[i].least && wait <= rows[i].most);
		assert_int_equal((now + wait) % 64, 0);
	}
	m.arrival = (now - 5 * 86400) * CLOCK_SECOND;
	assert_true(retry_is_expired(q, &m, now));
	m.arrival += CLOCK_SECOND;
	assert_false(retry_is_expired(q, &m, now));
	m.expire = true;
	assert_true(retry_is_expired(q, &m, now));
	free(q);
	arena_free(&arena);
}

/* A qmgr ends by dying: it has nothing that gives memory back. */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}

static void drop_line(enum log_level level, struct str line, void *ctx)
{
	(void)ctx;
	if (level >= LOG_LEVEL_FATAL)
		fprintf(stderr, STR_FMT "\n", STR_ARG(line));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_committed_message_is_handed_on_and_its_end_is_recorded),
		TEST(an_agent_has_no_say_in_the_mail_of_another),
		TEST(what_an_agent_runs_stays_with_it_across_a_break),
		TEST(a_message_that_agents_die_of_goes_to_corrupt),
		TEST(a_dead_next_hop_defers_all_that_waits_for_it),
		TEST(recipients_of_one_next_hop_go_together),
		TEST(what_was_answered_while_it_waited_is_not_handed_out),
		TEST(what_no_program_serves_is_deferred_and_not_kept),
		TEST(a_cleanup_has_no_more_files_than_it_can_write),
		TEST(a_file_that_stays_open_is_watched_once),
		TEST(a_process_has_one_conversation_with_qmgr),
		TEST(a_strangers_word_of_a_commit_makes_no_copy),
		TEST(a_commit_after_the_start_waits_for_nobody),
		TEST(a_failure_is_told_by_bounce_and_only_then_over),
		TEST(a_commit_that_nobody_told_of_is_found),
		TEST(what_could_not_be_read_is_looked_at_again),
		TEST(the_next_qmgr_repeats_only_what_is_not_recorded),
		TEST(what_an_agent_held_for_the_last_qmgr_counts),
		cmocka_unit_test(the_wait_grows_with_the_age),
	};

	signal(SIGIO, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	log_set_sink(drop_line, NULL);
	sys_set_hook(refuse_to_open, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
