#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/log.h"
#include "tests/unit/smtpd/fake.h"

#define STRANGER "192.0.2.7"
#define TO_R \
	"EHLO a.test\r\n\001MAIL FROM:<a@peer.test>\r\n" \
	"RCPT TO:<user@local.test>\r\n"

/* The codes of all final reply lines, "220 250 503". */
static const char *codes(const char *talk)
{
	static char out[8192];
	size_t n = 0;

	for (const char *p = talk; *p != '\0' && n + 8 < sizeof(out);) {
		const char *end = strchr(p, '\n');

		if (end - p > 4 && p[3] == ' ')
			n += (size_t)snprintf(out + n, 8, "%s%.3s",
			    n > 0 ? " " : "", p);
		p = end + 1;
	}
	out[n] = '\0';
	return out;
}

struct row {
	const char *input, *codes;
	const char *contains; /* or NULL */
};

static void check_rows(const struct row *rows, size_t n, const char *address)
{
	const char *params[] = { "mynetworks=127.0.0.0/8", NULL };
	const struct smtpd *d = fake_start(params, "smtp");

	for (size_t i = 0; i < n; i++) {
		const char *talk =
		    fake_talk(d, address, str_of(rows[i].input));

		if (strcmp(codes(talk), rows[i].codes) != 0 ||
		    (rows[i].contains != NULL &&
			strstr(talk, rows[i].contains) == NULL))
			fail_msg("row %zu:\n%s\nwant %s %s\ngot\n%s", i,
			    rows[i].input, rows[i].codes,
			    rows[i].contains ? rows[i].contains : "", talk);
	}
	fake_stop();
}

#define CHECK_ROWS(rows) \
	check_rows(rows, sizeof(rows) / sizeof(rows[0]), STRANGER)

static void commands_out_of_order_are_refused(void **state)
{
	static const struct row rows[] = {
		{ "MAIL FROM:<a@peer.test>\r\n", "220 503", "503 5.5.1" },
		{ "DATA\r\n", "220 503", NULL },
		{ "EHLO x\r\n\001RCPT TO:<user@local.test>\r\n", "220 250 503",
		    "need MAIL" },
		{ "EHLO x\r\n\001DATA\r\n", "220 250 503", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<>\r\nMAIL FROM:<b@x.test>\r\n",
		    "220 250 250 503", "nested MAIL" },
		{ "EHLO x\r\n\001MAIL FROM:<>\r\nDATA\r\n",
		    "220 250 250 554", "no valid recipients" },
		{ TO_R "RSET\r\nDATA\r\n", "220 250 250 250 250 503", NULL },
		{ TO_R "EHLO again\r\n\001DATA\r\n",
		    "220 250 250 250 250 503", NULL },
		{ TO_R "AUTH PLAIN AA==\r\n", "220 250 250 250 503",
		    "MAIL transaction in progress" },
		{ "LHLO x\r\n", "220 500", "500 5.5.1" },
		{ "EHLO\r\n", "220 501", "501 5.5.4 Syntax" },
		{ "EHLO a b\r\n", "220 501", NULL },
		{ "XYZZY\r\n", "220 500", "500 5.5.2" },
		{ "EXPN staff\r\nHELP\r\nETRN x\r\n", "220 502 502 502", NULL },
		{ "NOOP x\r\nVRFY root\r\n", "220 250 252", NULL },
		{ "QUIT\r\n", "220 221", NULL },
		{ "\r\n", "220 500", NULL },
		{ "STARTTLS\r\n", "220 502", NULL },
	};

	(void)state;
	CHECK_ROWS(rows);
}

static void a_client_that_does_not_wait_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "HELO x.test\r\nMAIL FROM:<a@peer.test>\r\n", "220 554",
		    "554 5.5.0 Error: SMTP protocol synchronization" },
		{ "EHLO x.test\r\nMAIL FROM:<a@peer.test>\r\n", "220 554",
		    NULL },
		{ TO_R "DATA\r\nSubject: early\r\n\r\nx\r\n.\r\n",
		    "220 250 250 250 554", NULL },
		{ "QUIT\r\nNOOP\r\n", "220 554", NULL },
		/* RFC 2920 3.1: this is allowed */
		{ TO_R "DATA\r\n\002x\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n",
		    "220 250 250 250 354 250 250 221", NULL },
	};

	(void)state;
	CHECK_ROWS(rows);
}

static void garbage_is_answered_and_counted(void **state)
{
	static const struct row rows[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "220 221",
		    "221 2.7.0" },
		{ "EHLO x\r\n\001MAIL FROM:<a@peer.test>\rRCPT TO:<b@c>\r\n",
		    "220 250 500", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@peer.test>\n",
		    "220 250 250", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@peer.test>\x07\r\n",
		    "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@peer.test>SIZE=1\r\n",
		    "220 250 501", NULL },
	};

	(void)state;
	CHECK_ROWS(rows);
}

static void twenty_errors_end_the_session(void **state)
{
	const char *params[] = { NULL };
	const struct smtpd *d = fake_start(params, "smtp");
	struct buf in;
	const char *talk;

	(void)state;
	buf_init(&in, 4096);
	for (int i = 0; i < 25; i++)
		buf_append_c(&in, "XYZZY\r\n");
	talk = fake_talk(d, STRANGER, buf_str(&in));
	assert_non_null(strstr(talk, "421 4.7.0"));
	assert_non_null(strstr(talk, "too many errors"));
	assert_int_equal(strlen(codes(talk)), 22 * 4 - 1);
	buf_reset(&in);
	for (int i = 0; i < 200; i++)
		buf_append_c(&in, i % 2 ? "NOOP\r\n" : "RSET\r\n");
	talk = fake_talk(d, STRANGER, buf_str(&in));
	assert_int_equal(strlen(codes(talk)), 102 * 4 - 1);
	assert_non_null(strstr(talk, "421 4.7.0"));
	buf_fini(&in);
	fake_stop();
}

static void parameters_are_read_as_their_rfcs_say(void **state)
{
	static const struct row rows[] = {
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> SIZE=1 SIZE=2\r\n",
		    "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> "
		  "SIZE=99999999999999999999999\r\n", "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> SIZE=-1\r\n",
		    "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> SIZE=104857600\r\n",
		    "220 250 552", "552 5.3.4" },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> BODY=9BIT\r\n",
		    "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> RET=FULL RET=HDRS\r\n",
		    "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> ENVID=+00\r\n",
		    "220 250 501", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> AUTH=<e@x.test>\r\n",
		    "220 250 250", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> SMTPUTF8\r\n",
		    "220 250 250", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<a@p.test> BODY=8BITMIME "
		  "SIZE=1 RET=HDRS ENVID=a+2Bb\r\n", "220 250 250", NULL },
		{ "EHLO x\r\n\001MAIL FROM:<\xc3\xbc@p.test>\r\n",
		    "220 250 553", "553 5.6.7" },
		{ "EHLO x\r\n\001MAIL FROM:<\xc3\xbc@p.test> SMTPUTF8\r\n",
		    "220 250 250", NULL },
		{ TO_R "RCPT TO:<user@local.test> NOTIFY=NEVER,SUCCESS\r\n",
		    "220 250 250 250 501", NULL },
		{ TO_R "RCPT TO:<user@local.test> NOTIFY=SUCCESS,DELAY "
		  "ORCPT=rfc822;a+2Bb@x.test\r\n", "220 250 250 250 250",
		    NULL },
		{ TO_R "RCPT TO:<user@local.test> ORCPT=rfc822;a+0D+0Ab\r\n",
		    "220 250 250 250 501", NULL },
		{ TO_R "RCPT TO:<user@local.test> FOO=BAR\r\n",
		    "220 250 250 250 555", "555 5.5.4" },
	};

	(void)state;
	CHECK_ROWS(rows);
}

static void strangers_do_not_relay(void **state)
{
	static const struct row rows[] = {
		{ TO_R "RCPT TO:<x@remote.test>\r\n", "220 250 250 250 454",
		    "454 4.7.1 <x@remote.test>: Relay access denied" },
		{ TO_R "RCPT TO:<nouser@local.test>\r\n",
		    "220 250 250 250 550",
		    "550 5.1.1 <nouser@local.test>: Recipient address "
		    "rejected: User unknown in local recipient table" },
		{ TO_R "RCPT TO:<broken@local.test>\r\n",
		    "220 250 250 250 451", "451 4.3.0" },
		{ TO_R "RCPT TO:<@a.test,@b.test:user@local.test>\r\n",
		    "220 250 250 250 250", NULL },
		{ TO_R "RCPT TO:<x%remote.test@local.test>\r\n",
		    "220 250 250 250 550", NULL },
		{ TO_R "RCPT TO:<\"user@remote.test\"@local.test>\r\n",
		    "220 250 250 250 250", NULL },
		{ TO_R "RCPT TO:<>\r\n", "220 250 250 250 501", "5.1.3" },
		{ TO_R "RCPT TO:<postmaster>\r\n", "220 250 250 250 250",
		    NULL },
	};
	static const struct row own[] = {
		{ TO_R "RCPT TO:<x@remote.test>\r\n", "220 250 250 250 250",
		    NULL },
	};

	(void)state;
	CHECK_ROWS(rows);
	check_rows(own, 1, "127.0.0.1");
}

static const char *send_content(const struct smtpd *d, const char *content,
    size_t n)
{
	struct buf in;
	const char *talk;

	buf_init(&in, 1 << 26);
	buf_append_c(&in, TO_R "DATA\r\n\002");
	buf_append_n(&in, content, n);
	talk = fake_talk(d, STRANGER, buf_str(&in));
	buf_fini(&in);
	return talk;
}

static void only_crlf_dot_crlf_ends_the_content(void **state)
{
	/* what stands between, what is stored */
	static const struct {
		const char *wire, *stored;
	} rows[] = {
		{ "A\n.\nB\r\n.\r\n", "A\r\n.\r\nB\r\n" },
		{ "A\n.\r\nB\r\n.\r\n", "A\r\n.\r\nB\r\n" },
		{ "A\r\n.\nB\r\n.\r\n", "A\r\n\r\nB\r\n" },
		{ "A\r.\rB\r\n.\r\n", "A\r\n.\r\nB\r\n" },
		{ "A\r\n.\rB\r\n.\r\n", "A\r\n\r\nB\r\n" },
		{ "A\r\r\n.\r\r\nB\r\n.\r\n", "A\r\n\r\nB\r\n" },
		{ "..\r\n...\r\n.a\r\n.\r\n", ".\r\n..\r\na\r\n" },
		{ ".\r\n", "" },
	};
	const char *params[] = { NULL };
	const struct smtpd *d = fake_start(params, "smtp");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *talk =
		    send_content(d, rows[i].wire, strlen(rows[i].wire));
		struct buf c = fake_message()->content;

		assert_string_equal(codes(talk), "220 250 250 250 354 250");
		assert_non_null(strstr(talk, "250 2.0.0 Ok: queued as "));
		assert_int_equal(fake_message()->count, i + 1);
		assert_string_equal(buf_cstr(&c), rows[i].stored);
	}
	fake_stop();
}

static void bare_newlines_are_refused_when_asked_to(void **state)
{
	const char *params[] = { "smtpd_forbid_bare_newline=reject", NULL };
	const struct smtpd *d = fake_start(params, "smtp");
	const char *talk = send_content(d, "A\n.\nB\r\n.\r\n", 9);

	(void)state;
	assert_string_equal(codes(talk), "220 250 250 250 354 521");
	assert_non_null(strstr(talk, "bare <LF> received"));
	talk = send_content(d, "A\r.\r\n.\r\n", 8);
	assert_non_null(strstr(talk, "bare <CR> received"));
	assert_int_equal(fake_message()->count, 0);
	fake_stop();
}

static void nul_is_refused(void **state)
{
	const char *params[] = { NULL };
	const struct smtpd *d = fake_start(params, "smtp");
	const char *talk = send_content(d, "A\r\n\0.\r\nx\r\n.\r\n", 13);

	(void)state;
	assert_string_equal(codes(talk), "220 250 250 250 354 550");
	assert_non_null(strstr(talk, "550 5.6.0"));
	talk = fake_talk(d, STRANGER,
	    STR("EHLO x\r\n\001MAIL FROM:<a\0@peer.test>\r\n"));
	assert_string_equal(codes(talk), "220 250 500");
	assert_int_equal(fake_message()->count, 0);
	fake_stop();
}

static void chunks_become_the_content(void **state)
{
	static const struct row rows[] = {
		{ "EHLO x\r\n\001BDAT 5\r\nhello", "220 250 503", NULL },
		{ TO_R "BDAT -1\r\n", "220 250 250 250 501", "501 5.5.4" },
		{ TO_R "BDAT 18446744073709551616 LAST\r\n",
		    "220 250 250 250 552", NULL },
		{ TO_R "BDAT 4294967296 LAST\r\nabc", "220 250 250 250 552",
		    NULL },
		{ TO_R "BDAT 5 EXTRA\r\nDATA\r\n",
		    "220 250 250 250 501 503", NULL },
		{ TO_R "BDAT 3\r\nabcDATA\r\n", "220 250 250 250 250 503",
		    "DATA after BDAT" },
		{ TO_R "BDAT 3\r\nabcMAIL FROM:<x@peer.test>\r\n",
		    "220 250 250 250 250 503", NULL },
		{ TO_R "BDAT 0\r\nBDAT 0 LAST\r\n",
		    "220 250 250 250 250 250", NULL },
	};
	const char *params[] = { NULL };
	const struct smtpd *d;
	struct buf content;

	(void)state;
	CHECK_ROWS(rows);
	d = fake_start(params, "smtp");
	/* no dots here; a lone LF is a line end; CR LF may be cut */
	assert_string_equal(codes(fake_talk(d, STRANGER, STR(TO_R
	    "BDAT 8\r\n.\r\na\n.\n\rBDAT 3\r\n\nb\rBDAT 2 LAST\r\n\nc"))),
	    "220 250 250 250 250 250 250");
	content = fake_message()->content;
	assert_string_equal(buf_cstr(&content),
	    ".\r\na\r\n.\r\n\r\nb\r\nc\r\n");
	fake_stop();
}

static void a_refused_message_leaves_no_transaction(void **state)
{
	const char *params[] = { NULL };
	const struct smtpd *d = fake_start(params, "smtp");

	(void)state;
	fake_refuse(550, "5.7.1", "no");
	assert_string_equal(codes(fake_talk(d, STRANGER, STR(TO_R
	    "DATA\r\n\002x\r\n.\r\nRCPT TO:<user@local.test>\r\nDATA\r\n"))),
	    "220 250 250 250 354 550 503 503");
	fake_stop();
}

static void the_envelope_reaches_cleanup(void **state)
{
	const char *params[] = { NULL };
	const struct smtpd *d = fake_start(params, "smtp");
	struct buf e;

	(void)state;
	fake_talk(d, STRANGER, STR("EHLO x\r\n\001"
	    "MAIL FROM:<a@peer.test> BODY=8BITMIME RET=HDRS ENVID=q+3D1\r\n"
	    "RCPT TO:<user@local.test>\r\nRCPT TO:<user-alias@local.test>\r\n"
	    "DATA\r\n\002x\r\n.\r\n"));
	e = fake_message()->envelope;
	assert_string_equal(buf_cstr(&e),
	    "from=a@peer.test proto=ESMTP login= flags=2 ret=2 envid=q=1 "
	    "to=user@local.test/local to=user-alias@local.test/");
	fake_stop();
}

static void a_large_message_is_streamed(void **state)
{
	const char *params[] = { "message_size_limit=1000000", NULL };
	const struct smtpd *d = fake_start(params, "smtp");
	struct buf in;

	(void)state;
	buf_init(&in, 1 << 24);
	for (int i = 0; i < 10000; i++)
		buf_append_c(&in, "line of the message that is long\r\n");
	buf_append_c(&in, ".\r\n");
	assert_string_equal(codes(send_content(d, in.p, in.n)),
	    "220 250 250 250 354 250");
	assert_int_equal(fake_message()->content.n, in.n - 3);
	assert_memory_equal(fake_message()->content.p, in.p, in.n - 3);
	/* over the limit: told at the end, and the session goes on */
	buf_truncate(&in, in.n - 3);
	for (int i = 0; i < 20000; i++)
		buf_append_c(&in, "line of the message that is long\r\n");
	buf_append_c(&in, ".\r\nQUIT\r\n");
	assert_string_equal(codes(send_content(d, in.p, in.n)),
	    "220 250 250 250 354 552 221");
	assert_int_equal(fake_message()->count, 1);
	buf_fini(&in);
	fake_stop();
}

static void many_recipients_take_several_packets(void **state)
{
	const char *params[] = { "smtpd_recipient_limit=3000", NULL };
	const struct smtpd *d = fake_start(params, "smtp");
	struct str e, at = STR(" to=user");
	const char *talk;
	struct buf in;
	size_t n = 0;

	(void)state;
	buf_init(&in, 1 << 24);
	buf_append_c(&in, "EHLO x\r\n\001MAIL FROM:<a@peer.test>\r\n");
	for (int i = 0; i < 3001; i++)
		buf_printf(&in, "RCPT TO:<user%d@local.test>\r\n", i);
	buf_append_c(&in, "DATA\r\n\002x\r\n.\r\n");
	talk = fake_talk(d, STRANGER, buf_str(&in));
	assert_non_null(strstr(talk,
	    "452 4.5.3 Error: too many recipients\r\n354 "));
	assert_non_null(strstr(talk, "250 2.0.0 Ok: queued as"));
	e = buf_str(&fake_message()->envelope);
	for (ssize_t k; (k = str_find(e, at)) >= 0; n++)
		e = str_from(e, (size_t)k + at.n);
	assert_int_equal(n, 3000);
	assert_int_equal(fake_message()->content.n, 3);
	buf_fini(&in);
	fake_stop();
}

static void lmtp_answers_for_each_recipient(void **state)
{
	const char *params[] = { "smtpd_protocol=lmtp", NULL };
	const struct smtpd *d = fake_start(params, "lmtp");

	(void)state;
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\nLHLO x\r\n\001MAIL FROM:<>\r\nDATA\r\n"
	    "RCPT TO:<user@local.test>\r\nRCPT TO:<nouser@local.test>\r\n"
	    "RCPT TO:<user2@local.test>\r\nDATA\r\n\002"
	    "x\r\n.\r\n"))),
	    "220 500 250 250 503 250 550 250 354 250 250");
	fake_stop();
}

#define PLAIN_GOOD "AUTH PLAIN AHVzZXJAbG9jYWwudGVzdABwYXNz\r\n"

static void submission_wants_a_login(void **state)
{
	const char *params[] = { "smtpd_sasl_auth_enable=yes",
		"smtpd_sender_restrictions=reject_sender_login_mismatch",
		NULL };
	const struct smtpd *d = fake_start(params, "submission");
	struct buf e;

	(void)state;
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\n\001MAIL FROM:<a@x.test>\r\n"))), "220 250 530");
	assert_string_equal(codes(fake_talk(d, STRANGER,
	    STR("EHLO x\r\n\001" PLAIN_GOOD))), "220 250 538");
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\n\001AUTH PLAIN AHVzZXJAbG9jYWwudGVzdAB4\r\n"
	    "AUTH PLAIN ====\r\nAUTH PLAIN AA==\r\nAUTH PLAIN AAAA\r\n"
	    "AUTH CRAM-MD5\r\nAUTH\r\n" PLAIN_GOOD
	    "AUTH PLAIN AHUAcA==\r\n"
	    "MAIL FROM:<user@local.test>\r\nRCPT TO:<x@remote.test>\r\n"
	    "DATA\r\n\002"
	    "x\r\n.\r\n"))),
	    "220 250 535 501 501 535 504 501 235 503 250 250 354 250");
	e = fake_message()->envelope;
	assert_non_null(strstr(buf_cstr(&e),
	    "from=user@local.test proto=ESMTPA login=user@local.test "
	    "flags=1"));
	/* another's address, an alias of one's own, nobody's */
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\n\001" PLAIN_GOOD
	    "MAIL FROM:<ceo@local.test>\r\nRCPT TO:<x@remote.test>\r\nRSET\r\n"
	    "MAIL FROM:<alias-of-user@local.test>\r\n"
	    "RCPT TO:<x@remote.test>\r\n"))),
	    "220 250 235 250 553 250 250 250");
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\n\001AUTH LOGIN\r\n\002"
	    "dXNlckBsb2NhbC50ZXN0\r\n\001cGFzcw==\r\n\001"
	    "RSET\r\n"))), "220 250 334 334 235 250");
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\n\001AUTH LOGIN\r\n\002dXNlcg==\r\n\001*\r\n"))),
	    "220 250 334 334 501");
	fake_stop();
}

static void repeated_failures_to_log_in_end_the_session(void **state)
{
	const char *params[] = { "smtpd_sasl_auth_enable=yes", NULL };
	const struct smtpd *d = fake_start(params, "submission");

	(void)state;
	assert_string_equal(codes(fake_talk(d, "127.0.0.1",
	    STR("EHLO x\r\n\001"
	    "AUTH PLAIN AHUAcA==\r\nAUTH PLAIN AHUAcA==\r\n"
	    "AUTH PLAIN AHUAcA==\r\nAUTH PLAIN AHUAcA==\r\n"
	    "AUTH PLAIN AHUAcA==\r\nAUTH PLAIN AHUAcA==\r\n"))),
	    "220 250 535 535 535 535 535 421");
	fake_stop();
}

static void quiet(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	(void)ctx;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_out_of_order_are_refused),
		cmocka_unit_test(a_client_that_does_not_wait_is_refused),
		cmocka_unit_test(garbage_is_answered_and_counted),
		cmocka_unit_test(twenty_errors_end_the_session),
		cmocka_unit_test(parameters_are_read_as_their_rfcs_say),
		cmocka_unit_test(strangers_do_not_relay),
		cmocka_unit_test(only_crlf_dot_crlf_ends_the_content),
		cmocka_unit_test(bare_newlines_are_refused_when_asked_to),
		cmocka_unit_test(nul_is_refused),
		cmocka_unit_test(chunks_become_the_content),
		cmocka_unit_test(a_refused_message_leaves_no_transaction),
		cmocka_unit_test(the_envelope_reaches_cleanup),
		cmocka_unit_test(a_large_message_is_streamed),
		cmocka_unit_test(many_recipients_take_several_packets),
		cmocka_unit_test(lmtp_answers_for_each_recipient),
		cmocka_unit_test(submission_wants_a_login),
		cmocka_unit_test(repeated_failures_to_log_in_end_the_session),
	};

	log_set_sink(quiet, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
