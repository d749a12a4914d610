/* main_cf.c - "name = value" lines */
#include "config/internal.h"
#include "config/lines.h"

int config_split_pair(struct str line, struct str *name, struct str *value,
    const char **why)
{
	ssize_t eq = str_chr(line, '=');

	if (eq < 0) {
		*why = "missing '=' after the name";
		return -1;
	}
	*name = str_trim(str_sub(line, 0, (size_t)eq));
	*value = str_trim(str_from(line, (size_t)eq + 1));
	if (name->n == 0) {
		*why = "missing name before '='";
		return -1;
	}
	for (size_t i = 0; i < name->n; i++)
		if (!ascii_is_alpha(name->p[i]) &&
		    !ascii_is_digit(name->p[i]) && name->p[i] != '_' &&
		    name->p[i] != '-' && name->p[i] != '.') {
			*why = "a name has letters, digits and _ only";
			return -1;
		}
	return 0;
}

struct entry *config_entry(const struct config *c, struct str name)
{
	return map_find(c->entries, name);
}

struct entry *config_add(struct config *c, struct str name, struct str value,
    unsigned line)
{
	struct entry *e = ARENA_NEW(c->arena, struct entry), **order;

	if (c->count == c->room) {
		size_t room = c->room ? c->room * 2 : 64;

		order = arena_array(c->arena, room, sizeof(*order));
		if (order == NULL)
			return NULL;
		for (size_t i = 0; i < c->count; i++)
			order[i] = c->order[i];
		c->order = order;
		c->room = room;
	}
	if (e == NULL || (e->name = arena_cstr(c->arena, name)) == NULL)
		return NULL;
	e->value = arena_str(c->arena, value);
	e->line = line;
	if (map_set(c->entries, name, e, NULL) < 0)
		return NULL;
	c->order[c->count++] = e;
	return e;
}

static void take_line(struct config *c, struct str line, unsigned number)
{
	struct str name, value;
	const char *why;
	struct entry *old;

	if (str_has_nul(line)) {
		config_problem(c, true, "main.cf", number, NULL,
		    "a NUL in the configuration");
		return;
	}
	if (*line.p == ' ' || *line.p == '\t')
		config_problem(c, false, "main.cf", number,
		    "begin it in the first column",
		    "the first line of a file continues nothing");
	if (config_split_pair(line, &name, &value, &why) < 0) {
		config_problem(c, true, "main.cf", number,
		    "write name = value; a continuation begins with a space",
		    "%s: \"" STR_FMT "\"", why,
		    STR_ARG(str_sub(line, 0, 60)));
		return;
	}
	if ((old = config_entry(c, name)) != NULL) {
		config_problem(c, false, "main.cf", number,
		    "remove one of the two",
		    STR_FMT " is set in line %u already; this line counts",
		    STR_ARG(name), old->line);
		old->value = arena_str(c->arena, value);
		old->line = number;
		return;
	}
	if (config_add(c, name, value, number) == NULL)
		c->failed = true;
}

void config_parse_main(struct config *c, struct str text)
{
	struct lines lines;
	struct str line;
	unsigned number;
	int ret;

	lines_init(&lines, text, CONFIG_LINE_MAX);
	while ((ret = lines_next(&lines, &line, &number)) != 0) {
		if (ret < 0)
			config_problem(c, true, "main.cf", number, NULL,
			    "the line is longer than %d octets",
			    CONFIG_LINE_MAX);
		else
			take_line(c, line, number);
	}
	lines_fini(&lines);
}
