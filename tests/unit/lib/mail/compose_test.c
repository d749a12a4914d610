#include "mail_test.h"
#include "mail/compose.h"
#include "mail/header.h"

static void received_fields_say_how_it_came(void **state)
{
	struct mail_received r = {
		.helo = STR("client.test"), .client_name = STR("a.test"),
		.client_address = STR("192.0.2.1"), .by = STR("mx.test"),
		.by_comment = STR("Postern"), .esmtp = true,
		.id = STR("4F2A"), .rcpt_local = STR("a b"),
		.rcpt_domain = STR("mx.test"), .time = 1795635897,
	};
	struct buf b;

	(void)state;
	buf_init(&b, 2000);
	assert_int_equal(mail_received_append(&b, &r, "\r\n"), 0);
	assert_string_equal(buf_cstr(&b),
	    "Received: from client.test (a.test [192.0.2.1])\r\n"
	    "\tby mx.test (Postern) with ESMTP id 4F2A\r\n"
	    "\tfor <\"a b\"@mx.test>; Wed, 25 Nov 2026 19:44:57 +0000\r\n");
	r.with_tls = r.with_auth = true;
	r.tls = STR("using TLSv1.3");
	r.login = STR("u)\r\nX: y");
	r.client_name = STR_NONE;
	r.client_address = STR("2001:db8::1");
	r.helo = STR("evil (\r\nX: y");
	r.rcpt_local = STR("\xc3\xa9");
	buf_reset(&b);
	assert_int_equal(mail_received_append(&b, &r, "\n"), 0);
	assert_string_equal(buf_cstr(&b),
	    "Received: from evil????X:?y (unknown [IPv6:2001:db8::1])\n"
	    "\t(using TLSv1.3)\n"
	    "\t(Authenticated sender: u???X: y)\n"
	    "\tby mx.test (Postern) with ESMTPSA id 4F2A; "
	    "Wed, 25 Nov 2026 19:44:57 +0000\n");
	r = (struct mail_received){ .protocol = MAIL_PROTOCOL_LOCAL,
	    .by = STR("mx.test"), .by_comment = STR("Postern"), .uid = 1000,
	    .id = STR("4F2A"), .time = 0 };
	buf_reset(&b);
	assert_int_equal(mail_received_append(&b, &r, "\n"), 0);
	assert_string_equal(buf_cstr(&b),
	    "Received: by mx.test (Postern, from userid 1000)\n"
	    "\tid 4F2A; Thu, 1 Jan 1970 00:00:00 +0000\n");
	buf_fini(&b);
}

static void with_names_the_protocol(void **state)
{
	static const struct {
		struct mail_received r;
		const char *with;
	} rows[] = {
		{ { .esmtp = false }, "SMTP" },
		{ { .esmtp = true }, "ESMTP" },
		{ { .esmtp = true, .with_auth = true }, "ESMTPA" },
		{ { .esmtp = true, .with_tls = true }, "ESMTPS" },
		{ { .protocol = MAIL_PROTOCOL_LMTP }, "LMTP" },
		{ { .protocol = MAIL_PROTOCOL_LMTP, .with_tls = true,
		    .with_auth = true }, "LMTPSA" },
		{ { .esmtp = true, .with_utf8 = true, .with_tls = true },
		    "UTF8SMTPS" },
		{ { .protocol = MAIL_PROTOCOL_LMTP, .with_utf8 = true },
		    "UTF8LMTP" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(mail_received_with(&rows[i].r),
		    rows[i].with);
}

static void message_ids_are_unique_and_clean(void **state)
{
	struct buf a, b;
	struct str rest;

	(void)state;
	buf_init(&a, 200);
	buf_init(&b, 200);
	assert_int_equal(mail_msgid_append(&a, 1, STR(""), STR("x.test")), 0);
	assert_int_equal(mail_msgid_append(&b, 1, STR(""), STR("x.test")), 0);
	assert_false(str_eq(buf_str(&a), buf_str(&b)));
	rest = buf_str(&a);
	assert_int_equal(mail_msgid_next(&rest).n, a.n);
	buf_reset(&a);
	mail_msgid_append(&a, 255, STR("4F>\n"), STR("x.test"));
	assert_string_equal(buf_cstr(&a), "<ff.4F??@x.test>");
	buf_reset(&a);
	mail_text_append(&a, STR("a\r\nb\0\xc3\xa9\xc2\x85"), true);
	assert_string_equal(buf_cstr(&a), "a??b?\xc3\xa9?");
	buf_reset(&a);
	mail_text_append(&a, STR("\xc3\xa9\xff"), true);
	assert_string_equal(buf_cstr(&a), "???");
	buf_fini(&a);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(received_fields_say_how_it_came),
		cmocka_unit_test(with_names_the_protocol),
		cmocka_unit_test(message_ids_are_unique_and_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
