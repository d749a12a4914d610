#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "smtp/job.h"

#define JOB_ARENA_MAX (2 * 1024 * 1024)

static struct str at(const struct strs *s, size_t i)
{
	return i < s->n ? s->v[i] : STR_NONE;
}

struct job *job_new(const struct agent_job *m, job_report_fn *report,
    void *ctx)
{
	struct job *j = calloc(1, sizeof(*j));
	struct arena *a = arena_new(JOB_ARENA_MAX);

	if (j == NULL || a == NULL)
		goto no_memory;
	j->arena = a;
	j->number = m->job;
	j->queue_id = arena_str(a, m->queue_id);
	j->transport = arena_str(a, m->transport);
	j->nexthop = arena_str(a, m->nexthop);
	j->sender = arena_str(a, m->sender);
	j->envid = arena_str(a, m->envid);
	j->file = m->file;
	j->size = m->size;
	j->flags = m->flags;
	j->ret = m->ret;
	j->arrival = m->arrival;
	j->active = m->active;
	j->started = j->ready = clock_wall();
	j->lmtp = str_eq_c(m->transport, "lmtp");
	j->report = report;
	j->ctx = ctx;
	j->count = j->left = m->rcpts.n;
	j->rcpts = arena_array(a, m->rcpts.n + 1, sizeof(*j->rcpts));
	if (j->rcpts == NULL)
		goto no_memory;
	for (size_t i = 0; i < m->rcpts.n; i++) {
		struct rcpt *r = &j->rcpts[i];

		r->index = i < m->indexes.n ? m->indexes.v[i] : i;
		r->address = arena_str(a, m->rcpts.v[i]);
		r->original = arena_str(a, at(&m->originals, i));
		r->orcpt = arena_str(a, at(&m->orcpts, i));
		r->notify = i < m->notify.n ? m->notify.v[i] : 0;
	}
	if (!arena_failed(a))
		return j;
no_memory:
	arena_free(&a);
	free(j);
	if (m->file >= 0)
		close(m->file);
	return NULL;
}

void job_free(struct job **jp)
{
	struct job *j = *jp;

	if (j == NULL)
		return;
	message_fini(&j->message);
	if (j->file >= 0)
		close(j->file);
	arena_free(&j->arena);
	free(j);
	*jp = NULL;
}

void job_report(struct job *j, struct rcpt *r, enum agent_status status,
    const struct outcome *o)
{
	/* First the result is held, then the recipient is no longer running: in
	 * between a new qmgr hears of both, never of neither. */
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

void job_log(const struct job *j, const struct rcpt *r,
    enum agent_status status, const struct outcome *o)
{
	static const char *const words[] = { [AGENT_SENT] = "sent",
		[AGENT_DEFERRED] = "deferred", [AGENT_FAILED] = "bounced" };
	int64_t now = clock_wall();
	char dsn[MAIL_STATUS_SIZE];
	struct buf line;

	buf_init(&line, LOG_LINE_MAX * 2);
	buf_printf(&line, STR_FMT ": to=<" STR_FMT ">", STR_ARG(j->queue_id),
	    STR_ARG(r->address));
	if (r->original.n > 0 && !str_eq(r->original, r->address))
		buf_printf(&line, ", orig_to=<" STR_FMT ">",
		    STR_ARG(r->original));
	buf_printf(&line, ", relay=" STR_FMT,
	    STR_ARG(o->relay.n ? o->relay : STR("none")));
	if (o->uses > 1)
		buf_printf(&line, ", conn_use=%u", o->uses);
	buf_append_c(&line, ", delay=");
	log_append_delay(&line, now - j->arrival);
	buf_append_c(&line, ", delays=");
	log_append_delay(&line, j->active - j->arrival);
	buf_append_c(&line, "/");
	log_append_delay(&line, j->started - j->active);
	buf_append_c(&line, "/");
	log_append_delay(&line, j->ready - j->started);
	buf_append_c(&line, "/");
	log_append_delay(&line, now - j->ready);
	buf_printf(&line, ", dsn=%s, status=%s (" STR_FMT ")",
	    mail_status_print(o->status, dsn), words[status],
	    STR_ARG(o->text));
	log_info("%s", buf_cstr(&line));
	buf_fini(&line);
}
