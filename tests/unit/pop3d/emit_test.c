#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "pop3d/emit.h"

/* What a client receives. */
static size_t emit(struct str raw, uint64_t lines, bool all, char *out,
    size_t size)
{
	struct stream *s;
	size_t n = 0;
	ssize_t k;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	s = stream_new(sv[0]);
	assert_non_null(s);
	assert_int_equal(emit_message(s, raw, lines, all), 0);
	assert_int_equal(stream_write(s, STR(".\r\n")), 0);
	stream_free(&s);
	while ((k = read(sv[1], out + n, size - n)) > 0)
		n += (size_t)k;
	close(sv[1]);
	return n;
}

static void dots_are_stuffed_and_lines_are_whole(void **state)
{
	static const struct { const char *raw, *wire; } rows[] = {
		{ "", ".\r\n" },
		{ "a\n", "a\r\n.\r\n" },
		{ "a", "a\r\n.\r\n" },
		{ ".\n..\n.x\n", "..\r\n...\r\n..x\r\n.\r\n" },
		{ "a\r\n.b\r\n", "a\r\n..b\r\n.\r\n" },
		/* No CR but before LF leaves. */
		{ "a\r.\r\nb\rc\n", "a .\r\nb c\r\n.\r\n" },
		{ "\r\r\n\r", " \r\n \r\n.\r\n" },
		{ "\n\n", "\r\n\r\n.\r\n" },
	};
	char out[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = emit((struct str){ rows[i].raw,
			strlen(rows[i].raw) }, 0, true, out, sizeof(out));

		assert_int_equal(n, strlen(rows[i].wire));
		assert_memory_equal(out, rows[i].wire, n);
	}
}

static void top_gives_the_header_and_so_many_lines(void **state)
{
	static const char raw[] = "A: b\nC: d\n\none\n.two\nthree\n";
	static const struct { uint64_t lines; const char *wire; } rows[] = {
		{ 0, "A: b\r\nC: d\r\n\r\n.\r\n" },
		{ 1, "A: b\r\nC: d\r\n\r\none\r\n.\r\n" },
		{ 2, "A: b\r\nC: d\r\n\r\none\r\n..two\r\n.\r\n" },
		{ 3, "A: b\r\nC: d\r\n\r\none\r\n..two\r\nthree\r\n.\r\n" },
		{ UINT64_MAX,
		    "A: b\r\nC: d\r\n\r\none\r\n..two\r\nthree\r\n.\r\n" },
	};
	char out[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = emit((struct str){ raw, sizeof(raw) - 1 },
		    rows[i].lines, false, out, sizeof(out));

		assert_int_equal(n, strlen(rows[i].wire));
		assert_memory_equal(out, rows[i].wire, n);
	}
}

static void a_line_longer_than_any_buffer_passes(void **state)
{
	size_t n = 100000;
	char *raw = malloc(n), *out = malloc(n + 100);

	(void)state;
	memset(raw, 'x', n);
	raw[0] = '.';
	/* Small enough for a socket buffer that nobody reads meanwhile. */
	assert_int_equal(emit((struct str){ raw, n }, 0, true, out, n + 100),
	    n + 6);
	assert_memory_equal(out, "..x", 3);
	assert_memory_equal(out + n + 1, "\r\n.\r\n", 5);
	free(raw);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dots_are_stuffed_and_lines_are_whole),
		cmocka_unit_test(top_gives_the_header_and_so_many_lines),
		cmocka_unit_test(a_line_longer_than_any_buffer_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
