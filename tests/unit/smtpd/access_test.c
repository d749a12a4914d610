#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "smtpd/access.h"

static const struct access_codes codes = { 554, 554, 450, 504, 501, 450, 450,
	450, 550, 450 };

static enum access_dns know_domain(void *ctx, struct str domain)
{
	(void)ctx;
	return str_eq_c(domain, "none.test")  ? ACCESS_DNS_NONE
	    : str_eq_c(domain, "null.test")   ? ACCESS_DNS_NULL_MX
	    : str_eq_c(domain, "broken.test") ? ACCESS_DNS_TEMPFAIL
					      : ACCESS_DNS_FOUND;
}

static int know_owner(void *ctx, struct str user, struct str sender)
{
	(void)ctx;
	if (str_eq_c(sender, "free@x.test"))
		return 2;
	return user.p != NULL && str_eq(user, sender);
}

static const char *class_value(void *ctx, struct str name)
{
	(void)ctx;
	if (str_eq_c(name, "insiders"))
		return "permit_mynetworks, reject";
	return str_eq_c(name, "loop") ? "loop" : NULL;
}

static struct access_address address(const char *text,
    enum access_class class)
{
	struct access_address a = { .given = text != NULL,
		.text = str_of(text), .class = class,
		.table = STR("local recipient table"), .code = 550 };
	ssize_t at = str_rchr(a.text, '@');

	if (at >= 0)
		a.domain = str_from(a.text, (size_t)at + 1);
	return a;
}

static struct access_request request(void)
{
	return (struct access_request){
		.codes = &codes,
		.oracle = { NULL, know_domain, know_owner },
		.client = STR("c.test[192.0.2.1]"),
		.client_address = STR("192.0.2.1"),
		.helo = STR("c.test"),
		.sender = address("s@x.test", ACCESS_CLASS_FOREIGN),
		.recipient = address("r@y.test", ACCESS_CLASS_FOREIGN),
		.reject_unlisted_recipient = true,
	};
}

static unsigned warnings;

static void count_warning(void *ctx, struct str reply)
{
	(void)ctx;
	assert_true(reply.n > 0);
	warnings++;
}

/* The reply ("" : permitted) of one list in the stage of RCPT. */
static const char *judge(const char *text, const struct access_request *q)
{
	static char out[512];
	struct arena *arena = arena_new(1 << 20);
	const struct access_list *list;
	struct buf reply;

	buf_init(&reply, 510);
	list = access_parse(str_of(text), ACCESS_RECIPIENT, arena,
	    class_value, NULL, &reply);
	if (list == NULL)
		fail_msg("%s: %s", text, buf_cstr(&reply));
	if (access_check(&list, 1, ACCESS_RECIPIENT, q, &reply, count_warning,
		NULL) != ACCESS_REJECT)
		buf_reset(&reply);
	str_to_c(buf_str(&reply), out, sizeof(out));
	buf_fini(&reply);
	arena_free(&arena);
	return out;
}

static void the_first_that_decides_ends_the_list(void **state)
{
	struct access_request q = request();

	(void)state;
	assert_string_equal(judge("permit, reject", &q), "");
	assert_string_equal(judge("reject permit", &q),
	    "554 5.7.1 <r@y.test>: Recipient address rejected: "
	    "Access denied");
	assert_string_equal(judge("permit_mynetworks,\n reject", &q),
	    "554 5.7.1 <r@y.test>: Recipient address rejected: "
	    "Access denied");
	q.in_mynetworks = true;
	assert_string_equal(judge("permit_mynetworks reject", &q), "");
	assert_string_equal(judge("defer", &q),
	    "450 4.3.2 <r@y.test>: Recipient address rejected: "
	    "Try again later");
}

static void foreign_recipients_need_a_reason(void **state)
{
	struct access_request q = request();

	(void)state;
	assert_string_equal(judge("reject_unauth_destination", &q),
	    "554 5.7.1 <r@y.test>: Relay access denied");
	assert_string_equal(judge("defer_unauth_destination", &q),
	    "454 4.7.1 <r@y.test>: Relay access denied");
	q.user = STR("u@x.test");
	assert_string_equal(judge("permit_sasl_authenticated "
	    "reject_unauth_destination", &q), "");
	q.recipient.class = ACCESS_CLASS_TEMPFAIL;
	assert_string_equal(judge("reject_unauth_destination", &q),
	    "451 4.3.0 <r@y.test>: Temporary lookup failure");
	q.recipient.class = ACCESS_CLASS_OURS;
	assert_string_equal(judge("reject_unauth_destination", &q), "");
}

static void unknown_users_are_refused_even_after_permit(void **state)
{
	struct access_request q = request();

	(void)state;
	q.recipient.class = ACCESS_CLASS_UNKNOWN;
	assert_string_equal(judge("permit", &q),
	    "550 5.1.1 <r@y.test>: Recipient address rejected: "
	    "User unknown in local recipient table");
	q.reject_unlisted_recipient = false;
	assert_string_equal(judge("permit", &q), "");
	q.sender.class = ACCESS_CLASS_UNKNOWN;
	assert_string_equal(judge("reject_unlisted_sender", &q),
	    "550 5.1.0 <s@x.test>: Sender address rejected: "
	    "User unknown in local recipient table");
}

static void names_are_judged(void **state)
{
	static const struct {
		const char *list, *helo, *sender, *reply;
	} rows[] = {
		{ "reject_invalid_helo_hostname", "c.test", "", "" },
		{ "reject_invalid_helo_hostname", "-c.test", "",
		    "501 5.5.2 <-c.test>: Helo command rejected: "
		    "Invalid name" },
		{ "reject_invalid_helo_hostname", "[192.0.2.1]", "", "" },
		{ "reject_invalid_helo_hostname", "[999.0.2.1]", "",
		    "501 5.5.2 <[999.0.2.1]>: Helo command rejected: "
		    "invalid ip address" },
		{ "reject_non_fqdn_helo_hostname", "localhost", "",
		    "504 5.5.2 <localhost>: Helo command rejected: "
		    "need fully-qualified hostname" },
		{ "reject_non_fqdn_sender", "c.test", "", "" },
		{ "reject_non_fqdn_sender", "c.test", "me",
		    "504 5.5.2 <me>: Sender address rejected: "
		    "need fully-qualified address" },
		{ "reject_unknown_sender_domain", "c.test", "a@none.test",
		    "450 4.1.8 <a@none.test>: Sender address rejected: "
		    "Domain not found" },
		{ "reject_unknown_sender_domain", "c.test", "a@null.test",
		    "550 5.7.27 <a@null.test>: Sender address rejected: "
		    "Domain does not accept mail (nullMX)" },
		{ "reject_unknown_sender_domain", "c.test", "a@broken.test",
		    "450 4.1.8 <a@broken.test>: Sender address rejected: "
		    "Domain not found" },
		{ "reject_unknown_sender_domain reject", "c.test",
		    "a@broken.test",
		    "554 5.7.1 <r@y.test>: Recipient address rejected: "
		    "Access denied" },
		{ "reject_unknown_helo_hostname", "none.test", "",
		    "450 4.7.1 <none.test>: Helo command rejected: "
		    "Host not found" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct access_request q = request();

		q.helo = str_of(rows[i].helo);
		q.sender = address(rows[i].sender, ACCESS_CLASS_FOREIGN);
		assert_string_equal(judge(rows[i].list, &q), rows[i].reply);
	}
}

static void a_login_may_use_its_own_addresses(void **state)
{
	struct access_request q = request();

	(void)state;
	assert_string_equal(judge("reject_sender_login_mismatch", &q),
	    "553 5.7.1 <s@x.test>: Sender address rejected: not logged in");
	q.user = STR("s@x.test");
	assert_string_equal(judge("reject_sender_login_mismatch", &q), "");
	q.user = STR("t@x.test");
	assert_string_equal(judge("reject_sender_login_mismatch", &q),
	    "553 5.7.1 <s@x.test>: Sender address rejected: "
	    "not owned by user t@x.test");
	q.sender = address("free@x.test", ACCESS_CLASS_FOREIGN);
	assert_string_equal(judge("reject_known_sender_login_mismatch", &q),
	    "");
}

static void defers_and_warnings_work_as_in_postfix(void **state)
{
	struct access_request q = request();

	(void)state;
	assert_string_equal(judge("defer_if_permit permit", &q),
	    "450 4.3.2 <r@y.test>: Recipient address rejected: "
	    "Try again later");
	assert_string_equal(judge("defer_if_permit reject", &q),
	    "554 5.7.1 <r@y.test>: Recipient address rejected: "
	    "Access denied");
	assert_string_equal(judge("defer_if_reject reject", &q),
	    "454 4.7.1 <r@y.test>: Recipient address rejected: "
	    "Access denied");
	warnings = 0;
	assert_string_equal(judge("warn_if_reject reject permit", &q), "");
	assert_int_equal(warnings, 1);
	assert_string_equal(judge("insiders", &q),
	    "554 5.7.1 <r@y.test>: Recipient address rejected: "
	    "Access denied");
	q.in_mynetworks = true;
	assert_string_equal(judge("insiders, reject", &q), "");
}

static void an_open_relay_and_unknown_words_are_seen(void **state)
{
	static const struct {
		const char *relay, *recipient;
		bool guards;
	} rows[] = {
		{ "permit", "", false },
		{ "permit_mynetworks", "permit_sasl_authenticated", false },
		{ "reject_unauth_destination", "", true },
		{ "", "permit_mynetworks, reject", true },
		{ "warn_if_reject reject_unauth_destination", "", false },
		{ "insiders", "", true },
	};
	static const char *const bad[] = { "reject_rbl_klient", "loop",
		"permit nonsense" };
	struct arena *arena = arena_new(1 << 20);
	struct buf why;

	(void)state;
	buf_init(&why, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(rows[i].guards,
		    access_guards_relay(access_parse(str_of(rows[i].relay),
			ACCESS_RELAY, arena, class_value, NULL, &why),
			access_parse(str_of(rows[i].recipient),
			    ACCESS_RECIPIENT, arena, class_value, NULL,
			    &why)));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_reset(&why);
		assert_null(access_parse(str_of(bad[i]), ACCESS_RELAY, arena,
		    class_value, NULL, &why));
		assert_true(why.n > 0);
	}
	buf_fini(&why);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_that_decides_ends_the_list),
		cmocka_unit_test(foreign_recipients_need_a_reason),
		cmocka_unit_test(unknown_users_are_refused_even_after_permit),
		cmocka_unit_test(names_are_judged),
		cmocka_unit_test(a_login_may_use_its_own_addresses),
		cmocka_unit_test(defers_and_warnings_work_as_in_postfix),
		cmocka_unit_test(an_open_relay_and_unknown_words_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
