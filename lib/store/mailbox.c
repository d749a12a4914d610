/* mailbox.c - open, refresh, and what a session asks without disk */
#include <errno.h>
#include <stdlib.h>
#include "store/mailbox_int.h"

/* Dates and sizes that were found out are written when so many wait. */
#define INFO_BATCH 500

static void put_info(struct uidlist *u)
{
	if (u->info_count == 0)
		return;
	for (size_t i = 0; i < u->count; i++) {
		struct uidlist_message *m = &u->list[i];

		if (!(m->flags & UIDLIST_INFO))
			continue;
		m->flags &= ~(uint32_t)UIDLIST_INFO;
		if (!(m->flags & MAILBOX_GONE))
			uidlist_put_info(u, m);
	}
	u->info_count = 0;
	if (uidlist_flush(u, UIDLIST_PLAIN) < 0)
		uidlist_drop(u);	/* the next one finds it out again */
}

int mailbox_lock_and_scan(struct mailbox *mb, bool force, const char **why_r)
{
	if (uidlist_lock(mb->list, why_r) < 0)
		return -1;
	put_info(mb->list);
	if (scan(mb->list, force, why_r) == 0)
		return 0;
	uidlist_unlock(mb->list);
	return -1;
}

int mailbox_look_again(struct mailbox *mb, const char **why_r)
{
	if (mailbox_lock_and_scan(mb, true, why_r) < 0)
		return -1;
	uidlist_unlock(mb->list);
	return 0;
}

void mailbox_note_info(struct mailbox *mb, struct uidlist_message *m)
{
	struct uidlist *u = mb->list;

	if (!(m->flags & UIDLIST_INFO))
		u->info_count++;
	m->flags |= UIDLIST_INFO;
	if (u->info_count < INFO_BATCH || u->locked || u->stale ||
	    uidlist_lock(u, NULL) < 0)
		return;
	put_info(u);
	uidlist_unlock(u);
}

/* What came and went since the last time need never be shown. */
static void drop_unseen_gone(struct mailbox *mb)
{
	struct uidlist *u = mb->list;
	size_t to = mb->visible;

	for (size_t i = mb->visible; i < u->count; i++)
		if (!(u->list[i].flags & MAILBOX_GONE))
			u->list[to++] = u->list[i];
	u->count = to;
}

/* RFC 3501 2.3.2: \Recent is for the first session that hears of it. */
static int claim_recent(struct mailbox *mb, const char **why_r)
{
	struct uidlist *u = mb->list;
	uint32_t claimed = u->claimed;
	uint32_t top = claimed;

	for (size_t i = mb->visible; i < u->count; i++) {
		struct uidlist_message *m = &u->list[i];

		m->flags &= ~(uint32_t)MAILBOX_CHANGED;
		if (!(m->flags & UIDLIST_BORN_RECENT) || m->uid <= claimed)
			continue;
		m->flags |= MAILBOX_RECENT;
		mb->recent++;
		top = m->uid;
	}
	if (top == claimed || mb->mode != MAILBOX_READWRITE)
		return 0;
	uidlist_put_claimed(u, top);
	if (uidlist_flush_or_keep(u, UIDLIST_PLAIN) < 0)
		return store_fail_errno(why_r,
		    "The uid list cannot be written");
	return 0;
}

static int take_news(struct mailbox *mb, const char **why_r)
{
	if (mb->mode == MAILBOX_READWRITE &&
	    scan_move_new(mb->list, why_r) < 0)
		return -1;
	drop_unseen_gone(mb);
	if (claim_recent(mb, why_r) < 0)
		return -1;
	mb->visible = mb->list->count;
	return 0;
}

int mailbox_refresh(struct mailbox *mb, const char **why_r)
{
	int rc;

	if (mb->list->stale)
		return store_fail(why_r, ENOENT, "The mailbox was deleted");
	/* An operation may have read news without showing them. */
	if (uidlist_is_current(mb->list) && !scan_is_due(mb->list) &&
	    mb->visible == mb->list->count && !mb->list->unwritten &&
	    !mb->list->behind)
		return 0;
	if (mailbox_lock_and_scan(mb, false, why_r) < 0)
		return -1;
	rc = take_news(mb, why_r);
	uidlist_unlock(mb->list);
	return rc;
}

static int open_list(struct mailbox *mb, const char **why_r)
{
	int rc;

	if (maildir_open(mb->store, &mb->name, &mb->md, why_r) < 0 ||
	    uidlist_open(mb->store, &mb->md, UIDLIST_ALL, &mb->list,
	    why_r) < 0)
		return -1;
	if ((rc = scan(mb->list, false, why_r)) == 0)
		rc = take_news(mb, why_r);
	uidlist_unlock(mb->list);
	return rc;
}

int mailbox_open(struct store *s, struct str name, enum mailbox_mode mode,
    struct mailbox **mailbox_r, const char **why_r)
{
	struct mbname parsed;
	struct mailbox *mb;

	if (mbname_parse(name, &parsed, why_r) < 0)
		return -1;
	if ((mb = calloc(1, sizeof(*mb))) == NULL)
		return store_fail_errno(why_r, "");
	mb->store = s;
	mb->name = parsed;
	mb->mode = mode;
	mb->md = (struct maildir){ -1, -1, -1, -1 };
	if (open_list(mb, why_r) < 0) {
		mailbox_close(&mb);
		return -1;
	}
	if (mode == MAILBOX_READWRITE)
		maildir_clean_tmp(&mb->md);
	*mailbox_r = mb;
	return 0;
}

void mailbox_close(struct mailbox **mailbox)
{
	struct mailbox *mb = *mailbox;
	int err = errno;

	if (mb == NULL)
		return;
	if (mb->list != NULL && mb->list->info_count > 0 &&
	    !mb->list->stale && uidlist_lock(mb->list, NULL) == 0) {
		put_info(mb->list);
		uidlist_unlock(mb->list);
	}
	uidlist_close(&mb->list);
	maildir_close(&mb->md);
	free(mb->scratch);
	free(mb);
	*mailbox = NULL;
	errno = err;
}

uint32_t mailbox_count(const struct mailbox *mb)
{
	return (uint32_t)mb->visible;
}

struct mailbox_message mailbox_get(const struct mailbox *mb, uint32_t seq)
{
	const struct uidlist_message *m = &mb->list->list[seq - 1];

	return (struct mailbox_message){ m->uid,
		m->flags & (MAILBOX_STORED_FLAGS | MAILBOX_RECENT |
		    MAILBOX_GONE | MAILBOX_CHANGED),
		m->letters & mb->list->named };
}

uint32_t mailbox_seq_from(const struct mailbox *mb, uint32_t uid)
{
	size_t i = uidlist_find(mb->list, uid);

	return (uint32_t)(i < mb->visible ? i : mb->visible) + 1;
}

uint32_t mailbox_seq_of(const struct mailbox *mb, uint32_t uid)
{
	uint32_t seq = mailbox_seq_from(mb, uid);

	return seq <= mb->visible && mb->list->list[seq - 1].uid == uid
	    ? seq : 0;
}

uint32_t mailbox_uidvalidity(const struct mailbox *mb)
{
	return mb->list->validity;
}

uint32_t mailbox_uidnext(const struct mailbox *mb)
{
	return mb->list->uidnext;
}

uint32_t mailbox_recent(const struct mailbox *mb)
{
	return mb->recent;
}

uint32_t mailbox_first_unseen(const struct mailbox *mb)
{
	for (size_t i = 0; i < mb->visible; i++)
		if (!(mb->list->list[i].flags & (MAILBOX_SEEN | MAILBOX_GONE)))
			return (uint32_t)i + 1;
	return 0;
}

bool mailbox_is_readonly(const struct mailbox *mb)
{
	return mb->mode == MAILBOX_READONLY;
}

struct str mailbox_name(const struct mailbox *mb)
{
	return str_n(mb->name.name, mb->name.n);
}

bool mailbox_has_gone(const struct mailbox *mb)
{
	if (mb->list->any_gone)
		for (size_t i = 0; i < mb->visible; i++)
			if (mb->list->list[i].flags & MAILBOX_GONE)
				return true;
	return false;
}

bool mailbox_next_changed(struct mailbox *mb, uint32_t *seq)
{
	if (!mb->list->any_changed)
		return false;
	for (size_t i = *seq; i < mb->visible; i++) {
		struct uidlist_message *m = &mb->list->list[i];

		if ((m->flags & (MAILBOX_CHANGED | MAILBOX_GONE)) !=
		    MAILBOX_CHANGED)
			continue;
		m->flags &= ~(uint32_t)MAILBOX_CHANGED;
		*seq = (uint32_t)i + 1;
		return true;
	}
	if (*seq == 0)
		mb->list->any_changed = false;
	*seq = (uint32_t)mb->visible;
	return false;
}

void mailbox_take_expunged(struct mailbox *mb, mailbox_expunged_fn *tell,
    void *ctx)
{
	struct uidlist *u = mb->list;
	size_t to = 0, visible = mb->visible;

	if (!u->any_gone)
		return;
	for (size_t i = 0; i < u->count; i++) {
		struct uidlist_message *m = &u->list[i];

		if (i >= mb->visible || !(m->flags & MAILBOX_GONE)) {
			u->list[to++] = *m;
			continue;
		}
		visible--;
		if (m->flags & MAILBOX_RECENT)
			mb->recent--;
		if (m->flags & UIDLIST_INFO)
			u->info_count--;
		/* RFC 3501 7.4.1: the number counts after those before. */
		if (tell != NULL)
			tell((uint32_t)to + 1, m->uid, ctx);
	}
	u->count = to;
	mb->visible = visible;
	u->any_gone = false;
}

ssize_t mailbox_index(const struct mailbox *mb, uint32_t seq)
{
	if (seq == 0 || seq > mb->visible ||
	    mb->list->list[seq - 1].flags & MAILBOX_GONE) {
		errno = ENOENT;
		return -1;
	}
	return (ssize_t)seq - 1;
}

int mailbox_dir_of(const struct mailbox *mb, const struct uidlist_message *m)
{
	return m->flags & UIDLIST_IN_NEW ? mb->md.fresh : mb->md.cur;
}

struct str mailbox_keyword(const struct mailbox *mb, unsigned bit)
{
	return bit < MAILBOX_KEYWORDS_MAX
	    ? str_of(mb->list->keywords[bit]) : STR_NONE;
}

int mailbox_keyword_find(const struct mailbox *mb, struct str name)
{
	for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
		if (name.n > 0 &&
		    str_eq_nocase_c(name, mb->list->keywords[k]))
			return (int)k;
	return -1;
}
