/* expand.c - virtual_alias_maps, all the way */
#include "base/map.h"
#include "lookup/lookup.h"

struct expansion {
	struct query *q;
	struct map *seen;	/* addresses in the result or in work */
	struct str *list;	/* to be done, and the result in front */
	unsigned *depth;	/* steps from the recipient to each */
	size_t count, limit;
};

static int fail(struct query *q, const char *text, struct str address)
{
	buf_reset(&q->why);
	buf_printf(&q->why, "virtual_alias_maps: %s: " STR_FMT, text,
	    STR_ARG(address));
	return -1;
}

static int find_alias(struct query *q, struct parts p, struct buf *value,
    struct str *ext_r, bool *by_domain_r)
{
	if (table_list_count(q->l->virtual_alias_maps) == 0)
		return 0;
	return lookup_find(q, q->l->virtual_alias_maps, p,
	    FIND_BARE | FIND_DOMAIN, value, ext_r, by_domain_r);
}

int lookup_has_alias(struct query *q, struct parts p)
{
	struct buf value;
	struct str ext;
	bool by_domain;
	int found;

	buf_init(&value, TABLE_VALUE_MAX);
	found = find_alias(q, p, &value, &ext, &by_domain);
	buf_fini(&value);
	return found;
}

/* Takes one word of a value: up to a comma that is not quoted. */
static bool next_address(struct str *rest, struct str *word)
{
	bool quoted = false;
	size_t n;

	do {
		if (rest->n == 0)
			return false;
		for (n = 0; n < rest->n; n++) {
			char c = rest->p[n];

			if (c == '\\' && n + 1 < rest->n)
				n++;
			else if (c == '"')
				quoted = !quoted;
			else if (!quoted && (c == ',' || c == ' ' ||
			    c == '\t' || c == '\n'))
				break;
		}
		if (n > rest->n)
			n = rest->n;
		*word = str_sub(*rest, 0, n);
		*rest = str_from(*rest, n + 1);
	} while (word->n == 0);
	return true;
}

/* "quoted local"@domain in the form that the suite uses inside. */
static struct str unquote(struct query *q, struct str word)
{
	char *out = arena_alloc(q->arena, word.n + 1);
	bool quoted = false;
	size_t n = 0;

	if (out == NULL)
		return STR_NONE;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] == '\\' && i + 1 < word.n)
			out[n++] = word.p[++i];
		else if (word.p[i] == '"')
			quoted = !quoted;
		else if (quoted || (word.p[i] != '<' && word.p[i] != '>'))
			out[n++] = word.p[i];
	}
	return str_n(out, n);
}

/*
 * The address that a word of a value stands for. "@other" takes the local
 * part along when @domain matched; the extension that the match went
 * without goes into the new local part.
 */
static int make_address(struct query *q, struct str word, struct parts from,
    struct str ext, bool by_domain, struct str *address_r)
{
	struct str text = unquote(q, word);
	struct parts p;

	if (by_domain && text.n > 1 && *text.p == '@')
		text = arena_printf(q->arena, STR_FMT STR_FMT,
		    STR_ARG(from.local), STR_ARG(text));
	if (lookup_rewrite(q, text, address_r) < 0 ||
	    address_r->n > (size_t)
	    q->l->params->virtual_alias_address_length_limit)
		return fail(q, "no address", text);
	if (ext.n == 0 || !q->l->propagates_virtual)
		return 0;
	p = lookup_split(*address_r);
	*address_r = arena_printf(q->arena, STR_FMT STR_FMT "@" STR_FMT,
	    STR_ARG(p.local), STR_ARG(ext), STR_ARG(p.domain));
	return address_r->p != NULL && address_r->n <= (size_t)
	    q->l->params->virtual_alias_address_length_limit ? 0
	    : fail(q, "too long", *address_r);
}

/* Puts an address to the rest of the work, unless it was there. */
static int add(struct expansion *x, struct str address, unsigned depth)
{
	if (map_find(x->seen, address) != NULL)
		return 0;
	if (x->count >= x->limit)
		return fail(x->q, "becomes too many addresses", address);
	if (map_set(x->seen, address, x, NULL) < 0)
		return fail(x->q, "out of memory", address);
	x->list[x->count] = address;
	x->depth[x->count++] = depth;
	return 0;
}

/*
 * Does the address at i: what has no alias stays where it is; else the
 * first of what it becomes takes its place and the others go to the end.
 * 1: it is to be done again.
 */
static int step(struct expansion *x, size_t i, struct buf *value)
{
	struct query *q = x->q;
	struct str old = x->list[i], rest, word, ext, address, first = STR_NONE;
	struct parts p = lookup_split(old);
	bool by_domain, itself = false;
	int found = find_alias(q, p, value, &ext, &by_domain);

	if (found <= 0)
		return found;
	if (x->depth[i] >=
	    (unsigned)q->l->params->virtual_alias_recursion_limit)
		return fail(q, "nested too deeply", old);
	/* The table's buffer is used again by the next question. */
	rest = arena_str(q->arena, buf_str(value));
	while (next_address(&rest, &word)) {
		if (make_address(q, word, p, ext, by_domain, &address) < 0)
			return -1;
		if (str_eq_nocase(address, old)) {
			itself = true;	/* deliver here as well: no loop */
			continue;
		}
		if (first.p == NULL && map_find(x->seen, address) == NULL) {
			first = address;
			if (map_set(x->seen, address, x, NULL) < 0)
				return fail(q, "out of memory", address);
			continue;
		}
		if (add(x, address, x->depth[i] + 1) < 0)
			return -1;
	}
	if (itself) {
		if (first.p != NULL) {
			if (x->count >= x->limit)
				return fail(q, "becomes too many addresses",
				    old);
			x->list[x->count] = first;
			x->depth[x->count++] = x->depth[i] + 1;
		}
		return 0;
	}
	x->list[i] = first;	/* none: everything was there before */
	x->depth[i]++;
	return first.p != NULL;
}

int lookup_expand(struct query *q, struct str address, struct strs *result_r)
{
	struct expansion x = { .q = q,
		.limit = (size_t)q->l->params->virtual_alias_expansion_limit };
	struct buf value;
	int again, ret = -1;
	size_t n = 0;

	buf_init(&value, TABLE_VALUE_MAX);
	x.list = arena_array(q->arena, x.limit, sizeof(*x.list));
	x.depth = arena_array(q->arena, x.limit, sizeof(*x.depth));
	x.seen = map_new(true);
	if (x.list == NULL || x.depth == NULL || x.seen == NULL ||
	    add(&x, address, 0) < 0)
		goto out;
	for (size_t i = 0; i < x.count; i++) {
		do
			again = step(&x, i, &value);
		while (again > 0);
		if (again < 0)
			goto out;
	}
	for (size_t i = 0; i < x.count; i++)
		if (x.list[i].p != NULL)
			x.list[n++] = x.list[i];
	/* a -> b -> a: nothing is left that would be delivered. */
	if (n == 0) {
		fail(q, "a loop", address);
		goto out;
	}
	*result_r = (struct strs){ x.list, n };
	ret = 0;
out:
	if (ret < 0 && q->why.n == 0)
		fail(q, "out of memory", address);
	map_free(&x.seen, NULL);
	buf_fini(&value);
	return ret;
}
