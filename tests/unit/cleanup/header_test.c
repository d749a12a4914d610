#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "cleanup/header.h"
#include "service/service.h"

/* Nobody is asked here; the other parts of cleanup are linked, not run. */
struct edge *service_edge(const char *server)
{
	(void)server;
	return NULL;
}

int service_thread(void (*fn)(void *), void *arg)
{
	(void)fn;
	(void)arg;
	return -1;
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	(void)server;
	(void)request;
	(void)req;
	(void)reply;
	(void)rep;
	(void)timeout_us;
	(void)conv_r;
	(void)why_r;
	return -1;
}

static void the_end_of_the_header_is_found(void **state)
{
	static const struct {
		const char *content;
		bool complete;
		int rc;
		size_t start, fields, body;
		bool has_blank;
	} rows[] = {
		{ "A: b\r\n\r\nx", false, 1, 0, 6, 8, true },
		{ "A: b\r\n\r\n", true, 1, 0, 6, 8, true },
		{ "A: b\r\n", false, 0, 0, 0, 0, false },
		{ "A: b\r\n", true, 1, 0, 6, 6, false },
		{ "\r\nFrom: a\r\n", false, 1, 0, 0, 2, true },
		{ "no colon\r\nA: b\r\n", false, 1, 0, 0, 0, false },
		{ "A: b\r\nno colon\r\n", false, 1, 0, 6, 6, false },
		{ " A: b\r\nC: d\r\n\r\n", false, 1, 0, 0, 0, false },
		{ "From x y\r\nA: b\r\n\r\n", false, 1, 10, 16, 18, true },
		{ ">From x y\r\nA: b\r\n\r\n", false, 1, 11, 17, 19, true },
		{ "A: b\r\n\tc\r\n\r\n", false, 1, 0, 10, 12, true },
		{ "", true, 1, 0, 0, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct header_end end;
		int rc = header_find_end(str_of(rows[i].content),
		    rows[i].complete, &end);

		if (rc != rows[i].rc)
			fail_msg("row %zu: %d", i, rc);
		if (rc != 1)
			continue;
		assert_int_equal(end.start, rows[i].start);
		assert_int_equal(end.fields, rows[i].fields);
		assert_int_equal(end.body, rows[i].body);
		assert_int_equal(end.has_blank, rows[i].has_blank);
	}
}

static void fields_are_counted_and_noticed(void **state)
{
	struct header_rules rules = { .drop = true, .field_max = 16,
		.authserv_id = STR("mx.test") };
	struct header_facts f;

	(void)state;
	header_examine(STR("Received: a\r\nRECEIVED : b\r\nDate: x\r\n"
	    "Message-Id:\r\n <a@b>\r\nbcc: c\r\nResent-From: d\r\n"), &rules,
	    &f);
	assert_int_equal(f.hops, 2);
	assert_true(f.has_date && f.has_message_id && f.has_dropped);
	assert_true(f.is_resent && f.has_resent_from && f.has_long);
	assert_false(f.has_from || f.has_resent_date);
	assert_int_equal(f.message_id.n, 5);
	assert_false(f.has_forged);
	header_examine(STR("Authentication-Results: MX.test; dmarc=pass\r\n"),
	    &rules, &f);
	assert_true(f.has_forged);
}

static void submitted_mail_loses_bcc_and_long_fields_are_cut(void **state)
{
	struct header_rules rules = { .drop = true, .field_max = 19,
		.authserv_id = STR("mx.test") };
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(header_write(STR("Bcc: a\r\n b\r\nA: 1\r\n"
	    "Return-Path: <x>\r\nB: 2\r\n\tfold\r\n\tfold\r\n"
	    "Authentication-Results:\r\n mx.test; dkim=pass\r\n"), &rules,
	    &out), 0);
	assert_string_equal(buf_cstr(&out), "A: 1\r\nB: 2\r\n\tfold\r\n");
	buf_reset(&out);
	/* what only passes keeps its Bcc: */
	buf_reset(&out);
	rules = (struct header_rules){ .field_max = 99 };
	assert_int_equal(header_write(STR("Bcc: a\r\nReturn-Path: <x>\r\n"
	    "A: 1\r\n"), &rules, &out), 0);
	assert_string_equal(buf_cstr(&out), "Bcc: a\r\nA: 1\r\n");
	buf_reset(&out);
	rules = (struct header_rules){ .field_max = 9 };
	assert_int_equal(header_write(STR("Cut: 0123456789\r\n"), &rules,
	    &out), 0);
	assert_string_equal(buf_cstr(&out), "Cut: 0123\r\n");
	buf_fini(&out);
}

static void short_addresses_get_a_domain(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "From: root (Cron Daemon)\r\n",
		    "From: Cron Daemon <root@o.test>\r\n" },
		{ "To: a@b, \"c d\" <e>, f@g.test\r\n",
		    "To: a@b.d.test,\r\n\tc d <e@o.test>,\r\n"
		    "\tf@g.test\r\n" },
		{ "Cc: us: a, b@c.test;\r\n",
		    "Cc: us: a@o.test,\r\n\tb@c.test;\r\n" },
		{ "From:  x@y.test (as it is)\r\n",
		    "From:  x@y.test (as it is)\r\n" },
		{ "Subject: root\r\n", "Subject: root\r\n" },
	};
	struct header_rules rules = { .field_max = 1000,
		.origin = STR("o.test"), .dot_domain = STR("d.test") };
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		assert_int_equal(header_write(str_of(rows[i].in), &rules,
		    &out), 0);
		assert_string_equal(buf_cstr(&out), rows[i].out);
	}
	buf_fini(&out);
}

static void missing_fields_are_made(void **state)
{
	struct header_origin o = { .sender = STR("a b@x.test"),
		.id = STR("ABC"), .host = STR("h.test"), .time = 1000000000 };
	struct header_facts f = { 0 };
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(header_complete(&f, &o, &out), 0);
	assert_non_null(strstr(buf_cstr(&out),
	    "Date: Sun, 9 Sep 2001 01:46:40 +0000\r\n"));
	assert_non_null(strstr(buf_cstr(&out), "@h.test>\r\n"));
	assert_non_null(strstr(buf_cstr(&out), "From: \"a b\"@x.test\r\n"));
	buf_reset(&out);
	f.is_resent = f.has_date = f.has_resent_date = f.has_resent_from =
	    true;
	assert_int_equal(header_complete(&f, &o, &out), 0);
	assert_memory_equal(buf_cstr(&out), "Resent-Message-Id: <", 20);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_of_the_header_is_found),
		cmocka_unit_test(fields_are_counted_and_noticed),
		cmocka_unit_test(
		    submitted_mail_loses_bcc_and_long_fields_are_cut),
		cmocka_unit_test(short_addresses_get_a_domain),
		cmocka_unit_test(missing_fields_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
