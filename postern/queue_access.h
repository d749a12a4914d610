/*
 * queue_access.h - the queue, for the commands that look into it
 *
 * By way of pickup and qmgr when the suite runs; from the spool itself, with
 * its owner's rights and qmgr's lock, when it is down.
 */
#ifndef POSTERN_QUEUE_ACCESS_H
#define POSTERN_QUEUE_ACCESS_H
#include "msgs/queue.h"
#include "postern/postern.h"

struct queue_access;

enum queue_access_want {
	QUEUE_ACCESS_RUNNING,	/* only a suite that runs */
	QUEUE_ACCESS_READ,
	QUEUE_ACCESS_CHANGE
};

/*
 * NULL, and complained. `down` is what to say ("Queue report unavailable")
 * when the suite is down and the caller may not look himself. The exit code
 * is then 69.
 */
struct queue_access *queue_access_open(const struct context *,
    enum queue_access_want, const char *down);
void queue_access_close(struct queue_access **);

/* Strings are valid during the call. */
typedef void queue_item_fn(const struct queue_item *, void *ctx);
typedef void queue_changed_fn(struct str id, void *ctx);

/* What an exchange came to. */
struct queue_result {
	uint64_t count, octets;
};

/* More than QUEUE_IDS_MAX ids are asked for in several exchanges. 0, or -1
 * (complained). */
int queue_access_list(struct queue_access *, uint64_t where,
    const struct strs *ids, queue_item_fn *, void *ctx,
    struct queue_result *);
int queue_access_order(struct queue_access *, const struct queue_order *,
    queue_changed_fn *, void *ctx, struct queue_result *);
/* The open file, *where_r and due; -1 (complained, but for ENOENT). */
int queue_access_show(struct queue_access *, struct str id,
    uint64_t *where_r, int64_t *due_r);

/* Messages in corrupt/ of the spool, looked at directly; 0 also for who may not
 * look, -1 (complained): there is no spool. */
ssize_t queue_corrupt_count(const struct context *);

/* "active", "incoming", "deferred", "hold", "corrupt", "maildrop" */
const char *queue_where_name(uint64_t where);
/* The bit of a place that qmgr has, or 0: no such name. */
uint64_t queue_where_bit(const char *name);

/* --- queue_direct.c: the spool itself --- */

struct queue_direct;
/* dir: the spool, taken. NULL with *why_r. */
struct queue_direct *queue_direct_open(int dir, const char **why_r);
void queue_direct_close(struct queue_direct **);
/* Each exchange as qmgr answers it. */
int queue_direct_list(struct queue_direct *, const struct queue_list *,
    queue_item_fn *, void *ctx, struct queue_result *);
int queue_direct_order(struct queue_direct *, const struct queue_order *,
    queue_changed_fn *, void *ctx, struct queue_result *);
int queue_direct_show(struct queue_direct *, struct str id,
    uint64_t *where_r, int64_t *due_r);
#endif
