/*
 * mutf7.c - modified UTF-7, RFC 3501 5.1.3
 *
 * The decoder takes what could be meant; the encoder writes the one
 * canonical form. A name is canonical when it comes back unchanged.
 */
#include "store/mbname.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_of(char c)
{
	const char *at = c != '\0' ? strchr(alphabet, c) : NULL;

	return at != NULL ? (int)(at - alphabet) : -1;
}

static int put_utf8(struct buf *out, uint32_t c)
{
	char u[4];
	size_t n;

	if (c < 0x80) {
		u[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		u[0] = (char)(0xc0 | c >> 6);
		u[1] = (char)(0x80 | (c & 0x3f));
		n = 2;
	} else if (c < 0x10000) {
		u[0] = (char)(0xe0 | c >> 12);
		u[1] = (char)(0x80 | (c >> 6 & 0x3f));
		u[2] = (char)(0x80 | (c & 0x3f));
		n = 3;
	} else {
		u[0] = (char)(0xf0 | c >> 18);
		u[1] = (char)(0x80 | (c >> 12 & 0x3f));
		u[2] = (char)(0x80 | (c >> 6 & 0x3f));
		u[3] = (char)(0x80 | (c & 0x3f));
		n = 4;
	}
	return buf_append_n(out, u, n);
}

/* One UTF-16 unit; *high waits for its low surrogate. */
static int put_unit(struct buf *out, uint32_t unit, uint32_t *high)
{
	if (*high != 0) {
		uint32_t c;

		if (unit < 0xdc00 || unit > 0xdfff)
			return -1;
		c = 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00);
		*high = 0;
		return put_utf8(out, c);
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return 0;
	}
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return -1;
	return put_utf8(out, unit);
}

/* The BASE64 between '&' and '-': takes it and the '-' off *s. */
static int decode_shifted(struct str *s, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	int have = 0;

	while (s->n > 0 && s->p[0] != '-') {
		int d = digit_of(s->p[0]);

		if (d < 0)
			return -1;
		*s = str_from(*s, 1);
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have >= 16) {
			have -= 16;
			if (put_unit(out, bits >> have & 0xffff, &high) < 0)
				return -1;
			bits &= (1u << have) - 1;
		}
	}
	/* Padding is zero and less than a digit; every pair is whole. */
	if (s->n == 0 || have >= 6 || bits != 0 || high != 0)
		return -1;
	*s = str_from(*s, 1);
	return 0;
}

int mutf7_to_utf8(struct str s, struct buf *out)
{
	while (s.n > 0) {
		char c = s.p[0];

		if (c < 0x20 || c > 0x7e)
			return -1;
		s = str_from(s, 1);
		if (c != '&') {
			if (buf_append_char(out, c) < 0)
				return -1;
		} else if (s.n > 0 && s.p[0] == '-') {
			s = str_from(s, 1);
			if (buf_append_char(out, '&') < 0)
				return -1;
		} else if (decode_shifted(&s, out) < 0) {
			return -1;
		}
	}
	return 0;
}

/* Takes one character off valid UTF-8. */
static uint32_t take_char(struct str *s)
{
	unsigned char c = (unsigned char)s->p[0];
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	uint32_t v = n == 1 ? c : c & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++)
		v = v << 6 | ((unsigned char)s->p[i] & 0x3f);
	*s = str_from(*s, n);
	return v;
}

struct encoder {
	struct buf *out;
	uint32_t bits;
	int have;
	bool shifted;
};

static void put_16(struct encoder *e, uint32_t unit)
{
	if (!e->shifted)
		buf_append_char(e->out, '&');
	e->shifted = true;
	e->bits = e->bits << 16 | unit;
	for (e->have += 16; e->have >= 6; e->have -= 6)
		buf_append_char(e->out,
		    alphabet[e->bits >> (e->have - 6) & 0x3f]);
	e->bits &= (1u << e->have) - 1;
}

static void end_shift(struct encoder *e)
{
	if (!e->shifted)
		return;
	if (e->have > 0)
		buf_append_char(e->out,
		    alphabet[e->bits << (6 - e->have) & 0x3f]);
	buf_append_char(e->out, '-');
	*e = (struct encoder){ .out = e->out };
}

int mutf7_from_utf8(struct str s, struct buf *out)
{
	struct encoder e = { .out = out };

	if (!str_is_utf8(s))
		return -1;
	while (s.n > 0) {
		uint32_t c = take_char(&s);

		if (c >= 0x20 && c <= 0x7e) {
			end_shift(&e);
			buf_append_char(out, (char)c);
			if (c == '&')
				buf_append_char(out, '-');
		} else if (c < 0x10000) {
			put_16(&e, c);
		} else {
			put_16(&e, 0xd800 + ((c - 0x10000) >> 10));
			put_16(&e, 0xdc00 + ((c - 0x10000) & 0x3ff));
		}
	}
	end_shift(&e);
	return out->failed ? -1 : 0;
}

bool mutf7_is_canonical(struct str s)
{
	struct buf utf8, again;
	bool same;

	if (memchr(s.p, '&', s.n) == NULL)
		return !str_has_ctl(s) && str_is_ascii(s);
	buf_init(&utf8, 2 * s.n + 4);
	buf_init(&again, 4 * s.n + 16);
	same = mutf7_to_utf8(s, &utf8) == 0 &&
	    mutf7_from_utf8(buf_str(&utf8), &again) == 0 &&
	    str_eq(buf_str(&again), s) && !str_has_ctl(buf_str(&utf8));
	buf_fini(&utf8);
	buf_fini(&again);
	return same;
}
