/* validity.h - UIDVALIDITY values, each given out once (inside lib/store) */
#ifndef STORE_VALIDITY_H
#define STORE_VALIDITY_H
#include <stdint.h>
#include "store/store.h"

#define VALIDITY_FILE "postern-store"

/*
 * The file root/postern-store: the last value given out, and the highest
 * one that a name has lost (deleted, renamed away). A mailbox whose value is
 * at least that high may take any name; another gets a new value, so that
 * no name ever sees a lower one than before (RFC 3501 2.3.1.1).
 *
 * Two lines, written in turn in place and synced; the newer good one counts.
 * Its lock also orders create, delete, rename and subscribe.
 */
struct validity {
	int fd;
	uint64_t turn;
	uint32_t last, floor;
};

/* Opens, locks, reads. */
int validity_lock(const struct store *, struct validity *,
    const char **why_r);
void validity_unlock(struct validity *);
/* The next value, on stable storage. 0 on failure. */
uint32_t validity_next(struct validity *);
/* A name that had `value` loses it. 0 or -1. */
int validity_lose(struct validity *, uint32_t value);
#endif
