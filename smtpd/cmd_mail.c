#include "smtpd/client.h"
#include "smtpd/command.h"
#include "smtpd/policy.h"

/* Splits "FROM:<path> params" (RFC 5321 4.1.2) at the end of its tag. */
static int take_tag(struct str *arg, struct str tag)
{
	if (!str_starts_nocase(*arg, tag))
		return -1;
	*arg = str_from(*arg, tag.n);
	return 0;
}

/* local@domain without quoting, as addresses are written inside. */
static struct str join(struct arena *a, const struct mail_path *path)
{
	return path->domain.n == 0
	    ? path->local
	    : arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(path->local),
		  STR_ARG(path->domain));
}

/* RFC 1870 6.1: said now, before the message is sent in vain. */
static bool has_room(struct session *s, const struct esmtp_mail *m)
{
	int64_t limit = s->smtpd->params->message_size_limit;

	if (limit > 0 && m->has_size && m->size > (uint64_t)limit) {
		session_reply(s,
		    "552 5.3.4 Message size exceeds fixed limit");
		return false;
	}
	if (txn_storage_is_low()) {
		session_reply(s, "452 4.3.1 Insufficient system storage");
		return false;
	}
	return true;
}

/* Everything behind "FROM:"; false: refused. */
static bool parse(struct session *s, struct txn *t, struct str rest)
{
	unsigned options = MAIL_PATH_SENDER | MAIL_PATH_ANY_LOCAL |
	    MAIL_PATH_LONG | MAIL_PATH_SPACE;
	struct mail_refusal why;
	struct mail_params params;
	struct mail_path path;
	bool utf8 = esmtp_wants_utf8(rest);

	if (utf8)
		options |= MAIL_PATH_SMTPUTF8;
	if (!s->smtpd->params->strict_rfc821_envelopes)
		options |= MAIL_PATH_BARE;
	if (mail_path_parse(&rest, options, t->arena, &path, &why) < 0 ||
	    mail_params_parse(rest, utf8, &params, &why) < 0 ||
	    esmtp_mail(&params, t->arena, &t->mail, &why) < 0) {
		session_refuse(s, &why);
		return false;
	}
	t->sender.given = true;
	t->sender.text = join(t->arena, &path);
	t->sender.domain = path.domain;
	return true;
}

/* RFC 5321 4.1.1.2 */
void cmd_mail(struct session *s, struct str arg)
{
	struct txn *t;

	if (take_tag(&arg, STR("FROM:")) < 0) {
		session_reply(s, "501 5.5.4 Syntax: MAIL FROM:<address>");
		return;
	}
	if (!client_may(s, LIMITS_MESSAGE, "Message delivery request rate",
		s->smtpd->params->smtpd_client_message_rate_limit,
		"too much mail"))
		return;
	if ((t = txn_new()) == NULL) {
		session_reply(s, "452 4.3.0 Insufficient memory");
		return;
	}
	if (!parse(s, t, arg) || !has_room(s, &t->mail)) {
		txn_free(&t);
		return;
	}
	policy_ask_sender(s, t);
	if (arena_failed(t->arena)) {
		txn_free(&t);
		session_reply(s, "452 4.3.0 Insufficient memory");
		return;
	}
	s->txn = t;
	session_enter(s, SESSION_MAIL);
	if (!policy_permits(s, ACCESS_SENDER, NULL)) {
		session_enter(s, SESSION_READY);
		return;
	}
	session_reply(s, "250 2.1.0 Ok");
}
