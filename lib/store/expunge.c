/* expunge.c - EXPUNGE, and DELE at QUIT */
#include <errno.h>
#include <stdlib.h>
#include "base/sys.h"
#include "store/dirsync.h"
#include "store/mailbox_int.h"

/* What is to be unlinked, noted while the list still has the names. */
struct victims {
	uint32_t *uids;
	size_t *at;	/* index in the list */
	size_t n;
};

static int choose(const struct mailbox *mb, const uint32_t *seqs, size_t n,
    bool only_deleted, struct victims *v)
{
	v->uids = malloc((n + 1) * sizeof(*v->uids));
	v->at = malloc((n + 1) * sizeof(*v->at));
	v->n = 0;
	if (v->uids == NULL || v->at == NULL)
		return -1;
	for (size_t k = 0; k < n; k++) {
		ssize_t i = mailbox_index(mb, seqs[k]);
		const struct uidlist_message *m;

		if (i < 0)
			continue;
		m = &mb->list->list[i];
		if (only_deleted && !(m->flags & MAILBOX_DELETED))
			continue;
		/* Ascending and once, as the list's line wants them. */
		if (v->n > 0 && m->uid <= v->uids[v->n - 1])
			continue;
		v->uids[v->n] = m->uid;
		v->at[v->n++] = (size_t)i;
	}
	return 0;
}

/* 0, or the errno of what could not be removed. */
static int unlink_all(const struct mailbox *mb, const struct victims *v)
{
	bool cur = false, fresh = false;
	int err = 0;

	for (size_t k = 0; k < v->n; k++) {
		const struct uidlist_message *m = &mb->list->list[v->at[k]];

		if (m->flags & UIDLIST_IN_NEW)
			fresh = true;
		else
			cur = true;
		/* A name that another program changed in this moment is a new
		 * message to the next scan; better twice than lost. */
		if (sys_unlinkat(mailbox_dir_of(mb, m),
		    uidlist_name(mb->list, m).p) < 0 && errno != ENOENT)
			err = errno;
	}
	if (cur && dirsync(mb->md.cur) < 0)
		err = errno;
	if (fresh && dirsync(mb->md.fresh) < 0)
		err = errno;
	return err;
}

/*
 * The list first: when it cannot be written nothing is removed, but for a
 * full disk, where removing is the way out. A crash between the two leaves
 * files that come back as new messages; nobody was told that they are gone.
 */
static int remove_locked(struct mailbox *mb, const struct victims *v,
    const char **why_r)
{
	struct scan_own own;
	int err;

	uidlist_put_removed(mb->list, v->uids, v->n);
	if (uidlist_flush_or_keep(mb->list, UIDLIST_SYNC) < 0)
		return store_fail_errno(why_r,
		    "The messages cannot be removed");
	scan_own_begin(mb->list, &own);
	err = unlink_all(mb, v);
	if (err != 0)	/* files may be there that the list lacks */
		own = (struct scan_own){ false, false };
	scan_own_end(mb->list, &own);
	uidlist_flush_or_keep(mb->list, UIDLIST_PLAIN);
	uidlist_compact_if_due(mb->list);
	if (err == 0)
		return 0;
	errno = err;
	return store_fail_errno(why_r, "The messages cannot be removed");
}

int mailbox_expunge(struct mailbox *mb, const uint32_t *seqs, size_t n,
    bool only_deleted, const char **why_r)
{
	struct victims v = { .n = 0 };
	int rc = 0;

	if (mb->mode == MAILBOX_READONLY)
		return store_fail(why_r, EROFS, "The mailbox is read-only");
	if (mailbox_lock_and_scan(mb, false, why_r) < 0)
		return -1;
	if (choose(mb, seqs, n, only_deleted, &v) < 0)
		rc = store_fail_errno(why_r, "");
	else if (v.n > 0)
		rc = remove_locked(mb, &v, why_r);
	uidlist_unlock(mb->list);
	free(v.uids);
	free(v.at);
	return rc;
}
