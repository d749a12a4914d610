#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buf.h"
#include "net/smtp_data.h"

#define MANY 100000

/* Feeds `in` in chunks of `size` octets; bare CR is written as "<CR>", bare LF
 * as "<LF>", the end as "<END>" and what is left behind it. */
static void run_chunks(struct str in, size_t size, struct buf *out)
{
	struct smtp_data d;
	struct str span;

	smtp_data_init(&d);
	while (in.n > 0) {
		struct str chunk = str_sub(in, 0, size);
		struct str rest = chunk;
		enum smtp_data_event e;

		while ((e = smtp_data_next(&d, &rest, &span)) !=
		    SMTP_DATA_MORE) {
			if (e == SMTP_DATA_SPAN)
				buf_append(out, span);
			else if (e == SMTP_DATA_BARE_CR)
				buf_append_c(out, "<CR>");
			else if (e == SMTP_DATA_BARE_LF)
				buf_append_c(out, "<LF>");
			else
				break;
		}
		in = str_from(in, chunk.n - rest.n);
		if (e == SMTP_DATA_END) {
			buf_append_c(out, "<END>");
			buf_append(out, in);
			return;
		}
	}
}

static void only_crlf_dot_crlf_ends(void **state)
{
	static const struct { struct str in; const char *want; } cases[] = {
		{ STR(".\r\n"), "<END>" },
		{ STR("a\r\n.\r\nQUIT\r\n"), "a\r\n<END>QUIT\r\n" },
		{ STR("..\r\n.\r\n"), ".\r\n<END>" },
		{ STR(".a\r\n..b\r\n.\r\n"), "a\r\n.b\r\n<END>" },
		{ STR("a.b.\r\n.\r\n"), "a.b.\r\n<END>" },
		{ STR("\r\n\r\n.\r\n"), "\r\n\r\n<END>" },
		{ STR("a\n.\nX\r\n.\r\n"), "a<LF>.<LF>X\r\n<END>" },
		{ STR("a\n.\r\nX\r\n.\r\n"), "a<LF>.\r\nX\r\n<END>" },
		{ STR("a\r\n.\nX\r\n.\r\n"), "a\r\n<LF>X\r\n<END>" },
		{ STR("a\r.\rX\r\n.\r\n"), "a<CR>.<CR>X\r\n<END>" },
		{ STR("a\r\n.\rX\r\n.\r\n"), "a\r\n<CR>X\r\n<END>" },
		{ STR("a\r\n.\r\rX\r\n.\r\n"), "a\r\n<CR><CR>X\r\n<END>" },
		{ STR("a\r.\r\nX\r\n.\r\n"), "a<CR>.\r\nX\r\n<END>" },
		{ STR("a\r\r\n.\r\n"), "a<CR>\r\n<END>" },
		{ STR("a\r\r\n.\r\r\nX\r\n.\r\n"),
		    "a<CR>\r\n<CR>\r\nX\r\n<END>" },
		{ STR("a\r\n\n.\r\nX\r\n.\r\n"), "a\r\n<LF>.\r\nX\r\n<END>" },
		{ STR("a\r\n\r.\r\nX\r\n.\r\n"), "a\r\n<CR>.\r\nX\r\n<END>" },
		{ STR("a\n\r\n.\r\nX"), "a<LF>\r\n<END>X" },
		{ STR("a\r\n.\r\0\nX\r\n.\r\n"), NULL },
		{ STR("a\r\n. \r\nX\r\n.\r\n"), "a\r\n \r\nX\r\n<END>" },
		{ STR("a\r\n.\n.\r\nX\r\n.\r\n"),
		    "a\r\n<LF>.\r\nX\r\n<END>" },
		{ STR("no end\r\n."), "no end\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf whole;

		buf_init(&whole, MANY);
		run_chunks(cases[i].in, cases[i].in.n, &whole);
		if (cases[i].want != NULL)
			assert_string_equal(buf_cstr(&whole), cases[i].want);
		for (size_t size = 1; size < cases[i].in.n; size++) {
			struct buf cut;

			buf_init(&cut, MANY);
			run_chunks(cases[i].in, size, &cut);
			assert_true(str_eq(buf_str(&cut), buf_str(&whole)));
			buf_fini(&cut);
		}
		buf_fini(&whole);
	}
}

/* Every string over the alphabet that matters, every chunk size. */
static void chunking_never_changes_the_result(void **state)
{
	static const char letters[] = "\r\n.a";
	char in[8];

	(void)state;
	for (unsigned n = 0; n < 1u << 16; n++) {
		struct buf whole;

		for (unsigned k = 0; k < 8; k++)
			in[k] = letters[(n >> (2 * k)) & 3];
		buf_init(&whole, MANY);
		run_chunks(str_n(in, 8), 8, &whole);
		for (size_t size = 1; size < 8; size++) {
			struct buf cut;

			buf_init(&cut, MANY);
			run_chunks(str_n(in, 8), size, &cut);
			assert_true(str_eq(buf_str(&cut), buf_str(&whole)));
			buf_fini(&cut);
		}
		buf_fini(&whole);
	}
}

static void read_all(int fd, struct buf *out)
{
	char p[4096];
	ssize_t n;

	while ((n = read(fd, p, sizeof(p))) > 0)
		assert_int_equal(buf_append_n(out, p, (size_t)n), 0);
}

/* What is written, in chunks, comes out of the reader again, with every end
 * of line as CR LF. */
static void the_emitter_never_sends_a_bare_end(void **state)
{
	static const struct { struct str in; const char *want; } cases[] = {
		{ STR(""), ".\r\n" },
		{ STR("a"), "a\r\n.\r\n" },
		{ STR("a\r"), "a\r\n.\r\n" },
		{ STR("a\r\n"), "a\r\n.\r\n" },
		{ STR(".\r\n"), "..\r\n.\r\n" },
		{ STR("a\r\n.\r\nb\r\n"), "a\r\n..\r\nb\r\n.\r\n" },
		{ STR("a\n.\nb"), "a\r\n..\r\nb\r\n.\r\n" },
		{ STR("a\r.\rb"), "a\r\n..\r\nb\r\n.\r\n" },
		{ STR("a\r\r\n.b\r\n"), "a\r\n\r\n..b\r\n.\r\n" },
		{ STR("a\n\r.\r\n\n..c"),
		    "a\r\n\r\n..\r\n\r\n...c\r\n.\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	for (size_t size = 1; size <= cases[i].in.n + 1; size++) {
		struct smtp_data_out d;
		struct stream *s;
		struct str in = cases[i].in;
		struct buf got;
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		s = stream_new(fds[0]);
		assert_non_null(s);
		smtp_data_out_init(&d);
		for (; in.n > 0; in = str_from(in, size))
			assert_int_equal(smtp_data_write(&d, s,
			    str_sub(in, 0, size)), 0);
		assert_int_equal(smtp_data_finish(&d, s), 0);
		stream_free(&s);
		buf_init(&got, MANY);
		read_all(fds[1], &got);
		assert_string_equal(buf_cstr(&got), cases[i].want);
		buf_fini(&got);
		close(fds[1]);
	}
}

static void content_is_read_from_a_stream_up_to_its_end(void **state)
{
	struct smtp_data d;
	struct stream *s, *client;
	struct str span;
	struct buf got, want;
	enum stream_result result;
	struct stream_line line;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	buf_init(&got, MANY);
	buf_init(&want, MANY);
	client = stream_new(fds[0]);
	for (int i = 0; i < 700; i++) {
		buf_printf(&want, "%sline %d of the content\r\n",
		    i % 7 == 0 ? "." : "", i);
		stream_printf(client, "%sline %d of the content\r\n",
		    i % 7 == 0 ? ".." : "", i);
	}
	stream_write_c(client, ".\r\nNOOP\r\n");
	stream_free(&client);
	s = stream_new(fds[1]);
	smtp_data_init(&d);
	for (;;) {
		enum smtp_data_event e = smtp_data_read(&d, s, &span,
		    &result);

		assert_int_equal(result, STREAM_OK);
		if (e == SMTP_DATA_END)
			break;
		assert_int_equal(e, SMTP_DATA_SPAN);
		buf_append(&got, span);
	}
	assert_true(str_eq(buf_str(&got), buf_str(&want)));
	assert_int_equal(stream_read_line(s, 512, &line), STREAM_OK);
	assert_true(str_eq_c(line.text, "NOOP"));
	smtp_data_init(&d);
	smtp_data_read(&d, s, &span, &result);
	assert_int_equal(result, STREAM_EOF);
	stream_free(&s);
	buf_fini(&got);
	buf_fini(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_crlf_dot_crlf_ends),
		cmocka_unit_test(chunking_never_changes_the_result),
		cmocka_unit_test(the_emitter_never_sends_a_bare_end),
		cmocka_unit_test(content_is_read_from_a_stream_up_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
