#include "mail_test.h"
#include "mail/date.h"

static void header_dates_are_read(void **state)
{
	static const struct {
		const char *in, *out;	/* as IMAP writes it; NULL: refused */
		bool unknown;
	} rows[] = {
		/* RFC 5322 appendix A */
		{ "Fri, 21 Nov 1997 09:55:06 -0600",
		    "21-Nov-1997 09:55:06 -0600", false },
		{ "Tue, 1 Jul 2003 10:52:37 +0200",
		    " 1-Jul-2003 10:52:37 +0200", false },
		{ "Thu, 13 Feb 1969 23:32:54 -0330",
		    "13-Feb-1969 23:32:54 -0330", false },
		{ "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n"
		  "      23:32\r\n               -0330 (Newfoundland Time)",
		    "13-Feb-1969 23:32:00 -0330", false },
		{ "21 Nov 97 09:55:06 GMT", "21-Nov-1997 09:55:06 +0000",
		    false },
		{ "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
		    "21-Nov-1997 09:55:06 -0600", false },
		/* RFC 3501 7.4.2's example */
		{ "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
		    "17-Jul-1996 02:23:25 -0700", false },
		{ "1 Jan 49 00:00 EST", " 1-Jan-2049 00:00:00 -0500", false },
		{ "1 Jan 50 00:00 PDT", " 1-Jan-1950 00:00:00 -0700", false },
		{ "1 Jan 101 00:00 UT", " 1-Jan-2001 00:00:00 +0000", false },
		{ "1 Jan 2020 00:00:00 -0000", " 1-Jan-2020 00:00:00 +0000",
		    true },
		{ "1 Jan 2020 00:00:00 Q", " 1-Jan-2020 00:00:00 +0000",
		    true },
		{ "1 Jan 2020 00:00:00 CEST", " 1-Jan-2020 00:00:00 +0000",
		    true },
		{ "1 Jan 2020 00:00:00", " 1-Jan-2020 00:00:00 +0000", true },
		{ "1 Jan 2020 00:00:00 +9999", " 1-Jan-2020 00:00:00 +0000",
		    true },
		{ "1 Jan 2020 00:00:00 +01:30", " 1-Jan-2020 00:00:00 +0130",
		    false },
		{ "Thu Jan  1 00:00:00 2026", " 1-Jan-2026 00:00:00 +0000",
		    true },
		{ "Thu Jan  1 00:00:00 EST 2026",
		    " 1-Jan-2026 00:00:00 -0500", false },
		{ "31 Dec 2016 23:59:60 +0000", " 1-Jan-2017 00:00:00 +0000",
		    false },
		{ "29 Feb 2000 00:00 GMT", "29-Feb-2000 00:00:00 +0000",
		    false },
		{ "29 Feb 1900 00:00 GMT", NULL, false },
		{ "29 Feb 2023 00:00 GMT", NULL, false },
		{ "32 Jan 2020 00:00 GMT", NULL, false },
		{ "0 Jan 2020 00:00 GMT", NULL, false },
		{ "1 Foo 2020 00:00 GMT", NULL, false },
		{ "1 Jan 2020 24:00 GMT", NULL, false },
		{ "1 Jan 99999999999 00:00:00 +9999", NULL, false },
		{ "1 Jan 10000 00:00:00 GMT", NULL, false },
		{ "1 Jan 1 00:00:00 GMT", NULL, false },
		{ "((((((((((", NULL, false },
		{ "", NULL, false },
		{ "Mon, ", NULL, false },
		{ "1 Jan 2020", NULL, false },
	};
	struct mail_date d;
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT(rows); i++) {
		int r = mail_date_parse(str_of(rows[i].in), &d);

		if (r != (rows[i].out ? 0 : -1))
			fail_msg("%s", rows[i].in);
		if (r == -1)
			continue;
		buf_reset(&b);
		mail_date_append_imap(&b, d.time, d.zone);
		assert_string_equal(buf_cstr(&b), rows[i].out);
		if (d.zone_unknown != rows[i].unknown)
			fail_msg("%s: zone", rows[i].in);
	}
	buf_fini(&b);
}

static void what_is_written_reads_back(void **state)
{
	unsigned seed = 3;
	struct mail_date d;
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (int i = 0; i < 20000; i++) {
		/* years 1900 to 2500 */
		int64_t t = -INT64_C(2208988800) + 86400 +
		    (int64_t)(rand_r(&seed) % 219000) * 86400 +
		    rand_r(&seed) % 86400;
		int zone = rand_r(&seed) % 2879 - 1439;

		buf_reset(&b);
		mail_date_append(&b, t, zone);
		assert_int_equal(mail_date_parse(buf_str(&b), &d), 0);
		assert_true(d.time == t);
		assert_int_equal(d.zone, zone);
		buf_reset(&b);
		mail_date_append_imap(&b, t, zone);
		assert_int_equal(b.n, 26);
		assert_int_equal(mail_date_parse_imap(buf_str(&b), &d), 0);
		assert_true(d.time == t);
	}
	buf_reset(&b);
	mail_date_append(&b, 1795635897, 60);
	assert_string_equal(buf_cstr(&b), "Wed, 25 Nov 2026 20:44:57 +0100");
	buf_reset(&b);
	mail_date_append(&b, INT64_MAX, 0);
	mail_date_append_imap(&b, INT64_MIN, 5000);
	assert_false(b.failed);
	buf_fini(&b);
}

static void imap_dates_are_strict(void **state)
{
	static const struct {
		const char *in;
		bool good;
	} rows[] = {
		{ "17-Jul-1996 02:44:25 -0700", true },
		{ " 7-Jul-1996 02:44:25 -0700", true },
		{ "07-jul-1996 02:44:25 +0000", true },
		{ "7-Jul-1996 02:44:25 -0700", false },
		{ " 17-Jul-1996 02:44:25 -0700", false },
		{ "99-Foo-9999 99:99:99 +9999", false },	/* IMAP-040 */
		{ "31-Jun-1996 02:44:25 -0700", false },
		{ "17-Jul-96 02:44:25 -0700", false },
		{ "17-Jul-1996 02:44:25", false },
		{ "17-Jul-1996 02:44:25 -0700 ", false },
		{ "", false },
	};
	struct mail_date d;
	int64_t day;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if ((mail_date_parse_imap(str_of(rows[i].in), &d) == 0) !=
		    rows[i].good)
			fail_msg("%s", rows[i].in);
	assert_int_equal(mail_date_parse_day(STR("1-Feb-1994"), &day), 0);
	assert_int_equal(day, 8797);
	assert_int_equal(mail_date_parse_day(STR("01-Jan-1970"), &day), 0);
	assert_int_equal(day, 0);
	assert_int_equal(mail_date_parse_day(STR("1-Feb-94"), &day), -1);
	assert_int_equal(mail_date_parse_day(STR("001-Feb-1994"), &day), -1);
	/* The day is that of the date's own zone. */
	assert_int_equal(mail_date_parse(STR("1 Jan 1970 23:30 -1200"), &d),
	    0);
	assert_int_equal(mail_date_day(&d), 0);
	assert_int_equal(mail_date_parse(STR("31 Dec 1969 23:30 GMT"), &d),
	    0);
	assert_int_equal(mail_date_day(&d), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_dates_are_read),
		cmocka_unit_test(what_is_written_reads_back),
		cmocka_unit_test(imap_dates_are_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
