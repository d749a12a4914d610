/*
 * message_test.c - messages into real queue files; qmgr is played by the
 * other end of a real conversation, lookup by a function
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cleanup/message.h"
#include "msgs/lookup.h"
#include "queue/read.h"
#include "service/service.h"

static struct {
	struct arena *arena;
	struct params params;
	struct edge *qmgr;
	int qmgr_fd;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned given, commits, returns;
	char last_rcpts[256];
	int files[64];
	char dir[32];
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER };

struct edge *service_edge(const char *server)
{
	return strcmp(server, "qmgr") == 0 ? fake.qmgr : NULL;
}

struct thread {
	void (*fn)(void *);
	void *arg;
};

static void *run(void *p)
{
	struct thread t = *(struct thread *)p;

	free(p);
	t.fn(t.arg);
	return NULL;
}

int service_thread(void (*fn)(void *), void *arg)
{
	struct thread *t = malloc(sizeof(*t));
	pthread_t id;

	*t = (struct thread){ fn, arg };
	return pthread_create(&id, NULL, run, t);
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	static struct str two[] = { { "a@x.test", 8 }, { "b@x.test", 8 } };
	static struct str local[] = { { "local", 5 }, { "local", 5 } };
	const struct expand_request *q = req;
	struct expand_reply *r = rep;
	int pair[2];

	(void)server;
	(void)reply;
	(void)timeout_us;
	*why_r = "";
	assert_ptr_equal(request, &expand_request_schema);
	*r = (struct expand_reply){ .status = LOOKUP_OK,
		.addresses = { two, 2 }, .transports = { local, 2 },
		.nexthops = { local, 2 } };
	if (str_eq_c(q->address, "nobody@x.test"))
		r->status = LOOKUP_NO_USER;
	if (str_eq_c(q->address, "broken@x.test"))
		r->status = LOOKUP_TEMPFAIL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		return -1;
	close(pair[1]);
	*conv_r = conv_new("lookup", pair[0]);
	return 0;
}

/* --- qmgr --- */

static void give(struct conv *c, uint64_t n)
{
	for (; n > 0; n--) {
		char name[64], id[QUEUE_ID_SIZE];
		struct stock_file f;
		const char *why;
		int fd;

		/* It keeps its name: a commit looks whether it has one. */
		snprintf(name, sizeof(name), "%s/%u", fake.dir, fake.given);
		f.fd = fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
		pthread_mutex_lock(&fake.lock);
		close(fake.files[fake.given % 64]);
		fake.files[fake.given++ % 64] = dup(fd);
		f.queue_id = str_of(queue_id_text(0x100000 + fake.given, id));
		pthread_mutex_unlock(&fake.lock);
		conv_send(c, &stock_file_schema, &f, CLOCK_NEVER, &why);
		close(fd);
	}
}

static void note_commit(const struct stock_commit *m)
{
	size_t n = 0;

	fake.commits++;
	fake.last_rcpts[0] = '\0';
	for (size_t i = 0; i < m->rcpts.n; i++)
		n += (size_t)snprintf(fake.last_rcpts + n,
		    sizeof(fake.last_rcpts) - n, "%s" STR_FMT "/" STR_FMT,
		    i > 0 ? " " : "", STR_ARG(m->rcpts.v[i]),
		    STR_ARG(m->transports.v[i]));
}

static void *play_qmgr(void *arg)
{
	static const struct msg_schema *const any[] = { &stock_want_schema,
		&stock_commit_schema, &stock_return_schema };
	union {
		struct stock_want want;
		struct stock_commit commit;
		struct stock_return back;
	} m;
	const struct msg_schema *got;
	const char *why;
	struct conv *c;
	int fd;

	(void)arg;
	while ((fd = edge_accept(fake.qmgr_fd)) < 0)
		;
	c = conv_new("cleanup", fd);
	while (conv_recv(c, any, 3, &got, &m, CLOCK_NEVER, &why) ==
	    CONV_MESSAGE) {
		if (got == &stock_want_schema)
			give(c, m.want.files);
		pthread_mutex_lock(&fake.lock);
		if (got == &stock_commit_schema)
			note_commit(&m.commit);
		else if (got == &stock_return_schema)
			fake.returns++;
		pthread_cond_broadcast(&fake.changed);
		pthread_mutex_unlock(&fake.lock);
	}
	conv_close(&c);
	return NULL;
}

static int setup(void **state)
{
	static const struct str pairs[] = {
		{ "myhostname=mx.local.test", 24 },
		{ "message_size_limit=2000000", 26 },
		{ "queue_minfree=1", 15 },
	};
	const char *why;
	pthread_t thread;
	int pair[2];

	(void)state;
	memcpy(fake.dir, "/tmp/cleanup_test.XXXXXX", 25);
	for (size_t i = 0; i < 64; i++)
		fake.files[i] = -1;
	if (mkdtemp(fake.dir) == NULL)
		return -1;
	fake.arena = arena_new(1 << 20);
	if (params_load(&fake.params, pairs, 3, fake.arena, &why) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		return -1;
	fake.qmgr = edge_new("qmgr", pair[0]);
	fake.qmgr_fd = pair[1];
	pthread_create(&thread, NULL, play_qmgr, NULL);
	return stock_start();
}

static int teardown(void **state)
{
	char name[64];

	(void)state;
	for (unsigned i = 0; i < fake.given; i++) {
		snprintf(name, sizeof(name), "%s/%u", fake.dir, i);
		unlink(name);
	}
	return rmdir(fake.dir);
}

/* --- the tests --- */

static struct str one_rcpt = { "r@x.test", 8 }, one_transport = { "local", 5 },
	one_none = { "", 0 };
static uint64_t one_notify;

static struct submit_begin begin_of(uint64_t flags)
{
	return (struct submit_begin){
		.service = STR("smtpd"), .client_name = STR("c.test"),
		.client_addr = STR("192.0.2.1"), .helo = STR("helo.test"),
		.protocol = STR("ESMTP"), .sender = STR("s@y.test"),
		.flags = flags, .local_uid = UINT32_MAX,
		.rcpts = { &one_rcpt, 1 }, .originals = { &one_rcpt, 1 },
		.transports = { &one_transport, 1 },
		.nexthops = { &one_none, 1 }, .orcpts = { &one_none, 1 },
		.notify = { &one_notify, 1 },
	};
}

/* The content of the file with that id, after a good commit; its arrival. */
static int64_t read_back(struct str id, struct buf *out)
{
	struct arena *arena = arena_new(1 << 20);
	struct queue_reader r;
	int64_t arrival;
	char chunk[8192];
	const char *why;
	uint64_t number;
	ssize_t n;
	int fd;

	buf_reset(out);
	assert_int_equal(queue_id_parse(id, &number), 0);
	pthread_mutex_lock(&fake.lock);
	fd = fake.files[(number - 0x100000 - 1) % 64];
	pthread_mutex_unlock(&fake.lock);
	assert_int_equal(queue_reader_open(&r, fd, number, arena, &why), 0);
	assert_true(str_eq_c(r.envelope.sender, "s@y.test"));
	while ((n = queue_reader_read(&r, chunk, sizeof(chunk))) > 0)
		buf_append_n(out, chunk, (size_t)n);
	assert_int_equal(n, 0);
	arrival = r.envelope.arrival;
	arena_free(&arena);
	return arrival;
}

static void wait_commits(unsigned n)
{
	pthread_mutex_lock(&fake.lock);
	while (fake.commits < n)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

/* Announces the message and waits until qmgr heard of it, when it was taken:
 * the next test counts from there. */
static void finish(struct message **m)
{
	unsigned commits;
	bool taken = message_reply(*m)->code == 250;

	pthread_mutex_lock(&fake.lock);
	commits = fake.commits;
	pthread_mutex_unlock(&fake.lock);
	message_announce(*m);
	message_free(m);
	if (taken)
		wait_commits(commits + 1);
}

static void a_message_is_stored_under_a_received_field(void **state)
{
	struct submit_begin b = begin_of(0);
	struct message *m = message_new(&fake.params, "smtpd", &b);
	const struct submit_reply *r;
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	message_content(m, STR("Subject: x\r\nBcc: y\r\n\r\nbody\r\n"), true);
	r = message_reply(m);
	assert_int_equal(r->code, 250);
	read_back(r->queue_id, &out);
	assert_memory_equal(out.p, "Received: from helo.test (c.test "
	    "[192.0.2.1])\r\n\tby mx.local.test (Postern) with ESMTP id ", 86);
	assert_non_null(strstr(out.p, "for <r@x.test>"));
	assert_non_null(strstr(out.p,
	    "\r\nSubject: x\r\nBcc: y\r\n\r\nbody\r\n"));
	finish(&m);
	assert_string_equal(fake.last_rcpts, "r@x.test/local");
	buf_fini(&out);
}

static void submitted_mail_is_completed(void **state)
{
	struct submit_begin b = begin_of(SUBMIT_FIX);
	struct message *m = message_new(&fake.params, "smtpd", &b);
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	message_content(m, STR("Subject: x\r\nBcc: y\r\nno field\r\n"), true);
	assert_int_equal(message_reply(m)->code, 250);
	read_back(message_reply(m)->queue_id, &out);
	assert_null(strstr(out.p, "Bcc"));
	assert_non_null(strstr(out.p, "\r\nDate: "));
	assert_non_null(strstr(out.p, "\r\nMessage-Id: <"));
	assert_non_null(strstr(out.p,
	    "\r\nFrom: s@y.test\r\n\r\nno field\r\n"));
	finish(&m);
	buf_fini(&out);
}

static void expect_now(int64_t arrival, int64_t before)
{
	int64_t now = clock_wall();

	assert_true(arrival >= before && arrival <= now);
}

static int64_t arrival_of(const char *client, int64_t since)
{
	struct submit_begin b = begin_of(SUBMIT_FIX);
	struct message *m;
	int64_t arrival;
	struct buf out;

	b.since = since;
	m = message_new(&fake.params, client, &b);
	message_content(m, STR("Subject: x\r\n\r\nx\r\n"), true);
	assert_int_equal(message_reply(m)->code, 250);
	buf_init(&out, 1 << 20);
	arrival = read_back(message_reply(m)->queue_id, &out);
	buf_fini(&out);
	finish(&m);
	return arrival;
}

/* Expiry and delay= count from what the queue file has. */
static void only_of_pickup_it_is_believed_since_when_mail_waits(void **state)
{
	int64_t before = clock_wall(), hour = 3600 * CLOCK_SECOND;
	static const char *const others[] = { "smtpd", "local", "bounce" };
	const struct {
		int64_t since;
		bool believed;
	} rows[] = {
		{ before - hour, true },
		{ before - MESSAGE_WAIT_MAX + hour, true },
		{ before - MESSAGE_WAIT_MAX - hour, false },
		{ before + hour, false }, /* the future */
		{ 0, false }, { -1, false },
		{ INT64_MIN, false }, { INT64_MAX, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t got = arrival_of("pickup", rows[i].since);

		if (rows[i].believed)
			assert_int_equal(got, rows[i].since);
		else
			expect_now(got, before);
		for (size_t k = 0; k < 3; k++)
			expect_now(arrival_of(others[k], rows[i].since),
			    before);
	}
}

static void pieces_give_the_same_as_the_whole(void **state)
{
	static const char content[] = "Subject: x\r\n folded\r\nX: y\r\n\r\n"
				      "body\r\n\r\nend\r\n";
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	for (size_t cut = 0; cut < sizeof(content) - 1; cut++) {
		struct submit_begin b = begin_of(0);
		struct message *m = message_new(&fake.params, "smtpd", &b);

		message_content(m, str_n(content, cut), false);
		assert_null(message_reply(m));
		message_content(m, str_n(content + cut,
		    sizeof(content) - 1 - cut),
		    true);
		assert_int_equal(message_reply(m)->code, 250);
		read_back(message_reply(m)->queue_id, &out);
		assert_non_null(strstr(out.p, content));
		assert_string_equal(strstr(out.p, "\r\nSubject") + 2,
		    content);
		finish(&m);
	}
	buf_fini(&out);
}

static void loops_and_large_things_are_refused(void **state)
{
	static const struct {
		const char *line;
		unsigned times, code;
		const char *dsn;
	} rows[] = {
		{ "Received: from a by b\r\n", 51, 554, "5.4.0" },
		{ "Received: from a by b\r\n", 50, 250, "2.0.0" },
		{ "X: y\r\n", 9000, 250, "2.0.0" },
		{ "X: y\r\n", 200000, 552, "5.3.4" },
		{ "\r\n0123456789\r\n", 200000, 552, "5.3.4" },
		{ "no field at all\r\n", 100000, 250, "2.0.0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct submit_begin b = begin_of(0);
		struct message *m = message_new(&fake.params, "smtpd", &b);
		struct buf chunk;

		buf_init(&chunk, SUBMIT_CHUNK);
		for (unsigned k = 0; k < rows[i].times; k++) {
			if (chunk.n + 100 > SUBMIT_CHUNK) {
				message_content(m, buf_str(&chunk), false);
				buf_reset(&chunk);
			}
			buf_append_c(&chunk, rows[i].line);
		}
		message_content(m, buf_str(&chunk), true);
		assert_int_equal(message_reply(m)->code, rows[i].code);
		assert_true(str_eq_c(message_reply(m)->dsn, rows[i].dsn));
		finish(&m);
		buf_fini(&chunk);
	}
}

static void aliases_are_expanded_and_doubles_collapse(void **state)
{
	struct str names[] = { STR("list@x.test"), STR("a@x.test"),
		STR("nobody@x.test") };
	struct str via[] = { STR(""), STR("local"), STR("") };
	struct str none[] = { STR(""), STR(""), STR("") };
	uint64_t notify[] = { 0, 0, 0 };
	struct submit_begin b = begin_of(0);
	struct message *m;

	(void)state;
	b.rcpts = b.originals = (struct strs){ names, 3 };
	b.transports = (struct strs){ via, 3 };
	b.nexthops = b.orcpts = (struct strs){ none, 3 };
	b.notify = (struct nums){ notify, 3 };
	m = message_new(&fake.params, "smtpd", &b);
	message_content(m, STR("x\r\n"), true);
	assert_int_equal(message_reply(m)->code, 250);
	finish(&m);
	assert_string_equal(fake.last_rcpts,
	    "a@x.test/local b@x.test/local nobody@x.test/error");
	names[0] = STR("broken@x.test");
	m = message_new(&fake.params, "smtpd", &b);
	assert_int_equal(message_reply(m)->code, 451);
	message_free(&m);
}

/* A failed sync is no message, and is never tried again. */
static int fail_fsync(const struct sys_event *e, void *ctx)
{
	(void)ctx;
	return (e->op == SYS_FSYNC || e->op == SYS_FDATASYNC) && !e->after
	    ? EIO
	    : 0;
}

static int fail_write(const struct sys_event *e, void *ctx)
{
	(void)ctx;
	return e->op == SYS_WRITE && !e->after ? ENOSPC : 0;
}

static void a_disk_that_fails_gives_a_temporary_failure(void **state)
{
	static const struct {
		sys_hook_fn *hook;
		unsigned code;
	} rows[] = { { fail_fsync, 451 }, { fail_write, 452 } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct submit_begin b = begin_of(0);
		struct message *m = message_new(&fake.params, "smtpd", &b);
		unsigned commits, returns;

		pthread_mutex_lock(&fake.lock);
		commits = fake.commits;
		returns = fake.returns;
		pthread_mutex_unlock(&fake.lock);
		sys_set_hook(rows[i].hook, NULL);
		message_content(m, STR("A: b\r\n\r\nx\r\n"), true);
		sys_set_hook(NULL, NULL);
		assert_int_equal(message_reply(m)->code, rows[i].code);
		message_announce(m);
		message_free(&m);
		pthread_mutex_lock(&fake.lock);
		while (fake.returns == returns)
			pthread_cond_wait(&fake.changed, &fake.lock);
		assert_int_equal(fake.commits, commits);
		pthread_mutex_unlock(&fake.lock);
	}
}

static void quiet(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	(void)ctx;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_stored_under_a_received_field),
		cmocka_unit_test(submitted_mail_is_completed),
		cmocka_unit_test(
		    only_of_pickup_it_is_believed_since_when_mail_waits),
		cmocka_unit_test(pieces_give_the_same_as_the_whole),
		cmocka_unit_test(loops_and_large_things_are_refused),
		cmocka_unit_test(aliases_are_expanded_and_doubles_collapse),
		cmocka_unit_test(a_disk_that_fails_gives_a_temporary_failure),
	};

	if (getenv("VERBOSE") == NULL)
		log_set_sink(quiet, NULL);
	return cmocka_run_group_tests(tests, setup, teardown);
}
