/*
 * local - delivers to this system's users
 *
 * Hears from:  qmgr (msgs/agent.h)
 * Talks to:    auth (where a user's mail lives), deliver and deliver_command
 *              (which put it there), lookup (aliases), cleanup (what is sent
 *              on)
 * Runs as:     postern-local, empty root, no files
 * Owns:        nothing
 * Start at:    recipient.c
 * RFCs:        5321 (4.4, 6.3), 3461 (5.2.7)
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "base/log.h"
#include "local/recipient.h"
#include "service/agent.h"
#include "service/service.h"

/* A recipient's strings, its .forward, the header that is looked at. */
#define ARENA_MAX (4 * 1024 * 1024)
/* Recipients of one job that are delivered to at the same time. */
#define PARALLEL 8

static struct agent *agent;

/* A job whose recipients several threads share. */
struct crew {
	struct agent_task *task;
	atomic_size_t next;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	size_t working;
};

static void work(struct crew *c)
{
	struct arena *a = arena_new(ARENA_MAX);
	size_t i;

	/* without memory they stay unreported, that is, deferred */
	while (a != NULL && (i = atomic_fetch_add(&c->next, 1)) <
	    c->task->job.rcpts.n) {
		recipient_deliver(c->task, i, a);
		arena_reset(a);
	}
	arena_free(&a);
}

static void help(void *arg)
{
	struct crew *c = arg;

	work(c);
	pthread_mutex_lock(&c->lock);
	c->working--;
	pthread_cond_signal(&c->ended);
	pthread_mutex_unlock(&c->lock);
}

static void deliver_job(struct agent_task *t)
{
	struct crew c = { .task = t, .lock = PTHREAD_MUTEX_INITIALIZER,
		.ended = PTHREAD_COND_INITIALIZER };
	size_t helpers = t->job.rcpts.n < PARALLEL ? t->job.rcpts.n
	    : PARALLEL;

	for (size_t i = 1; i < helpers; i++) {
		pthread_mutex_lock(&c.lock);
		c.working++;
		pthread_mutex_unlock(&c.lock);
		if (service_thread(help, &c) == 0)
			continue;
		pthread_mutex_lock(&c.lock);
		c.working--;
		pthread_mutex_unlock(&c.lock);
		break;
	}
	work(&c);
	pthread_mutex_lock(&c.lock);
	while (c.working > 0)
		pthread_cond_wait(&c.ended, &c.lock);
	pthread_mutex_unlock(&c.lock);
}

static int start(void)
{
	tzset(); /* the zone of Received:, while it can be read */
	return 0;
}

static int ready(struct loop *loop)
{
	static const char *const transports[] = { "local", "virtual" };
	struct agent_config config = {
		.program = "local",
		.transports = transports, .count = 2,
		.capacity = service_session_max(),
		.deliver = deliver_job,
		.edge = service_edge("qmgr"),
		.spawn = service_thread,
		.done = service_done,
	};

	(void)loop;
	agent = agent_start(&config);
	return agent != NULL ? 0 : -1;
}

static bool drain(bool stopping)
{
	agent_drain(agent, stopping ? AGENT_STOP_GRACE : CLOCK_NEVER);
	return false;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "local",
		.start = start,
		.ready = ready,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
