#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "smtp/agent.h"

#define IDLE_THREAD 30		/* seconds a thread waits for work */
#define SEND_TIMEOUT (30 * CLOCK_SECOND)
#define RETRY_MIN (50 * CLOCK_MS)
#define RETRY_MAX (2 * CLOCK_SECOND)
/* Results that qmgr has not recorded yet. Above this no job is begun: a qmgr
 * whose disk is stuck is not to fill our memory. */
#define HELD_MAX 20000

/* A result, until qmgr has recorded it. */
struct held {
	struct agent_result m;
	char text[];
};

/*
 * All that threads share is here, behind one lock; sending has a lock of its
 * own, so that nobody waits with the first one held.
 */
struct agent {
	struct deliver deliver;
	struct edge *edge;
	size_t capacity;
	int (*spawn)(void (*fn)(void *), void *arg);

	pthread_mutex_t lock;
	pthread_cond_t work;	/* a job is queued */
	pthread_cond_t change;	/* something ended or was recorded */
	struct job *first, **last;
	size_t queued, idle, threads;
	struct job *running;	/* being delivered, or queued */
	size_t nrunning;
	struct map *held;	/* "id index" -> struct held */
	bool draining;

	pthread_mutex_t sending;
	struct conv *conv;	/* NULL: none */
	uint64_t session;	/* its number; changes with both locks held */
};

/* --- results --- */

static void held_key(struct str id, uint64_t index, char out[96],
    struct str *key)
{
	int n = snprintf(out, 96, STR_FMT " %llu", STR_ARG(id),
	    (unsigned long long)index);

	*key = str_n(out, n < 96 ? (size_t)n : 95);
}

static struct str put_str(char **at, struct str s, size_t max)
{
	struct str copy = { *at, s.n < max ? s.n : max };

	if (copy.n > 0)
		memcpy(*at, s.p, copy.n);
	*at += copy.n;
	return copy;
}

static struct held *held_new(const struct agent_result *m)
{
	struct held *h = malloc(sizeof(*h) + m->queue_id.n + m->dsn.n +
	    m->text.n + m->relay.n + m->diagnostic.n);
	char *at;

	if (h == NULL)
		return NULL;
	at = h->text;
	h->m = *m;
	h->m.queue_id = put_str(&at, m->queue_id, 64);
	h->m.dsn = put_str(&at, m->dsn, 16);
	h->m.text = put_str(&at, m->text, 4096);
	h->m.relay = put_str(&at, m->relay, 512);
	h->m.diagnostic = put_str(&at, m->diagnostic, 4096);
	return h;
}

/* A job's number means something in its own conversation only. A conversation
 * that fails is shut, so that the receiving thread finds its end and opens the
 * next. */
static void send_result(struct agent *a, const struct job *j,
    struct agent_result *m)
{
	const char *why;

	pthread_mutex_lock(&a->sending);
	m->job = j->session == a->session ? j->number : 0;
	if (a->conv != NULL && conv_send(a->conv, &agent_result_schema, m,
		clock_now() + SEND_TIMEOUT, &why) < 0) {
		log_warn("qmgr: cannot send a result: %s", why);
		shutdown(conv_fd(a->conv), SHUT_RDWR);
	}
	pthread_mutex_unlock(&a->sending);
}

static void report(const struct job *j, const struct rcpt *r,
    enum agent_status status, const struct outcome *o)
{
	struct agent *a = j->ctx;
	char dsn[MAIL_STATUS_SIZE], text[96];
	struct agent_result m = {
		.queue_id = j->queue_id,
		.index = r->index, .status = status,
		.dsn = str_of(mail_status_print(o->status, dsn)),
		.text = o->text, .relay = o->remote,
		.diagnostic = o->diagnostic,
		.nexthop_dead = status == AGENT_DEFERRED && o->nexthop_dead,
		.file_damaged = status == AGENT_DEFERRED && o->file_damaged,
		.onward = status == AGENT_SENT ? o->onward : 0,
	};
	struct held *h = held_new(&m);
	void *old = NULL;
	struct str key;

	held_key(j->queue_id, r->index, text, &key);
	if (h == NULL)
		log_fatal("no memory for a result");
	/* First held, then sent: whatever happens to qmgr in between, the
	 * next one is told. */
	pthread_mutex_lock(&a->lock);
	if (map_set(a->held, key, h, &old) < 0)
		log_fatal("no memory for a result");
	pthread_mutex_unlock(&a->lock);
	free(old);
	send_result(a, j, &m);
	job_log(j, r, status, o);
}

static void recorded(struct agent *a, const struct agent_recorded *m)
{
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < m->queue_ids.n && i < m->indexes.n; i++) {
		char text[96];
		struct str key;

		held_key(m->queue_ids.v[i], m->indexes.v[i], text, &key);
		free(map_take(a->held, key));
	}
	pthread_cond_broadcast(&a->change);
	pthread_mutex_unlock(&a->lock);
}

/* --- the pool --- */

static void list_job(struct agent *a, struct job *j)
{
	j->all_next = a->running;
	j->all_prev = NULL;
	if (a->running != NULL)
		a->running->all_prev = j;
	a->running = j;
	a->nrunning++;
}

static void unlist_job(struct agent *a, struct job *j)
{
	if (j->all_prev != NULL)
		j->all_prev->all_next = j->all_next;
	else
		a->running = j->all_next;
	if (j->all_next != NULL)
		j->all_next->all_prev = j->all_prev;
	a->nrunning--;
	pthread_cond_broadcast(&a->change);
}

/* The next job, or NULL when none came for long. With the lock. */
static struct job *next_job(struct agent *a)
{
	struct timespec until;
	struct job *j;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += IDLE_THREAD;
	a->idle++;
	while (a->first == NULL && pthread_cond_timedwait(&a->work, &a->lock,
		&until) != ETIMEDOUT)
		;
	a->idle--;
	if ((j = a->first) != NULL) {
		if ((a->first = j->next) == NULL)
			a->last = &a->first;
		a->queued--;
	}
	return j;
}

static void work(void *arg)
{
	struct agent *a = arg;
	struct job *j;

	pthread_mutex_lock(&a->lock);
	while ((j = next_job(a)) != NULL) {
		while (map_count(a->held) > HELD_MAX && !a->draining)
			pthread_cond_wait(&a->change, &a->lock);
		pthread_mutex_unlock(&a->lock);
		deliver(&a->deliver, j);
		pthread_mutex_lock(&a->lock);
		unlist_job(a, j);
		job_free(&j);
	}
	a->threads--;
	pthread_mutex_unlock(&a->lock);
}

static void add_job(struct agent *a, struct job *j)
{
	bool more;

	pthread_mutex_lock(&a->lock);
	*a->last = j;
	a->last = &j->next;
	a->queued++;
	list_job(a, j);
	more = a->queued > a->idle && a->threads < a->capacity;
	a->threads += more;
	pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
	if (more && a->spawn(work, a) < 0) {
		pthread_mutex_lock(&a->lock);
		if (--a->threads == 0)
			log_fatal("cannot start a thread");
		pthread_mutex_unlock(&a->lock);
	}
}

/* --- the conversation --- */

static int say_hello(struct agent *a, struct conv *c, bool draining)
{
	struct str transports[] = { STR("smtp"), STR("relay"), STR("lmtp") };
	struct agent_hello m = {
		.program = STR("smtp"),
		.transports = { transports, 3 },
		.capacity = draining ? 0 : a->capacity,
	};
	const char *why;

	return conv_send(c, &agent_hello_schema, &m,
	    clock_now() + SEND_TIMEOUT, &why);
}

/* What is held and what runs. With both locks: nothing is added meanwhile. */
static int say_state(struct agent *a, struct conv *c)
{
	int64_t deadline = clock_now() + SEND_TIMEOUT;
	uint64_t indexes[AGENT_RCPT_MAX];
	const char *why;
	struct str key;
	size_t pos = 0;
	void *value;

	while (map_next(a->held, &pos, &key, &value)) {
		struct agent_result m = ((struct held *)value)->m;

		m.job = 0;
		if (conv_send(c, &agent_result_schema, &m, deadline,
			&why) < 0)
			return -1;
	}
	for (const struct job *j = a->running; j != NULL; j = j->all_next) {
		struct agent_running m = { .queue_id = j->queue_id,
			.indexes = { indexes, 0 } };

		for (size_t i = 0; i < j->count && i < AGENT_RCPT_MAX; i++)
			if (j->rcpts[i].state != RCPT_DONE)
				indexes[m.indexes.n++] = j->rcpts[i].index;
		if (m.indexes.n > 0 && conv_send(c, &agent_running_schema, &m,
			deadline, &why) < 0)
			return -1;
	}
	return conv_send(c, &agent_present_schema, NULL, deadline, &why);
}

/* Opens, tells who we are and what we have, and makes it the conversation. */
static struct conv *introduce(struct agent *a, uint64_t *session_r,
    bool *draining_r)
{
	struct conv *c = edge_open_fresh(a->edge,
	    clock_now() + SEND_TIMEOUT);
	int rc;

	if (c == NULL)
		return NULL;
	pthread_mutex_lock(&a->sending);
	pthread_mutex_lock(&a->lock);
	*draining_r = a->draining;
	*session_r = ++a->session;
	rc = say_hello(a, c, a->draining);
	if (rc == 0)
		rc = say_state(a, c);
	if (rc == 0)
		a->conv = c;
	pthread_mutex_unlock(&a->lock);
	pthread_mutex_unlock(&a->sending);
	if (rc < 0)
		conv_close(&c);
	return c;
}

static void receive(struct agent *a, struct conv *c, uint64_t session,
    bool draining)
{
	static const struct msg_schema *const allowed[] = {
		&agent_job_schema, &agent_recorded_schema };
	union {
		struct agent_job job;
		struct agent_recorded recorded;
	} m;
	const struct msg_schema *got;
	enum conv_got what;
	const char *why;

	while ((what = conv_recv(c, allowed, 2, &got, &m, CLOCK_NEVER,
		&why)) == CONV_MESSAGE) {
		struct job *j;

		if (got == &agent_recorded_schema) {
			recorded(a, &m.recorded);
			continue;
		}
		if (draining) {
			msg_close_fds(&agent_job_schema, &m.job);
			break; /* qmgr does not listen: begin anew */
		}
		if ((j = job_new(&m.job, report, a)) == NULL) {
			log_warn("no memory for a delivery");
			break; /* qmgr gives it to somebody else */
		}
		j->session = session;
		add_job(a, j);
	}
	if (what == CONV_BROKEN)
		log_warn("qmgr: %s", why);
}

static void converse(void *arg)
{
	struct agent *a = arg;
	int64_t pause = RETRY_MIN;

	for (;;) {
		bool draining;
		uint64_t session;
		struct conv *c = introduce(a, &session, &draining);

		if (c != NULL) {
			pause = RETRY_MIN;
			receive(a, c, session, draining);
			pthread_mutex_lock(&a->sending);
			a->conv = NULL;
			pthread_mutex_unlock(&a->sending);
			conv_close(&c);
		}
		usleep((useconds_t)pause);
		if (pause < RETRY_MAX)
			pause *= 2;
	}
}

/* Closes sessions that are idle too long. */
static void tidy(void *arg)
{
	struct agent *a = arg;

	for (;;) {
		cache_wait(a->deliver.cache);
		while (cache_expire(a->deliver.cache, false) > 0)
			usleep(500000);
		usleep(500000);
	}
}

struct agent *agent_start(const struct deliver *d, struct edge *edge,
    size_t capacity, int (*spawn)(void (*fn)(void *), void *arg))
{
	struct agent *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->deliver = *d;
	a->edge = edge;
	a->capacity = capacity > 0 ? capacity : 1;
	a->spawn = spawn;
	a->last = &a->first;
	a->held = map_new(false);
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->sending, NULL);
	pthread_cond_init(&a->work, NULL);
	pthread_cond_init(&a->change, NULL);
	if (a->held == NULL || spawn(converse, a) < 0 || spawn(tidy, a) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

struct drain {
	struct agent *agent;
	int64_t until;
	void (*done)(void);
};

static void wait_for_end(void *arg)
{
	struct drain *d = arg;
	struct agent *a = d->agent;

	pthread_mutex_lock(&a->lock);
	while ((a->nrunning > 0 || map_count(a->held) > 0) &&
	    clock_now() < d->until) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		pthread_cond_timedwait(&a->change, &a->lock, &until);
	}
	pthread_mutex_unlock(&a->lock);
	cache_expire(a->deliver.cache, true);
	d->done();
	free(d);
}

void agent_drain(struct agent *a, int64_t grace, void (*done)(void))
{
	struct drain *d = calloc(1, sizeof(*d));

	pthread_mutex_lock(&a->sending);
	pthread_mutex_lock(&a->lock);
	a->draining = true;
	/* the receiving thread finds the end and registers anew */
	if (a->conv != NULL)
		shutdown(conv_fd(a->conv), SHUT_RDWR);
	pthread_cond_broadcast(&a->change);
	pthread_mutex_unlock(&a->lock);
	pthread_mutex_unlock(&a->sending);
	if (d != NULL) {
		*d = (struct drain){ a, clock_now() + grace, done };
		if (a->spawn(wait_for_end, d) == 0)
			return;
		free(d);
	}
	done();
}
