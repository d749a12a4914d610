#include <idn2.h>
#include "mail/idn.h"
#include "mail/path.h"

/* U-labels take up to four octets a character (RFC 5890 4.2). */
#define NAME_MAX_OCTETS (4 * MAIL_DOMAIN_MAX)

static int append_lower(struct str s, struct buf *out)
{
	char *p = buf_reserve(out, s.n);

	if (p == NULL)
		return -1;
	for (size_t i = 0; i < s.n; i++)
		p[i] = ascii_lower(s.p[i]);
	buf_added(out, s.n);
	return 0;
}

int mail_domain_to_ascii(struct str domain, struct buf *out)
{
	char name[NAME_MAX_OCTETS + 1], *result = NULL;
	int r;

	if (str_is_ascii(domain))
		return str_has_nul(domain) ? -1 : append_lower(domain, out);
	if (!str_is_utf8(domain) ||
	    str_to_c(domain, name, sizeof(name)) == -1 ||
	    idn2_to_ascii_8z(name, &result, IDN2_NFC_INPUT |
	    IDN2_NONTRANSITIONAL) != IDN2_OK)
		return -1;
	r = mail_domain_is_valid(str_of(result), false) ?
	    append_lower(str_of(result), out) : -1;
	idn2_free(result);
	return r;
}

int mail_domain_to_unicode(struct str domain, struct buf *out)
{
	char name[NAME_MAX_OCTETS + 1], *result = NULL;
	int r;

	if (str_find_nocase(domain, STR("xn--")) == -1 ||
	    str_to_c(domain, name, sizeof(name)) == -1 ||
	    idn2_to_unicode_8z8z(name, &result, 0) != IDN2_OK)
		return buf_append(out, domain);
	r = buf_append_c(out, result);
	idn2_free(result);
	return r;
}
