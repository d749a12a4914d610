/*
 * delivery.h - one message on its way into a mailbox
 *
 * tmp/ file, write, fsync, rename into new/ (or cur/ when it has flags),
 * fsync of that directory; only then 0. Whatever fails, nothing stays
 * behind. A process killed in between leaves at most a file in tmp/, which
 * is removed when it is 36 hours old. Threads that deliver into one
 * directory at the same time share one fsync of it.
 *
 * Messages are stored with LF line ends; CR LF becomes LF on the way in.
 */
#ifndef STORE_DELIVERY_H
#define STORE_DELIVERY_H
#include "base/str.h"

struct store;
struct delivery;

/* Opens the tmp/ file in the mailbox ("INBOX" or any). ENOENT when there is
 * no such mailbox. */
int delivery_open(struct store *, struct str mailbox,
    struct delivery **delivery_r, const char **why_r);
/* More of the message; any cut, CR LF or LF. After -1 only abort. */
int delivery_write(struct delivery *, struct str);
/* Octets that the message takes on the wire (CR LF line ends) so far. */
uint64_t delivery_wire_size(const struct delivery *);

/*
 * The mail delivery agent's end: into new/, no uid yet; a last line without
 * an end gets one. 0: on stable storage. In both cases *d is freed and NULL.
 */
int delivery_commit(struct delivery **d, const char **why_r);

struct delivery_append {
	uint32_t flags;			/* enum mailbox_flag bits */
	const struct str *keywords;	/* names, as many as fit are kept */
	size_t keyword_count;
	int64_t date;			/* INTERNALDATE, seconds; or DATE_NOW */
};
#define DELIVERY_DATE_NOW INT64_MIN

/*
 * IMAP's end (RFC 3501 6.3.11, RFC 4315): as above, and the message has
 * its uid. It is \Recent for the next session that sees it.
 */
int delivery_commit_append(struct delivery **d,
    const struct delivery_append *, uint32_t *uidvalidity_r, uint32_t *uid_r,
    const char **why_r);

/* Leaves nothing; NULL is allowed. */
void delivery_abort(struct delivery **d);
#endif
