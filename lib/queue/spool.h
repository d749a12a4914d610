/*
 * spool.h - the spool's directories, their files by name; for qmgr alone
 *
 *	incoming/		files in stock, being written, active
 *	deferred/<due>/		waiting until due (seconds, a bucket's start)
 *	hold/ corrupt/		waiting for an operator
 *	done			who got what (done.h)
 *	ids			the first second no id was made in yet
 *	lock			held by the one qmgr
 *	maildrop/ public/ private/	others' (made here, not touched)
 */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H
#include <sys/stat.h>
#include "queue/id.h"
#include "queue/read.h"

#define QUEUE_DUE_BUCKET 64	/* most seconds of one deferred/<due>/ */

enum queue_place {
	QUEUE_INCOMING, QUEUE_DEFERRED, QUEUE_HOLD, QUEUE_CORRUPT,
	QUEUE_PLACE_COUNT
};

struct queue_spool {
	int dir, place[QUEUE_PLACE_COUNT], lock;
	uid_t owner;	/* of incoming/, and so of every file */
	/* Queue ids: queue_spool_stock() under the caller's lock. */
	uint64_t next_id, id_floor;
};

/* A file by name: due only means something in QUEUE_DEFERRED. */
struct queue_name {
	uint64_t id;
	enum queue_place place;
	int64_t due;		/* seconds since the epoch, bucket's start */
};

/*
 * Makes the directories that are missing and opens them. dir stays the
 * caller's until close. wait: until no other process has the lock; else -1
 * with EWOULDBLOCK. lock false: for readers (postcat) and tools, no ids.
 */
int queue_spool_open(struct queue_spool *, int dir, bool lock, bool wait,
    const char **why_r);
void queue_spool_close(struct queue_spool *);

/*
 * Verb 1, get. Makes count files in incoming/, mode 0600, with one sync of
 * the directory for all. Gives descriptors for reading and writing, which are
 * the caller's. 0 with all of them or -1 with none.
 *
 * spares: files of messages that are over (queue_spool_retire()); they are
 * used up, at most count of them. Such a file gets a new name instead of
 * being unlinked and made anew: its blocks are overwritten whole by the next
 * commit, which then changes no metadata. When somebody else has it open (a
 * reader would read the next message) it is unlinked after all. What `done`
 * has of their messages may be forgotten when this returned 0, never before.
 */
#define QUEUE_SPARE_OCTETS 16384u
struct queue_spare {
	uint64_t id;
	int fd;
};
int queue_spool_stock(struct queue_spool *, size_t count,
    const struct queue_spare spares[], size_t spare_count, uint64_t ids_r[],
    int fds_r[]);
/*
 * Instead of release, for a file in incoming/ all of whose results are on
 * stable storage in `done`: its header is made blank, so that nobody takes it
 * for a message any more (not synced: after a crash `done` says it). The
 * descriptor for queue_spool_stock(), or -1: it is not of the one size that
 * is given again, or cannot be opened; release it.
 */
int queue_spool_retire(const struct queue_spool *, uint64_t id);
/* Where files may be overwritten in place: not on filesystems that copy on
 * write, which gain nothing. */
bool queue_spool_can_recycle(const struct queue_spool *);
/* Verb 3, open: a regular file of the owner with one link, no symbolic link
 * followed. -1: ENOENT, or EBADMSG for what is no queue file. */
int queue_spool_open_file(const struct queue_spool *,
    const struct queue_name *, bool writing);
/* lstat(2) of the name. */
int queue_spool_stat(const struct queue_spool *, const struct queue_name *,
    struct stat *);
/* Verb 4, release: unlinks; durable with the next sync of the place. */
int queue_spool_release(const struct queue_spool *,
    const struct queue_name *);
/*
 * Renames to another place or due time (what must be in the file was synced
 * before). Durable after queue_spool_sync() of the new name's directory.
 * *name becomes `to`.
 */
int queue_spool_move(const struct queue_spool *, struct queue_name *name,
    enum queue_place to, int64_t due);
/* Syncs the directory that holds `name`. */
int queue_spool_sync(const struct queue_spool *, const struct queue_name *);
/*
 * For a start, before any file is opened (the lock is held). A power cut can
 * bring back the old name of a file beside its new one: btrfs keeps a rename
 * between directories whole only when both were synced. Of two names of one
 * message, which are one file, one is unlinked: corrupt/ and hold/ stay, then
 * the sooner due. How many were unlinked, or -1.
 */
ssize_t queue_spool_settle(const struct queue_spool *);
/* Removes deferred/<due>/ when it is empty. */
void queue_spool_drop_due(const struct queue_spool *, int64_t due);
/* The start of the bucket for `due`: the first multiple of bucket seconds
 * that is not before it. */
int64_t queue_due_bucket(int64_t due, int64_t bucket);
const char *queue_place_name(enum queue_place);

/* What a file turned out to be. */
enum queue_kind {
	QUEUE_KIND_WHOLE,	/* a message */
	QUEUE_KIND_TORN,	/* none, or over and given again (another id in
				   the header than in the name of incoming/):
				   may be unlinked when nobody holds it */
	QUEUE_KIND_DAMAGED,	/* goes to corrupt/ */
	QUEUE_KIND_STRANGE,	/* not ours: a link, a pipe, ...: left alone */
	QUEUE_KIND_ERROR	/* could not be read now (errno) */
};
/*
 * The header judges, never the name. deep: reads the content as well. fd:
 * from queue_spool_open_file(). id: the one in the name.
 */
enum queue_kind queue_classify(int fd, uint64_t id, bool deep,
    const char **why_r);
/*
 * True when no other descriptor of the file is open anywhere: a write lease
 * could be had (F_SETLEASE; fd is the only one that this process has). On
 * false errno is EAGAIN when somebody holds it, else leases do not work here.
 * Somebody who opens the file at that moment makes the kernel send SIGIO,
 * which the caller ignores.
 */
bool queue_is_unheld(int fd);

/*
 * Calls fn for each name in a place, in no order; with `until` only those of
 * deferred/<due>/ with due <= until. fn may rename or unlink. Names that are
 * no id are reported with id 0 and skipped. Not 0 from fn ends. -1 after all
 * others when some deferred/<due>/ cannot be read.
 */
typedef int queue_scan_fn(const struct queue_name *, const char *file,
    void *ctx);
int queue_spool_scan(const struct queue_spool *, enum queue_place,
    int64_t until, queue_scan_fn *, void *ctx);
/* The due times that have a directory; at most max, unsorted. -1 on error. */
ssize_t queue_spool_dues(const struct queue_spool *, int64_t *dues_r,
    size_t max);
#endif
