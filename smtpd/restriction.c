#include <stdio.h>
#include "smtpd/restriction.h"

/* --- replies --- */

/* "<bob@x>: Recipient address rejected", of what the list is about. */
static void append_subject(struct access_run *r, struct buf *out,
    enum access_stage stage)
{
	const struct access_request *q = r->q;

	switch (stage) {
	case ACCESS_CLIENT:
		buf_printf(out, "<" STR_FMT ">: Client host rejected: ",
		    STR_ARG(q->client));
		break;
	case ACCESS_HELO:
		buf_printf(out, "<" STR_FMT ">: Helo command rejected: ",
		    STR_ARG(q->helo));
		break;
	case ACCESS_SENDER:
		buf_printf(out, "<" STR_FMT ">: Sender address rejected: ",
		    STR_ARG(q->sender.text));
		break;
	case ACCESS_RELAY:
	case ACCESS_RECIPIENT:
		buf_printf(out, "<" STR_FMT ">: Recipient address rejected: ",
		    STR_ARG(q->recipient.text));
		break;
	case ACCESS_DATA:
		buf_append_c(out, "<DATA>: Data command rejected: ");
		break;
	case ACCESS_END_OF_DATA:
	case ACCESS_STAGE_COUNT:
		buf_append_c(out,
		    "<END-OF-MESSAGE>: End-of-data rejected: ");
		break;
	}
}

/* The class of the enhanced code is that of the reply code (RFC 2034 4). */
static void append_codes(struct buf *out, uint64_t code, const char *dsn)
{
	buf_printf(out, "%03u %c%s ", (unsigned)code,
	    code / 100 == 4 ? '4' : '5', dsn + 1);
}

static enum access_verdict refuse(struct access_run *r, uint64_t code,
    const char *dsn, enum access_stage subject, const char *text)
{
	buf_reset(r->reply);
	append_codes(r->reply, code, dsn);
	append_subject(r, r->reply, subject);
	buf_append_c(r->reply, text);
	return ACCESS_REJECT;
}

/* Refuses temporarily, but only if everything else would let it pass. */
static enum access_verdict defer_if_permit(struct access_run *r,
    const char *dsn, enum access_stage subject, const char *text)
{
	if (r->if_permit->n == 0) {
		append_codes(r->if_permit, r->q->codes->defer_code, dsn);
		append_subject(r, r->if_permit, subject);
		buf_append_c(r->if_permit, text);
	}
	return ACCESS_DUNNO;
}

/* --- names --- */

bool access_is_hostname(struct str s)
{
	size_t label = 0;
	bool digits = true;

	if (s.n == 0 || s.n > 255)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' &&
		    c != '_')
			return false;
		if (c == '-' && label == 0)
			return false;
		digits = digits && ascii_is_digit(c);
		if (++label > 63)
			return false;
	}
	return !digits && s.p[s.n - 1] != '-' && label > 0;
}

static bool is_fqdn(struct str s)
{
	return access_is_hostname(s) && str_chr(s, '.') > 0;
}

static bool is_literal(struct str s)
{
	return s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
}

/* [192.0.2.1], [IPv6:2001:db8::1] */
static bool is_good_literal(struct str s)
{
	struct net_addr addr;

	return net_addr_parse_literal(str_sub(s, 1, s.n - 2), &addr) == 0;
}

static bool looks_numeric(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_digit(s.p[i]) && s.p[i] != '.')
			return false;
	return s.n > 0;
}

/* --- the restrictions --- */

static enum access_verdict do_permit(struct access_run *r)
{
	(void)r;
	return ACCESS_OK;
}

static enum access_verdict do_reject(struct access_run *r)
{
	return refuse(r, r->q->codes->reject_code, "5.7.1", r->stage,
	    "Access denied");
}

static enum access_verdict do_defer(struct access_run *r)
{
	return refuse(r, r->q->codes->defer_code, "4.3.2", r->stage,
	    "Try again later");
}

static enum access_verdict do_defer_if_permit(struct access_run *r)
{
	return defer_if_permit(r, "4.3.2", r->stage, "Try again later");
}

static enum access_verdict do_defer_if_reject(struct access_run *r)
{
	r->defer_if_reject = true;
	return ACCESS_DUNNO;
}

/* The evaluator looks for its flag; by itself it decides nothing. */
static enum access_verdict do_warn_if_reject(struct access_run *r)
{
	(void)r;
	return ACCESS_DUNNO;
}

static enum access_verdict do_permit_mynetworks(struct access_run *r)
{
	return r->q->in_mynetworks ? ACCESS_OK : ACCESS_DUNNO;
}

static enum access_verdict do_permit_inet_interfaces(struct access_run *r)
{
	return r->q->is_own_host ? ACCESS_OK : ACCESS_DUNNO;
}

static enum access_verdict do_permit_sasl_authenticated(struct access_run *r)
{
	return r->q->user.p != NULL ? ACCESS_OK : ACCESS_DUNNO;
}

static bool is_auth_destination(const struct access_address *a)
{
	return a->class == ACCESS_CLASS_OURS ||
	    a->class == ACCESS_CLASS_UNKNOWN;
}

static enum access_verdict do_permit_auth_destination(struct access_run *r)
{
	return is_auth_destination(&r->q->recipient) ? ACCESS_OK
						     : ACCESS_DUNNO;
}

static enum access_verdict refuse_relay(struct access_run *r, uint64_t code)
{
	const struct access_address *to = &r->q->recipient;

	if (!to->given || is_auth_destination(to))
		return ACCESS_DUNNO;
	buf_reset(r->reply);
	if (to->class == ACCESS_CLASS_TEMPFAIL) {
		buf_printf(r->reply, "451 4.3.0 <" STR_FMT
		    ">: Temporary lookup failure", STR_ARG(to->text));
		return ACCESS_REJECT;
	}
	append_codes(r->reply, code, "5.7.1");
	buf_printf(r->reply, "<" STR_FMT ">: Relay access denied",
	    STR_ARG(to->text));
	return ACCESS_REJECT;
}

static enum access_verdict do_reject_unauth_destination(struct access_run *r)
{
	return refuse_relay(r, r->q->codes->relay_domains_reject_code);
}

static enum access_verdict do_defer_unauth_destination(struct access_run *r)
{
	return refuse_relay(r, r->q->codes->relay_domains_reject_code - 100);
}

static enum access_verdict do_reject_unauth_pipelining(struct access_run *r)
{
	return r->q->pipelined_too_early
	    ? refuse(r, 503, "5.5.0", r->stage,
		  "Improper use of SMTP command pipelining")
	    : ACCESS_DUNNO;
}

static enum access_verdict do_reject_invalid_helo(struct access_run *r)
{
	struct str helo = r->q->helo;
	uint64_t code = r->q->codes->invalid_hostname_reject_code;
	struct net_addr addr;

	if (helo.n == 0)
		return ACCESS_DUNNO;
	if (is_literal(helo) ? !is_good_literal(helo)
		: looks_numeric(helo) && net_addr_parse(helo, &addr) < 0)
		return refuse(r, code, "5.5.2", ACCESS_HELO,
		    "invalid ip address");
	if (!is_literal(helo) && !looks_numeric(helo) &&
	    !access_is_hostname(helo))
		return refuse(r, code, "5.5.2", ACCESS_HELO, "Invalid name");
	return ACCESS_DUNNO;
}

static enum access_verdict do_reject_non_fqdn_helo(struct access_run *r)
{
	struct str helo = r->q->helo;

	if (helo.n == 0 || is_literal(helo) || is_fqdn(helo))
		return ACCESS_DUNNO;
	return refuse(r, r->q->codes->non_fqdn_reject_code, "5.5.2",
	    ACCESS_HELO, "need fully-qualified hostname");
}

static enum access_verdict do_reject_unknown_helo(struct access_run *r)
{
	struct str helo = r->q->helo;

	if (helo.n == 0 || is_literal(helo))
		return ACCESS_DUNNO;
	switch (r->q->oracle.domain(r->q->oracle.ctx, helo)) {
	case ACCESS_DNS_NONE:
		return refuse(r, r->q->codes->unknown_hostname_reject_code,
		    "5.7.1", ACCESS_HELO, "Host not found");
	case ACCESS_DNS_TEMPFAIL:
		return defer_if_permit(r, "4.7.1", ACCESS_HELO,
		    "Host not found");
	default:
		return ACCESS_DUNNO;
	}
}

static enum access_verdict refuse_client_name(struct access_run *r,
    enum access_name status, const char *dsn, const char *what)
{
	char text[128];

	if (status == ACCESS_NAME_OK)
		return ACCESS_DUNNO;
	snprintf(text, sizeof(text), "%s, [" STR_FMT "]", what,
	    STR_ARG(r->q->client_address));
	if (status == ACCESS_NAME_TEMPFAIL)
		return defer_if_permit(r, dsn, ACCESS_CLIENT, text);
	return refuse(r, r->q->codes->unknown_client_reject_code, dsn,
	    ACCESS_CLIENT, text);
}

static enum access_verdict do_reject_unknown_client(struct access_run *r)
{
	return refuse_client_name(r, r->q->name, "5.7.25",
	    "cannot find your hostname");
}

static enum access_verdict do_reject_unknown_reverse(struct access_run *r)
{
	return refuse_client_name(r, r->q->reverse_name, "5.7.25",
	    "cannot find your reverse hostname");
}

static enum access_verdict refuse_non_fqdn(struct access_run *r,
    const struct access_address *a, enum access_stage subject)
{
	/* RFC 5321 4.5.1: postmaster needs no domain. */
	if (!a->given || a->text.n == 0 ||
	    str_eq_nocase_c(a->text, "postmaster") || is_literal(a->domain) ||
	    is_fqdn(a->domain))
		return ACCESS_DUNNO;
	return refuse(r, r->q->codes->non_fqdn_reject_code, "5.5.2", subject,
	    "need fully-qualified address");
}

static enum access_verdict do_reject_non_fqdn_sender(struct access_run *r)
{
	return refuse_non_fqdn(r, &r->q->sender, ACCESS_SENDER);
}

static enum access_verdict do_reject_non_fqdn_recipient(struct access_run *r)
{
	return refuse_non_fqdn(r, &r->q->recipient, ACCESS_RECIPIENT);
}

static enum access_verdict refuse_unknown_domain(struct access_run *r,
    const struct access_address *a, enum access_stage subject,
    const char *dsn, const char *null_mx_dsn)
{
	uint64_t code = r->q->codes->unknown_address_reject_code;

	if (!a->given || a->domain.n == 0 || is_literal(a->domain) ||
	    is_auth_destination(a))
		return ACCESS_DUNNO;
	switch (r->q->oracle.domain(r->q->oracle.ctx, a->domain)) {
	case ACCESS_DNS_NONE:
		return refuse(r, code, dsn, subject, "Domain not found");
	case ACCESS_DNS_NULL_MX: /* RFC 7505 4.2 */
		return refuse(r, 550, null_mx_dsn, subject,
		    "Domain does not accept mail (nullMX)");
	case ACCESS_DNS_TEMPFAIL:
		return defer_if_permit(r, dsn, subject, "Domain not found");
	default:
		return ACCESS_DUNNO;
	}
}

static enum access_verdict do_reject_unknown_sender(struct access_run *r)
{
	return refuse_unknown_domain(r, &r->q->sender, ACCESS_SENDER, "5.1.8",
	    "5.7.27");
}

static enum access_verdict do_reject_unknown_recipient(struct access_run *r)
{
	return refuse_unknown_domain(r, &r->q->recipient, ACCESS_RECIPIENT,
	    "5.1.2", "5.1.10");
}

static enum access_verdict refuse_unlisted(struct access_run *r,
    const struct access_address *a, enum access_stage subject,
    const char *dsn)
{
	char text[128];

	if (!a->given || a->class != ACCESS_CLASS_UNKNOWN)
		return ACCESS_DUNNO;
	if (a->table.n > 0)
		snprintf(text, sizeof(text), "User unknown in " STR_FMT,
		    STR_ARG(a->table));
	else
		snprintf(text, sizeof(text), "User unknown");
	return refuse(r, a->code, dsn, subject, text);
}

static enum access_verdict do_reject_unlisted_recipient(struct access_run *r)
{
	return refuse_unlisted(r, &r->q->recipient, ACCESS_RECIPIENT,
	    "5.1.1");
}

static enum access_verdict do_reject_unlisted_sender(struct access_run *r)
{
	return refuse_unlisted(r, &r->q->sender, ACCESS_SENDER, "5.1.0");
}

static enum access_verdict do_reject_multi_bounce(struct access_run *r)
{
	/* At RCPT, the one in question counts too. */
	size_t n = r->q->nrcpts +
	    (r->stage == ACCESS_RECIPIENT || r->stage == ACCESS_RELAY);

	if (!r->q->sender.given || r->q->sender.text.n > 0 || n < 2)
		return ACCESS_DUNNO;
	return refuse(r, r->q->codes->multi_recipient_bounce_reject_code,
	    "5.5.3", r->stage, "Multi-recipient bounce");
}

static enum access_verdict do_reject_plaintext(struct access_run *r)
{
	if (r->q->is_tls)
		return ACCESS_DUNNO;
	buf_reset(r->reply);
	append_codes(r->reply, r->q->codes->plaintext_reject_code, "5.7.1");
	buf_append_c(r->reply, "Session encryption is required");
	return ACCESS_REJECT;
}

/* The client is logged in, but not as an owner of the sender address. */
static enum access_verdict refuse_not_owner(struct access_run *r,
    bool known_only)
{
	struct str user = r->q->user, sender = r->q->sender.text;
	char text[160];

	if (!r->q->sender.given || sender.n == 0)
		return ACCESS_DUNNO;
	switch (r->q->oracle.owner(r->q->oracle.ctx, user, sender)) {
	case 1:
		return ACCESS_DUNNO;
	case 2:
		if (known_only)
			return ACCESS_DUNNO;
		break;
	case -1:
		return defer_if_permit(r, "4.3.0", ACCESS_SENDER,
		    "Temporary lookup failure");
	}
	snprintf(text, sizeof(text), "not owned by user %.*s",
	    user.n > 100 ? 100 : (int)user.n, user.p);
	return refuse(r, 553, "5.7.1", ACCESS_SENDER, text);
}

/* The client is not logged in, and the sender address has an owner. */
static enum access_verdict refuse_not_logged_in(struct access_run *r)
{
	struct str sender = r->q->sender.text;

	if (!r->q->sender.given || sender.n == 0)
		return ACCESS_DUNNO;
	switch (r->q->oracle.owner(r->q->oracle.ctx, STR_NONE, sender)) {
	case 0:
		return refuse(r, 553, "5.7.1", ACCESS_SENDER,
		    "not logged in");
	case -1:
		return defer_if_permit(r, "4.3.0", ACCESS_SENDER,
		    "Temporary lookup failure");
	default:
		return ACCESS_DUNNO;
	}
}

static enum access_verdict do_reject_login_mismatch(struct access_run *r)
{
	return r->q->user.p != NULL ? refuse_not_owner(r, false)
				    : refuse_not_logged_in(r);
}

static enum access_verdict do_reject_known_login_mismatch(struct access_run *r)
{
	return r->q->user.p != NULL ? refuse_not_owner(r, true)
				    : refuse_not_logged_in(r);
}

static enum access_verdict do_reject_auth_login_mismatch(struct access_run *r)
{
	return r->q->user.p != NULL ? refuse_not_owner(r, false)
				    : ACCESS_DUNNO;
}

static enum access_verdict do_reject_unauth_login_mismatch(struct access_run *r)
{
	return r->q->user.p != NULL ? ACCESS_DUNNO : refuse_not_logged_in(r);
}

static const struct restriction restrictions[] = {
	{ "permit", do_permit, 0 },
	{ "reject", do_reject, ACCESS_GUARDS },
	{ "defer", do_defer, ACCESS_GUARDS },
	{ "defer_if_permit", do_defer_if_permit, ACCESS_GUARDS },
	{ "defer_if_reject", do_defer_if_reject, 0 },
	{ "warn_if_reject", do_warn_if_reject, ACCESS_WARNS },
	{ "permit_mynetworks", do_permit_mynetworks, 0 },
	{ "permit_inet_interfaces", do_permit_inet_interfaces, 0 },
	{ "permit_sasl_authenticated", do_permit_sasl_authenticated, 0 },
	{ "permit_auth_destination", do_permit_auth_destination, 0 },
	{ "reject_unauth_destination", do_reject_unauth_destination,
	    ACCESS_GUARDS },
	{ "defer_unauth_destination", do_defer_unauth_destination,
	    ACCESS_GUARDS },
	{ "reject_unauth_pipelining", do_reject_unauth_pipelining, 0 },
	{ "reject_invalid_helo_hostname", do_reject_invalid_helo, 0 },
	{ "reject_invalid_hostname", do_reject_invalid_helo, 0 },
	{ "reject_non_fqdn_helo_hostname", do_reject_non_fqdn_helo, 0 },
	{ "reject_non_fqdn_hostname", do_reject_non_fqdn_helo, 0 },
	{ "reject_unknown_helo_hostname", do_reject_unknown_helo, 0 },
	{ "reject_unknown_hostname", do_reject_unknown_helo, 0 },
	{ "reject_unknown_client_hostname", do_reject_unknown_client, 0 },
	{ "reject_unknown_client", do_reject_unknown_client, 0 },
	{ "reject_unknown_reverse_client_hostname",
	    do_reject_unknown_reverse, 0 },
	{ "reject_non_fqdn_sender", do_reject_non_fqdn_sender, 0 },
	{ "reject_non_fqdn_recipient", do_reject_non_fqdn_recipient, 0 },
	{ "reject_unknown_sender_domain", do_reject_unknown_sender,
	    ACCESS_ASKS_SENDER },
	{ "reject_unknown_address", do_reject_unknown_sender,
	    ACCESS_ASKS_SENDER },
	{ "reject_unknown_recipient_domain", do_reject_unknown_recipient, 0 },
	{ "reject_unlisted_recipient", do_reject_unlisted_recipient, 0 },
	{ "check_recipient_maps", do_reject_unlisted_recipient, 0 },
	{ "reject_unlisted_sender", do_reject_unlisted_sender,
	    ACCESS_ASKS_SENDER },
	{ "reject_multi_recipient_bounce", do_reject_multi_bounce, 0 },
	{ "reject_plaintext_session", do_reject_plaintext, 0 },
	{ "reject_sender_login_mismatch", do_reject_login_mismatch, 0 },
	{ "reject_known_sender_login_mismatch",
	    do_reject_known_login_mismatch, 0 },
	{ "reject_authenticated_sender_login_mismatch",
	    do_reject_auth_login_mismatch, 0 },
	{ "reject_unauthenticated_sender_login_mismatch",
	    do_reject_unauth_login_mismatch, 0 },
};

const struct restriction *restriction_find(struct str name)
{
	for (size_t i = 0; i < sizeof(restrictions) / sizeof(restrictions[0]);
	     i++)
		if (str_eq_nocase_c(name, restrictions[i].name))
			return &restrictions[i];
	return NULL;
}

enum access_verdict restriction_unlisted(struct access_run *r)
{
	const struct access_request *q = r->q;
	enum access_verdict v = ACCESS_DUNNO;

	if (q->recipient.class == ACCESS_CLASS_TEMPFAIL) {
		buf_reset(r->reply);
		buf_printf(r->reply, "451 4.3.0 <" STR_FMT
		    ">: Temporary lookup failure",
		    STR_ARG(q->recipient.text));
		return ACCESS_REJECT;
	}
	if (q->reject_unlisted_recipient)
		v = do_reject_unlisted_recipient(r);
	if (v == ACCESS_DUNNO && q->reject_unlisted_sender)
		v = do_reject_unlisted_sender(r);
	return v;
}
