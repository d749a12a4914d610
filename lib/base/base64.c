#include "base/base64.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)(unsigned char)in.p[i] << 16;
		char four[4];

		if (left > 1)
			v |= (uint32_t)(unsigned char)in.p[i + 1] << 8;
		if (left > 2)
			v |= (unsigned char)in.p[i + 2];
		four[0] = alphabet[v >> 18];
		four[1] = alphabet[v >> 12 & 63];
		four[2] = left > 1 ? alphabet[v >> 6 & 63] : '=';
		four[3] = left > 2 ? alphabet[v & 63] : '=';
		if (buf_append_n(out, four, 4) < 0)
			return -1;
	}
	return 0;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct str in, struct buf *out)
{
	size_t pad = 0;

	if (in.n % 4 != 0)
		return -1;
	if (in.n > 0 && in.p[in.n - 1] == '=')
		pad = in.p[in.n - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < in.n; i += 4) {
		size_t have = i + 4 == in.n ? 4 - pad : 4;
		uint32_t v = 0;
		char three[3];

		for (size_t k = 0; k < 4; k++) {
			int d = k < have ? digit(in.p[i + k]) : 0;

			if (d < 0)
				return -1;
			v = v << 6 | (uint32_t)d;
		}
		if ((have == 2 && (v & 0xffff) != 0) ||
		    (have == 3 && (v & 0xff) != 0))
			return -1; /* RFC 4648 3.5: pad bits are zero */
		three[0] = (char)(v >> 16);
		three[1] = (char)(v >> 8);
		three[2] = (char)v;
		if (buf_append_n(out, three, have - 1) < 0)
			return -1;
	}
	return 0;
}
