#include "base/log.h"
#include "net/smtp_data.h"
#include "smtpd/command.h"
#include "smtpd/data.h"
#include "smtpd/policy.h"

/*
 * The whole of the content has smtpd_timeout, and what the data rate earns
 * beside it: a client that drips holds its thread no longer than one that
 * is silent.
 */
void data_extend_deadline(struct session *s, int64_t *deadline, size_t n)
{
	const struct params *p = s->smtpd->params;
	int64_t latest = clock_now() + p->smtpd_timeout * CLOCK_SECOND;

	*deadline += (int64_t)n * CLOCK_SECOND / p->smtpd_min_data_rate;
	if (*deadline > latest)
		*deadline = latest;
	stream_set_deadline(s->stream, *deadline);
}

bool data_refuses_bare(struct session *s, const char *what)
{
	if (!str_eq_c(STR("reject"),
		s->smtpd->params->smtpd_forbid_bare_newline) ||
	    s->is_stdio ||
	    net_cidr_list_match(&s->smtpd->bare_newline_exclusions, &s->peer))
		return false;
	log_info("disconnect: bare <%s> received after %s from " STR_FMT,
	    what, s->where, STR_ARG(s->client));
	session_reply(s, "521 5.5.2 %s Error: bare <%s> received",
	    s->smtpd->params->myhostname, what);
	session_enter(s, SESSION_CLOSING);
	return true;
}

/* Everything up to CR LF . CR LF into the transaction; false: the session
 * is over. */
static bool receive(struct session *s)
{
	int64_t deadline =
	    clock_now() + s->smtpd->params->smtpd_timeout * CLOCK_SECOND;
	struct smtp_data data;

	smtp_data_init(&data);
	stream_set_deadline(s->stream, deadline);
	for (;;) {
		enum stream_result result = STREAM_OK;
		struct str span = STR_NONE;

		switch (smtp_data_read(&data, s->stream, &span, &result)) {
		case SMTP_DATA_SPAN:
			if (result == STREAM_OK)
				txn_content(s, span);
			break;
		case SMTP_DATA_BARE_CR:
			if (result == STREAM_OK &&
			    data_refuses_bare(s, "CR"))
				return false;
			txn_bare_cr(s->txn);
			break;
		case SMTP_DATA_BARE_LF:
			if (result == STREAM_OK &&
			    data_refuses_bare(s, "LF"))
				return false;
			txn_bare_lf(s);
			break;
		case SMTP_DATA_END:
			if (result == STREAM_OK)
				return true;
			break;
		case SMTP_DATA_MORE:
			break;
		}
		if (result != STREAM_OK) {
			session_lost(s, result);
			return false;
		}
		data_extend_deadline(s, &deadline, span.n);
	}
}

/* The outcome; LMTP says it once for each recipient (RFC 2033 4.2). */
static void reply(struct session *s, const struct txn_result *r)
{
	size_t n = session_is_lmtp(s) ? s->txn->nrcpts : 1;

	for (size_t i = 0; i < n; i++) {
		if (r->code == 250)
			session_line(s, "250 2.0.0 Ok: queued as " STR_FMT,
			    STR_ARG(r->queue_id));
		else
			session_line(s, "%u " STR_FMT " " STR_FMT, r->code,
			    STR_ARG(r->dsn), STR_ARG(r->text));
	}
}

static void log_client(const struct session *s, const struct txn_result *r)
{
	if (s->login.p != NULL)
		log_info(STR_FMT ": client=" STR_FMT
		    ", sasl_method=" STR_FMT ", sasl_username=" STR_FMT,
		    STR_ARG(r->queue_id), STR_ARG(s->client),
		    STR_ARG(s->login_method), STR_ARG(s->login));
	else
		log_info(STR_FMT ": client=" STR_FMT, STR_ARG(r->queue_id),
		    STR_ARG(s->client));
}

void data_finish(struct session *s)
{
	const struct txn_result *r;

	s->where = "END-OF-MESSAGE";
	if (!s->txn->failed &&
	    !policy_permits(s, ACCESS_END_OF_DATA, NULL)) {
		session_enter(s, SESSION_READY);
		return;
	}
	r = txn_finish(s);
	reply(s, r);
	/* The client hears before the log does, unless more is to be said. */
	if (stream_buffered(s->stream) == 0)
		stream_flush(s->stream);
	if (r->code == 250) {
		log_client(s, r);
		session_forgive(s);
	} else {
		session_error(s);
		policy_log_result(s, r);
	}
	session_enter(s, SESSION_READY);
}

/* RFC 5321 4.1.1.4 */
void cmd_data(struct session *s, struct str arg)
{
	if (arg.n > 0) {
		session_reply(s, "501 5.5.4 Syntax: DATA");
		return;
	}
	if (!policy_permits(s, ACCESS_DATA, NULL) || !session_is_in_step(s))
		return;
	session_line(s, "354 End data with <CR><LF>.<CR><LF>");
	if (receive(s))
		data_finish(s);
}
