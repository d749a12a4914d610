/*
 * agents.c - the conversations with delivery agents (msgs/agent.h)
 *
 * A result belongs to a message and a recipient, whatever conversation it
 * came by: an agent that comes back after a break tells again what it holds,
 * and what it runs stays with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "qmgr/qmgr.h"

#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next) \
	for ((var) = TAILQ_FIRST(head); \
	    (var) && ((next) = TAILQ_NEXT(var, field), 1); (var) = (next))
#endif
#define MESSAGES_PER_TURN 64
#define TOLD_MAX 2048		/* in one agent_recorded */
/* Recipients that an agent was not yet told of: it does not listen. */
#define TOLD_WAITING_MAX 1000000

/* Who may deliver what. A program that was taken over must not have other
 * programs' mail, nor settle what becomes of it. */
static const struct {
	const char *client, *transport;
} duties[] = {
	{ "local", "local" }, { "local", "virtual" },
	{ "smtp", "smtp" }, { "smtp", "relay" }, { "smtp", "lmtp" },
	{ "bounce", "bounce" },
};

static bool has_duty(const struct agent *a, struct str transport)
{
	for (size_t i = 0; i < sizeof(duties) / sizeof(duties[0]); i++)
		if (strcmp(duties[i].client, a->client) == 0 &&
		    str_eq_c(transport, duties[i].transport))
			return true;
	return false;
}

/* `bounce` writes notices, of which cleanup knows nothing. */
bool agents_know(struct str transport)
{
	for (size_t i = 0; i < sizeof(duties) / sizeof(duties[0]); i++)
		if (strcmp(duties[i].client, "bounce") != 0 &&
		    str_eq_c(transport, duties[i].transport))
			return true;
	return false;
}

static bool is_bounce(const struct agent *a)
{
	return strcmp(a->client, "bounce") == 0;
}

/* A message of a qmgr before us may not know its transports yet. */
static bool may_settle(const struct agent *a, const struct recipient *r)
{
	return r->transport.n == 0 ? !is_bounce(a) : has_duty(a, r->transport);
}

static void close_agent(struct qmgr *q, struct agent *a)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&a->jobs)) != NULL) {
		TAILQ_REMOVE(&a->jobs, job, link);
		job->agent = NULL;
		job->lost = loop_now(q->loop);
		TAILQ_INSERT_TAIL(&q->lost, job, link);
	}
	LIST_REMOVE(a, link);
	watch_free(&a->watch);
	conv_close(&a->conv);
	free(a->told_ids);
	free(a->told_indexes);
	free(a);
	qmgr_start_tick(q);
}

/* --- choosing and handing --------------------------------------------- */

static bool does_serve(const struct agent *a, const struct transport *t)
{
	for (size_t i = 0; i < a->serves_count; i++)
		if (a->serves[i] == t)
			return true;
	return false;
}

bool agents_serve(struct qmgr *q, const struct transport *t)
{
	struct agent *a;

	LIST_FOREACH(a, &q->agents, link)
		if (a->capacity > 0 && does_serve(a, t))
			return true;
	return false;
}

/* The one with the most room. A message that agents died of gets one that
 * does nothing else, so that nobody's mail falls with it. */
struct agent *agents_choose(struct qmgr *q, struct transport *t,
    const struct message *m)
{
	struct agent *a, *best = NULL;
	size_t most = 0;

	LIST_FOREACH(a, &q->agents, link) {
		size_t room;

		if (a->running >= a->capacity || a->blocked || a->alone ||
		    (m->crashes > 0 && a->running > 0) || !does_serve(a, t))
			continue;
		room = a->capacity - a->running;
		if (room > most) {
			most = room;
			best = a;
		}
	}
	return best;
}

static void block(struct agent *a)
{
	a->blocked = true;
	watch_want(a->watch, LOOP_READ | LOOP_WRITE);
}

struct job_arrays {
	struct str rcpts[AGENT_RCPT_MAX], originals[AGENT_RCPT_MAX],
	    orcpts[AGENT_RCPT_MAX];
	uint64_t indexes[AGENT_RCPT_MAX], notify[AGENT_RCPT_MAX];
};

static void fill_job(const struct job *job, struct agent_job *m)
{
	/* Big, and only the loop's thread is here. */
	static struct job_arrays arrays;
	const struct message *msg = job->message;

	for (size_t i = 0; i < job->count; i++) {
		const struct recipient *r =
		    &msg->recipients[job->indexes[i]];

		arrays.rcpts[i] = r->address;
		arrays.originals[i] = r->original;
		arrays.orcpts[i] = r->orcpt;
		arrays.indexes[i] = job->indexes[i];
		arrays.notify[i] = r->notify;
	}
	*m = (struct agent_job){
		.job = job->number, .queue_id = str_of(msg->text),
		.transport = job->destination->transport->name,
		.nexthop = msg->recipients[job->indexes[0]].nexthop,
		.sender = msg->sender, .arrival = msg->arrival,
		.active = msg->active, .size = msg->size,
		.flags = msg->flags & 63, .ret = msg->ret,
		.envid = msg->envid, .why = job->why,
		.indexes = { arrays.indexes, job->count },
		.rcpts = { arrays.rcpts, job->count },
		.originals = { arrays.originals, job->count },
		.orcpts = { arrays.orcpts, job->count },
		.notify = { arrays.notify, job->count },
	};
}

/* 0, 1: no room, -1: the agent is gone, -2: the message's file is. */
int agents_hand(struct qmgr *q, struct agent *a, struct job *job)
{
	struct agent_job m;
	const char *why;
	int rc;

	fill_job(job, &m);
	m.file = queue_spool_open_file(&q->spool, &job->message->name,
	    false);
	if (m.file < 0)
		return -2;
	rc = conv_try_send(a->conv, &agent_job_schema, &m, &why);
	sys_close(m.file);
	if (rc == 1)
		block(a);
	else if (rc < 0) {
		log_warn("agent %s: %s", a->client, why);
		a->blocked = true; /* its end is read in a moment */
	}
	return rc;
}

/* --- telling what is durable ------------------------------------------ */

static void flush_told(struct agent *a)
{
	static struct str ids[TOLD_MAX];
	static char texts[TOLD_MAX][QUEUE_ID_SIZE];
	const char *why;

	while (a->told_count > 0) {
		size_t n = a->told_count < TOLD_MAX ? a->told_count
		    : TOLD_MAX, first = a->told_count - n;
		struct agent_recorded m = { .queue_ids = { ids, n },
			.indexes = { a->told_indexes + first, n } };

		for (size_t i = 0; i < n; i++)
			ids[i] = str_of(queue_id_text(a->told_ids[first + i],
			    texts[i]));
		if (conv_try_send(a->conv, &agent_recorded_schema, &m,
		    &why) != 0) {
			block(a);
			return;
		}
		a->told_count = first;
	}
}

static struct agent *find_agent(struct qmgr *q, unsigned serial)
{
	struct agent *a;

	LIST_FOREACH(a, &q->agents, link)
		if (a->serial == serial)
			return a;
	return NULL;
}

void agents_tell(struct qmgr *q, unsigned serial, uint64_t id, uint32_t index)
{
	struct agent *a = find_agent(q, serial);

	if (a == NULL || a->is_deaf)
		return; /* it left, and told its next qmgr, who is us */
	if (a->told_count == TOLD_WAITING_MAX) {
		a->is_deaf = true;
		return;
	}
	if (a->told_count == a->told_room) {
		size_t room = a->told_room ? 2 * a->told_room : 64;

		a->told_ids = realloc(a->told_ids, room * sizeof(uint64_t));
		a->told_indexes = realloc(a->told_indexes,
		    room * sizeof(uint64_t));
		if (a->told_ids == NULL || a->told_indexes == NULL)
			log_fatal("no memory");
		a->told_room = room;
	}
	a->told_ids[a->told_count] = id;
	a->told_indexes[a->told_count++] = index;
}

void agents_flush(struct qmgr *q)
{
	struct agent *a;

	LIST_FOREACH(a, &q->agents, link)
		if (!a->blocked && a->told_count > 0)
			flush_told(a);
}

/* --- what agents say -------------------------------------------------- */

static void hear_hello(struct qmgr *q, struct agent *a,
    const struct agent_hello *m)
{
	a->capacity = (size_t)m->capacity;
	a->serves_count = 0;
	for (size_t i = 0; i < m->transports.n && i < 64; i++) {
		if (has_duty(a, m->transports.v[i]))
			a->serves[a->serves_count++] = schedule_transport(q,
			    m->transports.v[i]);
		else
			log_warn("agent %s: wants mail of another: " STR_FMT,
			    a->client, STR_ARG(m->transports.v[i]));
	}
}

static void hear_result(struct qmgr *q, struct agent *a,
    const struct agent_result *res)
{
	struct message *m;
	uint64_t id;

	if (queue_id_parse(res->queue_id, &id) < 0) {
		log_warn("agent %s: a result without a queue id", a->client);
		return;
	}
	m = registry_find(&q->registry, id);
	if (m == NULL || res->index >= m->recipient_count) {
		/* Nobody waits for it: it was recorded long ago. */
		agents_tell(q, a->serial, id, (uint32_t)res->index);
		return;
	}
	if (is_bounce(a))
		message_notice_result(q, m, res, a->serial);
	else if (!may_settle(a, &m->recipients[res->index]))
		log_warn("agent %s: a result of another's mail, %s",
		    a->client, m->text);
	else
		message_result(q, m, (uint32_t)res->index, res, a->serial);
}

/* The agent still runs what a break took from it: it keeps it. */
static void hear_running(struct qmgr *q, struct agent *a,
    const struct agent_running *run)
{
	struct message *m;
	uint64_t id;

	if (queue_id_parse(run->queue_id, &id) < 0)
		return;
	m = registry_find(&q->registry, id);
	for (size_t i = 0; m != NULL && i < run->indexes.n; i++) {
		struct recipient *r;
		struct job *job;

		if (run->indexes.v[i] >= m->recipient_count)
			continue;
		r = &m->recipients[run->indexes.v[i]];
		job = m->notice_job != NULL ? m->notice_job : r->job;
		if (job != NULL && !has_duty(a,
			job->destination->transport->name))
			continue;
		if (job == NULL && may_settle(a, r)) {
			/* A new qmgr: it is in no job yet. */
			schedule_adopt(q, a, m, (uint32_t)run->indexes.v[i]);
		} else if (job != NULL && job->lost > 0) {
			TAILQ_REMOVE(&q->lost, job, link);
			job->lost = 0;
			job->agent = a;
			TAILQ_INSERT_TAIL(&a->jobs, job, link);
			a->running++;
		}
	}
}

static void on_agent(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&agent_hello_schema, &agent_result_schema,
		&agent_running_schema, &agent_present_schema };
	struct agent *a = ctx;
	struct qmgr *q = a->qmgr;
	union {
		struct agent_hello hello;
		struct agent_result result;
		struct agent_running running;
	} m;
	const struct msg_schema *schema;
	bool closed = false;
	const char *why;

	(void)fd;
	if (ready & LOOP_WRITE && a->blocked) {
		a->blocked = false;
		watch_want(a->watch, LOOP_READ);
		flush_told(a);
	}
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		switch (conv_try_recv(a->conv, allowed, 4, &schema, &m,
		    &why)) {
		case CONV_TIMEOUT:
			goto out;
		case CONV_BROKEN:
			log_warn("agent %s: %s", a->client, why);
			/* fall through */
		case CONV_CLOSED:
			close_agent(q, a);
			closed = true;
			goto out;
		case CONV_MESSAGE:
			break;
		}
		if (schema == &agent_hello_schema)
			hear_hello(q, a, &m.hello);
		else if (schema == &agent_result_schema)
			hear_result(q, a, &m.result);
		else if (schema == &agent_running_schema)
			hear_running(q, a, &m.running);
	}
out:
	if (!closed && a->is_deaf) {
		log_warn("agent %s: does not take what it is told", a->client);
		close_agent(q, a);
	}
	agents_flush(q);
	schedule_run(q);
	qmgr_check_drain(q);
}

void agents_add(struct qmgr *q, struct conv *conv, const char *client)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (a == NULL)
		log_fatal("no memory");
	a->qmgr = q;
	a->conv = conv;
	a->client = client;
	a->serial = ++q->agent_serial;
	TAILQ_INIT(&a->jobs);
	a->watch = watch_new(q->loop, conv_fd(conv), LOOP_READ, on_agent, a);
	if (a->watch == NULL) {
		log_warn("cannot watch agent %s: %s", client,
		    strerror(errno));
		conv_close(&a->conv);
		free(a);
		return;
	}
	LIST_INSERT_HEAD(&q->agents, a, link);
}

/* Nobody came back for these. */
void agents_tick(struct qmgr *q, int64_t now)
{
	struct job *job, *next;

	TAILQ_FOREACH_SAFE(job, &q->lost, link, next) {
		if (job->lost + QMGR_AGENT_GRACE > now)
			continue;
		job->message->crashes++;
		schedule_again(q, job);
	}
}
