/* log_test.c - what strangers write stays inside of one line of the log */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "base/log.h"

static void take(enum log_level level, struct str line, void *ctx)
{
	struct buf *b = ctx;

	(void)level;
	buf_reset(b);
	buf_append(b, line);
}

static void strangers_write_no_line_of_their_own(void **state)
{
	static const struct { const char *in, *want; } cases[] = {
		{ "plain", "plain" }, { "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xe2\x82\xac \xf0\x9f\x93\xa7", "\xe2\x82\xac \xf0\x9f\x93\xa7" },
		{ "a\r\nb", "a\\x0d\\x0ab" }, { "\x1b[31m\x7f", "\\x1b[31m\\x7f" },
		/* NEL, a line's end for some */
		{ "a\xc2\x85" "b", "a\\xc2\\x85b" }, { "\xc2\xa0", "\xc2\xa0" },
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8" },
		/* right to left */
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae" },
		{ "\xe2\x81\xa7", "\\xe2\\x81\\xa7" },
		{ "\xe2\x80\xa7", "\xe2\x80\xa7" },
		/* no UTF-8: alone, cut, too long a form, a surrogate */
		{ "\xff", "\\xff" }, { "a\xe2\x82", "a\\xe2\\x82" },
		{ "\xc0\x8a", "\\xc0\\x8a" }, { "\x80" "a", "\\x80a" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80" },
	};
	struct buf got;

	(void)state;
	buf_init(&got, LOG_LINE_MAX + 1);
	log_set_sink(take, &got);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_info("%s", cases[i].in);
		assert_string_equal(buf_cstr(&got), cases[i].want);
	}
	log_set_sink(NULL, NULL);
	buf_fini(&got);
}

static void take_program(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	*(const char **)ctx = log_program();
}

static void only_that_line_has_the_name_of_another_program(void **state)
{
	const char *got = "none yet";

	(void)state;
	log_set_sink(take_program, &got);
	log_info("x");
	assert_null(got);
	log_info_as("virtual", "x");
	assert_string_equal(got, "virtual");
	log_info("x");
	assert_null(got);
	log_info_as(NULL, "x");
	assert_null(got);
	log_set_sink(NULL, NULL);
}

static void a_line_has_a_limit_whatever_is_in_it(void **state)
{
	static const char *const units[] = { "a", "\n", "\xff", "\xc3\xa9",
		"\xe2\x80\xae", "\xf0\x9f\x93\xa7" };
	char text[3 * LOG_LINE_MAX];
	struct buf got;

	(void)state;
	buf_init(&got, LOG_LINE_MAX + 1);
	log_set_sink(take, &got);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = 0, k = strlen(units[i]);

		while (n + k < sizeof(text)) {
			memcpy(text + n, units[i], k);
			n += k;
		}
		text[n] = '\0';
		log_warn("%s", text);
		assert_in_range(got.n, LOG_LINE_MAX - 16, LOG_LINE_MAX);
		assert_true(str_is_utf8(buf_str(&got)));
	}
	log_set_sink(NULL, NULL);
	buf_fini(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_write_no_line_of_their_own),
		cmocka_unit_test(
		    only_that_line_has_the_name_of_another_program),
		cmocka_unit_test(a_line_has_a_limit_whatever_is_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
