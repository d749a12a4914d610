/*
 * notice.c - the delivery status notification (RFC 3464)
 *
 * Whatever the envelope, the remote server and the original say, it is one
 * message: lines end with CR LF and are short, its parts are those that we
 * made, its fields those that we wrote.
 */
#include <stdio.h>
#include <unistd.h>
#include "bounce/notice.h"
#include "fuzz.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/path.h"
#include "mail/status.h"
#include "queue/commit.h"

#define ID UINT64_C(0x6925B1F30001)

/* A submission that only collects. */
struct submission {
	struct buf text;
};

void submission_fail(struct submission *s, const char *why)
{
	(void)s;
	fuzz_check(why != NULL, "a failure without words");
}

void submission_write(struct submission *s, struct str text)
{
	buf_append(&s->text, text);
}

void submission_printf(struct submission *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&s->text, fmt, ap);
	va_end(ap);
}

static void check_lines(struct str s)
{
	struct str line;

	fuzz_check(str_ends(s, STR("\r\n")), "an open line");
	fuzz_check(!str_has_nul(s), "a NUL");
	while (s.n > 0 && str_split(&s, '\n', &line)) {
		fuzz_check(str_chr(line, '\r') == (ssize_t)line.n - 1,
		    "a bare CR or LF");
		fuzz_check(line.n <= 999, "a line of %zu octets",
		    line.n - 1);
	}
}

/* Groups of fields parted by empty lines: names that we write, no other. */
static void check_status(struct str s, size_t recipients)
{
	static const char *const names[] = { "Reporting-MTA",
		"Arrival-Date", "Original-Envelope-Id", "Final-Recipient",
		"Original-Recipient", "Action", "Status", "Remote-MTA",
		"Diagnostic-Code", "Last-Attempt-Date", "Will-Retry-Until",
		"X-Postern-Queue-ID", "X-Postern-Sender", "DSN-Gateway",
		"Received-From-MTA" };
	size_t groups = 0, finals = 0;

	while (s.n > 0) {
		struct mail_fields f;
		struct mail_field field;
		struct mail_status code;

		mail_fields_init(&f, s);
		while (mail_fields_next(&f, &field)) {
			bool known = false;

			for (size_t i = 0; i < sizeof(names) /
			    sizeof(names[0]); i++)
				known |= str_eq_c(field.name, names[i]);
			if (!known)
				fuzz_show("field", field.raw);
			fuzz_check(known, "a field that we do not write");
			finals += str_eq_c(field.name, "Final-Recipient");
			fuzz_check(!str_eq_c(field.name, "Status") ||
			    mail_status_parse(str_trim(field.body), &code) ==
			    0, "a status that is none");
		}
		fuzz_check(f.body_at > 0, "no field at its start");
		groups++;
		s = str_from(s, f.body_at);
	}
	fuzz_check(groups == recipients + 1 && finals == recipients,
	    "%zu groups, %zu recipients, %zu finals", groups, recipients,
	    finals);
}

static void check_message(struct str text, size_t recipients,
    struct arena *arena)
{
	struct mime m;
	const struct mime_part *status = NULL;

	check_lines(text);
	fuzz_check(mime_parse(text, arena, &m) == 0, "memory");
	fuzz_check(mime_is(&m.parts[0], "multipart", "report"), "no report");
	fuzz_check(m.parts[0].children >= 2 && m.parts[0].children <= 3,
	    "%u parts", m.parts[0].children);
	for (uint32_t i = m.parts[0].first_child; i != MIME_NO_PART;
	    i = m.parts[i].next)
		if (mime_is(&m.parts[i], "message", "delivery-status") ||
		    mime_is(&m.parts[i], "message",
		    "global-delivery-status"))
			status = &m.parts[i];
	fuzz_check(status != NULL, "no status");
	check_status(mime_body(&m, status), recipients);
	fuzz_check(mail_header_count(text, "Subject") == 1 &&
	    mail_header_count(text, "To") == 1 &&
	    mail_header_count(text, "Bcc") == 0 &&
	    mail_header_count(text, "From") == 1, "header fields");
}

/* As long as a path may be (MAIL_PATH_LONG_MAX), quoted or not. */
static struct str take_address(struct fuzz_in *in)
{
	return str_sub(fuzz_field(in, '\n'), 0, MAIL_PATH_LONG_MAX / 2 - 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	struct queue_recipient q[3];
	struct notice_recipient r[3];
	struct queue_envelope e = { .arrival = 1764100000000000,
		.recipients = q };
	struct arena *arena = arena_new(8 << 20);
	struct queue_commit *c;
	struct queue_reader reader;
	struct params params;
	struct submission sub;
	const char *why = NULL;
	unsigned how;
	int fd = fuzz_new_file("message"), rc;
	struct notice notice = { .params = &params, .reader = &reader,
		.queue_id = "6925B1F30001", .recipients = r };
	struct str pairs[2] = { STR("myhostname=mx.our.test"),
		STR("bounce_size_limit=2000") }, to;

	notice.kind = (enum notice_kind)fuzz_number(&in, 2);
	notice.copy = fuzz_bool(&in);
	notice.count = e.recipient_count = 1 + fuzz_number(&in, 2);
	e.flags = (unsigned)fuzz_number(&in, 63);
	e.ret = (enum queue_ret)fuzz_number(&in, 2);
	e.sender = to = take_address(&in);
	e.envid = str_sub(fuzz_field(&in, '\n'), 0, 100);
	for (size_t i = 0; i < notice.count; i++) {
		q[i] = (struct queue_recipient){ .notify =
		    (unsigned)fuzz_number(&in, 15) };
		q[i].address = take_address(&in);
		q[i].original = take_address(&in);
		q[i].orcpt = fuzz_field(&in, '\n');
		r[i] = (struct notice_recipient){ .relayed = fuzz_bool(&in),
			.when = 1764100001000000 };
		how = fuzz_octet(&in);
		r[i].status = how & 1 ? STR("5.1.1") : STR("2.0.0");
		if (how & 128) /* an agent's word */
			r[i].status = fuzz_take(&in, how / 2 % 17);
		r[i].host = fuzz_field(&in, '\n');
		/* The rest may hold line ends, in two forms. */
		r[i].text = fuzz_field(&in, '\0');
		r[i].diagnostic = fuzz_field(&in, '\0');
	}
	fuzz_check(queue_commit_begin(&c, fd, ID, 1 << 20) == 0, "begin");
	fuzz_check(queue_commit_append(c, fuzz_rest(&in)) == 0, "append");
	rc = queue_commit(c, &e, &why);
	queue_commit_end(&c);
	fuzz_check(rc == 0 || strstr(why, "envelope") != NULL, "%s", why);
	if (rc == 0 && queue_reader_open(&reader, fd, ID, arena, &why) == 0) {
		for (size_t i = 0; i < notice.count; i++)
			r[i].envelope = &reader.envelope.recipients[i];
		fuzz_check(params_load(&params, pairs, 2, arena, &why) == 0,
		    "%s", why);
		buf_init(&sub.text, SIZE_MAX);
		(void)notice_flags(&notice);
		fuzz_budget_start();
		notice_write(&notice, to, &sub);
		fuzz_check_steps(2000, n + sub.text.n, 100000);
		check_message(buf_str(&sub.text), notice.count, arena);
		buf_fini(&sub.text);
	}
	close(fd);
	arena_free(&arena);
	fuzz_end();
	return 0;
}
