/*
 * charset.c - text of any character set to UTF-8, whole and in pieces; keys
 * of SEARCH are found in what they were made from
 */
#include "fuzz.h"
#include "mail/charset.h"
#include "mail/search_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const names[] = {
		"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "koi8-r",
		"windows-1252", "windows-1251", "gb2312", "gb18030", "big5",
		"iso-2022-jp", "euc-jp", "euc-kr", "shift_jis", "utf-16",
		"utf-16le", "utf-7", "cp437",
	};
	struct fuzz_in in = fuzz_in(p, n);
	unsigned which = fuzz_octet(&in);
	const struct mail_charset *cs = mail_charset_find(
	    str_of(names[which % (sizeof(names) / sizeof(names[0]))]));
	struct str s = fuzz_exact(in.rest), rest = s;
	struct buf whole, pieces, folded;
	struct search_key *key;

	if (cs == NULL)
		return 0;
	buf_init(&whole, SIZE_MAX);
	buf_init(&pieces, SIZE_MAX);
	buf_init(&folded, SIZE_MAX);
	fuzz_budget_start();
	fuzz_check(mail_charset_to_utf8(cs, s, &whole) == 0, "limit");
	fuzz_check_steps(300, n, 2000);
	fuzz_check(str_is_utf8(buf_str(&whole)), "not UTF-8");
	/* A few octets more at a time, as a reader of a body gives them. */
	for (size_t have = 1, step = 1 + which / 64; rest.n > 0;) {
		bool more = have < rest.n;
		ssize_t used = mail_charset_convert(cs,
		    fuzz_exact(str_sub(rest, 0, have)), more, &pieces);

		fuzz_check(used >= 0 && (size_t)used <= have,
		    "used %zd of %zu", used, have);
		fuzz_check(more || (size_t)used == rest.n, "not all used");
		rest = str_from(rest, (size_t)used);
		have = have - (size_t)used + step;
		if (have > rest.n)
			have = rest.n;
	}
	if (cs == mail_charset_utf8 || cs == mail_charset_ascii ||
	    str_starts_nocase(str_of(mail_charset_name(cs)), STR("iso-8859")))
		fuzz_check_same("converted in pieces", buf_str(&whole),
		    buf_str(&pieces));
	fuzz_check(str_is_utf8(buf_str(&pieces)), "pieces are not UTF-8");
	fuzz_check(mail_fold(buf_str(&whole), &folded) == 0 &&
	    str_is_utf8(buf_str(&folded)), "folded");
	if (s.n <= 1000 && (key = search_key_new(s, cs)) != NULL) {
		fuzz_check(search_key_in(key, buf_str(&whole)),
		    "a key is not in its own text");
		search_key_free(&key);
	}
	(void)mail_charset_find(s);
	buf_fini(&whole);
	buf_fini(&pieces);
	buf_fini(&folded);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	mail_charset_open_all();
	return 0;
}
