/*
 * commit.h - how a received message becomes a queue file
 *
 * The caller (`cleanup`) was given a descriptor and an id. It feeds content
 * as it comes; what becomes known later is spliced in. Up to
 * QUEUE_MEMORY_MAX octets are held in memory and written once, in order;
 * more is streamed behind a reserved header.
 *
 *	queue_commit_begin(&c, fd, id, limit);
 *	queue_commit_append(c, piece); ...
 *	queue_commit_splice(c, 0, 0, late_header); ...
 *	if (queue_commit(c, &envelope, &why) == 0)
 *		... 250
 *	queue_commit_end(&c);
 */
#ifndef QUEUE_COMMIT_H
#define QUEUE_COMMIT_H
#include "queue/envelope.h"

#define QUEUE_MEMORY_MAX 65536u

struct queue_commit;

/*
 * fd is open for reading and writing, at its start, and stays the caller's. limit:
 * the most octets of content (message_size_limit). 0, or -1 without memory.
 */
int queue_commit_begin(struct queue_commit **c_r, int fd, uint64_t id,
    uint64_t limit);
/* Content, in wire form (CR LF). -1: errno EFBIG over the limit, ENOSPC, ...;
 * every later call fails as well. */
int queue_commit_append(struct queue_commit *, struct str);
/*
 * At content offset `at` takes `cut` octets out and puts `in` there. Offsets
 * are those of the content as it reads now. -1: errno EINVAL outside of it,
 * E2BIG for too many changes to a message that is not in memory.
 */
int queue_commit_splice(struct queue_commit *, uint64_t at, uint64_t cut,
    struct str in);
/* Octets of content so far. */
uint64_t queue_commit_size(const struct queue_commit *);
/* Reads content as it is now, for signing. Less than n only at the end. */
ssize_t queue_commit_pread(struct queue_commit *, void *p, size_t n,
    uint64_t at);
/*
 * Writes what is missing and syncs: when it returns 0 the message is on
 * stable storage. Sets envelope->size. After -1 (why_r, errno) the file is no
 * message and must not be used again: a failed sync is never retried. Once
 * only.
 */
int queue_commit(struct queue_commit *, struct queue_envelope *,
    const char **why_r);
/* The encoded envelope of a successful commit, for the word to `qmgr`;
 * valid until queue_commit_end(). */
struct str queue_commit_envelope(const struct queue_commit *);
/* Frees; the descriptor is still the caller's. */
void queue_commit_end(struct queue_commit **);
#endif
