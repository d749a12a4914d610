/*
 * store.h - one user's mailboxes in Maildir++ below one directory
 *
 *   root/                 INBOX: tmp/ new/ cur/ postern-uidlist
 *   root/.A.B/            mailbox A.B: the same, and an empty maildirfolder
 *   root/postern-store    last UIDVALIDITY given out; lock for the list
 *   root/subscriptions    a name a line
 *
 * Everything is reached from the root's descriptor; no absolute path, no
 * symbolic link is followed. A struct store does not change after it was
 * opened: threads may share it. Mailbox names are as on the IMAP wire:
 * modified UTF-7, hierarchy separator '.', INBOX in any case (mbname.h).
 *
 * Functions give 0, or -1 with errno and, through why_r (may be NULL), a
 * sentence for the client. errno is for choosing a response code:
 *   EINVAL        not a possible mailbox name, or not allowed (CANNOT)
 *   ENOENT        no such mailbox or message (NONEXISTENT, TRYCREATE)
 *   EEXIST        the name is taken (ALREADYEXISTS)
 *   ENOSPC EDQUOT EFBIG  no room (OVERQUOTA)
 *   E2BIG         a limit of ours (LIMIT)
 *   ENOMEM ETIMEDOUT EIO and others: temporary (UNAVAILABLE)
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include "base/arena.h"
#include "base/str.h"

#define STORE_SEPARATOR '.'
#define STORE_SUBSCRIPTIONS_MAX 10000
#define STORE_MAILBOXES_MAX 50000

struct store;

/*
 * Opens the store below the directory rootfd (duplicated; the caller keeps
 * his). Makes INBOX's directories when they are missing and `create` is
 * true. host goes into message file names; it is made safe for that.
 */
int store_open(int rootfd, struct str host, bool create,
    struct store **store_r, const char **why_r);
void store_close(struct store **);

/* RFC 3501 6.3.3; one separator at the end is ignored. */
int store_create(struct store *, struct str name, const char **why_r);
/* RFC 3501 6.3.4: never INBOX; children stay. */
int store_delete(struct store *, struct str name, const char **why_r);
/* RFC 3501 6.3.5: with children; from INBOX the messages move. */
int store_rename(struct store *, struct str from, struct str to,
    const char **why_r);
/* 0: it can be selected. ENOENT, EINVAL, ... otherwise. */
int store_exists(struct store *, struct str name, const char **why_r);

struct store_entry {
	struct str name;	/* as on the wire */
	bool exists;		/* false: only a parent of others (\Noselect) */
	bool has_children;
};

/*
 * All mailboxes and their implied parents, sorted by octets with INBOX
 * first; one readdir. The array and the names are in the arena.
 */
int store_list(struct store *, struct arena *, struct store_entry **list_r,
    size_t *count_r, const char **why_r);

/* RFC 3501 6.3.6, 6.3.7: the mailbox need not exist. Subscribing twice and
 * unsubscribing what is not subscribed are no errors. */
int store_subscribe(struct store *, struct str name, bool on,
    const char **why_r);
int store_subscriptions(struct store *, struct arena *,
    struct str **names_r, size_t *count_r, const char **why_r);

struct store_status {
	uint32_t messages, recent, unseen, uidnext, uidvalidity;
};

/* RFC 3501 6.3.10: without selecting, \Recent stays as it is. */
int store_status(struct store *, struct str name, struct store_status *,
    const char **why_r);

/*
 * The exclusive lock of a POP3 session (RFC 1939 4). Returns a descriptor
 * that holds it until closed, or -1: EAGAIN when another session still has
 * it after that many seconds (0: it is not waited for).
 */
int store_lock_maildrop(struct store *, int seconds);
#endif
