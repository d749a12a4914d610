#include "mail_test.h"
#include "mail/charset.h"

static void every_promised_set_is_found(void **state)
{
	static const char *const names[] = {
		"us-ascii", "UTF-8", "iso-8859-1", "ISO-8859-2", "iso-8859-3",
		"iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7",
		"iso-8859-8", "iso-8859-9", "iso-8859-10", "iso-8859-11",
		"iso-8859-13", "iso-8859-14", "iso-8859-15", "windows-1250",
		"windows-1251", "windows-1252", "windows-1253",
		"windows-1254", "windows-1255", "windows-1256",
		"windows-1257", "windows-1258", "koi8-r", "koi8-u", "gb2312",
		"gbk", "gb18030", "big5", "iso-2022-jp", "euc-jp", "euc-kr",
		"shift_jis", "utf-16",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		if (mail_charset_find(str_of(names[i])) == NULL)
			fail_msg("%s", names[i]);
	assert_null(mail_charset_find(STR("X-EVIL")));
	assert_null(mail_charset_find(STR("")));
	assert_null(mail_charset_find(STR("utf-8\0")));
}

static void text_becomes_valid_utf8(void **state)
{
	static const struct {
		const char *charset;
		struct str in;
		const char *out;
	} rows[] = {
		{ "us-ascii", STR("a\x80z"), "a\xef\xbf\xbdz" },
		{ "iso-8859-1", STR("caf\xe9 \x80"),
		    "caf\xc3\xa9 \xe2\x82\xac" },
		{ "iso-8859-15", STR("\xa4"), "\xe2\x82\xac" },
		{ "windows-1251", STR("\xcf\xf0"), "\xd0\x9f\xd1\x80" },
		{ "windows-1253", STR("\xd2"), "\xef\xbf\xbd" },
		{ "utf-8", STR("a\xc3"), "a\xef\xbf\xbd" },
		{ "utf-8", STR("\xed\xa0\x80"),
		    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "utf-8", STR("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80" },
		{ "gb2312", STR("\xd6\xd0x\xff"),
		    "\xe4\xb8\xadx\xef\xbf\xbd" },
		{ "shift_jis", STR("\x93\xfa\x93"),
		    "\xe6\x97\xa5\xef\xbf\xbd" },
		{ "utf-16be", STR("\0a\x20\xac"), "a\xe2\x82\xac" },
		/* each text has its own order, whatever was before */
		{ "utf-16", STR("\xfe\xff\0a"), "a" },
		{ "utf-16", STR("\xff\xfe" "a\0"), "a" },
		{ "utf-16", STR("\xfe\xff\0a"), "a" },
		{ "utf-16", STR("\0a\0b"), "ab" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(mail_charset_to_utf8(mail_charset_find(
		    str_of(rows[i].charset)), rows[i].in, &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
		assert_true(str_is_utf8(buf_str(&b)));
	}
	buf_fini(&b);
}

static void a_character_cut_in_two_is_kept_back(void **state)
{
	static const struct {
		const char *charset, *in;
	} rows[] = {
		{ "utf-8", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z" },
		{ "gb2312", "a\xd6\xd0\xce\xc4z" },
		{ "shift_jis", "\x93\xfa\x96\x7bz" },
	};
	struct buf whole, pieces;

	(void)state;
	buf_init(&whole, 1000);
	buf_init(&pieces, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct mail_charset *c =
		    mail_charset_find(str_of(rows[i].charset));
		struct str in = str_of(rows[i].in);

		buf_reset(&whole);
		mail_charset_to_utf8(c, in, &whole);
		for (size_t cut = 0; cut <= in.n; cut++) {
			ssize_t used;

			buf_reset(&pieces);
			used = mail_charset_convert(c, str_n(in.p, cut), true,
			    &pieces);
			assert_true(used >= 0 && (size_t)used <= cut);
			mail_charset_to_utf8(c, str_from(in, (size_t)used),
			    &pieces);
			assert_string_equal(buf_cstr(&pieces),
			    buf_cstr(&whole));
		}
	}
	buf_fini(&whole);
	buf_fini(&pieces);
}

static void case_is_folded(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "Hello", "hello" },
		{ "\xc3\x89T\xc3\x89", "\xc3\xa9t\xc3\xa9" },
		{ "\xce\x91\xce\xa3\xcf\x82", "\xce\xb1\xcf\x83\xcf\x83" },
		{ "\xd0\x9f\xd0\xa0", "\xd0\xbf\xd1\x80" },
		{ "\xc4\x80\xc4\x81", "\xc4\x81\xc4\x81" },
		{ "\xef\xbc\xa1", "\xef\xbd\x81" },
		{ "\xf0\x90\x90\x80", "\xf0\x90\x90\xa8" },
		{ "\xff", "\xef\xbf\xbd" },
		{ "\xe6\x97\xa5", "\xe6\x97\xa5" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(mail_fold(str_of(rows[i].in), &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
	}
	for (uint32_t c = 0; c < 0x20000; c++)	/* folding once is enough */
		assert_int_equal(mail_fold_code(mail_fold_code(c)),
		    mail_fold_code(c));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_promised_set_is_found),
		cmocka_unit_test(text_becomes_valid_utf8),
		cmocka_unit_test(a_character_cut_in_two_is_kept_back),
		cmocka_unit_test(case_is_folded),
	};

	if (mail_charset_open_all() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
