/*
 * Every parser of lib/mail on octets that nobody meant: samples, mutated at
 * random (always the same ones). What is checked are properties, and with a
 * sanitizer build every access. MUTATIONS in the environment makes it longer.
 */
#include "mail_test.h"
#include "mail/address.h"
#include "mail/charset.h"
#include "mail/crlf.h"
#include "mail/date.h"
#include "mail/encoded.h"
#include "mail/header.h"
#include "mail/idn.h"
#include "mail/imap_format.h"
#include "mail/path.h"
#include "mail/search_text.h"

static struct arena *arena;
static struct buf one, two;
static struct search_key *key;

static void check_path(struct str s, unsigned options)
{
	struct mail_refusal why;
	struct mail_params params;
	struct mail_path path, again;
	struct str rest = s;

	if (mail_path_parse(&rest, options & 63, arena, &path, &why) == -1) {
		assert_true(why.code >= 400 && why.text != NULL);
		return;
	}
	mail_params_parse(rest, options & 64, &params, &why);
	mail_domain_to_ascii(path.domain, &two);
	if (path.flags & MAIL_PATH_NULL)
		return;
	assert_false(str_has_ctl(path.local));
	mail_path_append_angle(&one, path.local, path.domain);
	rest = buf_str(&one);
	assert_int_equal(mail_path_parse(&rest, MAIL_PATH_ANY_LOCAL |
	    MAIL_PATH_LONG | (options & MAIL_PATH_SMTPUTF8), arena, &again,
	    &why), 0);
	assert_true(str_eq(path.local, again.local));
	assert_true(str_eq(path.domain, again.domain));
}

static void check_addresses(struct str s, unsigned options)
{
	struct mail_address_list list;

	assert_int_equal(mail_address_parse(s, arena, &list), 0);
	for (unsigned i = 0; i < list.count; i++)
		assert_false(str_has_nul(list.items[i].name));
	assert_int_equal(mail_address_recipients(s, options & 1, arena, &list),
	    0);
}

static void check_dates(struct str s, unsigned options)
{
	struct mail_date date, again;
	int64_t day;

	(void)options;
	mail_date_parse_imap(s, &date);
	mail_date_parse_day(s, &day);
	if (mail_date_parse(s, &date) == -1)
		return;
	mail_date_append(&one, date.time, date.zone);
	assert_int_equal(mail_date_parse(buf_str(&one), &again), 0);
	assert_true(date.time == again.time && date.zone == again.zone);
}

static void check_words(struct str s, unsigned options)
{
	(void)options;
	assert_int_equal(mail_words_decode(s, &one), 0);
	assert_true(str_is_utf8(buf_str(&one)));
	/* What is written reads back, but for control characters. */
	assert_int_equal(mail_words_encode(buf_str(&one), &two), 0);
	assert_true(str_is_ascii(buf_str(&two)));
}

static void check_parameters(struct str s, unsigned options)
{
	struct mail_mime_params params, joined;
	struct str value, subtype, got;

	assert_int_equal(mail_mime_value_parse(s, arena, &value,
	    options & 1 ? &subtype : NULL, &params), 0);
	got = mail_mime_param_get(&params, "name", options & 2, arena);
	assert_true(str_is_utf8(got) && !str_has_nul(got));
	mail_mime_param_raw(&params, "name", arena);
	assert_int_equal(mail_mime_params_join(&params, arena, &joined), 0);
	assert_true(joined.count <= params.count);
}

static void check_names(struct str s, unsigned options)
{
	struct str type, address;

	if (mail_utf7_decode(s, &one) == 0) {
		assert_int_equal(mail_utf7_encode(buf_str(&one), &two), 0);
		assert_true(str_eq(buf_str(&two), s));
	}
	buf_reset(&one);
	if (mail_xtext_decode(s, &one) == 0)
		assert_false(str_has_ctl(buf_str(&one)));
	if (mail_orcpt_parse(s, options & 1, arena, &type, &address) == 0)
		assert_false(str_has_ctl(address));
}

static void check_transfer(struct str s, unsigned options)
{
	enum mail_encoding e = options & 1 ? MAIL_ENCODING_QUOTED :
	    MAIL_ENCODING_BASE64;
	struct mail_decoder d;

	mail_decoder_init(&d, e);
	mail_decode(&d, str_sub(s, 0, s.n / 2), &one);
	mail_decode(&d, str_from(s, s.n / 2), &one);
	mail_decode_end(&d, &one);
	mail_decoder_init(&d, e);
	mail_decode(&d, s, &two);
	mail_decode_end(&d, &two);
	assert_true(str_eq(buf_str(&one), buf_str(&two)));
	assert_true(one.n <= s.n + 80);
}

static void check_sections(struct str s, unsigned options)
{
	struct imap_section section;
	struct imap_ranges ranges;
	struct imap_ranges_reader reader;
	struct mime mime;
	struct str line = s;
	ssize_t lf = str_chr(s, '\n');

	(void)options;
	if (lf == -1)
		return;
	line.n = (size_t)lf;
	imap_base_subject(line, &two, NULL);
	if (imap_section_parse(line, arena, &section) == -1)
		return;
	assert_int_equal(mime_parse(str_from(s, line.n + 1), arena, &mime), 0);
	assert_int_equal(imap_section_find(&mime, &section, arena, &ranges),
	    0);
	if (!ranges.exists)
		return;
	imap_ranges_reader_init(&reader, &ranges, 0, UINT64_MAX);
	assert_int_equal(imap_ranges_read(&reader, 1 << 16, &one), 1);
	assert_int_equal(one.n, ranges.size);
}

static void check_message(struct str s, unsigned options)
{
	struct mime mime;

	assert_int_equal(mime_parse(s, arena, &mime), 0);
	assert_int_equal(mime.parts[0].header_n, mail_header_size(s));
	assert_int_equal(imap_format_bodystructure(&mime, options & 1, &one),
	    0);
	assert_int_equal(imap_format_envelope(s, &one), 0);
	assert_false(str_has_nul(buf_str(&one)));
	assert_int_not_equal(search_text_message(key, &mime, true), -1);
	assert_int_not_equal(search_text_addresses(key, s, STR("From")), -1);
}

static void check_text(struct str s, unsigned options)
{
	static const char *const names[] = {
		"gb2312", "big5", "iso-2022-jp", "euc-jp", "euc-kr",
		"shift_jis", "utf-16", "utf-8"
	};
	struct crlf_emitter e;

	assert_int_equal(mail_charset_to_utf8(mail_charset_find(
	    str_of(names[options % COUNT(names)])), s, &two), 0);
	assert_true(str_is_utf8(buf_str(&two)));
	crlf_emitter_init(&e, true, options & 8 ? 20 : 0);
	crlf_emit(&e, str_sub(s, 0, s.n / 3), &one);
	crlf_emit(&e, str_from(s, s.n / 3), &one);
	crlf_emit_end(&e, &one);
	for (size_t i = 0; i < one.n; i++) {
		assert_true(one.p[i] != '\n');
		if (one.p[i] == '\r')
			assert_true(one.p[++i] == '\n');
	}
}

#define MESSAGE "From: a@b\nSubject: =?utf-8?Q?x?=\n" \
	"Content-Type: multipart/digest; boundary=\"b\"\n\n--b\n\nTo: x\n\n" \
	"x\n--b\nContent-Type: text/plain; charset=gb2312\n" \
	"Content-Transfer-Encoding: base64\n\naGVsbG8=\n--b--\n"

static const struct {
	void (*check)(struct str, unsigned options);
	const char *sample;
} entries[] = {
	{ check_path, "<user@local.test> SIZE=1 BODY=8BITMIME" },
	{ check_path, "<\"a\\\" b\"@[IPv6:::1]> X" },
	{ check_path, "<@a.test,@b.test:us\xc3\xa9r@b\xc3\xbc.test>" },
	{ check_addresses, "A. B <a@b>, g: \"c d\"@e, f@[1.2] (x (y)); h" },
	{ check_addresses, "To: x <@a,@b:c@d>\nCc: =?a?q?b,c?= <d@e>\n\n" },
	{ check_dates, "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" },
	{ check_dates, "17-Jul-1996 02:23:25 -0700" },
	{ check_words, "a =?utf-8?Q?=C3?= =?utf-8?q?=A9_x?= "
	  "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= b" },
	{ check_parameters, "text/plain; name*0*=utf-8''%C3; name*1=\"x\\y\""
	  "; name=\"=?utf-8?Q?a?=\"; (c) b=d" },
	{ check_names, "~x/&U,BTFw-/&ZeVnLIqe-&-" },
	{ check_names, "utf-8;us\\x{E9}r+2B@x.test" },
	{ check_transfer, "aGVs=\r\nbG8=  =3D\t\r\n== \n" },
	{ check_sections, "1.HEADER.FIELDS (To \"x\")\n" MESSAGE },
	{ check_sections, "[x] Re: [y] fwd: z (fwd)\n" MESSAGE },
	{ check_sections, "2.MIME\n" MESSAGE },
	{ check_message, MESSAGE },
	{ check_message, "Content-Type: message/rfc822\r\n\r\nTo: a:b;\r\n"
	  "Content-Disposition: x; filename*=''%41\r\n\r\nx" },
	{ check_text, "a\r\n.\r\nb\n.\nc\x1b$BF|\x1b(B\xd6\xd0\xc3\xa9" },
};

static size_t mutate(const char *sample, char *out, size_t room,
    unsigned *seed)
{
	size_t n = strlen(sample);

	memcpy(out, sample, n);
	for (int k = rand_r(seed) % 6; k > 0 && n > 0; k--) {
		size_t at = (size_t)rand_r(seed) % n;
		size_t len = (size_t)rand_r(seed) % (n - at) % 24;

		switch (rand_r(seed) % 5) {
		case 0:
			out[at] = (char)rand_r(seed);
			break;
		case 1:
			out[at] = "\r\n\t \"\\<>()@:;,.=?*'%&-"[
			    rand_r(seed) % 22];
			break;
		case 2:		/* take out */
			memmove(out + at, out + at + len, n - at - len);
			n -= len;
			break;
		case 3:		/* repeat */
			if (n + len > room)
				break;
			memmove(out + at + len, out + at, n - at);
			n += len;
			break;
		case 4:		/* cut */
			n = at;
			break;
		}
	}
	return n;
}

static void no_octets_break_a_parser_or_its_promise(void **state)
{
	const char *more = getenv("MUTATIONS");
	long rounds = more ? atol(more) : 3000;
	unsigned seed = 43;

	(void)state;
	for (size_t i = 0; i < COUNT(entries); i++)
		for (long k = 0; k < rounds; k++) {
			char text[1024], *copy;
			size_t n = mutate(entries[i].sample, text,
			    sizeof(text), &seed);

			/* a block of its own, so that a sanitizer sees an
			 * access behind the end */
			copy = malloc(n ? n : 1);
			memcpy(copy, text, n);
			arena_reset(arena);
			buf_reset(&one);
			buf_reset(&two);
			entries[i].check(str_n(copy, n),
			    (unsigned)rand_r(&seed));
			free(copy);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_octets_break_a_parser_or_its_promise),
	};
	int failed;

	if (mail_charset_open_all() != 0)
		return 1;
	arena = arena_new(4 << 20);
	key = search_key_new(STR("xyzzy"), NULL);
	buf_init(&one, 1 << 18);
	buf_init(&two, 1 << 18);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_fini(&one);
	buf_fini(&two);
	search_key_free(&key);
	arena_free(&arena);
	return failed;
}
