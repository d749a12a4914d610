/* RFC 2045 6.7 and 6.8 */
#include "mail/header.h"
#include "mail/transfer.h"

enum mail_encoding mail_encoding_of(struct str body)
{
	static const struct {
		const char *name;
		enum mail_encoding encoding;
	} rows[] = {
		{ "7bit", MAIL_ENCODING_7BIT }, { "8bit", MAIL_ENCODING_8BIT },
		{ "binary", MAIL_ENCODING_BINARY },
		{ "quoted-printable", MAIL_ENCODING_QUOTED },
		{ "base64", MAIL_ENCODING_BASE64 },
	};
	struct str token = mail_field_token(body);

	if (token.n == 0)
		return MAIL_ENCODING_7BIT;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (str_eq_nocase_c(token, rows[i].name))
			return rows[i].encoding;
	return MAIL_ENCODING_UNKNOWN;
}

void mail_decoder_init(struct mail_decoder *d, enum mail_encoding encoding)
{
	*d = (struct mail_decoder){ .encoding = encoding };
}

static int hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

static void flush_held(struct mail_decoder *d, struct buf *out)
{
	buf_append_n(out, d->held, d->held_n);
	d->held_n = 0;
}

static void hold(struct mail_decoder *d, char c, struct buf *out)
{
	if (d->held_n == sizeof(d->held)) {
		d->broken = true;
		flush_held(d, out);
	}
	d->held[d->held_n++] = c;
}

/* One octet behind "=...": true when it was used up. */
static bool quoted_after_equals(struct mail_decoder *d, char c,
    struct buf *out)
{
	char last = d->held[d->held_n - 1];

	if (c == '\n') {		/* soft line break */
		d->held_n = 0;
		return true;
	}
	if (d->held_n == 1 && hex_value(c) != -1) {
		hold(d, c, out);
		return true;
	}
	if (d->held_n == 2 && hex_value(last) != -1) {
		if (hex_value(c) != -1) {
			buf_append_char(out, (char)(hex_value(last) << 4 |
			    hex_value(c)));
			d->held_n = 0;
			return true;
		}
	} else if (last != '\r' && (is_wsp(c) || c == '\r')) {
		hold(d, c, out);	/* padding behind a soft break */
		return true;
	}
	d->broken = true;
	flush_held(d, out);
	return false;
}

/* Octets that stand for themselves, with the single spaces between them. */
static size_t plain_run(struct str in, size_t at)
{
	size_t i = at;

	for (; i < in.n && in.p[i] != '='; i++)
		if (is_wsp(in.p[i]) && (i + 1 == in.n ||
		    is_wsp(in.p[i + 1]) || in.p[i + 1] == '\r' ||
		    in.p[i + 1] == '\n'))
			break;
	return i - at;
}

static void decode_quoted(struct mail_decoder *d, struct str in,
    struct buf *out)
{
	size_t i = 0, n;

	while (i < in.n && !out->failed) {
		char c = in.p[i];

		if (d->held_n > 0 && d->held[0] == '=') {
			i += quoted_after_equals(d, c, out);
			continue;
		}
		if (is_wsp(c)) {
			hold(d, c, out);
			i++;
			continue;
		}
		/* RFC 2045 6.7 (3): white space at the end of a line was put
		 * there on the way */
		if (c == '\r' || c == '\n')
			d->held_n = 0;
		else
			flush_held(d, out);
		if (c == '=') {
			hold(d, c, out);
			i++;
			continue;
		}
		n = plain_run(in, i);
		buf_append_n(out, in.p + i, n);
		i += n;
	}
}

static const signed char *base64_values(void)
{
	static const signed char values[256] = {
#define X (-1)
		X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
		X,X,X,X,X,X,X,X,X,X,X,62,X,X,X,63,52,53,54,55,56,57,58,59,60,
		61,X,X,X,X,X,X,X,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,
		18,19,20,21,22,23,24,25,X,X,X,X,X,X,26,27,28,29,30,31,32,33,34,
		35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,X,X,X,X,X,
		X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
		X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
		X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
		X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X
#undef X
	};

	return values;
}

static void decode_base64(struct mail_decoder *d, struct str in,
    struct buf *out)
{
	const signed char *values = base64_values();
	char *p = buf_reserve(out, in.n / 4 * 3 + 3);
	size_t n = 0;

	if (p == NULL)
		return;
	for (size_t i = 0; i < in.n; i++) {
		int v = values[(unsigned char)in.p[i]];

		if (d->done || v == -1) {
			if (in.p[i] == '=')
				d->done = true;
			else if (!is_wsp(in.p[i]) && in.p[i] != '\r' &&
			    in.p[i] != '\n')
				d->broken = true;
			continue;
		}
		d->bits = d->bits << 6 | (uint32_t)v;
		d->bit_count += 6;
		if (d->bit_count >= 8) {
			d->bit_count -= 8;
			p[n++] = (char)(d->bits >> d->bit_count);
		}
	}
	buf_added(out, n);
}

int mail_decode(struct mail_decoder *d, struct str in, struct buf *out)
{
	if (in.n == 0)
		return out->failed ? -1 : 0;
	if (d->encoding == MAIL_ENCODING_QUOTED)
		decode_quoted(d, in, out);
	else if (d->encoding == MAIL_ENCODING_BASE64)
		decode_base64(d, in, out);
	else
		buf_append(out, in);
	return out->failed ? -1 : 0;
}

int mail_decode_end(struct mail_decoder *d, struct buf *out)
{
	if (d->held_n > 0 && d->held[0] == '=') {
		/* a lone "=" at the end is a soft break without its line */
		if (d->held_n == 1)
			d->held_n = 0;
		d->broken = true;
		flush_held(d, out);
	}
	d->held_n = 0;
	return out->failed ? -1 : 0;
}

int mail_encode_base64(struct str in, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < in.n; i += 57) {
		struct str line = str_sub(in, i, 57);

		for (size_t k = 0; k < line.n; k += 3) {
			uint32_t v = 0;
			size_t n = line.n - k < 3 ? line.n - k : 3;
			char four[4];

			for (size_t j = 0; j < 3; j++)
				v = v << 8 | (j < n ?
				    (unsigned char)line.p[k + j] : 0);
			for (size_t j = 0; j < 4; j++)
				four[j] = j <= n ?
				    digits[v >> (18 - 6 * j) & 63] : '=';
			buf_append_n(out, four, 4);
		}
		buf_append_n(out, "\r\n", 2);
	}
	return out->failed ? -1 : 0;
}

int mail_encode_quoted(struct str in, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t column = 0, width;
	bool broken = false;	/* this line began with a soft break */

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		bool last = i + 1 == in.n || in.p[i + 1] == '\n' ||
		    (in.p[i + 1] == '\r' && i + 2 < in.n &&
		    in.p[i + 2] == '\n');
		bool plain = (c > 32 && c < 127 && c != '=') ||
		    (is_wsp((char)c) && !last);

		if (c == '\n' || (c == '\r' && i + 1 < in.n &&
		    in.p[i + 1] == '\n')) {
			i += c == '\r';
			buf_append_n(out, "\r\n", 2);
			column = 0;
			broken = false;
			continue;
		}
		width = plain ? 1 : 3;
		if (column + width > (last ? 76 : 75)) {
			buf_append_n(out, "=\r\n", 3);
			column = 0;
			broken = true;
		}
		/* At the start of a line what other programs act on; where we
		 * began it also what could be a boundary now. */
		if (column == 0 && (c == '.' || c == 'F' ||
		    (broken && c == '-'))) {
			plain = false;
			width = 3;
		}
		if (plain) {
			buf_append_char(out, (char)c);
		} else {
			buf_append_char(out, '=');
			buf_append_char(out, hex[c >> 4]);
			buf_append_char(out, hex[c & 15]);
		}
		column += width;
	}
	return out->failed ? -1 : 0;
}
