#include "base/clock.h"
#include "smtp/job.h"

static struct str at(const struct strs *s, size_t i)
{
	return i < s->n ? s->v[i] : STR_NONE;
}

struct job *job_new(const struct agent_job *m, struct arena *a,
    job_report_fn *report, void *ctx)
{
	struct job *j = ARENA_NEW(a, struct job);

	if (j == NULL)
		return NULL;
	j->arena = a;
	j->queue_id = m->queue_id;
	j->transport = m->transport;
	j->nexthop = m->nexthop;
	j->sender = m->sender;
	j->envid = m->envid;
	j->file = m->file;
	j->size = m->size;
	j->flags = m->flags;
	j->ret = m->ret;
	j->ready = clock_wall();
	j->lmtp = str_eq_c(m->transport, "lmtp");
	j->report = report;
	j->ctx = ctx;
	j->count = j->left = m->rcpts.n;
	j->rcpts = arena_array(a, m->rcpts.n + 1, sizeof(*j->rcpts));
	if (j->rcpts == NULL)
		return NULL;
	for (size_t i = 0; i < m->rcpts.n; i++) {
		struct rcpt *r = &j->rcpts[i];

		r->index = i < m->indexes.n ? m->indexes.v[i] : i;
		r->address = m->rcpts.v[i];
		r->original = at(&m->originals, i);
		r->orcpt = at(&m->orcpts, i);
		r->notify = i < m->notify.n ? m->notify.v[i] : 0;
	}
	return j;
}

void job_free(struct job **jp)
{
	if (*jp != NULL)
		message_fini(&(*jp)->message);
	*jp = NULL;
}

void job_report(struct job *j, struct rcpt *r, enum agent_status status,
    const struct outcome *o)
{
	j->report(j, r, status, o);
	r->state = RCPT_DONE;
	j->left--;
}

void job_sent(struct job *j, struct rcpt *r, const struct session *s,
    const struct reply *said)
{
	struct outcome o = {
		.status = mail_status_with_class(said->status, 2),
		.text = str_n(said->text, said->n),
		.relay = str_of(s->relay),
		.remote = str_of(s->host),
		.diagnostic = str_n(said->text, said->n),
		.uses = s->uses,
		/* an LMTP server is where mail ends (RFC 2033) */
		.onward = s->features & SESSION_DSN ? AGENT_PASSED_ON
		    : j->lmtp ? AGENT_DELIVERED : AGENT_RELAYED,
	};

	job_report(j, r, AGENT_SENT, &o);
}

static struct outcome *keep(struct arena *a, const struct session *s,
    const struct why *why)
{
	struct outcome *o = ARENA_NEW(a, struct outcome);

	if (o == NULL)
		return NULL;
	o->status = why->status;
	o->text = arena_str(a, str_of(why->text));
	o->relay = s != NULL ? arena_str(a, str_of(s->relay)) : STR_NONE;
	o->remote = arena_str(a, str_of(why->remote));
	o->diagnostic = arena_str(a, str_of(why->diagnostic));
	o->nexthop_dead = why->nexthop_dead;
	o->file_damaged = why->file_damaged;
	o->uses = s != NULL ? s->uses : 0;
	return o;
}

void job_failed(struct job *j, struct rcpt *r, const struct session *s,
    const struct why *why)
{
	struct outcome *o = keep(j->arena, s, why);
	static const struct outcome no_memory = {
		.status = { 4, 3, 0 }, .text = { "no memory", 9 } };

	r->state = RCPT_PENDING;
	r->last = o != NULL ? o : &no_memory;
	if (why_is_permanent(why))
		job_report(j, r, o != NULL ? AGENT_FAILED : AGENT_DEFERRED,
		    r->last);
}

void job_failed_all(struct job *j, enum rcpt_state state,
    const struct session *s, const struct why *why)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->rcpts[i].state == state && !j->rcpts[i].tried)
			job_failed(j, &j->rcpts[i], s, why);
}

void job_give_up(struct job *j, const struct why *why)
{
	for (size_t i = 0; i < j->count; i++) {
		struct rcpt *r = &j->rcpts[i];
		struct outcome o = {
			.status = mail_status_with_class(why->status, 4),
			.text = str_of(why->text),
			.remote = str_of(why->remote),
			.diagnostic = str_of(why->diagnostic),
			.nexthop_dead = why->nexthop_dead,
			.file_damaged = why->file_damaged,
		};

		if (r->state != RCPT_DONE)
			job_report(j, r, AGENT_DEFERRED, r->last != NULL
			    ? r->last : &o);
	}
}
