#include "mail_test.h"
#include "mail/charset.h"
#include "mail/encoded.h"

static struct arena *arena;

static void words_are_decoded(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		/* RFC 2047 8 */
		{ "=?ISO-8859-1?Q?a?=", "a" },
		{ "=?ISO-8859-1?Q?a?= b", "a b" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a?= \t =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a_b?=", "a b" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b" },
		{ "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>",
		    "Keith Moore <moore@cs.utk.edu>" },
		{ "=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>",
		    "Keld J\xc3\xb8rn Simonsen <keld@dkuug.dk>" },
		{ "=?ISO-8859-1?Q?Andr=E9?= Pirard <PIRARD@vm1.ulg.ac.be>",
		    "Andr\xc3\xa9 Pirard <PIRARD@vm1.ulg.ac.be>" },
		{ "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= "
		  "=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
		    "If you can read this you understand the example." },
		{ "Nathaniel Borenstein (=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?"
		  "=)", "Nathaniel Borenstein (\xd7\x9d\xd7\x95\xd7\x9c\xd7\xa9"
		  " \xd7\x9f\xd7\x91 \xd7\x99\xd7\x9c\xd7\x98\xd7\xa4\xd7\xa0"
		  ")" },
		/* RFC 2231 5 */
		{ "=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore" },
		/* a character cut in two, as many senders do */
		{ "=?utf-8?B?w?= =?utf-8?Q?x?=", "x" },
		{ "=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "\xc3\xa9" },
		/* words in and around text */
		{ "a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d" },
		{ "x=?utf-8?q?b?=", "xb" },
		/* no words */
		{ "=?utf-8?X?b?=", "=?utf-8?X?b?=" },
		{ "=?x-unknown?Q?b?=", "=?x-unknown?Q?b?=" },
		{ "=?utf-8?Q?b", "=?utf-8?Q?b" },
		{ "=?=?=?=?", "=?=?=?=?" },
		{ "a = b", "a = b" },
		{ "", "" },
		{ "=?utf-8?Q?" "?=", "" },
		{ "=?utf-8?Q?=4?=", "=4" },
		/* SMTP-170 */
		{ "=?utf-8?Q?=00=0D=0AEvil:?=", "   Evil:" },
		{ "caf\xe9", "caf\xef\xbf\xbd" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=",
		    "\xe6\x97\xa5\xe6\x9c\xac" },
		{ "=?gb2312?B?1tDOxA==?=", "\xe4\xb8\xad\xe6\x96\x87" },
		{ "=?koi8-r?B?8NLJ18XU?=",
		    "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
		{ "=?windows-1251?Q?=CF?=", "\xd0\x9f" },
		{ "=?shift_jis?B?k/qWew==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
		{ "=?euc-kr?B?x9G5zg==?=", "\xed\x95\x9c\xeb\xaf\xbc" },
		{ "=?big5?B?pKSk5Q==?=", "\xe4\xb8\xad\xe6\x96\x87" },
		{ "=?euc-jp?B?xvzL3A==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(mail_words_decode(str_of(rows[i].in), &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
	}
	buf_fini(&b);
}

static void encoded_words_read_back_and_stay_short(void **state)
{
	static const char text[] =
	    "a long line of text with one \xc3\xa9 and much more of it, "
	    "so that several words are needed to say it all";
	static const char japanese[] =
	    "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac"
	    "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac"
	    "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac"
	    "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac";
	static const char *const rows[] = {
		"plain", "", "J\xc3\xb8rn", "=?not a word", japanese, text,
		"a\r\nEvil: x",
	};
	struct buf b, c;

	(void)state;
	buf_init(&b, 1000);
	buf_init(&c, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str rest, line;

		buf_reset(&b);
		buf_reset(&c);
		assert_int_equal(mail_words_encode(str_of(rows[i]), &b), 0);
		rest = buf_str(&b);
		assert_true(str_is_ascii(rest));
		while (str_split(&rest, '\n', &line))
			assert_true(line.n <= 77);
		assert_int_equal(mail_words_decode(buf_str(&b), &c), 0);
		if (i != 6)
			assert_string_equal(buf_cstr(&c), rows[i]);
		else
			assert_string_equal(buf_cstr(&c), "a  Evil: x");
	}
	buf_fini(&b);
	buf_fini(&c);
}

static void parameters_are_read_and_joined(void **state)
{
	static const struct {
		const char *body, *value, *subtype, *name, *want;
	} rows[] = {
		{ "text/plain; charset=us-ascii (Plain text)", "text", "plain",
		    "charset", "us-ascii" },
		{ "text/plain; charset=\"us-ascii\"", "text", "plain",
		    "CHARSET", "us-ascii" },
		/* RFC 2231 3 and 4 */
		{ "message/external-body; access-type=URL;\r\n"
		  " URL*0=\"ftp://\";\r\n URL*1=\"cs.utk.edu/pub/x.tar\"",
		    "message", "external-body", "url",
		    "ftp://cs.utk.edu/pub/x.tar" },
		{ "application/x-stuff;\r\n"
		  " title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
		    "application", "x-stuff", "title", "This is ***fun***" },
		{ "application/x-stuff\r\n"
		  " ;title*0*=us-ascii'en'This%20is%20even%20more%20\r\n"
		  " ;title*1*=%2A%2A%2Afun%2A%2A%2A%20\r\n"
		  " ;title*2=\"isn't it!\"", "application", "x-stuff",
		    "title", "This is even more ***fun*** isn't it!" },
		{ "a/b; n*=iso-8859-1''caf%E9; n=plain", "a", "b", "n",
		    "caf\xc3\xa9" },
		{ "a/b; n*1=b; n*0=a; n*2=c; n*4=e", "a", "b", "n", "abc" },
		{ "a/b; n=\"=?utf-8?Q?caf=C3=A9?=\"", "a", "b", "n",
		    "caf\xc3\xa9" },
		{ "a/b; n=\"a\\\"b\r\n c\"", "a", "b", "n", "a\"b c" },
		{ "a/b; n=----=_Part/1:2; x=y", "a", "b", "n",
		    "----=_Part/1:2" },
		{ "a/b; x=\"un;terminated; n=1", "a", "b", "n", NULL },
		{ "a/b; x=\"q;uo\"; n=1", "a", "b", "n", "1" },
		{ "a/b; bad; =1; n = 2", "a", "b", "n", "2" },
		{ "a/b; n", "a", "b", "n", NULL },
		{ "a/b; n=", "a", "b", "n", "" },
		{ "a/b; n=\"\"", "a", "b", "n", "" },
		{ "a/b; n=\"", "a", "b", "n", "" },
		/* SMTP-181 */
		{ "text/plain; name*99999999999=x", "text", "plain", "name",
		    NULL },
		{ "a/b; n*00=x", "a", "b", "n", NULL },
		{ "a/b; n*=x", "a", "b", "n", "x" },
		{ "a/b; n*=utf-8''%0D%0A%00", "a", "b", "n", "   " },
		{ "text", "text", "", "n", NULL },
		{ "", "", "", "n", NULL },
		{ "/b", "", "b", "n", NULL },
		{ "(c) text (d) / (e) html (f) ; n=1", "text", "html", "n",
		    "1" },
		{ "((((((((((", "", "", "n", NULL },
	};
	struct mail_mime_params params;
	struct str value, subtype, got;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(mail_mime_value_parse(str_of(rows[i].body),
		    arena, &value, &subtype, &params), 0);
		assert_str(value, rows[i].value, rows[i].body);
		assert_str(subtype, rows[i].subtype, rows[i].body);
		got = mail_mime_param_get(&params, rows[i].name, true, arena);
		assert_str(got, rows[i].want, rows[i].body);
	}
}

static void parameters_have_a_limit(void **state)
{
	struct mail_mime_params params;
	struct str value, subtype;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	buf_append_c(&b, "text/plain; ");
	for (int i = 0; i < 100000; i++)		/* SMTP-180 */
		buf_append_c(&b, "a*0=b; ");
	assert_int_equal(mail_mime_value_parse(buf_str(&b), arena, &value,
	    &subtype, &params), 0);
	assert_int_equal(params.count, MAIL_MIME_PARAMS_MAX);
	assert_str(mail_mime_param_get(&params, "a", false, arena), "b", "a");
	assert_str(mail_mime_param_raw(&params, "a", arena), "b", "a");
	buf_fini(&b);
}

static void mailbox_names_go_both_ways(void **state)
{
	static const struct {
		const char *utf7, *utf8;	/* utf8 NULL: refused */
	} rows[] = {
		/* RFC 3501 5.1.3 */
		{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		    "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
		    "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
		{ "INBOX", "INBOX" }, { "", "" }, { "a&-b", "a&b" },
		{ "&AOk-", "\xc3\xa9" }, { "&AOkA6g-", "\xc3\xa9\xc3\xaa" },
		{ "&2D3eAA-", "\xf0\x9f\x98\x80" },
		{ "&AOk-&-", "\xc3\xa9&" },
		{ "&AGE-", NULL },		/* IMAP-028: US-ASCII */
		{ "&////", NULL },		/* IMAP-029 */
		{ "&AOk-&AOo-", NULL },		/* superfluous shift */
		{ "&AOl-", NULL },		/* odd bits */
		{ "&AOkA-", NULL }, { "&2D0-", NULL }, { "&3gA-", NULL },
		{ "&AOk", NULL }, { "&", NULL }, { "&AAo-", NULL },
		{ "&*-", NULL }, { "a\x01", NULL }, { "\xc3\xa9", NULL },
		{ "&Jjo!", NULL }, { "&U,BTFw-&ZeVnLIqe-", NULL },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 200);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		buf_append_c(&b, "x");
		if (mail_utf7_decode(str_of(rows[i].utf7), &b) !=
		    (rows[i].utf8 ? 0 : -1))
			fail_msg("%s", rows[i].utf7);
		assert_string_equal(buf_cstr(&b) + 1,
		    rows[i].utf8 ? rows[i].utf8 : "");
		if (rows[i].utf8 == NULL)
			continue;
		buf_reset(&b);
		assert_int_equal(mail_utf7_encode(str_of(rows[i].utf8), &b),
		    0);
		assert_string_equal(buf_cstr(&b), rows[i].utf7);
	}
	assert_int_equal(mail_utf7_encode(STR("\xff"), &b), -1);
	buf_fini(&b);
}

static void any_name_survives_the_round_trip(void **state)
{
	unsigned seed = 5;
	struct buf name, wire, back;

	(void)state;
	buf_init(&name, 200);
	buf_init(&wire, 1000);
	buf_init(&back, 200);
	for (int round = 0; round < 20000; round++) {
		buf_reset(&name);
		buf_reset(&wire);
		buf_reset(&back);
		for (int n = rand_r(&seed) % 12; n > 0; n--) {
			uint32_t code = (uint32_t)rand_r(&seed) %
			    (n % 3 == 0 ? 0x5f : n % 3 == 1 ? 0x3000 :
			    0x110000) + 0x20;

			if (code != 0x7f)
				mail_utf8_append(&name, code);
		}
		assert_int_equal(mail_utf7_encode(buf_str(&name), &wire), 0);
		assert_true(str_is_ascii(buf_str(&wire)));
		assert_int_equal(mail_utf7_decode(buf_str(&wire), &back), 0);
		assert_true(str_eq(buf_str(&name), buf_str(&back)));
	}
	buf_fini(&name);
	buf_fini(&wire);
	buf_fini(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_decoded),
		cmocka_unit_test(encoded_words_read_back_and_stay_short),
		cmocka_unit_test(parameters_are_read_and_joined),
		cmocka_unit_test(parameters_have_a_limit),
		cmocka_unit_test(mailbox_names_go_both_ways),
		cmocka_unit_test(any_name_survives_the_round_trip),
	};
	int failed;

	if (mail_charset_open_all() != 0)
		return 1;
	arena = arena_new(8 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
