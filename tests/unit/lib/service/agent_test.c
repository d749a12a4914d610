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
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "ipc/conv.h"
#include "service/agent.h"

static int edge_fd;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool ended;
static atomic_int begun;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[16384];

/* What the sender is says what the delivery does. While the gate is locked
 * "gate" does not get beyond it; "forget" reports one of two recipients. */
static void deliver_job(struct agent_task *t)
{
	struct agent_outcome sent = { .status = AGENT_SENT, .dsn = "2.0.0",
		.text = STR("250 taken"), .relay = STR("mx.test[::1]:25"),
		.uses = 3, .remote = STR("mx.test"),
		.diagnostic = STR("250 ok"), .nexthop_dead = true,
		.onward = AGENT_PASSED_ON };
	struct agent_outcome failed = { .status = AGENT_FAILED,
		.dsn = "5.4.4", .uses = 1, .onward = AGENT_RELAYED };
	struct agent_outcome deferred = { .status = AGENT_DEFERRED,
		.dsn = "4.3.0", .nexthop_dead = true };
	bool waits = str_eq_c(t->job.sender, "gate");

	begun++;
	if (waits) {
		pthread_mutex_lock(&gate);
		pthread_mutex_unlock(&gate);
	}
	agent_report(t, 0, str_eq_c(t->job.sender, "sent") ? &sent
	    : waits ? &failed : &deferred);
	if (!str_eq_c(t->job.sender, "forget"))
		agent_report(t, 1, waits ? &failed : &deferred);
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

static void keep_log(enum log_level level, struct str line, void *ctx)
{
	size_t n;

	(void)level;
	(void)ctx;
	pthread_mutex_lock(&log_lock);
	n = strlen(log_text);
	snprintf(log_text + n, sizeof(log_text) - n, STR_FMT "\n",
	    STR_ARG(line));
	pthread_mutex_unlock(&log_lock);
}

/* The result is sent before the line is written. */
static void expect_log(const char *text)
{
	int64_t end = clock_now() + 10 * CLOCK_SECOND;
	bool there = false;

	for (; !there; usleep(1000)) {
		pthread_mutex_lock(&log_lock);
		there = strstr(log_text, text) != NULL;
		if (!there && clock_now() > end)
			fail_msg("no %s in:\n%s", text, log_text);
		pthread_mutex_unlock(&log_lock);
	}
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

static void send_job(struct conv *c, uint64_t job, const char *id,
    const char *sender)
{
	struct str rcpts[] = { STR("a@x.test"), STR("b@x.test") };
	uint64_t numbers[] = { 7, 9 };
	struct agent_job m = {
		.job = job, .queue_id = str_of(id), .transport = STR("smtp"),
		.nexthop = STR("x.test"), .sender = str_of(sender),
		.file = open("/dev/null", O_RDONLY | O_CLOEXEC), .arrival = clock_wall(),
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

static void done(void)
{
	ended = true;
}

static struct agent *start_agent(size_t capacity)
{
	static const char *const transports[] = { "smtp", "relay", "lmtp" };
	struct agent_config config = {
		.program = "smtp", .transports = transports, .count = 3,
		.capacity = capacity, .deliver = deliver_job,
		.spawn = spawn, .done = done,
	};
	struct agent *a;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, pair), 0);
	edge_fd = pair[1];
	config.edge = edge_new("qmgr", pair[0]);
	a = agent_start(&config);
	assert_non_null(a);
	return a;
}

static void expect_hello(struct conv *c, uint64_t capacity)
{
	union said m;

	assert_ptr_equal(receive(c, &m), &agent_hello_schema);
	assert_true(str_eq_c(m.hello.program, "smtp"));
	assert_int_equal(m.hello.transports.n, 3);
	assert_int_equal(m.hello.capacity, capacity);
}

/* An agent that holds and runs nothing, past its introduction. */
static struct conv *meet_agent(size_t capacity)
{
	union said m;
	struct conv *c;

	start_agent(capacity);
	c = accept_agent();
	expect_hello(c, capacity);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	return c;
}

static void it_registers_and_reports(void **state)
{
	union said m;
	struct conv *c;

	(void)state;
	c = meet_agent(5);
	send_job(c, 3, "F00", "defer");
	for (uint64_t i = 0; i < 2; i++) {
		assert_ptr_equal(receive(c, &m), &agent_result_schema);
		assert_int_equal(m.result.job, 3);
		assert_true(str_eq_c(m.result.queue_id, "F00"));
		assert_int_equal(m.result.index, i ? 9 : 7);
		assert_int_equal(m.result.status, AGENT_DEFERRED);
		assert_true(str_eq_c(m.result.dsn, "4.3.0"));
	}
	conv_close(&c);
}

static void a_result_says_what_goes_with_its_status(void **state)
{
	union said m;
	struct conv *c;

	(void)state;
	c = meet_agent(5);
	send_job(c, 1, "F0E", "sent");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_int_equal(m.result.status, AGENT_SENT);
	assert_true(str_eq_c(m.result.relay, "mx.test"));
	assert_true(str_eq_c(m.result.text, "250 taken"));
	assert_true(str_eq_c(m.result.diagnostic, "250 ok"));
	assert_int_equal(m.result.onward, AGENT_PASSED_ON);
	assert_false(m.result.nexthop_dead);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_int_equal(m.result.status, AGENT_DEFERRED);
	assert_true(m.result.nexthop_dead);
	expect_log("F0E: to=<a@x.test>, relay=mx.test[::1]:25, conn_use=3, "
	    "delay=");
	expect_log(", dsn=2.0.0, status=sent (250 taken)\n");
	expect_log("F0E: to=<b@x.test>, relay=none, delay=");
	send_job(c, 2, "F0F", "gate");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_int_equal(m.result.status, AGENT_FAILED);
	assert_int_equal(m.result.onward, 0);
	conv_close(&c);
}

static void who_is_not_reported_is_deferred(void **state)
{
	union said m;
	struct conv *c;

	(void)state;
	c = meet_agent(1);
	send_job(c, 1, "F00", "forget");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_int_equal(m.result.index, 9);
	assert_int_equal(m.result.status, AGENT_DEFERRED);
	assert_true(str_eq_c(m.result.text, "internal error"));
	conv_close(&c);
}

static void a_new_qmgr_hears_what_was_not_recorded(void **state)
{
	union said m;
	struct conv *c;
	unsigned seen = 0;

	(void)state;
	c = meet_agent(5);
	send_job(c, 1, "F01", "defer");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	send_recorded(c, "F01", 7);
	/* the record must have arrived before qmgr dies: another job's
	 * result comes behind it */
	send_job(c, 2, "F02", "defer");
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
	c = meet_agent(5);
	pthread_mutex_lock(&gate);
	send_job(c, 1, "F0A", "gate");
	send_job(c, 2, "F0B", "defer");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	send_recorded(c, "F0B", 7);
	send_recorded(c, "F0B", 9);
	send_job(c, 3, "F0C", "gate"); /* it waits at the gate as well */
	send_job(c, 4, "F0D", "defer");
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

static void await_end(void)
{
	for (int64_t end = clock_now() + 10 * CLOCK_SECOND; !ended;
	    usleep(1000))
		assert_true(clock_now() < end);
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
	send_job(c, 1, "F01", "defer");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	send_recorded(c, "F01", 7);
	agent_drain(a, 60 * CLOCK_SECOND);
	expect_hello(c, 0);
	/* a new qmgr hears the same */
	conv_close(&c);
	c = accept_agent();
	expect_hello(c, 0);
	while (receive(c, &m) != &agent_present_schema)
		;
	assert_false(ended);
	send_recorded(c, "F01", 7);
	send_recorded(c, "F01", 9);
	await_end();
	conv_close(&c);
}

static void what_is_slow_has_its_grace_and_no_more(void **state)
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
	pthread_mutex_lock(&gate);
	send_job(c, 1, "F01", "gate");
	send_job(c, 2, "F02", "defer");
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	assert_ptr_equal(receive(c, &m), &agent_result_schema);
	agent_drain(a, 50 * CLOCK_MS);
	expect_hello(c, 0);
	await_end();
	pthread_mutex_unlock(&gate);
	conv_close(&c);
}

static void at_the_end_no_job_is_begun(void **state)
{
	struct agent *a;
	union said m;
	struct conv *c;
	int before;

	(void)state;
	ended = false;
	a = start_agent(5);
	c = accept_agent();
	expect_hello(c, 5);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	agent_drain(a, CLOCK_NEVER);
	expect_hello(c, 0);
	await_end();
	before = begun;
	/* it was under way: the agent gives it back by hanging up */
	send_job(c, 1, "F01", "defer");
	conv_close(&c);
	c = accept_agent();
	expect_hello(c, 0);
	assert_ptr_equal(receive(c, &m), &agent_present_schema);
	assert_int_equal(begun, before);
	conv_close(&c);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_sink(keep_log, NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_registers_and_reports),
		cmocka_unit_test(a_result_says_what_goes_with_its_status),
		cmocka_unit_test(who_is_not_reported_is_deferred),
		cmocka_unit_test(a_new_qmgr_hears_what_was_not_recorded),
		cmocka_unit_test(a_new_qmgr_hears_what_still_runs),
		cmocka_unit_test(
		    drained_it_takes_nothing_and_ends_when_recorded),
		cmocka_unit_test(what_is_slow_has_its_grace_and_no_more),
		cmocka_unit_test(at_the_end_no_job_is_begun),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
