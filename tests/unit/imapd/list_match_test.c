/* Patterns of LIST (RFC 3501 6.3.8) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/clock.h"
#include "imapd/list.h"

static bool match(const char *pattern, const char *name)
{
	char copy[8192];
	struct str p;

	snprintf(copy, sizeof(copy), "%s", pattern);
	p = list_simplify(copy, strlen(copy));
	return list_match(p, str_of(name));
}

static void wildcards_match_as_the_rfc_says(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} rows[] = {
		{ "*", "INBOX", true }, { "*", "a.b.c", true },
		{ "%", "INBOX", true }, { "%", "a.b", false },
		{ "a.%", "a.b", true }, { "a.%", "a.b.c", false },
		{ "a.%", "a", false }, { "a.*", "a.b.c", true },
		{ "a*", "a", true }, { "a%", "a", true },
		{ "%.%", "a.b", true }, { "%.%", "a.b.c", false },
		{ "%.%", "a", false }, { "*.c", "a.b.c", true },
		{ "*b*", "abc", true }, { "*b*", "ac", false },
		{ "%b*", "a.b", false }, { "*b%", "a.bc", true },
		{ "*b%", "a.b.c", false }, { "a", "a", true },
		{ "a", "A", false }, { "", "", true }, { "", "a", false },
		{ "inbox", "INBOX", true }, { "iNb%", "INBOX", true },
		{ "inbox.x", "INBOX.x", true },
		{ "inbox.X", "INBOX.x", false },
		{ "*%", "a.b", true }, { "%*", "a.b", true },
		{ "%%", "ab", true }, { "%%", "a.b", false },
		{ "a%c%e", "abcde", true }, { "a%c%e", "abcdef", false },
		{ "*a*a*b", "aaaaaaaaaaaaaaaaaa", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (match(rows[i].pattern, rows[i].name) != rows[i].matches)
			fail_msg("%s against %s", rows[i].pattern,
			    rows[i].name);
}

static void runs_of_wildcards_become_one(void **state)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "**", "*" }, { "%%", "%" }, { "*%", "*" }, { "%*", "*" },
		{ "%%*%a%%", "*a%" }, { "a", "a" }, { "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char copy[16];
		struct str s;

		snprintf(copy, sizeof(copy), "%s", rows[i].in);
		s = list_simplify(copy, strlen(copy));
		assert_true(str_eq_c(s, rows[i].out));
	}
}

/* A matcher that backtracks needs years for this. */
static void evil_patterns_are_answered(void **state)
{
	char pattern[LIST_PATTERN_MAX + 1], name[256];

	(void)state;
	for (size_t i = 0; i < sizeof(pattern) - 1; i++)
		pattern[i] = "a*a%"[i % 4];
	pattern[sizeof(pattern) - 1] = '\0';
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_false(match(pattern, name));
	pattern[100] = '\0';
	assert_true(match(pattern, name));
}

static void a_pattern_beyond_the_limit_matches_nothing(void **state)
{
	char pattern[LIST_PATTERN_MAX + 2];

	(void)state;
	memset(pattern, 'a', sizeof(pattern));
	assert_false(list_match(str_n(pattern, sizeof(pattern)), STR("a")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wildcards_match_as_the_rfc_says),
		cmocka_unit_test(runs_of_wildcards_become_one),
		cmocka_unit_test(evil_patterns_are_answered),
		cmocka_unit_test(a_pattern_beyond_the_limit_matches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
