#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buf.h"
#include "net/stream.h"

/* A stream and the other end of its socket. */
struct ends {
	struct stream *s;
	int peer;
};

static void ends_init(struct ends *e)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	e->s = stream_new(fds[0]);
	assert_non_null(e->s);
	e->peer = fds[1];
}

static void ends_fini(struct ends *e)
{
	stream_free(&e->s);
	if (e->peer >= 0)
		close(e->peer);
}

static void give(struct ends *e, struct str text)
{
	assert_int_equal(write(e->peer, text.p, text.n), text.n);
}

struct feed {
	int fd;
	struct str text;
	size_t size;
};

/* Writes the text in pieces, then closes. */
static void *feed_run(void *arg)
{
	struct feed *f = arg;

	for (; f->text.n > 0; f->text = str_from(f->text, f->size)) {
		struct str piece = str_sub(f->text, 0, f->size);

		if (write(f->fd, piece.p, piece.n) != (ssize_t)piece.n)
			break;
	}
	close(f->fd);
	return NULL;
}

static const char *const result_names[] = { "ok", "long", "flood", "eof",
	"timeout", "error" };
static const char *const end_names[] = { "-", "lf", "crlf" };

/* All lines of a text as one text. */
static void read_lines(struct str text, size_t size, size_t max,
    struct buf *out)
{
	struct ends e;
	struct feed f;
	pthread_t t;
	enum stream_result r;

	ends_init(&e);
	f = (struct feed){ e.peer, text, size };
	stream_set_discard_max(e.s, 20000);
	assert_int_equal(pthread_create(&t, NULL, feed_run, &f), 0);
	do {
		struct stream_line line;

		r = stream_read_line(e.s, max, &line);
		buf_printf(out, "%s:%s:%zu:", result_names[r],
		    end_names[line.end], line.text.n);
		buf_append(out, str_sub(line.text, 0, 16));
		buf_append_char(out, ' ');
	} while (r == STREAM_OK || r == STREAM_TOO_LONG);
	/* The feeder must not wait for ever after a flood. */
	shutdown(stream_fd(e.s), SHUT_RDWR);
	pthread_join(t, NULL);
	e.peer = -1;
	ends_fini(&e);
}

static void lines_come_without_their_ends(void **state)
{
	static const struct { struct str in; size_t max; const char *want; }
	cases[] = {
		{ STR("a\r\nb\nc"), 10,
		    "ok:crlf:1:a ok:lf:1:b eof:-:1:c " },
		{ STR("\r\n\n\r\r\n"), 10,
		    "ok:crlf:0: ok:lf:0: ok:crlf:1:\r eof:-:0: " },
		{ STR("a\rb\r\n"), 10, "ok:crlf:3:a\rb eof:-:0: " },
		{ STR("a\r"), 10, "eof:-:2:a\r " },
		{ STR(""), 10, "eof:-:0: " },
		{ STR("0123456789\r\n0123456789x\r\nok\r\n"), 10,
		    "ok:crlf:10:0123456789 long:crlf:10:0123456789 "
		    "ok:crlf:2:ok eof:-:0: " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t size = 1; size <= cases[i].in.n + 1; size++) {
			struct buf got;
			char *lf;

			buf_init(&got, 10000);
			read_lines(cases[i].in, size, cases[i].max, &got);
			/* Which end a cut line had is not promised. */
			while ((lf = strstr(got.p, "long:lf")) != NULL) {
				struct buf b;

				buf_init(&b, 10000);
				buf_append(&b, str_n(got.p,
				    (size_t)(lf - got.p)));
				buf_append_c(&b, "long:crlf");
				buf_append_c(&b, lf + 7);
				buf_fini(&got);
				got = b;
			}
			assert_string_equal(buf_cstr(&got), cases[i].want);
			buf_fini(&got);
		}
	}
}

static void over_long_lines_are_cut_and_their_rest_swallowed(void **state)
{
	static const size_t sizes[] = { 1, 7, 4095, 4096, 4097, 100000 };
	struct buf in;

	(void)state;
	for (size_t n = 8190; n < 30000; n += 2713)
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf got, want;

		if (sizes[i] == 1 && n > 12000)
			continue;
		buf_init(&in, 100000);
		buf_init(&got, 10000);
		buf_init(&want, 10000);
		for (size_t k = 0; k < n; k++)
			buf_append_char(&in, 'x');
		buf_append_c(&in, "\nNOOP\r\n");
		read_lines(buf_str(&in), sizes[i], 8192, &got);
		if (n <= 8192)
			assert_non_null(strstr(buf_cstr(&got), "ok:lf:8190:"));
		else if (n - 8192 <= 16000)
			assert_non_null(strstr(buf_cstr(&got),
			    "long:lf:8192:"));
		/* Well above the budget, whatever one read brings. */
		if (n - 8192 > 20000 + 4096 && n > 8192)
			assert_non_null(strstr(buf_cstr(&got), "flood"));
		else if (n <= 8192 + 16000)
			assert_non_null(strstr(buf_cstr(&got),
			    "ok:crlf:4:NOOP eof"));
		buf_fini(&in);
		buf_fini(&got);
		buf_fini(&want);
	}
}

static void answers_to_pipelined_commands_share_a_write(void **state)
{
	struct ends e;
	struct stream_line line;
	char p[64];

	(void)state;
	ends_init(&e);
	give(&e, STR("a\r\nb\r\nc\r\nd"));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
		stream_printf(e.s, "250 " STR_FMT "\r\n", STR_ARG(line.text));
		/* Nothing goes out as long as there is input. */
		assert_int_equal(recv(e.peer, p, sizeof(p), MSG_DONTWAIT), -1);
	}
	stream_set_timeout(e.s, 20 * CLOCK_MS, CLOCK_SECOND);
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_TIMEOUT);
	assert_int_equal(recv(e.peer, p, sizeof(p), MSG_DONTWAIT), 21);
	assert_memory_equal(p, "250 a\r\n250 b\r\n250 c\r\n", 21);
	ends_fini(&e);
}

static void a_dripping_peer_meets_the_deadline(void **state)
{
	struct ends e;
	struct stream_line line;
	int64_t start = clock_now();
	enum stream_result r;

	(void)state;
	ends_init(&e);
	stream_set_timeout(e.s, 30 * CLOCK_MS, CLOCK_SECOND);
	stream_set_deadline(e.s, start + 150 * CLOCK_MS);
	do {
		struct str piece;

		give(&e, STR("x"));
		r = stream_read_some(e.s, 10, &piece);
	} while (r == STREAM_OK);
	assert_int_equal(r, STREAM_TIMEOUT);
	assert_true(clock_now() - start >= 150 * CLOCK_MS);
	/* A new deadline: the next command. */
	stream_set_deadline(e.s, CLOCK_NEVER);
	give(&e, STR("y\r\n"));
	assert_int_equal(stream_read_line(e.s, 9, &line), STREAM_OK);
	assert_int_equal(stream_read_line(e.s, 9, &line), STREAM_TIMEOUT);
	assert_string_equal(stream_why(e.s), "timeout");
	ends_fini(&e);
}

static void a_peer_that_reads_nothing_meets_the_deadline(void **state)
{
	struct ends e;
	char *p = calloc(1, 1 << 20);
	int64_t start = clock_now();
	int r = 0;

	(void)state;
	ends_init(&e);
	stream_set_timeout(e.s, CLOCK_SECOND, 60 * CLOCK_MS);
	for (int i = 0; i < 20 && r == 0; i++)
		r = stream_write(e.s, str_n(p, 1 << 20));
	assert_int_equal(r, -1);
	assert_int_equal(stream_flush(e.s), STREAM_TIMEOUT);
	assert_int_equal(stream_write_c(e.s, "x"), -1);
	assert_true(clock_now() - start < 2 * CLOCK_SECOND);
	ends_fini(&e);
	free(p);
}

static void counted_octets_come_whole(void **state)
{
	struct ends e;
	struct buf in;
	struct feed f;
	struct stream_line line;
	struct str piece;
	pthread_t t;
	char *out = calloc(1, 200000);
	size_t n = 0;

	(void)state;
	buf_init(&in, 1000000);
	for (int i = 0; i < 200000; i++)
		buf_append_char(&in, (char)(i * 7 + i / 251));
	for (int direct = 0; direct < 2; direct++) {
		struct buf all;

		ends_init(&e);
		buf_init(&all, 1000000);
		buf_append_c(&all, "BDAT 200000\r\n");
		buf_append(&all, buf_str(&in));
		buf_append_c(&all, "skipNOOP\r\n");
		f = (struct feed){ e.peer, buf_str(&all), 70001 };
		e.peer = -1;
		assert_int_equal(pthread_create(&t, NULL, feed_run, &f), 0);
		assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
		if (direct) {
			assert_int_equal(stream_read_full(e.s, out, 200000),
			    STREAM_OK);
		} else {
			for (n = 0; n < 200000; n += piece.n) {
				assert_int_equal(stream_read_some(e.s,
				    200000 - n, &piece), STREAM_OK);
				memcpy(out + n, piece.p, piece.n);
			}
		}
		assert_memory_equal(out, in.p, 200000);
		assert_int_equal(stream_skip(e.s, 4), STREAM_OK);
		assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
		assert_true(str_eq_c(line.text, "NOOP"));
		assert_int_equal(stream_read_full(e.s, out, 1), STREAM_EOF);
		pthread_join(t, NULL);
		assert_int_equal(stream_octets_in(e.s), all.n);
		buf_fini(&all);
		ends_fini(&e);
	}
	buf_fini(&in);
	free(out);
}

static void pushed_input_comes_first(void **state)
{
	struct ends e;
	struct stream_line line;

	(void)state;
	ends_init(&e);
	give(&e, STR("two\r\nthree\r\n"));
	assert_true(stream_input_pending(e.s));
	assert_int_equal(stream_push_input(e.s, STR("one\r\n")), 0);
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
	assert_true(str_eq_c(line.text, "one"));
	assert_int_equal(stream_push_input(e.s, STR("1.5\r\n")), 0);
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
	assert_true(str_eq_c(line.text, "1.5"));
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
	assert_true(str_eq_c(line.text, "two"));
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
	assert_true(str_eq_c(line.text, "three"));
	assert_false(stream_input_pending(e.s));
	stream_release(e.s);
	give(&e, STR("four\r\n"));
	assert_int_equal(stream_wait_input(e.s, clock_now() + CLOCK_SECOND),
	    STREAM_OK);
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
	ends_fini(&e);
}

static const struct stream_transport no_transport;

static void tls_is_refused_over_buffered_plaintext(void **state)
{
	struct ends e;
	struct stream_line line;

	(void)state;
	ends_init(&e);
	give(&e, STR("STARTTLS\r\nRSET\r\n"));
	assert_int_equal(stream_read_line(e.s, 99, &line), STREAM_OK);
	assert_int_equal(stream_start_tls(e.s, &no_transport, NULL), -1);
	assert_false(stream_is_tls(e.s));
	ends_fini(&e);
}

static void files_are_sent_in_order_with_what_is_around(void **state)
{
	static const size_t sizes[] = { 10, 40000, 3000000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ends e;
		FILE *tmp = tmpfile();
		size_t n = sizes[i], total = n + 5, got = 0;
		char *p = malloc(total);
		pid_t pid;

		for (size_t k = 0; k < n; k++)
			putc((int)(k * 31 % 251), tmp);
		fflush(tmp);
		ends_init(&e);
		if ((pid = fork()) == 0) {
			close(e.peer);
			stream_write_c(e.s, "<");
			stream_write_file(e.s, fileno(tmp), 2, n - 2);
			stream_write_c(e.s, ">");
			_exit(stream_flush(e.s) == STREAM_OK ? 0 : 1);
		}
		stream_free(&e.s);
		while (got < total) {
			ssize_t r = read(e.peer, p + got, total - got);

			if (r <= 0)
				break;
			got += (size_t)r;
		}
		assert_int_equal(got, n);
		assert_int_equal(p[0], '<');
		assert_int_equal(p[n - 1], '>');
		for (size_t k = 2; k < n; k++)
			assert_int_equal((unsigned char)p[k - 1],
			    k * 31 % 251);
		close(e.peer);
		fclose(tmp);
		free(p);
	}
}

static void pipes_and_closed_peers_work_too(void **state)
{
	struct stream *s;
	struct stream_line line;
	int in[2], out[2];
	char p[16];

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	s = stream_new_pair(in[0], out[1]);
	assert_int_equal(write(in[1], "HELO\r\n", 6), 6);
	assert_int_equal(stream_read_line(s, 99, &line), STREAM_OK);
	stream_write_c(s, "250 hello\r\n");
	stream_set_timeout(s, 20 * CLOCK_MS, CLOCK_SECOND);
	assert_int_equal(stream_read_line(s, 99, &line), STREAM_TIMEOUT);
	assert_int_equal(read(out[0], p, sizeof(p)), 11);
	close(in[1]);
	assert_int_equal(stream_read_line(s, 99, &line), STREAM_EOF);
	assert_int_equal(stream_read_line(s, 99, &line), STREAM_EOF);
	stream_free(&s);
	close(out[0]);
}

/* The next read of one who had said something that nobody read: 0 at an end,
 * else errno. */
static int read_behind_farewell(bool lingers)
{
	struct ends e;
	char p[16];
	ssize_t n;

	ends_init(&e);
	give(&e, STR("unread"));
	shutdown(e.peer, SHUT_WR);
	stream_write_c(e.s, "bye");
	if (lingers)
		stream_linger(e.s);
	stream_free(&e.s);
	assert_int_equal(read(e.peer, p, sizeof(p)), 3);
	n = read(e.peer, p, sizeof(p));
	n = n < 0 ? errno : n;
	ends_fini(&e);
	return (int)n;
}

static void a_farewell_is_no_reset(void **state)
{
	(void)state;
	assert_int_equal(read_behind_farewell(false), ECONNRESET);
	assert_int_equal(read_behind_farewell(true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_without_their_ends),
		cmocka_unit_test(
		    over_long_lines_are_cut_and_their_rest_swallowed),
		cmocka_unit_test(answers_to_pipelined_commands_share_a_write),
		cmocka_unit_test(a_dripping_peer_meets_the_deadline),
		cmocka_unit_test(a_peer_that_reads_nothing_meets_the_deadline),
		cmocka_unit_test(counted_octets_come_whole),
		cmocka_unit_test(pushed_input_comes_first),
		cmocka_unit_test(tls_is_refused_over_buffered_plaintext),
		cmocka_unit_test(files_are_sent_in_order_with_what_is_around),
		cmocka_unit_test(pipes_and_closed_peers_work_too),
		cmocka_unit_test(a_farewell_is_no_reset),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
