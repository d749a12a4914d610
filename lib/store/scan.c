/*
 * scan.c - what is in new/ and cur/, compared with the list
 *
 * A directory whose change time (st_ctime; unlike st_mtime nobody can set
 * it back) is the one at the last look needs no reading, if that look came
 * later than the clock's grain after the change. Otherwise something may
 * have happened in the same tick, after the look, and it is read again.
 *
 * readdir(3) may miss a file that is renamed meanwhile. new/ is read before
 * cur/, so a message on its way is seen at least once; and nothing counts as
 * removed until a directory was read without a change meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/scan.h"

#define NS INT64_C(1000000000)
/* The kernel stamps changes once a tick (at most 10 ms); a file system
 * that keeps whole seconds may have two-second steps. */
#define GRAIN_FINE (50 * (NS / 1000))
#define GRAIN_COARSE (2 * NS)
#define ROUNDS_MAX 4
#define SEARCHES_MAX 8
#define FRESH_NAMES_MAX ((size_t)1 << 30)

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS + ts.tv_nsec;
}

static int64_t ctime_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return 0;
	return st.st_ctim.tv_sec * NS + st.st_ctim.tv_nsec;
}

static int64_t grain_of(int64_t ctime)
{
	return ctime % NS != 0 ? GRAIN_FINE : GRAIN_COARSE;
}

/* Must a directory with this change time be read? */
static bool must_read(const struct uidlist_dir *known, int64_t ctime)
{
	int64_t grain = grain_of(ctime), now;

	if (ctime == 0 || ctime != known->ctime)
		return true;
	if (known->at - ctime > grain)
		return false;
	/* After our own change: what another did in the same tick is found
	 * when the tick is over, not by reading at each of our changes. */
	now = now_ns();
	return !known->own || now - ctime > grain || now < ctime - grain;
}

bool scan_is_due(const struct uidlist *u)
{
	return must_read(&u->fresh, ctime_of(u->md->fresh)) ||
	    must_read(&u->cur, ctime_of(u->md->cur));
}

/* A message that is not in the list. */
struct found {
	struct str name;
	int64_t seconds, micros;
	bool in_new;
	bool type_unknown;
};

struct scanner {
	struct uidlist *u;
	struct arena *arena;
	uint32_t *table;	/* index + 1 of a message, by its base */
	size_t mask;
	unsigned char *seen;	/* a bit a message */
	unsigned searched;
	struct found *found;
	size_t found_count, found_room;
};

static bool is_seen(const struct scanner *s, size_t i)
{
	return s->seen[i / 8] >> (i % 8) & 1;
}

static struct str base_of(const struct uidlist *u, size_t i)
{
	return str_n(u->text.p + u->list[i].name_at, u->list[i].base_len);
}

static int scanner_init(struct scanner *s, struct uidlist *u)
{
	*s = (struct scanner){ .u = u };
	s->seen = calloc(u->count / 8 + 1, 1);
	s->arena = arena_new(FRESH_NAMES_MAX);
	if (s->seen != NULL && s->arena != NULL)
		return 0;
	errno = ENOMEM;
	return -1;
}

/* Without memory the search stays slow. */
static void make_table(struct scanner *s)
{
	struct uidlist *u = s->u;
	size_t size = 64;

	while (size < u->count * 2)
		size *= 2;
	s->mask = size - 1;
	if ((s->table = calloc(size, sizeof(*s->table))) == NULL)
		return;
	for (size_t i = 0; i < u->count; i++) {
		size_t at;

		if (u->list[i].flags & MAILBOX_GONE)
			continue;
		at = str_hash(base_of(u, i)) & s->mask;
		while (s->table[at] != 0)
			at = (at + 1) & s->mask;
		s->table[at] = (uint32_t)i + 1;
	}
}

static void scanner_fini(struct scanner *s)
{
	int err = errno;

	free(s->table);
	free(s->seen);
	free(s->found);
	arena_free(&s->arena);
	errno = err;
}

static ssize_t search(const struct scanner *s, struct str base)
{
	const struct uidlist *u = s->u;

	for (size_t i = u->count; i-- > 0; )
		if (u->list[i].base_len == base.n &&
		    !(u->list[i].flags & MAILBOX_GONE) &&
		    memcmp(u->text.p + u->list[i].name_at, base.p,
		    base.n) == 0)
			return (ssize_t)i;
	return -1;
}

/* The message with this base, or -1. A table for a few files in new/ would
 * cost more than it saves. */
static ssize_t look_up(struct scanner *s, struct str base)
{
	size_t at;

	if (s->table == NULL && s->searched++ == SEARCHES_MAX)
		make_table(s);
	if (s->table == NULL)
		return search(s, base);
	at = str_hash(base) & s->mask;
	for (; s->table[at] != 0; at = (at + 1) & s->mask)
		if (str_eq(base_of(s->u, s->table[at] - 1), base))
			return (ssize_t)s->table[at] - 1;
	return -1;
}

static bool exists(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int on_found(struct scanner *s, struct str name, bool in_new,
    bool type_unknown)
{
	struct maildir_name parsed;
	struct found *f;

	if (s->found_count == s->found_room) {
		size_t room = s->found_room == 0 ? 64 : s->found_room * 2;
		void *p = realloc(s->found, room * sizeof(*s->found));

		if (p == NULL)
			return -1;
		s->found = p;
		s->found_room = room;
	}
	maildir_name_parse(name, &parsed);
	f = &s->found[s->found_count];
	*f = (struct found){ arena_str(s->arena, name), parsed.seconds,
		parsed.micros, in_new, type_unknown };
	if (f->name.p == NULL) {
		errno = ENOMEM;
		return -1;
	}
	s->found_count++;
	return 0;
}

/*
 * A second file with the base of a message that has its file: another
 * program copied it. It becomes a message of its own.
 */
static int on_twin(struct scanner *s, int dir, const char *name, bool in_new)
{
	struct uidlist *u = s->u;
	char base[MAILDIR_NAME_MAX + 1], full[MAILDIR_NAME_MAX + 1];
	uint32_t flags, letters;

	maildir_unique(u->store, base, sizeof(base));
	maildir_name_flags(str_of(name), &flags, &letters);
	if (maildir_name_build(str_of(base), flags, letters, full) < 0)
		return 0;
	log_info("store: %s is there twice; the second is now %s", name, base);
	if (maildir_rename_new(dir, name, dir, in_new ? base : full) == 0)
		return on_found(s, str_of(in_new ? base : full), in_new,
		    false);
	if (errno != ENOENT)
		log_warn("store: %s cannot be renamed", name);
	return 0;
}

/* Two names of one file? */
static bool are_one(const struct maildir *md, const char *in_cur,
    const char *in_new)
{
	struct stat a, b;

	return fstatat(md->cur, in_cur, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
	    fstatat(md->fresh, in_new, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(a.st_mode) && a.st_nlink > 1 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino;
}

/*
 * A power cut can leave a message in new/ and in cur/: btrfs keeps a rename
 * between directories whole only when both were synced. That in new/ goes.
 * The link in tmp/ is for another program that renames the one in cur/ just
 * now: whatever happens, the message keeps a name.
 */
static void finish_rename(const struct uidlist *u, const char *in_cur,
    const char *in_new)
{
	const struct maildir *md = u->md;
	char safe[MAILDIR_NAME_MAX + 1];

	maildir_unique(u->store, safe, sizeof(safe));
	if (sys_linkat(md->cur, in_cur, md->tmp, safe) < 0)
		return; /* the next look may */
	sys_unlinkat(md->fresh, in_new);
	if (exists(md->cur, in_cur) ||
	    maildir_rename_new(md->tmp, safe, md->fresh, in_new) < 0)
		sys_unlinkat(md->tmp, safe);
}

static int on_known(struct scanner *s, size_t i, int dir, const char *name,
    size_t n, bool in_new)
{
	struct uidlist *u = s->u;
	struct uidlist_message *m = &u->list[i];
	bool was_new = m->flags & UIDLIST_IN_NEW;
	struct str old = uidlist_name(u, m);

	if (in_new != was_new && are_one(u->md, in_new ? old.p : name,
	    in_new ? name : old.p)) {
		finish_rename(u, in_new ? old.p : name, in_new ? name
		    : old.p);
		if (in_new)
			return 0;
		uidlist_put_name(u, m->uid, false, str_n(name, n));
	} else if (in_new != was_new || !str_eq(old, str_n(name, n))) {
		/* Renamed, then the old name is gone (and if this is the
		 * second new one, the last counts until the next look). */
		if (exists(was_new ? u->md->fresh : u->md->cur, old.p))
			return exists(dir, name)
			    ? on_twin(s, dir, name, in_new) : 0;
		uidlist_put_name(u, m->uid, in_new, str_n(name, n));
	}
	s->seen[i / 8] |= (unsigned char)(1 << (i % 8));
	return 0;
}

static int read_dir(struct scanner *s, int dir, bool in_new)
{
	int fd = sys_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *e;
	int rc = 0;
	DIR *d;

	if (fd < 0)
		return -1;
	if ((d = fdopendir(fd)) == NULL) {
		sys_close(fd);
		return -1;
	}
	while (rc == 0 && (errno = 0, e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);
		ssize_t i;

		if ((e->d_type != DT_REG && e->d_type != DT_UNKNOWN) ||
		    !maildir_name_is_ok(e->d_name, n))
			continue;
		i = look_up(s, str_n(e->d_name,
		    maildir_base_len(str_n(e->d_name, n))));
		rc = i >= 0 ? on_known(s, (size_t)i, dir, e->d_name, n, in_new)
		    : on_found(s, str_n(e->d_name, n), in_new,
		    e->d_type == DT_UNKNOWN);
	}
	if (rc == 0 && errno != 0)
		rc = -1;
	closedir(d);
	return rc;
}

/* By arrival; for equal bases (seen in new/ and again in cur/) cur/ first. */
static int compare_found(const void *a, const void *b)
{
	const struct found *f = a, *g = b;
	struct str fb = str_n(f->name.p, maildir_base_len(f->name));
	struct str gb = str_n(g->name.p, maildir_base_len(g->name));
	int c;

	if (f->seconds != g->seconds)
		return f->seconds < g->seconds ? -1 : 1;
	if (f->micros != g->micros)
		return f->micros < g->micros ? -1 : 1;
	if ((c = str_cmp(fb, gb)) != 0)
		return c;
	return (int)f->in_new - (int)g->in_new;
}

static bool same_base(const struct found *f, const struct found *g)
{
	return str_eq(str_n(f->name.p, maildir_base_len(f->name)),
	    str_n(g->name.p, maildir_base_len(g->name)));
}

/* Some file systems do not tell the type in the directory. */
static bool is_file(const struct uidlist *u, const struct found *f)
{
	struct stat st;

	return fstatat(f->in_new ? u->md->fresh : u->md->cur, f->name.p, &st,
	    AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static void put_found(struct scanner *s)
{
	struct uidlist *u = s->u;
	uint32_t uid = u->uidnext;

	if (s->found_count > 0)
		qsort(s->found, s->found_count, sizeof(*s->found),
		    compare_found);
	for (size_t i = 0; i < s->found_count; i++) {
		struct found *f = &s->found[i];

		if (uid >= UINT32_MAX - 1 ||
		    (i > 0 && same_base(f, f - 1)) ||
		    (f->type_unknown && !is_file(u, f)))
			continue;
		uidlist_put_add(u, uid++, f->in_new, f->in_new,
		    UIDLIST_UNKNOWN, UIDLIST_UNKNOWN, f->name);
	}
}

/* The uids of messages that no directory held. */
static int missing(struct scanner *s, uint32_t **uids_r, size_t *n_r)
{
	struct uidlist *u = s->u;
	size_t n = 0;

	*uids_r = NULL;
	for (size_t i = 0; i < u->count; i++)
		n += !(u->list[i].flags & MAILBOX_GONE) && !is_seen(s, i);
	if ((*n_r = n) == 0)
		return 0;
	if ((*uids_r = malloc(n * sizeof(**uids_r))) == NULL)
		return -1;
	n = 0;
	for (size_t i = 0; i < u->count; i++)
		if (!(u->list[i].flags & MAILBOX_GONE) && !is_seen(s, i))
			(*uids_r)[n++] = u->list[i].uid;
	return 0;
}

/* Messages of cur/ count as seen when only new/ is read. */
static void see_cur(struct scanner *s)
{
	for (size_t i = 0; i < s->u->count; i++)
		if (!(s->u->list[i].flags & UIDLIST_IN_NEW))
			s->seen[i / 8] |= (unsigned char)(1 << (i % 8));
}

struct look {
	int64_t at, fresh, cur;
	bool read_cur;
};

/* One reading; what it shows is put, but nothing is flushed. */
static int read_once(struct scanner *s, struct look *l)
{
	struct uidlist *u = s->u;

	l->at = now_ns();
	l->fresh = ctime_of(u->md->fresh);
	if (read_dir(s, u->md->fresh, true) < 0)
		return -1;
	l->cur = ctime_of(u->md->cur);
	if (!l->read_cur && !must_read(&u->cur, l->cur)) {
		see_cur(s);
		return 0;
	}
	l->read_cur = true;
	return read_dir(s, u->md->cur, false);
}

/* Nothing was renamed while we read? */
static bool was_quiet(const struct uidlist *u, const struct look *l)
{
	return ctime_of(u->md->fresh) == l->fresh &&
	    ctime_of(u->md->cur) == l->cur;
}

static void note_state(struct uidlist *u, const struct look *l)
{
	bool settled;

	u->fresh = (struct uidlist_dir){ l->fresh, l->at, false };
	if (l->read_cur)
		u->cur = (struct uidlist_dir){ l->cur, l->at, false };
	settled = u->fresh.at - u->fresh.ctime > grain_of(u->fresh.ctime) &&
	    u->cur.at - u->cur.ctime > grain_of(u->cur.ctime);
	if (!settled)
		return;
	uidlist_put_state(u);
	/* Only saves the next one a reading. */
	if (uidlist_flush(u, UIDLIST_PLAIN) < 0)
		uidlist_drop(u);
}

/*
 * Writes what a reading showed. When there is no room, what vanished and
 * changed is taken over in memory and new messages wait.
 */
static int write_down(struct scanner *s, const uint32_t *gone, size_t n)
{
	struct uidlist *u = s->u;
	const struct uidlist_dir cur = u->cur;
	size_t before;
	unsigned how = UIDLIST_FOREIGN;

	if (n > 0)
		uidlist_put_removed(u, gone, n);
	before = u->pending.n;
	put_found(s);
	if (u->pending.n > before)
		how |= UIDLIST_SYNC;
	u->unwritten = false;
	if (uidlist_flush(u, how) == 0) {
		u->cur = cur;	/* may not have been read this time */
		return 0;
	}
	if (!uidlist_is_full(errno) || u->pending.failed) {
		uidlist_drop(u);
		return -1;
	}
	log_warn("store: no room for the uid list");
	u->unwritten = s->found_count > 0;
	buf_truncate(&u->pending, before);
	uidlist_apply_unwritten(u, how);
	return 0;
}

static int scan_round(struct uidlist *u, bool read_cur, bool last,
    bool *again_r)
{
	struct scanner s;
	struct look l = { .read_cur = read_cur };
	uint32_t *gone = NULL;
	size_t n = 0;
	int rc = -1;

	*again_r = false;
	if (scanner_init(&s, u) < 0 || read_once(&s, &l) < 0 ||
	    missing(&s, &gone, &n) < 0)
		goto out;
	if (n > 0 && !last && (!l.read_cur || !was_quiet(u, &l))) {
		*again_r = true;
		uidlist_drop(u);
		rc = 0;
		goto out;
	}
	rc = write_down(&s, gone, n);
	if (rc == 0 && !u->unwritten)
		note_state(u, &l);
	else
		u->fresh.ctime = u->cur.ctime = 0;
out:
	free(gone);
	scanner_fini(&s);
	return rc;
}

int scan(struct uidlist *u, bool force, const char **why_r)
{
	bool read_cur = force || must_read(&u->cur, ctime_of(u->md->cur));
	bool again = true;

	if (!read_cur && !must_read(&u->fresh, ctime_of(u->md->fresh))) {
		if (u->behind)
			uidlist_compact_if_due(u);
		return 0;
	}
	for (int i = 0; again && i < ROUNDS_MAX; i++) {
		if (scan_round(u, read_cur, i == ROUNDS_MAX - 1, &again) < 0) {
			uidlist_drop(u);
			return store_fail_errno(why_r,
			    "The mailbox cannot be read");
		}
		read_cur = true;
	}
	uidlist_compact_if_due(u);
	return 0;
}

void scan_own_begin(const struct uidlist *u, struct scan_own *o)
{
	o->cur_known = u->cur.ctime != 0 &&
	    ctime_of(u->md->cur) == u->cur.ctime;
	o->fresh_known = u->fresh.ctime != 0 &&
	    ctime_of(u->md->fresh) == u->fresh.ctime;
}

static void own_changed(struct uidlist_dir *d, bool known, int64_t ctime)
{
	if (!known)
		d->ctime = 0;
	else if (d->ctime != ctime)
		*d = (struct uidlist_dir){ ctime, 0, true };
}

void scan_own_end(struct uidlist *u, const struct scan_own *o)
{
	own_changed(&u->cur, o->cur_known, ctime_of(u->md->cur));
	own_changed(&u->fresh, o->fresh_known, ctime_of(u->md->fresh));
	uidlist_put_state(u);
}

int scan_move_new(struct uidlist *u, const char **why_r)
{
	struct scan_own own;
	char name[MAILDIR_NAME_MAX + 1];
	bool any = false;

	scan_own_begin(u, &own);
	for (size_t i = 0; i < u->count; i++) {
		const struct uidlist_message *m = &u->list[i];
		struct str old = uidlist_name(u, m);

		if (!(m->flags & UIDLIST_IN_NEW) || m->flags & MAILBOX_GONE)
			continue;
		if (maildir_name_build(old, m->flags, m->letters, name) < 0)
			continue;
		/* Gone: the next scan tells. No room: it stays where it is. */
		if (sys_renameat(u->md->fresh, old.p, u->md->cur, name) < 0) {
			if (errno == ENOENT)
				own.fresh_known = false;
			continue;
		}
		uidlist_put_name(u, m->uid, false, str_of(name));
		any = true;
	}
	if (!any)
		return 0;
	scan_own_end(u, &own);
	if (uidlist_flush_or_keep(u, UIDLIST_PLAIN) < 0)
		return store_fail_errno(why_r,
		    "The uid list cannot be written");
	return 0;
}
