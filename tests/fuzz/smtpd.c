/*
 * smtpd.c - a client's whole session with smtpd: SMTP, submission, LMTP
 *
 * The input is what the client sends; \001 in it waits for what smtpd says.
 * At the end: which configuration, and the answers of cleanup, lookup, auth,
 * limits and dns, which refuse, fail and leave as the octets say. A model
 * reads the input and the replies side by side (RFC 5321 4.1.4): one reply a
 * command, DATA only with MAIL and RCPT, nothing left of a transaction when
 * its last reply is out, a 250 for content exactly when cleanup said so.
 * Other packets with the same octets are answered the same.
 */
#include <unistd.h>
#include "base/clock.h"
#include "fakes/conv.h"
#include "fakes/wire.h"
#include "fuzz.h"
#include "msgs/auth.h"
#include "msgs/dns.h"
#include "msgs/limits.h"
#include "msgs/lookup.h"
#include "msgs/submit.h"
#include "service/service.h"
#include "smtpd/session.h"

#define INPUT_MAX 12000 /* so that no line is too long for the model */
#define ANSWERS 24
#define RECORDS 64

static const char *const configurations[][16] = {
	{ "mynetworks=192.0.2.0/24", "smtpd_recipient_limit=5" },
	{ "mynetworks=192.0.2.0/24", "smtpd_forbid_unauth_pipelining=no",
	    "message_size_limit=2000", "smtpd_junk_command_limit=1000" },
	{ "smtpd_protocol=lmtp", "mynetworks=192.0.2.0/24",
	    "smtpd_end_of_data_restrictions=reject_multi_recipient_bounce,"
	    "permit", "smtpd_forbid_unauth_pipelining=no" },
	{ "smtpd_protocol=lmtp", "smtpd_forbid_bare_newline=reject",
	    "mynetworks=192.0.2.0/24", "smtpd_delay_reject=no" },
	{ "smtpd_protocol=submission", "smtpd_sasl_auth_enable=yes",
	    "smtpd_tls_auth_only=no",
	    "plaintext_login_networks=192.0.2.0/24" },
	{ "smtpd_sasl_auth_enable=yes", "smtpd_tls_auth_only=no",
	    "plaintext_login_networks=192.0.2.0/24", "soft_bounce=yes",
	    "smtpd_forbid_bare_newline=no",
	    "smtpd_hard_error_limit=1000", "smtpd_peername_lookup=yes",
	    "smtpd_client_recipient_rate_limit=3",
	    "smtpd_client_message_rate_limit=2",
	    "smtpd_client_connection_count_limit=3" },
	{ "smtpd_recipient_restrictions=reject_non_fqdn_recipient,"
	    "reject_unknown_sender_domain,permit_auth_destination,"
	    "reject", "smtpd_helo_required=no",
	    "smtpd_helo_restrictions=reject_invalid_helo_hostname",
	    "smtpd_data_restrictions=reject_multi_recipient_bounce" },
};
#define NCONFIGURATIONS (sizeof(configurations) / sizeof(configurations[0]))

static struct params params[NCONFIGURATIONS];
static struct smtpd daemons[NCONFIGURATIONS];

/* --- the neighbours --- */

static unsigned char answers[ANSWERS];
static size_t answered;

static unsigned answer(void)
{
	return answers[answered++ % ANSWERS];
}

/* It remembers for seconds, over inputs. */
bool __wrap_txn_storage_is_low(void);
bool __wrap_txn_storage_is_low(void)
{
	return answer() % 32 == 31;
}

/* What cleanup was told, and said. */
static struct record {
	size_t rcpts;
	unsigned code;		/* 0: nothing; the client must not hear 250 */
	bool last;
} records[RECORDS];
static size_t record_count;

static void hear_content(struct record *r, struct str content, bool last)
{
	static char before;

	(void)r;
	for (size_t i = 0; i < content.n; i++) {
		char c = content.p[i];

		fuzz_check(c != '\0', "NUL in the content");
		fuzz_check((before == '\r') == (c == '\n'),
		    "a bare CR or LF in the content");
		before = c;
	}
	fuzz_check(!last || content.n == 0 || before == '\n',
	    "the content ends within a line");
	before = last ? 0 : before;
	if (last)
		before = 0;
}

static void say_result(struct conv *c, struct record *r)
{
	static const struct submit_reply all[] = {
		{ 250, STR("2.0.0"), STR("Ok"), STR("ABC") },
		{ 250, STR("2.0.0"), STR("Ok"), STR("ABCD") },
		{ 250, STR("2.0.0"), STR("Ok"), STR("ABCDE") },
		{ 451, STR("4.3.0"), STR("queue file write error"), STR("") },
		{ 452, STR("4.3.1"), STR("Insufficient storage"), STR("") },
		{ 554, STR("5.7.1"), STR("a\r\n250 2.0.0 Ok"), STR("") },
		{ 550, STR("5.6.0"), STR(""), STR("") },
	};
	unsigned a = answer() % 9;

	if (a >= 7) {
		fake_leave(c);
		return;
	}
	r->code = (unsigned)all[a].code;
	fake_say(c, &submit_reply_schema, &all[a]);
}

static void play_cleanup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct submit_begin *b = msg;
	const struct submit_rcpts *m = msg;
	const struct submit_data *d = msg;
	struct record *r = *fake_state(c);
	bool last = false;

	if (schema == &submit_begin_schema) {
		fuzz_check(record_count < RECORDS, "more messages than lines");
		*fake_state(c) = r = &records[record_count++];
		*r = (struct record){ b->rcpts.n, 0, false };
		fuzz_check(b->rcpts.n > 0, "a message for nobody");
		fuzz_check(b->content.n == 0 || b->rcpts.n > 0, "content");
		hear_content(r, b->content, b->last);
		last = b->last;
	} else if (schema == &submit_rcpts_schema) {
		fuzz_check(r != NULL && !r->last, "recipients first");
		r->rcpts += m->rcpts.n;
	} else {
		fuzz_check(r != NULL && !r->last, "data after the last");
		hear_content(r, d->content, d->last);
		last = d->last;
	}
	r->last = last;
	if (last)
		say_result(c, r);
}

static void play_lookup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct resolve_request *q = msg;
	unsigned a = answer();

	if (a % 16 == 15) {
		fake_leave(c);
	} else if (schema == &resolve_request_schema) {
		struct resolve_reply r = { .status = LOOKUP_OK,
			.klass = a % 16 < 10 ? LOOKUP_LOCAL : LOOKUP_DEFAULT,
			.address = q->address, .transport = STR("local"),
			.nexthop = STR("our.test"), .has_alias = a & 64 };

		if (a % 16 >= 12)
			r.status = a % 16 - 10;
		if (str_chr(r.address, '@') < 0)
			r.address = STR("completed@our.test");
		fake_say(c, &resolve_reply_schema, &r);
	} else {
		struct str one = STR("a@our.test");
		struct expand_reply r = { .status = a % 5 ? LOOKUP_OK :
			LOOKUP_TEMPFAIL, .addresses = { &one, a % 2 } };

		fake_say(c, &expand_reply_schema, &r);
	}
}

static void play_auth(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct verify_request *q = msg;
	unsigned a = answer() % 5;
	struct verify_reply r = { .status = a, .session = -1,
		.user = str_sub(q->user, 0, 512) };

	(void)schema;
	fuzz_check(!str_has_ctl(q->user) && q->user.n > 0 && q->password.n > 0,
	    "no name or no password for auth");
	if (a == 0 || a > 3)
		fake_leave(c);
	else
		fake_say(c, &verify_reply_schema, &r);
}

static void play_limits(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	unsigned a = answer();
	struct limits_reply r = { .count = a % 5, .rate = a % 7 };

	(void)schema;
	(void)msg;
	fake_say(c, &limits_reply_schema, &r);
}

static void play_dns(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	static char ip[] = { (char)192, 0, 2, 7 };
	const struct dns_question *q = msg;
	unsigned a = answer() % 8;
	struct str data = q->type == DNS_A ? str_n(ip, 4) :
	    q->type == DNS_AAAA ? str_n("0123456789abcdef", 16) :
	    STR("mail.elsewhere.test");
	uint64_t number = 10;
	struct dns_reply r = { .tag = q->tag, .status = a > DNS_STATUS_MAX ?
		DNS_OK : a };

	(void)schema;
	if (r.status == DNS_OK) {
		r.data = (struct strs){ &data, 1 };
		r.numbers = (struct nums){ &number, 1 };
	}
	fake_say(c, &dns_reply_schema, &r);
}

static void make_edges(void)
{
	static const struct msg_schema *const submit[] = {
		&submit_begin_schema, &submit_rcpts_schema,
		&submit_data_schema, NULL };
	static const struct msg_schema *const lookup[] = {
		&resolve_request_schema, &expand_request_schema, NULL };
	static const struct msg_schema *const auth[] = {
		&verify_request_schema, NULL };
	static const struct msg_schema *const limits[] = {
		&limits_request_schema, NULL };
	static const struct msg_schema *const dns[] = {
		&dns_question_schema, NULL };

	fake_edge("cleanup", play_cleanup, submit);
	fake_edge("lookup", play_lookup, lookup);
	fake_edge("auth", play_auth, auth);
	fake_edge("limits", play_limits, limits);
	fake_edge("dns", play_dns, dns);
}

static void talk(const struct smtpd *d, struct str input, unsigned way,
    struct buf *out)
{
	struct wire_client client = { .rest = input, .way = way };
	struct net_addr peer, none = { 0 };
	struct smtpd daemon = *d;
	int fd;

	record_count = answered = 0;
	make_edges();
	fake_params = daemon.params;
	daemon.limits = limits_client_new(service_edge("limits"));
	net_addr_parse(STR("192.0.2.7"), &peer);
	fd = wire_open(wire_client_more, &client, out);
	session_serve(&daemon, fd, &peer, &none);
	wire_end();
	limits_client_free(&daemon.limits);
	fake_forget();
}

/* --- the model --- */

struct replies {
	struct str rest;
	unsigned code, last_code;
	bool is_421_at_end;
};

/* RFC 5321 4.2, 4.5.3.1.5; false: there is none. */
static bool next_reply(struct replies *r, bool take)
{
	struct str rest = r->rest, line;
	unsigned code = 0;
	bool last = false;

	if (rest.n == 0)
		return false;
	while (!last) {
		ssize_t nl = str_chr(rest, '\n');

		fuzz_check(nl >= 5, "a reply line without end");
		line = str_sub(rest, 0, (size_t)nl - 1);
		fuzz_check(rest.p[nl - 1] == '\r', "a line ends with LF");
		fuzz_check(line.n <= 510, "a reply line of %zu", line.n);
		fuzz_check(!str_has_ctl(line), "a control octet in a reply");
		fuzz_check(line.p[0] >= '2' && line.p[0] <= '5' &&
		    ascii_is_digit(line.p[1]) && ascii_is_digit(line.p[2]) &&
		    (line.n == 3 || line.p[3] == ' ' || line.p[3] == '-'),
		    "no reply code");
		unsigned c = (unsigned)(line.p[0] - '0') * 100 +
		    (unsigned)(line.p[1] - '0') * 10 +
		    (unsigned)(line.p[2] - '0');

		fuzz_check(code == 0 || code == c, "codes %u and %u", code, c);
		code = c;
		last = line.n == 3 || line.p[3] == ' ';
		rest = str_from(rest, (size_t)nl + 1);
	}
	r->code = code;
	if (take) {
		r->rest = rest;
		r->last_code = code;
	}
	r->is_421_at_end = code == 421 && rest.n == 0;
	return true;
}

struct model {
	struct replies replies;
	struct str in;		/* without \001 */
	bool lmtp;
	bool mail, unsure;	/* unsure: a refused HELO may have ended it */
	size_t rcpts;
	size_t taken;		/* records looked at */
};

static void forget(struct model *m)
{
	m->mail = m->unsure = false;
	m->rcpts = 0;
}

/* Where the content ends: behind CRLF . CRLF. -1: it does not. */
static ssize_t find_end(struct str in)
{
	if (str_starts(in, STR(".\r\n")))
		return 3;
	for (size_t i = 0; i + 5 <= in.n; i++)
		if (memcmp(in.p + i, "\r\n.\r\n", 5) == 0)
			return (ssize_t)i + 5;
	return -1;
}

/* The next message that cleanup was given whole. */
static const struct record *next_record(struct model *m)
{
	while (m->taken < record_count)
		if (records[m->taken++].last)
			return &records[m->taken - 1];
	return NULL;
}

/* The content was complete: its replies, and the transaction is over. */
static bool end_message(struct model *m)
{
	size_t n = m->lmtp ? m->rcpts : 1;
	unsigned code = 0;

	for (size_t i = 0; i < n; i++) {
		if (!next_reply(&m->replies, true))
			fuzz_fail(__FILE__, __LINE__,
			    "%zu replies to a message, not %zu", i, n);
		fuzz_check(m->replies.code != 421 || !m->replies.is_421_at_end,
		    "left without a result");
		fuzz_check(code == 0 || code == m->replies.code,
		    "results differ");
		code = m->replies.code;
		fuzz_check(code == 250 || code / 100 == 4 || code / 100 == 5,
		    "%u as the result", code);
	}
	if (code == 250) {
		const struct record *r;

		while ((r = next_record(m)) != NULL && r->code != 250)
			continue;
		fuzz_check(r != NULL, "250, and cleanup has no such message");
		fuzz_check(r->rcpts == m->rcpts, "cleanup has %zu recipients, "
		    "the client was promised %zu", r->rcpts, m->rcpts);
	}
	forget(m);
	return true;
}

static bool take_line(struct model *m, struct str *line_r)
{
	ssize_t nl = str_chr(m->in, '\n');

	if (nl < 0)
		return false;
	*line_r = str_sub(m->in, 0, (size_t)nl);
	m->in = str_from(m->in, (size_t)nl + 1);
	if (line_r->n > 0 && line_r->p[line_r->n - 1] == '\r')
		line_r->n--;
	return true;
}

/* RFC 3030: false when the session is over. */
static bool do_bdat(struct model *m, struct str arg)
{
	struct str size, last = STR_NONE, extra;
	uint64_t n = 0;
	bool is_last, bad = !str_word(&arg, " \t", &size);

	for (size_t i = 0; !bad && i < size.n; i++)
		bad = !ascii_is_digit(size.p[i]);
	if (!bad && str_to_u64(size, UINT64_MAX - 1, &n) < 0)
		n = UINT64_MAX;
	is_last = str_word(&arg, " \t", &last);
	bad = bad || (is_last && !str_eq_nocase_c(last, "LAST")) ||
	    str_word(&arg, " \t", &extra);
	if (bad) {
		if (!next_reply(&m->replies, true))
			return false;
		fuzz_check(m->replies.code / 100 >= 4, "bad BDAT");
		forget(m);
		return true;
	}
	if (n > m->in.n) {
		/* too large, or more than comes: the end in any case */
		while (next_reply(&m->replies, true))
			fuzz_check(m->replies.code != 250, "250 for half");
		m->in = STR_NONE;
		return false;
	}
	m->in = str_from(m->in, (size_t)n);
	if (is_last && m->mail && m->rcpts > 0 && !m->unsure) {
		struct replies save = m->replies;

		/* cleanup refused an earlier chunk, or the policy did */
		if (!next_reply(&save, true))
			return false;
		if (!m->lmtp || save.code != 503)
			return end_message(m);
	}
	if (!next_reply(&m->replies, true))
		return false;
	if (m->replies.code == 250)
		fuzz_check(m->mail && m->rcpts > 0, "BDAT without RCPT");
	if (is_last && m->replies.code == 250)
		next_record(m);
	if (is_last || m->replies.code != 250)
		m->unsure = true;
	return true;
}

/* false: the session is over. */
static bool do_command(struct model *m, struct str line)
{
	struct str rest = str_trim(line), verb = STR_NONE;
	struct replies *r = &m->replies;
	bool odd = str_has_nul(line) || str_chr(line, '\r') >= 0;

	str_word(&rest, " \t", &verb);
	if (!odd && str_eq_nocase_c(verb, "BDAT")) {
		struct replies save = *r;

		/* refused by the session, not by BDAT: 530, 421, 521 */
		if (next_reply(&save, false) && (save.code == 530 ||
			save.code == 521 || save.is_421_at_end)) {
			next_reply(r, true);
			return save.code == 530;
		}
		return do_bdat(m, str_trim(rest));
	}
	if (!next_reply(r, true))
		return false;
	if (odd) {
		fuzz_check(r->code / 100 >= 4, "%u to a line with NUL or CR",
		    r->code);
		return true;
	}
	if (str_eq_nocase_c(verb, "DATA") && r->code == 354) {
		ssize_t end = find_end(m->in);

		fuzz_check(m->mail && m->rcpts > 0, "DATA without RCPT");
		if (end < 0) {
			while (next_reply(r, true))
				fuzz_check(r->code / 100 >= 4, "half a "
				    "message was taken");
			m->in = STR_NONE;
			return false;
		}
		if (r->rest.n > 0 && str_starts(r->rest, STR("521 ")))
			return false; /* a bare newline, and it left */
		m->in = str_from(m->in, (size_t)end);
		return end_message(m);
	}
	fuzz_check(r->code != 354, "354 to another command");
	if (str_eq_nocase_c(verb, "AUTH")) {
		while (r->code == 334) {
			if (!take_line(m, &line))
				return false;
			if (!next_reply(r, true))
				return false;
		}
		return true;
	}
	fuzz_check(r->code != 334 && r->code != 235, "login without AUTH");
	if (str_eq_nocase_c(verb, "MAIL") && r->code == 250) {
		fuzz_check(!m->mail || m->unsure, "nested MAIL");
		forget(m);
		m->mail = true;
	} else if (str_eq_nocase_c(verb, "RCPT") && r->code == 250) {
		fuzz_check(m->mail, "RCPT without MAIL");
		m->rcpts++;
	} else if (str_eq_nocase_c(verb, "RSET") && r->code == 250) {
		forget(m);
	} else if (str_eq_nocase_c(verb, "HELO") ||
	    str_eq_nocase_c(verb, "EHLO") || str_eq_nocase_c(verb, "LHLO")) {
		if (r->code == 250)
			forget(m);
		else
			m->unsure = true;
	} else if (str_eq_nocase_c(verb, "QUIT") && r->code == 221) {
		fuzz_check(r->rest.n == 0, "it talks on after QUIT");
		return false;
	}
	return true;
}

static void judge(struct str input, struct str output, bool lmtp)
{
	struct model m = { .replies = { .rest = output }, .lmtp = lmtp };
	struct str line, part;
	struct buf in;
	bool open;

	buf_init(&in, INPUT_MAX + 1);
	while (str_split(&input, '\001', &part))
		buf_append(&in, part);
	m.in = buf_str(&in);
	open = next_reply(&m.replies, true);
	fuzz_check(open, "no greeting");
	open = m.replies.code == 220;
	while (open && take_line(&m, &line)) {
		open = do_command(&m, line);
		if (next_reply(&m.replies, false) && m.replies.is_421_at_end) {
			next_reply(&m.replies, true);
			open = false;
		}
	}
	/* What it did not answer came behind its farewell. */
	if (!open && m.in.n > 0 && m.replies.rest.n == 0) {
		unsigned c = m.replies.last_code;

		fuzz_check(c == 221 || c == 421 || c == 521 || c == 554 ||
		    c == 552 || c == 450 || c == 550 || c == 451 ||
		    c == 354 || c == 334, "silent after %u", c);
	}
	if (open)
		fuzz_check(m.replies.rest.n == 0, "a reply to nothing");
	buf_fini(&in);
}

/* --- --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_mute_log();
	fake_arena = arena_new(16 << 20);
	for (size_t i = 0; i < NCONFIGURATIONS; i++) {
		struct str values[24];
		const char *why, *service = "smtp";
		struct buf text;
		size_t n = 0;

		for (; configurations[i][n] != NULL; n++)
			values[n] = str_of(configurations[i][n]);
		values[n++] = STR("smtpd_error_sleep_time=0");
		values[n++] = STR("myhostname=mx.our.test");
		fuzz_check(params_load(&params[i], values, n, fake_arena, &why) ==
		    0, "configuration %zu: %s", i, why);
		buf_init(&text, 4096);
		fake_params = &params[i];
		fuzz_check(smtpd_configure(&daemons[i], &params[i], service,
		    fake_arena, &text) == 0, "configuration %zu: %s", i,
		    buf_cstr(&text));
		buf_fini(&text);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	size_t which = fuzz_octet(&in) % NCONFIGURATIONS;
	const struct smtpd *d = &daemons[which];
	struct buf first, other;
	struct str input;

	for (size_t i = 0; i < ANSWERS; i++)
		answers[i] = (unsigned char)fuzz_octet(&in);
	input = fuzz_rest(&in);
	if (input.n > INPUT_MAX)
		return 0;
	buf_init(&first, 4 << 20);
	buf_init(&other, 4 << 20);
	fuzz_budget_start();
	talk(d, input, 0, &first);
	fuzz_check_heap(2 << 20);
	judge(input, buf_str(&first), d->protocol == SMTPD_LMTP);
	for (unsigned way = 1; way < 3; way++) {
		buf_reset(&other);
		talk(d, input, way, &other);
		if (d->params->smtpd_forbid_unauth_pipelining &&
		    !str_eq(buf_str(&first), buf_str(&other)))
			judge(input, buf_str(&other), d->protocol ==
			    SMTPD_LMTP);
		else
			fuzz_check_same("in other packets", buf_str(&first),
			    buf_str(&other));
	}
	buf_fini(&first);
	buf_fini(&other);
	fuzz_end();
	return 0;
}
