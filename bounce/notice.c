#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include "base/clock.h"
#include "base/log.h"
#include "bounce/notice.h"
#include "mail/compose.h"
#include "mail/date.h"
#include "mail/path.h"
#include "mail/status.h"
#include "msgs/submit.h"

#define CHUNK 16384u
/* Header section that is returned, at most. */
#define HEADERS_MAX 65536u
#define LINE_MAX_RFC5322 998u
#define FIELD_TEXT_MAX 900u

/* How the original comes back. */
enum returned { RETURN_FULL, RETURN_HEADERS };

/* Everything that depends on what the original contains. */
struct shape {
	enum returned returned;
	bool eight_bit;		/* in what is returned */
	bool utf8;		/* RFC 6533: addresses or header need it */
	bool unreadable;	/* now; another time it may be read */
	char boundary[48];
};

/* --- looking at the original ------------------------------------------ */

struct scan {
	bool eight_bit, strange;	/* strange: NUL, bare CR or LF, long */
	bool unreadable;
	size_t line;
	bool cr;
};

static void scan_piece(struct scan *s, struct str piece)
{
	for (size_t i = 0; i < piece.n; i++) {
		unsigned char c = (unsigned char)piece.p[i];

		if (s->cr != (c == '\n') || c == '\0')
			s->strange = true;
		s->cr = c == '\r';
		if (c > 127)
			s->eight_bit = true;
		s->line = c == '\n' ? 0 : s->line + 1;
		if (s->line > LINE_MAX_RFC5322 + 1)
			s->strange = true;
	}
}

/* What is damaged stays so, and the notice goes without it. Any other error
 * may be over soon: the notice waits. */
static bool is_passing(ssize_t k)
{
	return k < 0 && errno != EBADMSG;
}

static void scan_content(struct queue_reader *r, struct scan *s)
{
	char chunk[CHUNK];
	ssize_t k;

	queue_reader_rewind(r);
	while ((k = queue_reader_read(r, chunk, sizeof(chunk))) > 0)
		scan_piece(s, str_n(chunk, (size_t)k));
	/* What is not what was committed is not returned. */
	s->unreadable = is_passing(k);
	if (k < 0 || s->line != 0)
		s->strange = true;
}

static bool wants_utf8(const struct notice *n)
{
	if (n->reader->envelope.flags & QUEUE_SMTPUTF8 ||
	    !str_is_ascii(n->reader->envelope.sender))
		return true;
	for (size_t i = 0; i < n->count; i++)
		if (!str_is_ascii(n->recipients[i].envelope->address))
			return true;
	return false;
}

/* RFC 3461 4.3: RET=FULL is about failures; else, and of long messages, the
 * header section alone. */
static struct shape choose_shape(const struct notice *n)
{
	const struct queue_envelope *e = &n->reader->envelope;
	struct shape sh = { .returned = RETURN_HEADERS };
	uint64_t random = 0;

	sh.utf8 = wants_utf8(n);
	sh.eight_bit = true;
	if (n->kind == NOTICE_FAILED && !n->copy &&
	    e->ret != QUEUE_RET_HDRS && !(e->flags & QUEUE_BINARYMIME) &&
	    e->size <= (uint64_t)n->params->bounce_size_limit) {
		struct scan s = { 0 };

		scan_content(n->reader, &s);
		sh.unreadable = s.unreadable;
		if (!s.strange) {
			sh.returned = RETURN_FULL;
			sh.eight_bit = s.eight_bit;
		}
	}
	/* 64 bits that nobody could have written into the original. */
	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (uint64_t)clock_wall();
	snprintf(sh.boundary, sizeof(sh.boundary), "%s.%016llx", n->queue_id,
	    (unsigned long long)random);
	return sh;
}

uint64_t notice_flags(const struct notice *n)
{
	return SUBMIT_8BITMIME | (wants_utf8(n) ? SUBMIT_SMTPUTF8 : 0);
}

/* --- fields ----------------------------------------------------------- */

/* Text of strangers as one line. */
static void write_text(struct submission *s, struct str text, bool utf8)
{
	struct buf b;

	buf_init(&b, 2 * FIELD_TEXT_MAX);
	mail_text_append(&b, str_sub(text, 0, FIELD_TEXT_MAX), utf8);
	submission_write(s, buf_str(&b));
	buf_fini(&b);
}

/* An address with the quotes that its local-part needs. */
static void write_address(struct submission *s, struct str address)
{
	struct str local, domain;
	struct buf b;

	buf_init(&b, 4 * MAIL_PATH_LONG_MAX);
	mail_path_split(address, &local, &domain);
	if (domain.n == 0)
		mail_local_append(&b, local);
	else
		mail_path_append(&b, local, domain);
	submission_write(s, buf_str(&b));
	buf_fini(&b);
}

static void write_date(struct submission *s, int64_t microseconds)
{
	int64_t t = microseconds / CLOCK_SECOND;
	struct buf b;

	buf_init(&b, 64);
	mail_date_append(&b, t, mail_date_local_zone(t));
	submission_write(s, buf_str(&b));
	buf_fini(&b);
}

static void write_message_id(const struct notice *n, struct submission *s)
{
	struct buf b;

	buf_init(&b, 512);
	mail_msgid_append(&b, clock_wall() / CLOCK_SECOND, STR_NONE,
	    str_of(n->params->myhostname));
	submission_write(s, buf_str(&b));
	buf_fini(&b);
}

static const char *subject_of(const struct notice *n)
{
	switch (n->kind) {
	case NOTICE_FAILED:
		return n->copy ? "Postmaster Copy: Undelivered Mail"
		    : "Undelivered Mail Returned to Sender";
	case NOTICE_DELAYED:
		return n->copy ? "Postmaster Warning: Delayed Mail"
		    : "Delayed Mail (still being retried)";
	default:
		return "Successful Mail Delivery Report";
	}
}

static void write_header(const struct notice *n, const struct shape *sh,
    struct str to, struct submission *s)
{
	submission_printf(s, "From: Mail Delivery System <MAILER-DAEMON@%s>"
	    "\r\nTo: ", n->params->myhostname);
	write_address(s, to);
	submission_printf(s, "\r\nSubject: %s\r\nDate: ", subject_of(n));
	write_date(s, clock_wall());
	submission_write(s, STR("\r\nMessage-ID: "));
	write_message_id(n, s);
	/* RFC 3834 5 */
	submission_printf(s, "\r\nAuto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n\r\n"
	    "This is a MIME-encapsulated message.\r\n", sh->boundary);
}

static void begin_part(const struct shape *sh, struct submission *s,
    const char *description, const char *type, bool eight_bit)
{
	submission_printf(s, "\r\n--%s\r\nContent-Description: %s\r\n"
	    "Content-Type: %s\r\n%s\r\n", sh->boundary, description, type,
	    eight_bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

/* --- first part: for people ------------------------------------------- */

static const char *const explanations[] = {
	[NOTICE_FAILED] =
	    "Your message could not be delivered to the recipients below, "
	    "and no\r\nfurther attempt will be made. It, or its header, is "
	    "attached.\r\n\r\n"
	    "If you need help, send this report to the postmaster.\r\n",
	[NOTICE_DELAYED] =
	    "This is only a warning: you need not send your message again."
	    "\r\n\r\nYour message could not yet be delivered to the "
	    "recipients below.\r\nFurther attempts will be made until it is "
	    "too old.\r\n",
	[NOTICE_DELIVERED] =
	    "Your message was delivered to the recipients below, as you "
	    "asked to be\r\ntold. If it left this system for one that sends "
	    "no such reports, this is\r\nthe last you hear of it.\r\n",
};

static void write_explanation(const struct notice *n, const struct shape *sh,
    struct submission *s)
{
	begin_part(sh, s, "Notification", sh->utf8
	    ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
	    sh->utf8);
	submission_printf(s, "This is %s on host %s.\r\n\r\n%s\r\n",
	    n->params->mail_name, n->params->myhostname,
	    explanations[n->kind]);
	for (size_t i = 0; i < n->count; i++) {
		const struct notice_recipient *r = &n->recipients[i];

		submission_write(s, STR("<"));
		write_address(s, r->envelope->address);
		submission_write(s, STR(">"));
		if (r->envelope->original.n > 0 &&
		    !str_eq_nocase(r->envelope->original,
		    r->envelope->address)) {
			/* Two long ones are too much for a line. */
			if (r->envelope->original.n + r->envelope->address.n >
			    LINE_MAX_RFC5322 / 4)
				submission_write(s, STR("\r\n   "));
			submission_write(s, STR(" (expanded from <"));
			write_address(s, r->envelope->original);
			submission_write(s, STR(">)"));
		}
		submission_write(s, STR(":\r\n    "));
		write_text(s, r->text, sh->utf8);
		submission_write(s, STR("\r\n\r\n"));
	}
}

/* --- second part: for programs (RFC 3464) ------------------------------ */

/* "mx.example.org[192.0.2.1]:25" : the name; empty for what is no host. */
static struct str host_name(struct str relay)
{
	ssize_t at = str_chr(relay, '[');

	return at > 0 ? str_sub(relay, 0, (size_t)at) : STR_NONE;
}

static void write_typed(struct submission *s, const char *field,
    struct str address, bool utf8)
{
	submission_printf(s, "%s: %s; ", field, utf8 &&
	    !str_is_ascii(address) ? "utf-8" : "rfc822");
	write_address(s, address);
	submission_write(s, STR("\r\n"));
}

/* RFC 3464 2.2 */
static void write_message_fields(const struct notice *n,
    const struct shape *sh, struct submission *s)
{
	const struct queue_envelope *e = &n->reader->envelope;

	if (e->envid.n > 0) {
		submission_write(s, STR("Original-Envelope-Id: "));
		write_text(s, e->envid, false);
		submission_write(s, STR("\r\n"));
	}
	submission_printf(s, "Reporting-MTA: dns; %s\r\n"
	    "X-Postern-Queue-ID: %s\r\n", n->params->myhostname, n->queue_id);
	write_typed(s, "X-Postern-Sender", e->sender, sh->utf8);
	submission_write(s, STR("Arrival-Date: "));
	write_date(s, e->arrival);
	submission_write(s, STR("\r\n"));
}

static const char *action_of(const struct notice *n,
    const struct notice_recipient *r)
{
	return n->kind == NOTICE_FAILED ? "failed"
	    : n->kind == NOTICE_DELAYED ? "delayed"
	    : r->relayed ? "relayed" : "delivered";
}

/* RFC 3464 2.3.4: a code, whatever an agent took for one. */
static struct str status_of(const struct notice *n,
    const struct notice_recipient *r)
{
	struct mail_status status;

	if (mail_status_parse(r->status, &status) == 0)
		return r->status;
	return n->kind == NOTICE_FAILED ? STR("5.0.0")
	    : n->kind == NOTICE_DELAYED ? STR("4.0.0") : STR("2.0.0");
}

/* RFC 3464 2.3 */
static void write_recipient(const struct notice *n, const struct shape *sh,
    const struct notice_recipient *r, struct submission *s)
{
	const struct queue_recipient *e = r->envelope;
	struct str host = host_name(r->host);

	submission_write(s, STR("\r\n"));
	/* RFC 3461 6.3: Original-Recipient is what ORCPT said */
	if (e->orcpt.n > 0) {
		submission_write(s, STR("Original-Recipient: "));
		write_text(s, e->orcpt, sh->utf8);
		submission_write(s, STR("\r\n"));
	} else if (e->original.n > 0) {
		write_typed(s, "Original-Recipient", e->original, sh->utf8);
	}
	write_typed(s, "Final-Recipient", e->address, sh->utf8);
	submission_printf(s, "Action: %s\r\nStatus: " STR_FMT "\r\n",
	    action_of(n, r), STR_ARG(status_of(n, r)));
	if (host.n > 0) {
		submission_write(s, STR("Remote-MTA: dns; "));
		write_text(s, host, false);
		submission_write(s, STR("\r\n"));
	}
	if (n->kind != NOTICE_DELIVERED) {
		bool remote = r->diagnostic.n > 0;

		submission_printf(s, "Diagnostic-Code: %s; ", remote
		    ? "smtp" : "x-postern");
		write_text(s, remote ? r->diagnostic : r->text, sh->utf8);
		submission_write(s, STR("\r\n"));
	}
	submission_write(s, STR("Last-Attempt-Date: "));
	write_date(s, r->when);
	submission_write(s, STR("\r\n"));
	if (n->kind == NOTICE_DELAYED) { /* RFC 3464 2.3.8 */
		submission_write(s, STR("Will-Retry-Until: "));
		write_date(s, n->reader->envelope.arrival +
		    n->params->maximal_queue_lifetime * CLOCK_SECOND);
		submission_write(s, STR("\r\n"));
	}
}

static void write_status(const struct notice *n, const struct shape *sh,
    struct submission *s)
{
	begin_part(sh, s, "Delivery report", sh->utf8
	    ? "message/global-delivery-status" /* RFC 6533 4 */
	    : "message/delivery-status", sh->utf8);
	write_message_fields(n, sh, s);
	for (size_t i = 0; i < n->count; i++)
		write_recipient(n, sh, &n->recipients[i], s);
}

/* --- third part: the original ----------------------------------------- */

static const char unreadable[] = "the message cannot be read now";

static void write_full(const struct notice *n, struct submission *s)
{
	char chunk[CHUNK];
	ssize_t k;

	queue_reader_rewind(n->reader);
	while ((k = queue_reader_read(n->reader, chunk, sizeof(chunk))) > 0)
		submission_write(s, str_n(chunk, (size_t)k));
	if (is_passing(k))
		submission_fail(s, unreadable);
}

/* A line of any octets as one that may stand in a mail. */
static void write_line(struct submission *s, struct str line, bool utf8)
{
	bool valid = utf8 ? str_is_utf8(line) : true;

	for (size_t i = 0; i < line.n; i++) {
		char c = line.p[i];

		if (c == '\0' || c == '\r' || (utf8 && !valid && (unsigned char)c > 127))
			c = '?';
		submission_write(s, str_n(&c, 1));
	}
	submission_write(s, STR("\r\n"));
}

static void write_headers(const struct notice *n, const struct shape *sh,
    struct submission *s)
{
	size_t most = n->params->bounce_size_limit < HEADERS_MAX
	    ? (size_t)n->params->bounce_size_limit : HEADERS_MAX;
	char *p = malloc(most);
	ssize_t k = p == NULL ? -1 : queue_reader_pread(n->reader, p, most,
	    0);
	struct str rest = str_n(p, k < 0 ? 0 : (size_t)k), line;

	if (p == NULL || is_passing(k))
		submission_fail(s, unreadable);
	while (rest.n > 0 && str_split(&rest, '\n', &line)) {
		if (rest.p == NULL && (size_t)k == most)
			break; /* it was cut here */
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0)
			break;
		write_line(s, str_sub(line, 0, LINE_MAX_RFC5322), sh->utf8);
	}
	free(p);
}

static void write_original(const struct notice *n, const struct shape *sh,
    struct submission *s)
{
	if (sh->unreadable)
		submission_fail(s, unreadable);
	if (sh->returned == RETURN_FULL) {
		begin_part(sh, s, "Undelivered Message", sh->utf8
		    ? "message/global" : "message/rfc822", sh->eight_bit);
		write_full(n, s);
	} else {
		begin_part(sh, s, n->kind == NOTICE_DELIVERED
		    ? "Message Headers" : "Undelivered Message Headers",
		    sh->utf8 ? "message/global-headers"
		    : "text/rfc822-headers", sh->eight_bit);
		write_headers(n, sh, s);
	}
}

void notice_write(const struct notice *n, struct str to,
    struct submission *s)
{
	struct shape sh = choose_shape(n);

	write_header(n, &sh, to, s);
	write_explanation(n, &sh, s);
	write_status(n, &sh, s);
	write_original(n, &sh, s);
	submission_printf(s, "\r\n--%s--\r\n", sh.boundary);
}
