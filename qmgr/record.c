/*
 * record.c - results go into `done`, all of a few milliseconds with one sync
 *
 * The same step unlinks the files of messages that are over with it, so
 * that a delivery costs the loop one turn to a disk thread, shared by all
 * that ended at that time.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "qmgr/qmgr.h"

struct record {
	struct message *message;
	uint32_t index;
	int64_t when;
};

#define NOT_KEPT (-1)
#define KEEP (-2)

struct batch {
	struct record *records;
	size_t count, room;
	uint64_t *forgotten;
	size_t forgotten_count, forgotten_room;
	struct message **released;
	int *errors;
	int *fds;		/* of what is kept as a spare, or NOT_KEPT, or
				   before it was tried KEEP */
	size_t released_count, released_room;
};

struct recorder {
	struct disk_work work;	/* first: it is what disk threads know */
	struct qmgr *qmgr;
	struct timer *timer;
	struct batch next, now;
	bool running;
	int error;
};

static void *grow(void *p, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	void *grown;

	if (count < *room)
		return p;
	grown = realloc(p, more * size);
	if (grown == NULL)
		log_fatal("no memory");
	*room = more;
	return grown;
}

static void add_release(struct batch *b, struct message *m)
{
	b->released = grow(b->released, b->released_count, &b->released_room,
	    sizeof(*b->released));
	b->released[b->released_count++] = m;
}

/* Unlinks that forgotten records stand for become durable, in whatever
 * directory: it happens once in a hundred thousand results. */
static int settle(void *ctx)
{
	struct qmgr *q = ctx;

	return sys_syncfs(q->spool.place[QUEUE_INCOMING]);
}

static void run(struct disk_work *w)
{
	struct recorder *r = (struct recorder *)w;
	struct batch *b = &r->now;
	struct qmgr *q = r->qmgr;

	r->error = 0;
	for (size_t i = 0; i < b->forgotten_count; i++)
		queue_done_forget(q->done, b->forgotten[i]);
	for (size_t i = 0; i < b->count; i++)
		if (queue_done_add(q->done, b->records[i].message->id,
		    b->records[i].index, QUEUE_LOG_SENT,
		    b->records[i].when) < 0)
			r->error = ENOMEM;
	if (r->error == 0 && b->count > 0 &&
	    queue_done_sync(q->done, settle, q) < 0)
		r->error = errno;
	if (r->error != 0)
		return;
	for (size_t i = 0; i < b->released_count; i++) {
		struct message *m = b->released[i];

		if (b->fds[i] == KEEP)
			b->fds[i] = queue_spool_retire(&q->spool, m->id);
		if (b->fds[i] >= 0)
			continue;
		b->errors[i] = queue_spool_release(&q->spool, &m->name) < 0
		    ? errno : 0;
		queue_done_forget(q->done, m->id);
	}
}

/* What is small and never left incoming/ is not unlinked but given again. */
static void choose_spares(struct qmgr *q, struct batch *b)
{
	size_t room = q->recycles ? QMGR_SPARES - q->spare_count : 0;

	for (size_t i = 0; i < b->released_count; i++) {
		const struct message *m = b->released[i];

		b->errors[i] = 0;
		b->fds[i] = NOT_KEPT;
		if (room == 0 || m->name.place != QUEUE_INCOMING ||
		    m->size > QUEUE_SPARE_OCTETS)
			continue;
		b->fds[i] = KEEP;
		room--;
	}
}

static void keep_spare(struct qmgr *q, uint64_t id, int fd)
{
	if (q->spare_count == QMGR_SPARES)
		log_panic("more spare files than were chosen");
	q->spares[q->spare_count++] = (struct queue_spare){ id, fd };
}

static void begin(void *ctx)
{
	struct recorder *r = ctx;
	struct batch empty = r->now;

	if (r->running || (r->next.count == 0 && r->next.released_count == 0))
		return;
	r->now = r->next;
	r->next = empty;
	r->next.count = r->next.released_count = 0;
	r->next.forgotten_count = 0;
	for (size_t i = 0; i < r->now.count; i++)
		r->now.records[i].message->recording++;
	/* Which of these messages end with what is recorded here. */
	for (size_t i = 0; i < r->now.count; i++) {
		struct message *m = r->now.records[i].message;

		if (m->recording == m->unrecorded && message_is_ending(m)) {
			m->state = MESSAGE_CLOSING;
			add_release(&r->now, m);
		}
	}
	r->now.errors = realloc(r->now.errors,
	    (r->now.released_room + 1) * sizeof(int));
	r->now.fds = realloc(r->now.fds,
	    (r->now.released_room + 1) * sizeof(int));
	if (r->now.errors == NULL || r->now.fds == NULL)
		log_fatal("no memory");
	choose_spares(r->qmgr, &r->now);
	r->running = true;
	disk_add(r->qmgr->disk, &r->work);
}

static void done(struct disk_work *w)
{
	struct recorder *r = (struct recorder *)w;
	struct batch *b = &r->now;
	struct qmgr *q = r->qmgr;

	/* A sync that failed is not tried again: what is on the disk is what
	 * the next process finds. */
	if (r->error != 0)
		log_fatal("cannot record results: %s", strerror(r->error));
	r->running = false;
	for (size_t i = 0; i < b->count; i++)
		message_recorded(q, b->records[i].message,
		    b->records[i].index);
	for (size_t i = 0; i < b->released_count; i++) {
		if (b->fds[i] >= 0)
			keep_spare(q, b->released[i]->id, b->fds[i]);
		message_released(q, b->released[i], b->errors[i]);
	}
	agents_flush(q);
	begin(r);
}

struct recorder *recorder_new(struct qmgr *q)
{
	struct recorder *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->work.run = run;
	r->work.done = done;
	r->qmgr = q;
	r->timer = timer_new(q->loop, begin, r);
	return r->timer == NULL ? NULL : r;
}

static void kick(struct recorder *r)
{
	if (!r->running && !timer_runs(r->timer))
		timer_in(r->timer, QMGR_RECORD_DELAY);
}

void recorder_add(struct qmgr *q, struct message *m, uint32_t index)
{
	struct recorder *r = q->recorder;
	struct batch *b = &r->next;

	b->records = grow(b->records, b->count, &b->room,
	    sizeof(*b->records));
	b->records[b->count++] = (struct record){ m, index, clock_wall() };
	m->unrecorded++;
	kick(r);
}

void recorder_forget(struct qmgr *q, uint64_t id)
{
	struct batch *b = &q->recorder->next;

	/* It goes with the next batch; there is no hurry. */
	b->forgotten = grow(b->forgotten, b->forgotten_count,
	    &b->forgotten_room, sizeof(*b->forgotten));
	b->forgotten[b->forgotten_count++] = id;
}

void recorder_release(struct qmgr *q, struct message *m)
{
	m->state = MESSAGE_CLOSING;
	add_release(&q->recorder->next, m);
	kick(q->recorder);
}

bool recorder_is_idle(const struct recorder *r)
{
	return !r->running && r->next.count == 0 &&
	    r->next.released_count == 0;
}
