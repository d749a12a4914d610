/* uidlines.h - the grammar of the uid list's lines (inside lib/store) */
#ifndef STORE_UIDLINES_H
#define STORE_UIDLINES_H
#include "store/uidlist.h"

/* The first line from validity, nonce, uidnext, claimed; sets the seed. */
void uidlines_put_head(struct uidlist *);
/* Reads the line at *at of text; moves *at behind it. -1: damaged. */
int uidlines_take_head(struct uidlist *, size_t *at);

struct uidlines_result {
	size_t good_end;	/* in text, behind the last good line */
	size_t bad;		/* octets passed over */
	bool no_memory;
};
/* Applies the lines of text from `from`; mine: changes are not CHANGED. */
struct uidlines_result uidlines_apply(struct uidlist *, size_t from,
    bool mine);
/* Is among the applied lines from `from` one that clients are told? */
bool uidlines_told(const struct uidlist *, size_t from);
/* Appends to the array; -1 with ENOMEM, also at MAILBOX_MESSAGES_MAX. */
int uidlines_add(struct uidlist *, const struct uidlist_message *);
#endif
