#include "fixture.h"
#include "store/mbname.h"

static void names_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", "../../etc/x", "/etc/x", "a/../../b",
		"~root/x", "a..b", ".a", "a.", "a\nb", "a\tb", "a\x7f",
		"caf\xc3\xa9", "a*b", "a%b", "&AGE-", "&////", "&", "&AOk",
		"a&AOk.b-", "&AAA-", "&2AE-", "&AOk-&AOk-", "&AOl-",
		"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z",
	};
	struct mbname m;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mbname_parse(str_of(bad[i]), &m, NULL) == 0)
			fail_msg("'%s' is taken", bad[i]);
	assert_int_equal(mbname_parse(str_n("a\0b", 3), &m, NULL), -1);
}

static void names_have_one_directory(void **state)
{
	static const struct { const char *wire, *name, *dir; } rows[] = {
		{ "INBOX", "INBOX", "." },
		{ "inBox", "INBOX", "." },
		{ "inbox.a", "INBOX.a", ".INBOX.a" },
		{ "inboxes", "inboxes", ".inboxes" },
		{ "cur", "cur", ".cur" },
		{ "Sent Items", "Sent Items", ".Sent Items" },
		{ "a.b.c", "a.b.c", ".a.b.c" },
		{ "Entw&APw-rfe", "Entw&APw-rfe", ".Entw&APw-rfe" },
		{ "a&-b", "a&-b", ".a&-b" },
		{ "&U,BTFw-", "&U,BTFw-", ".&U,BTFw-" },
		{ "&2D3eAA-", "&2D3eAA-", ".&2D3eAA-" },
	};
	struct mbname m;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (mbname_parse(str_of(rows[i].wire), &m, NULL) < 0)
			fail_msg("'%s' is refused", rows[i].wire);
		assert_string_equal(m.name, rows[i].name);
		assert_string_equal(m.dir, rows[i].dir);
	}
}

static void a_name_has_a_longest_length(void **state)
{
	char name[400];
	struct mbname m;

	(void)state;
	memset(name, 'x', sizeof(name));
	assert_int_equal(mbname_parse(str_n(name, MBNAME_MAX), &m, NULL), 0);
	assert_int_equal(mbname_parse(str_n(name, MBNAME_MAX + 1), &m, NULL),
	    -1);
	assert_int_equal(errno, ENAMETOOLONG);
}

static void utf7_goes_both_ways(void **state)
{
	static const struct { const char *utf8, *utf7; } rows[] = {
		{ "Entw\xc3\xbcrfe", "Entw&APw-rfe" },
		{ "\xe5\x8f\xb0\xe5\x8c\x97", "&U,BTFw-" },
		{ "a&b", "a&-b" },
		{ "~peter", "~peter" },
		{ "\xf0\x9f\x98\x80", "&2D3eAA-" },
		{ "\xc3\xa9&\xc3\xa9", "&AOk-&-&AOk-" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&b);
		assert_int_equal(mutf7_from_utf8(str_of(rows[i].utf8), &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].utf7);
		buf_reset(&b);
		assert_int_equal(mutf7_to_utf8(str_of(rows[i].utf7), &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].utf8);
		assert_true(mutf7_is_canonical(str_of(rows[i].utf7)));
	}
	assert_int_equal(mutf7_from_utf8(str_of("\xff"), &b), -1);
	buf_fini(&b);
}

static void only_a_part_more_is_below(void **state)
{
	(void)state;
	assert_true(mbname_is_below(STR("a.b"), STR("a")));
	assert_false(mbname_is_below(STR("ab"), STR("a")));
	assert_false(mbname_is_below(STR("a"), STR("a")));
	assert_false(mbname_is_below(STR("a."), STR("a")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_are_none_are_refused),
		cmocka_unit_test(names_have_one_directory),
		cmocka_unit_test(a_name_has_a_longest_length),
		cmocka_unit_test(utf7_goes_both_ways),
		cmocka_unit_test(only_a_part_more_is_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
