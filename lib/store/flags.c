/* flags.c - STORE and the keyword table */
#include <errno.h>
#include "base/sys.h"
#include "store/mailbox_int.h"

struct change {
	enum mailbox_how how;
	uint32_t flags, keywords;
};

static void apply_change(const struct change *c, uint32_t named,
    const struct uidlist_message *m, uint32_t *flags_r, uint32_t *letters_r)
{
	uint32_t flags = m->flags & MAILBOX_STORED_FLAGS;
	uint32_t letters = m->letters;

	switch (c->how) {
	case MAILBOX_SET:
		/* Letters without a name are another program's. */
		flags = c->flags;
		letters = (letters & ~named) | c->keywords;
		break;
	case MAILBOX_ADD:
		flags |= c->flags;
		letters |= c->keywords;
		break;
	case MAILBOX_REMOVE:
		flags &= ~c->flags;
		letters &= ~c->keywords;
		break;
	}
	*flags_r = flags;
	*letters_r = letters;
}

enum renamed { DONE, MISSING, FAILED };

static enum renamed change_one(struct mailbox *mb, size_t i,
    const struct change *c)
{
	struct uidlist *u = mb->list;
	const struct uidlist_message *m = &u->list[i];
	struct str old = uidlist_name(u, m);
	char name[MAILDIR_NAME_MAX + 1];
	uint32_t flags, letters;

	if (m->flags & MAILBOX_GONE)
		return DONE;
	apply_change(c, u->named, m, &flags, &letters);
	if (flags == (m->flags & MAILBOX_STORED_FLAGS) &&
	    letters == m->letters)
		return DONE;
	if (maildir_name_build(old, flags, letters, name) < 0)
		return FAILED;
	if (sys_renameat(mailbox_dir_of(mb, m), old.p, mb->md.cur,
	    name) < 0)
		return errno == ENOENT ? MISSING : FAILED;
	uidlist_put_name(u, m->uid, false, str_of(name));
	return DONE;
}

/* The list is locked and current. */
static int change_all(struct mailbox *mb, const uint32_t *seqs, size_t n,
    const struct change *c, const char **why_r)
{
	struct scan_own own;
	bool looked = false;
	int err = 0;

	scan_own_begin(mb->list, &own);
	for (size_t k = 0; k < n && err == 0; k++) {
		enum renamed r;

		if (seqs[k] == 0 || seqs[k] > mb->visible)
			continue;
		r = change_one(mb, seqs[k] - 1, c);
		if (r == MISSING && !looked) {
			/* Another program was faster: once look again. */
			looked = true;
			if (uidlist_flush_or_keep(mb->list,
			    UIDLIST_PLAIN) < 0 ||
			    scan(mb->list, true, why_r) < 0) {
				err = errno;
				break;
			}
			scan_own_begin(mb->list, &own);
			k--;
		} else if (r == FAILED) {
			err = errno;
		}
	}
	scan_own_end(mb->list, &own);
	if (uidlist_flush_or_keep(mb->list, UIDLIST_PLAIN) < 0 && err == 0)
		err = errno;
	if (err == 0)
		return 0;
	errno = err;
	return store_fail_errno(why_r, "The flags cannot be changed");
}

int mailbox_store(struct mailbox *mb, const uint32_t *seqs, size_t n,
    enum mailbox_how how, uint32_t flags, uint32_t keywords,
    const char **why_r)
{
	struct change c = { how, flags & MAILBOX_STORED_FLAGS, keywords };
	int rc;

	if (mb->mode == MAILBOX_READONLY)
		return store_fail(why_r, EROFS, "The mailbox is read-only");
	if (mailbox_lock_and_scan(mb, false, why_r) < 0)
		return -1;
	c.keywords &= mb->list->named;
	rc = change_all(mb, seqs, n, &c, why_r);
	uidlist_compact_if_due(mb->list);
	uidlist_unlock(mb->list);
	return rc;
}

static uint32_t letters_in_use(const struct uidlist *u)
{
	uint32_t used = 0;

	for (size_t i = 0; i < u->count; i++)
		if (!(u->list[i].flags & MAILBOX_GONE))
			used |= u->list[i].letters;
	return used;
}

/* A bit without name that no file uses; else one whose keyword is unused.
 * Those in `keep` are somebody's already. */
static int free_bit(const struct uidlist *u, uint32_t keep)
{
	uint32_t used = letters_in_use(u) | keep;

	for (int k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
		if (!((used | u->named) >> k & 1))
			return k;
	for (int k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
		if (!(used >> k & 1))
			return k;
	return -1;
}

bool mailbox_keyword_room(const struct mailbox *mb)
{
	return mb->mode != MAILBOX_READONLY && free_bit(mb->list, 0) >= 0;
}

int keyword_make_locked(struct uidlist *u, struct str name, uint32_t keep,
    bool sync, const char **why_r)
{
	int bit;

	if (!keyword_is_ok(name))
		return store_fail(why_r, EINVAL, "This is not a keyword");
	for (int k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
		if (str_eq_nocase_c(name, u->keywords[k]))
			return k;
	if ((bit = free_bit(u, keep)) < 0)
		return store_fail(why_r, E2BIG,
		    "The mailbox has too many keywords");
	uidlist_put_keyword(u, (unsigned)bit, name);
	if (uidlist_flush(u, sync ? UIDLIST_SYNC : UIDLIST_PLAIN) < 0) {
		uidlist_drop(u);
		return store_fail_errno(why_r, "The keyword cannot be kept");
	}
	return bit;
}

bool keyword_is_ok(struct str name)
{
	if (name.n == 0 || name.n > MAILBOX_KEYWORD_LEN_MAX)
		return false;
	/* RFC 3501 9: flag-keyword is an atom. */
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= 0x20 || name.p[i] >= 0x7f ||
		    strchr("(){%*\"\\]", name.p[i]) != NULL)
			return false;
	return true;
}

int mailbox_keyword_make(struct mailbox *mb, struct str name,
    const char **why_r)
{
	return mailbox_keyword_make_beside(mb, name, 0, why_r);
}

int mailbox_keyword_make_beside(struct mailbox *mb, struct str name,
    uint32_t keep, const char **why_r)
{
	int bit = mailbox_keyword_find(mb, name);

	if (bit >= 0)
		return bit;
	if (mb->mode == MAILBOX_READONLY)
		return store_fail(why_r, EROFS, "The mailbox is read-only");
	if (mailbox_lock_and_scan(mb, false, why_r) < 0)
		return -1;
	bit = keyword_make_locked(mb->list, name, keep, true, why_r);
	uidlist_unlock(mb->list);
	return bit;
}
