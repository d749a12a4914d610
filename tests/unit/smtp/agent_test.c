/* The agent's side of msgs/agent.h, with a queue manager played here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "ipc/conv.h"
#include "queue/commit.h"
#include "queue/id.h"
#include "smtp/agent.h"

static struct arena *arena;
static struct params params;
static struct smtp_config config;
static int edge_fd;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool ended;

/* While the gate is locked no delivery gets beyond its DNS question. */
static void resolve(void *ctx, struct dns_question *q, size_t n,
    struct arena *a, struct dns_reply *r)
{
	(void)ctx;
	(void)q;
	(void)a;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	for (size_t i = 0; i < n; i++)
		r[i] = (struct dns_reply){ .status = DNS_NXDOMAIN };
}

struct start {
	void (*fn)(void *);
	void *arg;
};

static void *run_start(void *p)
{
	struct start s = *(struct start *)p;

	free(p);
	s.fn(s.arg);
	return NULL;
}

static int spawn(void (*fn)(void *), void *arg)
{
	struct start *s = malloc(sizeof(*s));
	pthread_t t;

	*s = (struct start){ fn, arg };
	if (pthread_create(&t, NULL, run_start, s) != 0)
		return -1;
	return pthread_detach(t);
}

static void quiet(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	(void)ctx;
}

static const struct msg_schema *const all[] = { &agent_hello_schema,
	&agent_result_schema, &agent_running_schema, &agent_present_schema };

union said {
	struct agent_hello hello;
	struct agent_result result;
	struct agent_running running;
};

static const struct msg_schema *receive(struct conv *c, union said *m)
{
	const struct msg_schema *got;
	const char *why;

	if (conv_recv(c, all, 4, &got, m, clock_now() + 10 * CLOCK_SECOND,
		&why) != CONV_MESSAGE)
		fail_msg("%s", why);
	return got;
}

static struct conv *accept_agent(void)
{
	int64_t end = clock_now() + 10 * CLOCK_SECOND;
	int fd;

	while ((fd = edge_accept(edge_fd)) < 0) {
		assert_true(clock_now() < end);
		usleep(1000);
	}
	return conv_new("agent", fd);
}

/* A queue file, or an empty one. */
static int make_file(const char *id_text, bool good)
{
	struct queue_recipient rcpt = { .address = STR("r@x.test") };
	struct queue_envelope env = { .arrival = 1, .recipients = &rcpt,
		.recipient_count = 1 };
	char path[] = "/tmp/postern-agent.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct queue_commit *c;
	const char *why;
	uint64_t id;

	if (good) {
		queue_id_parse(str_of(id_text), &id);
		queue_commit_begin(&c, fd, id, 1000);
		queue_commit_append(c, STR("A: b\r\n\r\n"));
		assert_int_equal(queue_commit(c, &env, &why), 0);
		queue_commit_end(&c);
	}
	unlink(path);
	return fd;
}

static void send_job(struct conv *c, uint64_t job, const char *id,
    bool good)
{
	struct str rcpts[] = { STR("a@x.test"), STR("b@x.test") };
	uint64_t numbers[] = { 7, 9 };
	struct agent_job m = {
		.job = job, .queue_id = str_of(id), .transport = STR("smtp"),
		.nexthop = STR("x.test"), .sender = STR("s@me.test"),
		.file = make_file(id, good), .arrival = clock_wall(),
		.active = clock_wall(), .rcpts = { rcpts, 2 },
		.indexes = { numbers, 2 },
	};
	const char *why;

	assert_int_equal(conv_send(c, &agent_job_schema, &m,
	    clock_now() + CLOCK_SECOND, &why), 0);
	close(m.file);
}

static void send_recorded(struct conv *c, const char *id, uint64_t index)
{
	struct str ids[] = { str_of(id) };
	struct agent_recorded m = { .queue_ids = { ids, 1 },
		.indexes = { &index, 1 } };
	const char *why;

	assert_int_equal(conv_send(c, &agent_recorded_schema, &m,
	    clock_now() + CLOCK_SECOND, &why), 0);
}

static struct agent *start_agent(size_t capacity)
{
	struct deliver d = { .config = &config, .ask = resolve,
		.cache = cache_new() };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, pair), 0);
	edge_fd = pair[1];
	return agent_start(&d, edge_new("qmgr", pair[0]), capacity, spawn);
}

static void expect_hello(struct conv *c, uint64_t capacity)
{
	union said m;

	assert_ptr_equal(receive(c, &m), &agent_hello_schema);
	assert_true(str_eq_c(m.hello.program, "smtp"));
	assert_int_equal(m.hello.transports.n, 3);
	assert_int_equal(m.hello.capacity, capacity);
}

static void it_registers_and_reports(void **state)
{
	union said m;
	struct conv *c;

	(void)state;
	start_agent(5);
	c = accept_agent();
	expect_hello(c, 5);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	send_job(c, 3, "F00", false);
	for (uint64_t i = 0; i < 2; i++) {
		/* the file is empty: no queue file */
		assert_ptr_equal(receive(c, &m), &agent_result_schema);
		assert_int_equal(m.result.job, 3);
		assert_true(str_eq_c(m.result.queue_id, "F00"));
		assert_int_equal(m.result.index, i ? 9 : 7);
		assert_int_equal(m.result.status, AGENT_DEFERRED);
		assert_true(str_eq_c(m.result.dsn, "4.3.0"));
	}
	conv_close(&c);
}

static void a_new_qmgr_hears_what_was_not_recorded(void **state)
{
	union said m;
	struct conv *c;
	unsigned seen = 0;

	(void)state;
	start_agent(5);
	c = accept_agent();
	expect_hello(c, 5);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	send_job(c, 1, "F01", false);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	send_recorded(c, "F01", 7);
	/* the record must have arrived before qmgr dies: another job's
	 * result comes behind it */
	send_job(c, 2, "F02", false);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	conv_close(&c);

	c = accept_agent();
	expect_hello(c, 5);
	for (int i = 0; i < 3; i++) {
		assert_ptr_equal(receive(c, &m), &agent_result_schema);
		assert_int_equal(m.result.job, 0);
		if (str_eq_c(m.result.queue_id, "F01"))
			seen |= m.result.index == 9 ? 1 : 8;
		else
			seen |= m.result.index == 9 ? 2 : 4;
	}
	assert_int_equal(seen, 7);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	conv_close(&c);
}

static void a_new_qmgr_hears_what_still_runs(void **state)
{
	union said m;
	struct conv *c;

	(void)state;
	start_agent(5);
	c = accept_agent();
	expect_hello(c, 5);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	pthread_mutex_lock(&gate);
	send_job(c, 1, "F0A", true);
	send_job(c, 2, "F0B", false);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	send_recorded(c, "F0B", 7);
	send_recorded(c, "F0B", 9);
	send_job(c, 3, "F0C", true); /* it waits at the gate as well */
	send_job(c, 4, "F0D", false);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	conv_close(&c);

	c = accept_agent();
	expect_hello(c, 5);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(receive(c, &m), &agent_running_schema);
		assert_true(str_eq_c(m.running.queue_id, i ? "F0A" : "F0C"));
		assert_int_equal(m.running.indexes.n, 2);
		assert_int_equal(m.running.indexes.v[1], 9);
	}
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	pthread_mutex_unlock(&gate);
	/* they end in the new conversation, as results of none of its jobs */
	for (int i = 0; i < 4; i++) {
		assert_ptr_equal(receive(c, &m), &agent_result_schema);
		assert_int_equal(m.result.job, 0);
		assert_int_equal(m.result.status, AGENT_FAILED);
		assert_true(str_eq_c(m.result.dsn, "5.4.4"));
	}
	conv_close(&c);
}

static void done(void)
{
	ended = true;
}

static void drained_it_takes_nothing_and_ends_when_recorded(void **state)
{
	struct agent *a;
	union said m;
	struct conv *c;

	(void)state;
	ended = false;
	a = start_agent(5);
	c = accept_agent();
	expect_hello(c, 5);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	send_job(c, 1, "F01", false);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	send_recorded(c, "F01", 7);
	agent_drain(a, 60 * CLOCK_SECOND, done);
	conv_close(&c);
	c = accept_agent();
	expect_hello(c, 0);
	while (receive(c, &m) != &agent_present_schema)
		;
	assert_false(ended);
	send_recorded(c, "F01", 7);
	send_recorded(c, "F01", 9);
	for (int64_t end = clock_now() + 10 * CLOCK_SECOND; !ended;
	    usleep(1000))
		assert_true(clock_now() < end);
	conv_close(&c);
}

static int set_up(void **state)
{
	struct str pairs[] = { STR("smtp_tls_security_level=none") };
	const char *why;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_sink(quiet, NULL);
	arena = arena_new(4 * 1024 * 1024);
	return params_load(&params, pairs, 1, arena, &why) < 0 ||
	    smtp_config_load(&config, &params) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_registers_and_reports),
		cmocka_unit_test(a_new_qmgr_hears_what_was_not_recorded),
		cmocka_unit_test(a_new_qmgr_hears_what_still_runs),
		cmocka_unit_test(
		    drained_it_takes_nothing_and_ends_when_recorded),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
