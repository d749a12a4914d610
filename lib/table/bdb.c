/*
 * bdb.c - Berkeley DB tables, as postmap makes them
 *
 * An environment of the table's own, private and without files, has the
 * table's directory as its home: else the library would read a DB_CONFIG of
 * the current directory (CVE-2017-10140).
 */
#include <db.h>
#include <errno.h>
#include <stdlib.h>
#include "table/bdb.h"
#include "table/source.h"
#include "table/type.h"

#define READ_CACHE (128 * 1024)

struct bdb_state {
	DB_ENV *env;
	DB *db;
};

/* What the library would print goes nowhere: callers say what failed. */
static void ignore_text(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	(void)text;
}

int bdb_open(const char *path, enum bdb_type type, uint32_t flags,
    unsigned cache, void *env_r, void *db_r)
{
	DB_ENV *env = NULL;
	DB *db = NULL;
	char *home = strdup(path), *slash;
	int err;

	if (home == NULL)
		return ENOMEM;
	if ((slash = strrchr(home, '/')) != NULL)
		slash[slash == home] = '\0';
	if ((err = db_env_create(&env, 0)) != 0) {
		free(home);
		return err;
	}
	env->set_errcall(env, ignore_text);
	env->set_cachesize(env, 0, cache, 1);
	err = env->open(env, slash ? home : ".", DB_CREATE | DB_INIT_MPOOL |
	    DB_PRIVATE, 0);
	free(home);
	if (err == 0 && (err = db_create(&db, env, 0)) == 0)
		err = db->open(db, NULL, path, NULL, type == BDB_HASH ? DB_HASH
		    : DB_BTREE, flags, 0600);
	if (err != 0) {
		if (db != NULL)
			db->close(db, DB_NOSYNC);
		env->close(env, 0);
		return err;
	}
	*(DB_ENV **)env_r = env;
	*(DB **)db_r = db;
	return 0;
}

/* Whether the file that the library opened is the one `st` tells of. */
static int same_as_opened(struct bdb_state *s, struct stat *st)
{
	int fd;

	return s->db->fd(s->db, &fd) == 0 ? fstat(fd, st) : -1;
}

static int open_bdb(struct table *t, struct buf *why)
{
	struct bdb_state *s = calloc(1, sizeof(*s));
	int err;

	if ((t->state = s) == NULL) {
		buf_printf(why, "%s: out of memory", t->spec);
		return -1;
	}
	err = bdb_open(t->path, t->type == &table_type_hash ? BDB_HASH
	    : BDB_BTREE, DB_RDONLY, READ_CACHE, &s->env, &s->db);
	if (err == 0 && same_as_opened(s, &t->opened) < 0)
		err = errno;
	if (err == 0)
		return 0;
	buf_printf(why, "%s.db: %s%s", t->name, err == EINVAL
	    ? "no Berkeley DB of this type" : db_strerror(err),
	    err == ENOENT ? " (postmap or postalias makes it)" : "");
	return -1;
}

static void close_bdb(struct table *t)
{
	struct bdb_state *s = t->state;

	if (s->db != NULL)
		s->db->close(s->db, DB_NOSYNC);
	if (s->env != NULL)
		s->env->close(s->env, 0);
	free(s);
}

/* Postfix's files have a NUL behind key and value, others have not. */
static struct str without_nul(const DBT *d)
{
	struct str s = str_n(d->data, d->size);

	if (s.n > 0 && s.p[s.n - 1] == '\0')
		s.n--;
	return s;
}

static enum table_answer find_bdb(struct table *t, struct str key,
    struct buf *value)
{
	struct bdb_state *s = t->state;
	char with_nul[TABLE_KEY_MAX + 1];
	DBT k = { 0 }, v = { 0 };
	int err;

	memcpy(with_nul, key.p, key.n);
	with_nul[key.n] = '\0';
	k.data = with_nul;
	k.size = (u_int32_t)key.n + 1;
	if ((err = s->db->get(s->db, NULL, &k, &v, 0)) == DB_NOTFOUND) {
		k.size--;
		err = s->db->get(s->db, NULL, &k, &v, 0);
	}
	if (err == DB_NOTFOUND)
		return TABLE_NOT_FOUND;
	if (err != 0) {
		buf_printf(value, "%s: %s", t->spec, db_strerror(err));
		return TABLE_ERROR;
	}
	buf_append(value, without_nul(&v));
	return TABLE_FOUND;
}

static int each_bdb(struct table *t, table_visit_fn *visit, void *ctx,
    struct buf *why)
{
	struct bdb_state *s = t->state;
	DBT k = { 0 }, v = { 0 };
	DBC *cursor;
	int err, stop = 0;

	if ((err = s->db->cursor(s->db, NULL, &cursor, 0)) != 0)
		goto failed;
	while (stop == 0 &&
	    (err = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
		stop = visit(without_nul(&k), without_nul(&v), ctx);
	cursor->close(cursor);
	if (stop != 0 || err == DB_NOTFOUND)
		return 0;
failed:
	buf_printf(why, "%s: %s", t->spec, db_strerror(err));
	return -1;
}

const struct table_type table_type_hash = { "hash", TABLE_FILE, ".db",
	open_bdb, close_bdb, find_bdb, each_bdb };
const struct table_type table_type_btree = { "btree", TABLE_FILE, ".db",
	open_bdb, close_bdb, find_bdb, each_bdb };
