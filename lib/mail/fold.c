#include "mail/charset.h"
#include "mail/charset_tables.h"

uint32_t mail_fold_code(uint32_t code)
{
	unsigned low = 0, high = fold_range_count;

	if (code < 0x80)
		return code >= 'A' && code <= 'Z' ? code + 32 : code;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct fold_range *r = &fold_ranges[middle];

		if (code < r->first)
			high = middle;
		else if (code > r->last)
			low = middle + 1;
		else if ((code - r->first) % r->stride != 0)
			return code;
		else
			return (uint32_t)((int32_t)code + r->delta);
	}
	return code;
}

int mail_fold(struct str s, struct buf *out)
{
	size_t n;

	while (s.n > 0) {
		int32_t code;

		for (n = 0; n < s.n && (unsigned char)s.p[n] < 0x80; n++)
			;
		if (n > 0) {
			char *p = buf_reserve(out, n);

			if (p == NULL)
				return -1;
			for (size_t i = 0; i < n; i++)
				p[i] = ascii_lower(s.p[i]);
			buf_added(out, n);
			s = str_from(s, n);
			continue;
		}
		code = mail_utf8_next(s, &n);
		if (mail_utf8_append(out, code == -1 ? 0xfffd :
		    mail_fold_code((uint32_t)code)) == -1)
			return -1;
		s = str_from(s, n);
	}
	return 0;
}
