#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "config/params.h"
#include "table/source.h"
#include "table/type.h"

#define CHECK_INTERVAL CLOCK_SECOND
#define LIST_MAX 1000

static const struct table_type *const types[] = {
	&table_type_hash, &table_type_btree, &table_type_texthash,
	&table_type_inline, &table_type_static, &table_type_fail,
	&table_type_users, &table_type_cidr, &table_type_regexp,
	&table_type_pcre,
};

static const struct table_type *find_type(struct str name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_eq_c(name, types[i]->name))
			return types[i];
	return NULL;
}

const char *table_nth_type(size_t n)
{
	return n < sizeof(types) / sizeof(types[0]) ? types[n]->name : NULL;
}

/* Set once at start, constant after it. */
static const char *current_directory = "";

void table_set_directory(const char *directory)
{
	current_directory = directory;
}

const char *table_path(const char *path)
{
	size_t n = strlen(current_directory);

	if (n > 0 && strncmp(path, current_directory, n) == 0 &&
	    path[n] == '/' && path[n + 1] != '\0')
		return path + n + 1;
	return path;
}

static char *copy(const char *a, const char *b, struct str c)
{
	size_t n = strlen(a) + strlen(b) + c.n + 1;
	char *p = malloc(n);

	if (p != NULL)
		snprintf(p, n, "%s%s" STR_FMT, a, b, STR_ARG(c));
	return p;
}

struct table *table_new(struct str spec, const char **why)
{
	struct str type = STR("hash"), name = spec;
	struct table *t;
	ssize_t colon;

	if (str_starts(spec, STR("proxy:")))
		name = spec = str_from(spec, 6);
	if (spec.n > 0 && *spec.p != '/' && (colon = str_chr(spec, ':')) > 0) {
		type = str_sub(spec, 0, (size_t)colon);
		name = str_from(spec, (size_t)colon + 1);
	}
	*why = "out of memory";
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	if ((t->type = find_type(type)) == NULL)
		*why = "there is no table type of that name";
	else if (name.n == 0 || str_has_nul(name))
		*why = "want type:name";
	else if ((t->type->flags & TABLE_FILE) && *name.p != '/')
		*why = "the file of a table wants a whole path";
	else if ((t->spec = copy(t->type->name, ":", name)) != NULL) {
		t->name = t->spec + strlen(t->type->name) + 1;
		if (!(t->type->flags & TABLE_FILE) || (t->path = copy(
		    table_path(t->name), t->type->suffix, STR_NONE)) != NULL)
			return t;
	}
	table_free(&t);
	return NULL;
}

static void close_table(struct table *t)
{
	if (t->state != NULL && t->type->close != NULL)
		t->type->close(t);
	t->state = NULL;
}

void table_free(struct table **tp)
{
	struct table *t = *tp;

	if (t == NULL)
		return;
	close_table(t);
	pthread_mutex_destroy(&t->lock);
	free(t->spec);
	free(t->path);
	free(t);
	*tp = NULL;
}

const char *table_name(const struct table *t)
{
	return t->spec;
}

bool table_is_users(const struct table *t)
{
	return t->type->flags & TABLE_USERS;
}

bool table_is_pattern(const struct table *t)
{
	return t->type->flags & TABLE_PATTERN;
}

bool table_is_constant(const struct table *t)
{
	return t->type->flags & TABLE_CONSTANT;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	    a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Looks, once a second, whether the file is another one now. */
static int close_when_changed(struct table *t, struct buf *why)
{
	int64_t now = clock_now();
	struct stat st;

	if (!(t->type->flags & TABLE_FILE) || t->state == NULL ||
	    now < t->next_check)
		return 0;
	if (stat(t->path, &st) < 0) {
		buf_printf(why, "%s: %s", t->spec, strerror(errno));
		return -1;
	}
	t->next_check = now + CHECK_INTERVAL;
	if (!is_same_file(&st, &t->opened))
		close_table(t);
	return 0;
}

static bool is_outdated(const struct table *t)
{
	struct stat st;

	return (t->type->flags & TABLE_FILE) && t->state != NULL &&
	    (stat(t->path, &st) < 0 || !is_same_file(&st, &t->opened));
}

/* Under the lock. */
static int prepare(struct table *t, struct buf *why)
{
	buf_reset(why);
	if (close_when_changed(t, why) < 0)
		return -1;
	if (t->state != NULL || t->type->open == NULL)
		return 0;
	if (t->type->open(t, why) < 0) {
		if (why->n == 0)
			buf_printf(why, "%s: cannot be opened", t->spec);
		close_table(t);
		return -1;
	}
	t->next_check = clock_now() + CHECK_INTERVAL;
	return 0;
}

bool table_is_trusted(struct table *t)
{
	const struct stat *st = &t->opened;
	bool trusted;

	pthread_mutex_lock(&t->lock);
	trusted = (t->type->flags & TABLE_FILE) && t->state != NULL &&
	    (st->st_uid == 0 || st->st_uid == geteuid()) &&
	    !(st->st_mode & (S_IWGRP | S_IWOTH));
	pthread_mutex_unlock(&t->lock);
	return trusted;
}

int table_check(struct table *t, struct buf *why)
{
	int ret;

	pthread_mutex_lock(&t->lock);
	t->next_check = 0;
	ret = prepare(t, why);
	pthread_mutex_unlock(&t->lock);
	return ret;
}

enum table_answer table_find(struct table *t, struct str key,
    struct buf *value)
{
	char folded[TABLE_KEY_MAX];
	enum table_answer answer = TABLE_ERROR;

	buf_reset(value);
	if (key.n == 0)
		return TABLE_NOT_FOUND;
	if (!(t->type->flags & TABLE_KEEPS_CASE)) {
		/* Nothing longer can have been put into a table. */
		if (key.n > sizeof(folded))
			return TABLE_NOT_FOUND;
		for (size_t i = 0; i < key.n; i++)
			folded[i] = ascii_lower(key.p[i]);
		key = str_n(folded, key.n);
	}
	pthread_mutex_lock(&t->lock);
	if (prepare(t, value) == 0) {
		buf_reset(value);
		answer = t->type->find(t, key, value);
		/* "No" may bounce mail: it is never said of a file that has
		 * changed, while another process has said "yes" already. */
		if (answer == TABLE_NOT_FOUND && is_outdated(t)) {
			t->next_check = 0;
			answer = TABLE_ERROR;
			if (prepare(t, value) == 0) {
				buf_reset(value);
				answer = t->type->find(t, key, value);
			}
		}
		if (answer == TABLE_ERROR)
			close_table(t);
	}
	pthread_mutex_unlock(&t->lock);
	if (answer != TABLE_ERROR && value->failed) {
		buf_reset(value);
		buf_printf(value, "%s: a value is too long", t->spec);
		answer = TABLE_ERROR;
	}
	return answer;
}

int table_each(struct table *t, table_visit_fn *visit, void *ctx,
    struct buf *why)
{
	int ret = -1;

	pthread_mutex_lock(&t->lock);
	if (t->type->each == NULL) {
		buf_reset(why);
		buf_printf(why, "%s: its entries cannot be listed", t->spec);
	} else if (prepare(t, why) == 0) {
		ret = t->type->each(t, visit, ctx, why);
	}
	pthread_mutex_unlock(&t->lock);
	return ret;
}

int table_read_text(struct table *t, struct buf *text, struct buf *why)
{
	int fd = sys_openat(AT_FDCWD, t->path,
	    O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0), ret;

	buf_init(text, TABLE_SOURCE_MAX);
	if (fd < 0 || fstat(fd, &t->opened) < 0) {
		buf_printf(why, "%s: %s", t->spec, strerror(errno));
		if (fd >= 0)
			sys_close(fd);
		return -1;
	}
	if (!S_ISREG(t->opened.st_mode)) {
		buf_printf(why, "%s: no regular file", t->spec);
		sys_close(fd);
		return -1;
	}
	if ((ret = table_source_load(fd, text)) < 0)
		buf_printf(why, "%s: %s", t->spec, strerror(errno));
	sys_close(fd);
	return ret;
}

struct table_list {
	size_t count;
	struct table *tables[LIST_MAX];
};

struct table_list *table_list_new(struct str text, struct buf *why)
{
	struct table_list *l = calloc(1, sizeof(*l));
	const char *reason = "out of memory";
	struct str word = STR_NONE;

	buf_reset(why);
	while (l != NULL && param_word(&text, true, &word)) {
		if (l->count == LIST_MAX) {
			reason = "too many tables in one list";
			break;
		}
		if ((l->tables[l->count] = table_new(word, &reason)) == NULL)
			break;
		l->count++;
		word = STR_NONE;
	}
	if (l != NULL && word.p == NULL)
		return l;
	buf_printf(why, STR_FMT ": %s", STR_ARG(word), reason);
	table_list_free(&l);
	return NULL;
}

void table_list_free(struct table_list **lp)
{
	if (*lp == NULL)
		return;
	for (size_t i = 0; i < (*lp)->count; i++)
		table_free(&(*lp)->tables[i]);
	free(*lp);
	*lp = NULL;
}

size_t table_list_count(const struct table_list *l)
{
	return l->count;
}

struct table *table_list_at(const struct table_list *l, size_t i)
{
	return l->tables[i];
}

enum table_answer table_list_find(struct table_list *l, struct str key,
    struct buf *value)
{
	enum table_answer answer = TABLE_NOT_FOUND;

	buf_reset(value);
	for (size_t i = 0; i < l->count && answer == TABLE_NOT_FOUND; i++)
		answer = table_find(l->tables[i], key, value);
	return answer;
}
