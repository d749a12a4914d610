/* What a notification says, by what is known of the message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "bounce/notice.h"
#include "msgs/submit.h"
#include "queue/commit.h"

#define ID UINT64_C(0x6925B1F30001)

/* --- a submission that only collects ---------------------------------- */

struct submission {
	struct buf text;
	const char *failed;
};

void submission_fail(struct submission *s, const char *why)
{
	s->failed = why;
}

void submission_write(struct submission *s, struct str text)
{
	buf_append(&s->text, text);
}

void submission_printf(struct submission *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&s->text, fmt, ap);
	va_end(ap);
}

/* --- a message and its notice ----------------------------------------- */

struct sample {
	const char *content;
	size_t content_n;	/* 0: a C string */
	const char *address, *original, *orcpt;
	enum notice_kind kind;
	enum queue_ret ret;
	unsigned flags;
	const char *text, *diagnostic, *host;
	const char *limit;	/* bounce_size_limit */
	bool copy;
	bool unreadable;	/* the disk fails when it is opened */
};

#define PLAIN "Subject: original\r\nX-Long: 1\r\n\r\nthe body\r\n"

static int write_file(const struct sample *s)
{
	char path[] = "/tmp/postern-notice-XXXXXX";
	int fd = mkstemp(path);
	struct queue_recipient r = { .address = str_of(s->address),
		.original = str_of(s->original), .orcpt = str_of(s->orcpt) };
	struct queue_envelope e = { .arrival = 1764100000000000,
		.sender = STR("anna@our.test"), .flags = s->flags,
		.ret = s->ret, .envid = STR("QQ42"), .recipients = &r,
		.recipient_count = 1 };
	struct queue_commit *c;
	const char *why;

	assert_true(fd >= 0);
	assert_int_equal(queue_commit_begin(&c, fd, ID, 1 << 20), 0);
	assert_int_equal(queue_commit_append(c, s->content_n
	    ? str_n(s->content, s->content_n) : str_of(s->content)), 0);
	assert_int_equal(queue_commit(c, &e, &why), 0);
	queue_commit_end(&c);
	unlink(path);
	return fd;
}

/* The whole notice; *flags_r as the submission would have them. */
static char *write_sample(const struct sample *s, uint64_t *flags_r)
{
	struct arena *arena = arena_new(1 << 20);
	struct str pairs[2] = { STR("myhostname=mx.our.test"), STR_NONE };
	int fd = write_file(s);
	struct notice_recipient r = { .status = STR("5.1.1"),
		.when = 1764100001000000, .text = str_of(s->text),
		.diagnostic = str_of(s->diagnostic),
		.host = str_of(s->host) };
	struct submission sub = { .failed = NULL };
	struct queue_reader reader;
	struct params params;
	char limit[64], *out;
	const char *why;
	struct notice n = { .kind = s->kind, .params = &params,
		.reader = &reader, .queue_id = "6925B1F30001",
		.recipients = &r, .count = 1, .copy = s->copy };

	snprintf(limit, sizeof(limit), "bounce_size_limit=%s",
	    s->limit ? s->limit : "50000");
	pairs[1] = str_of(limit);
	assert_int_equal(params_load(&params, pairs, 2, arena, &why), 0);
	assert_int_equal(queue_reader_open(&reader, fd, ID, arena, &why), 0);
	r.envelope = &reader.envelope.recipients[0];
	buf_init(&sub.text, 1 << 20);
	if (s->unreadable)
		reader.fd = -1;
	notice_write(&n, STR("anna@our.test"), &sub);
	*flags_r = notice_flags(&n);
	assert_false(sub.text.failed);
	assert_true((sub.failed != NULL) == s->unreadable);
	out = strndup(sub.text.p, sub.text.n);
	assert_int_equal(strlen(out), sub.text.n); /* no NUL gets out */
	buf_fini(&sub.text);
	arena_free(&arena);
	close(fd);
	return out;
}

/* RFC 5322: every line ends with CRLF, none is too long. */
static void expect_lines(const char *text)
{
	size_t n = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '\r')
			assert_int_equal(p[1], '\n');
		if (*p == '\n')
			assert_true(p > text && p[-1] == '\r');
		n = *p == '\n' ? 0 : n + 1;
		assert_true(n <= 999);
	}
}

static size_t count(const char *text, const char *needle)
{
	size_t n = 0;

	for (; (text = strstr(text, needle)) != NULL; text++)
		n++;
	return n;
}

static void expect_parts(const char *text)
{
	char boundary[80], line[100];
	const char *p = strstr(text, "boundary=\"");

	assert_non_null(p);
	assert_int_equal(sscanf(p, "boundary=\"%79[^\"]\"", boundary), 1);
	snprintf(line, sizeof(line), "\r\n--%s\r\n", boundary);
	assert_int_equal(count(text, line), 3);
	snprintf(line, sizeof(line), "\r\n--%s--\r\n", boundary);
	assert_int_equal(count(text, line), 1);
	assert_string_equal(text + strlen(text) - strlen(line), line);
}

static const struct sample plain = {
	.content = PLAIN, .address = "far@away.test",
	.text = "host mx.away.test[192.0.2.1] said: 550 no",
	.diagnostic = "550 no", .host = "mx.away.test[192.0.2.1]:25",
};

static void a_failure_is_a_report_in_three_parts(void **state)
{
	static const char *const wanted[] = {
		"From: Mail Delivery System <MAILER-DAEMON@mx.our.test>\r\n",
		"To: anna@our.test\r\n", "Auto-Submitted: auto-replied\r\n",
		"Content-Type: multipart/report; "
		    "report-type=delivery-status;\r\n",
		"\r\n<far@away.test>:\r\n    host mx.away.test",
		"Content-Type: message/delivery-status\r\n",
		"Original-Envelope-Id: QQ42\r\n",
		"Reporting-MTA: dns; mx.our.test\r\n",
		"Final-Recipient: rfc822; far@away.test\r\n",
		"Action: failed\r\n", "Status: 5.1.1\r\n",
		"Remote-MTA: dns; mx.away.test\r\n",
		"Diagnostic-Code: smtp; 550 no\r\n",
		"Content-Type: message/rfc822\r\n", "\r\n\r\n" PLAIN,
	};
	uint64_t flags;
	char *text = write_sample(&plain, &flags);

	(void)state;
	expect_lines(text);
	expect_parts(text);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (strstr(text, wanted[i]) == NULL)
			fail_msg("missing: %s\nin:\n%s", wanted[i], text);
	assert_false(flags & SUBMIT_SMTPUTF8);
	free(text);
}

static void only_a_sound_and_short_message_comes_back_whole(void **state)
{
	static const char nul[] = "Subject: a\r\n\r\nx\0y\r\n";
	static char lengthy[3000];
	struct sample rows[9];
	size_t n = 0;

	(void)state;
	memset(lengthy, 'x', sizeof(lengthy) - 1);
	memcpy(lengthy, "A: b\r\n\r\n", 8);
	memcpy(lengthy + sizeof(lengthy) - 3, "\r\n", 3);
	for (size_t i = 0; i < 9; i++)
		rows[i] = plain;
	rows[n++].ret = QUEUE_RET_HDRS;
	rows[n++].flags = QUEUE_BINARYMIME;
	rows[n++].limit = "20";
	rows[n].content = nul;
	rows[n++].content_n = sizeof(nul) - 1;
	rows[n++].content = "Subject: a\r\n\r\nbare\nline feed\r\n";
	rows[n++].content = "Subject: a\r\n\r\nbare\rreturn\r\n";
	rows[n++].content = "Subject: a\r\n\r\nno end";
	rows[n++].content = lengthy;
	rows[n++].kind = NOTICE_DELAYED;
	for (size_t i = 0; i < n; i++) {
		uint64_t flags;
		char *text = write_sample(&rows[i], &flags);

		expect_lines(text);
		expect_parts(text);
		assert_null(strstr(text, "message/rfc822"));
		assert_non_null(strstr(text,
		    "Content-Type: text/rfc822-headers\r\n"));
		assert_null(strstr(text, "the body"));
		free(text);
	}
}

static void a_header_of_any_octets_is_returned_as_lines(void **state)
{
	static const char dirty[] = "Subject: a\0b\rc\r\nX: \377\200\r\n\r\nq";
	struct sample s = plain;
	uint64_t flags;
	char *text;

	(void)state;
	s.content = dirty;
	s.content_n = sizeof(dirty) - 1;
	text = write_sample(&s, &flags);
	expect_lines(text);
	expect_parts(text);
	assert_non_null(strstr(text, "Subject: a?b?c\r\n"));
	assert_non_null(strstr(text, "Content-Transfer-Encoding: 8bit"));
	free(text);
}

/* BNC-004 */
static void what_strangers_said_cannot_make_a_line(void **state)
{
	struct sample s = plain;
	uint64_t flags;
	char *text;

	(void)state;
	s.text = s.diagnostic = "550 no\r\nAction: delivered\r\n\r\n--x";
	s.orcpt = "rfc822;evil@x";
	text = write_sample(&s, &flags);
	expect_lines(text);
	expect_parts(text);
	assert_int_equal(count(text, "\r\nAction: "), 1);
	assert_non_null(strstr(text, "Original-Recipient: rfc822;evil@x\r\n"));
	free(text);
}

static void utf8_addresses_make_a_global_report(void **state)
{
	struct sample s = plain;
	uint64_t flags;
	char *text;

	(void)state;
	s.address = "gr\303\274n@away.test";
	text = write_sample(&s, &flags);
	assert_true(flags & SUBMIT_SMTPUTF8);
	assert_non_null(strstr(text, "message/global-delivery-status"));
	assert_non_null(strstr(text, "Content-Type: message/global\r\n"));
	assert_non_null(strstr(text,
	    "Final-Recipient: utf-8; gr\303\274n@away.test\r\n"));
	free(text);
}

static void an_address_has_the_quotes_that_it_needs(void **state)
{
	struct sample s = plain;
	uint64_t flags;
	char *text;

	(void)state;
	s.address = "a b@away.test";
	s.original = "alias@our.test";
	text = write_sample(&s, &flags);
	assert_non_null(strstr(text,
	    "Final-Recipient: rfc822; \"a b\"@away.test\r\n"));
	assert_non_null(strstr(text,
	    "Original-Recipient: rfc822; alias@our.test\r\n"));
	assert_non_null(strstr(text, "(expanded from <alias@our.test>)"));
	free(text);
}

static void each_kind_has_its_action(void **state)
{
	static const struct {
		enum notice_kind kind;
		bool copy;
		const char *action, *subject;
	} rows[] = {
		{ NOTICE_FAILED, false, "failed", "Undelivered Mail Returned" },
		{ NOTICE_FAILED, true, "failed", "Postmaster Copy" },
		{ NOTICE_DELAYED, false, "delayed", "Delayed Mail" },
		{ NOTICE_DELIVERED, false, "delivered", "Successful Mail" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sample s = plain;
		uint64_t flags;
		char line[80], *text;

		s.kind = rows[i].kind;
		s.copy = rows[i].copy;
		text = write_sample(&s, &flags);
		expect_parts(text);
		snprintf(line, sizeof(line), "\r\nAction: %s\r\n",
		    rows[i].action);
		assert_non_null(strstr(text, line));
		snprintf(line, sizeof(line), "\r\nSubject: %s",
		    rows[i].subject);
		assert_non_null(strstr(text, line));
		assert_int_equal(count(text, "Will-Retry-Until: "),
		    rows[i].kind == NOTICE_DELAYED);
		assert_int_equal(count(text, "Diagnostic-Code: "),
		    rows[i].kind != NOTICE_DELIVERED);
		free(text);
	}
}

static void a_message_that_cannot_be_read_now_is_not_returned_without_it(
    void **state)
{
	struct sample rows[] = {
		{ .content = PLAIN, .kind = NOTICE_FAILED },
		{ .content = PLAIN, .kind = NOTICE_FAILED,
		  .ret = QUEUE_RET_HDRS },
		{ .content = PLAIN, .kind = NOTICE_DELAYED },
	};
	uint64_t flags;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rows[i].address = "bob@far.test";
		rows[i].original = rows[i].orcpt = rows[i].text =
		    rows[i].diagnostic = rows[i].host = "";
		rows[i].unreadable = true;
		free(write_sample(&rows[i], &flags)); /* asserts it */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_is_a_report_in_three_parts),
		cmocka_unit_test(
		    only_a_sound_and_short_message_comes_back_whole),
		cmocka_unit_test(a_header_of_any_octets_is_returned_as_lines),
		cmocka_unit_test(what_strangers_said_cannot_make_a_line),
		cmocka_unit_test(utf8_addresses_make_a_global_report),
		cmocka_unit_test(an_address_has_the_quotes_that_it_needs),
		cmocka_unit_test(each_kind_has_its_action),
		cmocka_unit_test(
		    a_message_that_cannot_be_read_now_is_not_returned_without_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
