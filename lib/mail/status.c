#include <stdio.h>
#include "mail/status.h"

/* RFC 3463 2: no leading zeros, three digits at most. */
static int take_number(struct str *s, unsigned *value_r)
{
	size_t n = 0;
	unsigned v = 0;

	while (n < s->n && ascii_is_digit(s->p[n])) {
		if (n == 3)
			return -1;
		v = v * 10 + (unsigned)(s->p[n++] - '0');
	}
	if (n == 0 || (n > 1 && s->p[0] == '0'))
		return -1;
	*s = str_from(*s, n);
	*value_r = v;
	return 0;
}

static int take_code(struct str *s, struct mail_status *status_r)
{
	unsigned c, j, d;

	if (take_number(s, &c) == -1 || s->n == 0 || s->p[0] != '.')
		return -1;
	*s = str_from(*s, 1);
	if (take_number(s, &j) == -1 || s->n == 0 || s->p[0] != '.')
		return -1;
	*s = str_from(*s, 1);
	if (take_number(s, &d) == -1 || (c != 2 && c != 4 && c != 5))
		return -1;
	*status_r = MAIL_STATUS((uint8_t)c, (uint16_t)j, (uint16_t)d);
	return 0;
}

int mail_status_parse(struct str s, struct mail_status *status_r)
{
	return take_code(&s, status_r) == -1 || s.n != 0 ? -1 : 0;
}

bool mail_status_has_class(struct str s, int class)
{
	struct mail_status status;

	return mail_status_parse(s, &status) == 0 && status.class == class;
}

int mail_status_take(struct str *text, struct mail_status *status_r)
{
	struct mail_status status;
	struct str s = *text;

	if (take_code(&s, &status) == -1)
		return -1;
	if (s.n != 0 && s.p[0] != ' ' && s.p[0] != '\t')
		return -1;
	while (s.n != 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = str_from(s, 1);
	*text = s;
	*status_r = status;
	return 0;
}

bool mail_status_fits(struct mail_status status, int smtp_code)
{
	return status.class != 0 && status.class == smtp_code / 100;
}

struct mail_status mail_status_of_reply(int smtp_code)
{
	/* RFC 5248 2.4 names the basic codes that each enhanced one goes
	 * with; this is the reverse, where it is clear. */
	static const struct {
		int code;
		struct mail_status status;
	} rows[] = {
		{ 421, { 4, 3, 2 } }, { 432, { 4, 7, 12 } },
		{ 450, { 4, 2, 0 } }, { 451, { 4, 3, 0 } },
		{ 452, { 4, 3, 1 } }, { 454, { 4, 7, 0 } },
		{ 455, { 4, 5, 4 } }, { 500, { 5, 5, 2 } },
		{ 501, { 5, 5, 4 } }, { 502, { 5, 5, 1 } },
		{ 503, { 5, 5, 1 } }, { 504, { 5, 5, 4 } },
		{ 521, { 5, 3, 2 } }, { 530, { 5, 7, 0 } },
		{ 534, { 5, 7, 9 } }, { 535, { 5, 7, 8 } },
		{ 538, { 5, 7, 11 } }, { 550, { 5, 1, 0 } },
		{ 551, { 5, 1, 6 } }, { 552, { 5, 2, 2 } },
		{ 553, { 5, 1, 3 } }, { 555, { 5, 5, 4 } },
		{ 556, { 5, 1, 10 } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == smtp_code)
			return rows[i].status;
	if (smtp_code >= 200 && smtp_code <= 299)
		return MAIL_STATUS(2, 0, 0);
	if (smtp_code >= 400 && smtp_code <= 499)
		return MAIL_STATUS(4, 0, 0);
	if (smtp_code >= 500 && smtp_code <= 599)
		return MAIL_STATUS(5, 0, 0);
	return MAIL_STATUS(5, 5, 2);
}

struct mail_status mail_status_with_class(struct mail_status status, int class)
{
	if (status.class != 2)
		status.class = (uint8_t)class;
	return status;
}

const char *mail_status_print(struct mail_status s, char out[MAIL_STATUS_SIZE])
{
	unsigned c = s.class, j = s.subject, d = s.detail;

	snprintf(out, MAIL_STATUS_SIZE, "%u.%u.%u", c > 9 ? 9 : c,
	    j > 999 ? 999 : j, d > 999 ? 999 : d);
	return out;
}

int mail_status_append(struct buf *b, struct mail_status status)
{
	char out[MAIL_STATUS_SIZE];

	return buf_append_c(b, mail_status_print(status, out));
}

const char *mail_status_text(struct mail_status status)
{
	/* The names of the registry that RFC 5248 set up. */
	static const struct {
		uint16_t subject, detail;
		const char *text;
	} rows[] = {
		{ 1, 0, "Other address status" },
		{ 1, 1, "Bad destination mailbox address" },
		{ 1, 2, "Bad destination system address" },
		{ 1, 3, "Bad destination mailbox address syntax" },
		{ 1, 4, "Destination mailbox address ambiguous" },
		{ 1, 5, "Destination address valid" },
		{ 1, 6,
		    "Destination mailbox has moved, no forwarding address" },
		{ 1, 7, "Bad sender's mailbox address syntax" },
		{ 1, 8, "Bad sender's system address" },
		{ 1, 9, "Message relayed to non-compliant mailer" },
		{ 1, 10, "Recipient address has null MX" },
		{ 2, 0, "Other or undefined mailbox status" },
		{ 2, 1, "Mailbox disabled, not accepting messages" },
		{ 2, 2, "Mailbox full" },
		{ 2, 3, "Message length exceeds administrative limit" },
		{ 2, 4, "Mailing list expansion problem" },
		{ 3, 0, "Other or undefined mail system status" },
		{ 3, 1, "Mail system full" },
		{ 3, 2, "System not accepting network messages" },
		{ 3, 3, "System not capable of selected features" },
		{ 3, 4, "Message too big for system" },
		{ 3, 5, "System incorrectly configured" },
		{ 3, 6, "Requested priority was changed" },
		{ 4, 0, "Other or undefined network or routing status" },
		{ 4, 1, "No answer from host" },
		{ 4, 2, "Bad connection" },
		{ 4, 3, "Directory server failure" },
		{ 4, 4, "Unable to route" },
		{ 4, 5, "Mail system congestion" },
		{ 4, 6, "Routing loop detected" },
		{ 4, 7, "Delivery time expired" },
		{ 5, 0, "Other or undefined protocol status" },
		{ 5, 1, "Invalid command" },
		{ 5, 2, "Syntax error" },
		{ 5, 3, "Too many recipients" },
		{ 5, 4, "Invalid command arguments" },
		{ 5, 5, "Wrong protocol version" },
		{ 5, 6, "Authentication exchange line is too long" },
		{ 6, 0, "Other or undefined media error" },
		{ 6, 1, "Media not supported" },
		{ 6, 2, "Conversion required and prohibited" },
		{ 6, 3, "Conversion required but not supported" },
		{ 6, 4, "Conversion with loss performed" },
		{ 6, 5, "Conversion failed" },
		{ 6, 6, "Message content not available" },
		{ 6, 7, "Non-ASCII addresses not permitted" },
		{ 6, 8, "UTF-8 string reply is required" },
		{ 6, 9, "UTF-8 header message cannot be transferred" },
		{ 7, 0, "Other or undefined security status" },
		{ 7, 1, "Delivery not authorized, message refused" },
		{ 7, 2, "Mailing list expansion prohibited" },
		{ 7, 3, "Security conversion required but not possible" },
		{ 7, 4, "Security features not supported" },
		{ 7, 5, "Cryptographic failure" },
		{ 7, 6, "Cryptographic algorithm not supported" },
		{ 7, 7, "Message integrity failure" },
		{ 7, 8, "Authentication credentials invalid" },
		{ 7, 9, "Authentication mechanism is too weak" },
		{ 7, 10, "Encryption needed" },
		{ 7, 11, "Encryption required for requested authentication" },
		{ 7, 12, "A password transition is needed" },
		{ 7, 13, "User account disabled" },
		{ 7, 14, "Trust relationship required" },
		{ 7, 15, "Priority level is too low" },
		{ 7, 16, "Message is too big for the specified priority" },
		{ 7, 17, "Mailbox owner has changed" },
		{ 7, 18, "Domain owner has changed" },
		{ 7, 19, "RRVS test cannot be completed" },
		{ 7, 20, "No passing DKIM signature found" },
		{ 7, 21, "No acceptable DKIM signature found" },
		{ 7, 22, "No valid author-matched DKIM signature found" },
		{ 7, 23, "SPF validation failed" },
		{ 7, 24, "SPF validation error" },
		{ 7, 25, "Reverse DNS validation failed" },
		{ 7, 26, "Multiple authentication checks failed" },
		{ 7, 27, "Sender address has null MX" },
		{ 7, 28, "Mail flood detected" },
		{ 7, 29, "ARC validation failure" },
		{ 7, 30, "REQUIRETLS support required" },
	};
	const char *subject = "Other undefined status";

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].subject != status.subject)
			continue;
		if (rows[i].detail == status.detail)
			return rows[i].text;
		if (rows[i].detail == 0)
			subject = rows[i].text;
	}
	return subject;
}
