/*
 * uidlist.h - the mailbox's log: which message has which uid (inside lib/store)
 *
 * The file `postern-uidlist` is the truth about uids: a line a record, only
 * ever appended to, each line with a CRC-32C (seeded with the file's own
 * nonce, so that no line of another file passes). Records that a client may
 * have been told of (new uids, keywords) are synced before it is told.
 *
 *   H 1 VALIDITY NONCE UIDNEXT CLAIMED	the first line
 *   A UID [nc][r-] DATE WIRE NAME	a message: in new/ or cur/, born recent
 *   F UID [nc] NAME			it has this file name now (flags, place)
 *   I UID DATE WIRE			what was found out later; - is unknown
 *   E UID[:UID],...			removed
 *   K LETTER NAME			the keyword of a flag letter a-z
 *   R UID				a session has the recent ones to here
 *   N UIDNEXT				uids below are used up
 *   S CUR AT NEW AT			the list was right for directories with
 *					these change times (ns), looked at AT
 *					(0: our own change, not looked at); an
 *					A, F or E behind it ends that
 *
 * What a crash leaves: a torn last line, which the next one who locks cuts
 * off (its uids were told to nobody, yet they are skipped); a line without
 * its file (the scan removes the message); a file without its line (it gets
 * a new uid). A list with a damaged first line is put aside and a new one
 * with a higher UIDVALIDITY is begun. When more than half of the file is
 * outdated it is written anew: tmp/, fsync, rename, fsync.
 *
 * An open file description lock (F_OFD_SETLK) on the file covers all
 * changes of the list and of file names by us.
 */
#ifndef STORE_UIDLIST_H
#define STORE_UIDLIST_H
#include "base/buf.h"
#include "store/mailbox.h"
#include "store/maildir.h"

#define UIDLIST_FILE "postern-uidlist"
#define UIDLIST_SIZE_MAX ((size_t)1 << 30)
#define UIDLIST_LOCK_SECONDS 60

/* Flags of a message behind the public ones. */
enum {
	UIDLIST_IN_NEW = 1 << 16,
	UIDLIST_BORN_RECENT = 1 << 17,
	UIDLIST_LOOKED_AT = 1 << 18,	/* \Recent was decided */
	UIDLIST_INFO = 1 << 19,		/* date or size is not written yet */
};
#define UIDLIST_UNKNOWN INT64_MIN

struct uidlist_message {
	int64_t date, wire;	/* or UIDLIST_UNKNOWN */
	uint32_t uid;
	uint32_t flags;
	uint32_t letters;
	uint32_t name_at;	/* in text; with a NUL behind */
	uint8_t name_len, base_len;
};

/* What is known about a directory's state. */
struct uidlist_dir {
	int64_t ctime;		/* ns; 0: nothing known */
	int64_t at;		/* ns: when looked at */
	bool own;		/* since then only we changed it */
};

struct uidlist {
	const struct store *store;
	const struct maildir *md;
	int fd;
	bool locked;
	bool stale;		/* deleted or replaced: nothing new comes */
	bool unwritten;		/* new messages wait for room on the disk */
	bool behind;		/* the file lacks what memory has */
	bool partial;		/* only its end was read */
	uint32_t validity, uidnext, claimed, nonce;
	uint32_t seed;
	off_t end;		/* of the file, as far as it was read */
	size_t garbage;		/* octets of outdated lines */
	struct buf text;	/* what was read: names point into it */
	struct buf pending;	/* lines to be written */
	struct uidlist_message *list;	/* ascending uid */
	size_t count, room;
	size_t info_count;	/* messages with UIDLIST_INFO */
	bool any_gone, any_changed;	/* since somebody took them */
	struct uidlist_dir cur, fresh;
	char keywords[MAILBOX_KEYWORDS_MAX][MAILBOX_KEYWORD_LEN_MAX + 1];
	uint32_t named;		/* bits of those that are not "" */
};

/* The UIDVALIDITY in a mailbox directory's list; 0: there is no good one. */
uint32_t uidlist_peek_validity(int dir);
enum uidlist_part {
	UIDLIST_ALL,
	/* Enough to add messages (no keywords): uidnext and the directories'
	 * state. Of a long list only the end is read; the array is not to be
	 * used. */
	UIDLIST_END,
};
/* Opens or makes the list of an open mailbox (kept by reference). It is
 * locked and read when this returns 0. */
int uidlist_open(const struct store *, const struct maildir *,
    enum uidlist_part, struct uidlist **, const char **why_r);
void uidlist_close(struct uidlist **);

/*
 * Locks and reads what others appended. Waits at most UIDLIST_LOCK_SECONDS
 * (ETIMEDOUT). ENOENT: the mailbox was deleted, now `stale`.
 */
int uidlist_lock(struct uidlist *, const char **why_r);
void uidlist_unlock(struct uidlist *);
/* Did nobody append or replace since the last look? One fstat(2). */
bool uidlist_is_current(const struct uidlist *);

/* The index of a uid, or of the first above; count when none. */
size_t uidlist_find(const struct uidlist *, uint32_t uid);
static inline struct str uidlist_name(const struct uidlist *u,
    const struct uidlist_message *m)
{
	return str_n(u->text.p + m->name_at, m->name_len);
}
/* The index with exactly this uid, or -1. */
ssize_t uidlist_index_of(const struct uidlist *, uint32_t uid);

/* These only prepare a line; uidlist_flush() writes and applies. */
void uidlist_put_add(struct uidlist *, uint32_t uid, bool in_new,
    bool recent, int64_t date, int64_t wire, struct str name);
void uidlist_put_name(struct uidlist *, uint32_t uid, bool in_new,
    struct str name);
void uidlist_put_info(struct uidlist *, const struct uidlist_message *);
void uidlist_put_keyword(struct uidlist *, unsigned bit, struct str name);
void uidlist_put_claimed(struct uidlist *, uint32_t uid);
void uidlist_put_uidnext(struct uidlist *, uint32_t uidnext);
void uidlist_put_state(struct uidlist *);
/* uids ascending. */
void uidlist_put_removed(struct uidlist *, const uint32_t *uids, size_t n);

enum uidlist_how {
	UIDLIST_PLAIN,
	UIDLIST_SYNC = 1 << 0,		/* fsync before it counts */
	UIDLIST_FOREIGN = 1 << 1,	/* others' doing: marks CHANGED */
};
/*
 * Appends what was put and applies it; how: enum uidlist_how. On -1 the
 * file is as before and the lines stay pending: uidlist_apply_unwritten()
 * or uidlist_drop().
 */
int uidlist_flush(struct uidlist *, unsigned how);
/* Is it an errno of a disk without room? What removes mail goes on then. */
bool uidlist_is_full(int err);
/* Applies pending lines to memory only (the disk is full). */
void uidlist_apply_unwritten(struct uidlist *, unsigned how);
/* As uidlist_flush(), and when there is no room, in memory only. -1 for
 * other faults. For lines that the directories tell as well. */
int uidlist_flush_or_keep(struct uidlist *, unsigned how);
void uidlist_drop(struct uidlist *);
/*
 * The bit of a keyword, made when it is missing; synced if asked (a sync of
 * a later line does as well). Bits in `keep` are not given again, though no
 * message has them yet. -1: EINVAL, E2BIG. Locked, nothing pending.
 */
int keyword_make_locked(struct uidlist *, struct str name, uint32_t keep,
    bool sync, const char **why_r);
bool keyword_is_ok(struct str name);
/* Writes the list anew when that is worth it. Locked. Failure is harmless. */
void uidlist_compact_if_due(struct uidlist *);
/* Writes it anew with another UIDVALIDITY (for a renamed mailbox). */
int uidlist_set_validity(struct uidlist *, uint32_t validity);
#endif
