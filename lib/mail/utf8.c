/* RFC 3629 */
#include "mail/charset.h"

int mail_utf8_append(struct buf *b, uint32_t code)
{
	char out[4];
	size_t n = 0;

	if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		code = 0xfffd;
	if (code < 0x80) {
		out[n++] = (char)code;
	} else if (code < 0x800) {
		out[n++] = (char)(0xc0 | code >> 6);
	} else if (code < 0x10000) {
		out[n++] = (char)(0xe0 | code >> 12);
		out[n++] = (char)(0x80 | (code >> 6 & 63));
	} else {
		out[n++] = (char)(0xf0 | code >> 18);
		out[n++] = (char)(0x80 | (code >> 12 & 63));
		out[n++] = (char)(0x80 | (code >> 6 & 63));
	}
	if (code >= 0x80)
		out[n++] = (char)(0x80 | (code & 63));
	return buf_append_n(b, out, n);
}

int32_t mail_utf8_next(struct str s, size_t *n_r)
{
	const unsigned char *p = (const unsigned char *)s.p;
	int32_t code, least;
	size_t n;

	*n_r = 1;
	if (p[0] < 0x80)
		return p[0];
	if (p[0] >= 0xc2 && p[0] < 0xe0) {
		n = 2;
		code = p[0] & 31;
		least = 0x80;
	} else if (p[0] >= 0xe0 && p[0] < 0xf0) {
		n = 3;
		code = p[0] & 15;
		least = 0x800;
	} else if (p[0] >= 0xf0 && p[0] < 0xf5) {
		n = 4;
		code = p[0] & 7;
		least = 0x10000;
	} else {
		return -1;
	}
	if (s.n < n)
		return -1;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return -1;
		code = code << 6 | (p[i] & 63);
	}
	if (code < least || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return -1;
	*n_r = n;
	return code;
}
