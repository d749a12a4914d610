/*
 * core.c - the parts put together: start, the clock, what arrives, the end
 */
#include <stdlib.h>
#include "qmgr/core.h"
#include "service/service.h"

#define TICK CLOCK_SECOND
/* When we are told to stop, deliveries have so long to end. What runs on is
 * told to the next qmgr by its agent. */
#define DRAIN_GRACE (5 * CLOCK_SECOND)
/* At a reload with more mail than fits into memory: the next qmgr does not
 * know all that its agents speak of, and would have it delivered again. */
#define DRAIN_GRACE_FULL (60 * CLOCK_SECOND)

/* A conversation that came before the spool was read. */
struct early {
	STAILQ_ENTRY(early) link;
	struct conv *conv;
	const char *client;
};

/* Of the one qmgr of this process, until it is ready. */
static STAILQ_HEAD(, early) early = STAILQ_HEAD_INITIALIZER(early);
static struct timer *stop_timer;

void qmgr_spool_failed(const char *what, const char *id)
{
	log_warn("%s: cannot %s its file", id, what);
}

static bool is_idle(const struct qmgr *q)
{
	return q->running == 0 && recorder_is_idle(q->recorder) &&
	    disk_pending(q->disk) == 0;
}

void qmgr_check_drain(struct qmgr *q)
{
	if (q->draining && is_idle(q))
		service_done();
}

static void stop_now(void *ctx)
{
	struct qmgr *q = ctx;
	struct message *m;

	TAILQ_FOREACH(m, &q->messages, link)
		message_leave(q, m);
	service_done();
}

static bool needs_tick(const struct qmgr *q)
{
	return q->message_count > 0 || q->held_count > 0 ||
	    !TAILQ_EMPTY(&q->lost) || q->grace != 0 ||
	    !TAILQ_EMPTY(&q->cleanups);
}

/* What was found at start may be delivered: agents said what they have. */
static void end_grace(struct qmgr *q)
{
	struct message *m, *next;

	q->grace = 0;
	for (m = TAILQ_FIRST(&q->messages); m != NULL; m = next) {
		next = TAILQ_NEXT(m, link);
		message_start(q, m);
	}
}

static void tick(void *ctx)
{
	struct qmgr *q = ctx;
	int64_t now = loop_now(q->loop);

	if (q->ready) {
		if (q->grace != 0 && now >= q->grace)
			end_grace(q);
		agents_tick(q, now);
		load_tick(q, now);
		schedule_tick(q, now);
		stock_serve(q);
	}
	qmgr_check_drain(q);
	if (needs_tick(q))
		timer_in(q->tick, TICK);
}

void qmgr_start_tick(struct qmgr *q)
{
	if (!timer_runs(q->tick))
		timer_in(q->tick, TICK);
}

static void look(void *ctx)
{
	load_run(ctx);
}

/* After each turn of the disk threads' work, and when an operator's thread
 * left something to be done. */
static void on_wake(void *ctx)
{
	struct qmgr *q = ctx;
	struct message *m, *next;

	if (atomic_exchange(&q->look, false))
		load_flushed(q);
	if (atomic_exchange(&q->wishes, false))
		for (m = TAILQ_FIRST(&q->messages); m != NULL; m = next) {
			next = TAILQ_NEXT(m, link);
			message_heed(q, m);
		}
	qmgr_check_drain(q);
}

static void take_conv(struct qmgr *q, struct conv *conv, const char *client)
{
	if (strcmp(client, "cleanup") == 0)
		stock_add(q, conv);
	else if (strcmp(client, "pickup") == 0)
		operator_add(q, conv);
	else
		agents_add(q, conv, client);
}

void qmgr_take(struct qmgr *q, struct conv *conv, const char *client)
{
	struct early *e;

	if (q->ready) {
		take_conv(q, conv, client);
		return;
	}
	e = malloc(sizeof(*e));
	if (e == NULL)
		log_fatal("no memory");
	e->conv = conv;
	e->client = client;
	STAILQ_INSERT_TAIL(&early, e, link);
}

void qmgr_is_ready(struct qmgr *q)
{
	struct early *e;

	while ((e = STAILQ_FIRST(&early)) != NULL) {
		STAILQ_REMOVE_HEAD(&early, link);
		take_conv(q, e->conv, e->client);
		free(e);
	}
	qmgr_start_tick(q);
}

/* Due times are kept in buckets; short retry times need narrow ones. */
static int64_t choose_bucket(const struct params *p)
{
	int64_t bucket = p->minimal_backoff_time / 8;

	if (bucket < 1)
		bucket = 1;
	return bucket < QUEUE_DUE_BUCKET ? bucket : QUEUE_DUE_BUCKET;
}

int qmgr_start(struct qmgr *q, struct loop *loop, const struct params *p)
{
	q->loop = loop;
	q->params = p;
	q->bucket = choose_bucket(q->params);
	q->next_due = INT64_MAX;
	q->incoming_due = INT64_MAX;
	TAILQ_INIT(&q->messages);
	TAILQ_INIT(&q->cleanups);
	TAILQ_INIT(&q->lost);
	q->destinations = map_new(false);
	q->held_ids = map_new(false);
	q->tick = timer_new(loop, tick, q);
	q->run_timer = timer_new(loop, look, q);
	q->recorder = recorder_new(q);
	q->disk = disk_new(loop, QMGR_DISK_THREADS, service_thread);
	if (q->destinations == NULL || q->held_ids == NULL ||
	    q->tick == NULL || q->run_timer == NULL || q->recorder == NULL ||
	    q->disk == NULL || registry_init(&q->registry) < 0) {
		log_warn("cannot start: no memory, or no threads");
		return -1;
	}
	disk_set_wake(q->disk, on_wake, q);
	load_start(q);
	return 0;
}

/*
 * What agents are at is not waited for long: the next qmgr has the spool only
 * when we let go of it, a next hop may take its time for hours, and agents say
 * to the next one what they run and hold.
 */
bool qmgr_drain(struct qmgr *q, bool stopping)
{
	bool full = q->incoming_left || q->deferred_left;

	q->draining = true;
	if (!q->ready || is_idle(q))
		return true;
	if (stop_timer == NULL) {
		stop_timer = timer_new(q->loop, stop_now, q);
		if (stop_timer == NULL)
			return true;
		timer_in(stop_timer, full && !stopping ? DRAIN_GRACE_FULL
		    : DRAIN_GRACE);
	}
	return false;
}
