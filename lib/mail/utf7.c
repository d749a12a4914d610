/* RFC 3501 5.1.3: mailbox names in modified UTF-7 */
#include "mail/charset.h"
#include "mail/encoded.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "abcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_value(char c)
{
	const char *p = c == '\0' ? NULL : strchr(digits, c);

	return p ? (int)(p - digits) : -1;
}

struct shift {
	uint32_t bits;
	unsigned bit_count;
};

static void put_unit(struct shift *s, uint16_t unit, struct buf *out)
{
	s->bits = s->bits << 16 | unit;
	s->bit_count += 16;
	while (s->bit_count >= 6) {
		s->bit_count -= 6;
		buf_append_char(out, digits[s->bits >> s->bit_count & 63]);
	}
}

int mail_utf7_encode(struct str s, struct buf *out)
{
	struct shift shift = { 0, 0 };
	bool shifted = false;
	size_t n;

	if (!str_is_utf8(s))
		return -1;
	while (s.n > 0 || shifted) {
		int32_t code = s.n > 0 ? mail_utf8_next(s, &n) : ' ';
		bool direct = code >= 0x20 && code <= 0x7e;

		if (direct && shifted) {
			if (shift.bit_count > 0)
				buf_append_char(out, digits[shift.bits <<
				    (6 - shift.bit_count) & 63]);
			buf_append_char(out, '-');
			shifted = false;
			if (s.n == 0)
				break;
		}
		if (direct) {
			buf_append_char(out, (char)code);
			if (code == '&')
				buf_append_char(out, '-');
		} else {
			if (!shifted)
				buf_append_char(out, '&');
			if (!shifted)
				shift = (struct shift){ 0, 0 };
			shifted = true;
			if (code >= 0x10000) {
				put_unit(&shift, (uint16_t)(0xd800 +
				    ((code - 0x10000) >> 10)), out);
				put_unit(&shift, (uint16_t)(0xdc00 +
				    ((code - 0x10000) & 0x3ff)), out);
			} else {
				put_unit(&shift, (uint16_t)code, out);
			}
		}
		s = str_from(s, n);
	}
	return out->failed ? -1 : 0;
}

/* One shifted sequence, between "&" and "-". -1: no text. */
static int decode_shifted(struct str s, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned bit_count = 0;

	for (size_t i = 0; i < s.n; i++) {
		int v = digit_value(s.p[i]);
		uint32_t unit;

		if (v == -1)
			return -1;
		bits = bits << 6 | (uint32_t)v;
		bit_count += 6;
		if (bit_count < 16)
			continue;
		bit_count -= 16;
		unit = bits >> bit_count & 0xffff;
		if ((unit & 0xfc00) == 0xdc00) {
			if (high == 0)
				return -1;
			unit = 0x10000 + ((high - 0xd800) << 10) +
			    (unit - 0xdc00);
			high = 0;
		} else if (high != 0) {
			return -1;
		} else if ((unit & 0xfc00) == 0xd800) {
			high = unit;
			continue;
		}
		if (unit < 0x20 || unit == 0x7f)
			return -1;
		mail_utf8_append(out, unit);
	}
	return high == 0 && s.n > 0 ? 0 : -1;
}

/*
 * Decoded leniently, then encoded again: only what comes out the same is
 * canonical, so two names never mean one mailbox.
 */
int mail_utf7_decode(struct str s, struct buf *out)
{
	size_t before = out->n;
	struct str rest = s;
	struct buf again;
	int r = -1;

	buf_init(&again, s.n);
	while (rest.n > 0) {
		unsigned char c = (unsigned char)rest.p[0];
		ssize_t end;

		if (c < 0x20 || c > 0x7e)
			goto out;
		rest = str_from(rest, 1);
		if (c != '&') {
			buf_append_char(out, (char)c);
			continue;
		}
		if ((end = str_chr(rest, '-')) == -1)
			goto out;
		if (end == 0)
			buf_append_char(out, '&');
		else if (decode_shifted(str_n(rest.p, (size_t)end), out) == -1)
			goto out;
		rest = str_from(rest, (size_t)end + 1);
	}
	if (!out->failed &&
	    mail_utf7_encode(str_from(buf_str(out), before), &again) == 0 &&
	    str_eq(buf_str(&again), s))
		r = 0;
out:
	if (r == -1 && out->n > before)
		buf_truncate(out, before);
	buf_fini(&again);
	return r;
}
