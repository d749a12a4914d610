#include <stdio.h>
#include <stdlib.h>
#include "config/expand.h"
#include "config/params.h"

const struct param params_table[] = {
#define PARAM_GROUP(program, title)
#define PARAM(kind, name, dflt, least, most, help) \
	{ #name, PARAM_##kind, offsetof(struct params, name), dflt, \
	  least, most, NULL, help },
#define PARAM_ENUM(name, dflt, words, help) \
	{ #name, PARAM_ENUM, offsetof(struct params, name), dflt, \
	  0, 0, words, help },
#include "config/params.def"
#undef PARAM_GROUP
#undef PARAM
#undef PARAM_ENUM
	{ NULL },
};

const size_t params_count = sizeof(params_table) / sizeof(params_table[0]) - 1;

/* The same page again, for what stands between the rows. */
static const struct {
	const char *group, *title;
} lines[] = {
#define PARAM_GROUP(program, title) { #program, title },
#define PARAM(kind, name, dflt, least, most, help) { NULL, NULL },
#define PARAM_ENUM(name, dflt, words, help) { NULL, NULL },
#include "config/params.def"
#undef PARAM_GROUP
#undef PARAM
#undef PARAM_ENUM
};

const char *param_group(const struct param *p, const char **title_r)
{
	size_t row = 0, wanted = (size_t)(p - params_table), group = 0;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (lines[i].group != NULL)
			group = i;
		else if (row++ == wanted)
			break;
	}
	if (title_r != NULL)
		*title_r = lines[group].title;
	return lines[group].group;
}

const struct param *param_find(struct str name)
{
	for (const struct param *p = params_table; p->name != NULL; p++)
		if (str_eq_c(name, p->name))
			return p;
	return NULL;
}

/* What was composed in the arena, or the fallback when that is full. */
static const char *explain(const char *fallback, struct str text)
{
	return text.p != NULL ? text.p : fallback;
}

static int64_t unit_of(char c)
{
	switch (c) {
	case 's': return 1;
	case 'm': return 60;
	case 'h': return 3600;
	case 'd': return 86400;
	case 'w': return 7 * 86400;
	default: return 0;
	}
}

/* The unit that a time without one is in: its default's. */
static int64_t unit_of_row(const struct param *p)
{
	size_t n = strlen(p->default_text);
	int64_t unit = n > 0 ? unit_of(p->default_text[n - 1]) : 0;

	return unit > 0 ? unit : 1;
}

static int64_t scale_of(char c)
{
	switch (c) {
	case 'k': case 'K': return 1024;
	case 'm': case 'M': return 1024 * 1024;
	case 'g': case 'G': return 1024 * 1024 * 1024;
	default: return 0;
	}
}

static int parse_number(const struct param *p, struct str text,
    int64_t *value_r)
{
	int64_t scale = p->kind == PARAM_TIME ? unit_of_row(p) : 1, unit = 0;
	bool negative = text.n > 0 && *text.p == '-';
	uint64_t n;

	if (negative)
		text = str_from(text, 1);
	if (text.n > 0 && p->kind == PARAM_TIME)
		unit = unit_of(text.p[text.n - 1]);
	else if (text.n > 0 && p->kind == PARAM_SIZE)
		unit = scale_of(text.p[text.n - 1]);
	if (unit > 0) {
		scale = unit;
		text.n--;
	}
	if (str_to_u64(text, INT64_MAX, &n) < 0 ||
	    __builtin_mul_overflow((int64_t)n, scale, value_r))
		return -1;
	if (negative)
		*value_r = -*value_r;
	return 0;
}

static int set_number(const struct param *p, int64_t *at, struct str text,
    struct arena *arena, const char **why)
{
	int64_t value;

	if (parse_number(p, text, &value) < 0) {
		*why = p->kind == PARAM_TIME
			? "bad time: want a number and s, m, h, d or w"
			: p->kind == PARAM_SIZE
			? "bad numeric value: want octets (k, M, G may follow)"
			: "bad numeric value: want a whole number";
		return -1;
	}
	if (value < p->least || value > p->most) {
		*why = explain("bad numeric value: out of range",
		    p->most == INT64_MAX
			? arena_printf(arena, "bad numeric value: want %lld "
				"or more", (long long)p->least)
			: arena_printf(arena, "bad numeric value: want %lld to "
				"%lld%s", (long long)p->least,
				(long long)p->most,
				p->kind == PARAM_TIME ? " seconds" : ""));
		return -1;
	}
	*at = value;
	return 0;
}

static int set_text(const struct param *p, const char **at, struct str text,
    struct arena *arena, const char **why)
{
	if ((int64_t)text.n < p->least || (int64_t)text.n > p->most) {
		*why = text.n == 0 ? "must not be empty"
			: explain("too long", arena_printf(arena,
				"want %lld to %lld octets, not %zu",
				(long long)p->least, (long long)p->most,
				text.n));
		return -1;
	}
	if (str_has_nul(text)) {
		*why = "has a NUL";
		return -1;
	}
	if ((*at = arena_cstr(arena, text)) == NULL) {
		*why = "out of memory";
		return -1;
	}
	return 0;
}

static int set_word(const struct param *p, const char **at, struct str text,
    struct arena *arena, const char **why)
{
	struct str rest = str_of(p->words), word;

	while (str_split(&rest, '|', &word))
		if (str_eq_nocase(word, text)) {
			if ((*at = arena_cstr(arena, word)) != NULL)
				return 0;
			*why = "out of memory";
			return -1;
		}
	*why = explain("none of the words", arena_printf(arena,
	    "want one of %s", *p->words == '|' ? p->words + 1 : p->words));
	return -1;
}

static int set_bool(bool *at, struct str text, const char **why)
{
	if (!str_eq_nocase_c(text, "yes") && !str_eq_nocase_c(text, "no")) {
		*why = "want yes or no";
		return -1;
	}
	*at = str_eq_nocase_c(text, "yes");
	return 0;
}

int param_set(const struct param *p, struct params *params, struct str text,
    struct arena *arena, const char **why)
{
	void *at = (char *)params + p->offset;

	text = str_trim(text);
	switch (p->kind) {
	case PARAM_STR:
	case PARAM_RAW:
		return set_text(p, at, text, arena, why);
	case PARAM_ENUM:
		return set_word(p, at, text, arena, why);
	case PARAM_BOOL:
		return set_bool(at, text, why);
	case PARAM_INT:
	case PARAM_SIZE:
	case PARAM_TIME:
		return set_number(p, at, text, arena, why);
	}
	*why = "unknown kind";
	return -1;
}

struct given {
	const struct str *pairs;
	size_t n;
};

static bool find_given(const struct given *g, struct str name,
    struct str *value_r)
{
	for (size_t i = g->n; i-- > 0;)
		if (g->pairs[i].n > name.n && g->pairs[i].p[name.n] == '=' &&
		    str_starts(g->pairs[i], name)) {
			*value_r = str_from(g->pairs[i], name.n + 1);
			return true;
		}
	return false;
}

/*
 * What a default refers to: a value that came, or another default. The names
 * of the host always come from config_service_values(); without them (in a
 * unit test) the host is this one.
 */
static bool find_default(struct str name, struct str *value_r, void *ctx)
{
	const struct param *p;

	if (find_given(ctx, name, value_r))
		return true;
	if ((p = param_find(name)) == NULL)
		return false;
	*value_r = str_eq_c(name, "myhostname") ? STR("localhost.localdomain")
		: str_eq_c(name, "mydomain") ? STR("localdomain")
		: str_eq_c(name, "mynetworks") ? STR("127.0.0.0/8 [::1]/128")
		: str_of(p->default_text);
	return true;
}

static int load_row(struct params *params, const struct param *p,
    struct given *g, struct arena *arena, const char **why)
{
	struct str text;
	struct buf out;
	const char *reason = NULL;
	int ret = 0;

	buf_init(&out, EXPAND_SIZE);
	find_default(str_of(p->name), &text, g);
	if (text.p == p->default_text) {
		if (p->kind != PARAM_RAW && strchr(p->default_text, '$')) {
			ret = expand_text(text, find_default, g, &out, &reason);
			text = buf_str(&out);
		}
	}
	if (ret == 0)
		ret = param_set(p, params, text, arena, &reason);
	if (ret < 0)
		*why = explain(reason, arena_printf(arena,
		    "parameter %s: %s", p->name, reason));
	buf_fini(&out);
	return ret;
}

static int load_extra(struct params *params, const struct given *g,
    struct arena *arena, const char **why)
{
	struct param_extra *extra = arena_array(arena, g->n,
	    sizeof(*extra));
	struct str rest, name;

	for (size_t i = 0; i < g->n; i++) {
		rest = g->pairs[i];
		if (extra == NULL || str_has_nul(rest) ||
		    str_chr(rest, '=') <= 0) {
			*why = extra ? "a pair is not name=value"
				: "out of memory";
			return -1;
		}
		str_split(&rest, '=', &name);
		if (param_find(name) != NULL)
			continue;
		extra[params->extra_count].name = arena_cstr(arena, name);
		extra[params->extra_count++].value = arena_cstr(arena, rest);
	}
	params->extra = extra;
	if (arena_failed(arena)) {
		*why = "out of memory";
		return -1;
	}
	return 0;
}

int params_load(struct params *params, const struct str *pairs, size_t n,
    struct arena *arena, const char **why)
{
	struct given g = { pairs, n };

	memset(params, 0, sizeof(*params));
	for (const struct param *p = params_table; p->name != NULL; p++)
		if (load_row(params, p, &g, arena, why) < 0)
			return -1;
	return load_extra(params, &g, arena, why);
}

const char *params_extra(const struct params *params, const char *name)
{
	for (size_t i = 0; i < params->extra_count; i++)
		if (strcmp(params->extra[i].name, name) == 0)
			return params->extra[i].value;
	return NULL;
}

int64_t params_transport_int(const struct params *params, struct str transport,
    const char *suffix, int64_t least, int64_t most, int64_t fallback)
{
	const struct param as_int = { .kind = PARAM_INT, .default_text = "",
		.least = least, .most = most };
	struct str name;
	int64_t value;

	for (size_t i = 0; i < params->extra_count; i++) {
		name = str_of(params->extra[i].name);
		if (str_starts(name, transport) &&
		    str_eq_c(str_from(name, transport.n), suffix) &&
		    parse_number(&as_int, str_of(params->extra[i].value),
			&value) == 0 && value >= least && value <= most)
			return value;
	}
	for (const struct param *p = params_table; p->name != NULL; p++) {
		name = str_of(p->name);
		if (p->kind == PARAM_INT && str_starts(name, transport) &&
		    str_eq_c(str_from(name, transport.n), suffix))
			return *(const int64_t *)((const char *)params +
			    p->offset);
	}
	return fallback;
}

bool param_word(struct str *rest, bool keep_braces, struct str *word)
{
	static const char seps[] = ", \t\r\n";
	size_t n = 0, depth = 0;

	while (rest->n > 0 && strchr(seps, *rest->p) != NULL && *rest->p)
		*rest = str_from(*rest, 1);
	if (rest->n == 0)
		return false;
	for (; n < rest->n; n++) {
		char c = rest->p[n];

		if (c == '{')
			depth++;
		else if (c == '}' && depth > 0)
			depth--;
		else if (depth == 0 && c != '\0' && strchr(seps, c) != NULL)
			break;
	}
	*word = str_sub(*rest, 0, n);
	*rest = str_from(*rest, n);
	if (!keep_braces && n >= 2 && word->p[0] == '{' &&
	    word->p[n - 1] == '}')
		*word = str_trim(str_sub(*word, 1, n - 2));
	return true;
}
