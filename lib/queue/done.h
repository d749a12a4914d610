/*
 * done.h - the log of finished recipients, one for the whole queue
 *
 * Results go here first: (id, recipient), appended, synced every few
 * milliseconds for all; after that an agent may forget them, and a message
 * whose recipients are all here is unlinked. What has to be told at length
 * (a failure's text) goes to the queue file's own log instead.
 *
 * Two areas of one preallocated file, so that a sync changes no metadata.
 * A record, 32 octets: CRC-32C of the rest, generation, id, recipient, what,
 * time. An area's first record (id 0) tells its generation; the one with
 * the higher generation counts. When an area is full, records of messages
 * that still exist are carried to the other, synced, and only then its
 * first record is written and synced. When they would fill more than half of
 * it, a file with larger areas, written beside it and synced, takes its name.
 */
#ifndef QUEUE_DONE_H
#define QUEUE_DONE_H
#include "queue/log.h"

/* Used by one thread at a time. */
struct queue_done;

/* Opens or makes `done` in the spool; area_octets: of one area of a new one,
 * at least 128. NULL with errno. */
struct queue_done *queue_done_open(int spool_dir, size_t area_octets);
void queue_done_close(struct queue_done **);
typedef void queue_done_fn(uint64_t id, uint32_t recipient,
    enum queue_log_what, int64_t when, void *ctx);
/* Everything recorded, as found when it was opened. */
int queue_done_read(const struct queue_done *, queue_done_fn *, void *ctx);
/* Remembers a record for the next queue_done_sync(). -1: no memory. */
int queue_done_add(struct queue_done *, uint64_t id, uint32_t recipient,
    enum queue_log_what, int64_t when);
/* Tells that the message's file is unlinked or knows all by itself: what
 * was added so far need not be carried on. */
void queue_done_forget(struct queue_done *, uint64_t id);
/*
 * Writes what was added, syncs. Before an area is switched, `settle` is
 * called: it makes the unlinks durable that forgotten records stand for (0
 * or -1). After -1 the log is broken: the process must end, the next one
 * starts from what is there.
 */
int queue_done_sync(struct queue_done *, int (*settle)(void *ctx),
    void *ctx);
#endif
