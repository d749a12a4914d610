#include "mail_test.h"
#include "mail/status.h"

static void codes_are_read_strictly(void **state)
{
	static const struct {
		const char *in;
		bool good;
	} rows[] = {
		{ "5.1.1", true }, { "2.0.0", true }, { "4.999.999", true },
		{ "5.7.30", true }, { "3.1.1", false }, { "5.1", false },
		{ "5.1.", false }, { "5.01.1", false }, { "5.1.1000", false },
		{ "5.1.1 ", false }, { "", false }, { "5..1", false },
		{ "15.1.1", false },
	};
	struct mail_status s;
	char out[MAIL_STATUS_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool good = mail_status_parse(str_of(rows[i].in), &s) == 0;

		if (good != rows[i].good)
			fail_msg("%s", rows[i].in);
		if (good)
			assert_string_equal(mail_status_print(s, out),
			    rows[i].in);
		for (int class = 2; class <= 5; class++)
			assert_int_equal(mail_status_has_class(
			    str_of(rows[i].in), class),
			    good && s.class == class);
	}
}

static void a_code_is_taken_off_a_reply_text(void **state)
{
	struct str text = STR("5.1.1  No such user");
	struct mail_status s;

	(void)state;
	assert_int_equal(mail_status_take(&text, &s), 0);
	assert_true(str_eq_c(text, "No such user"));
	assert_int_equal(s.detail, 1);
	assert_true(mail_status_fits(s, 550));
	assert_false(mail_status_fits(s, 450));
	text = STR("5.1.1x");
	assert_int_equal(mail_status_take(&text, &s), -1);
	assert_true(str_eq_c(text, "5.1.1x"));
	text = STR("10.0.0.1 refused");
	assert_int_equal(mail_status_take(&text, &s), -1);
	text = STR("2.0.0");
	assert_int_equal(mail_status_take(&text, &s), 0);
	assert_int_equal(text.n, 0);
}

static void every_reply_code_has_a_status_of_its_class(void **state)
{
	(void)state;
	for (int code = 200; code < 600; code++) {
		if (code / 100 == 3)
			continue;
		assert_true(mail_status_fits(mail_status_of_reply(code), code));
	}
	assert_int_equal(mail_status_of_reply(0).class, 5);
	assert_int_equal(mail_status_with_class(MAIL_STATUS(5, 1, 1),
	    4).class, 4);
	assert_int_equal(mail_status_with_class(MAIL_STATUS(2, 1, 5),
	    4).class, 2);
}

static void codes_have_a_text(void **state)
{
	(void)state;
	assert_string_equal(mail_status_text(MAIL_STATUS(5, 1, 1)),
	    "Bad destination mailbox address");
	assert_string_equal(mail_status_text(MAIL_STATUS(4, 7, 1)),
	    "Delivery not authorized, message refused");
	assert_string_equal(mail_status_text(MAIL_STATUS(5, 2, 77)),
	    "Other or undefined mailbox status");
	assert_string_equal(mail_status_text(MAIL_STATUS(5, 42, 1)),
	    "Other undefined status");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_are_read_strictly),
		cmocka_unit_test(a_code_is_taken_off_a_reply_text),
		cmocka_unit_test(every_reply_code_has_a_status_of_its_class),
		cmocka_unit_test(codes_have_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
