/*
 * mailbox.h - a selected mailbox, as one session sees it
 *
 * Message i of 1..mailbox_count() keeps its number until the session calls
 * mailbox_take_expunged(); what disappears meanwhile is only marked gone.
 * New messages are added at the end by mailbox_refresh() alone. So IMAP can
 * tell its client at the times that RFC 3501 7.4.1 and 5.5 allow.
 *
 * One mailbox object belongs to one thread; any number of objects, in any
 * number of processes, may have the same mailbox open. Other programs may
 * deliver, rename and remove files meanwhile, as Maildir lets them.
 *
 * Errors are as in store.h.
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H
#include "base/buf.h"

struct store;
struct mailbox;

enum mailbox_flag {
	MAILBOX_ANSWERED = 1 << 0,	/* R */
	MAILBOX_FLAGGED  = 1 << 1,	/* F */
	MAILBOX_DELETED  = 1 << 2,	/* T */
	MAILBOX_SEEN     = 1 << 3,	/* S */
	MAILBOX_DRAFT    = 1 << 4,	/* D */
	MAILBOX_STORED_FLAGS = (1 << 5) - 1,
	MAILBOX_RECENT   = 1 << 5,	/* this session only */
	MAILBOX_GONE     = 1 << 6,	/* removed, not yet taken */
	MAILBOX_CHANGED  = 1 << 7,	/* flags changed by others, not told */
};

#define MAILBOX_KEYWORDS_MAX 26
#define MAILBOX_KEYWORD_LEN_MAX 100
#define MAILBOX_MESSAGES_MAX 4000000

enum mailbox_mode {
	MAILBOX_READONLY,	/* EXAMINE: \Recent stays for others */
	MAILBOX_READWRITE,	/* SELECT: new/ is moved to cur/ */
	MAILBOX_MAILDROP,	/* POP3: may expunge, leaves \Recent alone */
};

int mailbox_open(struct store *, struct str name, enum mailbox_mode,
    struct mailbox **mailbox_r, const char **why_r);
void mailbox_close(struct mailbox **);

/*
 * Looks for what others did: a few stat(2) calls when it was nothing. New
 * messages are added, vanished ones are marked GONE, others' flag changes
 * CHANGED. -1 with ENOENT: the mailbox was deleted; no call brings anything
 * new any more (RFC 3501 lets the session go on with what it knows).
 */
int mailbox_refresh(struct mailbox *, const char **why_r);

struct mailbox_message {
	uint32_t uid;
	uint32_t flags;		/* enum mailbox_flag */
	uint32_t keywords;	/* bit k: mailbox_keyword(mb, k) */
};

uint32_t mailbox_count(const struct mailbox *);
/* seq from 1 to mailbox_count(). */
struct mailbox_message mailbox_get(const struct mailbox *, uint32_t seq);
/* The message with this uid, or 0. */
uint32_t mailbox_seq_of(const struct mailbox *, uint32_t uid);
/* The first message with a uid of at least `uid`; count + 1 when none. */
uint32_t mailbox_seq_from(const struct mailbox *, uint32_t uid);
uint32_t mailbox_uidvalidity(const struct mailbox *);
uint32_t mailbox_uidnext(const struct mailbox *);
/* Messages with RECENT; the first without SEEN, or 0. */
uint32_t mailbox_recent(const struct mailbox *);
uint32_t mailbox_first_unseen(const struct mailbox *);
bool mailbox_is_readonly(const struct mailbox *);
/* The canonical name; lives as long as the object. */
struct str mailbox_name(const struct mailbox *);

/* Any message GONE or CHANGED? */
bool mailbox_has_gone(const struct mailbox *);
/* The next CHANGED message after *seq (start with 0); clears its mark. */
bool mailbox_next_changed(struct mailbox *, uint32_t *seq);
/*
 * Drops the GONE messages and renumbers. For each, `tell` (may be NULL)
 * hears the number to put into an EXPUNGE response, in the order in which
 * they are to be sent (ascending, each counted after the ones before).
 */
typedef void mailbox_expunged_fn(uint32_t seq, uint32_t uid, void *ctx);
void mailbox_take_expunged(struct mailbox *, mailbox_expunged_fn *tell,
    void *ctx);

/*
 * Keywords of this mailbox: bit 0..25. An empty name is an unused bit. They
 * only grow while a mailbox is open, but for a bit that no message uses.
 */
struct str mailbox_keyword(const struct mailbox *, unsigned bit);
/* The bit of a keyword (case does not matter), or -1. */
int mailbox_keyword_find(const struct mailbox *, struct str name);
/* As above, and makes it; -1 with E2BIG when all 26 are in use, EINVAL when
 * it is no atom, EROFS in a read-only mailbox. On disk before it returns. */
int mailbox_keyword_make(struct mailbox *, struct str name,
    const char **why_r);
/* The same for one of several that are wanted together: the bits in `keep`
 * are not given away, though no message may have them yet. */
int mailbox_keyword_make_beside(struct mailbox *, struct str name,
    uint32_t keep, const char **why_r);
/* True: mailbox_keyword_make() may find room ("\*" in PERMANENTFLAGS). */
bool mailbox_keyword_room(const struct mailbox *);

/* INTERNALDATE in seconds since the epoch. -1 with ENOENT: it is gone. */
int mailbox_date(struct mailbox *, uint32_t seq, int64_t *date_r);
/* RFC822.SIZE: octets with CR LF line ends, without reading the file when
 * its name or the list tells. */
int mailbox_size(struct mailbox *, uint32_t seq, uint64_t *size_r);

/*
 * A message's text, in memory or mapped. raw has LF line ends (or what the
 * file holds), wire its exact size as wire.h sends it. One may be open at a
 * time in a mailbox object; it lives until mailbox_text_close(), by the same
 * thread.
 */
struct mailbox_text {
	struct str raw;
	uint64_t wire;
	struct mapped *map;	/* internal */
};
int mailbox_text_open(struct mailbox *, uint32_t seq,
    struct mailbox_text *, const char **why_r);
/* False: somebody cut the file since it was opened, and what was missing was
 * read as zeros. Asked before what was made of it counts. */
bool mailbox_text_is_whole(const struct mailbox_text *);
void mailbox_text_close(struct mailbox *, struct mailbox_text *);
/* A read-only descriptor of the message file; the caller closes it. */
int mailbox_open_file(struct mailbox *, uint32_t seq, const char **why_r);

enum mailbox_how { MAILBOX_SET, MAILBOX_ADD, MAILBOX_REMOVE };
/*
 * STORE for the messages seqs[0..n). What this call changes is not marked
 * CHANGED. Messages that are gone are passed over. On -1 some may have been
 * changed (mailbox_get() tells the truth).
 */
int mailbox_store(struct mailbox *, const uint32_t *seqs, size_t n,
    enum mailbox_how, uint32_t flags, uint32_t keywords, const char **why_r);

/*
 * Removes the messages seqs[0..n); with only_deleted those of them that
 * still have \Deleted. They are GONE afterwards. 0: the removal is on
 * stable storage.
 */
int mailbox_expunge(struct mailbox *, const uint32_t *seqs, size_t n,
    bool only_deleted, const char **why_r);

/*
 * What COPY made (RFC 4315): message i of the copied ones has the uid
 * first_uid + i in the other mailbox.
 */
struct mailbox_copied {
	uint32_t uidvalidity, first_uid, count;
};
/*
 * Copies the messages seqs[0..n) (ascending) with flags, keywords and dates
 * to the mailbox `to`: all or, on -1, none (RFC 3501 6.4.7). A message that
 * is gone makes it fail with ESTALE; a missing mailbox `to`
 * with ENOENT.
 */
int mailbox_copy(struct mailbox *, const uint32_t *seqs, size_t n,
    struct str to, struct mailbox_copied *, const char **why_r);
/* Copies and then removes here (RFC 6851): the messages are GONE. */
int mailbox_move(struct mailbox *, const uint32_t *seqs, size_t n,
    struct str to, struct mailbox_copied *, const char **why_r);
#endif
