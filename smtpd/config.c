#include <unistd.h>
#include "msgs/control.h"
#include "msgs/keys.h"
#include "msgs/limits.h"
#include "service/service.h"
#include "smtpd/smtpd.h"

static int fail(struct buf *why, const char *param, const char *text)
{
	buf_printf(why, "%s: %s", param, text);
	return -1;
}

/* --- addresses --- */

static int read_networks(const char *param, const char *text,
    struct net_cidr_list *list, struct buf *why)
{
	struct str bad;
	const char *reason;

	if (net_cidr_list_parse(str_of(text), list, &bad, &reason) == 0)
		return 0;
	buf_printf(why, "%s: " STR_FMT ": %s", param, STR_ARG(bad), reason);
	return -1;
}

static int read_all_networks(struct smtpd *d, struct buf *why)
{
	const struct params *p = d->params;

	if (read_networks("mynetworks", p->mynetworks, &d->mynetworks,
		why) < 0 ||
	    read_networks("smtpd_forbid_bare_newline_exclusions",
		p->smtpd_forbid_bare_newline_exclusions,
		&d->bare_newline_exclusions, why) < 0 ||
	    read_networks("plaintext_login_networks",
		p->plaintext_login_networks, &d->plaintext_login, why) < 0 ||
	    read_networks("smtpd_client_event_limit_exceptions",
		p->smtpd_client_event_limit_exceptions,
		&d->event_exceptions, why) < 0)
		return -1;
	return 0;
}

/* --- the protocol --- */

/* Names under which sites carry submission in master.cf. */
static bool is_submission_name(const char *service)
{
	static const char *const names[] = { "submission", "submissions",
		"smtps", "587", "465" };
	struct str s = str_of(service), word = s;
	ssize_t colon = str_rchr(s, ':'); /* "127.0.0.1:587" */

	if (colon >= 0)
		word = str_from(s, (size_t)colon + 1);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_c(word, names[i]))
			return true;
	return false;
}

static enum smtpd_protocol read_protocol(const struct params *p,
    const char *service)
{
	struct str value = str_of(p->smtpd_protocol);
	struct str name = str_of(service);

	if (str_eq_c(value, "lmtp"))
		return SMTPD_LMTP;
	if (str_eq_c(value, "submission"))
		return SMTPD_SUBMISSION;
	if (value.n > 0)
		return SMTPD_SMTP;
	if (str_eq_c(name, "lmtp") || str_eq_c(name, "24") ||
	    str_ends(name, STR(":24")))
		return SMTPD_LMTP;
	return is_submission_name(service) ? SMTPD_SUBMISSION : SMTPD_SMTP;
}

/* --- restrictions --- */

static const char *class_value(void *ctx, struct str name)
{
	const struct params *p = ctx;
	struct str list = str_of(p->smtpd_restriction_classes), word;
	char text[128];

	while (str_word(&list, ", \t\r\n", &word))
		if (str_eq(word, name) &&
		    str_to_c(word, text, sizeof(text)) == 0)
			return params_extra(p, text);
	return NULL;
}

static int read_lists(struct smtpd *d, struct arena *arena, struct buf *why)
{
	const struct params *p = d->params;
	const struct {
		const char *name, *text;
	} rows[ACCESS_STAGE_COUNT] = {
		[ACCESS_CLIENT] = { "smtpd_client_restrictions",
		    p->smtpd_client_restrictions },
		[ACCESS_HELO] = { "smtpd_helo_restrictions",
		    p->smtpd_helo_restrictions },
		[ACCESS_SENDER] = { "smtpd_sender_restrictions",
		    p->smtpd_sender_restrictions },
		[ACCESS_RELAY] = { "smtpd_relay_restrictions",
		    p->smtpd_relay_restrictions },
		[ACCESS_RECIPIENT] = { "smtpd_recipient_restrictions",
		    p->smtpd_recipient_restrictions },
		[ACCESS_DATA] = { "smtpd_data_restrictions",
		    p->smtpd_data_restrictions },
		[ACCESS_END_OF_DATA] = { "smtpd_end_of_data_restrictions",
		    p->smtpd_end_of_data_restrictions },
	};

	d->asks_sender = p->smtpd_reject_unlisted_sender;
	for (int i = 0; i < ACCESS_STAGE_COUNT; i++) {
		buf_printf(why, "%s: ", rows[i].name);
		d->lists[i] = access_parse(str_of(rows[i].text), i, arena,
		    class_value, (void *)(uintptr_t)p, why);
		if (d->lists[i] == NULL)
			return -1;
		buf_reset(why);
		d->asks_sender |= access_asks_sender(d->lists[i]);
	}
	/* As Postfix: better no service than an open relay. */
	if (!access_guards_relay(d->lists[ACCESS_RELAY],
		d->lists[ACCESS_RECIPIENT]))
		return fail(why,
		    "smtpd_relay_restrictions or "
		    "smtpd_recipient_restrictions",
		    "specify at least one of reject_unauth_destination, "
		    "defer_unauth_destination, reject, defer");
	return 0;
}

static void read_codes(struct smtpd *d)
{
	const struct params *p = d->params;

	d->codes = (struct access_codes){
#define CODE(name) .name = (uint64_t)p->name
		CODE(relay_domains_reject_code),
		CODE(reject_code),
		CODE(defer_code),
		CODE(non_fqdn_reject_code),
		CODE(invalid_hostname_reject_code),
		CODE(unknown_address_reject_code),
		CODE(unknown_client_reject_code),
		CODE(unknown_hostname_reject_code),
		CODE(multi_recipient_bounce_reject_code),
		CODE(plaintext_reject_code),
#undef CODE
	};
}

/* --- TLS --- */

/* The oldest version in a list like ">=TLSv1.2" or "!SSLv3, !TLSv1.2". */
static int oldest_version(const char *text)
{
	struct str s = str_of(text);

	return str_find_nocase(s, STR(">=TLSv1.3")) >= 0 ||
		str_find_nocase(s, STR("!TLSv1.2")) >= 0
	    ? 0x0304
	    : 0x0303;
}

/* The certificates that master gave for a parameter, each chain a file. Their
 * number, or -1 and why. */
static int add_chains(struct smtpd *d, const char *param, struct buf *why)
{
	char name[CONTROL_NAME_MAX];
	const char *reason;
	int fd, n = 0, rc;

	for (;; n++) {
		control_nth_name(name, param, (size_t)n);
		if ((fd = service_file(name)) < 0)
			return n;
		rc = tls_server_add_chain_fd(d->tls, fd, keys_sign,
		    service_edge("keys"), &reason);
		close(fd);
		if (rc < 0)
			return fail(why, param, reason);
	}
}

static int read_tls(struct smtpd *d, struct buf *why)
{
	const struct params *p = d->params;
	struct str level = str_of(p->smtpd_tls_security_level);
	struct tls_server_options options = { .service = "smtp" };
	const char *reason;
	int got;

	d->tls_required = str_eq_c(level, "encrypt");
	if (!p->smtpd_tls_wrappermode &&
	    (level.n == 0 || str_eq_c(level, "none")))
		return 0;
	if (tls_init(&reason) < 0)
		return fail(why, "smtpd_tls_security_level", reason);
	options.min_version = oldest_version(d->tls_required
		? p->smtpd_tls_mandatory_protocols
		: p->smtpd_tls_protocols);
	if ((d->tls = tls_server_new(&options, &reason)) == NULL)
		return fail(why, "smtpd_tls_security_level", reason);
	if ((got = add_chains(d, "smtpd_tls_chain_files", why)) == 0)
		got = add_chains(d, "smtpd_tls_cert_file", why);
	if (got < 0)
		return -1;
	if (got > 0)
		return 0;
	/* Offered without a certificate it would be an empty promise. */
	if (d->tls_required || p->smtpd_tls_wrappermode)
		return fail(why, "smtpd_tls_cert_file",
		    "TLS is required, and there is no certificate");
	tls_server_free(&d->tls);
	return 0;
}

int smtpd_configure(struct smtpd *d, const struct params *p,
    const char *service, struct arena *arena, struct buf *why)
{
	d->params = p;
	d->protocol = read_protocol(p, service);
	d->banner = str_of(p->smtpd_banner);
	read_codes(d);
	if (read_all_networks(d, why) < 0 || read_lists(d, arena, why) < 0 ||
	    read_tls(d, why) < 0)
		return -1;
	d->limits = limits_client_new(service_edge("limits"));
	return 0;
}
