#include <inttypes.h>
#include <sys/random.h>
#include "mail/compose.h"
#include "mail/date.h"
#include "mail/path.h"

const char *mail_received_with(const struct mail_received *r)
{
	/* RFC 3848, RFC 6531 4.3; index: utf8, tls, auth */
	static const char *const smtp[] = {
		"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA",
		"UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"
	}, *const lmtp[] = {
		"LMTP", "LMTPA", "LMTPS", "LMTPSA",
		"UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"
	};
	unsigned i = (r->with_utf8 ? 4u : 0) | (r->with_tls ? 2u : 0) |
	    (r->with_auth ? 1u : 0);

	if (r->protocol == MAIL_PROTOCOL_LMTP)
		return lmtp[i];
	return i == 0 && !r->esmtp ? "SMTP" : smtp[i];
}

int mail_text_append(struct buf *b, struct str s, bool utf8)
{
	bool keep = utf8 && str_is_utf8(s);

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		/* With UTF-8 also no C1 control (0xc2 0x80..0x9f). */
		if (c < 32 || c == 127 || (c > 127 && !keep))
			buf_append_char(b, '?');
		else if (c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
			i++, buf_append_char(b, '?');
		else
			buf_append_char(b, (char)c);
	}
	return b->failed ? -1 : 0;
}

/* Text that cannot leave the comment it stands in (RFC 5322 3.2.2 ctext). */
static void append_comment(struct buf *b, struct str s)
{
	size_t at = b->n;

	mail_text_append(b, s, false);
	for (; at < b->n; at++)
		if (strchr("()\\", b->p[at]) != NULL)
			b->p[at] = '?';
}

/* RFC 5321 4.4: "from" takes a domain or an address literal. */
static void append_domain(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool good = ascii_is_alpha(c) || ascii_is_digit(c) ||
		    (c != '\0' && strchr(".-_[]:", c) != NULL);

		buf_append_char(b, good ? c : '?');
	}
}

static void append_client(struct buf *b, const struct mail_received *r,
    const char *eol)
{
	buf_append_c(b, "from ");
	if (r->helo.n > 0)
		append_domain(b, r->helo);
	else
		buf_append_c(b, "unknown");
	if (r->client_name.n > 0 || r->client_address.n > 0) {
		buf_append_c(b, " (");
		append_domain(b, r->client_name.n > 0 ? r->client_name :
		    STR("unknown"));
		if (r->client_address.n > 0) {
			buf_append_c(b, " [");
			if (str_chr(r->client_address, ':') != -1)
				buf_append_c(b, "IPv6:");
			append_domain(b, r->client_address);
			buf_append_char(b, ']');
		}
		buf_append_char(b, ')');
	}
	if (r->tls.n > 0) {
		buf_printf(b, "%s\t(", eol);
		append_comment(b, r->tls);
		buf_append_char(b, ')');
	}
	if (r->login.n > 0) {
		buf_printf(b, "%s\t(Authenticated sender: ", eol);
		append_comment(b, r->login);
		buf_append_char(b, ')');
	}
	buf_printf(b, "%s\t", eol);
}

int mail_received_append(struct buf *b, const struct mail_received *r,
    const char *eol)
{
	bool local = r->protocol == MAIL_PROTOCOL_LOCAL;

	buf_append_c(b, "Received: ");
	if (!local)
		append_client(b, r, eol);
	buf_append_c(b, "by ");
	append_domain(b, r->by);
	if (r->by_comment.n > 0 || (local && r->uid != UINT32_MAX)) {
		buf_append_c(b, " (");
		append_comment(b, r->by_comment);
		if (local && r->uid != UINT32_MAX)
			buf_printf(b, "%sfrom userid %u",
			    r->by_comment.n > 0 ? ", " : "", r->uid);
		buf_append_char(b, ')');
	}
	if (!local)
		buf_printf(b, " with %s", mail_received_with(r));
	if (r->id.n > 0) {
		buf_printf(b, local ? "%s\tid " : " id ", eol);
		append_domain(b, r->id);
	}
	/* RFC 5321 7.6: one recipient or none, the caller saw to it. */
	if ((r->rcpt_local.n > 0 || r->rcpt_domain.n > 0) &&
	    !str_has_ctl(r->rcpt_local) && !str_has_ctl(r->rcpt_domain) &&
	    (r->with_utf8 || (str_is_ascii(r->rcpt_local) &&
	    str_is_ascii(r->rcpt_domain)))) {
		buf_printf(b, "%s\tfor ", eol);
		mail_path_append_angle(b, r->rcpt_local, r->rcpt_domain);
	}
	buf_append_c(b, "; ");
	mail_date_append(b, r->time, r->zone);
	return buf_append_c(b, eol) == -1 || b->failed ? -1 : 0;
}

int mail_msgid_append(struct buf *b, int64_t time, struct str id,
    struct str domain)
{
	uint64_t random = 0;

	buf_printf(b, "<%" PRIx64 ".", (uint64_t)time);
	if (id.n > 0) {
		append_domain(b, id);
	} else {
		if (getrandom(&random, sizeof(random), 0) !=
		    (ssize_t)sizeof(random))
			return -1;
		buf_printf(b, "%016" PRIx64, random);
	}
	buf_append_char(b, '@');
	append_domain(b, domain);
	return buf_append_char(b, '>') == -1 || b->failed ? -1 : 0;
}
