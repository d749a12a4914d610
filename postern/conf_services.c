/* conf_services.c - printing and changing the lines of master.cf */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config/lines.h"
#include "postern/conf.h"
#include "postern/postern.h"

#define WORDS_MAX 1000
#define FIELD_COUNT 8

static const char *const field_names[FIELD_COUNT] = { "service", "type",
	"private", "unprivileged", "chroot", "wakeup", "process_limit",
	"command" };

/* Where each field begins, as Postfix's own file has them. */
static const size_t columns[FIELD_COUNT] = { 0, 11, 17, 25, 33, 41, 49, 57 };

/* A line in its words: eight fields, then the command's arguments. */
struct service_line {
	struct str words[WORDS_MAX];
	size_t count;
};

static bool split_line(struct str line, struct service_line *s)
{
	size_t n, depth;

	s->count = 0;
	for (line = str_trim(line); line.n > 0; line = str_trim(line)) {
		depth = 0;
		for (n = 0; n < line.n; n++) {
			if (line.p[n] == '{')
				depth++;
			else if (line.p[n] == '}' && depth > 0)
				depth--;
			else if (depth == 0 && (line.p[n] == ' ' ||
			    line.p[n] == '\t'))
				break;
		}
		if (s->count == WORDS_MAX)
			return false;
		s->words[s->count++] = str_sub(line, 0, n);
		line = str_from(line, n);
	}
	return s->count >= FIELD_COUNT;
}

static void put_line(const struct service_line *s, bool fold, struct buf *out)
{
	size_t start = out->n;

	for (size_t i = 0; i < FIELD_COUNT; i++) {
		while (out->n - start < columns[i])
			buf_append_char(out, ' ');
		if (i > 0 && out->p[out->n - 1] != ' ')
			buf_append_char(out, ' ');
		buf_append(out, s->words[i]);
	}
	for (size_t i = FIELD_COUNT; i < s->count; i++) {
		buf_append_c(out, fold && str_eq_c(s->words[i], "-o")
		    ? "\n    " : " ");
		buf_append(out, s->words[i]);
	}
	buf_append_char(out, '\n');
}

/* Whether "name", "name/type" (with * for any) means the line. */
static bool is_meant(const struct service_line *s, struct str pattern)
{
	struct str name, type = STR("*");
	ssize_t slash = str_rchr(pattern, '/');

	name = slash < 0 ? pattern : str_sub(pattern, 0, (size_t)slash);
	if (slash >= 0)
		type = str_from(pattern, (size_t)slash + 1);
	return (str_eq_c(name, "*") || str_eq(name, s->words[0])) &&
	    (str_eq_c(type, "*") || str_eq(type, s->words[1]));
}

/* "name/type/rest" in "name/type" and "rest". */
static bool split_pattern(struct str arg, struct str *service, struct str *rest)
{
	ssize_t slash = str_chr(arg, '/'), next;

	if (slash < 0)
		return false;
	next = str_chr(str_from(arg, (size_t)slash + 1), '/');
	if (next < 0) {
		*service = arg;
		*rest = STR("*");
		return true;
	}
	*service = str_sub(arg, 0, (size_t)(slash + 1 + next));
	*rest = str_from(arg, (size_t)(slash + next + 2));
	return true;
}

/* The value of the word behind -o, without braces: name and value. */
static bool split_option(struct str word, struct str *name, struct str *value)
{
	ssize_t eq;

	if (word.n > 1 && *word.p == '{')
		word = str_trim(str_sub(word, 1, word.n - 2));
	if ((eq = str_chr(word, '=')) < 0)
		return false;
	*name = str_trim(str_sub(word, 0, (size_t)eq));
	*value = str_trim(str_from(word, (size_t)eq + 1));
	return true;
}

static void print_pair(const struct conf_style *style,
    const struct service_line *s, struct str name, struct str value)
{
	if (style->names_only)
		printf(STR_FMT "/" STR_FMT "/" STR_FMT "\n",
		    STR_ARG(s->words[0]), STR_ARG(s->words[1]), STR_ARG(name));
	else if (style->values_only)
		printf(STR_FMT "\n", STR_ARG(value));
	else
		printf(STR_FMT "/" STR_FMT "/" STR_FMT " = " STR_FMT "\n",
		    STR_ARG(s->words[0]), STR_ARG(s->words[1]), STR_ARG(name),
		    STR_ARG(value));
}

static void print_options(const struct conf_style *style,
    const struct service_line *s, struct str wanted)
{
	struct str name, value;

	for (size_t i = FIELD_COUNT; i + 1 < s->count; i++)
		if (str_eq_c(s->words[i], "-o") &&
		    split_option(s->words[i + 1], &name, &value) &&
		    (str_eq_c(wanted, "*") || str_eq(wanted, name)))
			print_pair(style, s, name, value);
}

static void print_one(const struct service_line *s, enum conf_view view,
    const struct conf_style *style, struct str wanted)
{
	struct buf out;

	if (view == CONF_OPTIONS) {
		print_options(style, s, wanted);
		return;
	}
	for (size_t i = 0; view == CONF_FIELDS && i < FIELD_COUNT; i++)
		if (str_eq_c(wanted, "*") || str_eq_c(wanted, field_names[i]))
			print_pair(style, s, str_of(field_names[i]),
			    s->words[i]);
	if (view != CONF_LINES)
		return;
	buf_init(&out, 1024 * 1024);
	put_line(s, style->fold, &out);
	fputs(buf_cstr(&out), stdout);
	buf_fini(&out);
}

int conf_print_services(const char *directory, enum conf_view view,
    const struct conf_style *style, int argc, char **argv)
{
	static char every[] = "*/*", *any[] = { every };
	struct conf_file f;
	struct service_line *s = malloc(sizeof(*s));
	struct str line, service, wanted;
	struct lines lines;
	unsigned number;

	if (s == NULL || conf_file_open(&f, directory, "master.cf") < 0) {
		free(s);
		return 1;
	}
	if (argc == 0) {
		argc = 1;
		argv = any;
	}
	lines_init(&lines, buf_str(&f.text), 1024 * 1024);
	while (lines_next(&lines, &line, &number) != 0) {
		if (!split_line(line, s))
			continue;
		for (int i = 0; i < argc; i++) {
			service = str_of(argv[i]);
			wanted = STR("*");
			if (view != CONF_LINES)
				split_pattern(service, &service, &wanted);
			if (is_meant(s, service))
				print_one(s, view, style, wanted);
		}
	}
	lines_fini(&lines);
	conf_file_close(&f);
	free(s);
	return 0;
}

/* --- changes --- */

struct change {
	enum conf_view view;
	enum conf_edit how;
	struct str service, name, value;
	bool done;
};

/* "service/type=line", "service/type/name=value", or without "=". */
static int parse_change(struct change *c, enum conf_view view,
    enum conf_edit how, const char *arg)
{
	struct str left = str_of(arg);
	ssize_t eq = str_chr(left, '=');

	*c = (struct change){ .view = view, .how = how };
	if (how == CONF_SET) {
		if (eq < 0) {
			complain("%s: want SERVICE/TYPE%s=VALUE", arg,
			    view == CONF_LINES ? "" : "/NAME");
			return -1;
		}
		c->value = str_trim(str_from(left, (size_t)eq + 1));
		left = str_trim(str_sub(left, 0, (size_t)eq));
	}
	c->service = left;
	if (str_chr(left, '/') < 0 || str_chr(str_of(arg), '\n') >= 0 ||
	    (view != CONF_LINES &&
		(!split_pattern(left, &c->service, &c->name) ||
		    str_eq_c(c->name, "*")))) {
		complain("%s: want SERVICE/TYPE%s", arg, view == CONF_LINES
		    ? "" : "/NAME");
		return -1;
	}
	return 0;
}

static void remove_words(struct service_line *s, size_t at, size_t n)
{
	for (size_t i = at; i + n < s->count; i++)
		s->words[i] = s->words[i + n];
	s->count -= n;
}

/* Sets or removes -o name=value; `text` keeps the new word. */
static void change_option(struct service_line *s, struct change *c,
    struct buf *text)
{
	struct str name, value;
	bool braces = str_chr(c->value, ' ') >= 0 ||
	    str_chr(c->value, '\t') >= 0 || str_chr(c->value, '{') >= 0;

	for (size_t i = FIELD_COUNT; i + 1 < s->count;) {
		if (str_eq_c(s->words[i], "-o") &&
		    split_option(s->words[i + 1], &name, &value) &&
		    str_eq(name, c->name)) {
			remove_words(s, i, 2);
			c->done = true;
		} else {
			i++;
		}
	}
	if (c->how != CONF_SET || s->count + 2 > WORDS_MAX)
		return;
	buf_printf(text, braces ? "{ " STR_FMT " = " STR_FMT " }"
	    : STR_FMT "=" STR_FMT, STR_ARG(c->name), STR_ARG(c->value));
	s->words[s->count++] = STR("-o");
	s->words[s->count++] = buf_str(text);
	c->done = true;
}

static void change_field(struct service_line *s, struct change *c)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (str_eq_c(c->name, field_names[i])) {
			s->words[i] = c->value;
			c->done = true;
		}
}

/* Writes what becomes of a line (its physical text is `raw`). */
static void change_line(struct conf_file *f, struct service_line *s,
    struct change *c, struct str raw)
{
	struct str rest = raw, line;
	struct buf text;

	buf_init(&text, 1024 * 1024);
	if (c->view == CONF_LINES && c->how == CONF_COMMENT) {
		while (rest.n > 0 && str_split(&rest, '\n', &line))
			if (line.n > 0)
				buf_printf(&f->changed, "#" STR_FMT "\n",
				    STR_ARG(line));
		c->done = true;
	} else if (c->view == CONF_LINES) {
		/* A second line of that name goes with the first. */
		if (c->how == CONF_SET && !c->done &&
		    split_line(c->value, s))
			put_line(s, true, &f->changed);
		c->done = true;
	} else {
		if (c->view == CONF_FIELDS)
			change_field(s, c);
		else
			change_option(s, c, &text);
		put_line(s, true, &f->changed);
	}
	buf_fini(&text);
}

/* Applies one change to f->text; the result is in f->changed. */
static void apply(struct conf_file *f, struct change *c)
{
	struct service_line *s = malloc(sizeof(*s));
	struct str all = buf_str(&f->text), raw, logical, rest, line;
	struct lines lines;
	size_t at = 0, end;
	unsigned number;

	if (s == NULL)
		abort();
	buf_reset(&f->changed);
	while (at < all.n) {
		/* A physical line, and what continues it. */
		line = str_from(all, at);
		end = str_chr(line, '\n') < 0 ? all.n
		    : at + (size_t)str_chr(line, '\n') + 1;
		rest = str_trim(str_sub(all, at, end - at));
		if (rest.n == 0 || *rest.p == '#' || all.p[at] == ' ' ||
		    all.p[at] == '\t') {
			buf_append(&f->changed, str_sub(all, at, end - at));
			at = end;
			continue;
		}
		while (end < all.n && (all.p[end] == ' ' ||
		    all.p[end] == '\t')) {
			ssize_t nl = str_chr(str_from(all, end), '\n');

			end = nl < 0 ? all.n : end + (size_t)nl + 1;
		}
		raw = str_sub(all, at, end - at);
		lines_init(&lines, raw, 1024 * 1024);
		if (lines_next(&lines, &logical, &number) == 1 &&
		    split_line(logical, s) && is_meant(s, c->service))
			change_line(f, s, c, raw);
		else
			buf_append(&f->changed, raw);
		lines_fini(&lines);
		at = end;
	}
	if (c->view == CONF_LINES && c->how == CONF_SET && !c->done) {
		if (split_line(c->value, s)) {
			put_line(s, true, &f->changed);
			c->done = true;
		}
	}
	free(s);
}

int conf_edit_services(const char *directory, enum conf_view view,
    enum conf_edit how, int argc, char **argv)
{
	struct conf_file f;
	struct change c;
	int rc = 0;

	if (conf_file_open(&f, directory, "master.cf") < 0)
		return 1;
	for (int i = 0; i < argc && rc == 0; i++) {
		if (parse_change(&c, view, how, argv[i]) < 0) {
			rc = 1;
			break;
		}
		apply(&f, &c);
		if (!c.done) {
			complain("%s: %s", argv[i], view == CONF_LINES &&
			    how == CONF_SET ? "a line has eight fields"
			    : "master.cf has nothing of that name");
			rc = 1;
		}
		buf_reset(&f.text);
		buf_append(&f.text, buf_str(&f.changed));
	}
	if (rc == 0 && conf_file_replace(&f) < 0)
		rc = 1;
	conf_file_close(&f);
	return rc;
}
