/* copy.c - COPY and MOVE within one user's store */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/sys.h"
#include "store/mailbox_int.h"
#include "store/place.h"

#define COPY_MEMORY_MAX ((size_t)1 << 30)
#define CHUNK ((size_t)64 * 1024)

struct copying {
	struct mailbox *from;
	struct maildir to;
	struct arena *arena;
	struct place_item *items;
	size_t n;
};

/* Octet by octet, where a link is not possible. */
static int copy_content(int in, int out)
{
	char *chunk = malloc(CHUNK);
	struct stat st;
	off_t at = 0;
	ssize_t n = -1;

	if (chunk == NULL)
		return -1;
	while ((n = sys_pread_full(in, chunk, CHUNK, at)) > 0) {
		if (sys_write_all(out, chunk, (size_t)n) < 0) {
			n = -1;
			break;
		}
		at += n;
	}
	free(chunk);
	if (n < 0 || fstat(in, &st) < 0)
		return -1;
	/* INTERNALDATE goes with the message (RFC 3501 6.4.7). */
	if (futimens(out, (struct timespec[2]){ st.st_atim, st.st_mtim }) < 0)
		return -1;
	return sys_fsync(out);
}

static int copy_file(struct copying *c, uint32_t seq, const char *tmp)
{
	int in = mailbox_open_file(c->from, seq, NULL);
	int out, rc;

	if (in < 0)
		return -1;
	out = sys_openat(c->to.tmp, tmp,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (out < 0) {
		sys_close(in);
		return -1;
	}
	rc = copy_content(in, out);
	if (rc < 0) {
		int err = errno;

		sys_unlinkat(c->to.tmp, tmp);
		errno = err;
	}
	sys_close(in);
	sys_close(out);
	return rc;
}

/* A link to the same file: it is never written again. */
static int link_file(struct copying *c, uint32_t seq, const char *tmp)
{
	for (int tries = 0; tries < 3; tries++) {
		ssize_t i = mailbox_index(c->from, seq);
		const struct uidlist_message *m;

		if (i < 0)
			return -1;
		m = &c->from->list->list[i];
		if (sys_linkat(mailbox_dir_of(c->from, m),
		    uidlist_name(c->from->list, m).p, c->to.tmp, tmp) == 0)
			return 0;
		switch (errno) {
		case ENOENT:
			if (c->from->list->stale ||
			    mailbox_look_again(c->from, NULL) < 0)
				return -1;
			break;
		case EXDEV: case EMLINK: case EPERM: case EOPNOTSUPP:
		case ENOSYS: case EACCES:
			return copy_file(c, seq, tmp);
		default:
			return -1;
		}
	}
	errno = ENOENT;
	return -1;
}

/* A new base with the old one's sizes. */
static struct str new_base(const struct copying *c, struct str old)
{
	char unique[MAILDIR_NAME_MAX + 1];
	struct maildir_name name;

	maildir_unique(c->from->store, unique, sizeof(unique));
	maildir_name_parse(old, &name);
	if (name.size >= 0 && name.wire >= 0)
		return arena_printf(c->arena, "%s,S=%lld,W=%lld", unique,
		    (long long)name.size, (long long)name.wire);
	if (name.size >= 0)
		return arena_printf(c->arena, "%s,S=%lld", unique,
		    (long long)name.size);
	return arena_str(c->arena, str_of(unique));
}

static int add_item(struct copying *c, uint32_t seq)
{
	struct place_item *it = &c->items[c->n];
	ssize_t i = mailbox_index(c->from, seq);
	const struct uidlist_message *m;

	if (i < 0) {
		errno = ESTALE;
		return -1;
	}
	it->base = new_base(c, uidlist_name(c->from->list,
	    &c->from->list->list[i]));
	it->tmp = it->base;
	if (it->base.p == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (link_file(c, seq, it->tmp.p) < 0) {
		if (errno == ENOENT)
			errno = ESTALE;
		return -1;
	}
	m = &c->from->list->list[i];
	it->flags = m->flags & MAILBOX_STORED_FLAGS;
	it->keywords = m->letters & c->from->list->named;
	it->date = m->date;
	it->wire = m->wire >= 0 ? m->wire : UIDLIST_UNKNOWN;
	c->n++;
	return 0;
}

static void undo(struct copying *c)
{
	int err = errno;

	for (size_t i = 0; i < c->n; i++)
		sys_unlinkat(c->to.tmp, c->items[i].tmp.p);
	errno = err;
}

static int collect(struct copying *c, const uint32_t *seqs, size_t n,
    const char **why_r)
{
	c->arena = arena_new(COPY_MEMORY_MAX);
	if (c->arena != NULL)
		c->items = arena_array(c->arena, n + 1, sizeof(*c->items));
	if (c->items == NULL) {
		errno = ENOMEM;
		return store_fail_errno(why_r, "");
	}
	for (size_t k = 0; k < n; k++) {
		if (add_item(c, seqs[k]) == 0)
			continue;
		undo(c);
		return store_fail_errno(why_r, errno == ESTALE
		    ? "A message was removed" : "A message cannot be copied");
	}
	return 0;
}

int mailbox_copy(struct mailbox *mb, const uint32_t *seqs, size_t n,
    struct str to, struct mailbox_copied *copied, const char **why_r)
{
	struct copying c = { .from = mb };
	struct str names[MAILBOX_KEYWORDS_MAX];
	struct mbname name;
	int rc = -1, err;

	*copied = (struct mailbox_copied){ 0, 0, 0 };
	if (mbname_parse(to, &name, why_r) < 0 ||
	    maildir_open(mb->store, &name, &c.to, why_r) < 0)
		return -1;
	if (collect(&c, seqs, n, why_r) == 0) {
		for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
			names[k] = mailbox_keyword(mb, k);
		rc = place_messages(mb->store, &c.to, c.items, c.n, names,
		    copied, why_r);
	}
	err = errno;
	arena_free(&c.arena);
	maildir_close(&c.to);
	errno = err;
	return rc;
}

int mailbox_move(struct mailbox *mb, const uint32_t *seqs, size_t n,
    struct str to, struct mailbox_copied *copied, const char **why_r)
{
	if (mb->mode == MAILBOX_READONLY)
		return store_fail(why_r, EROFS, "The mailbox is read-only");
	if (mailbox_copy(mb, seqs, n, to, copied, why_r) < 0)
		return -1;
	return mailbox_expunge(mb, seqs, n, false, why_r);
}
