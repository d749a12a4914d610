/* domains.c - lists of domains, as in mydestination */
#include <fcntl.h>
#include <stdlib.h>
#include "base/sys.h"
#include "lookup/lookup.h"
#include "table/source.h"

#define PATTERNS_MAX 100000
#define FILES_DEEP 5	/* files that name files */

struct pattern {
	struct str name;	/* lower case does not matter; or: */
	struct table *table;
	bool negated;
};

struct domain_list {
	struct pattern *patterns;
	size_t count, room;
	bool match_parents;
	struct arena *arena;
};

static int add_text(struct domain_list *, struct str, unsigned depth,
    struct buf *why);

void domain_list_free(struct domain_list **lp)
{
	struct domain_list *l = *lp;

	if (l == NULL)
		return;
	for (size_t i = 0; i < l->count; i++)
		table_free(&l->patterns[i].table);
	free(l->patterns);
	arena_free(&l->arena);
	free(l);
	*lp = NULL;
}

static int add_file(struct domain_list *l, struct str path, unsigned depth,
    struct buf *why)
{
	char *name = arena_cstr(l->arena, path);
	struct buf text;
	int fd = name ? sys_openat(AT_FDCWD, table_path(name),
	    O_RDONLY | O_CLOEXEC, 0) : -1, ret = -1;

	buf_init(&text, 0);
	if (depth >= FILES_DEEP)
		buf_printf(why, STR_FMT ": files name files too deeply",
		    STR_ARG(path));
	else if (fd < 0 || table_source_load(fd, &text) < 0)
		buf_printf(why, STR_FMT ": cannot be read", STR_ARG(path));
	else
		ret = add_text(l, buf_str(&text), depth + 1, why);
	if (fd >= 0)
		sys_close(fd);
	buf_fini(&text);
	return ret;
}

static int add_pattern(struct domain_list *l, const struct pattern *p,
    struct buf *why)
{
	struct pattern *patterns;

	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 16;

		if (room > PATTERNS_MAX * 2 || (patterns = reallocarray(
		    l->patterns, room, sizeof(*patterns))) == NULL) {
			buf_printf(why, "the list is too long");
			return -1;
		}
		l->patterns = patterns;
		l->room = room;
	}
	l->patterns[l->count++] = *p;
	return 0;
}

static int add_word(struct domain_list *l, struct str word, unsigned depth,
    struct buf *why)
{
	struct pattern p = { .negated = false };
	const char *reason;

	while (word.n > 0 && *word.p == '!') {
		p.negated = !p.negated;
		word = str_from(word, 1);
	}
	if (word.n == 0)
		return 0;
	if (*word.p == '/' && !p.negated)
		return add_file(l, word, depth, why);
	if (str_chr(word, ':') > 0 && *word.p != '[') {
		if ((p.table = table_new(word, &reason)) == NULL) {
			buf_printf(why, STR_FMT ": %s", STR_ARG(word), reason);
			return -1;
		}
	} else if ((p.name = arena_str(l->arena, word)).p == NULL) {
		buf_printf(why, "out of memory");
		return -1;
	}
	if (add_pattern(l, &p, why) == 0)
		return 0;
	table_free(&p.table);
	return -1;
}

/* Lines of a file may have comments; a parameter's value has none. */
static int add_text(struct domain_list *l, struct str text, unsigned depth,
    struct buf *why)
{
	struct str line, word;

	while (str_split(&text, '\n', &line)) {
		line = str_trim(line);
		if (depth > 0 && line.n > 0 && *line.p == '#')
			continue;
		while (param_word(&line, true, &word))
			if (add_word(l, word, depth, why) < 0)
				return -1;
	}
	return 0;
}

struct domain_list *domain_list_new(struct str text, bool match_parents,
    struct buf *why)
{
	struct domain_list *l = calloc(1, sizeof(*l));

	if (l == NULL || (l->arena = arena_new(64 * 1024 * 1024)) == NULL) {
		free(l);
		return NULL;
	}
	l->match_parents = match_parents;
	if (add_text(l, text, 0, why) == 0)
		return l;
	domain_list_free(&l);
	return NULL;
}

/* The name itself; with a dot in front, or match_parents, those below it. */
static bool match_name(const struct domain_list *l, struct str name,
    struct str domain)
{
	size_t below;

	if (str_eq_nocase(name, domain))
		return true;
	if (*name.p == '.')
		return domain.n > name.n && str_ends_nocase(domain, name);
	if (!l->match_parents || domain.n <= name.n + 1)
		return false;
	below = domain.n - name.n;
	return domain.p[below - 1] == '.' && str_ends_nocase(domain, name);
}

int domain_list_match(const struct domain_list *l, struct str domain,
    struct buf *why)
{
	struct buf value;
	int found = 0;

	buf_init(&value, TABLE_VALUE_MAX);
	for (size_t i = 0; i < l->count && found == 0; i++) {
		const struct pattern *p = &l->patterns[i];

		if (p->table == NULL) {
			found = match_name(l, p->name, domain);
		} else if ((found = table_find(p->table, domain, &value)) < 0) {
			buf_reset(why);
			buf_append(why, buf_str(&value));
		}
		if (found > 0) {
			buf_fini(&value);
			return !p->negated;
		}
	}
	buf_fini(&value);
	return found;
}
