#include "mail_test.h"
#include "mail/header.h"

static struct arena *arena;

static void fields_are_walked_to_the_body(void **state)
{
	static const struct {
		const char *message, *fields, *body;
		bool blank;
	} rows[] = {
		{ "A: 1\r\nB: 2\r\n\r\nbody\r\n", "A=1|B=2|", "body\r\n", 1 },
		{ "A: 1\nB: 2\n\nbody\n", "A=1|B=2|", "body\n", 1 },
		{ "A: 1\r\n 2\r\n\t3\r\nB:\r\n\r\n", "A=1\r\n 2\r\n\t3|B=|",
		    "", 1 },
		/* SMTP-161: white space before the colon */
		{ "From : a@x\r\nB: 2\r\n\r\nx", "From=a@x|B=2|", "x", 1 },
		/* SMTP-162, 163: nothing before the first field */
		{ "\r\nFrom: a@x\r\n", "", "From: a@x\r\n", 1 },
		{ " From: a@x\r\nB: 1\r\n", "", " From: a@x\r\nB: 1\r\n", 0 },
		/* SMTP-171 */
		{ "Subject: a\r\n\tb\r\n \r\n c\r\n\r\nx",
		    "Subject=a\r\n\tb\r\n \r\n c|", "x", 1 },
		/* SMTP-172 */
		{ "A: 1\r\nno colon\r\nB: 2\r\n\r\nx", "A=1|",
		    "no colon\r\nB: 2\r\n\r\nx", 0 },
		/* SMTP-173, 174 */
		{ ">From x y\r\nA: 1\r\n\r\nx", "A=1|", "x", 1 },
		{ "From a@x Thu Jan  1 00:00:00 2026\nA: 1\n\nx", "A=1|",
		    "x", 1 },
		{ "A: 1", "A=1|", "", 0 },
		{ "A:", "A=|", "", 0 },
		{ "A", "", "A", 0 },
		{ "", "", "", 0 },
		{ "A: 1\r\rB: 2\r\n\r\nx", "A=1\r\rB: 2|", "x", 1 },
		{ "A: 1\r\n\rx", "A=1|", "\rx", 0 },
		{ ": 1\r\n\r\n", "", ": 1\r\n\r\n", 0 },
		{ "A\x01: 1\r\n\r\n", "", "A\x01: 1\r\n\r\n", 0 },
	};
	struct mail_field field;
	struct mail_fields f;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str m = str_of(rows[i].message);

		buf_reset(&b);
		mail_fields_init(&f, m);
		while (mail_fields_next(&f, &field))
			buf_printf(&b, STR_FMT "=" STR_FMT "|",
			    STR_ARG(field.name), STR_ARG(field.body));
		assert_string_equal(buf_cstr(&b), rows[i].fields);
		if (!str_eq_c(str_from(m, f.body_at), rows[i].body) ||
		    f.has_blank != rows[i].blank)
			fail_msg("%s", rows[i].message);
		assert_int_equal(mail_header_size(m), f.body_at);
	}
	buf_fini(&b);
}

static void limits_end_the_fields_but_not_the_header(void **state)
{
	struct mail_field field;
	struct mail_fields f;
	struct buf b;
	unsigned n = 0;

	(void)state;
	buf_init(&b, 10 << 20);
	for (int i = 0; i < 200000; i++)		/* SMTP-155 */
		buf_append_c(&b, "X: y\r\n");
	buf_append_c(&b, "\r\nbody");
	mail_fields_init(&f, buf_str(&b));
	while (mail_fields_next(&f, &field))
		n++;
	assert_int_equal(n, MAIL_HEADER_FIELDS_MAX);
	assert_true(f.truncated);
	assert_int_equal(f.body_at, b.n - 4);
	assert_int_equal(mail_header_size(buf_str(&b)), b.n - 4);
	buf_fini(&b);
}

static void fields_are_found_by_name(void **state)
{
	struct str m = STR("To: a\r\nX: y\r\ntO: b\r\n\r\nTo: c\r\n");

	(void)state;
	assert_str(mail_header_get(m, "to", 0), "a", "first");
	assert_str(mail_header_get(m, "To", 1), "b", "second");
	assert_str(mail_header_get(m, "To", 2), NULL, "third");
	assert_int_equal(mail_header_count(m, "TO"), 2);
}

static void unfolding_gives_one_line(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} rows[] = {
		{ STR("a b"), "a b" },
		{ STR("a\r\n b\n\tc"), "a b\tc" },
		{ STR(" \r\n a \r\n "), "a" },
		{ STR("a\r\n \r\n b"), "a  b" },
		{ STR("a\rb\0c"), "a b c" },
		{ STR("a\r\nb"), "a  b" },
		{ STR(""), "" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(mail_unfold(rows[i].in, &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
		assert_str(mail_unfold_arena(rows[i].in, arena), rows[i].out,
		    "arena");
	}
	buf_fini(&b);
}

static void tokens_and_message_ids_are_taken_out(void **state)
{
	struct str rest = STR("x <a@b>\r\n <\"c>d\"@e> <broken");

	(void)state;
	assert_str(mail_field_token(STR(" (a (b)) base64 (x)")), "base64", "");
	assert_str(mail_field_token(STR("8bit;")), "8bit", "");
	assert_str(mail_field_token(STR("((((")), "", "");
	assert_str(mail_field_token(STR("(a\\)b) 7bit")), "7bit", "");
	assert_str(mail_msgid_next(&rest), "<a@b>", "first");
	assert_str(mail_msgid_next(&rest), "<\"c>d\"@e>", "quoted");
	assert_str(mail_msgid_next(&rest), NULL, "broken");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_walked_to_the_body),
		cmocka_unit_test(limits_end_the_fields_but_not_the_header),
		cmocka_unit_test(fields_are_found_by_name),
		cmocka_unit_test(unfolding_gives_one_line),
		cmocka_unit_test(tokens_and_message_ids_are_taken_out),
	};
	int failed;

	arena = arena_new(1 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
