#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "sendmail/sendmail.h"

/* What is read of text, at most so many octets at a time. */
static void read_all(const char *text, bool ignore_dots, size_t most,
    char *out, size_t size)
{
	static struct input in;
	struct buf b;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], text, strlen(text)), strlen(text));
	close(p[1]);
	input_init(&in, p[0], ignore_dots);
	out[0] = '\0';
	while (!in.ended) {
		size_t n = strlen(out);

		buf_init(&b, 1000);
		assert_int_equal(input_read(&in, &b, most), 0);
		assert_true(b.n > 0 || in.ended);
		/* a piece may pass the mark by what was held back */
		assert_true(b.n <= most + 2);
		snprintf(out + n, size - n, STR_FMT, STR_ARG(buf_str(&b)));
		buf_fini(&b);
	}
	close(p[0]);
}

static void a_line_of_one_dot_ends_what_a_person_types(void **state)
{
	static const struct {
		const char *text, *with_dots, *without;
	} rows[] = {
		{ "", "", "" },
		{ "a\n", "a\n", "a\n" },
		{ "a\n.\nb\n", "a\n", "a\n.\nb\n" },
		{ "a\r\n.\r\nb", "a\r\n", "a\r\n.\r\nb" },
		{ ".\n", "", ".\n" },
		{ "..\n.a\n. \n", "..\n.a\n. \n", "..\n.a\n. \n" },
		{ "a.\n.", "a.\n.", "a.\n." },
		{ "a\n.\r", "a\n.\r", "a\n.\r" },
		{ "a\n.\rb\n", "a\n.\rb\n", "a\n.\rb\n" },
		{ "a\n\n.\n", "a\n\n", "a\n\n.\n" },
	};
	static const size_t cuts[] = { 1, 2, 3, 900 };
	char out[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t k = 0; k < 4; k++) {
			read_all(rows[i].text, false, cuts[k], out,
			    sizeof(out));
			assert_string_equal(out, rows[i].with_dots);
			read_all(rows[i].text, true, cuts[k], out,
			    sizeof(out));
			assert_string_equal(out, rows[i].without);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_of_one_dot_ends_what_a_person_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
