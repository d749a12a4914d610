/* find.c - the order in which an address is looked for in tables */
#include "lookup/lookup.h"
#include "mail/path.h"

/* Whether [address] is one of this host's. */
static bool is_own_literal(const struct lookup *l, struct str domain)
{
	if (domain.n < 3 || *domain.p != '[')
		return false;
	domain = str_sub(domain, 1, domain.n - 2);
	if (str_starts_nocase(domain, STR("ipv6:")))
		domain = str_from(domain, 5);
	for (size_t i = 0; i < l->own_count; i++)
		if (str_eq_nocase(domain, l->own_addresses[i]))
			return true;
	return false;
}

int lookup_is_ours(struct query *q, struct str domain)
{
	if (str_eq_nocase_c(domain, q->l->params->myorigin) ||
	    is_own_literal(q->l, domain))
		return 1;
	return domain_list_match(q->l->mydestination, domain, &q->why);
}

struct search {
	struct query *q;
	struct table_list *tables;
	unsigned what;
	struct buf *value;
};

/*
 * One key in every table. A partial key is not shown to patterns and
 * constants: these are asked for the whole address only.
 */
static int ask(struct search *s, struct str key, bool is_partial)
{
	int found = 0;

	for (size_t i = 0; i < table_list_count(s->tables) && found == 0; i++) {
		struct table *t = table_list_at(s->tables, i);

		if (table_is_users(t))
			continue;
		if (is_partial &&
		    (table_is_pattern(t) || table_is_constant(t)))
			continue;
		found = table_find(t, key, s->value);
	}
	if (found < 0) {
		buf_reset(&s->q->why);
		buf_append(&s->q->why, buf_str(s->value));
	}
	return found;
}

/* unix:passwd.byname among the tables: auth knows the system's users. */
static int ask_users(struct search *s, struct str local)
{
	const struct lookup *l = s->q->l;

	if (!(s->what & FIND_USERS))
		return 0;
	for (size_t i = 0; i < table_list_count(s->tables); i++)
		if (table_is_users(table_list_at(s->tables, i)))
			return l->user_exists(local, &s->q->why, l->ctx);
	return 0;
}

static struct str join(struct query *q, struct str local, struct str domain)
{
	return arena_printf(q->arena, STR_FMT "@" STR_FMT, STR_ARG(local),
	    STR_ARG(domain));
}

int lookup_find(struct query *q, struct table_list *tables, struct parts p,
    unsigned what, struct buf *value, struct str *ext_r, bool *by_domain_r)
{
	struct search s = { q, tables, what, value };
	struct str ext, bare = lookup_strip(q->l, p.local, &ext);
	int found;

	*ext_r = STR_NONE;
	*by_domain_r = false;
	if ((found = ask(&s, join(q, p.local, p.domain), false)) != 0)
		return found;
	if (ext.n > 0 &&
	    (found = ask(&s, join(q, bare, p.domain), true)) != 0) {
		*ext_r = ext;
		return found;
	}
	if ((what & FIND_BARE) && (found = lookup_is_ours(q, p.domain)) != 0) {
		if (found < 0 || (found = ask(&s, p.local, true)) != 0)
			return found;
		if ((found = ask_users(&s, p.local)) != 0)
			return found;
		if (ext.n > 0 && ((found = ask(&s, bare, true)) != 0 ||
		    (found = ask_users(&s, bare)) != 0)) {
			*ext_r = ext;
			return found;
		}
	}
	if (!(what & FIND_DOMAIN))
		return 0;
	found = ask(&s, join(q, STR_NONE, p.domain), true);
	*by_domain_r = found > 0;
	return found;
}
