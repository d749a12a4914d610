/*
 * schedule.c - recipients become jobs, jobs go to agents
 *
 * A job is a message and some of its recipients with one transport and next
 * hop. Jobs wait at their destination; destinations of a transport take
 * turns. How many jobs of a destination run at once starts low, grows with
 * each success and ends with a next hop that is dead: what waits for it is
 * deferred without a try, for as long as minimal_backoff_time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "qmgr/qmgr.h"

/* Without an agent for so long a transport's mail is deferred. */
#define LONELY_MOST (60 * CLOCK_SECOND)
#define KEY_MAX 16384
/* So many dead next hops are remembered; what waits for others is tried. */
#define DEAD_MAX 10000
#define TELL_AGAIN (60 * CLOCK_SECOND)

/* --- transports ------------------------------------------------------- */

static size_t limit_of(const struct qmgr *q, struct str transport,
    const char *suffix, int64_t otherwise)
{
	char name[160];
	const char *text;
	uint64_t v;

	snprintf(name, sizeof(name), STR_FMT "%s", STR_ARG(transport),
	    suffix);
	text = params_extra(q->params, name);
	if (text == NULL ||
	    str_to_u64(str_of(text), 1000000, &v) < 0)
		return (size_t)otherwise;
	/* 0: no limit */
	return v == 0 ? SIZE_MAX : (size_t)v;
}

struct limits_row {
	const char *transport;
	size_t concurrency, recipients;	/* offsets into params */
};

#define ROW(name, c, r) { name, offsetof(struct params, c), \
	offsetof(struct params, r) }

static const struct limits_row limits_rows[] = {
	ROW("local", local_destination_concurrency_limit,
	    local_destination_recipient_limit),
	ROW("virtual", virtual_destination_concurrency_limit,
	    local_destination_recipient_limit),
	ROW("smtp", smtp_destination_concurrency_limit,
	    smtp_destination_recipient_limit),
};

static int64_t param_at(const struct params *p, size_t offset)
{
	int64_t v;

	memcpy(&v, (const char *)p + offset, sizeof(v));
	return v;
}

static void set_limits(const struct qmgr *q, struct transport *t)
{
	int64_t c = q->params->default_destination_concurrency_limit;
	int64_t r = q->params->default_destination_recipient_limit;

	for (size_t i = 0; i < sizeof(limits_rows) / sizeof(*limits_rows);
	    i++)
		if (str_eq_c(t->name, limits_rows[i].transport)) {
			c = param_at(q->params, limits_rows[i].concurrency);
			r = param_at(q->params, limits_rows[i].recipients);
		}
	t->concurrency = limit_of(q, t->name,
	    "_destination_concurrency_limit", c);
	t->recipients = limit_of(q, t->name, "_destination_recipient_limit",
	    r);
	t->initial = limit_of(q, t->name, "_initial_destination_concurrency",
	    q->params->initial_destination_concurrency);
	if (t->initial > t->concurrency)
		t->initial = t->concurrency;
	if (t->recipients > AGENT_RCPT_MAX)
		t->recipients = AGENT_RCPT_MAX;
	t->by_recipient = t->recipients == 1;
	if (str_eq_c(t->name, "bounce")) { /* not a place: it is us */
		t->concurrency = t->initial = SIZE_MAX;
		t->recipients = AGENT_RCPT_MAX;
		t->by_recipient = false;
	}
}

struct transport *schedule_transport(struct qmgr *q, struct str name)
{
	struct transport *t;

	LIST_FOREACH(t, &q->transports, link)
		if (str_eq(t->name, name))
			return t;
	t = calloc(1, sizeof(*t) + name.n);
	if (t == NULL)
		log_fatal("no memory");
	memcpy(t + 1, name.p, name.n);
	t->name = str_n(t + 1, name.n);
	TAILQ_INIT(&t->ready);
	t->lonely_since = loop_now(q->loop);
	set_limits(q, t);
	LIST_INSERT_HEAD(&q->transports, t, link);
	return t;
}

/* --- destinations ----------------------------------------------------- */

static void set_alive(struct qmgr *q, struct destination *d)
{
	free(d->dead_why);
	d->dead_why = NULL;
	q->dead_count -= d->dead_until != 0;
	d->dead_until = 0;
}

static void set_dead(struct qmgr *q, struct destination *d, struct str text)
{
	int64_t now = loop_now(q->loop);
	char why[600];

	d->window = 1;
	if (q->dead_count >= DEAD_MAX) {
		if (q->told_dead == 0 || now - q->told_dead > TELL_AGAIN) {
			log_warn("%d next hops are dead: no more are "
			    "remembered", DEAD_MAX);
			q->told_dead = now;
		}
		return;
	}
	snprintf(why, sizeof(why), "delivery temporarily suspended: "
	    STR_FMT, STR_ARG(str_sub(text, 0, 500)));
	d->dead_why = strdup(why);
	if (d->dead_why == NULL)
		return;
	d->dead_until = now + q->params->minimal_backoff_time * CLOCK_SECOND;
	q->dead_count++;
}

static struct destination *find_destination(struct qmgr *q,
    struct transport *t, struct str nexthop, struct str address)
{
	struct str place = t->by_recipient ? address : nexthop;
	size_t n = t->name.n + 1 + place.n;
	struct destination *d;
	char key[KEY_MAX];

	if (n > sizeof(key))
		n = sizeof(key);
	memcpy(key, t->name.p, t->name.n);
	key[t->name.n] = '\0';
	if (place.n > 0)
		memcpy(key + t->name.n + 1, place.p, n - t->name.n - 1);
	d = map_find(q->destinations, str_n(key, n));
	if (d != NULL && d->dead_until != 0 &&
	    d->dead_until <= loop_now(q->loop))
		set_alive(q, d);
	if (d != NULL)
		return d;
	d = calloc(1, sizeof(*d) + n);
	if (d == NULL)
		log_fatal("no memory");
	memcpy(d + 1, key, n);
	d->key = str_n(d + 1, n);
	d->nexthop = str_from(d->key, t->name.n + 1);
	d->transport = t;
	d->window = t->initial;
	TAILQ_INIT(&d->waiting);
	if (map_set(q->destinations, d->key, d, NULL) < 0)
		log_fatal("no memory");
	return d;
}

static void set_ready(struct destination *d)
{
	bool ready = !TAILQ_EMPTY(&d->waiting) && d->running < d->window;

	if (ready && !d->is_ready)
		TAILQ_INSERT_TAIL(&d->transport->ready, d, link);
	if (!ready && d->is_ready)
		TAILQ_REMOVE(&d->transport->ready, d, link);
	d->is_ready = ready;
}

/* Frees it when nothing is to be remembered. */
static void drop_idle(struct qmgr *q, struct destination *d)
{
	if (!TAILQ_EMPTY(&d->waiting) || d->running > 0 ||
	    d->filling != NULL || d->dead_until != 0)
		return;
	map_take(q->destinations, d->key);
	free(d->dead_why);
	free(d);
}

/* --- jobs ------------------------------------------------------------- */

static struct job *job_new(struct qmgr *q, struct message *m,
    const uint32_t *indexes, size_t count)
{
	struct job *job = calloc(1, sizeof(*job) +
	    count * sizeof(job->indexes[0]));

	if (job == NULL)
		log_fatal("no memory");
	job->message = m;
	job->number = ++q->job_number;
	job->count = job->open = count;
	memcpy(job->indexes, indexes, count * sizeof(indexes[0]));
	return job;
}

static void put_job(struct job *job, struct destination *d, bool first)
{
	job->destination = d;
	if (first)
		TAILQ_INSERT_HEAD(&d->waiting, job, link);
	else
		TAILQ_INSERT_TAIL(&d->waiting, job, link);
	d->transport->waiting++;
	set_ready(d);
}

static void take_job(struct job *job)
{
	struct destination *d = job->destination;

	TAILQ_REMOVE(&d->waiting, job, link);
	d->transport->waiting--;
	set_ready(d);
}

/* --- results that need no agent --------------------------------------- */

/* "5.1.1 text" or only text. */
static struct str split_status(struct str text, const char *otherwise,
    struct str *status_r)
{
	struct str rest = text, word;

	*status_r = str_of(otherwise);
	if (str_split(&rest, ' ', &word) && word.n >= 5 &&
	    (word.p[0] == '4' || word.p[0] == '5') && word.p[1] == '.' &&
	    rest.p != NULL && word.p[0] == otherwise[0]) {
		*status_r = word;
		return str_trim(rest);
	}
	return text;
}

static void answer(struct qmgr *q, struct message *m, uint32_t index,
    enum agent_status status, struct str dsn, struct str text)
{
	const struct recipient *r = &m->recipients[index];
	struct agent_result res = { .queue_id = str_of(m->text),
		.index = index, .status = status, .dsn = dsn, .text = text };
	static const char *const words[] = { "", "sent", "deferred",
		"bounced" };
	int64_t now = clock_wall();
	struct buf delays;

	buf_init(&delays, 256);
	buf_append_c(&delays, "delay=");
	log_append_delay(&delays, now - m->arrival);
	buf_append_c(&delays, ", delays=");
	log_append_delay(&delays, m->active - m->arrival);
	buf_append_char(&delays, '/');
	log_append_delay(&delays, now - m->active);
	/* what no agent is asked for, Postfix has two of */
	log_info_as(status == AGENT_SENT ? "discard" : "error",
	    "%s: to=<" STR_FMT ">, %s" STR_FMT "%srelay=none, %s/0/0, "
	    "dsn=" STR_FMT ", status=%s (" STR_FMT ")", m->text,
	    STR_ARG(r->address), r->original.n ? "orig_to=<" : "",
	    STR_ARG(r->original), r->original.n ? ">, " : "",
	    buf_cstr(&delays), STR_ARG(dsn), words[status], STR_ARG(text));
	buf_fini(&delays);
	message_result(q, m, index, &res, 0);
}

static void defer_job(struct qmgr *q, struct job *job, struct str status,
    struct str text)
{
	struct message *m = job->message;
	size_t count = job->count;

	if (m->notice_job == job) {
		struct agent_result res = { .status = AGENT_DEFERRED };

		for (bool last = false; !last;) {
			res.index = job->indexes[0];
			last = job->open == 1;
			message_notice_result(q, m, &res, 0);
		}
		return;
	}
	/* The last answer frees the job. */
	for (size_t i = 0; i < count; i++) {
		uint32_t index = job->indexes[i];
		bool last = job->open == 1;

		if (m->recipients[index].state != RCPT_WAITING)
			continue;
		answer(q, m, index, AGENT_DEFERRED, status, text);
		if (last)
			return;
	}
}

static void defer_waiting(struct qmgr *q, struct destination *d,
    struct str status, struct str text)
{
	struct job_list jobs = TAILQ_HEAD_INITIALIZER(jobs);
	struct job *job;

	while ((job = TAILQ_FIRST(&d->waiting)) != NULL) {
		take_job(job);
		TAILQ_INSERT_TAIL(&jobs, job, link);
		job->lost = -1; /* in no list of the destination */
	}
	while ((job = TAILQ_FIRST(&jobs)) != NULL) {
		TAILQ_REMOVE(&jobs, job, link);
		defer_job(q, job, status, text);
	}
}

bool qmgr_is_listed(const char *list, struct str word)
{
	struct str rest = str_of(list), one;

	while (str_word(&rest, ", \t", &one))
		if (str_eq_nocase(one, word))
			return true;
	return false;
}

/* Transports that are no agent's. True: the recipient has its result. */
static bool answer_here(struct qmgr *q, struct message *m, uint32_t index)
{
	struct recipient *r = &m->recipients[index];
	struct str status, text;

	if (str_eq_c(r->transport, "error")) {
		text = split_status(r->nexthop, "5.0.0", &status);
		answer(q, m, index, AGENT_FAILED, status, text.n ? text :
		    STR("undeliverable"));
	} else if (str_eq_c(r->transport, "retry")) {
		text = split_status(r->nexthop, "4.0.0", &status);
		answer(q, m, index, AGENT_DEFERRED, status, text.n ? text :
		    STR("try again later"));
	} else if (str_eq_c(r->transport, "discard")) {
		answer(q, m, index, AGENT_SENT, STR("2.0.0"), r->nexthop.n ?
		    r->nexthop : STR("discarded"));
	} else if (r->transport.n == 0) {
		answer(q, m, index, AGENT_DEFERRED, STR("4.3.0"),
		    STR("address lookup is not available"));
	} else if (!agents_know(r->transport)) {
		/* Whoever names it: what is kept for a transport is kept for
		 * good, so there are only those that somebody serves. */
		log_warn("%s: transport " STR_FMT ": no program serves it",
		    m->text, STR_ARG(str_sub(r->transport, 0, 64)));
		answer(q, m, index, AGENT_DEFERRED, STR("4.3.0"),
		    STR("mail transport unavailable"));
	} else if (!m->flushed &&
	    qmgr_is_listed(q->params->defer_transports, r->transport)) {
		answer(q, m, index, AGENT_DEFERRED, STR("4.3.2"),
		    STR("deferred transport"));
	} else {
		return false;
	}
	return true;
}

/* --- from messages ---------------------------------------------------- */

static bool is_same_place(const struct recipient *a, const struct recipient *b)
{
	return str_eq(a->transport, b->transport) &&
	    str_eq(a->nexthop, b->nexthop);
}

/* Room for twice as many recipients; it is in the list. */
static struct job *grow_job(struct job *job, struct job_list *jobs)
{
	TAILQ_REMOVE(jobs, job, link);
	job = realloc(job, sizeof(*job) +
	    2 * job->count * sizeof(job->indexes[0]));
	if (job == NULL)
		log_fatal("no memory");
	TAILQ_INSERT_TAIL(jobs, job, link);
	return job;
}

/* Into the job that is being filled for its destination, or a new one. Each
 * recipient is looked at once: there may be QUEUE_RECIPIENT_MAX of them, each
 * with a next hop of its own. */
static void fill(struct qmgr *q, struct message *m, uint32_t index,
    struct job_list *jobs)
{
	struct recipient *r = &m->recipients[index];
	struct transport *t = schedule_transport(q, r->transport);
	struct destination *d = find_destination(q, t, r->nexthop,
	    r->address);
	struct job *job = d->filling;

	if (job == NULL || job->count >= t->recipients ||
	    !is_same_place(r, &m->recipients[job->indexes[0]])) {
		job = job_new(q, m, &index, 1);
		job->destination = d;
		TAILQ_INSERT_TAIL(jobs, job, link);
	} else {
		if ((job->count & (job->count - 1)) == 0)
			job = grow_job(job, jobs);
		job->indexes[job->count++] = index;
		job->open = job->count;
	}
	d->filling = job;
}

static void end_filling(struct qmgr *q, struct message *m,
    struct job_list *jobs)
{
	struct job *job;

	while ((job = TAILQ_FIRST(jobs)) != NULL) {
		struct destination *d = job->destination;

		TAILQ_REMOVE(jobs, job, link);
		for (size_t i = 0; i < job->count; i++)
			m->recipients[job->indexes[i]].job = job;
		if (d->filling == job)
			d->filling = NULL;
		put_job(job, d, false);
		if (d->dead_until != 0)
			defer_waiting(q, d, STR("4.4.1"), str_of(d->dead_why));
	}
}

void schedule_message(struct qmgr *q, struct message *m)
{
	struct job_list jobs = TAILQ_HEAD_INITIALIZER(jobs);

	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->state != RCPT_WAITING || r->job != NULL)
			continue;
		if (!answer_here(q, m, (uint32_t)i))
			fill(q, m, (uint32_t)i, &jobs);
	}
	end_filling(q, m, &jobs);
}

void schedule_notice(struct qmgr *q, struct message *m, int notice,
    const uint32_t *indexes, size_t count)
{
	struct transport *t = schedule_transport(q, STR("bounce"));
	struct destination *d = find_destination(q, t, STR_NONE, STR_NONE);
	struct job *job = job_new(q, m, indexes, count);

	job->why = (uint64_t)notice;
	m->notice_job = job;
	put_job(job, d, false);
	schedule_run(q);
}

void schedule_cancel(struct qmgr *q, struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];
		struct job *job = r->job;
		struct destination *d;

		if (r->state != RCPT_WAITING || job == NULL)
			continue;
		d = job->destination;
		for (size_t k = 0; k < job->count; k++)
			m->recipients[job->indexes[k]].job = NULL;
		take_job(job);
		free(job);
		drop_idle(q, d);
	}
}

/* --- to agents and back ----------------------------------------------- */

static void free_job(struct qmgr *q, struct job *job)
{
	struct destination *d = job->destination;

	if (job->agent != NULL) {
		TAILQ_REMOVE(&job->agent->jobs, job, link);
		job->agent->running--;
		if (job->agent->running == 0)
			job->agent->alone = false;
		d->running--;
		q->running--;
	} else if (job->lost > 0) {
		TAILQ_REMOVE(&q->lost, job, link);
		d->running--;
		q->running--;
	} else if (job->lost == 0) {
		take_job(job);
	}
	free(job);
	set_ready(d);
	drop_idle(q, d);
}

void schedule_result(struct qmgr *q, struct job *job, bool dead,
    const struct agent_result *res)
{
	struct destination *d = job->destination;
	bool notice = job->message->notice_job == job || job->open == 0;

	if (dead && d->dead_until == 0 && !d->transport->by_recipient) {
		set_dead(q, d, res->text);
	} else if (res->status == AGENT_SENT && job->open <= 1 &&
	    d->window < d->transport->concurrency) {
		d->window++;
	}
	if (!notice)
		job->open--;
	if (job->open == 0) {
		d->running++; /* it must not go while we look at it */
		free_job(q, job);
		d->running--;
		if (d->dead_until != 0 && !TAILQ_EMPTY(&d->waiting))
			defer_waiting(q, d, STR("4.4.1"),
			    str_of(d->dead_why));
		set_ready(d);
		drop_idle(q, d);
	}
}

void schedule_again(struct qmgr *q, struct job *job)
{
	struct destination *d = job->destination;
	struct message *m = job->message;
	uint32_t *indexes = malloc(job->count * sizeof(*indexes));
	size_t n = 0;

	if (indexes == NULL)
		log_fatal("no memory");
	TAILQ_REMOVE(&q->lost, job, link);
	q->running--;
	d->running--;
	job->lost = 0;
	if (m->notice_job != job) {
		for (size_t i = 0; i < job->count; i++) {
			struct recipient *r = &m->recipients[job->indexes[i]];

			if (r->job == job) {
				r->state = RCPT_WAITING;
				indexes[n++] = job->indexes[i];
			}
		}
		memcpy(job->indexes, indexes, n * sizeof(*indexes));
		job->count = n;
	}
	job->open = job->count;
	free(indexes);
	put_job(job, d, true);
	if (m->crashes >= QMGR_CRASHES)
		message_condemn(q, m);
	else if (m->wish != WISH_NONE)
		message_settle(q, m);
}

void schedule_adopt(struct qmgr *q, struct agent *a, struct message *m,
    uint32_t index)
{
	struct recipient *r = &m->recipients[index];
	struct transport *t;
	struct job *job;

	if (!message_is_at_work(m) || r->state != RCPT_WAITING ||
	    a->serves_count == 0)
		return;
	t = r->transport.n > 0 ? schedule_transport(q, r->transport)
	    : a->serves[0];
	job = job_new(q, m, &index, 1);
	job->destination = find_destination(q, t, r->nexthop, r->address);
	job->destination->running++;
	job->agent = a;
	TAILQ_INSERT_TAIL(&a->jobs, job, link);
	a->running++;
	q->running++;
	r->job = job;
	r->state = RCPT_HANDED;
}

/* An agent that came back may have told of some of them while it waited. */
static void drop_answered(struct job *job)
{
	const struct message *m = job->message;
	size_t n = 0;

	if (m->notice_job == job || job->open == job->count)
		return;
	for (size_t i = 0; i < job->count; i++)
		if (m->recipients[job->indexes[i]].job == job)
			job->indexes[n++] = job->indexes[i];
	job->count = job->open = n;
}

/* True: look on. */
static bool hand_one(struct qmgr *q, struct transport *t)
{
	struct destination *d = TAILQ_FIRST(&t->ready);
	struct job *job = TAILQ_FIRST(&d->waiting);
	struct message *m = job->message;
	struct agent *a = agents_choose(q, t, m);
	int rc;

	if (a == NULL)
		return false;
	drop_answered(job);
	rc = agents_hand(q, a, job);
	if (rc == -2) {
		log_warn("%s: cannot open its file: %s", m->text,
		    strerror(errno));
		take_job(job);
		job->lost = -1;
		defer_job(q, job, STR("4.3.0"),
		    STR("the queue file cannot be opened"));
		return true;
	}
	if (rc != 0)
		return true; /* that agent is out; perhaps another has room */
	take_job(job);
	job->agent = a;
	TAILQ_INSERT_TAIL(&a->jobs, job, link);
	a->running++;
	a->alone = m->crashes > 0;
	d->running++;
	q->running++;
	if (m->notice_job != job)
		for (size_t i = 0; i < job->count; i++)
			m->recipients[job->indexes[i]].state = RCPT_HANDED;
	/* The next destination's turn. */
	if (d->is_ready) {
		TAILQ_REMOVE(&t->ready, d, link);
		d->is_ready = false;
	}
	set_ready(d);
	return true;
}

void schedule_run(struct qmgr *q)
{
	struct transport *t;

	if (q->draining || !q->ready)
		return;
	LIST_FOREACH(t, &q->transports, link)
		while (!TAILQ_EMPTY(&t->ready) && hand_one(q, t))
			;
}

#define REVIVE_MAX 256		/* between two looks through all */

static void revive(struct qmgr *q, int64_t now)
{
	struct destination *dead[REVIVE_MAX], *d;
	size_t n = REVIVE_MAX;
	void *value;

	while (q->dead_count > 0 && n == REVIVE_MAX) {
		size_t pos = 0;

		n = 0;
		while (n < REVIVE_MAX && map_next(q->destinations, &pos,
		    &(struct str){ 0 }, &value)) {
			d = value;
			if (d->dead_until != 0 && d->dead_until <= now)
				dead[n++] = d;
		}
		for (size_t i = 0; i < n; i++) {
			set_alive(q, dead[i]);
			drop_idle(q, dead[i]);
		}
	}
}

void schedule_forget_dead(struct qmgr *q)
{
	revive(q, INT64_MAX);
}

void schedule_tick(struct qmgr *q, int64_t now)
{
	struct transport *t;

	revive(q, now);
	LIST_FOREACH(t, &q->transports, link) {
		struct destination *d;

		if (agents_serve(q, t))
			t->lonely_since = 0;
		else if (t->lonely_since == 0)
			t->lonely_since = now;
		if (t->waiting == 0 || t->lonely_since == 0 ||
		    now - t->lonely_since < LONELY_MOST)
			continue;
		log_warn("transport " STR_FMT ": no program serves it",
		    STR_ARG(t->name));
		while ((d = TAILQ_FIRST(&t->ready)) != NULL) {
			d->running++;
			defer_waiting(q, d, STR("4.3.0"),
			    STR("mail transport unavailable"));
			d->running--;
			drop_idle(q, d);
		}
	}
	schedule_run(q);
}
