#include "local/targets.h"
#include "mail/address.h"

/* The next entry as it stands, without white space around it. */
static bool next_entry(struct str *rest, struct str *entry)
{
	bool quoted = false;
	int depth = 0;
	size_t i;

	while (rest->n > 0 && rest->p[0] == '#') {
		ssize_t end = str_chr(*rest, '\n');

		*rest = str_from(*rest, end < 0 ? rest->n : (size_t)end + 1);
	}
	if (rest->n == 0)
		return false;
	for (i = 0; i < rest->n; i++) {
		char c = rest->p[i];

		if (c == '\n')
			break;
		if (c == '\\' && (quoted || depth > 0) && i + 1 < rest->n &&
		    rest->p[i + 1] != '\n')
			i++;
		else if (c == '"' && depth == 0)
			quoted = !quoted;
		else if (!quoted && c == '(')
			depth++;
		else if (!quoted && c == ')' && depth > 0)
			depth--;
		else if (c == ',' && !quoted && depth == 0)
			break;
	}
	*entry = str_trim(str_sub(*rest, 0, i));
	*rest = str_from(*rest, i + 1);
	return true;
}

/* What is within quotes when the entry is nothing but one quoted string. */
static bool unquote(struct str s, struct arena *a, struct str *out)
{
	char *p = arena_cstr(a, s);
	size_t n = 0;

	if (p == NULL || s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
		return false;
	for (size_t i = 1; i + 1 < s.n; i++) {
		if (s.p[i] == '"')
			return false;
		if (s.p[i] == '\\' && i + 2 < s.n)
			i++;
		p[n++] = s.p[i];
	}
	p[n] = '\0';
	*out = str_n(p, n);
	return true;
}

/* 1: it is one of these; 0: none; -1: only the sign of one. */
static int classify(struct str s, struct target *t, const char **why)
{
	const struct str include = STR(":include:");

	t->is_final = false;
	if (s.n > 0 && s.p[0] == '|') {
		t->kind = TARGET_COMMAND;
		t->text = str_trim(str_from(s, 1));
		*why = "there is no command after |";
		return t->text.n > 0 ? 1 : -1;
	}
	if (s.n > 1 && s.p[0] == '/') {
		t->kind = TARGET_FILE;
		t->text = s;
		return 1;
	}
	if (str_starts_nocase(s, include)) {
		t->kind = TARGET_INCLUDE;
		t->text = str_trim(str_from(s, include.n));
		*why = "there is no absolute path after :include:";
		return t->text.n > 0 && t->text.p[0] == '/' ? 1 : -1;
	}
	return 0;
}

static int add(struct targets *l, size_t limit, struct arena *a,
    const struct target *t, const char **why)
{
	if (l->n == limit) {
		*why = "it has too many entries";
		return -1;
	}
	if ((l->n & (l->n - 1)) == 0) {
		struct target *more = arena_array(a, l->n ? 2 * l->n : 1,
		    sizeof(*more));

		*why = "no memory";
		if (more == NULL)
			return -1;
		if (l->n > 0)
			memcpy(more, l->v, l->n * sizeof(*more));
		l->v = more;
	}
	l->v[l->n++] = *t;
	return 0;
}

static int add_addresses(struct str entry, bool is_final, size_t limit,
    struct arena *a, struct targets *l, const char **why)
{
	struct mail_address_list list;

	*why = "no memory";
	if (mail_address_parse(entry, a, &list) < 0)
		return -1;
	*why = "an entry is no address";
	if (list.invalid || list.truncated)
		return -1;
	for (unsigned i = 0; i < list.count; i++) {
		const struct mail_address *m = &list.items[i];
		struct target t = { TARGET_ADDRESS, STR_NONE, is_final };

		if (m->kind != MAIL_ADDRESS_MAILBOX)
			continue;
		t.text = m->domain.n == 0 ? arena_str(a, m->local)
		    : arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(m->local),
			STR_ARG(m->domain));
		if (t.text.n == 0 || str_has_ctl(t.text))
			return -1;
		if (add(l, limit, a, &t, why) < 0)
			return -1;
		*why = "an entry is no address";
	}
	return 0;
}

int targets_parse(struct str value, size_t limit, struct arena *a,
    struct targets *l, const char **why_r)
{
	struct str entry, bare;

	*l = (struct targets){ NULL, 0 };
	while (next_entry(&value, &entry)) {
		struct target t;
		int rc;

		if (entry.n == 0)
			continue;
		if (str_has_nul(entry)) {
			*why_r = "there is a NUL in it";
			return -1;
		}
		if (!unquote(entry, a, &bare))
			bare = entry;
		rc = classify(bare, &t, why_r);
		if (rc > 0)
			rc = add(l, limit, a, &t, why_r);
		else if (rc == 0 && bare.n > 0 && bare.p[0] == '\\')
			rc = add_addresses(str_from(bare, 1), true, limit, a,
			    l, why_r);
		else if (rc == 0)
			rc = add_addresses(entry, false, limit, a, l, why_r);
		if (rc < 0)
			return -1;
	}
	return 0;
}
