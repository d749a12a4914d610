/*
 * crlf.c - content on its way out: line ends, windows, dots, and back
 *
 * The emitter's output is lines, whatever came in and however it was cut,
 * and undone by the reader of DATA it is the content; the windows of IMAP
 * and the store's wire form agree with a plain conversion; fields that we
 * write with strangers' words in them stay one field.
 */
#include "fuzz.h"
#include "mail/compose.h"
#include "mail/crlf.h"
#include "mail/header.h"
#include "net/smtp_data.h"
#include "store/wire.h"

static void emit(struct str s, unsigned way, bool dots, size_t line_max,
    struct buf *out)
{
	struct fuzz_cuts cuts = fuzz_cuts(s, way);
	struct crlf_emitter e;
	struct str piece;

	crlf_emitter_init(&e, dots, line_max);
	while (fuzz_piece(&cuts, &piece)) {
		size_t before = out->n;

		fuzz_check(crlf_emit(&e, piece, out) == 0, "limit");
		fuzz_check(out->n - before <= 3 * piece.n + 3, "its bound");
	}
	fuzz_check(crlf_emit_end(&e, out) == 0, "limit");
}

static void check_lines(struct str s, size_t line_max)
{
	struct str line;

	fuzz_check(s.n == 0 || str_ends(s, STR("\r\n")), "an open line");
	while (s.n > 0 && str_split(&s, '\n', &line)) {
		fuzz_check(line.n > 0 && line.p[line.n - 1] == '\r' &&
		    str_chr(line, '\r') == (ssize_t)line.n - 1,
		    "a bare CR or LF went out");
		/* A character of UTF-8 is not cut. */
		fuzz_check(line_max == 0 || line.n - 1 <= line_max + 4,
		    "a line of %zu octets", line.n - 1);
	}
}

/* Content with each of CR LF, CR, LF as CR LF, and a last line ended. */
static void normal(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\r' && s.p[i] != '\n') {
			buf_append_char(out, s.p[i]);
			continue;
		}
		buf_append_c(out, "\r\n");
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			i++;
	}
	if (out->n > 0 && !str_ends(buf_str(out), STR("\r\n")))
		buf_append_c(out, "\r\n");
}

static void check_emitter(struct str s, bool dots, size_t line_max)
{
	struct buf whole, other;
	struct smtp_data d;
	struct str in, span;
	enum smtp_data_event event;

	buf_init(&whole, SIZE_MAX);
	buf_init(&other, SIZE_MAX);
	emit(s, 0, dots, line_max, &whole);
	check_lines(buf_str(&whole), line_max);
	for (unsigned way = 1; way < FUZZ_WAYS; way++) {
		buf_reset(&other);
		emit(s, way, dots, line_max, &other);
		/* Where a line without an end is cut may depend on pieces
		 * only when octets are no UTF-8. */
		if (line_max == 0 || str_is_utf8(s))
			fuzz_check_same("emitted in pieces", buf_str(&whole),
			    buf_str(&other));
	}
	if (dots && line_max == 0) {
		buf_reset(&other);
		smtp_data_init(&d);
		in = buf_str(&whole);
		while ((event = smtp_data_next(&d, &in, &span)) ==
		    SMTP_DATA_SPAN)
			buf_append(&other, span);
		fuzz_check(event == SMTP_DATA_END && in.n == 0,
		    "the end is not at its end");
		buf_reset(&whole);
		normal(s, &whole);
		fuzz_check_same("content over the wire", buf_str(&whole),
		    buf_str(&other));
	}
	buf_fini(&whole);
	buf_fini(&other);
}

static void check_windows(struct str s, uint64_t offset, uint64_t limit,
    size_t room)
{
	struct crlf_window w;
	struct buf want, got;
	struct wire wire;
	struct str in = s;
	char out[64];
	size_t k;
	int r;

	buf_init(&want, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			buf_append_char(&want, '\r');
		buf_append_char(&want, s.p[i]);
	}
	fuzz_check(wire_size(s) == want.n, "the wire's size");
	wire_init(&wire, s);
	if (offset < 1000)
		fuzz_check(wire_skip(&wire, offset) ==
		    (offset < want.n ? offset : want.n), "skipped");
	else
		offset = 0;
	while ((k = wire_read(&wire, out, 1 + room % sizeof(out))) > 0)
		buf_append_n(&got, out, k);
	fuzz_check_same("the wire", str_from(buf_str(&want), offset),
	    buf_str(&got));
	buf_reset(&got);
	crlf_window_init(&w, offset, limit);
	w.keep_nul = true;
	while ((r = crlf_window_copy(&w, &in, 1 + room, &got)) == 0)
		;
	fuzz_check(r == 1, "window: %d", r);
	fuzz_check_same("the window", str_sub(buf_str(&want), offset, limit),
	    buf_str(&got));
	buf_fini(&want);
	buf_fini(&got);
}

/* Received: from what a client said. */
static void check_received(struct fuzz_in in)
{
	struct mail_received r = {
		.protocol = MAIL_PROTOCOL_SMTP, .by = STR("mx.test"),
		.id = STR("ABC123"), .time = 1700000000, .uid = 0,
	};
	unsigned bits = fuzz_octet(&in);
	struct mail_fields f;
	struct mail_field field;
	struct buf out;

	r.esmtp = bits & 1;
	r.with_tls = bits & 2;
	r.with_auth = bits & 4;
	r.with_utf8 = bits & 8;
	r.helo = fuzz_field(&in, '\n');
	r.client_name = fuzz_field(&in, '\n');
	r.client_address = fuzz_field(&in, '\n');
	r.login = fuzz_field(&in, '\n');
	r.tls = fuzz_field(&in, '\n');
	r.rcpt_local = fuzz_field(&in, '\n');
	r.rcpt_domain = fuzz_field(&in, '\n');
	buf_init(&out, SIZE_MAX);
	fuzz_check(mail_received_append(&out, &r, "\r\n") == 0, "limit");
	check_lines(buf_str(&out), 0);
	mail_fields_init(&f, buf_str(&out));
	fuzz_check(mail_fields_next(&f, &field) && field.raw.n == out.n &&
	    str_eq_c(field.name, "Received"), "it is not one field");
	/* Its comments end where they should: the date is its last token. */
	fuzz_check(str_chr(field.body, ';') != -1, "no date");
	fuzz_check(!str_has_nul(buf_str(&out)), "NUL");
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	size_t room = fuzz_number(&in, 255);
	uint64_t offset = fuzz_number(&in, 2047);
	uint64_t limit = fuzz_number(&in, 4095);
	struct str s = fuzz_exact(in.rest);

	fuzz_budget_start();
	check_emitter(s, true, 0);
	fuzz_check_steps(2000, n, 3000);
	check_emitter(s, false, 20 + room);
	check_emitter(s, true, 998);
	check_windows(s, offset, limit == 4095 ? UINT64_MAX : limit, room);
	check_received((struct fuzz_in){ s });
	fuzz_end();
	return 0;
}
