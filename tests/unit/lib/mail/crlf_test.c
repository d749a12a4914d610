#include "mail_test.h"
#include "mail/crlf.h"

/* The plain meaning of a window: all of it in CRLF form, then a slice. */
static void normalise(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r'))
			buf_append_char(out, '\r');
		buf_append_char(out, in.p[i] ? in.p[i] : (char)0x80);
	}
}

static void random_text(unsigned *seed, char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = "\r\n.a\n\0b\r"[rand_r(seed) % 8];
}

static void a_window_is_a_slice_of_the_crlf_form(void **state)
{
	struct buf whole, got, piece;
	unsigned seed = 1;

	(void)state;
	buf_init(&whole, 1000);
	buf_init(&got, 1000);
	buf_init(&piece, 7);
	for (int round = 0; round < 20000; round++) {
		char text[40];
		size_t n = (size_t)(rand_r(&seed) % 40), at = 0;
		uint64_t from = (uint64_t)(rand_r(&seed) % 50);
		uint64_t limit = round % 3 ? (uint64_t)(rand_r(&seed) % 50) :
		    UINT64_MAX;
		struct crlf_window w;
		struct str want;

		random_text(&seed, text, n);
		buf_reset(&whole);
		buf_reset(&got);
		normalise(str_n(text, n), &whole);
		want = str_sub(buf_str(&whole), (size_t)from,
		    limit > 1000 ? 1000 : (size_t)limit);
		crlf_window_init(&w, from, limit);
		while (at < n) {	/* pieces of input, pieces of output */
			size_t k = 1 + (size_t)(rand_r(&seed) % 9);
			struct str in = str_sub(str_n(text, n), at, k);

			at += in.n;
			for (;;) {
				size_t room = 1 + (size_t)(rand_r(&seed) % 9);
				int r;

				buf_reset(&piece);
				r = crlf_window_copy(&w, &in, room, &piece);
				assert_int_not_equal(r, -1);
				assert_true(piece.n <= room);
				buf_append(&got, buf_str(&piece));
				if (r == 1)
					break;
			}
			if (crlf_window_full(&w))
				break;
		}
		assert_true(str_eq(buf_str(&got), want));
	}
	buf_fini(&whole);
	buf_fini(&got);
	buf_fini(&piece);
}

static void nul_is_kept_for_literal8_only(void **state)
{
	struct crlf_window w;
	struct str in = STR("a\0b");
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	crlf_window_init(&w, 0, UINT64_MAX);
	assert_int_equal(crlf_window_copy(&w, &in, 100, &b), 1);
	assert_true(str_eq(buf_str(&b), STR("a\x80" "b")));
	in = STR("a\0b");
	buf_reset(&b);
	crlf_window_init(&w, 0, UINT64_MAX);
	w.keep_nul = true;
	assert_int_equal(crlf_window_copy(&w, &in, 100, &b), 1);
	assert_true(str_eq(buf_str(&b), STR("a\0b")));
	buf_fini(&b);
}

static void content_goes_out_in_lines(void **state)
{
	static const struct {
		const char *in, *out;
		size_t max;
	} rows[] = {
		{ "a\nb\r\nc", "a\r\nb\r\nc\r\n.\r\n", 0 },
		{ "", ".\r\n", 0 },
		{ ".\n", "..\r\n.\r\n", 0 },
		{ "..a\r\n.b", "...a\r\n..b\r\n.\r\n", 0 },
		/* SMTP-001 to 004: no form of a pseudo end survives */
		{ "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n", 0 },
		{ "a\r.\rb", "a\r\n..\r\nb\r\n.\r\n", 0 },
		{ "a\r\n.\nb", "a\r\n..\r\nb\r\n.\r\n", 0 },
		{ "a\r\r\n", "a\r\n\r\n.\r\n", 0 },
		{ "\n\n", "\r\n\r\n.\r\n", 0 },
		{ "12345678", "12345678\r\n.\r\n", 8 },
		{ "123456789", "12345678\r\n 9\r\n.\r\n", 8 },
		{ "1234567\xc3\xa9x", "1234567\r\n \xc3\xa9x\r\n.\r\n", 8 },
		{ "123456\xc3\xa9x", "123456\xc3\xa9\r\n x\r\n.\r\n", 8 },
		{ "12345678.9", "12345678\r\n .9\r\n.\r\n", 8 },
	};
	struct crlf_emitter e;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t cut = 0; cut <= strlen(rows[i].in); cut++) {
			struct str in = str_of(rows[i].in);

			buf_reset(&b);
			crlf_emitter_init(&e, true, rows[i].max);
			crlf_emit(&e, str_sub(in, 0, cut), &b);
			crlf_emit(&e, str_from(in, cut), &b);
			assert_int_equal(crlf_emit_end(&e, &b), 0);
			assert_string_equal(buf_cstr(&b), rows[i].out);
		}
	}
	buf_reset(&b);
	crlf_emitter_init(&e, true, 0);
	crlf_emit_line(&e, STR("a\r"), &b);
	crlf_emit_line(&e, STR("\n.b"), &b);
	crlf_emit_line(&e, STR(""), &b);
	crlf_emit_end(&e, &b);
	assert_string_equal(buf_cstr(&b), "a\r\n\r\n..b\r\n\r\n.\r\n");
	buf_fini(&b);
}

static void no_input_gives_a_bare_cr_or_lf_or_a_long_line(void **state)
{
	unsigned seed = 9;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (int round = 0; round < 20000; round++) {
		struct crlf_emitter e;
		char text[64];
		size_t n = (size_t)(rand_r(&seed) % 64), cut, line = 0;
		unsigned ends = 0;

		for (size_t i = 0; i < n; i++)
			text[i] = round & 1 ?
			    "\r\n.a\xf0\x9f\x98\x80"[rand_r(&seed) % 8] :
			    "\r\n..aaab"[rand_r(&seed) % 8];
		cut = n ? (size_t)rand_r(&seed) % n : 0;
		buf_reset(&b);
		crlf_emitter_init(&e, true, 10);
		crlf_emit(&e, str_n(text, cut), &b);
		crlf_emit(&e, str_n(text + cut, n - cut), &b);
		assert_true(b.n <= 3 * n + 6);
		crlf_emit_end(&e, &b);
		for (size_t i = 0; i < b.n; i++) {
			if (b.p[i] == '\r') {
				assert_true(b.p[++i] == '\n');
				assert_true(line <= 11);
				ends += line == 1 && b.p[i - 2] == '.';
				line = 0;
			} else {
				assert_true(b.p[i] != '\n');
				line++;
			}
		}
		/* The lone dot once, at the end. */
		assert_int_equal(ends, 1);
		assert_true(str_ends(buf_str(&b), STR(".\r\n")));
	}
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_is_a_slice_of_the_crlf_form),
		cmocka_unit_test(nul_is_kept_for_literal8_only),
		cmocka_unit_test(content_goes_out_in_lines),
		cmocka_unit_test(no_input_gives_a_bare_cr_or_lf_or_a_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
