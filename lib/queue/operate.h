/*
 * operate.h - the queue for an operator: its messages by age, what each one
 * shows, and changes to files that nobody works on
 *
 * For qmgr, and for the commands that hold its lock while it is down; both
 * tell the same of the same spool.
 */
#ifndef QUEUE_OPERATE_H
#define QUEUE_OPERATE_H
#include "queue/log.h"
#include "queue/spool.h"

/* --- names --- */

struct queue_names {
	struct queue_name *v;
	size_t n, room;
};

#define QUEUE_PLACE_BIT(place) (1u << (place))

/* All names in those places (bits), by id, that is by age; zero before.
 * 0, or -1: a place cannot be read, which *place_r says. To be freed either
 * way. */
int queue_names_read(struct queue_names *, const struct queue_spool *,
    unsigned places, enum queue_place *place_r);
void queue_names_free(struct queue_names *);
/* NULL: no id, or not there. */
const struct queue_name *queue_names_find(const struct queue_names *,
    struct str id);

/* --- a message --- */

/* All strings live in the arena. */
struct queue_listed {
	struct arena *arena;
	struct queue_reader reader;	/* its descriptor is closed */
	bool *closed;			/* a recipient: done */
	struct str *reasons;		/* a recipient: why not, or "" */
	bool expired;			/* an operator wants it to expire */
};

/* 0, or -1: it is gone, or no message. */
int queue_listed_read(struct queue_listed *, const struct queue_spool *,
    const struct queue_name *, struct arena *);

#define QUEUE_LISTED_RCPTS 100

/* Some of its recipients that are not done, short enough for a message
 * between processes: addresses of at most 320 octets, reasons of 500. */
struct queue_listed_part {
	struct str rcpts[QUEUE_LISTED_RCPTS];
	struct str originals[QUEUE_LISTED_RCPTS];
	struct str reasons[QUEUE_LISTED_RCPTS];
	size_t n;
	bool more;	/* there may be others */
};

/* The next of them; *at is 0 for the first call. */
void queue_listed_next(const struct queue_listed *, size_t *at,
    struct queue_listed_part *);

/* --- changes --- */

/* The file is a message: in incoming/ it may be somebody's stock. */
bool queue_is_message(const struct queue_spool *, const struct queue_name *);
/*
 * Moves the file to another place, due now, or unlinks it (`to` is
 * QUEUE_PLACE_COUNT); `expire`: notes first that an operator wants it to
 * expire. *name becomes the new one. -1: it is gone, or a file in incoming/
 * that is no message (somebody's stock), or errno. The directories are the
 * caller's to sync.
 */
int queue_change(const struct queue_spool *, struct queue_name *, bool expire,
    enum queue_place to);
#endif
