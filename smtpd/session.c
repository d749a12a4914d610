#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "base/log.h"
#include "service/service.h"
#include "smtpd/client.h"
#include "smtpd/command.h"
#include "smtpd/data.h"
#include "smtpd/policy.h"

#define ARENA_MAX (64 * 1024)
/* RFC 5321 4.5.3.1.5: a reply line has at most 512 octets with its CRLF. */
#define REPLY_MAX 510

static const char *const state_names[SESSION_STATE_COUNT] = {
	[SESSION_GREETED] = "GREETED",
	[SESSION_READY] = "READY",
	[SESSION_MAIL] = "MAIL",
	[SESSION_RCPT] = "RCPT",
	[SESSION_BDAT] = "BDAT",
	[SESSION_CLOSING] = "CLOSING",
};

static bool has_transaction(enum session_state state)
{
	return state == SESSION_MAIL || state == SESSION_RCPT ||
	    state == SESSION_BDAT;
}

void session_enter(struct session *s, enum session_state next)
{
	if (s->state != next)
		log_debug(STR_FMT ": %s -> %s", STR_ARG(s->client),
		    state_names[s->state], state_names[next]);
	/* CLOSING is for good. */
	if (s->state != SESSION_CLOSING)
		s->state = next;
	if (!has_transaction(s->state))
		txn_free(&s->txn);
}

bool session_is_lmtp(const struct session *s)
{
	return s->protocol == SMTPD_LMTP;
}

/* RFC 3848, RFC 6531 4.3 (UTF8SMTP...) */
const char *session_protocol(const struct session *s)
{
	static const char *const names[2][2][2][2] = {
		/* LMTP, UTF-8, TLS, AUTH */
		{ { { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } },
		    { { "UTF8SMTP", "UTF8SMTPA" },
			{ "UTF8SMTPS", "UTF8SMTPSA" } } },
		{ { { "LMTP", "LMTPA" }, { "LMTPS", "LMTPSA" } },
		    { { "UTF8LMTP", "UTF8LMTPA" },
			{ "UTF8LMTPS", "UTF8LMTPSA" } } },
	};

	if (!s->esmtp)
		return "SMTP";
	return names[session_is_lmtp(s)][s->txn != NULL &&
	    s->txn->mail.smtputf8][s->tls.n > 0][s->login.p != NULL];
}

/* --- replies --- */

/* Replies repeat what the client said: octets of no line are replaced. */
__attribute__((format(printf, 2, 0)))
static void write_line(struct session *s, const char *fmt, va_list ap)
{
	char line[REPLY_MAX + 1];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	/* What we waited for meanwhile is not the client's time. */
	stream_set_deadline(s->stream,
	    clock_now() + s->smtpd->params->smtpd_timeout * CLOCK_SECOND);
	stream_write(s->stream, str_n(line, (size_t)n));
	stream_write(s->stream, STR("\r\n"));
	if (log_is_verbose())
		log_debug("> " STR_FMT ": %s", STR_ARG(s->client), line);
}

void session_line(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(s, fmt, ap);
	va_end(ap);
}

/* Who makes many errors waits for each answer. */
static void slow_down(struct session *s)
{
	const struct params *p = s->smtpd->params;
	struct pollfd pfd = { stream_fd(s->stream), POLLRDHUP, 0 };

	if (s->is_stdio || p->smtpd_error_sleep_time == 0 ||
	    s->errors <= (uint64_t)p->smtpd_soft_error_limit)
		return;
	stream_flush(s->stream);
	/* The end of the connection, or a stop, ends the pause. */
	poll(&pfd, 1, (int)p->smtpd_error_sleep_time * 1000);
}

void session_error(struct session *s)
{
	s->errors++;
	s->was_refused = true;
}

void session_reply(struct session *s, const char *fmt, ...)
{
	va_list ap;

	if (fmt[0] == '4' || fmt[0] == '5' || fmt[0] == '%') {
		char first[8];

		va_start(ap, fmt);
		vsnprintf(first, sizeof(first), fmt, ap);
		va_end(ap);
		if (first[0] == '4' || first[0] == '5') {
			session_error(s);
			slow_down(s);
		}
	}
	va_start(ap, fmt);
	write_line(s, fmt, ap);
	va_end(ap);
}

void session_refuse(struct session *s, const struct mail_refusal *why)
{
	char code[MAIL_STATUS_SIZE];

	session_reply(s, "%d %s %s", why->code,
	    mail_status_print(why->status, code), why->text);
}

void session_forgive(struct session *s)
{
	s->messages++;
	s->errors = 0;
	s->junk = 0;
}

/* --- what the client does wrong --- */

bool session_is_in_step(struct session *s)
{
	struct str early = STR_NONE;

	if (stream_buffered(s->stream) == 0 ||
	    !s->smtpd->params->smtpd_forbid_unauth_pipelining ||
	    s->is_stdio)
		return true;
	stream_peek(s->stream, &early);
	log_info("improper command pipelining after %s from " STR_FMT
		 ": %.*s", s->where, STR_ARG(s->client),
	    early.n > 100 ? 100 : (int)early.n, early.p);
	session_reply(s, "554 5.5.0 Error: SMTP protocol synchronization");
	session_enter(s, SESSION_CLOSING);
	return false;
}

static void log_end(const struct session *s, const char *what)
{
	if (s->txn != NULL && s->txn->size > 0)
		log_info("%s after %s (%llu bytes) from " STR_FMT, what,
		    s->where, (unsigned long long)s->txn->size,
		    STR_ARG(s->client));
	else
		log_info("%s after %s from " STR_FMT, what, s->where,
		    STR_ARG(s->client));
}

void session_lost(struct session *s, enum stream_result result)
{
	const char *host = s->smtpd->params->myhostname;

	switch (result) {
	case STREAM_TIMEOUT:
		log_end(s, "timeout");
		session_line(s, "421 4.4.2 %s Error: timeout exceeded", host);
		break;
	case STREAM_FLOOD:
		log_end(s, "line too long, disconnect");
		session_line(s, "421 4.7.0 %s Error: line too long", host);
		break;
	case STREAM_EOF:
		if (service_stopping()) { /* RFC 5321 3.8 */
			session_line(s,
			    "421 4.3.2 %s Service shutting down", host);
			break;
		}
		/* FALLTHROUGH */
	default:
		log_end(s, "lost connection");
		break;
	}
	session_enter(s, SESSION_CLOSING);
}

/* Both mechanisms send the password: "noplaintext" leaves none. */
static bool forbids_plaintext(const char *options)
{
	struct str list = str_of(options), word;

	while (str_word(&list, ", \t", &word))
		if (str_eq_nocase_c(word, "noplaintext"))
			return true;
	return false;
}

bool session_may_login(const struct session *s)
{
	const struct params *p = s->smtpd->params;

	if (!p->smtpd_sasl_auth_enable || s->is_stdio || s->login.p != NULL ||
	    forbids_plaintext(s->tls.n > 0
		    ? p->smtpd_sasl_tls_security_options
		    : p->smtpd_sasl_security_options))
		return false;
	return s->tls.n > 0 ||
	    (!p->smtpd_tls_auth_only &&
		net_cidr_list_match(&s->smtpd->plaintext_login, &s->peer));
}

/* --- the conversation --- */

static void run_line(struct session *s, const struct stream_line *line)
{
	const struct params *p = s->smtpd->params;
	bool is_auth = str_starts_nocase(line->text, STR("AUTH "));

	if (line->end == STREAM_END_LF && data_refuses_bare(s, "LF"))
		return;
	if (line->text.n > (size_t)p->smtpd_line_length_limit && !is_auth) {
		session_reply(s, "500 5.5.2 Error: line too long");
		return;
	}
	/* NUL ends no string here, and CR no line: they are refused whole. */
	if (str_has_nul(line->text) || str_chr(line->text, '\r') >= 0) {
		s->where = "UNKNOWN";
		session_reply(s, "500 5.5.2 Error: bad syntax");
		return;
	}
	if (log_is_verbose())
		log_debug("< " STR_FMT ": " STR_FMT, STR_ARG(s->client),
		    STR_ARG(line->text));
	command_run(s, line->text);
}

static bool makes_too_many_errors(struct session *s)
{
	const struct params *p = s->smtpd->params;

	if (s->is_stdio ||
	    s->errors < (uint64_t)p->smtpd_hard_error_limit)
		return false;
	log_info("too many errors after %s from " STR_FMT, s->where,
	    STR_ARG(s->client));
	session_line(s, "421 4.7.0 %s Error: too many errors", p->myhostname);
	session_enter(s, SESSION_CLOSING);
	return true;
}

static void converse(struct session *s)
{
	const struct params *p = s->smtpd->params;
	size_t max = SESSION_LINE_MAX;

	if (max < (size_t)p->smtpd_line_length_limit)
		max = (size_t)p->smtpd_line_length_limit;
	while (s->state != SESSION_CLOSING && !makes_too_many_errors(s)) {
		struct stream_line line;
		enum stream_result r;

		/* For the whole command, however slowly it drips. */
		stream_set_deadline(s->stream,
		    clock_now() + p->smtpd_timeout * CLOCK_SECOND);
		r = stream_read_line(s->stream, max, &line);
		if (r == STREAM_OK)
			run_line(s, &line);
		else if (r == STREAM_TOO_LONG)
			session_reply(s, "500 5.5.2 Error: line too long");
		else
			session_lost(s, r);
	}
}

static void serve(struct session *s)
{
	struct buf counts;

	s->client = arena_printf(s->arena, STR_FMT "[%s]", STR_ARG(s->name),
	    s->address);
	log_info("connect from " STR_FMT, STR_ARG(s->client));
	if (client_greet(s))
		converse(s);
	session_enter(s, SESSION_CLOSING);
	stream_flush(s->stream);
	buf_init(&counts, 1024);
	command_append_counts(s, &counts);
	log_info("disconnect from " STR_FMT "%s", STR_ARG(s->client),
	    buf_cstr(&counts));
	buf_fini(&counts);
	client_leave(s);
	if (!s->has_quit)
		stream_linger(s->stream);
}

static void init(struct session *s, const struct smtpd *smtpd)
{
	int64_t timeout = smtpd->params->smtpd_timeout * CLOCK_SECOND;

	s->smtpd = smtpd;
	s->protocol = s->is_stdio ? SMTPD_SMTP : smtpd->protocol;
	s->where = "CONNECT";
	stream_set_timeout(s->stream, timeout, timeout);
}

void session_serve(const struct smtpd *smtpd, int fd,
    const struct net_addr *peer, const struct net_addr *local)
{
	struct session s = { .peer = *peer };

	if ((s.arena = arena_new(ARENA_MAX)) == NULL ||
	    (s.stream = stream_new(fd)) == NULL) {
		log_warn("no memory for a session");
		arena_free(&s.arena);
		close(fd);
		return;
	}
	init(&s, smtpd);
	net_addr_text(peer, s.address);
	s.in_mynetworks = net_cidr_list_match(&smtpd->mynetworks, peer);
	s.is_own_host = net_addr_is_loopback(peer) ||
	    (peer->family != AF_UNSPEC && net_addr_same(peer, local));
	client_find_name(&s);
	serve(&s);
	stream_free(&s.stream);
	arena_free(&s.arena);
}

unsigned session_serve_stdio(const struct smtpd *smtpd, int in, int out,
    uint32_t uid)
{
	struct session s = { .is_stdio = true, .uid = uid };

	if ((s.arena = arena_new(ARENA_MAX)) == NULL ||
	    (s.stream = stream_new_pair(in, out)) == NULL) {
		log_warn("no memory for a session");
		arena_free(&s.arena);
		close(in);
		if (out != in)
			close(out);
		return 0;
	}
	init(&s, smtpd);
	s.name = STR("localhost");
	net_addr_parse(STR("127.0.0.1"), &s.peer);
	net_addr_text(&s.peer, s.address);
	s.in_mynetworks = true;
	serve(&s);
	stream_free(&s.stream);
	arena_free(&s.arena);
	return s.messages;
}
