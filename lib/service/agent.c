#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "service/agent.h"

#define TASK_ARENA_MAX (2 * 1024 * 1024)
#define IDLE_THREAD 30	/* seconds a thread waits for work */
#define SEND_TIMEOUT (30 * CLOCK_SECOND)
#define RETRY_LEAST (20 * CLOCK_MS)
#define RETRY_MOST CLOCK_SECOND
/* Results that are not recorded yet. Above this no job is begun: a qmgr
 * whose disk is stuck is not to fill our memory. */
#define HELD_MAX 20000

struct held {
	TAILQ_ENTRY(held) link;
	struct agent_result result;
	char text[];
};

struct work {
	struct agent_task task;	/* first: the handler has its address */
	TAILQ_ENTRY(work) queue;
	LIST_ENTRY(work) all;
	uint64_t session;	/* conversation that it came by */
	struct agent *agent;
	bool *reported;		/* a recipient; behind the lock */
};

/* What threads share is behind one lock; sending has one of its own, so that
 * nobody waits with the first one held. */
struct agent {
	struct agent_config config;

	pthread_mutex_t lock;
	pthread_cond_t arrived, changed;
	TAILQ_HEAD(, work) queue;
	size_t queued, idle, threads;
	LIST_HEAD(, work) all;
	TAILQ_HEAD(held_list, held) held; /* oldest first, as qmgr records */
	size_t nheld;
	bool draining;
	bool ended;		/* done() is called: no job is begun */

	pthread_mutex_t sending;
	struct conv *conv;	/* NULL: none */
	uint64_t session;	/* of conv; changes with both locks held */
};

/* --- results --- */

static struct str put(char **at, struct str s, size_t max)
{
	struct str copy = { *at, s.n < max ? s.n : max };

	if (copy.n > 0)
		memcpy(*at, s.p, copy.n);
	*at += copy.n;
	return copy;
}

/* Recipient i of the job is from now on held and no longer running, in one
 * step: say_state() is to name it once. */
static void hold(struct work *w, size_t i, const struct agent_result *m)
{
	struct agent *a = w->agent;
	struct held *h = malloc(sizeof(*h) + m->queue_id.n + m->dsn.n +
	    m->text.n + m->relay.n + m->diagnostic.n);
	char *at;

	if (h == NULL)
		log_fatal("no memory for a result");
	at = h->text;
	h->result = *m;
	h->result.queue_id = put(&at, m->queue_id, 64);
	h->result.dsn = put(&at, m->dsn, 16);
	h->result.text = put(&at, m->text, 4096);
	h->result.relay = put(&at, m->relay, 512);
	h->result.diagnostic = put(&at, m->diagnostic, 4096);
	pthread_mutex_lock(&a->lock);
	if (w->reported[i])
		log_panic("a recipient was reported twice");
	w->reported[i] = true;
	TAILQ_INSERT_TAIL(&a->held, h, link);
	a->nheld++;
	pthread_mutex_unlock(&a->lock);
}

static void forget(struct agent *a, const struct agent_recorded *m)
{
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < m->queue_ids.n && i < m->indexes.n; i++) {
		struct held *h;

		/* they come in the order in which we sent them */
		TAILQ_FOREACH(h, &a->held, link)
			if (h->result.index == m->indexes.v[i] &&
			    str_eq(h->result.queue_id, m->queue_ids.v[i]))
				break;
		if (h == NULL)
			continue;
		TAILQ_REMOVE(&a->held, h, link);
		a->nheld--;
		free(h);
	}
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

/* A job's number means something in its own conversation only. */
static void send_result(struct agent *a, uint64_t session,
    struct agent_result *m)
{
	const char *why;

	pthread_mutex_lock(&a->sending);
	if (session != a->session)
		m->job = 0;
	if (a->conv != NULL && conv_send(a->conv, &agent_result_schema, m,
		clock_now() + SEND_TIMEOUT, &why) < 0) {
		log_warn("qmgr: cannot send a result: %s", why);
		/* the receiving thread finds the end and opens the next */
		shutdown(conv_fd(a->conv), SHUT_RDWR);
	}
	pthread_mutex_unlock(&a->sending);
}

/* --- the log --- */

/* Where one program serves several of Postfix's, the log has the name of the
 * one that Postfix would have run. */
static const char *program_of(const struct agent_task *t)
{
	static const char *const others[] = { "virtual", "lmtp" };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (str_eq_c(t->job.transport, others[i]))
			return others[i];
	return NULL;
}

/* qmgr's word for a time may be anything. */
static void append_delay(struct buf *line, int64_t from, int64_t to)
{
	int64_t us;

	log_append_delay(line, __builtin_sub_overflow(to, from, &us) ? 0 : us);
}

static void log_delivery(const struct agent_task *t, size_t i,
    const struct agent_outcome *o)
{
	static const char *const words[] = { [AGENT_SENT] = "sent",
		[AGENT_DEFERRED] = "deferred", [AGENT_FAILED] = "bounced" };
	const struct agent_job *j = &t->job;
	int64_t now = clock_wall(), ready = o->ready ? o->ready : t->started;
	struct str orig = i < j->originals.n ? j->originals.v[i] : STR_NONE;
	struct buf line;

	buf_init(&line, LOG_LINE_MAX * 2);
	buf_printf(&line, STR_FMT ": to=<" STR_FMT ">", STR_ARG(j->queue_id),
	    STR_ARG(j->rcpts.v[i]));
	if (orig.n > 0 && !str_eq(orig, j->rcpts.v[i]))
		buf_printf(&line, ", orig_to=<" STR_FMT ">", STR_ARG(orig));
	buf_printf(&line, ", relay=" STR_FMT,
	    STR_ARG(o->relay.n ? o->relay : STR("none")));
	if (o->uses > 1)
		buf_printf(&line, ", conn_use=%u", o->uses);
	buf_append_c(&line, ", delay=");
	append_delay(&line, j->arrival, now);
	buf_append_c(&line, ", delays=");
	append_delay(&line, j->arrival, j->active);
	buf_append_char(&line, '/');
	append_delay(&line, j->active, t->started);
	buf_append_char(&line, '/');
	append_delay(&line, t->started, ready);
	buf_append_char(&line, '/');
	append_delay(&line, ready, now);
	buf_printf(&line, ", dsn=%s, status=%s (" STR_FMT ")", o->dsn,
	    words[o->status], STR_ARG(o->text));
	log_info_as(program_of(t), "%s", buf_cstr(&line));
	buf_fini(&line);
}

void agent_report(struct agent_task *t, size_t i,
    const struct agent_outcome *o)
{
	struct work *w = (struct work *)t;
	struct agent_result m = {
		.job = t->job.job,
		.queue_id = t->job.queue_id,
		.index = t->job.indexes.v[i],
		.status = o->status,
		.dsn = str_of(o->dsn),
		.text = str_sub(o->text, 0, 4096),
		.relay = str_sub(o->remote, 0, 512),
		.diagnostic = str_sub(o->diagnostic, 0, 4096),
		.nexthop_dead = o->status == AGENT_DEFERRED && o->nexthop_dead,
		.file_damaged = o->status == AGENT_DEFERRED && o->file_damaged,
		.onward = o->status == AGENT_SENT ? o->onward : 0,
	};

	/* First held, then sent: whatever happens to qmgr in between, the next
	 * one is told. */
	hold(w, i, &m);
	send_result(w->agent, w->session, &m);
	if (!o->quiet)
		log_delivery(t, i, o);
}

/* --- jobs --- */

static void copy_strs(struct arena *a, struct strs *s, size_t n)
{
	struct str *v = arena_array(a, n ? n : 1, sizeof(*v));

	for (size_t i = 0; v != NULL && i < n && i < s->n; i++)
		v[i] = arena_str(a, s->v[i]);
	*s = (struct strs){ v, n };
}

static void copy_nums(struct arena *a, struct nums *s, size_t n)
{
	uint64_t *v = arena_array(a, n ? n : 1, sizeof(*v));

	for (size_t i = 0; v != NULL && i < n && i < s->n; i++)
		v[i] = s->v[i];
	*s = (struct nums){ v, n };
}

/* Takes the descriptor in any case. */
static struct work *new_work(struct agent *agent, const struct agent_job *m,
    uint64_t session)
{
	struct arena *a = arena_new(TASK_ARENA_MAX);
	struct work *w = a ? ARENA_NEW(a, struct work) : NULL;
	struct agent_job *j;
	size_t n = m->rcpts.n;

	if (w == NULL)
		goto no_memory;
	w->agent = agent;
	w->session = session;
	w->task.arena = a;
	j = &w->task.job;
	*j = *m;
	j->queue_id = arena_str(a, m->queue_id);
	j->transport = arena_str(a, m->transport);
	j->nexthop = arena_str(a, m->nexthop);
	j->sender = arena_str(a, m->sender);
	j->envid = arena_str(a, m->envid);
	copy_strs(a, &j->rcpts, n);
	copy_strs(a, &j->originals, n);
	copy_strs(a, &j->orcpts, n);
	copy_nums(a, &j->indexes, n);
	copy_nums(a, &j->notify, n);
	w->reported = arena_array(a, n ? n : 1, sizeof(bool));
	if (!arena_failed(a))
		return w;
no_memory:
	arena_free(&a);
	if (m->file >= 0)
		close(m->file);
	return NULL;
}

static void free_work(struct work *w)
{
	struct arena *a = w->task.arena;

	if (w->task.job.file >= 0)
		close(w->task.job.file);
	arena_free(&a);
}

static void run(struct work *w)
{
	static const struct agent_outcome none = { .status = AGENT_DEFERRED,
		.dsn = "4.3.0", .text = { "internal error", 14 } };
	struct agent *a = w->agent;

	w->task.started = clock_wall();
	a->config.deliver(&w->task);
	for (size_t i = 0; i < w->task.job.rcpts.n; i++)
		if (!w->reported[i])
			agent_report(&w->task, i, &none);
	pthread_mutex_lock(&a->lock);
	LIST_REMOVE(w, all);
	if (a->draining)
		pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	free_work(w);
}

/* The next job, or NULL when none came for long. With the lock. */
static struct work *next_work(struct agent *a)
{
	struct timespec until;
	struct work *w;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += IDLE_THREAD;
	a->idle++;
	while (TAILQ_EMPTY(&a->queue) && pthread_cond_timedwait(&a->arrived,
		&a->lock, &until) != ETIMEDOUT)
		;
	a->idle--;
	if ((w = TAILQ_FIRST(&a->queue)) != NULL) {
		TAILQ_REMOVE(&a->queue, w, queue);
		a->queued--;
	}
	return w;
}

static void work(void *arg)
{
	struct agent *a = arg;
	struct work *w;

	pthread_mutex_lock(&a->lock);
	while ((w = next_work(a)) != NULL) {
		while (a->nheld > HELD_MAX && !a->draining)
			pthread_cond_wait(&a->changed, &a->lock);
		pthread_mutex_unlock(&a->lock);
		run(w);
		pthread_mutex_lock(&a->lock);
	}
	a->threads--;
	pthread_mutex_unlock(&a->lock);
}

/* 0, or -1: this process is about to end, and a delivery that it began might
 * be made again. */
static int add_work(struct agent *a, struct work *w)
{
	bool more;

	pthread_mutex_lock(&a->lock);
	if (a->ended) {
		pthread_mutex_unlock(&a->lock);
		return -1;
	}
	TAILQ_INSERT_TAIL(&a->queue, w, queue);
	LIST_INSERT_HEAD(&a->all, w, all);
	a->queued++;
	more = a->queued > a->idle && a->threads < a->config.capacity;
	a->threads += more;
	pthread_mutex_unlock(&a->lock);
	/* after the unlock: who wakes up does not run into the lock */
	pthread_cond_signal(&a->arrived);
	if (!more || a->config.spawn(work, a) == 0)
		return 0;
	pthread_mutex_lock(&a->lock);
	if (--a->threads == 0)
		log_fatal("cannot start a thread: %s", strerror(errno));
	pthread_mutex_unlock(&a->lock);
	return 0;
}

/* --- the conversation --- */

static int say_hello(struct agent *a, struct conv *c, bool draining)
{
	struct str names[AGENT_TRANSPORT_MAX];
	struct agent_hello m = {
		.program = str_of(a->config.program),
		.transports = { names, a->config.count },
		.capacity = draining ? 0 : a->config.capacity,
	};
	const char *why;

	for (size_t i = 0; i < a->config.count; i++)
		names[i] = str_of(a->config.transports[i]);
	return conv_send(c, &agent_hello_schema, &m,
	    clock_now() + SEND_TIMEOUT, &why);
}

/* What is held and what runs. With both locks: nothing changes meanwhile. */
static int say_state(struct agent *a, struct conv *c)
{
	int64_t deadline = clock_now() + SEND_TIMEOUT;
	uint64_t indexes[AGENT_RCPT_MAX];
	const char *why;
	struct held *h;
	struct work *w;

	TAILQ_FOREACH(h, &a->held, link) {
		struct agent_result m = h->result;

		m.job = 0;
		if (conv_send(c, &agent_result_schema, &m, deadline,
			&why) < 0)
			return -1;
	}
	LIST_FOREACH(w, &a->all, all) {
		struct agent_running m = { .queue_id = w->task.job.queue_id,
			.indexes = { indexes, 0 } };

		for (size_t i = 0; i < w->task.job.rcpts.n; i++)
			if (!w->reported[i] && m.indexes.n < AGENT_RCPT_MAX)
				indexes[m.indexes.n++] =
				    w->task.job.indexes.v[i];
		if (m.indexes.n > 0 && conv_send(c, &agent_running_schema, &m,
			deadline, &why) < 0)
			return -1;
	}
	return conv_send(c, &agent_present_schema, NULL, deadline, &why);
}

static struct conv *introduce(struct agent *a, uint64_t *session_r)
{
	struct conv *c = edge_open_fresh(a->config.edge,
	    clock_now() + SEND_TIMEOUT);
	int rc;

	if (c == NULL)
		return NULL;
	pthread_mutex_lock(&a->sending);
	pthread_mutex_lock(&a->lock);
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

/* Whatever qmgr says, each result of it can be told, now and to the next
 * one. */
static bool can_answer(const struct agent_job *j)
{
	for (size_t i = 0; i < j->indexes.n; i++)
		if (j->indexes.v[i] > UINT32_MAX)
			return false;
	return true;
}

static void receive(struct agent *a, struct conv *c, uint64_t session)
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
		struct work *w;

		if (got == &agent_recorded_schema) {
			forget(a, &m.recorded);
			continue;
		}
		if (!can_answer(&m.job)) {
			log_warn("qmgr: a job with a recipient that no queue "
			    "file has");
			if (m.job.file >= 0)
				close(m.job.file);
			return;
		}
		if ((w = new_work(a, &m.job, session)) == NULL) {
			log_warn("no memory for a delivery");
			return; /* qmgr gives it to somebody else */
		}
		if (add_work(a, w) < 0) {
			free_work(w);
			return;
		}
	}
	if (what == CONV_BROKEN)
		log_warn("qmgr: %s", why);
}

static void converse(void *arg)
{
	struct agent *a = arg;
	int64_t pause = RETRY_LEAST;

	for (;;) {
		uint64_t session;
		struct conv *c = introduce(a, &session);

		if (c != NULL) {
			pause = RETRY_LEAST;
			receive(a, c, session);
			pthread_mutex_lock(&a->sending);
			a->conv = NULL;
			pthread_mutex_unlock(&a->sending);
			conv_close(&c);
		}
		usleep((useconds_t)pause);
		if (pause < RETRY_MOST)
			pause *= 2;
	}
}

struct agent *agent_start(const struct agent_config *config)
{
	struct agent *a;

	if (config->edge == NULL || config->count > AGENT_TRANSPORT_MAX ||
	    (a = calloc(1, sizeof(*a))) == NULL)
		return NULL;
	a->config = *config;
	if (a->config.capacity == 0)
		a->config.capacity = 1;
	TAILQ_INIT(&a->queue);
	LIST_INIT(&a->all);
	TAILQ_INIT(&a->held);
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->sending, NULL);
	pthread_cond_init(&a->arrived, NULL);
	pthread_cond_init(&a->changed, NULL);
	if (a->config.spawn(converse, a) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

/* --- the end --- */

struct drain {
	struct agent *agent;
	int64_t until;
};

static void say_draining(struct agent *a)
{
	pthread_mutex_lock(&a->sending);
	/* if it cannot be sent the receiving thread finds the end, and the
	 * next conversation begins with it */
	if (a->conv != NULL && say_hello(a, a->conv, true) < 0)
		shutdown(conv_fd(a->conv), SHUT_RDWR);
	pthread_mutex_unlock(&a->sending);
}

static void wait_for_end(void *arg)
{
	struct drain *d = arg;
	struct agent *a = d->agent;

	pthread_mutex_lock(&a->lock);
	while ((!LIST_EMPTY(&a->all) || a->nheld > 0) &&
	    clock_now() < d->until) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		pthread_cond_timedwait(&a->changed, &a->lock, &until);
	}
	a->ended = true;
	pthread_mutex_unlock(&a->lock);
	a->config.done();
	free(d);
}

static void drain(void *arg)
{
	say_draining(((struct drain *)arg)->agent);
	wait_for_end(arg);
}

void agent_drain(struct agent *a, int64_t grace)
{
	struct drain *d = calloc(1, sizeof(*d));

	pthread_mutex_lock(&a->lock);
	a->draining = true;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	if (d != NULL) {
		*d = (struct drain){ a, grace == CLOCK_NEVER ? CLOCK_NEVER
		    : clock_now() + grace };
		if (a->config.spawn(drain, d) == 0)
			return;
		free(d);
	}
	a->config.done();
}
