/* RFC 2047 */
#include "mail/charset.h"
#include "mail/encoded.h"

/* =?charset[*language]?encoding?text?= */
struct word {
	const struct mail_charset *charset;
	char encoding;		/* 'b' or 'q' */
	struct str text;
	size_t n;		/* octets of all of it */
};

/* The encoded word at the start of s. -1: none, or of an unknown set. */
static int scan_word(struct str s, struct word *w)
{
	struct str rest = s, charset, encoding, text;
	ssize_t star;

	if (!str_starts(s, STR("=?")))
		return -1;
	rest = str_from(rest, 2);
	if (!str_split(&rest, '?', &charset) || rest.p == NULL ||
	    !str_split(&rest, '?', &encoding) || rest.p == NULL ||
	    !str_split(&rest, '?', &text) || rest.p == NULL)
		return -1;
	if (rest.n == 0 || rest.p[0] != '=' || encoding.n != 1)
		return -1;
	/* RFC 2231 5: a language may follow the set */
	if ((star = str_chr(charset, '*')) != -1)
		charset.n = (size_t)star;
	w->encoding = ascii_lower(encoding.p[0]);
	if (w->encoding != 'b' && w->encoding != 'q')
		return -1;
	if (charset.n == 0 || charset.n > 75)
		return -1;
	w->charset = mail_charset_find(charset);
	w->text = text;
	w->n = (size_t)(rest.p + 1 - s.p);
	return w->charset ? 0 : -1;
}

static int hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (ascii_is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 2047 4.1 and 4.2; what is wrong is skipped or stays. */
static void decode_word(const struct word *w, struct buf *out)
{
	struct str t = w->text;
	uint32_t bits = 0;
	unsigned bit_count = 0;
	int v;

	for (size_t i = 0; i < t.n; i++) {
		char c = t.p[i];

		if (w->encoding == 'b') {
			if ((v = base64_value(c)) == -1)
				continue;
			bits = bits << 6 | (uint32_t)v;
			bit_count += 6;
			if (bit_count < 8)
				continue;
			bit_count -= 8;
			c = (char)(bits >> bit_count);
		} else if (c == '_') {
			c = ' ';
		} else if (c == '=' && i + 2 < t.n &&
		    hex_value(t.p[i + 1]) != -1 &&
		    hex_value(t.p[i + 2]) != -1) {
			c = (char)(hex_value(t.p[i + 1]) << 4 |
			    hex_value(t.p[i + 2]));
			i += 2;
		}
		buf_append_char(out, c);
	}
}

static void flush(const struct mail_charset *charset, struct buf *raw,
    struct buf *out)
{
	size_t at = out->n;

	if (charset == NULL)
		return;
	mail_charset_to_utf8(charset, buf_str(raw), out);
	/* What was hidden in a word must not end a line or a string. */
	for (; at < out->n; at++)
		if (out->p[at] == '\r' || out->p[at] == '\n' ||
		    out->p[at] == '\0')
			out->p[at] = ' ';
	buf_reset(raw);
}

/*
 * Words that follow one another in the same set are joined before they are
 * converted: senders cut characters in two, though RFC 2047 5 forbids it.
 */
int mail_words_decode(struct str s, struct buf *out)
{
	const struct mail_charset *charset = NULL;	/* of what is in raw */
	size_t plain = 0, i = 0;	/* plain text waits from `plain` to i */
	struct word w;
	struct buf raw;

	buf_init(&raw, s.n + 1);
	while (i < s.n) {
		const char *p = memchr(s.p + i, '=', s.n - i);

		if (p == NULL)
			break;
		i = (size_t)(p - s.p);
		if (scan_word(str_from(s, i), &w) == -1) {
			i++;
			continue;
		}
		/* RFC 2047 6.2: white space between words is not shown */
		if (charset == NULL ||
		    str_trim(str_n(s.p + plain, i - plain)).n != 0) {
			flush(charset, &raw, out);
			mail_charset_to_utf8(mail_charset_utf8,
			    str_n(s.p + plain, i - plain), out);
		} else if (charset != w.charset) {
			flush(charset, &raw, out);
		}
		charset = w.charset;
		decode_word(&w, &raw);
		i += w.n;
		plain = i;
	}
	flush(charset, &raw, out);
	if (plain < s.n)
		mail_charset_to_utf8(mail_charset_utf8, str_from(s, plain),
		    out);
	i = raw.failed;
	buf_fini(&raw);
	return out->failed || i ? -1 : 0;
}

/* What may stand in a Q word of a phrase (RFC 2047 5 (3)). */
static bool is_q_safe(unsigned char c)
{
	return ascii_is_alpha((char)c) || ascii_is_digit((char)c) ||
	    (c < 0x80 && c > 32 && strchr("!*+-/", c) != NULL);
}

static void append_q(struct str s, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == ' ') {
			buf_append_char(out, '_');
		} else if (is_q_safe(c)) {
			buf_append_char(out, (char)c);
		} else {
			buf_append_char(out, '=');
			buf_append_char(out, hex[c >> 4]);
			buf_append_char(out, hex[c & 15]);
		}
	}
}

static void append_b(struct str s, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < s.n; i += 3) {
		size_t n = s.n - i < 3 ? s.n - i : 3;
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (k < n ? (unsigned char)s.p[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			buf_append_char(out, k <= n ?
			    digits[v >> (18 - 6 * k) & 63] : '=');
	}
}

/* Octets that s needs in Q. */
static size_t q_width(struct str s)
{
	size_t width = 0;

	for (size_t i = 0; i < s.n; i++)
		width += s.p[i] == ' ' || is_q_safe((unsigned char)s.p[i]) ?
		    1 : 3;
	return width;
}

int mail_words_encode(struct str s, struct buf *out)
{
	/* 12 octets around the text; 48 leave room on the first line for the
	 * field's name (RFC 2047 2: lines of at most 76 octets). */
	const size_t room = 48;
	bool q;

	if (str_is_ascii(s) && !str_has_ctl(s) && str_find(s, STR("=?")) == -1)
		return buf_append(out, s);
	q = q_width(s) <= s.n / 3 * 4 + 4;
	for (size_t at = 0; at < s.n;) {
		size_t end = at, width = 0, n;

		/* whole characters only (RFC 2047 5) */
		while (end < s.n) {
			mail_utf8_next(str_from(s, end), &n);
			width = q ? width + q_width(str_n(s.p + end, n)) :
			    (end + n - at + 2) / 3 * 4;
			if (width > room)
				break;
			end += n;
		}
		if (at > 0)
			buf_append_c(out, "\r\n ");
		buf_append_c(out, q ? "=?UTF-8?Q?" : "=?UTF-8?B?");
		(q ? append_q : append_b)(str_n(s.p + at, end - at), out);
		buf_append_c(out, "?=");
		at = end;
	}
	return out->failed ? -1 : 0;
}
