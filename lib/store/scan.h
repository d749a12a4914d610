/* scan.h - the directories against the uid list (inside lib/store) */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H
#include "store/uidlist.h"

/* Would scan() read a directory? Two fstat(2) calls, no lock needed. */
bool scan_is_due(const struct uidlist *);
/*
 * Reads new/ and cur/ where they changed (with force always) and brings the
 * list up to date: new messages get uids in order of arrival and are on
 * disk with them, missing ones are removed, changed names are taken over.
 * On a full disk new messages stay without uid until there is room. Locked.
 */
int scan(struct uidlist *, bool force, const char **why_r);

/*
 * Between these calls we change the directories ourselves and put the
 * lines that say so. If nobody else changed them before, no scan
 * is needed afterwards. Locked.
 */
struct scan_own {
	bool cur_known, fresh_known;
};
void scan_own_begin(const struct uidlist *, struct scan_own *);
/* Puts the state's line; flush after it. */
void scan_own_end(struct uidlist *, const struct scan_own *);

/* new/ to cur/ for every message there; flushes. */
int scan_move_new(struct uidlist *, const char **why_r);
#endif
