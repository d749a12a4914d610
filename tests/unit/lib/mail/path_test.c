#include "mail_test.h"
#include "mail/path.h"

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16
#define D60 "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
#define D240 D60 D60 D60 D60

static struct arena *arena;

static void paths_are_read_to_their_octets(void **state)
{
	static const struct {
		const char *in;
		unsigned options;
		const char *local, *domain, *rest;
		unsigned flags;
	} rows[] = {
		{ "<user@local.test>", 0, "user", "local.test", "", 0 },
		{ "<USER@LOCAL.TEST> X=1", 0, "USER", "LOCAL.TEST", " X=1", 0 },
		/* SMTP-077: routes are dropped */
		{ "<@relay1.test,@relay2.test:user@local.test>", 0, "user",
		    "local.test", "", MAIL_PATH_ROUTE },
		/* SMTP-078, 079: no second meaning in a local-part */
		{ "<user%remote.test@local.test>", 0, "user%remote.test",
		    "local.test", "", 0 },
		{ "<remote.test!user@local.test>", 0, "remote.test!user",
		    "local.test", "", 0 },
		/* SMTP-081, 082, 084, 085 */
		{ "<\"user@remote.test\"@local.test>", 0, "user@remote.test",
		    "local.test", "", MAIL_PATH_QUOTED },
		{ "<\"user\"@local.test>", 0, "user", "local.test", "",
		    MAIL_PATH_QUOTED },
		{ "<\"a b\"@local.test>", 0, "a b", "local.test", "",
		    MAIL_PATH_QUOTED },
		{ "<\"a\\\\\"@local.test>", 0, "a\\", "local.test", "",
		    MAIL_PATH_QUOTED },
		{ "<\"a\\\"b>\"@local.test>", 0, "a\"b>", "local.test", "",
		    MAIL_PATH_QUOTED },
		/* SMTP-091: one trailing dot */
		{ "<user@local.test.>", 0, "user", "local.test", "", 0 },
		{ "<-oQ/tmp@local.test>", 0, "-oQ/tmp", "local.test", "", 0 },
		{ "<|/usr/bin/id@local.test>", 0, "|/usr/bin/id",
		    "local.test", "", 0 },
		{ "<~root@local.test>", 0, "~root", "local.test", "", 0 },
		/* SMTP-101, 103 */
		{ "<user@[127.0.0.1]>", 0, "user", "[127.0.0.1]", "",
		    MAIL_PATH_LITERAL4 },
		{ "<user@[IPv6:::ffff:127.0.0.1]>", 0, "user",
		    "[IPv6:::ffff:127.0.0.1]", "", MAIL_PATH_LITERAL6 },
		{ "<user@[ipv6:2001:db8::1]>", 0, "user",
		    "[ipv6:2001:db8::1]", "", MAIL_PATH_LITERAL6 },
		/* SMTP-130: RFC 5321 4.5.1 */
		{ "<postmaster>", 0, "postmaster", "", "",
		    MAIL_PATH_NO_DOMAIN },
		{ "<PostMaster>", 0, "PostMaster", "", "",
		    MAIL_PATH_NO_DOMAIN },
		{ "<\"postmaster\">", 0, "postmaster", "", "",
		    MAIL_PATH_NO_DOMAIN | MAIL_PATH_QUOTED },
		{ "<root>", MAIL_PATH_ANY_LOCAL, "root", "", "",
		    MAIL_PATH_NO_DOMAIN },
		{ "<>", MAIL_PATH_SENDER, "", "", "", MAIL_PATH_NULL },
		{ "<> SIZE=1", MAIL_PATH_SENDER, "", "", " SIZE=1",
		    MAIL_PATH_NULL },
		/* SMTP-096, 097: what is tolerated is asked for */
		{ "user@local.test SIZE=1", MAIL_PATH_BARE, "user",
		    "local.test", " SIZE=1", 0 },
		{ " <user@local.test>", MAIL_PATH_SPACE, "user", "local.test",
		    "", 0 },
		{ "<us\xc3\xa9r@b\xc3\xbc.test>", MAIL_PATH_SMTPUTF8,
		    "us\xc3\xa9r", "b\xc3\xbc.test", "", MAIL_PATH_UTF8 },
		{ "<\"us\xc3\xa9r x\"@a.test>", MAIL_PATH_SMTPUTF8,
		    "us\xc3\xa9r x", "a.test", "",
		    MAIL_PATH_UTF8 | MAIL_PATH_QUOTED },
		{ "<" A64 "@local.test>", 0, A64, "local.test", "", 0 },
		{ "<" A64 "b@local.test>", MAIL_PATH_LONG, A64 "b",
		    "local.test", "", 0 },
		{ "<u@my_host.test>", 0, "u", "my_host.test", "", 0 },
		{ "<u@localhost>", 0, "u", "localhost", "", 0 },
		{ "<a.b+c=d@x.test>>", 0, "a.b+c=d", "x.test", ">", 0 },
	};
	struct mail_refusal why;
	struct mail_path path;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str rest = str_of(rows[i].in);

		if (mail_path_parse(&rest, rows[i].options, arena, &path,
		    &why) == -1)
			fail_msg("%s: %d %s", rows[i].in, why.code, why.text);
		assert_str(path.local, rows[i].local, rows[i].in);
		assert_str(path.domain, rows[i].domain, rows[i].in);
		assert_str(rest, rows[i].rest, rows[i].in);
		if (path.flags != rows[i].flags)
			fail_msg("%s: flags %x", rows[i].in, path.flags);
	}
}

static void bad_paths_get_their_reply(void **state)
{
	static const struct {
		const char *in;
		unsigned options;
		int code;
		const char *status;
	} rows[] = {
		{ "<remote.test!user>", 0, 501, "5.1.3" },	/* 079 */
		{ "<user@remote.test@local.test>", 0, 501, "5.1.3" }, /* 080 */
		{ "<\"\"@local.test>", 0, 501, "5.1.3" },	/* 083 */
		{ "<\"a\\\"@local.test>", 0, 501, "5.1.3" },	/* 086 */
		{ "<user\\@local.test>", 0, 501, "5.1.3" },	/* 087 */
		{ "<.user@local.test>", 0, 501, "5.1.3" },	/* 088 */
		{ "<us..er@local.test>", 0, 501, "5.1.3" },	/* 089 */
		{ "<user.@local.test>", 0, 501, "5.1.3" },	/* 090 */
		{ "<user@local.test..>", 0, 501, "5.1.3" },
		{ "<user@.>", 0, 501, "5.1.3" },
		{ "<user@>", 0, 501, "5.1.3" },			/* 093 */
		{ "<@local.test>", 0, 501, "5.1.3" },		/* 094 */
		{ "<>", 0, 501, "5.1.3" },			/* 095 */
		{ "user@local.test", 0, 501, "5.5.4" },		/* 096 */
		{ " <user@local.test>", 0, 501, "5.5.4" },	/* 097 */
		{ "", MAIL_PATH_BARE, 501, "5.5.4" },
		{ "<user@local.test", 0, 501, "5.1.3" },	/* 098 */
		{ "<", 0, 501, "5.1.3" },
		{ "<\"", 0, 501, "5.1.3" },
		{ "<\"\\", 0, 501, "5.1.3" },
		{ "<@", 0, 501, "5.1.3" },
		{ "<@a.test,b:x@y.test>", 0, 501, "5.1.3" },
		{ "<user@[999.999.999.999]>", 0, 501, "5.1.3" }, /* 102 */
		{ "<user@[IPv6:1:2]>", 0, 501, "5.1.3" },
		{ "<user@[x400:1]>", 0, 501, "5.1.3" },
		{ "<user@[1.2.3.4>", 0, 501, "5.1.3" },
		{ "<user@127.0.0.1>", 0, 501, "5.1.3" },	/* 104 */
		{ "<" A64 "b@local.test>", 0, 501, "5.1.3" },	/* 105 */
		{ "<" A64 A64 A64 A64 "@local.test>", MAIL_PATH_LONG, 501,
		    "5.1.3" },					/* 106 */
		{ "<user@" A64 ".test>", 0, 501, "5.1.3" },	/* 107 */
		{ "<user@" D240 D60 "test>", MAIL_PATH_LONG, 501, "5.1.3" },
		{ "<" A64 "@" D240 "test>", 0, 501, "5.1.3" },
		{ "<user@-local.test>", 0, 501, "5.1.3" },	/* 109 */
		{ "<user@local-.test>", 0, 501, "5.1.3" },
		{ "<;touch /tmp/pwn;@local.test>", 0, 501, "5.1.3" }, /* 115 */
		{ "<us\xc3\xa9r@local.test>", 0, 553, "5.6.7" }, /* 118 */
		{ "<user@\xd0\xbbocal.test>", 0, 553, "5.6.7" }, /* 122 */
		{ "<us\xffr@local.test>", 0, 501, "5.1.3" },	/* 119 */
		{ "<us\xffr@local.test>", MAIL_PATH_SMTPUTF8, 501, "5.1.3" },
		{ "<user\xef\xbc\xa0local.test>", MAIL_PATH_SMTPUTF8, 501,
		    "5.1.3" },					/* 120 */
		{ "<user@local\xe3\x80\x82test>", MAIL_PATH_SMTPUTF8, 501,
		    "5.1.3" },					/* 121 */
		{ "<us\xc0\xafr@local.test>", MAIL_PATH_SMTPUTF8, 501,
		    "5.1.3" },					/* 123 */
		{ "<u\xe2\x80\xaeser@local.test>", MAIL_PATH_SMTPUTF8, 501,
		    "5.1.3" },					/* 124 */
		{ "<u\xc2\x85ser@local.test>", MAIL_PATH_SMTPUTF8, 501,
		    "5.1.3" },
		{ "<a\tb@local.test>", 0, 501, "5.1.3" },
		{ "<\"a\tb\"@local.test>", 0, 501, "5.1.3" },
		{ "<a b@local.test>", 0, 501, "5.1.3" },
		{ "<;sleep 66;>", MAIL_PATH_SENDER, 501, "5.1.7" }, /* 131 */
		{ "<MAILER-DAEMON>", MAIL_PATH_SENDER, 501, "5.1.7" },
		{ "<postmaster>", MAIL_PATH_SENDER, 501, "5.1.7" },
		{ "a@b.test", MAIL_PATH_SENDER, 501, "5.5.4" },
	};
	char status[MAIL_STATUS_SIZE];
	struct mail_refusal why;
	struct mail_path path;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str rest = str_of(rows[i].in), was = rest;

		if (mail_path_parse(&rest, rows[i].options, arena, &path,
		    &why) == 0)
			fail_msg("%s was accepted", rows[i].in);
		assert_int_equal(why.code, rows[i].code);
		if (strcmp(mail_status_print(why.status, status),
		    rows[i].status) != 0)
			fail_msg("%s: %s", rows[i].in, status);
		assert_ptr_equal(rest.p, was.p);
	}
}

static void nul_never_passes(void **state)
{
	static const struct str rows[] = {
		STR("<a\0b@local.test>"), STR("<\"a\0b\"@local.test>"),
		STR("<\"a\\\0b\"@local.test>"), STR("<a@lo\0cal.test>"),
		STR("<a@[1.2.3.4\0]>"),
	};
	struct mail_refusal why;
	struct mail_path path;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str rest = rows[i];

		assert_int_equal(mail_path_parse(&rest,
		    MAIL_PATH_SMTPUTF8 | MAIL_PATH_LONG, arena, &path, &why),
		    -1);
	}
}

static void what_is_printed_reads_back_to_the_same_octets(void **state)
{
	struct mail_refusal why;
	struct mail_path path;
	struct buf b;
	unsigned seed = 7;

	(void)state;
	buf_init(&b, 4096);
	for (int round = 0; round < 20000; round++) {
		char local[24];
		size_t n = 1 + (size_t)(rand_r(&seed) % 20);
		struct str rest, dom = round & 1 ? STR("x.test") :
		    STR("[1.2.3.4]");

		for (size_t i = 0; i < n; i++)
			local[i] = (char)(rand_r(&seed) % 4 ?
			    32 + rand_r(&seed) % 95 :
			    " .\"\\@<>a"[rand_r(&seed) % 8]);
		buf_reset(&b);
		assert_int_equal(mail_path_append_angle(&b, str_n(local, n),
		    dom), 0);
		rest = buf_str(&b);
		if (mail_path_parse(&rest, 0, arena, &path, &why) == -1)
			fail_msg("%s", buf_cstr(&b));
		assert_true(str_eq(path.local, str_n(local, n)));
		assert_true(str_eq(path.domain, dom));
		assert_int_equal(rest.n, 0);
		rest = str_n(b.p + 1, b.n - 2);
		assert_int_equal(mail_path_parse_mailbox(rest, 0, arena, &path,
		    &why), 0);
		assert_true(str_eq(path.local, str_n(local, n)));
		arena_reset(arena);
	}
	buf_fini(&b);
}

static void an_unquoted_address_is_split_at_its_last_at(void **state)
{
	struct str local, domain;

	(void)state;
	mail_path_split(STR("a@b@c.test"), &local, &domain);
	assert_str(local, "a@b", "split");
	assert_str(domain, "c.test", "split");
	mail_path_split(STR("root"), &local, &domain);
	assert_str(local, "root", "split");
	assert_int_equal(domain.n, 0);
}

static void parameters_are_read_or_refused(void **state)
{
	static const struct {
		const char *in;
		int code;	/* 0: accepted */
		unsigned count;
	} rows[] = {
		{ "", 0, 0 },
		{ " ", 0, 0 },
		{ " SIZE=100 BODY=8BITMIME SMTPUTF8", 0, 3 },
		{ " ORCPT=rfc822;a+3Db@x.test", 0, 1 },
		{ "SIZE=1", 501, 0 },				/* 142 */
		{ ">", 501, 0 },				/* 099 */
		{ " <evil@x.test>", 501, 0 },			/* 100 */
		{ " SIZE=1 SIZE=2", 501, 0 },			/* 135 */
		{ " RET=FULL ret=HDRS", 501, 0 },		/* 137 */
		{ " SIZE=", 501, 0 },
		{ " =x", 501, 0 },
		{ " -X=1", 501, 0 },
		{ " A=b=c", 501, 0 },
		{ " A=\x01", 501, 0 },
		{ " A=\xc3\xa9", 501, 0 },
		{ " A1=1 A2=1 A3=1 A4=1 A5=1 A6=1 A7=1 A8=1 A9=1 AA=1 AB=1"
		  " AC=1 AD=1 AE=1 AF=1 AG=1 AH=1 AI=1 AJ=1 AK=1 AL=1", 555,
		    0 },
	};
	const struct mail_param *p;
	struct mail_params params;
	struct mail_refusal why;
	char many[3000] = "";

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int r = mail_params_parse(str_of(rows[i].in), false, &params,
		    &why);

		if (r != (rows[i].code ? -1 : 0))
			fail_msg("%s", rows[i].in);
		if (r == -1)
			assert_int_equal(why.code, rows[i].code);
		else
			assert_int_equal(params.count, rows[i].count);
	}
	for (int i = 0; i < 500; i++)				/* 129 */
		memcpy(many + i * 4, " X=Y", 5);
	assert_int_equal(mail_params_parse(str_of(many), false, &params,
	    &why), -1);
	assert_int_equal(why.code, 555);
	assert_int_equal(mail_params_parse(STR(" size=12 SMTPUTF8"), false,
	    &params, &why), 0);
	p = mail_params_find(&params, "SIZE");
	assert_non_null(p);
	assert_str(p->value, "12", "SIZE");
	p = mail_params_find(&params, "SMTPUTF8");
	assert_non_null(p);
	assert_null(p->value.p);
	assert_null(mail_params_find(&params, "BODY"));
}

static void xtext_goes_both_ways_and_lets_no_control_through(void **state)
{
	static const struct {
		const char *in, *out;	/* out NULL: refused */
	} rows[] = {
		{ "a+3Db", "a=b" }, { "+2B", "+" }, { "a+20b", "a b" },
		{ "", "" }, { "plain;x@y", "plain;x@y" },
		{ "a+0D+0AX", NULL }, { "a+00b", NULL }, { "+7F", NULL },
		{ "+", NULL }, { "+3", NULL }, { "+3d", NULL }, { "a b", NULL },
		{ "a=b", NULL }, { "+E9", NULL }, { "\xe9", NULL },
	};
	char all[96];
	struct buf b, c;

	(void)state;
	buf_init(&b, 1000);
	buf_init(&c, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		buf_append_c(&b, "kept");
		assert_int_equal(mail_xtext_decode(str_of(rows[i].in), &b),
		    rows[i].out ? 0 : -1);
		assert_str(str_from(buf_str(&b), 4),
		    rows[i].out ? rows[i].out : "", rows[i].in);
	}
	for (int i = 0; i < 95; i++)
		all[i] = (char)(32 + i);
	buf_reset(&b);
	assert_int_equal(mail_xtext_encode(str_n(all, 95), &b), 0);
	assert_int_equal(str_chr(buf_str(&b), ' '), -1);
	assert_int_equal(mail_xtext_decode(buf_str(&b), &c), 0);
	assert_true(str_eq(buf_str(&c), str_n(all, 95)));
	buf_fini(&b);
	buf_fini(&c);
}

static void original_recipients_are_typed(void **state)
{
	struct str type, address;

	(void)state;
	assert_int_equal(mail_orcpt_parse(STR("rfc822;a+3Db@x.test"), false,
	    arena, &type, &address), 0);
	assert_str(type, "rfc822", "type");
	assert_str(address, "a=b@x.test", "address");
	assert_int_equal(mail_orcpt_parse(
	    STR("utf-8;us\\x{E9}r@x.test"), true, arena, &type, &address), 0);
	assert_str(address, "us\xc3\xa9r@x.test", "address");
	assert_int_equal(mail_orcpt_parse(STR("utf-8;\\x{1F600}"), true,
	    arena, &type, &address), 0);
	assert_str(address, "\xf0\x9f\x98\x80", "address");
	/* 126, 127 */
	assert_int_equal(mail_orcpt_parse(STR("rfc822;a+0D+0AX-Evil:+20x"),
	    false, arena, &type, &address), -1);
	assert_int_equal(mail_orcpt_parse(STR("rfc822;a+00b"), false, arena,
	    &type, &address), -1);
	assert_int_equal(mail_orcpt_parse(STR("utf-8;a\\x{A}b"), true, arena,
	    &type, &address), -1);
	assert_int_equal(mail_orcpt_parse(STR("a@x.test"), false, arena,
	    &type, &address), -1);
	assert_int_equal(mail_orcpt_parse(STR(";a@x.test"), false, arena,
	    &type, &address), -1);
}

static void a_full_arena_is_a_temporary_refusal(void **state)
{
	struct arena *small = arena_new(0);
	struct str rest = STR("<user@local.test>");
	struct mail_refusal why;
	struct mail_path path;

	(void)state;
	if (small == NULL)
		skip();
	assert_int_equal(mail_path_parse(&rest, 0, small, &path, &why), -1);
	assert_int_equal(why.code, 452);
	arena_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_read_to_their_octets),
		cmocka_unit_test(bad_paths_get_their_reply),
		cmocka_unit_test(nul_never_passes),
		cmocka_unit_test(what_is_printed_reads_back_to_the_same_octets),
		cmocka_unit_test(an_unquoted_address_is_split_at_its_last_at),
		cmocka_unit_test(parameters_are_read_or_refused),
		cmocka_unit_test(
		    xtext_goes_both_ways_and_lets_no_control_through),
		cmocka_unit_test(original_recipients_are_typed),
		cmocka_unit_test(a_full_arena_is_a_temporary_refusal),
	};
	int failed;

	arena = arena_new(1 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
