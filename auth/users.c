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

/* A user of the file; all views are into the table's text. */
struct row {
	struct str hash;
	uid_t uid;
	gid_t gid;
	bool is_virtual;
	struct str dir;
};

/* Users whose hashes cost the same. */
struct cost {
	struct str example;
	size_t users;
};

#define COSTS_MAX 16

/* Why a line is not taken, when it is not the line's fault. */
static const char no_memory[] = "out of memory";

/* The file as it was when it was read; not changed any more. */
struct table {
	char *text;
	struct arena *arena;
	struct map *rows;
	struct cost costs[COSTS_MAX];
};

struct users {
	struct users_options options;
	uid_t mail_uid;
	gid_t mail_gid;
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

static int parse_id(struct str text, bool is_uid, uint32_t *id_r,
    gid_t *gid_r)
{
	char name[128], buf[4096];
	struct passwd pw, *found = NULL;
	uint64_t n;

	if (str_to_u64(text, UINT32_MAX - 1, &n) == 0) {
		*id_r = (uint32_t)n;
		return 0;
	}
	if (!is_uid || str_to_c(text, name, sizeof(name)) != 0 ||
	    getpwnam_r(name, &pw, buf, sizeof(buf), &found) != 0 ||
	    found == NULL)
		return -1;
	*id_r = pw.pw_uid;
	*gid_r = pw.pw_gid;
	return 0;
}

/* A directory below the mail root must stay below it. */
static bool is_safe_path(struct str path)
{
	struct str part;

	if (path.n == 0 || path.n >= USERS_DIR_MAX || str_has_ctl(path))
		return false;
	while (str_split(&path, '/', &part))
		if (part.n == 0 || str_eq_c(part, ".") || str_eq_c(part, ".."))
			return false;
	return true;
}

static struct str lower(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);

	if (p == NULL)
		return STR_NONE;
	for (size_t i = 0; i < s.n; i++)
		p[i] = ascii_lower(p[i]);
	return str_n(p, s.n);
}

/* Where the user's mail is. NULL, or what is wrong. */
static const char *place(struct users *u, struct table *t, struct str name,
    struct str home, struct row *row)
{
	struct str root = str_of(u->options.mail_root);
	ssize_t at = str_rchr(name, '@');

	while (home.n > 1 && home.p[home.n - 1] == '/')
		home.n--;
	if (home.n > 0 && home.p[0] == '/') {
		if (root.n > 0 && str_starts(home, root) &&
		    home.n > root.n + 1 && home.p[root.n] == '/') {
			home = str_from(home, root.n + 1);
		} else {
			row->is_virtual = false;
			row->dir = home;
			return is_safe_path(str_from(home, 1)) ? NULL :
			    "bad home directory";
		}
	}
	row->is_virtual = true;
	row->dir = home;
	if (home.n == 0 && at > 0)
		row->dir = arena_printf(t->arena, STR_FMT "/" STR_FMT,
		    STR_ARG(str_from(name, (size_t)at + 1)),
		    STR_ARG(str_sub(name, 0, (size_t)at)));
	else if (home.n == 0)
		row->dir = name;
	if (home.n == 0 && str_chr(name, '/') >= 0)
		return "a name with a slash needs a home directory";
	return is_safe_path(row->dir) ? NULL : "bad home directory";
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

static const char *parse_line(struct users *u, struct table *t,
    struct str line)
{
	struct str field[6], name;
	struct row *row = ARENA_NEW(t->arena, struct row);
	uint32_t id;

	if (row == NULL)
		return no_memory;
	for (int i = 0; i < 6; i++)
		if (!str_split(&line, ':', &field[i]))
			field[i] = STR_NONE;
	name = lower(t->arena, field[0]);
	if (name.n == 0 || name.n >= USERS_NAME_MAX || str_has_ctl(name))
		return "bad name";
	if (field[1].n >= USERS_HASH_MAX)
		return "password hash too long";
	row->hash = field[1];
	row->uid = u->mail_uid;
	row->gid = u->mail_gid;
	if (field[2].n > 0) {
		if (parse_id(field[2], true, &id, &row->gid) != 0)
			return "bad uid";
		row->uid = id;
	}
	if (field[3].n > 0) {
		if (parse_id(field[3], false, &id, NULL) != 0)
			return "bad gid";
		row->gid = id;
	}
	if (u->options.one_uid) {
		row->uid = geteuid();
		row->gid = getegid();
	}
	if (row->uid == (uid_t)-1 || row->gid == (gid_t)-1)
		return "no uid and gid, and no mail_uid";
	count_cost(t, row->hash);
	if (map_find(t->rows, name) != NULL)
		return "named twice";
	{
		const char *why = place(u, t, name, field[5], row);

		if (why != NULL)
			return why;
	}
	return map_set(t->rows, name, row, NULL) == 0 ? NULL : no_memory;
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
	struct table *t;
	struct str rest, line;
	size_t n = 0;
	unsigned number = 0;

	if (fd < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL || (t->text = read_text(fd, &n)) == NULL ||
	    (t->arena = arena_new(16 * n + 1024 * 1024)) == NULL ||
	    (t->rows = map_new(false)) == NULL) {
		int err = errno;

		close(fd);
		table_free(t);
		errno = err;
		return NULL;
	}
	close(fd);
	rest = str_n(t->text, n);
	while (str_split(&rest, '\n', &line)) {
		const char *why;

		number++;
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		why = parse_line(u, t, line);
		if (why == no_memory || arena_failed(t->arena)) {
			table_free(t);
			errno = ENOMEM;
			return NULL;
		}
		if (why != NULL)
			log_warn("%s:%u: %s; the line is skipped",
			    u->options.path, number, why);
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
	struct str owner = str_of(options->mail_uid), uid;
	uint32_t id;

	if (u == NULL)
		return NULL;
	u->options = *options;
	u->mail_uid = (uid_t)-1;
	u->mail_gid = (gid_t)-1;
	pthread_mutex_init(&u->reading, NULL);
	pthread_rwlock_init(&u->lock, NULL);
	if (owner.n > 0 && str_split(&owner, ':', &uid)) {
		if (parse_id(uid, true, &id, &u->mail_gid) == 0) {
			u->mail_uid = id;
			if (u->mail_gid == (gid_t)-1)
				u->mail_gid = id;
		} else {
			log_warn("mail_uid: no user %s", options->mail_uid);
		}
		if (owner.p != NULL &&
		    parse_id(owner, false, &id, NULL) == 0)
			u->mail_gid = id;
	}
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
	struct row *row = NULL;

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
