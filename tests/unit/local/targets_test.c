#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "local/targets.h"

static void print(struct str value, char *out, size_t size)
{
	struct arena *a = arena_new(1024 * 1024);
	static const char kinds[] = "a/|i";
	struct targets l;
	const char *why;
	size_t n = 0;

	out[0] = '\0';
	if (targets_parse(value, 10, a, &l, &why) < 0) {
		snprintf(out, size, "error: %s", why);
	} else {
		for (size_t i = 0; i < l.n; i++)
			n += (size_t)snprintf(out + n, size - n,
			    "%s%c%s<" STR_FMT ">", i ? " " : "",
			    kinds[l.v[i].kind], l.v[i].is_final ? "!" : "",
			    STR_ARG(l.v[i].text));
	}
	arena_free(&a);
}

static void entries_are_what_aliases_5_says(void **state)
{
	static const struct {
		const char *value, *want;
	} rows[] = {
		{ "", "" },
		{ "anna", "a<anna>" },
		{ "anna, bob@x.test", "a<anna> a<bob@x.test>" },
		{ " anna ,, bob ,", "a<anna> a<bob>" },
		{ "\\anna", "a!<anna>" },
		{ "\"\\anna\"", "a<anna>" },
		{ "Joe <joe@x.test>", "a<joe@x.test>" },
		{ "\"Last, First\" <joe@x.test>, b", "a<joe@x.test> a<b>" },
		{ "\"odd name\"@x.test", "a<odd name@x.test>" },
		{ "/var/mail/x", "/</var/mail/x>" },
		{ "\"/a file, with a comma\"", "/</a file, with a comma>" },
		{ "|cat", "|<cat>" },
		{ "\"|prog -a, 'b c' \\\"d\\\"\"", "|<prog -a, 'b c' \"d\">" },
		{ "| prog arg", "|<prog arg>" },
		{ ":include:/etc/list", "i</etc/list>" },
		{ "\":include:/etc/a list\"", "i</etc/a list>" },
		{ "# comment\nanna\n# more, and\nbob", "a<anna> a<bob>" },
		{ "anna (a, b), bob", "a<anna> a<bob>" },
		{ "@@", "error: an entry is no address" },
		{ ":include:rel",
		    "error: there is no absolute path after :include:" },
		{ ":include:",
		    "error: there is no absolute path after :include:" },
		{ "anna, |", "error: there is no command after |" },
		{ "\"| \"", "error: there is no command after |" },
		{ "\"\", anna", "error: an entry is no address" },
		{ "/home/anna/Mail/", "/</home/anna/Mail/>" },
		{ "1,2,3,4,5,6,7,8,9,10,11", "error: it has too many entries" },
	};
	char out[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print(str_of(rows[i].value), out, sizeof(out));
		if (strcmp(out, rows[i].want) != 0)
			print_error("row %zu: %s\n", i, rows[i].value);
		assert_string_equal(out, rows[i].want);
	}
	print(str_n("a\0b", 3), out, sizeof(out));
	assert_string_equal(out, "error: there is a NUL in it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_what_aliases_5_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
