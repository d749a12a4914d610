/*
 * queue.h - an operator's questions and orders about the queue, to `qmgr`
 *
 * Asked by `pickup` for the commands that reach its socket; who may ask is
 * its business. A conversation may hold many exchanges, one after another.
 *
 *   client                         qmgr
 *     queue_list     ------------->
 *                    <-------------  queue_item     none or more
 *                    <-------------  queue_end
 *
 *     (those of QUEUE_IN_MAILDROP come from pickup, before qmgr's)
 *
 *     queue_order    ------------->
 *                    <-------------  queue_changed  none or more
 *                    <-------------  queue_end
 *
 *     queue_show     ------------->
 *                    <-------------  queue_file
 */
#ifndef MSGS_QUEUE_H
#define MSGS_QUEUE_H
#include "ipc/msg.h"

#define QUEUE_IDS_MAX 1000

/* Where a message is; the names are what mailq and postsuper call them. */
enum queue_where {
	QUEUE_IN_ACTIVE = 1,	/* in work */
	QUEUE_IN_INCOMING,	/* committed, not yet taken up */
	QUEUE_IN_DEFERRED,
	QUEUE_IN_HOLD,
	QUEUE_IN_CORRUPT,
	QUEUE_IN_MAILDROP	/* not yet taken by pickup, which lists it */
};
#define QUEUE_WHERE_BIT(where) (UINT64_C(1) << (where))
#define QUEUE_WHERE_ALL UINT64_C(0x1e) /* all that qmgr has but corrupt */

struct queue_list {
	uint64_t where;       /* bits; 0: QUEUE_WHERE_ALL */
	struct strs ids;      /* only these; empty: all */
};

/* A message; with many recipients it takes several, of which all but the
 * last have `more`. The arrays run in parallel. */
struct queue_item {
	struct str queue_id;
	uint64_t where;       /* enum queue_where */
	int64_t arrival;      /* microseconds since the epoch */
	int64_t due;          /* deferred: seconds, start of its bucket */
	uint64_t size;        /* octets of content */
	bool expired;         /* an operator wants it to expire */
	struct str sender;
	struct strs rcpts;    /* those that are not done */
	struct strs originals;
	struct strs reasons;  /* why it was deferred, or "" */
	bool more;
};

enum queue_verb {
	QUEUE_DO_FLUSH = 1,  /* deferred: try now */
	QUEUE_DO_HOLD,       /* incoming, active, deferred -> hold */
	QUEUE_DO_RELEASE,    /* hold -> deferred, due now */
	QUEUE_DO_REQUEUE,    /* anywhere: resolved and tried anew, now */
	QUEUE_DO_DELETE,
	QUEUE_DO_EXPIRE      /* returned to the sender at the next attempt */
};

struct queue_order {
	uint64_t verb;
	uint64_t where;       /* bits: of messages there; 0 is all but corrupt */
	struct strs ids;      /* empty: every message there */
	struct str site;      /* FLUSH: only mail for this next hop, or "" */
};

/* Messages that the order was done to, in their order. */
struct queue_changed {
	struct strs ids;
};

struct queue_end {
	uint64_t count;       /* messages listed or changed */
	uint64_t octets;      /* of their content, for a list */
	struct strs missing;  /* ids that were asked for and are not there */
	struct str error;     /* "" or what went wrong */
};

struct queue_show {
	struct str queue_id;
};

struct queue_file {
	int fd;               /* read-only, -1: no such message */
	uint64_t where;
	int64_t due;
};

extern const struct msg_schema queue_list_schema;
extern const struct msg_schema queue_item_schema;
extern const struct msg_schema queue_order_schema;
extern const struct msg_schema queue_changed_schema;
extern const struct msg_schema queue_end_schema;
extern const struct msg_schema queue_show_schema;
extern const struct msg_schema queue_file_schema;
#endif
