/* text.c - tables that are kept in memory, and those that need none */
#include <stdlib.h>
#include "base/arena.h"
#include "base/log.h"
#include "base/map.h"
#include "config/params.h"
#include "table/source.h"
#include "table/type.h"

struct text_state {
	struct map *map;
	struct arena *arena;	/* struct str values */
	struct text_entry **order;
	size_t count, room;
	const char *spec;
};

struct text_entry {
	struct str key, value;
};

static void close_text(struct table *t)
{
	struct text_state *s = t->state;

	map_free(&s->map, NULL);
	arena_free(&s->arena);
	free(s->order);
	free(s);
}

static int add_entry(struct text_state *s, struct str key, struct str value)
{
	struct text_entry *e, **order;
	char *folded;

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 64;

		order = reallocarray(s->order, room, sizeof(*order));
		if (order == NULL)
			return -1;
		s->order = order;
		s->room = room;
	}
	if ((folded = arena_cstr(s->arena, key)) == NULL ||
	    (e = ARENA_NEW(s->arena, struct text_entry)) == NULL)
		return -1;
	for (size_t i = 0; i < key.n; i++)
		folded[i] = ascii_lower(folded[i]);
	e->key = str_n(folded, key.n);
	e->value = arena_str(s->arena, value);
	if (map_find(s->map, e->key) != NULL) {
		log_warn("table %s: " STR_FMT " is there twice; the first one "
		    "counts", s->spec, STR_ARG(key));
		return 0;
	}
	if (e->value.p == NULL || map_set(s->map, e->key, e, NULL) < 0)
		return -1;
	s->order[s->count++] = e;
	return 0;
}

static int take_entry(struct str key, struct str value, unsigned line,
    void *ctx)
{
	(void)line;
	return add_entry(ctx, key, value);
}

static void take_trouble(unsigned line, const char *why, void *ctx)
{
	struct text_state *s = ctx;

	log_warn("table %s: line %u: %s; the line is skipped", s->spec, line,
	    why);
}

static struct text_state *make_state(struct table *t)
{
	struct text_state *s = calloc(1, sizeof(*s));

	if ((t->state = s) == NULL)
		return NULL;
	s->spec = t->spec;
	s->map = map_new(false);
	s->arena = arena_new(4 * (size_t)TABLE_SOURCE_MAX);
	return s->map != NULL && s->arena != NULL ? s : NULL;
}

static int open_texthash(struct table *t, struct buf *why)
{
	struct text_state *s = make_state(t);
	struct buf text;
	int ret;

	ret = table_read_text(t, &text, why);
	if (ret == 0 && (s == NULL || table_source_read(buf_str(&text),
	    TABLE_SOURCE_MAP, take_entry, take_trouble, s) < 0)) {
		buf_printf(why, "%s: out of memory", t->spec);
		ret = -1;
	}
	buf_fini(&text);
	return ret;
}

/* inline:{ key=value, { key = value with spaces } } */
static int open_inline(struct table *t, struct buf *why)
{
	struct text_state *s = make_state(t);
	struct str rest = str_trim(str_of(t->name)), word, key, value;
	ssize_t eq;

	if (rest.n < 2 || *rest.p != '{' || rest.p[rest.n - 1] != '}') {
		buf_printf(why, "%s: want inline:{ key=value, ... }", t->spec);
		return -1;
	}
	rest = str_sub(rest, 1, rest.n - 2);
	while (s != NULL && param_word(&rest, false, &word)) {
		if ((eq = str_chr(word, '=')) <= 0) {
			buf_printf(why, "%s: want key=value: " STR_FMT,
			    t->spec, STR_ARG(word));
			return -1;
		}
		key = str_trim(str_sub(word, 0, (size_t)eq));
		value = str_trim(str_from(word, (size_t)eq + 1));
		if (add_entry(s, key, value) < 0)
			s = NULL;
	}
	if (s == NULL)
		buf_printf(why, "%s: out of memory", t->spec);
	return s != NULL ? 0 : -1;
}

static enum table_answer find_text(struct table *t, struct str key,
    struct buf *value)
{
	struct text_state *s = t->state;
	struct text_entry *e = map_find(s->map, key);

	if (e == NULL)
		return TABLE_NOT_FOUND;
	buf_append(value, e->value);
	return TABLE_FOUND;
}

static int each_text(struct table *t, table_visit_fn *visit, void *ctx,
    struct buf *why)
{
	struct text_state *s = t->state;
	int ret = 0;

	(void)why;
	for (size_t i = 0; i < s->count && ret == 0; i++)
		ret = visit(s->order[i]->key, s->order[i]->value, ctx);
	return 0;
}

static enum table_answer find_static(struct table *t, struct str key,
    struct buf *value)
{
	struct str text = str_of(t->name);

	(void)key;
	if (text.n > 1 && *text.p == '{' && text.p[text.n - 1] == '}')
		text = str_trim(str_sub(text, 1, text.n - 2));
	buf_append(value, text);
	return TABLE_FOUND;
}

static enum table_answer find_fail(struct table *t, struct str key,
    struct buf *value)
{
	(void)key;
	buf_printf(value, "%s", t->spec);
	return TABLE_ERROR;
}

static enum table_answer find_users(struct table *t, struct str key,
    struct buf *value)
{
	(void)key;
	buf_printf(value, "%s: only auth knows users", t->spec);
	return TABLE_ERROR;
}

const struct table_type table_type_texthash = { "texthash", TABLE_FILE, "",
	open_texthash, close_text, find_text, each_text };
const struct table_type table_type_inline = { "inline", 0, "",
	open_inline, close_text, find_text, each_text };
const struct table_type table_type_static = { "static", TABLE_CONSTANT, "",
	NULL, NULL, find_static, NULL };
const struct table_type table_type_fail = { "fail", TABLE_CONSTANT, "",
	NULL, NULL, find_fail, NULL };
const struct table_type table_type_users = { "unix", TABLE_USERS, "",
	NULL, NULL, find_users, NULL };
