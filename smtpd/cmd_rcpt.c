#include "base/log.h"
#include "service/service.h"
#include "smtpd/client.h"
#include "smtpd/command.h"
#include "smtpd/policy.h"

#define LOOKUP_TIMEOUT (30 * CLOCK_SECOND)

/* Everything behind "TO:"; false: refused. */
static bool parse(struct session *s, struct str rest, struct mail_path *path,
    struct esmtp_rcpt *r)
{
	struct txn *t = s->txn;
	unsigned options = MAIL_PATH_ANY_LOCAL | MAIL_PATH_LONG |
	    MAIL_PATH_SPACE;
	struct mail_refusal why;
	struct mail_params params;

	if (t->mail.smtputf8)
		options |= MAIL_PATH_SMTPUTF8;
	if (!s->smtpd->params->strict_rfc821_envelopes)
		options |= MAIL_PATH_BARE;
	if (mail_path_parse(&rest, options, t->arena, path, &why) < 0 ||
	    mail_params_parse(rest, t->mail.smtputf8, &params, &why) < 0 ||
	    esmtp_rcpt(&params, t->mail.smtputf8, t->arena, r, &why) < 0) {
		session_refuse(s, &why);
		return false;
	}
	return true;
}

/* RFC 5321 4.5.3.1.10: 452, so that the client sends the rest in another
 * transaction; that is no error unless it insists. */
static bool has_room(struct session *s)
{
	const struct params *p = s->smtpd->params;

	if (s->txn->nrcpts < (size_t)p->smtpd_recipient_limit)
		return true;
	s->was_refused = true;
	if (s->txn->overshoot++ >=
	    (uint64_t)p->smtpd_recipient_overshoot_limit)
		session_error(s);
	session_line(s, "452 4.5.3 Error: too many recipients");
	return false;
}

/* One question to lookup: class, transport and next hop travel with the
 * recipient, and nobody asks again. */
static void ask(struct session *s, struct access_address *a,
    struct txn_rcpt *r)
{
	struct resolve_request q = { .address = a->text,
		.sender = s->txn->sender.text };
	struct arena *arena = s->txn->arena;
	struct resolve_reply reply;
	struct conv *conv;
	const char *why;

	a->class = ACCESS_CLASS_TEMPFAIL;
	if (service_ask("lookup", &resolve_request_schema, &q,
		&resolve_reply_schema, &reply, LOOKUP_TIMEOUT, &conv,
		&why) < 0) {
		log_warn("lookup of " STR_FMT ": %s", STR_ARG(a->text), why);
		return;
	}
	policy_classify(s, &reply, a);
	r->address = arena_str(arena, reply.address);
	/* With an alias in its way cleanup asks for what it becomes. */
	if (!reply.has_alias) {
		r->transport = arena_str(arena, reply.transport);
		r->nexthop = arena_str(arena, reply.nexthop);
	}
	conv_keep(&conv);
}

/* [IPv6:::ffff:192.0.2.1] is [192.0.2.1] (RFC 4291 2.5.5.2). */
static struct str unmapped(struct arena *a, const struct mail_path *path)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	const unsigned char *ip = path->literal;

	if (!(path->flags & MAIL_PATH_LITERAL6) ||
	    memcmp(ip, mapped, sizeof(mapped)) != 0)
		return path->domain;
	return arena_printf(a, "[%u.%u.%u.%u]", ip[12], ip[13], ip[14],
	    ip[15]);
}

/* RFC 5321 4.1.1.3 */
void cmd_rcpt(struct session *s, struct str arg)
{
	struct access_address to = { .given = true };
	struct txn_rcpt r = { 0 };
	struct mail_path path;
	struct esmtp_rcpt e;

	if (!str_starts_nocase(arg, STR("TO:"))) {
		session_reply(s, "501 5.5.4 Syntax: RCPT TO:<address>");
		return;
	}
	if (!client_may(s, LIMITS_RECIPIENTS, "Recipient address rate",
		s->smtpd->params->smtpd_client_recipient_rate_limit,
		"too many recipients") ||
	    !has_room(s) || !parse(s, str_from(arg, 3), &path, &e))
		return;
	to.domain = unmapped(s->txn->arena, &path);
	to.text = path.domain.n == 0
	    ? path.local
	    : arena_printf(s->txn->arena, STR_FMT "@" STR_FMT,
		  STR_ARG(path.local), STR_ARG(to.domain));
	ask(s, &to, &r);
	if (!policy_permits(s, ACCESS_RECIPIENT, &to))
		return;
	r.original = to.text;
	r.notify = e.notify;
	r.orcpt = e.orcpt;
	if (arena_failed(s->txn->arena) || txn_add_rcpt(s->txn, &r) < 0) {
		session_reply(s, "452 4.3.1 Insufficient memory");
		return;
	}
	session_enter(s, SESSION_RCPT);
	session_reply(s, "250 2.1.5 Ok");
}
