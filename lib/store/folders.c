/* folders.c - CREATE, DELETE, RENAME, LIST */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/map.h"
#include "base/sys.h"
#include "store/uidlist.h"
#include "store/validity.h"

static int open_tmp(const struct store *s)
{
	return sys_open_beneath(s->root, "tmp", O_RDONLY | O_DIRECTORY, 0);
}

/* The new mailbox in tmp/, whole and synced. */
static int build(int tmp, const char *name)
{
	int dir, mark, rc = -1;

	if (sys_mkdirat(tmp, name, 0700) < 0)
		return -1;
	dir = sys_open_beneath(tmp, name, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return -1;
	mark = sys_openat(dir, "maildirfolder",
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (mark >= 0) {
		sys_close(mark);
		rc = maildir_make_dirs(dir, true);
	}
	sys_close(dir);
	return rc;
}

static int create_dir(struct store *s, const struct mbname *name)
{
	char unique[MAILDIR_NAME_MAX + 1];
	int tmp = open_tmp(s), rc = -1, err;

	if (tmp < 0)
		return -1;
	maildir_unique(s, unique, sizeof(unique));
	if (build(tmp, unique) == 0) {
		rc = sys_renameat_new(tmp, unique, s->root, name->dir);
		/* Without RENAME_NOREPLACE: nothing replaces a directory
		 * that is not empty, and a mailbox never is. */
		if (rc < 0 && (errno == EINVAL || errno == ENOSYS))
			rc = sys_renameat(tmp, unique, s->root, name->dir);
		if (rc == 0)
			rc = sys_fsync(s->root);
	}
	err = errno;
	if (rc < 0)
		maildir_remove_tree(tmp, unique);
	sys_close(tmp);
	errno = err == ENOTEMPTY ? EEXIST : err;
	return rc;
}

int store_create(struct store *s, struct str name, const char **why_r)
{
	struct mbname parsed;
	struct validity v;
	int rc;

	/* RFC 3501 6.3.3: a separator at the end says that names below are
	 * to come; any mailbox can have them here. */
	if (name.n > 1 && name.p[name.n - 1] == STORE_SEPARATOR)
		name.n--;
	if (mbname_parse(name, &parsed, why_r) < 0)
		return -1;
	if (parsed.inbox)
		return store_fail(why_r, EEXIST, "INBOX is always there");
	if (validity_lock(s, &v, why_r) < 0)
		return -1;
	if ((rc = create_dir(s, &parsed)) < 0) {
		if (errno == EEXIST)
			store_fail(why_r, EEXIST, "The mailbox exists");
		else
			store_fail_errno(why_r,
			    "The mailbox cannot be made");
	}
	validity_unlock(&v);
	return rc;
}

static uint32_t validity_of(const struct store *s, const char *dirname)
{
	int dir = sys_open_beneath(s->root, dirname,
	    O_RDONLY | O_DIRECTORY, 0);
	uint32_t value;

	if (dir < 0)
		return 0;
	value = uidlist_peek_validity(dir);
	sys_close(dir);
	return value;
}

/* Out of sight at once, then emptied. */
static int delete_dir(struct store *s, const struct mbname *name)
{
	char unique[MAILDIR_NAME_MAX + 1];
	int tmp = open_tmp(s), rc;

	if (tmp < 0)
		return -1;
	maildir_unique(s, unique, sizeof(unique));
	rc = sys_renameat(s->root, name->dir, tmp, unique);
	if (rc == 0) {
		rc = sys_fsync(s->root);
		if (maildir_remove_tree(tmp, unique) < 0)
			log_warn("store: the deleted mailbox %s is not "
			    "removed yet", name->name);
	}
	sys_close(tmp);
	return rc;
}

int store_delete(struct store *s, struct str name, const char **why_r)
{
	struct mbname parsed;
	struct validity v;
	int rc;

	if (mbname_parse(name, &parsed, why_r) < 0)
		return -1;
	if (parsed.inbox)
		return store_fail(why_r, EINVAL, "INBOX cannot be deleted");
	if (store_exists(s, name, why_r) < 0 ||
	    validity_lock(s, &v, why_r) < 0)
		return -1;
	rc = validity_lose(&v, validity_of(s, parsed.dir));
	if (rc == 0)
		rc = delete_dir(s, &parsed);
	if (rc < 0)
		store_fail_errno(why_r, errno == ENOENT
		    ? "There is no such mailbox"
		    : "The mailbox cannot be deleted");
	validity_unlock(&v);
	return rc;
}

/* RENAME */

struct renaming {
	struct store *s;
	struct validity *v;
	struct mbname from, to;
	struct arena *arena;
	struct mbname *names;	/* from and its children, as they are */
	size_t n;
};

/* Is the entry a directory? d_type, or stat where that is not told. */
static bool is_dir(int dir, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode);
}

typedef int each_fn(const struct mbname *, void *ctx);

/* All mailboxes but INBOX. Stops when fn gives -1. */
static int each_mailbox(const struct store *s, each_fn *fn, void *ctx)
{
	int fd = sys_openat(s->root, ".", O_RDONLY | O_DIRECTORY, 0);
	struct mbname name;
	struct dirent *e;
	int rc = 0, err;
	DIR *d;

	if (fd < 0)
		return -1;
	if ((d = fdopendir(fd)) == NULL) {
		sys_close(fd);
		return -1;
	}
	while (rc == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (mbname_from_dir(e->d_name, &name) == 0 &&
		    is_dir(s->root, e))
			rc = fn(&name, ctx);
	if (rc == 0 && errno != 0)
		rc = -1;
	err = errno;
	closedir(d);
	errno = err;
	return rc;
}

static struct str name_of(const struct mbname *m)
{
	return str_n(m->name, m->n);
}

static bool is_or_below(const struct mbname *m, const struct mbname *top)
{
	return str_eq(name_of(m), name_of(top)) ||
	    mbname_is_below(name_of(m), name_of(top));
}

static int count_affected(const struct mbname *m, void *ctx)
{
	struct renaming *r = ctx;

	r->n += is_or_below(m, &r->from);
	if (str_eq(name_of(m), name_of(&r->to))) {
		errno = EEXIST;
		return -1;
	}
	return 0;
}

static int take_affected(const struct mbname *m, void *ctx)
{
	struct renaming *r = ctx;

	if (is_or_below(m, &r->from)) {
		if (r->n == STORE_MAILBOXES_MAX) {
			errno = E2BIG;
			return -1;
		}
		r->names[r->n++] = *m;
	}
	return 0;
}

/* What a mailbox is called afterwards. */
static int new_name(const struct renaming *r, const struct mbname *m,
    struct mbname *out, const char **why_r)
{
	char name[2 * MBNAME_MAX + 1];
	int n = snprintf(name, sizeof(name), "%s%s", r->to.name,
	    m->name + r->from.n);

	return mbname_parse(str_n(name, (size_t)n), out, why_r);
}

/*
 * See validity.h: a value below one that some name has lost may be lower
 * than what clients know of the new name.
 */
static int fit_validity(struct renaming *r, const struct mbname *m,
    uint32_t value)
{
	struct maildir md;
	struct uidlist *u;
	uint32_t next;
	int rc = -1;

	if (value == 0 || value >= r->v->floor)
		return 0;
	if ((next = validity_next(r->v)) == 0 ||
	    maildir_open(r->s, m, &md, NULL) < 0)
		return -1;
	if (uidlist_open(r->s, &md, UIDLIST_ALL, &u, NULL) == 0) {
		rc = uidlist_set_validity(u, next);
		uidlist_close(&u);
	}
	maildir_close(&md);
	return rc;
}

static int rename_one(struct renaming *r, const struct mbname *m,
    const char **why_r)
{
	struct mbname to;
	uint32_t value = validity_of(r->s, m->dir);
	int rc;

	if (new_name(r, m, &to, why_r) < 0)
		return -1;
	if (fit_validity(r, m, value) < 0 ||
	    validity_lose(r->v, validity_of(r->s, m->dir)) < 0)
		return store_fail_errno(why_r,
		    "The mailbox cannot be renamed");
	rc = sys_renameat_new(r->s->root, m->dir, r->s->root, to.dir);
	if (rc < 0 && (errno == EINVAL || errno == ENOSYS))
		rc = sys_renameat(r->s->root, m->dir, r->s->root, to.dir);
	if (rc == 0)
		return 0;
	if (errno == EEXIST || errno == ENOTEMPTY)
		return store_fail(why_r, EEXIST, "The name is taken");
	return store_fail_errno(why_r, "The mailbox cannot be renamed");
}

static int rename_all(struct renaming *r, const char **why_r)
{
	struct mbname to;

	if (each_mailbox(r->s, count_affected, r) < 0)
		return errno == EEXIST
		    ? store_fail(why_r, EEXIST, "The name is taken")
		    : store_fail_errno(why_r, "The mailboxes are not known");
	if (r->n == 0)
		return store_fail(why_r, ENOENT, "There is no such mailbox");
	if (r->n > STORE_MAILBOXES_MAX)
		return store_fail(why_r, E2BIG, "There are too many names");
	r->names = calloc(r->n + 1, sizeof(*r->names));
	if (r->names == NULL)
		return store_fail_errno(why_r, "");
	r->n = 0;
	if (each_mailbox(r->s, take_affected, r) < 0)
		return store_fail_errno(why_r, "The mailboxes are not known");
	/* Every new name must be possible before the first one changes. */
	for (size_t i = 0; i < r->n; i++) {
		if (new_name(r, &r->names[i], &to, why_r) < 0)
			return -1;
		if (store_exists(r->s, name_of(&to), NULL) == 0)
			return store_fail(why_r, EEXIST, "A name is taken");
	}
	for (size_t i = 0; i < r->n; i++)
		if (rename_one(r, &r->names[i], why_r) < 0)
			return -1;
	if (sys_fsync(r->s->root) < 0)
		return store_fail_errno(why_r,
		    "The mailbox cannot be renamed");
	return 0;
}

/* RFC 3501 6.3.5: INBOX stays, empty; its messages move. */
static int rename_inbox(struct store *s, const struct mbname *to,
    const char **why_r)
{
	struct mailbox_copied copied;
	struct mailbox *inbox = NULL;
	uint32_t *seqs = NULL, n = 0;
	int rc = -1;

	if (store_create(s, name_of(to), why_r) < 0)
		return -1;
	if (mailbox_open(s, STR("INBOX"), MAILBOX_MAILDROP, &inbox,
	    why_r) < 0)
		return -1;
	n = mailbox_count(inbox);
	seqs = malloc(((size_t)n + 1) * sizeof(*seqs));
	if (seqs == NULL) {
		store_fail_errno(why_r, "");
	} else {
		for (uint32_t i = 0; i < n; i++)
			seqs[i] = i + 1;
		rc = n == 0 ? 0 : mailbox_move(inbox, seqs, n, name_of(to),
		    &copied, why_r);
	}
	free(seqs);
	mailbox_close(&inbox);
	return rc;
}

int store_rename(struct store *s, struct str from, struct str to,
    const char **why_r)
{
	struct validity v;
	struct renaming r = { .s = s, .v = &v };
	int rc;

	if (to.n > 1 && to.p[to.n - 1] == STORE_SEPARATOR)
		to.n--;
	if (mbname_parse(from, &r.from, why_r) < 0 ||
	    mbname_parse(to, &r.to, why_r) < 0)
		return -1;
	if (r.to.inbox)
		return store_fail(why_r, EEXIST, "INBOX is always there");
	if (r.from.inbox)
		return rename_inbox(s, &r.to, why_r);
	if (is_or_below(&r.to, &r.from))
		return store_fail(why_r, EINVAL,
		    "A mailbox cannot move below itself");
	if (validity_lock(s, &v, why_r) < 0)
		return -1;
	rc = rename_all(&r, why_r);
	free(r.names);
	validity_unlock(&v);
	return rc;
}

/* LIST */

struct listing {
	struct arena *arena;
	struct map *names;	/* to struct store_entry */
	size_t n;
};

static struct store_entry *add_entry(struct listing *l, struct str name)
{
	struct store_entry *e = map_find(l->names, name);

	if (e != NULL)
		return e;
	if (l->n >= STORE_MAILBOXES_MAX) {
		errno = E2BIG;
		return NULL;
	}
	e = ARENA_NEW(l->arena, struct store_entry);
	if (e == NULL || (e->name = arena_str(l->arena, name)).p == NULL ||
	    map_set(l->names, name, e, NULL) < 0) {
		errno = ENOMEM;
		return NULL;
	}
	l->n++;
	return e;
}

static int list_one(const struct mbname *m, void *ctx)
{
	struct listing *l = ctx;
	struct str name = name_of(m);
	struct store_entry *e = add_entry(l, name);
	ssize_t dot;

	if (e == NULL)
		return -1;
	e->exists = true;
	/* RFC 3501 6.3.8: a parent without mailbox is listed \Noselect. */
	while ((dot = str_rchr(name, STORE_SEPARATOR)) > 0) {
		name.n = (size_t)dot;
		if ((e = add_entry(l, name)) == NULL)
			return -1;
		if (e->has_children)
			break;
		e->has_children = true;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct store_entry *x = a, *y = b;
	bool xi = str_eq_c(x->name, "INBOX"), yi = str_eq_c(y->name, "INBOX");

	if (xi != yi)
		return xi ? -1 : 1;
	return str_cmp(x->name, y->name);
}

static int sort_out(struct listing *l, struct store_entry **list_r)
{
	struct store_entry *list = arena_array(l->arena, l->n,
	    sizeof(*list));
	size_t pos = 0, i = 0;
	void *value;

	if (list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	while (map_next(l->names, &pos, NULL, &value))
		list[i++] = *(struct store_entry *)value;
	qsort(list, l->n, sizeof(*list), by_name);
	*list_r = list;
	return 0;
}

int store_list(struct store *s, struct arena *arena,
    struct store_entry **list_r, size_t *count_r, const char **why_r)
{
	struct listing l = { arena, map_new(false), 0 };
	struct store_entry *inbox;
	int rc = -1;

	if (l.names == NULL) {
		errno = ENOMEM;
	} else if ((inbox = add_entry(&l, STR("INBOX"))) != NULL) {
		inbox->exists = true;
		if ((rc = each_mailbox(s, list_one, &l)) == 0)
			rc = sort_out(&l, list_r);
	}
	if (rc == 0)
		*count_r = l.n;
	else
		store_fail_errno(why_r, errno == E2BIG
		    ? "There are too many mailboxes"
		    : "The mailboxes are not known");
	map_free(&l.names, NULL);
	return rc;
}
