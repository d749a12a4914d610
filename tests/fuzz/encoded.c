/*
 * encoded.c - encoded words, MIME parameters, modified UTF-7, IDNA names
 *
 * What comes out is always UTF-8 of one line; what is written reads back.
 */
#include "fuzz.h"
#include "mail/charset.h"
#include "mail/encoded.h"
#include "mail/idn.h"
#include "store/mbname.h"

static struct buf one, two, three;

static bool one_line(struct str s)
{
	return str_chr(s, '\n') == -1 && str_chr(s, '\r') == -1 &&
	    !str_has_nul(s);
}

static void check_words(struct str s)
{
	fuzz_check(mail_words_decode(s, &one) == 0, "limit");
	fuzz_check(str_is_utf8(buf_str(&one)), "not UTF-8");
	fuzz_check(one_line(s) ? one_line(buf_str(&one)) : true,
	    "a word ended the line");
	fuzz_check_steps(500, s.n, 5000);
	fuzz_check(mail_words_encode(buf_str(&one), &two) == 0, "limit");
	fuzz_check(str_is_ascii(buf_str(&two)), "not encoded");
	for (struct str rest = buf_str(&two), line; str_split(&rest, '\n',
	    &line);)
		fuzz_check(str_is_ascii(s) || line.n <= 998, "a long line");
	/* Unfold, and read it back. */
	for (size_t i = 0; i < two.n; i++)
		if (two.p[i] == '\r' && i + 1 < two.n && two.p[i + 1] == '\n')
			i++;
		else
			buf_append_char(&three, two.p[i]);
	buf_reset(&two);
	fuzz_check(mail_words_decode(buf_str(&three), &two) == 0, "limit");
	if (one_line(buf_str(&one)))
		fuzz_check_same("words there and back", buf_str(&one),
		    buf_str(&two));
}

static void check_params(struct str s, struct arena *arena)
{
	struct mail_mime_params params, joined;
	struct str value, subtype, got, raw;

	for (int slash = 0; slash < 2; slash++) {
		fuzz_check(mail_mime_value_parse(s, arena, &value,
		    slash ? &subtype : NULL, &params) == 0, "memory");
		fuzz_check(params.count <= MAIL_MIME_PARAMS_MAX, "too many");
		fuzz_check(mail_mime_params_join(&params, arena, &joined) ==
		    0 && joined.count <= params.count, "joined");
		for (unsigned i = 0; i < joined.count && i < 8; i++) {
			char *name = fuzz_cstr(joined.items[i].name);

			fuzz_check(one_line(joined.items[i].value),
			    "a joined value of two lines");
			got = mail_mime_param_get(&params, name, i & 1,
			    arena);
			fuzz_check(str_is_utf8(got) && !str_has_nul(got),
			    "a value is not UTF-8");
			raw = mail_mime_param_raw(&params, name, arena);
			fuzz_check(!str_has_nul(raw), "NUL in a value");
		}
	}
	fuzz_check_steps(4000, s.n, 40000);
}

static void check_utf7(struct str s)
{
	int decoded = mail_utf7_decode(s, &one);
	struct buf store;

	fuzz_check((decoded == 0) == mutf7_is_canonical(s) ||
	    !str_is_ascii(s) || str_has_ctl(s) ||
	    (decoded == -1 && mutf7_is_canonical(s)),
	    "two opinions of a name");
	if (decoded == 0) {
		fuzz_check(str_is_utf8(buf_str(&one)) &&
		    !str_has_ctl(buf_str(&one)), "decoded to this");
		fuzz_check(mail_utf7_encode(buf_str(&one), &two) == 0, "back");
		fuzz_check_same("utf-7 there and back", s, buf_str(&two));
		/* The store's own decoder says the same. */
		buf_init(&store, SIZE_MAX);
		fuzz_check(mutf7_to_utf8(s, &store) == 0, "the store's");
		fuzz_check_same("two decoders", buf_str(&store),
		    buf_str(&one));
		buf_fini(&store);
	} else {
		fuzz_check(one.n == 0, "something on failure");
	}
	buf_reset(&one);
	buf_reset(&two);
	if (mail_utf7_encode(s, &one) == 0) {
		fuzz_check(str_is_ascii(buf_str(&one)), "not ASCII");
		if (mail_utf7_decode(buf_str(&one), &two) == 0)
			fuzz_check_same("utf-8 there and back", s,
			    buf_str(&two));
		else
			fuzz_check(str_has_ctl(s) || !one_line(s) ||
			    !str_is_ascii(s), "what it wrote it cannot read");
	}
}

static void check_domain(struct str s)
{
	if (mail_domain_to_ascii(s, &one) == 0) {
		fuzz_check(str_is_ascii(buf_str(&one)) &&
		    !str_has_nul(buf_str(&one)), "not ASCII");
		fuzz_check(mail_domain_to_ascii(buf_str(&one), &two) == 0,
		    "A-labels are refused");
		fuzz_check_same("A-labels", buf_str(&one), buf_str(&two));
	} else {
		fuzz_check(one.n == 0, "something on failure");
	}
	fuzz_check(mail_domain_to_unicode(s, &three) == 0, "limit");
}

static void reset(void)
{
	buf_reset(&one);
	buf_reset(&two);
	buf_reset(&three);
	fuzz_budget_start();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str s = fuzz_exact(str_n(p, n));
	struct arena *arena = arena_new(64 << 20);

	reset();
	check_words(s);
	reset();
	check_params(s, arena);
	reset();
	check_utf7(s);
	reset();
	if (n < 300)
		check_domain(s);
	arena_free(&arena);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	mail_charset_open_all();
	buf_init(&one, SIZE_MAX);
	buf_init(&two, SIZE_MAX);
	buf_init(&three, SIZE_MAX);
	return 0;
}
