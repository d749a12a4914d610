#include "fixture.h"
#include "store/wire.h"

static const struct { const char *raw, *wire; } rows[] = {
	{ "", "" },
	{ "a", "a" },
	{ "\n", "\r\n" },
	{ "\r", "\r" },
	{ "\r\n", "\r\n" },
	{ "a\nb\n", "a\r\nb\r\n" },
	{ "a\r\nb\nc", "a\r\nb\r\nc" },
	{ "\n\n\r\n\n", "\r\n\r\n\r\n\r\n" },
	{ "a\rb\r\r\n\n", "a\rb\r\r\n\r\n" },
	{ "line one\nline two is longer\n.\n..\n", "line one\r\n"
	    "line two is longer\r\n.\r\n..\r\n" },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void the_size_is_what_is_sent_whatever_the_room(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		size_t n = strlen(rows[i].wire);

		assert_int_equal(wire_size(str_of(rows[i].raw)), n);
		for (size_t room = 1; room <= n + 1; room++) {
			char out[100];
			size_t done = 0, k;
			struct wire w;

			wire_init(&w, str_of(rows[i].raw));
			while ((k = wire_read(&w, out + done, room)) > 0) {
				assert_true(k <= room);
				done += k;
			}
			assert_int_equal(done, n);
			assert_memory_equal(out, rows[i].wire, n);
		}
	}
}

static void a_part_starts_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		size_t n = strlen(rows[i].wire);

		for (size_t from = 0; from <= n + 2; from++) {
			char out[100];
			struct wire w;
			size_t k;

			wire_init(&w, str_of(rows[i].raw));
			assert_int_equal(wire_skip(&w, from),
			    from < n ? from : n);
			k = wire_read(&w, out, sizeof(out));
			assert_int_equal(k, from < n ? n - from : 0);
			if (k > 0)
				assert_memory_equal(out,
				    rows[i].wire + from, k);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_size_is_what_is_sent_whatever_the_room),
		cmocka_unit_test(a_part_starts_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
