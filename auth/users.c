#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/password.h"
#include "auth/users.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/sys.h"
#include "config/users_file.h"

/* Users whose hashes cost the same. */
struct cost {
	struct str example;
	size_t users;
};

#define COSTS_MAX 16

/* The file as it was when it was read; not changed any more. */
struct table {
	const char *path;
	char *text;
	struct arena *arena;
	struct map *rows;
	struct cost costs[COSTS_MAX];
};

struct users {
	struct users_options options;
	struct users_rules rules;
	pthread_mutex_t reading;	/* one thread reads the file */
	int64_t looked;			/* behind it */
	struct stat seen;		/* behind it */
	pthread_rwlock_t lock;		/* the pointer */
	struct table *table;
};

static void table_free(struct table *t)
{
	if (t == NULL)
		return;
	if (t->rows != NULL)
		map_free(&t->rows, NULL);
	arena_free(&t->arena);
	free(t->text);
	free(t);
}

static void count_cost(struct table *t, struct str hash)
{
	struct str cost = password_cost(hash);

	if (hash.n == 0 || !password_is_hashed(hash))
		return;
	for (int i = 0; i < COSTS_MAX; i++) {
		struct cost *c = &t->costs[i];

		if (c->users == 0)
			c->example = hash;
		else if (!str_eq(password_cost(c->example), cost))
			continue;
		c->users++;
		return;
	}
}

static void taken(void *ctx, const struct users_row *row)
{
	count_cost(ctx, row->hash);
}

static void skipped(void *ctx, unsigned line, const char *why)
{
	const struct table *t = ctx;

	log_warn("%s:%u: %s; the line is skipped", t->path, line, why);
}

static char *read_text(int fd, size_t *n_r)
{
	struct stat st;
	char *p;
	ssize_t r;

	if (fstat(fd, &st) != 0)
		return NULL;
	if (st.st_size > USERS_FILE_MAX) {
		errno = EFBIG;
		return NULL;
	}
	if ((p = malloc((size_t)st.st_size + 1)) == NULL)
		return NULL;
	/* Half a file would make strangers of the users in the other half,
	 * and mail to them would be refused for good. */
	if ((r = sys_pread_full(fd, p, (size_t)st.st_size, 0)) < 0) {
		int err = errno;

		free(p);
		errno = err;
		return NULL;
	}
	*n_r = (size_t)r;
	return p;
}

static struct table *read_table(struct users *u)
{
	int fd = openat(u->options.dirfd, u->options.path,
	    O_RDONLY | O_CLOEXEC);
	struct users_reader reader = { .taken = taken, .skipped = skipped };
	struct table *t;
	size_t n = 0;

	if (fd < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL || (t->text = read_text(fd, &n)) == NULL ||
	    (t->arena = arena_new(users_arena_size(n))) == NULL ||
	    (t->rows = map_new(false)) == NULL) {
		int err = errno;

		close(fd);
		table_free(t);
		errno = err;
		return NULL;
	}
	close(fd);
	t->path = u->options.path;
	reader.ctx = t;
	if (users_file_parse(&u->rules, str_n(t->text, n), t->arena, t->rows,
		&reader) != 0) {
		table_free(t);
		errno = ENOMEM;
		return NULL;
	}
	return t;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	    a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	    a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void look(struct users *u)
{
	struct stat st;
	struct table *fresh, *old;
	int64_t now = clock_now();

	if (u->looked != 0 && now - u->looked < CLOCK_SECOND)
		return;
	u->looked = now;
	if (fstatat(u->options.dirfd, u->options.path, &st, 0) != 0 ||
	    (u->table != NULL && is_same_file(&st, &u->seen))) {
		if (u->table == NULL)
			log_warn("users file %s: %s", u->options.path,
			    strerror(errno));
		return;
	}
	if ((fresh = read_table(u)) == NULL) {
		log_warn("users file %s: %s", u->options.path,
		    strerror(errno));
		return;
	}
	u->seen = st;
	pthread_rwlock_wrlock(&u->lock);
	old = u->table;
	u->table = fresh;
	pthread_rwlock_unlock(&u->lock);
	table_free(old);
}

struct users *users_new(const struct users_options *options)
{
	struct users *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->options = *options;
	u->rules.mail_root = options->mail_root;
	u->rules.one_uid = options->one_uid;
	if (users_mail_owner(options->mail_uid, &u->rules.mail_uid,
		&u->rules.mail_gid) != 0)
		log_warn("mail_uid: no user %s", options->mail_uid);
	pthread_mutex_init(&u->reading, NULL);
	pthread_rwlock_init(&u->lock, NULL);
	look(u);
	return u;
}

void users_free(struct users **up)
{
	struct users *u = *up;

	if (u == NULL)
		return;
	table_free(u->table);
	pthread_mutex_destroy(&u->reading);
	pthread_rwlock_destroy(&u->lock);
	free(u);
	*up = NULL;
}

/* out->name is the name. */
static enum users_found find_system(struct users *u, struct user *out)
{
	char buf[8192];
	struct passwd pw, *found = NULL;
	int err = getpwnam_r(out->name, &pw, buf, sizeof(buf), &found);

	if (found == NULL)
		return err == 0 || err == ENOENT || err == ESRCH ||
		    err == ERANGE ? USERS_NO : USERS_UNAVAILABLE;
	/* The others' mail is aliased to somebody's. */
	if (pw.pw_uid < u->options.minimum_uid || pw.pw_uid == 0 ||
	    pw.pw_gid == 0 || strlen(pw.pw_dir) >= sizeof(out->dir) ||
	    pw.pw_dir[0] != '/')
		return USERS_NO;
	snprintf(out->dir, sizeof(out->dir), "%s", pw.pw_dir);
	out->hash[0] = '\0';
	out->uid = u->options.one_uid ? geteuid() : pw.pw_uid;
	out->gid = u->options.one_uid ? getegid() : pw.pw_gid;
	out->is_virtual = false;
	return USERS_YES;
}

static bool copy_row(struct users *u, struct user *out)
{
	struct users_row *row = NULL;

	pthread_rwlock_rdlock(&u->lock);
	if (u->table != NULL)
		row = map_find(u->table->rows, str_of(out->name));
	if (row != NULL) {
		if (str_to_c(row->hash, out->hash, sizeof(out->hash)) != 0)
			out->hash[0] = '\0';
		if (str_to_c(row->dir, out->dir, sizeof(out->dir)) != 0)
			out->dir[0] = '\0';
		out->uid = row->uid;
		out->gid = row->gid;
		out->is_virtual = row->is_virtual;
	}
	pthread_rwlock_unlock(&u->lock);
	return row != NULL;
}

enum users_found users_find(struct users *u, struct str name,
    struct user *out)
{
	bool have;

	/* Who is not first to look uses what there is. */
	if (pthread_mutex_trylock(&u->reading) == 0) {
		look(u);
		pthread_mutex_unlock(&u->reading);
	}
	if (name.n == 0 || str_has_ctl(name) ||
	    str_to_c(name, out->name, sizeof(out->name)) != 0)
		return USERS_NO;
	for (char *p = out->name; *p != '\0'; p++)
		*p = ascii_lower(*p);
	if (copy_row(u, out))
		return USERS_YES;
	pthread_rwlock_rdlock(&u->lock);
	have = u->table != NULL;
	pthread_rwlock_unlock(&u->lock);
	if (strchr(out->name, '@') != NULL)
		return have ? USERS_NO : USERS_UNAVAILABLE;
	return find_system(u, out);
}

enum users_found users_find_login(struct users *u, struct str name,
    struct user *out)
{
	const char *domain = u->options.default_domain;
	char full[USERS_NAME_MAX];
	enum users_found found = users_find(u, name, out);

	/* A system user has no password here. */
	if ((found == USERS_YES && out->hash[0] != '\0') ||
	    str_chr(name, '@') >= 0 || domain[0] == '\0' ||
	    found == USERS_UNAVAILABLE || str_has_nul(name))
		return found;
	if (snprintf(full, sizeof(full), STR_FMT "@%s", STR_ARG(name),
	    domain) >= (int)sizeof(full))
		return USERS_NO;
	return users_find(u, str_of(full), out);
}

void users_example_hash(struct users *u, char out[USERS_HASH_MAX])
{
	const struct cost *most;

	out[0] = '\0';
	pthread_rwlock_rdlock(&u->lock);
	if (u->table != NULL) {
		most = &u->table->costs[0];
		for (int i = 1; i < COSTS_MAX; i++)
			if (u->table->costs[i].users > most->users)
				most = &u->table->costs[i];
		(void)str_to_c(most->example, out, USERS_HASH_MAX);
	}
	pthread_rwlock_unlock(&u->lock);
}
