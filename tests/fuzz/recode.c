/*
 * recode.c - 8-bit content for a server that takes seven bits; standard
 * input of sendmail
 *
 * The recoded message has the same parts, of the same types, which decode to
 * the same; no leaf part keeps octets above 127. Input ends where a line of
 * one dot is, however much is read at a time.
 */
#include <unistd.h>
#include "fuzz.h"
#include "mail/mime.h"
#include "sendmail/sendmail.h"
#include "smtp/recode.h"

/* A body as its reader has it, with CR LF line ends, all ended. */
static void decoded(const struct mime *m, const struct mime_part *p,
    struct buf *out)
{
	struct mail_decoder d;
	struct buf raw;

	buf_init(&raw, SIZE_MAX);
	mail_decoder_init(&d, p->transfer);
	fuzz_check(mail_decode(&d, mime_body(m, p), &raw) == 0 &&
	    mail_decode_end(&d, &raw) == 0, "limit");
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\n' && (i == 0 || raw.p[i - 1] != '\r'))
			buf_append_char(out, '\r');
		buf_append_char(out, raw.p[i]);
	}
	while (str_ends(buf_str(out), STR("\r\n")))
		out->n -= 2;
	buf_fini(&raw);
}

static void check_recoded(struct str message, struct arena *arena)
{
	struct buf out, one, two;
	struct mime before, after;

	buf_init(&out, SIZE_MAX);
	buf_init(&one, SIZE_MAX);
	buf_init(&two, SIZE_MAX);
	fuzz_budget_start();
	fuzz_check(recode_to_7bit(message, arena, &out) == 0, "memory");
	fuzz_check_steps(5000, message.n, 30000);
	fuzz_check(mime_parse(message, arena, &before) == 0 &&
	    mime_parse(buf_str(&out), arena, &after) == 0, "memory");
	if (before.truncated)
		goto out;	/* where parsing gave up may differ */
	fuzz_check(before.count == after.count, "%u parts, then %u",
	    before.count, after.count);
	for (uint32_t i = 0; i < before.count; i++) {
		const struct mime_part *p = &before.parts[i];
		const struct mime_part *q = &after.parts[i];

		fuzz_check(p->parent == q->parent && p->multipart ==
		    q->multipart && p->message == q->message, "part %u", i);
		fuzz_check_same("type", p->type, q->type);
		fuzz_check_same("subtype", p->subtype, q->subtype);
		if (p->multipart || p->message)
			continue;
		if (q->transfer != MAIL_ENCODING_UNKNOWN &&
		    p->transfer != MAIL_ENCODING_BASE64 &&
		    p->transfer != MAIL_ENCODING_QUOTED)
			fuzz_check(str_is_ascii(mime_body(&after, q)),
			    "8-bit octets left in part %u", i);
		buf_reset(&one);
		buf_reset(&two);
		decoded(&before, p, &one);
		decoded(&after, q, &two);
		fuzz_check_same("a body", buf_str(&one), buf_str(&two));
	}
out:
	buf_fini(&out);
	buf_fini(&one);
	buf_fini(&two);
}

/* RFC 5321's dot for people: a line that is ".", ended by LF or CR LF. */
static void model_input(struct str s, struct buf *out)
{
	bool start = true;

	for (size_t i = 0; i < s.n; i++) {
		struct str rest = str_from(s, i);

		if (start && (str_starts(rest, STR(".\n")) ||
		    str_starts(rest, STR(".\r\n"))))
			return;
		buf_append_char(out, s.p[i]);
		start = s.p[i] == '\n';
	}
}

static void check_input(struct str s)
{
	static struct input in;
	struct buf want, got;
	int fd;

	buf_init(&want, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	model_input(s, &want);
	for (int dots = 0; dots < 2; dots++)
		for (size_t step = 1; step < 100000; step *= 50) {
			fd = fuzz_file(s);
			buf_reset(&got);
			input_init(&in, fd, dots);
			while (!in.ended)
				fuzz_check(input_read(&in, &got, got.n + step)
				    == 0, "read");
			fuzz_check_same("standard input", dots ? s :
			    buf_str(&want), buf_str(&got));
			close(fd);
		}
	buf_fini(&want);
	buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str s = fuzz_exact(str_n(p, n));
	struct arena *arena = arena_new(64 << 20);

	check_recoded(s, arena);
	check_input(s);
	arena_free(&arena);
	fuzz_end();
	return 0;
}
