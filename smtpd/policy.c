#include "base/log.h"
#include "msgs/dns.h"
#include "service/service.h"
#include "smtpd/policy.h"

#define ARENA_MAX (64 * 1024)
#define REPLY_MAX 510
#define TIMEOUT_DNS (10 * CLOCK_SECOND)
#define TIMEOUT_LOOKUP (30 * CLOCK_SECOND)

static enum access_dns ask_dns(void *ctx, struct str domain)
{
	struct edge *edge = service_edge("dns");
	int64_t deadline = clock_now() + TIMEOUT_DNS;
	static const enum dns_type types[] = { DNS_MX, DNS_A, DNS_AAAA };
	struct arena *arena;
	enum access_dns found = ACCESS_DNS_NONE;

	(void)ctx;
	if (edge == NULL || (arena = arena_new(ARENA_MAX)) == NULL)
		return ACCESS_DNS_TEMPFAIL;
	for (size_t i = 0; i < 3 && found == ACCESS_DNS_NONE; i++) {
		struct dns_reply r;

		dns_ask(edge, types[i], domain, deadline, arena, &r);
		if (r.status == DNS_OK)
			found = types[i] == DNS_MX && r.data.n == 1 &&
				r.data.v[0].n == 0
			    ? ACCESS_DNS_NULL_MX /* RFC 7505 3 */
			    : ACCESS_DNS_FOUND;
		else if (r.status == DNS_NXDOMAIN)
			break;
		else if (r.status != DNS_NODATA)
			found = ACCESS_DNS_TEMPFAIL;
	}
	arena_free(&arena);
	return found;
}

/* Is it the address of somebody here: 1, 0, or -1 when nobody knows now. */
static int is_taken(struct str address)
{
	struct resolve_request q = { .address = address };
	struct resolve_reply r;
	struct conv *conv;
	const char *why;
	int taken;

	if (service_ask("lookup", &resolve_request_schema, &q,
		&resolve_reply_schema, &r, TIMEOUT_LOOKUP, &conv, &why) < 0)
		return -1;
	taken = r.status == LOOKUP_TEMPFAIL ? -1
	    : r.status == LOOKUP_OK && r.klass != LOOKUP_DEFAULT;
	conv_keep(&conv);
	return taken;
}

/*
 * Who owns a sender address: the user of that name, and every user that
 * virtual_alias_maps sends its mail to.
 */
static int ask_owner(void *ctx, struct str user, struct str sender)
{
	struct expand_request q = { .address = sender };
	struct expand_reply r;
	struct conv *conv;
	const char *why;
	int owner;

	(void)ctx;
	if (user.p != NULL && str_eq_nocase(user, sender))
		return 1;
	if ((owner = is_taken(sender)) != 1)
		return owner == 0 ? 2 : -1;
	if (service_ask("lookup", &expand_request_schema, &q,
		&expand_reply_schema, &r, TIMEOUT_LOOKUP, &conv, &why) < 0)
		return -1;
	owner = r.status == LOOKUP_OK ? 0 : -1;
	for (size_t i = 0; owner == 0 && i < r.addresses.n; i++)
		if (user.p != NULL && str_eq_nocase(r.addresses.v[i], user))
			owner = 1;
	conv_keep(&conv);
	return owner;
}

static void describe(struct session *s, struct access_request *q)
{
	*q = (struct access_request){
		.codes = &s->smtpd->codes,
		.oracle = { NULL, ask_dns, ask_owner },
		.client = s->client,
		.client_address = str_of(s->address),
		.name = s->name_status,
		.reverse_name = s->reverse_status,
		.in_mynetworks = s->in_mynetworks,
		.is_own_host = s->is_own_host,
		.is_tls = s->tls.n > 0,
		.user = s->login,
		.helo = s->helo,
		.reject_unlisted_recipient =
		    s->smtpd->params->smtpd_reject_unlisted_recipient,
		.reject_unlisted_sender =
		    s->smtpd->params->smtpd_reject_unlisted_sender,
	};
	if (s->txn != NULL) {
		q->sender = s->txn->sender;
		q->nrcpts = s->txn->nrcpts;
	}
}

void policy_classify(const struct session *s, const struct resolve_reply *r,
    struct access_address *a)
{
	const struct params *p = s->smtpd->params;
	static const char *const tables[] = {
		[LOOKUP_LOCAL] = "local recipient table",
		[LOOKUP_VIRTUAL_ALIAS] = "virtual alias table",
		[LOOKUP_VIRTUAL_MAILBOX] = "virtual mailbox table",
		[LOOKUP_RELAY] = "relay recipient table",
		[LOOKUP_DEFAULT] = "",
	};

	a->code = (uint64_t)p->unknown_local_recipient_reject_code;
	switch (r->status) {
	case LOOKUP_OK:
		a->class = r->klass == LOOKUP_DEFAULT ? ACCESS_CLASS_FOREIGN
						      : ACCESS_CLASS_OURS;
		break;
	case LOOKUP_NO_USER:
		a->class = ACCESS_CLASS_UNKNOWN;
		if (p->show_user_unknown_table_name &&
		    r->klass >= LOOKUP_LOCAL && r->klass <= LOOKUP_DEFAULT)
			a->table = str_of(tables[r->klass]);
		break;
	case LOOKUP_BAD:
		a->class = ACCESS_CLASS_UNKNOWN;
		break;
	default:
		a->class = ACCESS_CLASS_TEMPFAIL;
		break;
	}
}

void policy_ask_sender(struct session *s, struct txn *t)
{
	struct resolve_request q = { .address = t->sender.text,
		.is_sender = true };
	struct resolve_reply r;
	struct conv *conv;
	const char *why;

	if (t->sender.text.n == 0 ||
	    (t->sender.domain.n > 0 && (!s->smtpd->asks_sender || s->is_stdio)))
		return;
	t->sender.class = ACCESS_CLASS_TEMPFAIL;
	if (service_ask("lookup", &resolve_request_schema, &q,
		&resolve_reply_schema, &r, TIMEOUT_LOOKUP, &conv, &why) < 0)
		return;
	policy_classify(s, &r, &t->sender);
	if (t->sender.domain.n == 0 && r.status == LOOKUP_OK) {
		struct str local;

		t->sender.text = arena_str(t->arena, r.address);
		mail_path_split(t->sender.text, &local, &t->sender.domain);
	}
	conv_keep(&conv);
}

/* "; from=<a> to=<b> proto=ESMTP helo=<c>" */
static void append_context(const struct session *s, struct buf *out,
    struct str rcpt)
{
	buf_append_char(out, ';');
	if (s->txn != NULL)
		buf_printf(out, " from=<" STR_FMT ">",
		    STR_ARG(s->txn->sender.text));
	if (rcpt.p != NULL)
		buf_printf(out, " to=<" STR_FMT ">", STR_ARG(rcpt));
	buf_printf(out, " proto=%s", session_protocol(s));
	if (s->helo.n > 0)
		buf_printf(out, " helo=<" STR_FMT ">", STR_ARG(s->helo));
	if (s->login.p != NULL)
		buf_printf(out, " sasl_username=<" STR_FMT ">",
		    STR_ARG(s->login));
}

void policy_log_reject(struct session *s, const char *what, struct str reply,
    struct str rcpt)
{
	struct buf b;

	buf_init(&b, LOG_LINE_MAX);
	append_context(s, &b, rcpt);
	log_info("NOQUEUE: %s: %s from " STR_FMT ": " STR_FMT "%s", what,
	    s->where, STR_ARG(s->client), STR_ARG(reply), buf_cstr(&b));
	buf_fini(&b);
}

void policy_log_result(struct session *s, const struct txn_result *r)
{
	struct str to =
	    s->txn->nrcpts > 0 ? s->txn->rcpts[0].original : STR_NONE;
	struct buf b;

	buf_init(&b, 1024);
	buf_printf(&b, "%u " STR_FMT " " STR_FMT, r->code, STR_ARG(r->dsn),
	    STR_ARG(r->text));
	policy_log_reject(s, "reject", buf_str(&b), to);
	buf_fini(&b);
}

struct warning {
	struct session *s;
	struct str rcpt;
};

static void log_warning(void *ctx, struct str reply)
{
	struct warning *w = ctx;

	policy_log_reject(w->s, "reject_warning", reply, w->rcpt);
}

/* The lists that a stage evaluates, in order (smtpd_delay_reject). */
static size_t lists_of(const struct smtpd *d, enum access_stage stage,
    const struct access_list *out[ACCESS_STAGE_COUNT])
{
	bool late = d->params->smtpd_delay_reject;
	bool relay_first =
	    d->params->smtpd_relay_before_recipient_restrictions;
	size_t n = 0;

	if (stage < ACCESS_RELAY && late)
		return 0;
	if (stage != ACCESS_RECIPIENT) {
		out[n++] = d->lists[stage];
		return n;
	}
	for (int i = ACCESS_CLIENT; late && i <= ACCESS_SENDER; i++)
		out[n++] = d->lists[i];
	out[n++] = d->lists[relay_first ? ACCESS_RELAY : ACCESS_RECIPIENT];
	out[n++] = d->lists[relay_first ? ACCESS_RECIPIENT : ACCESS_RELAY];
	return n;
}

static void soften(struct buf *reply)
{
	if (reply->n > 4 && reply->p[0] == '5')
		reply->p[0] = reply->p[4] = '4';
}

bool policy_permits(struct session *s, enum access_stage stage,
    const struct access_address *rcpt)
{
	const struct access_list *lists[ACCESS_STAGE_COUNT];
	size_t n = lists_of(s->smtpd, stage, lists);
	struct warning w = { s, rcpt != NULL ? rcpt->text : STR_NONE };
	struct access_request q;
	struct buf reply;
	bool ok;

	if (s->is_stdio) /* a local user: nothing but who is unknown */
		n = 0;
	describe(s, &q);
	if (rcpt != NULL)
		q.recipient = *rcpt;
	buf_init(&reply, REPLY_MAX);
	ok = access_check(lists, n, stage, &q, &reply, log_warning, &w) !=
	    ACCESS_REJECT;
	if (!ok) {
		if (s->smtpd->params->soft_bounce)
			soften(&reply);
		policy_log_reject(s, "reject", buf_str(&reply), w.rcpt);
		session_reply(s, STR_FMT, STR_ARG(buf_str(&reply)));
		/* RFC 2033 4.2: once for each recipient, or the client takes
		 * the answer to its next command for one of them. */
		for (size_t i = 1; stage == ACCESS_END_OF_DATA &&
		    session_is_lmtp(s) && i < s->txn->nrcpts; i++)
			session_line(s, STR_FMT, STR_ARG(buf_str(&reply)));
	}
	buf_fini(&reply);
	return ok;
}
