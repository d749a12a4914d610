#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "base/log.h"
#include "config/internal.h"

char *config_printf(struct config *c, const char *fmt, ...)
{
	va_list ap;
	struct buf out;
	char *text;

	buf_init(&out, CONFIG_LINE_MAX + 1024);
	va_start(ap, fmt);
	buf_vprintf(&out, fmt, ap);
	va_end(ap);
	if ((text = arena_cstr(c->arena, buf_str(&out))) == NULL)
		c->failed = true;
	buf_fini(&out);
	return text;
}

static bool add_problem(struct config *c, const struct config_problem *p)
{
	struct config_problem *list;
	size_t room;

	if (c->problem_count >= CONFIG_PROBLEMS)
		return false;
	if (c->problem_count == c->problem_room) {
		room = c->problem_room ? c->problem_room * 2 : 16;
		if ((list = arena_array(c->arena, room, sizeof(*list))) == NULL)
			return false;
		for (size_t i = 0; i < c->problem_count; i++)
			list[i] = c->problems[i];
		c->problems = list;
		c->problem_room = room;
	}
	c->problems[c->problem_count++] = *p;
	return true;
}

void config_problem(struct config *c, bool is_error, const char *file,
    unsigned line, const char *remedy, const char *fmt, ...)
{
	struct config_problem p = { .is_error = is_error, .line = line };
	struct buf text;
	va_list ap;

	buf_init(&text, 2000);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	p.file = arena_cstr(c->arena, str_of(file));
	p.text = arena_cstr(c->arena, buf_str(&text));
	p.remedy = remedy ? arena_cstr(c->arena, str_of(remedy)) : NULL;
	buf_fini(&text);
	if (is_error)
		c->error_count++;
	if (p.file == NULL || p.text == NULL ||
	    (!add_problem(c, &p) && c->problem_count < CONFIG_PROBLEMS))
		c->failed = true;
}

/* Root, or who runs this, owns it, and nobody else may write to it. */
static void check_trust(struct config *c, const char *name,
    const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		config_problem(c, true, name, 0, "chown it to root",
		    "the file belongs to uid %lu", (unsigned long)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		config_problem(c, true, name, 0, "chmod go-w it",
		    "the file is writable by others (mode %04o)",
		    (unsigned)st->st_mode & 07777);
}

/* The whole file; -1 with a problem noted. */
static int read_file(struct config *c, int dirfd, const char *name,
    unsigned flags, struct buf *out)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *room;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0) {
		config_problem(c, true, name, 0, errno == ENOENT
			? "\"postern init DIR\" makes a first one" : NULL,
		    "cannot open %s/%s: %s", c->directory, name,
		    strerror(errno));
		if (fd >= 0)
			sys_close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_MAX) {
		config_problem(c, true, name, 0, NULL,
		    S_ISREG(st.st_mode) ? "larger than %d octets"
			: "no regular file", CONFIG_FILE_MAX);
		sys_close(fd);
		return -1;
	}
	if (!(flags & CONFIG_NO_TRUST))
		check_trust(c, name, &st);
	room = buf_reserve(out, (size_t)st.st_size + 1);
	n = room ? sys_pread_full(fd, room, (size_t)st.st_size + 1, 0) : -1;
	sys_close(fd);
	if (n < 0) {
		config_problem(c, true, name, 0, NULL, "cannot read: %s",
		    strerror(errno));
		return -1;
	}
	buf_added(out, (size_t)n);
	return 0;
}

static int compare_problems(const void *a, const void *b)
{
	const struct config_problem *x = a, *y = b;
	int diff;

	if (x->is_error != y->is_error)
		return x->is_error ? -1 : 1;
	if ((diff = strcmp(x->file, y->file)) != 0)
		return diff;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* directory by its whole path, which $config_directory has to be. */
static struct config *make(const char *directory)
{
	struct config *c = calloc(1, sizeof(*c));
	char *whole;

	if (c == NULL)
		return NULL;
	c->arena = arena_new(CONFIG_ARENA);
	c->entries = map_new(false);
	c->defaults = map_new(false);
	whole = *directory == '/' ? NULL : realpath(directory, NULL);
	if (c->arena != NULL)
		c->directory = arena_cstr(c->arena, str_of(whole ? whole
		    : directory));
	free(whole);
	if (c->entries == NULL || c->defaults == NULL || c->directory == NULL)
		config_free(&c);
	return c;
}

struct config *config_read(int dirfd, const char *directory, unsigned flags)
{
	return config_read_with(dirfd, directory, flags, STR_NONE);
}

struct config *config_read_with(int dirfd, const char *directory,
    unsigned flags, struct str more)
{
	struct config *c = make(directory);
	struct buf text;

	if (c == NULL)
		return NULL;
	buf_init(&text, CONFIG_FILE_MAX + 2);
	config_compute_defaults(c);
	c->has_main = read_file(c, dirfd, "main.cf", flags, &text) == 0;
	if (c->has_main)
		config_parse_main(c, buf_str(&text));
	config_parse_main(c, more);
	buf_reset(&text);
	if (!(flags & CONFIG_NO_MASTER) &&
	    read_file(c, dirfd, "master.cf", flags, &text) == 0)
		config_parse_master(c, buf_str(&text));
	buf_fini(&text);
	if (!c->failed) {
		config_compute_networks(c);
		config_check_main(c);
		config_check_services(c);
	}
	if (c->failed || arena_failed(c->arena)) {
		config_free(&c);
		return NULL;
	}
	if (c->problem_count > 0)
		qsort(c->problems, c->problem_count, sizeof(*c->problems),
		    compare_problems);
	return c;
}

void config_free(struct config **cp)
{
	struct config *c = *cp;

	if (c == NULL)
		return;
	map_free(&c->entries, NULL);
	map_free(&c->defaults, NULL);
	arena_free(&c->arena);
	free(c);
	*cp = NULL;
}

bool config_has_main(const struct config *c)
{
	return c->has_main;
}

const struct config_problem *config_problems(const struct config *c,
    size_t *count_r)
{
	*count_r = c->problem_count;
	return c->problems;
}

size_t config_error_count(const struct config *c)
{
	return c->error_count;
}

const char *config_value(const struct config *c, const char *name)
{
	const struct entry *e = config_entry(c, str_of(name));

	if (e != NULL && e->evaluated != NULL)
		return e->evaluated;
	return map_find(c->defaults, str_of(name));
}

const char *config_raw(const struct config *c, const char *name)
{
	const struct entry *e = config_entry(c, str_of(name));

	return e ? arena_cstr(c->arena, e->value) : NULL;
}

const char *config_default(const struct config *c, const char *name)
{
	const struct param *p = param_find(str_of(name));

	if (p == NULL)
		return NULL;
	if (strcmp(name, "myhostname") == 0)
		return c->hostname;
	if (strcmp(name, "mynetworks") == 0)
		return c->networks;
	if (strcmp(name, "config_directory") == 0)
		return c->directory;
	if (strcmp(name, "mydomain") == 0 && config_raw(c, name) == NULL)
		return config_value(c, name);
	return p->default_text;
}

const char *config_nth_name(const struct config *c, size_t n)
{
	return n < c->count ? c->order[n]->name : NULL;
}

const char *config_where(const struct config *c, const char *name,
    unsigned *line_r)
{
	const struct entry *e = config_entry(c, str_of(name));

	*line_r = e ? e->line : 0;
	return e ? "main.cf" : NULL;
}

const struct master_service *config_services(const struct config *c,
    size_t *count_r)
{
	*count_r = c->service_count;
	return c->services;
}

const struct master_service *config_service(const struct config *c,
    const char *name, enum master_type type)
{
	for (size_t i = 0; i < c->service_count; i++)
		if (c->services[i].type == type &&
		    strcmp(c->services[i].name, name) == 0)
			return &c->services[i];
	return NULL;
}

struct pairs {
	struct arena *arena;
	struct str *list;
	size_t count, room;
	int failed;
};

static void add_pair(struct pairs *p, struct str name, const char *value)
{
	if (value == NULL || p->count >= p->room)
		return;
	p->list[p->count] = arena_printf(p->arena, STR_FMT "=%s",
	    STR_ARG(name), value);
	if (p->list[p->count].p == NULL)
		p->failed = -1;
	else
		p->count++;
}

static bool is_class(struct str classes, struct str name)
{
	struct str word;

	while (param_word(&classes, false, &word))
		if (str_eq(word, name))
			return true;
	return false;
}

/* Names that the site made and a program reads all the same. */
static void add_named(struct pairs *p, const struct config *c,
    const struct master_service *s, struct str name, struct str classes)
{
	struct str transport;
	const char *suffix, *why;

	if (param_find(name) == NULL && (is_class(classes, name) ||
		known_is_transport_parameter(name, &transport, &suffix)))
		add_pair(p, name, config_evaluate(c, s, name, p->arena, &why));
}

/* The default is made from the host: "" was written by the site, and must
 * not become that default in the child (mynetworks = : nobody). */
static bool is_computed(const char *name)
{
	return strcmp(name, "myhostname") == 0 ||
	    strcmp(name, "mydomain") == 0 || strcmp(name, "mynetworks") == 0;
}

int config_service_values(const struct config *c,
    const struct master_service *s, struct arena *arena, struct str **pairs_r,
    size_t *count_r)
{
	size_t overrides = s ? s->override_count : 0;
	struct pairs p = { .arena = arena,
		.room = params_count + c->count + overrides };
	const char *value, *why;
	struct str classes;

	if ((p.list = arena_array(arena, p.room, sizeof(*p.list))) == NULL)
		return -1;
	for (const struct param *row = params_table; row->name != NULL; row++) {
		value = config_evaluate(c, s, str_of(row->name), arena, &why);
		if (value != NULL && (strcmp(value, row->default_text) != 0 ||
			is_computed(row->name)))
			add_pair(&p, str_of(row->name), value);
	}
	classes = str_of(config_evaluate(c, s, STR("smtpd_restriction_classes"),
	    arena, &why));
	for (size_t i = 0; i < c->count; i++)
		add_named(&p, c, s, str_of(c->order[i]->name), classes);
	for (size_t i = 0; i < overrides; i++)
		if (config_entry(c, str_of(s->overrides[i].name)) == NULL)
			add_named(&p, c, s, str_of(s->overrides[i].name),
			    classes);
	*pairs_r = p.list;
	*count_r = p.count;
	return arena_failed(arena) ? -1 : p.failed;
}

void config_problem_print(const struct config_problem *p, const char *directory,
    struct buf *out)
{
	if (p->file[0] != '/' && directory != NULL)
		buf_printf(out, "%s/", directory);
	buf_append_c(out, p->file);
	if (p->line > 0)
		buf_printf(out, ":%u", p->line);
	buf_append_c(out, p->is_error ? ": error: " : ": warning: ");
	log_append_shown(out, str_of(p->text));
	if (p->remedy != NULL) {
		buf_append_c(out, " (");
		log_append_shown(out, str_of(p->remedy));
		buf_append_char(out, ')');
	}
}
