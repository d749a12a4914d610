/*
 * uidlist.c - opening, locking and writing the list; uidlines.c has the
 * grammar of its lines
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/lock.h"
#include "store/uidlines.h"
#include "store/validity.h"

/* A list that was written so long ago has reached the disk by itself. */
#define WRITTEN_BACK_SECONDS 120
#define COMPACT_MIN ((size_t)64 * 1024)
/* Octets of list for one uid that a torn tail may have held. */
#define LINE_MIN 24
/* From this size on it pays to read only the end, so many octets. */
#define END_WORTH (128 * 1024)
#define END_READ (32 * 1024)
#define HEAD_MAX 128
#define LOCK_TRIES 100

static void init(struct uidlist *u, const struct store *s,
    const struct maildir *md)
{
	*u = (struct uidlist){ .store = s, .md = md, .fd = -1, .uidnext = 1 };
	buf_init(&u->text, UIDLIST_SIZE_MAX);
	buf_init(&u->pending, UIDLIST_SIZE_MAX);
}

static void fini(struct uidlist *u)
{
	int err = errno;

	if (u->fd >= 0)
		sys_close(u->fd);
	buf_fini(&u->text);
	buf_fini(&u->pending);
	free(u->list);
	errno = err;
}

/* A file in tmp/ with the octets of `content`, synced. Its descriptor. */
static int write_tmp(const struct uidlist *u, struct str content, char *name,
    size_t size)
{
	int fd;

	maildir_unique(u->store, name, size);
	fd = sys_openat(u->md->tmp, name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	if (sys_write_all(fd, content.p, content.n) < 0 ||
	    sys_fsync(fd) < 0) {
		int err = errno;

		sys_close(fd);
		sys_unlinkat(u->md->tmp, name);
		errno = err;
		return -1;
	}
	return fd;
}

static int new_nonce(uint32_t *nonce_r)
{
	return getrandom(nonce_r, sizeof(*nonce_r), 0) == sizeof(*nonce_r)
	    ? 0 : -1;
}

/* A list without messages, at its place unless another made one. */
static int create(const struct uidlist *u, const char **why_r)
{
	struct validity v;
	struct uidlist n;
	char tmp[MAILDIR_NAME_MAX + 1];
	int fd = -1, rc = -1;

	if (validity_lock(u->store, &v, why_r) < 0)
		return -1;
	init(&n, u->store, u->md);
	if ((n.validity = validity_next(&v)) == 0 || new_nonce(&n.nonce) < 0)
		goto out;
	uidlines_put_head(&n);
	if ((fd = write_tmp(&n, buf_str(&n.pending), tmp, sizeof(tmp))) < 0)
		goto out;
	if (maildir_rename_new(u->md->tmp, tmp, u->md->dir,
	    UIDLIST_FILE) < 0) {
		int err = errno;

		sys_unlinkat(u->md->tmp, tmp);
		errno = err;
		if (err != EEXIST)
			goto out;
	}
	rc = sys_fsync(u->md->dir);
out:
	if (fd >= 0)
		sys_close(fd);
	if (rc < 0)
		store_fail_errno(why_r, "The uid list cannot be made");
	fini(&n);
	validity_unlock(&v);
	return rc;
}

static int64_t mtime_age(const struct stat *st)
{
	return clock_wall() / CLOCK_SECOND - st->st_mtime;
}

/* Reads the file from u->end; *from_r is where that starts in text. */
static int read_more(struct uidlist *u, off_t size, size_t *from_r)
{
	size_t want = (size_t)(size - u->end);
	ssize_t n;
	char *p;

	*from_r = u->text.n;
	if ((p = buf_reserve(&u->text, want)) == NULL) {
		u->text.failed = false;
		errno = ENOMEM;
		return -1;
	}
	if ((n = sys_pread_full(u->fd, p, want, u->end)) < 0)
		return -1;
	buf_added(&u->text, (size_t)n);
	return 0;
}

/*
 * Applies what was read. Under the lock nobody is writing, so an incomplete
 * or wrong end is what a crash left: it is cut. The uids in it were not told
 * to anybody, unless it is damage of another kind: so they are skipped.
 */
static int take_in(struct uidlist *u, size_t from, bool *damaged_r)
{
	struct uidlines_result r = uidlines_apply(u, from, false);
	off_t start = u->end;

	*damaged_r = r.bad > 0;
	if (r.no_memory) {
		errno = ENOMEM;
		return -1;
	}
	u->end = start + (off_t)(u->text.n - from);
	if (r.good_end < u->text.n) {
		u->end = start + (off_t)(r.good_end - from);
		buf_truncate(&u->text, r.good_end);
		if (sys_ftruncate(u->fd, u->end) < 0)
			return -1;
	}
	if (r.bad == 0)
		return 0;
	log_warn("store: %s: %zu damaged octets passed over", UIDLIST_FILE,
	    r.bad);
	if (u->uidnext < UINT32_MAX - 2 - r.bad / LINE_MIN)
		uidlist_put_uidnext(u, u->uidnext + 1 +
		    (uint32_t)(r.bad / LINE_MIN));
	return uidlist_flush_or_keep(u, UIDLIST_SYNC);
}

/*
 * Reads all of u->fd into an empty list. EBADMSG: not a list at all. The
 * writer may have died between its write and its sync: what we are about
 * to tell must be on disk.
 */
static int load(struct uidlist *u)
{
	struct stat st;
	size_t from;
	bool damaged;

	u->end = 0;
	if (fstat(u->fd, &st) < 0 || read_more(u, st.st_size, &from) < 0)
		return -1;
	if (uidlines_take_head(u, &from) < 0) {
		errno = EBADMSG;
		return -1;
	}
	u->end = (off_t)from;
	if (mtime_age(&st) < WRITTEN_BACK_SECONDS && sys_fdatasync(u->fd) < 0)
		return -1;
	if (take_in(u, from, &damaged) < 0)
		return -1;
	if (damaged)
		u->garbage = u->text.n + COMPACT_MIN;
	return 0;
}

/*
 * Reads the first line and the last END_READ octets. 1: that is not enough
 * or not clean, load() has to do it. What was written before and not synced
 * is synced with what is added now.
 */
static int load_end(struct uidlist *u)
{
	char head[HEAD_MAX];
	struct uidlines_result r;
	struct stat st;
	size_t at = 0, from;
	const char *nl;
	ssize_t n;

	if (fstat(u->fd, &st) < 0)
		return -1;
	if (st.st_size < END_WORTH ||
	    (n = sys_pread_full(u->fd, head, sizeof(head), 0)) < 0 ||
	    buf_append_n(&u->text, head, (size_t)n) < 0 ||
	    uidlines_take_head(u, &at) < 0)
		return 1;
	u->uidnext = 0;
	buf_reset(&u->text);
	u->end = st.st_size - END_READ;
	if (read_more(u, st.st_size, &from) < 0)
		return -1;
	if ((nl = memchr(u->text.p, '\n', u->text.n)) == NULL)
		return 1;
	r = uidlines_apply(u, (size_t)(nl - u->text.p) + 1, false);
	if (r.bad > 0 || r.no_memory || u->uidnext == 0)
		return 1;
	u->end = st.st_size;
	u->partial = true;
	return 0;
}

/* As after init(), but for the file. */
static void forget(struct uidlist *u)
{
	struct uidlist n;

	init(&n, u->store, u->md);
	n.fd = u->fd;
	n.locked = u->locked;
	u->fd = -1;
	fini(u);
	*u = n;
}

/* What `n` says (read from a new file) becomes ours; messages keep their
 * places, those that it lacks are gone. */
static int merge(struct uidlist *u, struct uidlist *n)
{
	size_t k = 0;
	uint32_t top = u->count > 0 ? u->list[u->count - 1].uid : 0;

	for (size_t i = 0; i < u->count; i++) {
		struct uidlist_message *m = &u->list[i];
		uint32_t keep = m->flags & (MAILBOX_RECENT | MAILBOX_CHANGED |
		    MAILBOX_GONE | UIDLIST_LOOKED_AT);

		while (k < n->count && n->list[k].uid < m->uid)
			k++;
		/* It may have been removed since the new file was made. */
		if (k == n->count || n->list[k].uid != m->uid ||
		    n->list[k].flags & MAILBOX_GONE) {
			u->any_gone |= !(m->flags & MAILBOX_GONE);
			m->flags |= MAILBOX_GONE;
			m->name_len = m->base_len = 0;
			continue;
		}
		if (((n->list[k].flags ^ m->flags) & MAILBOX_STORED_FLAGS) ||
		    n->list[k].letters != m->letters)
			keep |= MAILBOX_CHANGED;
		u->any_changed |= (keep & MAILBOX_CHANGED) != 0;
		*m = n->list[k];
		m->flags |= keep;
	}
	while (k < n->count && n->list[k].uid <= top)
		k++;
	for (; k < n->count; k++)
		if (uidlines_add(u, &n->list[k]) < 0)
			return -1;
	buf_fini(&u->text);
	u->text = n->text;
	buf_init(&n->text, UIDLIST_SIZE_MAX);
	u->nonce = n->nonce;
	u->seed = n->seed;
	u->end = n->end;
	u->garbage = n->garbage;
	u->uidnext = n->uidnext;
	u->claimed = n->claimed;
	u->cur = n->cur;
	u->fresh = n->fresh;
	memcpy(u->keywords, n->keywords, sizeof(u->keywords));
	u->named = n->named;
	u->info_count = 0;
	return 0;
}

static int open_file(const struct uidlist *u)
{
	return sys_openat(u->md->dir, UIDLIST_FILE, O_RDWR | O_NOFOLLOW, 0);
}

/*
 * Locks the file that has the name. *replaced_r: it is another than before.
 * A list with a second name may be somebody else's: it becomes one of ours,
 * with the same octets, before anything is written.
 */
static int lock_in_place(struct uidlist *u, bool *replaced_r)
{
	*replaced_r = false;
	/* Somebody who puts one file after the other there has no list. */
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		if (lock_file(u->fd, UIDLIST_LOCK_SECONDS) < 0)
			return -1;
		switch (lock_look(u->fd, u->md->dir, UIDLIST_FILE)) {
		case LOCK_IN_PLACE:
			return 0;
		case LOCK_LINKED:
			*replaced_r = true;
			return lock_part_links(u->store, &u->fd, u->md->tmp,
			    u->md->dir, UIDLIST_FILE);
		case LOCK_REPLACED:
			break;
		}
		unlock_file(u->fd);
		sys_close(u->fd);
		*replaced_r = true;
		if ((u->fd = open_file(u)) < 0)
			return -1;
	}
	errno = EAGAIN;
	return -1;
}

static int reload(struct uidlist *u)
{
	struct uidlist n;
	int rc = -1;

	init(&n, u->store, u->md);
	n.fd = u->fd;
	if (load(&n) == 0) {
		if (n.validity == u->validity)
			rc = merge(u, &n);
		else
			errno = ENOENT;
	} else if (errno == EBADMSG) {
		errno = ENOENT;
	}
	n.fd = -1;
	fini(&n);
	return rc;
}

static int read_tail(struct uidlist *u)
{
	struct stat st;
	size_t from;
	bool damaged;

	if (fstat(u->fd, &st) < 0)
		return -1;
	if (st.st_size == u->end)
		return 0;
	if (st.st_size < u->end)	/* somebody else's doing */
		return reload(u);
	if (read_more(u, st.st_size, &from) < 0 ||
	    take_in(u, from, &damaged) < 0)
		return -1;
	/* As in load(). */
	return uidlines_told(u, from) ? sys_fdatasync(u->fd) : 0;
}

static int gone(struct uidlist *u, const char **why_r)
{
	u->stale = true;
	return store_fail(why_r, ENOENT, "The mailbox was deleted");
}

int uidlist_lock(struct uidlist *u, const char **why_r)
{
	bool replaced;

	if (u->stale)
		return gone(u, why_r);
	if (lock_in_place(u, &replaced) < 0) {
		if (errno == ENOENT || u->fd < 0)
			return gone(u, why_r);
		return store_fail_errno(why_r, "The mailbox is not available");
	}
	u->locked = true;
	if ((replaced ? reload(u) : read_tail(u)) == 0)
		return 0;
	uidlist_unlock(u);
	if (errno == ENOENT)
		return gone(u, why_r);
	/* Memory and file may differ now; no number of it is to be used. */
	u->stale = true;
	return store_fail_errno(why_r, "The uid list cannot be read");
}

void uidlist_unlock(struct uidlist *u)
{
	if (u->locked && u->fd >= 0)
		unlock_file(u->fd);
	u->locked = false;
}

bool uidlist_is_current(const struct uidlist *u)
{
	struct stat st;

	return u->stale || (fstat(u->fd, &st) == 0 && st.st_nlink > 0 &&
	    st.st_size == u->end);
}

/* Puts a file aside whose first line is damaged: a new list is begun. */
static int put_aside(struct uidlist *u)
{
	log_warn("store: %s is damaged; it is kept as %s.damaged and a new "
	    "one is begun", UIDLIST_FILE, UIDLIST_FILE);
	if (sys_renameat(u->md->dir, UIDLIST_FILE, u->md->dir,
	    UIDLIST_FILE ".damaged") < 0)
		return -1;
	sys_close(u->fd);
	u->fd = -1;
	return 0;
}

static int load_part(struct uidlist *u, enum uidlist_part part)
{
	int rc = 1;

	if (part == UIDLIST_END && (rc = load_end(u)) > 0)
		forget(u);
	return rc > 0 ? load(u) : rc;
}

static int open_and_load(struct uidlist *u, enum uidlist_part part,
    const char **why_r)
{
	bool replaced;

	for (int tries = 0; tries < 4; tries++) {
		if (u->fd < 0 && (u->fd = open_file(u)) < 0) {
			if (errno != ENOENT)
				break;
			if (create(u, why_r) < 0)
				return -1;
			continue;
		}
		if (lock_in_place(u, &replaced) < 0) {
			if (u->fd < 0 && errno == ENOENT)
				continue;
			break;
		}
		u->locked = true;
		if (load_part(u, part) == 0)
			return 0;
		if (errno != EBADMSG || put_aside(u) < 0)
			break;
		u->locked = false;
		buf_reset(&u->text);
	}
	return store_fail_errno(why_r, "The uid list cannot be read");
}

uint32_t uidlist_peek_validity(int dir)
{
	struct maildir md = { .dir = dir };
	struct uidlist u;
	char line[128];
	ssize_t n;
	size_t at = 0;
	uint32_t validity = 0;

	init(&u, NULL, &md);
	if ((u.fd = open_file(&u)) >= 0 &&
	    (n = sys_pread_full(u.fd, line, sizeof(line), 0)) > 0 &&
	    buf_append_n(&u.text, line, (size_t)n) == 0 &&
	    uidlines_take_head(&u, &at) == 0)
		validity = u.validity;
	fini(&u);
	return validity;
}

int uidlist_open(const struct store *s, const struct maildir *md,
    enum uidlist_part part, struct uidlist **list_r, const char **why_r)
{
	struct uidlist *u = malloc(sizeof(*u));

	if (u == NULL)
		return store_fail_errno(why_r, "");
	init(u, s, md);
	if (open_and_load(u, part, why_r) < 0) {
		fini(u);
		free(u);
		return -1;
	}
	*list_r = u;
	return 0;
}

void uidlist_close(struct uidlist **list)
{
	if (*list == NULL)
		return;
	fini(*list);
	free(*list);
	*list = NULL;
}

bool uidlist_is_full(int err)
{
	return err == ENOSPC || err == EDQUOT || err == EFBIG ||
	    err == EROFS;
}

size_t uidlist_find(const struct uidlist *u, uint32_t uid)
{
	size_t low = 0, high = u->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (u->list[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

ssize_t uidlist_index_of(const struct uidlist *u, uint32_t uid)
{
	size_t i = uidlist_find(u, uid);

	return i < u->count && u->list[i].uid == uid ? (ssize_t)i : -1;
}

/* Moves pending lines behind the text and applies them as our own. */
static int take_pending(struct uidlist *u, unsigned how)
{
	size_t from = u->text.n;
	struct uidlines_result r;

	if (buf_append(&u->text, buf_str(&u->pending)) < 0) {
		u->text.failed = false;
		errno = ENOMEM;
		return -1;
	}
	r = uidlines_apply(u, from, !(how & UIDLIST_FOREIGN));
	buf_shrink(&u->pending, 64 * 1024);
	if (r.no_memory)
		errno = ENOMEM;
	return r.no_memory ? -1 : 0;
}

int uidlist_flush(struct uidlist *u, unsigned how)
{
	size_t n = u->pending.n;

	if (u->pending.failed) {
		errno = ENOMEM;
		return -1;
	}
	if (n == 0)
		return 0;
	if (sys_pwrite_all(u->fd, u->pending.p, n, u->end) < 0 ||
	    (how & UIDLIST_SYNC && sys_fsync(u->fd) < 0)) {
		int err = errno;

		/* Nobody has read it: we hold the lock. */
		if (sys_ftruncate(u->fd, u->end) < 0)
			log_warn("store: %s cannot be cut back", UIDLIST_FILE);
		errno = err;
		return -1;
	}
	u->end += (off_t)n;
	if (take_pending(u, how) < 0) {
		u->stale = true;
		return -1;
	}
	return 0;
}

void uidlist_apply_unwritten(struct uidlist *u, unsigned how)
{
	if (u->pending.failed || take_pending(u, how) < 0)
		u->stale = true;
	u->behind = true;
	uidlist_drop(u);
}

int uidlist_flush_or_keep(struct uidlist *u, unsigned how)
{
	if (uidlist_flush(u, how) == 0)
		return 0;
	if (!uidlist_is_full(errno) || u->pending.failed) {
		uidlist_drop(u);
		return -1;
	}
	uidlist_apply_unwritten(u, how);
	return 0;
}

void uidlist_drop(struct uidlist *u)
{
	buf_reset(&u->pending);
}

/* All that is worth keeping, as lines of the new list. */
static void put_all(struct uidlist *n, const struct uidlist *u)
{
	uidlines_put_head(n);
	for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
		if (u->keywords[k][0] != '\0')
			uidlist_put_keyword(n, k, str_of(u->keywords[k]));
	for (size_t i = 0; i < u->count; i++) {
		const struct uidlist_message *m = &u->list[i];

		if (!(m->flags & MAILBOX_GONE))
			uidlist_put_add(n, m->uid, m->flags & UIDLIST_IN_NEW,
			    m->flags & UIDLIST_BORN_RECENT, m->date, m->wire,
			    uidlist_name(u, m));
	}
	n->cur = u->cur;
	n->fresh = u->fresh;
	uidlist_put_state(n);
}

/*
 * The new file is locked before it has the name, so that those who waited
 * for the old one wait on.
 */
static int replace_file(struct uidlist *u, struct uidlist *n)
{
	char tmp[MAILDIR_NAME_MAX + 1];

	if (n->pending.failed) {
		errno = ENOMEM;
		return -1;
	}
	n->fd = write_tmp(n, buf_str(&n->pending), tmp, sizeof(tmp));
	if (n->fd < 0)
		return -1;
	if (lock_file(n->fd, 0) < 0 || load(n) < 0 ||
	    sys_renameat(u->md->tmp, tmp, u->md->dir, UIDLIST_FILE) < 0) {
		int err = errno;

		sys_unlinkat(u->md->tmp, tmp);
		errno = err;
		return -1;
	}
	sys_close(u->fd);
	u->fd = n->fd;
	n->fd = -1;
	return 0;
}

static int rewrite(struct uidlist *u, uint32_t validity)
{
	struct uidlist n;
	int rc = -1;

	init(&n, u->store, u->md);
	n.validity = validity;
	n.uidnext = u->uidnext;
	n.claimed = u->claimed;
	if (new_nonce(&n.nonce) == 0) {
		put_all(&n, u);
		rc = replace_file(u, &n);
	}
	if (rc == 0) {
		u->validity = validity;
		if (merge(u, &n) < 0)
			u->stale = true;
		rc = sys_fsync(u->md->dir);
	}
	fini(&n);
	return rc;
}

void uidlist_compact_if_due(struct uidlist *u)
{
	if (u->partial)
		return;
	if (!u->behind && (u->garbage < COMPACT_MIN ||
	    u->garbage < (size_t)u->end / 2))
		return;
	u->garbage = 0;		/* after a failure not at once again */
	if (rewrite(u, u->validity) == 0)
		u->behind = false;
	else
		log_debug("store: %s is not compacted", UIDLIST_FILE);
}

int uidlist_set_validity(struct uidlist *u, uint32_t validity)
{
	return rewrite(u, validity);
}
