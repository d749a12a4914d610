#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/sys.h"
#include "table/bdb.h"
#include "table/table.h"
#include "table/writer.h"

#define WRITE_CACHE (16 * 1024 * 1024)

struct table_writer {
	struct str spec;	/* into text */
	char *text, *path, *temp, *directory;
	mode_t mode;
	bool give;
	uid_t uid;
	gid_t gid;
	DB_ENV *env;
	DB *db;
};

static char *join(const char *a, const char *b)
{
	size_t n = strlen(a) + strlen(b) + 1;
	char *p = malloc(n);

	if (p != NULL)
		snprintf(p, n, "%s%s", a, b);
	return p;
}

static void close_db(struct table_writer *w)
{
	if (w->db != NULL)
		w->db->close(w->db, DB_NOSYNC);
	if (w->env != NULL)
		w->env->close(w->env, 0);
	w->db = NULL;
	w->env = NULL;
}

static void discard(struct table_writer **wp)
{
	struct table_writer *w = *wp;

	close_db(w);
	free(w->text);
	free(w->path);
	free(w->temp);
	free(w->directory);
	free(w);
	*wp = NULL;
}

void table_writer_abort(struct table_writer **wp)
{
	if (*wp == NULL)
		return;
	close_db(*wp);
	if ((*wp)->temp != NULL)
		sys_unlinkat(AT_FDCWD, (*wp)->temp);
	discard(wp);
}

/* The names: the table's, its directory's, and one that nobody has. */
static int make_names(struct table_writer *w, const char *file)
{
	char *slash, suffix[64];

	if ((w->path = join(file, ".db")) == NULL ||
	    (w->directory = strdup(w->path)) == NULL)
		return -1;
	if ((slash = strrchr(w->directory, '/')) == NULL) {
		free(w->directory);
		w->directory = strdup(".");
	} else {
		slash[slash == w->directory] = '\0';
	}
	snprintf(suffix, sizeof(suffix), ".new.%ld.db", (long)getpid());
	w->temp = join(file, suffix);
	return w->directory != NULL && w->temp != NULL ? 0 : -1;
}

struct table_writer *table_writer_open(struct str spec, unsigned mode,
    struct buf *why)
{
	struct table_writer *w = calloc(1, sizeof(*w));
	enum bdb_type type;
	int err;

	buf_reset(why);
	if (w == NULL)
		return NULL;
	w->mode = (mode_t)mode & 0666;
	if ((w->text = malloc(spec.n + 1)) == NULL ||
	    str_to_c(spec, w->text, spec.n + 1) < 0)
		goto bad;
	w->spec = str_of(w->text);
	if (str_starts(spec, STR("hash:")) && spec.n > 5)
		type = BDB_HASH;
	else if (str_starts(spec, STR("btree:")) && spec.n > 6)
		type = BDB_BTREE;
	else
		goto bad;
	if (make_names(w, strchr(w->text, ':') + 1) < 0)
		goto bad;
	/* A table of that name was left by a process of our number that was
	 * killed: nobody reads it. */
	sys_unlinkat(AT_FDCWD, w->temp);
	err = bdb_open(w->temp, type, DB_CREATE | DB_EXCL, WRITE_CACHE,
	    &w->env, &w->db);
	if (err == 0)
		return w;
	buf_printf(why, "cannot create %s: %s", w->temp, db_strerror(err));
	discard(&w);
	return NULL;
bad:
	buf_printf(why, STR_FMT ": only hash: and btree: are built",
	    STR_ARG(spec));
	discard(&w);
	return NULL;
}

const char *table_writer_path(const struct table_writer *w)
{
	return w->path;
}

/* A key in lower case with the NUL that Postfix's files have. -1: too long. */
static int make_key(struct str key, char out[static TABLE_KEY_MAX + 1], DBT *k)
{
	if (key.n == 0 || key.n > TABLE_KEY_MAX || str_has_nul(key))
		return -1;
	for (size_t i = 0; i < key.n; i++)
		out[i] = ascii_lower(key.p[i]);
	out[key.n] = '\0';
	memset(k, 0, sizeof(*k));
	k->data = out;
	k->size = (u_int32_t)key.n + 1;
	return 0;
}

int table_writer_put(struct table_writer *w, struct str key, struct str value,
    enum table_write how, struct buf *why)
{
	char folded[TABLE_KEY_MAX + 1], *text;
	DBT k, v = { 0 };
	int err, ret = 0;

	buf_reset(why);
	if (make_key(key, folded, &k) < 0 || value.n > TABLE_VALUE_MAX ||
	    str_has_nul(value) || (text = malloc(value.n + 1)) == NULL) {
		buf_printf(why, "%s: an entry is too long", w->path);
		return -1;
	}
	if (value.n > 0)
		memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	v.data = text;
	v.size = (u_int32_t)value.n + 1;
	err = w->db->put(w->db, NULL, &k, &v, DB_NOOVERWRITE);
	if (err == DB_KEYEXIST) {
		ret = 1;
		err = how == TABLE_WRITE_REPLACE
			? w->db->put(w->db, NULL, &k, &v, 0) : 0;
	}
	free(text);
	if (err == 0)
		return ret;
	buf_printf(why, "%s: %s", w->temp, db_strerror(err));
	return -1;
}

int table_writer_delete(struct table_writer *w, struct str key,
    struct buf *why)
{
	char folded[TABLE_KEY_MAX + 1];
	DBT k;
	int err;

	buf_reset(why);
	if (make_key(key, folded, &k) < 0)
		return 0;
	if ((err = w->db->del(w->db, NULL, &k, 0)) == 0)
		return 1;
	if (err == DB_NOTFOUND)
		return 0;
	buf_printf(why, "%s: %s", w->temp, db_strerror(err));
	return -1;
}

struct copy {
	struct table_writer *w;
	struct buf *why;
	int ret;
};

static int copy_entry(struct str key, struct str value, void *ctx)
{
	struct copy *c = ctx;

	c->ret = table_writer_put(c->w, key, value, TABLE_WRITE_REPLACE,
	    c->why) < 0 ? -1 : 0;
	return c->ret;
}

int table_writer_copy(struct table_writer *w, struct buf *why)
{
	struct copy c = { w, why, 0 };
	struct table *old;
	const char *reason;
	int ret;

	buf_reset(why);
	if (access(w->path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if ((old = table_new(w->spec, &reason)) == NULL) {
		buf_printf(why, STR_FMT ": %s", STR_ARG(w->spec), reason);
		return -1;
	}
	ret = table_each(old, copy_entry, &c, why);
	table_free(&old);
	return ret < 0 ? -1 : c.ret;
}

void table_writer_give(struct table_writer *w, uid_t uid, gid_t gid)
{
	w->give = true;
	w->uid = uid;
	w->gid = gid;
}

int table_writer_commit(struct table_writer **wp, struct buf *why)
{
	struct table_writer *w = *wp;
	int err, fd = -1, ret = -1;

	buf_reset(why);
	if ((err = w->db->close(w->db, 0)) != 0) {
		w->db = NULL;
		buf_printf(why, "%s: %s", w->temp, db_strerror(err));
		goto out;
	}
	w->db = NULL;
	fd = sys_openat(AT_FDCWD, w->temp, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0 || (w->give && fchown(fd, w->uid, w->gid) < 0) ||
	    sys_fchmod(fd, w->mode) < 0 || sys_fsync(fd) < 0 ||
	    sys_renameat(AT_FDCWD, w->temp, AT_FDCWD, w->path) < 0) {
		buf_printf(why, "%s: %s", w->temp, strerror(errno));
		goto out;
	}
	free(w->temp);
	w->temp = NULL;
	if (sys_fsync_dir(AT_FDCWD, w->directory) < 0) {
		buf_printf(why, "%s: %s", w->directory, strerror(errno));
		goto out;
	}
	ret = 0;
out:
	if (fd >= 0)
		sys_close(fd);
	table_writer_abort(wp);
	return ret;
}
