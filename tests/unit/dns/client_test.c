/* Questions over conversations: msgs/dns.c on one side, client.c on the
 * other, in a loop of its own thread. No server is configured or reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "dns/client.h"

static struct loop *loop;
static struct clients *clients;
static struct edge *edge;
static struct arena *arena;
static struct watch *edge_watch, *stop_watch;
static int stop_pipe[2];
static bool drained;

static void on_edge(int fd, unsigned ready, void *ctx)
{
	int conv = edge_accept(fd);

	(void)ready;
	(void)ctx;
	if (conv >= 0)
		clients_add(clients, conv_new("test", conv), "test");
}

static void on_drained(void)
{
	drained = true;
	loop_stop(loop);
}

static void on_stop(int fd, unsigned ready, void *ctx)
{
	char what = 0;

	(void)ready;
	(void)ctx;
	assert_int_equal(read(fd, &what, 1), 1);
	if (what == 'd')
		clients_drain(clients, on_drained);
	else
		loop_stop(loop);
}

static void *run(void *arg)
{
	(void)arg;
	loop_run(loop);
	return NULL;
}

struct side {
	struct resolver *resolver;
	pthread_t thread;
	int silent, far;
};

/* servers: 0 none, 1 one that never answers. */
static void start_side(struct side *s, int servers_n)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	struct servers servers = { .n = (size_t)servers_n };
	struct resolver_options o = { .servers = &servers,
		.timeout = 20 * CLOCK_SECOND, .limit = 1000 };
	const char *why;
	int pair[2];

	s->silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->silent, (struct sockaddr *)&sin, len), 0);
	getsockname(s->silent, (struct sockaddr *)&sin, &len);
	snprintf(servers.text[0], sizeof(servers.text[0]), "127.0.0.1@%d",
	    ntohs(sin.sin_port));
	drained = false;
	loop = loop_new();
	s->resolver = resolver_new(loop, &o, &why);
	clients = clients_new(loop, s->resolver);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(pipe(stop_pipe), 0);
	s->far = pair[1];
	edge = edge_new("dns", pair[0]);
	edge_watch = watch_new(loop, pair[1], LOOP_READ, on_edge, NULL);
	stop_watch = watch_new(loop, stop_pipe[0], LOOP_READ, on_stop, NULL);
	assert_int_equal(pthread_create(&s->thread, NULL, run, NULL), 0);
}

static void stop_side(struct side *s, char how)
{
	assert_int_equal(write(stop_pipe[1], &how, 1), 1);
	pthread_join(s->thread, NULL);
	watch_free(&edge_watch);
	watch_free(&stop_watch);
	clients_free(&clients);
	resolver_free(&s->resolver);
	edge_free(&edge);
	loop_free(&loop);
	close(s->far);
	close(s->silent);
	close(stop_pipe[0]);
	close(stop_pipe[1]);
}

static void many_questions_share_a_conversation(void **state)
{
	struct dns_question q[DNS_ASK_MAX];
	struct dns_reply r[DNS_ASK_MAX];
	struct side s;

	(void)state;
	start_side(&s, 0);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < DNS_ASK_MAX; i++)
			q[i] = (struct dns_question){ .name = i % 2
				? STR("a.test") : STR("a b"),
				.type = DNS_A };
		dns_ask_many(edge, q, DNS_ASK_MAX, clock_now() +
		    5 * CLOCK_SECOND, arena, r);
		for (size_t i = 0; i < DNS_ASK_MAX; i++)
			assert_int_equal(r[i].status, i % 2 ? DNS_TEMPFAIL
			    : DNS_NXDOMAIN);
		assert_true(str_eq_c(r[1].why,
			"no DNS server is configured (dns_servers)"));
	}
	stop_side(&s, 'x');
}

static void the_askers_deadline_holds(void **state)
{
	int64_t begin = clock_now();
	struct dns_reply r;
	struct side s;

	(void)state;
	start_side(&s, 1);
	dns_ask(edge, DNS_MX, STR("a.test"), begin + 300 * CLOCK_MS, arena,
	    &r);
	assert_int_equal(r.status, DNS_TEMPFAIL);
	assert_true(str_eq_c(r.why, "the DNS servers did not answer in "
		"time"));
	assert_in_range(clock_now() - begin, 290 * CLOCK_MS,
	    3 * CLOCK_SECOND);
	stop_side(&s, 'x');
}

static void without_dns_the_answer_is_a_temporary_failure(void **state)
{
	struct dns_reply r;

	(void)state;
	dns_ask(NULL, DNS_MX, STR("a.test"), clock_now() + CLOCK_SECOND,
	    arena, &r);
	assert_int_equal(r.status, DNS_TEMPFAIL);
}

static void who_breaks_the_rules_is_dropped_alone(void **state)
{
	const struct msg_schema *allowed[] = { &dns_reply_schema }, *got;
	struct dns_question q = { .name = STR("a.test"), .type = 99 };
	struct dns_reply r;
	struct conv *bad;
	struct side s;
	const char *why;

	(void)state;
	start_side(&s, 0);
	bad = edge_open_fresh(edge, clock_now() + CLOCK_SECOND);
	assert_int_equal(conv_send(bad, &dns_question_schema, &q,
	    clock_now() + CLOCK_SECOND, &why), 0);
	assert_int_equal(conv_recv(bad, allowed, 1, &got, &r, clock_now() +
	    5 * CLOCK_SECOND, &why), CONV_CLOSED);
	conv_close(&bad);
	dns_ask(edge, DNS_A, STR("a.test"), clock_now() + CLOCK_SECOND,
	    arena, &r);
	assert_true(str_starts(r.why, STR("no DNS server")));
	stop_side(&s, 'x');
}

static void drained_it_answers_what_is_in_flight(void **state)
{
	const struct msg_schema *allowed[] = { &dns_reply_schema }, *got;
	struct dns_question q = { .name = STR("a.test"), .type = DNS_A,
		.wait_ms = 500 };
	struct conv *busy, *idle;
	struct dns_reply r;
	struct side s;
	const char *why;

	(void)state;
	start_side(&s, 1);
	busy = edge_open_fresh(edge, clock_now() + CLOCK_SECOND);
	idle = edge_open_fresh(edge, clock_now() + CLOCK_SECOND);
	for (q.tag = 0; q.tag < 2; q.tag++)
		assert_int_equal(conv_send(busy, &dns_question_schema, &q,
		    clock_now() + CLOCK_SECOND, &why), 0);
	/* an answer on the idle one says that both have arrived */
	q = (struct dns_question){ .name = STR("a b"), .type = DNS_A };
	assert_int_equal(conv_send(idle, &dns_question_schema, &q,
	    clock_now() + CLOCK_SECOND, &why), 0);
	assert_int_equal(conv_recv(idle, allowed, 1, &got, &r, clock_now() +
	    5 * CLOCK_SECOND, &why), CONV_MESSAGE);
	assert_int_equal(write(stop_pipe[1], "d", 1), 1);
	assert_int_equal(conv_recv(idle, allowed, 1, &got, &r, clock_now() +
	    5 * CLOCK_SECOND, &why), CONV_CLOSED);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(conv_recv(busy, allowed, 1, &got, &r,
		    clock_now() + 5 * CLOCK_SECOND, &why), CONV_MESSAGE);
		assert_int_equal(r.status, DNS_TEMPFAIL);
	}
	assert_int_equal(conv_recv(busy, allowed, 1, &got, &r, clock_now() +
	    5 * CLOCK_SECOND, &why), CONV_CLOSED);
	conv_close(&busy);
	conv_close(&idle);
	stop_side(&s, 'x');
	assert_true(drained);
}

static void quiet(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	(void)ctx;
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_sink(quiet, NULL);
	arena = arena_new(1024 * 1024);
	return arena == NULL;
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
		cmocka_unit_test(many_questions_share_a_conversation),
		cmocka_unit_test(the_askers_deadline_holds),
		cmocka_unit_test(
		    without_dns_the_answer_is_a_temporary_failure),
		cmocka_unit_test(who_breaks_the_rules_is_dropped_alone),
		cmocka_unit_test(drained_it_answers_what_is_in_flight),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
