/*
 * transfer.c - base64 and quoted-printable, there and back
 *
 * The tolerant decoders give the same however a body is cut; the encoders'
 * lines are short and read back; the strict base64 is a bijection.
 */
#include "base/base64.h"
#include "fuzz.h"
#include "mail/transfer.h"

static void decode(struct str s, unsigned way, enum mail_encoding e,
    struct buf *out)
{
	struct fuzz_cuts cuts = fuzz_cuts(s, way);
	struct mail_decoder d;
	struct str piece;

	mail_decoder_init(&d, e);
	while (fuzz_piece(&cuts, &piece)) {
		size_t before = out->n;

		fuzz_check(mail_decode(&d, piece, out) == 0, "limit");
		fuzz_check(out->n - before <= piece.n + 80, "too long");
	}
	fuzz_check(mail_decode_end(&d, out) == 0, "limit");
}

static void check_encoder(struct str s, enum mail_encoding e)
{
	struct buf out, back;
	struct str rest, line;

	buf_init(&out, SIZE_MAX);
	buf_init(&back, SIZE_MAX);
	fuzz_check((e == MAIL_ENCODING_BASE64 ? mail_encode_base64(s, &out) :
	    mail_encode_quoted(s, &out)) == 0, "limit");
	fuzz_check(str_is_ascii(buf_str(&out)), "8-bit octets");
	rest = buf_str(&out);
	while (str_split(&rest, '\n', &line)) {
		fuzz_check(rest.p == NULL || str_ends(line, STR("\r")),
		    "a line ended by LF");
		fuzz_check(line.n <= 77, "a line of %zu", line.n);
		for (size_t i = 0; i + 1 < line.n; i++)
			fuzz_check(line.p[i] >= 32 || line.p[i] == '\t',
			    "a control octet");
	}
	decode(buf_str(&out), 0, e, &back);
	if (e == MAIL_ENCODING_QUOTED) {
		/* It is for text, whose line ends it writes as CR LF. */
		struct buf want;

		buf_init(&want, SIZE_MAX);
		for (size_t i = 0; i < s.n; i++) {
			if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
				buf_append_char(&want, '\r');
			buf_append_char(&want, s.p[i]);
		}
		if (!str_eq(buf_str(&back), buf_str(&want)) &&
		    str_ends(buf_str(&back), STR("\r\n")))
			back.n -= 2;
		fuzz_check_same("quoted there and back", buf_str(&want),
		    buf_str(&back));
		buf_fini(&want);
	} else {
		fuzz_check_same("base64 there and back", s, buf_str(&back));
	}
	buf_fini(&out);
	buf_fini(&back);
}

static void check_strict(struct str s)
{
	struct buf out, back;

	buf_init(&out, SIZE_MAX);
	buf_init(&back, SIZE_MAX);
	if (base64_decode(s, &out) == 0) {
		fuzz_check(base64_encode(buf_str(&out), &back) == 0, "limit");
		fuzz_check_same("base64 has one form", s, buf_str(&back));
	}
	buf_reset(&out);
	buf_reset(&back);
	fuzz_check(base64_encode(s, &out) == 0, "limit");
	fuzz_check(base64_decode(buf_str(&out), &back) == 0, "its own");
	fuzz_check_same("strict there and back", s, buf_str(&back));
	buf_fini(&out);
	buf_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const enum mail_encoding encodings[] = { MAIL_ENCODING_BASE64,
		MAIL_ENCODING_QUOTED, MAIL_ENCODING_8BIT };
	struct str s = fuzz_exact(str_n(p, n));
	struct buf whole, cut;

	buf_init(&whole, SIZE_MAX);
	buf_init(&cut, SIZE_MAX);
	for (int i = 0; i < 3; i++) {
		fuzz_budget_start();
		buf_reset(&whole);
		decode(s, 0, encodings[i], &whole);
		fuzz_check_steps(200, n, 500);
		fuzz_check(whole.n <= n + 80, "longer than it was");
		for (unsigned way = 1; way < FUZZ_WAYS; way++) {
			buf_reset(&cut);
			decode(s, way, encodings[i], &cut);
			fuzz_check_same("decoding in pieces", buf_str(&whole),
			    buf_str(&cut));
		}
	}
	buf_fini(&whole);
	buf_fini(&cut);
	check_encoder(s, MAIL_ENCODING_BASE64);
	check_encoder(s, MAIL_ENCODING_QUOTED);
	check_strict(s);
	(void)mail_encoding_of(s);
	fuzz_end();
	return 0;
}
