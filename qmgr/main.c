/*
 * qmgr - owns the queue: schedules deliveries, and lists and steers them
 *
 * Hears from:  cleanup (msgs/stock.h), local, smtp and bounce (msgs/agent.h),
 *              pickup for operators (msgs/queue.h)
 * Asks:        lookup, where deferred mail leads now
 * Runs as:     postern-qmgr, in an empty root, with the spool
 * Owns:        the spool: incoming/ deferred/ hold/ corrupt/ done
 * Start at:    message.c, the states of a message
 * RFCs:        5321 section 4.5.4 (retry), 3461 (when a notice is due)
 */
#include <signal.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "qmgr/qmgr.h"
#include "service/service.h"

#define TICK CLOCK_SECOND
/* When we are told to stop, deliveries have so long to end. What runs on is
 * told to the next qmgr by its agent. */
#define STOP_GRACE (5 * CLOCK_SECOND)

static struct qmgr qmgr;

/* Conversations that came before the spool was read. */
struct early {
	struct conv *conv;
	const char *client;
};

static struct early *early;
static size_t early_count;

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
	(void)ctx;
	service_done();
}

static bool needs_tick(const struct qmgr *q)
{
	return q->message_count > 0 || q->held_count > 0 ||
	    !TAILQ_EMPTY(&q->lost) || q->grace != 0 ||
	    !LIST_EMPTY(&q->cleanups);
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
		agents_add(q, conv);
}

static void conv_arrived(struct conv *conv, const char *client)
{
	struct early *more;

	if (qmgr.ready) {
		take_conv(&qmgr, conv, client);
		return;
	}
	more = realloc(early, (early_count + 1) * sizeof(*more));
	if (more == NULL)
		log_fatal("no memory");
	early = more;
	early[early_count++] = (struct early){ conv, client };
}

void qmgr_is_ready(struct qmgr *q)
{
	for (size_t i = 0; i < early_count; i++)
		take_conv(q, early[i].conv, early[i].client);
	free(early);
	early = NULL;
	early_count = 0;
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

static int start(void)
{
	/* Somebody opens a file in the moment in which we prove that nobody
	 * has it: the kernel says so by this signal. */
	signal(SIGIO, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int ready(struct loop *loop)
{
	struct qmgr *q = &qmgr;

	q->loop = loop;
	q->params = service_params();
	q->bucket = choose_bucket(q->params);
	q->next_due = INT64_MAX;
	TAILQ_INIT(&q->messages);
	TAILQ_INIT(&q->lost);
	q->destinations = map_new(false);
	q->tick = timer_new(loop, tick, q);
	q->run_timer = timer_new(loop, look, q);
	q->recorder = recorder_new(q);
	q->disk = disk_new(loop, QMGR_DISK_THREADS, service_thread);
	if (q->destinations == NULL || q->tick == NULL ||
	    q->run_timer == NULL || q->recorder == NULL || q->disk == NULL ||
	    registry_init(&q->registry) < 0) {
		log_warn("cannot start: no memory, or no threads");
		return -1;
	}
	disk_set_wake(q->disk, on_wake, q);
	load_start(q);
	return 0;
}

static bool drain(bool stopping)
{
	struct qmgr *q = &qmgr;
	static struct timer *timer;

	q->draining = true;
	if (!q->ready || is_idle(q))
		return true;
	if (stopping && timer == NULL) {
		timer = timer_new(q->loop, stop_now, q);
		if (timer == NULL)
			return true;
		timer_in(timer, STOP_GRACE);
	}
	return false;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "qmgr",
		.start = start,
		.ready = ready,
		.conv_arrived = conv_arrived,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
