#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "smtp/reply.h"

/* Writes a head, n times a part, and a tail; closes. */
struct feed {
	int fd;
	const char *head, *part, *tail;
	size_t times;
};

static void write_all(int fd, const char *s)
{
	size_t n = strlen(s);

	while (n > 0) {
		ssize_t k = send(fd, s, n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		s += k;
		n -= (size_t)k;
	}
}

static void *run_feed(void *arg)
{
	struct feed *f = arg;
	size_t step = 1;
	char block[8192] = "";

	write_all(f->fd, f->head);
	if (f->times > 1000) {
		while (strlen(block) + strlen(f->part) < sizeof(block) &&
		    step < 100) {
			memcpy(block + strlen(block), f->part,
			    strlen(f->part) + 1);
			step++;
		}
		step--;
	}
	for (size_t i = 0; i < f->times; i += step)
		write_all(f->fd, step > 1 ? block : f->part);
	write_all(f->fd, f->tail);
	close(f->fd);
	return NULL;
}

static enum reply_result read_from(const char *head, const char *part,
    size_t times, const char *tail, struct reply *r)
{
	struct feed f = { .head = head, .part = part, .tail = tail,
		.times = times };
	struct stream *s;
	enum reply_result result;
	pthread_t thread;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f.fd = pair[1];
	s = stream_new(pair[0]);
	assert_non_null(s);
	assert_int_equal(pthread_create(&thread, NULL, run_feed, &f), 0);
	result = reply_read(s, r, NULL, NULL, NULL);
	stream_free(&s);
	pthread_join(thread, NULL);
	return result;
}

static void replies_are_read(void **state)
{
	static const struct {
		const char *wire;
		enum reply_result result;
		unsigned code;
		const char *status, *text;
	} rows[] = {
		{ "250 2.1.0 Ok\r\n", REPLY_OK, 250, "2.1.0",
		  "250 2.1.0 Ok" },
		{ "250\r\n", REPLY_OK, 250, "2.0.0", "250" },
		{ "250 \r\n", REPLY_OK, 250, "2.0.0", "250" },
		{ "250-a\r\n250-b\r\n250 c\r\n", REPLY_OK, 250, "2.0.0",
		  "250 a b c" },
		{ "550-5.1.1 No\r\n550 5.1.1 such user\r\n", REPLY_OK, 550,
		  "5.1.1", "550 5.1.1 No such user" },
		{ "550 No such user\r\n", REPLY_OK, 550, NULL,
		  "550 No such user" },
		/* a class that does not fit the code is not believed */
		{ "450 5.1.1 later\r\n", REPLY_OK, 450, NULL,
		  "450 5.1.1 later" },
		{ "250-x\r\n251 y\r\n", REPLY_OK, 251, NULL, "250 x y" },
		{ "250-x\r\n550 5.7.1 y\r\n", REPLY_OK, 550, "5.7.1",
		  "250 x y" },
		{ "250 a\tb\001c\177d\r\n", REPLY_OK, 250, "2.0.0",
		  "250 a?b?c?d" },
		{ "250 caf\303\251\r\n", REPLY_OK, 250, "2.0.0",
		  "250 caf\303\251" },
		{ "250 caf\351\r\n", REPLY_OK, 250, "2.0.0", "250 caf?" },
		/* CL-004: what stands behind is no part of this reply */
		{ "554 5.7.1 x\n\ninjected: y\r\n", REPLY_OK, 554, "5.7.1",
		  "554 5.7.1 x" },
		{ "250 a\rb\r\n", REPLY_OK, 250, "2.0.0", "250 a?b" },
		{ "\r\n\r\n", REPLY_GARBAGE, 0, NULL, NULL },	/* CL-007 */
		{ "hello\r\n", REPLY_GARBAGE, 0, NULL, "hello" },
		{ "25\r\n", REPLY_GARBAGE, 0, NULL, NULL },
		{ "2500 x\r\n", REPLY_GARBAGE, 0, NULL, NULL },
		{ "150 x\r\n", REPLY_GARBAGE, 0, NULL, NULL },
		{ "650 x\r\n", REPLY_GARBAGE, 0, NULL, NULL },
		{ "250_x\r\n", REPLY_GARBAGE, 0, NULL, NULL },
		{ "250-x\r\nhello\r\n", REPLY_GARBAGE, 0, NULL, NULL },
		{ "", REPLY_EOF, 0, NULL, NULL },
		{ "250 Ok", REPLY_EOF, 0, NULL, NULL },
		{ "250-Ok\r\n", REPLY_EOF, 0, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char status[MAIL_STATUS_SIZE];
		struct reply r;
		enum reply_result got = read_from(rows[i].wire, "", 0, "",
		    &r);

		if (got != rows[i].result)
			fail_msg("row %zu: result %d", i, (int)got);
		if (got == REPLY_OK && r.code != rows[i].code)
			fail_msg("row %zu: code %u", i, r.code);
		if (rows[i].status != NULL)
			assert_string_equal(mail_status_print(r.status,
				status), rows[i].status);
		if (rows[i].text != NULL)
			assert_string_equal(r.text, rows[i].text);
	}
}

static void endless_replies_end(void **state)
{
	static const struct {
		const char *head, *part, *tail;
		size_t times;
		enum reply_result result;
	} rows[] = {
		{ "220-", "x", "\r\n", 1000000, REPLY_FLOOD },	/* CL-002 */
		{ "", "220-x\r\n", "", 1000000, REPLY_FLOOD },	/* CL-003 */
		{ "", "220-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "\r\n", "220 y\r\n", 900, REPLY_FLOOD },
		{ "", "220-x\r\n", "220 y\r\n", 900, REPLY_OK },
		{ "220 ", "x", "\r\n", 30000, REPLY_OK },
		/* CL-010 */
		{ "250-SIZE -1\r\n250-AUTH ", "x", "\r\n250 Ok\r\n", 10000,
		  REPLY_OK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply r;
		enum reply_result got = read_from(rows[i].head,
		    rows[i].part, rows[i].times, rows[i].tail, &r);

		if (got != rows[i].result)
			fail_msg("row %zu: %d", i, (int)got);
		assert_true(r.n <= REPLY_TEXT_MAX);
	}
}

static void a_silent_server_times_out(void **state)
{
	struct stream *s;
	struct reply r;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	s = stream_new(pair[0]);
	write_all(pair[1], "250-a\r\n");
	stream_set_deadline(s, clock_now() + 50 * CLOCK_MS);
	assert_int_equal(reply_read(s, &r, NULL, NULL, NULL), REPLY_TIMEOUT);
	stream_free(&s);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_are_read),
		cmocka_unit_test(endless_replies_end),
		cmocka_unit_test(a_silent_server_times_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
