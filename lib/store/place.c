#include <errno.h>
#include <stdlib.h>
#include "base/sys.h"
#include "store/dirsync.h"
#include "store/place.h"
#include "store/scan.h"

struct placing {
	struct uidlist *list;
	const struct maildir *md;
	const struct place_item *items;
	size_t n;
	size_t done;			/* moved so far */
	uint32_t first_uid;
	uint32_t bits[MAILBOX_KEYWORDS_MAX];	/* theirs to the list's */
};

static bool goes_to_new(const struct place_item *it)
{
	return (it->flags & MAILBOX_STORED_FLAGS) == 0 && it->keywords == 0;
}

static int map_keywords(struct placing *p, const struct str *names,
    const char **why_r)
{
	uint32_t used = 0, made = 0;

	for (size_t i = 0; i < p->n; i++)
		used |= p->items[i].keywords;
	for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++) {
		int bit;

		if (!(used >> k & 1))
			continue;
		bit = keyword_make_locked(p->list, names[k], made, false,
		    why_r);
		if (bit >= 0)
			made |= p->bits[k] = 1u << bit;
		/* RFC 3501 6.4.7: flags SHOULD be kept; where the table is
		 * full they cannot. */
		else if (errno != E2BIG && errno != EINVAL)
			return -1;
	}
	return 0;
}

/* The file's name in new/ or cur/. */
static int final_name(const struct placing *p, const struct place_item *it,
    char *out)
{
	uint32_t letters = 0;

	if (goes_to_new(it)) {
		if (it->base.n > MAILDIR_NAME_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(out, it->base.p, it->base.n);
		out[it->base.n] = '\0';
		return 0;
	}
	for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++)
		if (it->keywords >> k & 1)
			letters |= p->bits[k];
	return maildir_name_build(it->base,
	    it->flags & MAILBOX_STORED_FLAGS, letters, out);
}

static int write_uids(struct placing *p)
{
	char name[MAILDIR_NAME_MAX + 1];

	p->first_uid = p->list->uidnext;
	if (p->n >= UINT32_MAX - 1 - p->first_uid) {
		errno = EOVERFLOW;
		return -1;
	}
	for (size_t i = 0; i < p->n; i++) {
		const struct place_item *it = &p->items[i];

		if (final_name(p, it, name) < 0) {
			uidlist_drop(p->list);
			return -1;
		}
		uidlist_put_add(p->list, p->first_uid + (uint32_t)i,
		    goes_to_new(it), true, it->date, it->wire, str_of(name));
	}
	if (uidlist_flush(p->list, UIDLIST_SYNC) == 0)
		return 0;
	uidlist_drop(p->list);
	return -1;
}

static int move_all(struct placing *p)
{
	char name[MAILDIR_NAME_MAX + 1];
	bool cur = false, fresh = false;

	for (; p->done < p->n; p->done++) {
		const struct place_item *it = &p->items[p->done];
		bool is_new = goes_to_new(it);

		if (final_name(p, it, name) < 0 ||
		    maildir_rename_new(p->md->tmp, it->tmp.p,
		    is_new ? p->md->fresh : p->md->cur, name) < 0)
			return -1;
		if (is_new)
			fresh = true;
		else
			cur = true;
	}
	if ((fresh && dirsync(p->md->fresh) < 0) ||
	    (cur && dirsync(p->md->cur) < 0))
		return -1;
	return 0;
}

/* What got its place is unlinked, its uids are used up. */
static void take_back(struct placing *p)
{
	char name[MAILDIR_NAME_MAX + 1];
	uint32_t *uids = malloc(p->n * sizeof(*uids));
	int err = errno;

	for (size_t i = 0; i < p->done; i++)
		if (final_name(p, &p->items[i], name) == 0)
			sys_unlinkat(goes_to_new(&p->items[i])
			    ? p->md->fresh : p->md->cur, name);
	/* Without memory the next scan finds them missing. */
	if (uids != NULL) {
		for (size_t i = 0; i < p->n; i++)
			uids[i] = p->first_uid + (uint32_t)i;
		uidlist_put_removed(p->list, uids, p->n);
		uidlist_flush_or_keep(p->list, UIDLIST_PLAIN);
	}
	free(uids);
	errno = err;
}

static int place_locked(struct placing *p, const struct str *names,
    const char **why_r)
{
	struct scan_own own;
	int rc;

	if (map_keywords(p, names, why_r) < 0 || write_uids(p) < 0)
		return store_fail_errno(why_r,
		    "The message cannot be entered in the uid list");
	scan_own_begin(p->list, &own);
	if ((rc = move_all(p)) < 0) {
		own = (struct scan_own){ false, false };
		take_back(p);
		store_fail_errno(why_r, "The message cannot be stored");
	}
	{
		int err = errno;

		scan_own_end(p->list, &own);
		uidlist_flush_or_keep(p->list, UIDLIST_PLAIN);
		uidlist_compact_if_due(p->list);
		errno = err;
	}
	return rc;
}

int place_messages(const struct store *s, const struct maildir *md,
    const struct place_item *items, size_t n,
    const struct str names[MAILBOX_KEYWORDS_MAX], struct mailbox_copied *c,
    const char **why_r)
{
	struct placing p = { .md = md, .items = items, .n = n };
	enum uidlist_part part = UIDLIST_END;
	int rc;

	*c = (struct mailbox_copied){ 0, 0, 0 };
	for (size_t i = 0; i < n; i++)
		if (items[i].keywords != 0)
			part = UIDLIST_ALL;
	rc = uidlist_open(s, md, part, &p.list, why_r);
	if (rc == 0) {
		rc = place_locked(&p, names, why_r);
		*c = (struct mailbox_copied){ p.list->validity, p.first_uid,
			(uint32_t)n };
		int err = errno;

		uidlist_unlock(p.list);
		uidlist_close(&p.list);
		errno = err;
	}
	if (rc < 0) {
		int err = errno;

		for (size_t i = p.done; i < n; i++)
			sys_unlinkat(md->tmp, items[i].tmp.p);
		errno = err;
	}
	return rc;
}
