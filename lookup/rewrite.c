/* rewrite.c - an address in the form in which everything else sees it */
#include "lookup/lookup.h"
#include "mail/path.h"

struct parts lookup_split(struct str address)
{
	struct parts p;

	mail_path_split(address, &p.local, &p.domain);
	return p;
}

struct str lookup_strip(const struct lookup *l, struct str local,
    struct str *ext_r)
{
	const char *delimiters = l->params->recipient_delimiter;
	size_t i;

	*ext_r = STR_NONE;
	/* These names have no extensions, whatever the delimiter. */
	if (str_eq_nocase_c(local, "mailer-daemon") ||
	    str_eq_nocase_c(local, l->params->double_bounce_sender))
		return local;
	/* "owner-list" and "list-request" are whole names when - divides. */
	if (strchr(delimiters, '-') != NULL &&
	    (str_starts_nocase(local, STR("owner-")) ||
		str_ends_nocase(local, STR("-request"))))
		return local;
	for (i = 1; i < local.n; i++)
		if (local.p[i] != '\0' && strchr(delimiters, local.p[i]))
			break;
	if (i >= local.n)
		return local;
	*ext_r = str_from(local, i);
	return str_sub(local, 0, i);
}

int lookup_rewrite(struct query *q, struct str address, struct str *result_r)
{
	const struct params *params = q->l->params;
	struct parts p = lookup_split(address);
	unsigned char literal[16];
	char *text;

	if (str_has_ctl(address) || address.n > LOOKUP_ADDRESS_MAX - 256 ||
	    p.local.n == 0)
		return -1;
	while (p.domain.n > 0 && p.domain.p[p.domain.n - 1] == '.')
		p.domain.n--;
	if (p.domain.n == 0)
		p.domain = str_of(params->myorigin);
	else if (params->append_dot_mydomain &&
	    str_chr(p.domain, '.') < 0 && *p.domain.p != '[')
		p.domain = arena_printf(q->arena, STR_FMT ".%s",
		    STR_ARG(p.domain), params->mydomain);
	if (!mail_domain_is_valid(p.domain, true) &&
	    mail_literal_parse(p.domain, literal) < 0)
		return -1;
	*result_r = arena_printf(q->arena, STR_FMT "@", STR_ARG(p.local));
	text = arena_alloc(q->arena, result_r->n + p.domain.n + 1);
	if (text == NULL || result_r->p == NULL)
		return -1;
	memcpy(text, result_r->p, result_r->n);
	for (size_t i = 0; i < p.domain.n; i++)
		text[result_r->n + i] = ascii_lower(p.domain.p[i]);
	*result_r = str_n(text, result_r->n + p.domain.n);
	return 0;
}
