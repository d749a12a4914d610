/*
 * recover.h - what a start (or a dead `cleanup`) left in incoming/
 *
 * A file with a whole message is a message, answered or not. A torn one is
 * unlinked, but only when nobody holds it any more: a `cleanup` of before
 * may be writing it at this moment. A damaged one goes to corrupt/, and so
 * does a torn one of another place: it was whole when it came there.
 */
#ifndef QUEUE_RECOVER_H
#define QUEUE_RECOVER_H
#include "queue/spool.h"

enum queue_found {
	QUEUE_FOUND_MESSAGE,
	QUEUE_FOUND_REMOVED,	/* was torn, is unlinked */
	QUEUE_FOUND_HELD,	/* torn or empty, and somebody has it open */
	QUEUE_FOUND_CORRUPT,	/* moved to corrupt/, or damaged there */
	QUEUE_FOUND_STRANGE,	/* a link, a pipe, a name that is no id */
	QUEUE_FOUND_FAILED	/* errno: try later */
};

/*
 * Told of each file. fd is open for reading with QUEUE_FOUND_MESSAGE, else
 * -1, and closed after the call. name->place is where the file is now; file
 * is its name as found; why is in words, or NULL. Not 0 ends the scan.
 */
typedef int queue_recover_fn(enum queue_found, const struct queue_name *name,
    const char *file, int fd, const char *why, void *ctx);

/* One file, anywhere. What fn returned. */
int queue_recover_file(const struct queue_spool *, const struct queue_name *,
    const char *file, queue_recover_fn *, void *ctx);
/* All of incoming/, then a sync of it and of corrupt/. 0, -1, or fn's. */
int queue_recover(const struct queue_spool *, queue_recover_fn *, void *ctx);
#endif
