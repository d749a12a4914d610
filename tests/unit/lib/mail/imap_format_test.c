#include "mail_test.h"
#include "mail/charset.h"
#include "mail/imap_format.h"

static struct arena *arena;

static void strings_are_quoted_or_literal(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} rows[] = {
		{ { NULL, 0 }, "NIL" }, { STR(""), "\"\"" },
		{ STR("a b"), "\"a b\"" }, { STR("a\"\\"), "\"a\\\"\\\\\"" },
		{ STR("caf\xc3\xa9"), "{5}\r\ncaf\xc3\xa9" },
		{ STR("a\r\nb"), "{4}\r\na\r\nb" },
		{ STR("a\0b"), "\"a?b\"" },
		{ STR("\xff\0"), "{2}\r\n\xff?" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(imap_format_nstring(&b, rows[i].in), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
	}
	buf_fini(&b);
}

static void envelopes_are_written(void **state)
{
	static const struct {
		const char *message, *out;
	} rows[] = {
		/* RFC 3501 8 */
		{ "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
		  "From: Terry Gray <gray@cac.washington.edu>\r\n"
		  "Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
		  "To: imap@cac.washington.edu\r\n"
		  "cc: minutes@CNRI.Reston.VA.US, John Klensin "
		  "<KLENSIN@MIT.EDU>\r\n"
		  "Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
		  "MIME-Version: 1.0\r\n"
		  "Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n",
		  "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" "
		  "\"IMAP4rev1 WG mtg summary and minutes\" "
		  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		  "((NIL NIL \"imap\" \"cac.washington.edu\")) "
		  "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")"
		  "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
		  "\"<B27397-0100000@cac.washington.edu>\")" },
		{ "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "Subject:\nFrom: a@b\nSender: \nReply-To: c@d\n\n",
		  "(NIL \"\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
		  "((NIL NIL \"c\" \"d\")) NIL NIL NIL NIL NIL)" },
		{ "To: A Group:Ed <c@a.test>,j@w.test;\nCc: hidden:;\n\n",
		  "(NIL NIL NIL NIL NIL ((NIL NIL \"A Group\" NIL)"
		  "(\"Ed\" NIL \"c\" \"a.test\")(NIL NIL \"j\" \"w.test\")"
		  "(NIL NIL NIL NIL)) ((NIL NIL \"hidden\" NIL)"
		  "(NIL NIL NIL NIL)) NIL NIL NIL)" },
		{ "To: <@a,@b:c@d>, root\nTo: \"x y\"@z\n\n",
		  "(NIL NIL NIL NIL NIL ((NIL \"@a,@b\" \"c\" \"d\")"
		  "(NIL NIL \"root\" \"\")(NIL NIL \"x y\" \"z\")) NIL NIL "
		  "NIL NIL)" },
		{ "Subject: =?utf-8?Q?caf=C3=A9?=\r\n a\n\n",
		  "(NIL \"=?utf-8?Q?caf=C3=A9?= a\" NIL NIL NIL NIL NIL NIL "
		  "NIL NIL)" },
		{ "Subject: caf\xe9\nSubject: second\n\n",
		  "(NIL {4}\r\ncaf\xe9 NIL NIL NIL NIL NIL NIL NIL NIL)" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(imap_format_envelope(
		    str_of(rows[i].message), &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
	}
	buf_fini(&b);
	buf_init(&b, 10);
	assert_int_equal(imap_format_envelope(str_of(rows[0].message), &b),
	    -1);
	buf_fini(&b);
}

static void structures_are_written(void **state)
{
	static const struct {
		const char *message, *out;
		bool extended;
	} rows[] = {
		{ "Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\na\nb\n",
		  "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL "
		  "\"7bit\" 6 2)", false },
		{ "A: b\n\nx", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") "
		  "NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)", true },
		{ "Content-Type: application/pdf; name=a.pdf\n"
		  "Content-Transfer-Encoding: base64\nContent-ID: <i@x>\n"
		  "Content-Description: d\nContent-MD5: m\n"
		  "Content-Disposition: attachment; filename=\"a b.pdf\"\n"
		  "Content-Language: en, de (x)\nContent-Location: u\n\n"
		  "AAAA\n",
		  "(\"application\" \"pdf\" (\"name\" \"a.pdf\") \"<i@x>\" "
		  "\"d\" \"base64\" 6 \"m\" (\"attachment\" (\"filename\" "
		  "\"a b.pdf\")) (\"en\" \"de\") \"u\")", true },
		/* RFC 3501 7.4.2's shape */
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n"
		  "--b\nContent-Type: text/html; format=x\n"
		  "Content-Disposition: inline\n\n2\n3\n--b--\n",
		  "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL "
		  "\"7bit\" 1 0)(\"text\" \"html\" (\"format\" \"x\" "
		  "\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1) \"mixed\")",
		  false },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
		  "Content-Disposition: inline\n\n1\n--b--\n",
		  "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL "
		  "\"7bit\" 1 0 NIL (\"inline\" NIL) NIL NIL) \"mixed\" "
		  "(\"boundary\" \"b\") NIL NIL NIL)", true },
		{ "Content-Type: multipart/mixed; boundary=b\n\nx\n",
		  "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL "
		  "\"7bit\" 0 0) \"mixed\")", false },
		{ "Content-Type: message/rfc822\n\nSubject: in\n\nx\ny\n",
		  "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL "
		  "\"in\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" "
		  "\"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 2)"
		  " 4)", false },
		/* RFC 3501 section 9: media-message is MESSAGE/RFC822 */
		{ "Content-Type: multipart/x; boundary=b\n\n--b\n"
		  "Content-Type: message/global\n\nSubject: in\n\nx\n"
		  "--b\n\n2\n--b--\n",
		  "((\"message\" \"global\" NIL NIL NIL \"7bit\" 16)"
		  "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL "
		  "\"7bit\" 1 0) \"x\")", false },
		/* RFC 2231 6 */
		{ "Content-Type: image/gif; name*0=a; name*1=b; t*0*=utf-8''"
		  "%C3; t*1*=%A9; t*2=\"x y\"\n\n",
		  "(\"image\" \"gif\" (\"name\" \"ab\" \"t*\" "
		  "\"utf-8''%C3%A9x%20y\") NIL NIL \"7bit\" 0)", false },
	};
	struct mime m;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(mime_parse(str_of(rows[i].message), arena,
		    &m), 0);
		assert_int_equal(imap_format_bodystructure(&m,
		    rows[i].extended, &b), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
	}
	buf_fini(&b);
}

static const struct str sample = STR(
    "From: a@b\nTo: c@d\nSubject: s\nX-Long: 1\n 2\n"
    "Content-Type: multipart/mixed; boundary=a\n\n"
    "--a\nContent-ID: <1>\n\none\ntwo\n"
    "--a\nContent-Type: message/rfc822\nContent-ID: <2>\n\n"
    "Subject: in\nTo: x\n\ninner\n--a--\n");

static void sections_are_read_and_answered(void **state)
{
	static const struct {
		const char *section, *octets;	/* NULL: BAD; "-": NIL */
		const char *printed;		/* NULL: as given */
	} rows[] = {
		{ "HEADER.FIELDS (TO FROM)", "From: a@b\r\nTo: c@d\r\n\r\n",
		    NULL },
		{ "header.fields (\"Subject\" X-Long)",
		    "Subject: s\r\nX-Long: 1\r\n 2\r\n\r\n",
		    "HEADER.FIELDS (Subject X-Long)" },
		{ "HEADER.FIELDS.NOT (From X-Long Content-Type)",
		    "To: c@d\r\nSubject: s\r\n\r\n", NULL },
		{ "HEADER.FIELDS (None)", "\r\n", NULL },
		{ "HEADER", "From: a@b\r\nTo: c@d\r\nSubject: s\r\n"
		  "X-Long: 1\r\n 2\r\nContent-Type: multipart/mixed; "
		  "boundary=a\r\n\r\n", NULL },
		{ "1", "one\r\ntwo", NULL },
		{ "1.MIME", "Content-ID: <1>\r\n\r\n", NULL },
		{ "2.HEADER", "Subject: in\r\nTo: x\r\n\r\n", NULL },
		{ "2.TEXT", "inner", NULL },
		{ "2.1", "inner", NULL },
		{ "2.1.MIME", "Subject: in\r\nTo: x\r\n\r\n", NULL },
		{ "2", "Subject: in\r\nTo: x\r\n\r\ninner", NULL },
		{ "2.HEADER.FIELDS (To)", "To: x\r\n\r\n", NULL },
		{ "2.mime", "Content-Type: message/rfc822\r\n"
		  "Content-ID: <2>\r\n\r\n", "2.MIME" },
		{ "3", "-", NULL }, { "1.HEADER", "-", NULL },
		{ "1.TEXT", "-", NULL }, { "1.1", "-", NULL },
		{ "MIME", NULL, NULL }, { "0", NULL, NULL },
		{ "1.", NULL, NULL }, { "1.0", NULL, NULL },
		{ "01", NULL, NULL }, { ".1", NULL, NULL },
		{ "4294967296", NULL, NULL }, { "HEADER.FIELDS", NULL, NULL },
		{ "HEADER.FIELDS ()", NULL, NULL },
		{ "HEADER.FIELDS (a", NULL, NULL },
		{ "HEADER.FIELDS (a) x", NULL, NULL },
		{ "HEADER.FIELDS (\"a)", NULL, NULL },
		{ "TEXT ", NULL, NULL }, { "FOO", NULL, NULL },
	};
	struct imap_section section;
	struct imap_ranges ranges;
	struct imap_ranges_reader reader;
	struct mime m;
	struct buf b;
	char deep[5000] = "";

	(void)state;
	buf_init(&b, 10000);
	assert_int_equal(mime_parse(sample, arena, &m), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		int r = imap_section_parse(str_of(rows[i].section), arena,
		    &section);

		if (r != (rows[i].octets ? 0 : -1))
			fail_msg("%s", rows[i].section);
		if (r == -1)
			continue;
		buf_reset(&b);
		imap_section_append(&section, &b);
		assert_string_equal(buf_cstr(&b), rows[i].printed ?
		    rows[i].printed : rows[i].section);
		assert_int_equal(imap_section_find(&m, &section, arena,
		    &ranges), 0);
		if (strcmp(rows[i].octets, "-") == 0) {
			assert_false(ranges.exists);
			continue;
		}
		assert_true(ranges.exists);
		buf_reset(&b);
		imap_ranges_reader_init(&reader, &ranges, 0, UINT64_MAX);
		assert_int_equal(imap_ranges_read(&reader, 10000, &b), 1);
		assert_string_equal(buf_cstr(&b), rows[i].octets);
		assert_int_equal(ranges.size, b.n);
	}
	for (int i = 0; i < 1000; i++)			/* IMAP-045 */
		memcpy(deep + 2 * i, "1.", 3);
	memcpy(deep + 2000, "TEXT", 5);
	assert_int_equal(imap_section_parse(str_of(deep), arena, &section),
	    -1);
	buf_fini(&b);
}

static void partials_are_slices(void **state)
{
	struct imap_section section;
	struct imap_ranges ranges, simple;
	struct mime m;
	struct buf whole, got;
	unsigned seed = 37;

	(void)state;
	buf_init(&whole, 10000);
	buf_init(&got, 10000);
	assert_int_equal(mime_parse(sample, arena, &m), 0);
	assert_int_equal(imap_section_parse(STR("HEADER.FIELDS.NOT (To)"),
	    arena, &section), 0);
	for (int round = 0; round < 5000; round++) {
		struct imap_ranges_reader r;
		uint64_t from = (uint64_t)(rand_r(&seed) % 200);
		uint64_t n = (uint64_t)(rand_r(&seed) % 200);

		if (round == 2500)
			section.kind = IMAP_SECTION_ALL;
		if (round == 0 || round == 2500) {
			assert_int_equal(imap_section_find(&m, &section,
			    arena, &ranges), 0);
			assert_int_equal(imap_section_find_simple(sample,
			    &section, arena, &simple), 0);
			assert_int_equal(ranges.size, simple.size);
			buf_reset(&whole);
			imap_ranges_reader_init(&r, &ranges, 0, UINT64_MAX);
			assert_int_equal(imap_ranges_read(&r, 10000, &whole),
			    1);
			assert_int_equal(whole.n, ranges.size);
		}
		buf_reset(&got);
		imap_ranges_reader_init(&r, &simple, from, n);
		while (imap_ranges_read(&r, 1 + (size_t)rand_r(&seed) % 50,
		    &got) == 0)
			;
		assert_true(str_eq(buf_str(&got), str_sub(buf_str(&whole),
		    (size_t)from, (size_t)n)));
		assert_int_equal(got.n, imap_ranges_partial_size(&ranges,
		    from, n));
	}
	/* IMAP-046 */
	assert_int_equal(imap_ranges_partial_size(&ranges, UINT64_MAX,
	    UINT64_MAX), 0);
	buf_fini(&whole);
	buf_fini(&got);
}

static void base_subjects_are_found(void **state)
{
	static const struct {
		const char *in, *out;
		bool reply;
	} rows[] = {
		{ "Hello World", "hello world", false },
		{ "Re: hello", "hello", true },
		{ "RE : Re[2]: FW: FWD: x", "x", true },
		{ "re: [list] re: hello (fwd) (fwd)", "hello", true },
		{ "[list] hello", "hello", false },
		{ "[list]", "[list]", false },
		{ "[a] [b]", "[b]", false },
		{ "[Fwd: [x] re: hello]", "hello", true },
		{ "a  \t b", "a b", false },
		{ "=?utf-8?Q?Re:_=C3=89t=C3=A9?=", "\xc3\xa9t\xc3\xa9", true },
		{ "regards", "regards", false },
		{ "", "", false }, { "Re:", "", true },
	};
	struct buf b;
	bool reply;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		assert_int_equal(imap_base_subject(str_of(rows[i].in), &b,
		    &reply), 0);
		assert_string_equal(buf_cstr(&b), rows[i].out);
		assert_int_equal(reply, rows[i].reply);
	}
	buf_fini(&b);
}

/* Parentheses balance outside strings, and literals are as long as said. */
static bool is_sound(struct str s)
{
	size_t i = 0, n;
	int depth = 0;

	while (i < s.n) {
		char c = s.p[i++];

		if (c == '(')
			depth++;
		else if (c == ')' && --depth < 0)
			return false;
		if (c == '"') {
			for (; i < s.n && s.p[i] != '"'; i++)
				if (s.p[i] == '\\')
					i++;
			if (i++ >= s.n)
				return false;
		} else if (c == '{') {
			for (n = 0; i < s.n && ascii_is_digit(s.p[i]); i++)
				n = n * 10 + (size_t)(s.p[i] - '0');
			if (!str_starts(str_from(s, i), STR("}\r\n")))
				return false;
			i += 3 + n;
		} else if (c == '\r' || c == '\n' || (unsigned char)c > 127) {
			return false;
		}
	}
	return depth == 0;
}

static void any_message_gives_sound_answers(void **state)
{
	unsigned seed = 41;
	struct buf b, out;

	(void)state;
	buf_init(&b, 10000);
	buf_init(&out, 1 << 20);
	for (int round = 0; round < 30000; round++) {
		static const char *const pieces[] = {
			"From: ", "To: ", "Subject: ", "a@b", "\"", "\\",
			"<", ">", ":", ";", "(", ")", "\n", "\n\n", "\r\n",
			"--b", "--b--", "\xe9", "=?utf-8?q?a?=", "x", " ",
			"Content-Type: multipart/mixed; boundary=b\n",
			"Content-Type: message/rfc822\n",
			"Content-Disposition: a; b=\"c", "{3}", "Content-ID:",
		};
		struct mime m;

		buf_reset(&b);
		for (int n = rand_r(&seed) % 30; n > 0; n--)
			buf_append_c(&b, pieces[(unsigned)rand_r(&seed) %
			    COUNT(pieces)]);
		if (rand_r(&seed) % 3 == 0)
			buf_append_n(&b, "\0", 1);
		buf_reset(&out);
		assert_int_equal(imap_format_envelope(buf_str(&b), &out), 0);
		assert_true(is_sound(buf_str(&out)));
		assert_false(str_has_nul(buf_str(&out)));
		assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
		for (int extended = 0; extended < 2; extended++) {
			buf_reset(&out);
			assert_int_equal(imap_format_bodystructure(&m,
			    extended, &out), 0);
			assert_true(is_sound(buf_str(&out)));
		}
		arena_reset(arena);
	}
	buf_fini(&b);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_are_quoted_or_literal),
		cmocka_unit_test(envelopes_are_written),
		cmocka_unit_test(structures_are_written),
		cmocka_unit_test(sections_are_read_and_answered),
		cmocka_unit_test(partials_are_slices),
		cmocka_unit_test(base_subjects_are_found),
		cmocka_unit_test(any_message_gives_sound_answers),
	};
	int failed;

	arena = arena_new(16 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
