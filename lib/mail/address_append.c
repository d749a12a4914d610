#include "mail/address.h"
#include "mail/path.h"

/* RFC 5322 3.2.3 atext and single spaces, which only quotes would keep more
 * of; octets above 127: RFC 6532 3.2. */
static bool is_plain_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x80 && !ascii_is_alpha((char)c) &&
		    !ascii_is_digit((char)c) &&
		    (c < 32 || strchr(" !#$%&'*+-/=?^_`{|}~", c) == NULL))
			return false;
		if (c == ' ' && i > 0 && s.p[i - 1] == ' ')
			return false;
	}
	return s.n > 0 && s.p[0] != ' ' && s.p[s.n - 1] != ' ';
}

int mail_address_append(struct buf *b, struct str name, struct str local,
    struct str domain)
{
	/* "=?a@b?=" is one encoded word, but not in brackets. */
	if (name.n == 0)
		return str_starts(local, STR("=?")) ?
		    mail_path_append_angle(b, local, domain) :
		    mail_path_append(b, local, domain);
	if (is_plain_name(name)) {
		buf_append(b, name);
	} else {
		buf_append_char(b, '"');
		for (size_t i = 0; i < name.n; i++) {
			unsigned char c = (unsigned char)name.p[i];

			if (c < 32 || c == 127)	/* never a line end */
				c = ' ';
			if (c == '"' || c == '\\')
				buf_append_char(b, '\\');
			buf_append_char(b, (char)c);
		}
		buf_append_char(b, '"');
	}
	buf_append_char(b, ' ');
	return mail_path_append_angle(b, local, domain);
}
