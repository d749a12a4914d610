/* place.h - messages in tmp/ get uids and their places (inside lib/store) */
#ifndef STORE_PLACE_H
#define STORE_PLACE_H
#include "store/maildir.h"
#include "store/mailbox.h"

/* A whole, synced message file in the mailbox's tmp/. */
struct place_item {
	struct str tmp;		/* its name there; a C string */
	struct str base;	/* its base name to be; a C string */
	uint32_t flags;
	uint32_t keywords;	/* bit k: names[k] of the call */
	int64_t date, wire;	/* or UIDLIST_UNKNOWN */
};

/*
 * Gives the n items uids in a row, on disk, and moves them to new/ (those
 * without flags) or cur/. All or, on -1, none: the files are then gone from
 * everywhere. Keywords of which there are too many are left out. The
 * mailbox must not be locked by this thread.
 */
int place_messages(const struct store *, const struct maildir *,
    const struct place_item *, size_t n,
    const struct str names[MAILBOX_KEYWORDS_MAX], struct mailbox_copied *,
    const char **why_r);
#endif
