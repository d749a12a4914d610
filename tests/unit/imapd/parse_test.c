/* The IMAP tokenizer: rows of commands and what is read from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "imapd/parse.h"

/* A client whose octets are all there; counts the "+" it is sent. */
struct client {
	struct str left;
	unsigned asked;
	char line[PARSE_LINE_MAX + 1];
};

static enum parse_read client_line(void *ctx, size_t max, struct str *line_r)
{
	struct client *c = ctx;
	ssize_t end = str_find(c->left, STR("\r\n"));

	if (end < 0)
		return PARSE_READ_GONE;
	if ((size_t)end > max)
		return PARSE_READ_LONG;
	memcpy(c->line, c->left.p, (size_t)end);
	*line_r = str_n(c->line, (size_t)end);
	c->left = str_from(c->left, (size_t)end + 2);
	return PARSE_READ_OK;
}

static int client_octets(void *ctx, char *p, uint64_t n)
{
	struct client *c = ctx;

	if (c->left.n < n)
		return -1;
	if (p != NULL)
		memcpy(p, c->left.p, n);
	c->left = str_from(c->left, n);
	return 0;
}

static int client_go_ahead(void *ctx)
{
	struct client *c = ctx;

	c->asked++;
	return 0;
}

static const struct parse_source source = { client_line, client_octets,
	client_go_ahead };

static struct client client;
static struct parse parse;

static int start(struct str input)
{
	client.left = input;
	client.asked = 0;
	if (parse.arena == NULL)
		parse.arena = arena_new(PARSE_ARENA_MAX);
	parse.source = &source;
	parse.ctx = &client;
	return parse_begin(&parse);
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&parse.arena);
	return 0;
}

#define assert_str(got, want) do { \
	if (!str_eq_c((got), (want))) \
		fail_msg("got \"" STR_FMT "\", wanted \"%s\"", \
		    STR_ARG(got), (want)); \
} while (0)

static void strings_are_read_in_every_form(void **state)
{
	static const struct { const char *in, *out, *rest; } rows[] = {
		{ "atom\r\n", "atom", "" },
		{ "a]b+c rest\r\n", "a]b+c", " rest" },
		{ "\"\"\r\n", "", "" },
		{ "\"two words\" x\r\n", "two words", " x" },
		{ "\"q\\\"b\\\\\"\r\n", "q\"b\\", "" },
		{ "{3}\r\nabc\r\n", "abc", "" },
		{ "{3+}\r\nabc more\r\n", "abc", " more" },
		{ "{0}\r\n\r\n", "", "" },
		{ "{5+}\r\na\r\nbc\r\n", "a\r\nbc", "" },
		{ "\xc3\xa4\r\n", NULL, NULL },
		{ "\"\xc3\xa4\"\r\n", "\xc3\xa4", "" },
		{ "\r\n", NULL, NULL },
		{ "(\r\n", NULL, NULL },
		{ "\"open\r\n", NULL, NULL },
		{ "\"bad \\n escape\"\r\n", NULL, NULL },
		{ "\"a\rb\"\r\n", NULL, NULL },
		{ "{3}x\r\n", NULL, NULL },
		{ "{-1}\r\n", NULL, NULL },
		{ "{}\r\n", NULL, NULL },
		{ "{+}\r\n", NULL, NULL },
		{ "{65537}\r\n", NULL, NULL },
		{ "{4294967295}\r\n", NULL, NULL },
		{ "{18446744073709551616}\r\n", NULL, NULL },
		{ "{1000000000000000000000000000}\r\n", NULL, NULL },
	};
	struct str out;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(start(str_of(rows[i].in)), 0);
		if (rows[i].out == NULL) {
			if (parse_astring(&parse, &out) == 0)
				fail_msg("accepted: %s", rows[i].in);
			assert_non_null(parse.why);
			assert_int_equal(client.asked, 0);
			continue;
		}
		if (parse_astring(&parse, &out) < 0)
			fail_msg("%s: %s", rows[i].in, parse.why);
		assert_str(out, rows[i].out);
		assert_str(str_from(parse.line, parse.at), rows[i].rest);
	}
}

static void only_a_synchronising_literal_is_asked_for(void **state)
{
	struct str out;

	(void)state;
	assert_int_equal(start(STR("{1}\r\na\r\n")), 0);
	assert_int_equal(parse_astring(&parse, &out), 0);
	assert_int_equal(client.asked, 1);
	assert_int_equal(start(STR("{1+}\r\na\r\n")), 0);
	assert_int_equal(parse_astring(&parse, &out), 0);
	assert_int_equal(client.asked, 0);
}

static void nul_is_refused_everywhere(void **state)
{
	struct str out;

	(void)state;
	assert_int_equal(start(str_n("a\0b\r\n", 5)), -1);
	assert_string_equal(parse.why, "NUL is not allowed");
	assert_int_equal(start(str_n("{3+}\r\na\0b\r\n", 11)), 0);
	assert_int_equal(parse_astring(&parse, &out), -1);
	assert_string_equal(parse.why, "NUL is not allowed");
}

static void what_is_left_of_a_bad_command_is_dropped(void **state)
{
	static const struct { const char *in; int rc; } rows[] = {
		{ "{4+}\r\nquit {2+}\r\nab\r\nNEXT\r\n", 0 },
		{ "( {4}\r\nNEXT\r\n", 0 },
		{ "( {4+}\r\n\r\n\r\n tail\r\nNEXT\r\n", 0 },
		{ "( {1048577+}\r\nNEXT\r\n", -1 },
		{ "( {99999999999999999999999999+}\r\nNEXT\r\n", -1 },
		{ "( {100+}\r\nNEXT\r\n", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(start(str_of(rows[i].in)), 0);
		parse_fail(&parse, "as if");
		assert_int_equal(parse_skip(&parse), rows[i].rc);
		if (rows[i].rc == 0)
			assert_str(client.left, "NEXT\r\n");
	}
}

static void literals_of_a_command_are_counted_and_summed(void **state)
{
	static char big[2 << 20];
	size_t n = 0;
	struct str out;
	int rc = 0, count = 0;

	(void)state;
	for (int i = 0; i < 1200; i++)
		n += (size_t)snprintf(big + n, sizeof(big) - n,
		    "{1+}\r\nx");
	n += (size_t)snprintf(big + n, sizeof(big) - n, "\r\n");
	assert_int_equal(start(str_n(big, n)), 0);
	while ((rc = parse_string(&parse, &out)) == 0)
		count++;
	assert_int_equal(count, PARSE_LITERALS_MAX);
	assert_string_equal(parse.why, "Too many literals");

	n = 0;
	for (int i = 0; i < 30; i++) {
		n += (size_t)snprintf(big + n, sizeof(big) - n,
		    "{60000+}\r\n");
		memset(big + n, 'x', 60000);
		n += 60000;
	}
	n += (size_t)snprintf(big + n, sizeof(big) - n, "\r\n");
	assert_int_equal(start(str_n(big, n)), 0);
	for (count = 0; (rc = parse_string(&parse, &out)) == 0;)
		count++;
	assert_int_equal(count, 17);
	assert_string_equal(parse.why, "Command is too large");
}

/* What follows such a line may be a literal: it must not be read as a
 * command. */
static void nothing_is_read_behind_a_line_that_was_not_kept(void **state)
{
	static char big[2 << 20];
	struct str out;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 17; i++) {
		n += (size_t)snprintf(big + n, sizeof(big) - n,
		    "%s{60000+}\r\n", i == 16 ? " " : "");
		memset(big + n, 'x', 60000);
		n += 60000;
	}
	memset(big + n, 'y', 40000);
	n += 40000;
	n += (size_t)snprintf(big + n, sizeof(big) - n,
	    " {7+}\r\na QUIT\n\r\n");
	assert_int_equal(start(str_n(big, n)), 0);
	for (int i = 0; i < 16; i++)
		assert_int_equal(parse_string(&parse, &out), 0);
	assert_int_equal(parse_space(&parse), 0);
	assert_int_equal(parse_string(&parse, &out), -1);
	assert_string_equal(parse.why, "Command is too large");
	assert_int_equal(parse_skip(&parse), -1);
}

static void sets_are_sorted_and_merged(void **state)
{
	static const struct {
		const char *in;
		uint32_t last;
		const char *out;	/* NULL: refused */
	} rows[] = {
		{ "1", 9, "1:1" },
		{ "*", 9, "9:9" },
		{ "*", 0, "" },
		{ "1:*", 0, "" },
		{ "1:*", 9, "1:9" },
		{ "*:1", 9, "1:9" },
		{ "12:*", 9, "9:12" },
		{ "4:2", 9, "2:4" },
		{ "5,1,3", 9, "1:1 3:3 5:5" },
		{ "3,2,1", 9, "1:3" },
		{ "1:4,2:3,4:6,6", 9, "1:6" },
		{ "*:*", 7, "7:7" },
		{ "4294967295", 9, "4294967295:4294967295" },
		{ "1:4294967295,4294967295", 9, "1:4294967295" },
		{ "2,4:5,*", 9, "2:2 4:5 9:9" },
		{ "0", 9, NULL },
		{ "0:1", 9, NULL },
		{ "4294967296", 9, NULL },
		{ "1,", 9, NULL },
		{ ",1", 9, NULL },
		{ "1:", 9, NULL },
		{ ":1", 9, NULL },
		{ "a", 9, NULL },
		{ "$", 9, NULL },
		{ "", 9, NULL },
		{ "-1", 9, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char in[128], out[128] = "";
		struct set set;
		size_t n = 0;

		snprintf(in, sizeof(in), "%s\r\n", rows[i].in);
		assert_int_equal(start(str_of(in)), 0);
		if (rows[i].out == NULL) {
			if (parse_set(&parse, &set) == 0)
				fail_msg("accepted %s", in);
			continue;
		}
		assert_int_equal(parse_set(&parse, &set), 0);
		assert_int_equal(parse_end(&parse), 0);
		set_resolve(&set, rows[i].last);
		for (size_t k = 0; k < set.n; k++)
			n += (size_t)snprintf(out + n, sizeof(out) - n,
			    "%s%u:%u", k ? " " : "", set.r[k].lo,
			    set.r[k].hi);
		if (strcmp(out, rows[i].out) != 0)
			fail_msg("%s: got %s", rows[i].in, out);
	}
}

static void membership_follows_the_ranges(void **state)
{
	struct range r[] = { { 2, 4 }, { 7, 7 }, { 9, UINT32_MAX } };
	struct set set = { r, 3 };
	static const uint32_t in[] = { 2, 3, 4, 7, 9, 10, UINT32_MAX };
	static const uint32_t out[] = { 0, 1, 5, 6, 8 };

	(void)state;
	for (size_t i = 0; i < 7; i++)
		assert_true(set_has(&set, in[i]));
	for (size_t i = 0; i < 5; i++)
		assert_false(set_has(&set, out[i]));
}

static void numbers_are_bounded(void **state)
{
	static const struct { const char *in; uint64_t max; int rc; } rows[] =
	{
		{ "0\r\n", 10, 0 }, { "10\r\n", 10, 0 }, { "11\r\n", 10, -1 },
		{ "00000000000000000000000007\r\n", 10, 0 },
		{ "18446744073709551615\r\n", UINT64_MAX, 0 },
		{ "18446744073709551616\r\n", UINT64_MAX, -1 },
		{ "\r\n", 10, -1 }, { "-1\r\n", 10, -1 }, { "x\r\n", 10, -1 },
	};
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(start(str_of(rows[i].in)), 0);
		if (parse_number(&parse, rows[i].max, &v) != rows[i].rc)
			fail_msg("%s", rows[i].in);
	}
}

static void flags_are_checked(void **state)
{
	static const struct { const char *in; int rc; } rows[] = {
		{ "\\Seen\r\n", 0 }, { "\\sEEN\r\n", 0 },
		{ "\\Answered\r\n", 0 }, { "\\Flagged\r\n", 0 },
		{ "\\Deleted\r\n", 0 }, { "\\Draft\r\n", 0 },
		{ "$Forwarded\r\n", 0 }, { "NonJunk\r\n", 0 },
		{ "\\Recent\r\n", -1 }, { "\\*\r\n", -1 }, { "\\\r\n", -1 },
		{ "\\Bogus\r\n", -1 }, { "(\r\n", -1 }, { "\r\n", -1 },
		{ "%\r\n", -1 },
	};
	struct str flag;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(start(str_of(rows[i].in)), 0);
		if (parse_flag(&parse, &flag) != rows[i].rc)
			fail_msg("%s", rows[i].in);
	}
}

static void dates_are_days(void **state)
{
	static const struct { const char *in; int64_t days; } rows[] = {
		{ "1-Jan-1970", 0 }, { "01-Jan-1970", 0 },
		{ "\"2-jan-1970\"", 1 }, { "31-Dec-1969", -1 },
		{ "29-Feb-2024", 19782 }, { "1-Mar-2024", 19783 },
		{ "17-Jul-1996", 9694 },
		{ "29-Feb-2023", INT64_MIN }, { "0-Jan-1970", INT64_MIN },
		{ "32-Jan-1970", INT64_MIN }, { "1-Foo-1970", INT64_MIN },
		{ "1-Jan-70", INT64_MIN }, { "1-Jan-19700", INT64_MIN },
		{ "1-Jan-", INT64_MIN }, { "", INT64_MIN },
		{ "-Jan-1970", INT64_MIN }, { "99-Foo-9999", INT64_MIN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char in[64];
		int64_t days = INT64_MIN;

		snprintf(in, sizeof(in), "%s\r\n", rows[i].in);
		assert_int_equal(start(str_of(in)), 0);
		if (parse_date(&parse, &days) < 0)
			days = INT64_MIN;
		if (days != rows[i].days)
			fail_msg("%s: %lld", rows[i].in, (long long)days);
	}
}

static void date_times_have_a_zone(void **state)
{
	static const struct { const char *in; int64_t t; } rows[] = {
		{ "\" 1-Jan-1970 00:00:00 +0000\"", 0 },
		{ "\"01-Jan-1970 01:00:00 +0100\"", 0 },
		{ "\"17-Jul-1996 02:44:25 -0700\"", 837596665 },
		{ "\"01-Jan-1970 00:00:00\"", INT64_MIN },
		{ "\"01-Jan-1970 24:00:00 +0000\"", INT64_MIN },
		{ "\"01-Jan-1970 00:60:00 +0000\"", INT64_MIN },
		{ "\"01-Jan-1970 00-00-00 +0000\"", INT64_MIN },
		{ "\"01-Jan-1970 00:00:00 *0000\"", INT64_MIN },
		{ "\"99-Foo-9999 99:99:99 +9999\"", INT64_MIN },
		{ "01-Jan-1970", INT64_MIN },
		{ "\"\"", INT64_MIN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char in[64];
		struct mail_date date;
		int64_t t = INT64_MIN;

		snprintf(in, sizeof(in), "%s\r\n", rows[i].in);
		assert_int_equal(start(str_of(in)), 0);
		if (parse_date_time(&parse, &date) == 0)
			t = date.time;
		if (t != rows[i].t)
			fail_msg("%s: %lld", rows[i].in, (long long)t);
	}
}

static void an_appended_literal_stays_in_the_stream(void **state)
{
	uint64_t size;
	bool waits;

	(void)state;
	assert_int_equal(start(STR("{99999999999+}\r\nabc")), 0);
	assert_int_equal(parse_literal_head(&parse, &size, &waits), 0);
	assert_true(size == UINT64_C(99999999999) && !waits);
	assert_str(client.left, "abc");
	assert_int_equal(start(STR("{5} \r\n")), 0);
	assert_int_equal(parse_literal_head(&parse, &size, &waits), -1);
}

static void words_end_where_an_atom_ends(void **state)
{
	(void)state;
	assert_int_equal(start(STR("ALLOW all)\r\n")), 0);
	assert_false(parse_try_word(&parse, "ALL"));
	assert_true(parse_try_word(&parse, "allow"));
	assert_int_equal(parse_space(&parse), 0);
	assert_true(parse_try_word(&parse, "ALL"));
	assert_int_equal(parse_char(&parse, ')'), 0);
	assert_int_equal(parse_end(&parse), 0);
	assert_int_equal(parse_space(&parse), -1);
}

static void nesting_is_bounded(void **state)
{
	unsigned n = 0;

	(void)state;
	assert_int_equal(start(STR("x\r\n")), 0);
	while (parse_enter(&parse) == 0)
		n++;
	assert_int_equal(n, PARSE_DEPTH_MAX);
	parse_leave(&parse);
	assert_int_equal(parse_enter(&parse), 0);
}

static void tags_have_their_own_letters(void **state)
{
	static const struct { const char *in; int rc; } rows[] = {
		{ "a1 x\r\n", 0 }, { "A.b-c] x\r\n", 0 }, { "+ x\r\n", -1 },
		{ " x\r\n", -1 }, { "* x\r\n", -1 }, { "\r\n", -1 },
		{ "\"a\" x\r\n", -1 },
	};
	static char long_tag[200] = "";
	struct str tag;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(start(str_of(rows[i].in)), 0);
		if (parse_tag(&parse, &tag) != rows[i].rc)
			fail_msg("%s", rows[i].in);
	}
	memset(long_tag, 'a', 127);
	memcpy(long_tag + 127, "\r\n", 2);
	assert_int_equal(start(str_of(long_tag)), 0);
	assert_int_equal(parse_tag(&parse, &tag), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_are_read_in_every_form),
		cmocka_unit_test(only_a_synchronising_literal_is_asked_for),
		cmocka_unit_test(nul_is_refused_everywhere),
		cmocka_unit_test(what_is_left_of_a_bad_command_is_dropped),
		cmocka_unit_test(literals_of_a_command_are_counted_and_summed),
		cmocka_unit_test(
		    nothing_is_read_behind_a_line_that_was_not_kept),
		cmocka_unit_test(sets_are_sorted_and_merged),
		cmocka_unit_test(membership_follows_the_ranges),
		cmocka_unit_test(numbers_are_bounded),
		cmocka_unit_test(flags_are_checked),
		cmocka_unit_test(dates_are_days),
		cmocka_unit_test(date_times_have_a_zone),
		cmocka_unit_test(an_appended_literal_stays_in_the_stream),
		cmocka_unit_test(words_end_where_an_atom_ends),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(tags_have_their_own_letters),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
