/*
 * message.c - the states of a message, from its commit to its end
 *
 * What stands on the disk, where a crash finds it, and what it costs. (How
 * its file comes into being: lib/queue/format.c.)
 *
 *	COMMITTED	a whole file in incoming/. A crash: the next start
 *	  |		finds it (load.c) and delivers it.
 *	  |  message_admit(), by stock_commit or by load.c
 *	PARKED		in memory, not in jobs. As above.
 *	  |  message_start(): recipients into jobs
 *	ACTIVE		agents have it. A crash of ours: agents keep results
 *	  |		and say to the next qmgr what they hold and run, so
 *	  |		that nothing is repeated. A crash of an agent: what it
 *	  |		delivered and did not tell comes twice. The machine's:
 *	  |		what is not in `done` comes twice.
 *	  |  message_result(): SENT -> recorder (record.c), the rest waits
 *	  |  message_settle(): when no recipient is open any more
 *	  +--> CLOSING	all were sent: recorded and unlinked in one step. A
 *	  |		crash between: the file is found, `done` says that
 *	  |		nothing is left, it is unlinked.
 *	LOGGING		log_results(): sent, deferred and failed go to the
 *	  |		file's own log, one sync. A crash before it: deferred
 *	  |		ones are tried again at once, failed ones as well;
 *	  |		agents still hold what failed.
 *	  +--> NOTIFYING  `bounce` commits a notice, then NOTIFIED is logged.
 *	  |		A crash between: the sender is told twice.
 *	CLOSING		conclude(): the log has all; the file is renamed to
 *	  |		deferred/<due>/, hold/ or corrupt/ (a crash: it is at
 *	  |		one of the two names, or at both until the next start,
 *	  |		and its log tells the rest) or
 *	  |		unlinked (a crash: it may come back; its log says
 *	  |		that nothing is left).
 *	(gone from memory)
 *
 * When this qmgr ends while agents have a message, message_leave() does what an
 * operator wished of it; the agents' results are nobody's then. Others are the
 * next qmgr's, as after a crash.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "qmgr/qmgr.h"

#define RECORDS_MAX (64u << 20)

/* --- life ------------------------------------------------------------- */

static struct str put(char **at, struct str s)
{
	struct str copy = { *at, s.n };

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

/* What cleanup, or its file, says of it: a time that was. */
static int64_t believe_arrival(int64_t said)
{
	int64_t now = clock_wall();

	return said < 0 ? 0 : said > now ? now : said;
}

/* One piece of memory: the struct, recipients, strings. */
struct message *message_new(const struct queue_name *name,
    const struct queue_envelope *e)
{
	size_t n = sizeof(struct message) +
	    e->recipient_count * sizeof(struct recipient) + e->sender.n +
	    e->envid.n;
	struct message *m;
	char *at;

	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct queue_recipient *r = &e->recipients[i];

		n += r->address.n + r->original.n + r->orcpt.n +
		    r->transport.n + r->nexthop.n;
	}
	m = calloc(1, n);
	if (m == NULL)
		return NULL;
	m->octets = n;
	m->recipients = (struct recipient *)(m + 1);
	at = (char *)(m->recipients + e->recipient_count);
	m->id = name->id;
	queue_id_text(m->id, m->text);
	m->name = *name;
	m->arrival = believe_arrival(e->arrival);
	m->size = e->size;
	m->flags = e->flags;
	m->ret = e->ret;
	m->sender = put(&at, e->sender);
	m->envid = put(&at, e->envid);
	m->notice = -1;
	m->recipient_count = e->recipient_count;
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct queue_recipient *from = &e->recipients[i];
		struct recipient *to = &m->recipients[i];

		to->address = put(&at, from->address);
		to->original = put(&at, from->original);
		to->orcpt = put(&at, from->orcpt);
		to->transport = put(&at, from->transport);
		to->nexthop = put(&at, from->nexthop);
		to->notify = from->notify;
	}
	return m;
}

void message_free(struct message **mp)
{
	struct message *m = *mp;

	if (m == NULL)
		return;
	for (size_t i = 0; i < m->recipient_count; i++)
		free(m->recipients[i].outcome);
	free(m);
	*mp = NULL;
}

size_t qmgr_room(const struct qmgr *q)
{
	size_t most = (size_t)q->params->qmgr_message_active_limit;

	/* The same number bounds recipients, but for one message more. */
	if (q->message_count >= most || q->recipient_count >= most ||
	    q->octets >= QMGR_OCTETS_MAX)
		return 0;
	return most - q->message_count;
}

void message_admit(struct qmgr *q, struct message *m)
{
	registry_set(&q->registry, m->id, m);
	TAILQ_INSERT_TAIL(&q->messages, m, link);
	q->message_count++;
	q->recipient_count += m->recipient_count;
	q->octets += m->octets;
	m->active = clock_wall();
	m->state = MESSAGE_PARKED;
	qmgr_start_tick(q);
	for (size_t i = 0; i < m->recipient_count; i++)
		m->open += m->recipients[i].state == RCPT_WAITING;
}

static void forget(struct qmgr *q, struct message *m)
{
	registry_drop(&q->registry, m->id);
	TAILQ_REMOVE(&q->messages, m, link);
	q->message_count--;
	q->recipient_count -= m->recipient_count;
	q->octets -= m->octets;
	message_free(&m);
	/* Not for each that ends while those with many recipients fill it. */
	if ((q->incoming_left || q->deferred_left) && qmgr_room(q) * 2 >
	    (size_t)q->params->qmgr_message_active_limit)
		load_run(q);
	qmgr_check_drain(q);
}

void message_start(struct qmgr *q, struct message *m)
{
	if (m->state != MESSAGE_PARKED)
		return;
	m->state = MESSAGE_ACTIVE;
	registry_heed(&q->registry, m);
	log_info("%s: from=<" STR_FMT ">, size=%llu, nrcpt=%zu "
	    "(queue active)", m->text, STR_ARG(m->sender),
	    (unsigned long long)m->size, m->open);
	schedule_message(q, m);
	message_settle(q, m);
}

/* --- results ---------------------------------------------------------- */

static struct outcome *outcome_new(const struct agent_result *res)
{
	struct outcome *o = malloc(sizeof(*o) + res->dsn.n + res->relay.n +
	    res->text.n + res->diagnostic.n);
	char *at;

	if (o == NULL)
		log_fatal("no memory");
	at = (char *)(o + 1);
	o->status = put(&at, res->dsn);
	o->host = put(&at, res->relay);
	o->text = put(&at, res->text);
	o->diagnostic = put(&at, res->diagnostic);
	return o;
}

/* Is a notice of this kind wanted? RFC 3461 4.1: without NOTIFY, of failure
 * (and, as sites expect, of delay). The null reverse-path is told nothing
 * (RFC 5321 6.1), nor is a notice of the postmaster's. */
static bool is_wanted(const struct qmgr *q, const struct message *m,
    const struct recipient *r, unsigned notify)
{
	struct str sender = m->sender;
	ssize_t at = str_rchr(sender, '@');

	if (sender.n == 0) /* only the postmaster may want to know */
		return notify == QUEUE_NOTIFY_FAILURE &&
		    qmgr_is_listed(q->params->notify_classes, STR("2bounce"));
	if (at >= 0)
		sender.n = (size_t)at;
	if (str_eq_nocase_c(sender, q->params->double_bounce_sender))
		return false;
	return r->notify & notify ||
	    (r->notify == 0 && notify != QUEUE_NOTIFY_SUCCESS);
}

static void keep_outcome(struct qmgr *q, struct recipient *r,
    const struct agent_result *res)
{
	r->outcome = outcome_new(res);
	r->state = res->status == AGENT_FAILED && !q->params->soft_bounce
	    ? RCPT_FAILED : RCPT_DEFERRED;
}

bool message_is_at_work(const struct message *m)
{
	return m->state == MESSAGE_PARKED || m->state == MESSAGE_ACTIVE;
}

void message_result(struct qmgr *q, struct message *m, uint32_t index,
    const struct agent_result *res, unsigned holder)
{
	struct recipient *r = &m->recipients[index];
	struct job *job = r->job;

	if (r->state != RCPT_WAITING && r->state != RCPT_HANDED) {
		/* Told again after a break. It is durable, or will be: who
		 * waits for word is told then. */
		if (holder == 0)
			return;
		if (r->state == RCPT_RECORDED || r->state == RCPT_CLOSED ||
		    r->state == RCPT_FAILED_LOGGED ||
		    r->state == RCPT_DEFERRED)
			agents_tell(q, holder, m->id, index);
		else
			r->holder = holder;
		return;
	}
	if (!message_is_at_work(m)) {
		/* It waits for an operator's wish, or goes to corrupt/: tried
		 * again, if ever. Nothing may be added to what is over. */
		if (holder != 0)
			agents_tell(q, holder, m->id, index);
		return;
	}
	r->holder = holder;
	m->open--;
	if (res->file_damaged) /* as one that kills its agents */
		m->crashes = QMGR_CRASHES;
	if (res->status == AGENT_SENT) {
		r->state = RCPT_SENT;
		/* RFC 3461 5.2.2: who passed the request on is silent */
		r->success_due = res->onward != AGENT_PASSED_ON &&
		    is_wanted(q, m, r, QUEUE_NOTIFY_SUCCESS);
		r->relayed = res->onward == AGENT_RELAYED;
		if (r->success_due)
			r->outcome = outcome_new(res);
		recorder_add(q, m, index);
	} else {
		keep_outcome(q, r, res);
		/* A delay may be forgotten: it is tried again. */
		if (r->state == RCPT_DEFERRED && holder != 0) {
			agents_tell(q, holder, m->id, index);
			r->holder = 0;
		}
	}
	r->job = NULL;
	if (job != NULL)
		schedule_result(q, job, res->status == AGENT_DEFERRED &&
		    res->nexthop_dead, res);
	if (m->open == 0)
		message_settle(q, m);
}

void message_recorded(struct qmgr *q, struct message *m, uint32_t index)
{
	struct recipient *r = &m->recipients[index];

	m->unrecorded--;
	m->recording--;
	r->state = RCPT_RECORDED;
	if (r->holder != 0)
		agents_tell(q, r->holder, m->id, index);
	r->holder = 0;
	if (m->unrecorded == 0) /* a wish may be older than the last result */
		message_settle(q, m);
}

bool message_is_ending(const struct message *m)
{
	if (m->state != MESSAGE_ACTIVE || m->open > 0 || m->wish != WISH_NONE
	    || m->crashes >= QMGR_CRASHES)
		return false;
	for (size_t i = 0; i < m->recipient_count; i++)
		switch (m->recipients[i].state) {
		case RCPT_SENT: case RCPT_RECORDED:
			if (m->recipients[i].success_due)
				return false;
			break;
		case RCPT_CLOSED:
			break;
		default:
			return false;
		}
	return true;
}

void message_released(struct qmgr *q, struct message *m, int err)
{
	if (err != 0 && err != ENOENT)
		qmgr_spool_failed("unlink", m->text);
	log_info("%s: removed", m->text);
	forget(q, m);
}

/* --- the file's log, and where the file goes -------------------------- */

enum after { AFTER_LOG, AFTER_MOVE };

struct file_work {
	struct disk_work work;
	struct qmgr *qmgr;
	struct message *message;
	struct queue_name name;
	struct buf records;
	enum after after;
	enum queue_place to;
	int64_t due;
	int error;
	const char *why;
};

static int append_records(struct file_work *w)
{
	struct queue_reader r;
	uint64_t end;
	int rc, fd;

	if (w->records.n == 0)
		return 0;
	fd = queue_spool_open_file(&w->qmgr->spool, &w->name, true);
	if (fd < 0)
		return -1;
	rc = queue_reader_open_header(&r, fd, w->name.id, &w->why);
	if (rc == 0)
		rc = queue_log_read(fd, &r.header, NULL, NULL, &end);
	if (rc == 0)
		rc = queue_log_append(fd, buf_str(&w->records), &end);
	sys_close(fd);
	return rc;
}

static void run_file_work(struct disk_work *dw)
{
	struct file_work *w = (struct file_work *)dw;
	struct queue_spool *s = &w->qmgr->spool;

	w->error = 0;
	if (append_records(w) < 0) {
		w->error = errno;
		return;
	}
	if (w->after != AFTER_MOVE)
		return;
	if (queue_spool_move(s, &w->name, w->to, w->due) < 0 ||
	    queue_spool_sync(s, &w->name) < 0)
		w->error = errno;
	/* What `done` knew of it stands in its own log now. */
}

static struct file_work *file_work_new(struct qmgr *q, struct message *m,
    void (*done)(struct disk_work *))
{
	struct file_work *w = calloc(1, sizeof(*w));

	if (w == NULL)
		log_fatal("no memory");
	w->work.run = run_file_work;
	w->work.done = done;
	w->qmgr = q;
	w->message = m;
	w->name = m->name;
	buf_init(&w->records, RECORDS_MAX);
	return w;
}

static void file_work_free(struct file_work *w)
{
	buf_fini(&w->records);
	free(w);
}

static void add_record(struct file_work *w, uint32_t recipient,
    enum queue_log_what what, const struct outcome *o)
{
	struct queue_log_record rec = { .recipient = recipient,
		.what = what, .when = clock_wall() };

	if (o != NULL) {
		rec.status = o->status;
		rec.host = o->host;
		rec.text = o->text;
		rec.diagnostic = o->diagnostic;
	}
	if (queue_log_encode(w->name.id, &rec, &w->records) < 0)
		log_fatal("no memory");
}

/* --- the end of a round ----------------------------------------------- */

static size_t count_state(const struct message *m, enum recipient_state s)
{
	size_t n = 0;

	for (size_t i = 0; i < m->recipient_count; i++)
		n += m->recipients[i].state == s;
	return n;
}

static void next_notice(struct qmgr *, struct message *);

static void concluded(struct disk_work *dw)
{
	struct file_work *w = (struct file_work *)dw;
	struct qmgr *q = w->qmgr;
	struct message *m = w->message;
	bool judge = w->error == EBADMSG && m->name.place == QUEUE_INCOMING;
	uint64_t id = m->id;

	if (judge) {
		/* What cleanup said of it is not so. Now, not at some later
		 * look: it could say so of any number of them. */
		log_warn("%s: its file is no message: %s", m->text,
		    w->why ? w->why : "damaged");
	} else if (w->error != 0) {
		/* also what was wished since it was heard last */
		registry_close(&q->registry, m);
		log_warn("%s: cannot %s: %s", m->text, w->to == QUEUE_DEFERRED
		    ? "defer" : "move", strerror(w->error));
		if (m->wish != WISH_NONE || m->expire)
			log_warn("%s: what an operator wished is forgotten",
			    m->text);
		/* It stays where it is, and is found again; not at once,
		 * for a disk that fails fails the next time too. */
		if (m->name.place == QUEUE_INCOMING)
			load_again(q);
		else
			load_due(q, clock_wall() / CLOCK_SECOND +
			    q->params->minimal_backoff_time);
	} else if (w->to == QUEUE_HOLD) {
		log_info("%s: placed on hold", m->text);
	} else if (w->to == QUEUE_CORRUPT) {
		log_warn("%s: moved to corrupt/", m->text);
	} else {
		load_due(q, w->due);
	}
	if (w->error == 0)
		recorder_forget(q, m->id);
	file_work_free(w);
	forget(q, m);
	if (judge)
		load_file(q, id, false, 0);
}

static void move_to(struct qmgr *q, struct message *m, struct file_work *w,
    enum queue_place to, int64_t due)
{
	m->state = MESSAGE_CLOSING;
	w->after = AFTER_MOVE;
	w->to = to;
	w->due = due;
	w->work.done = concluded;
	disk_add(q->disk, &w->work);
}

/* Everything is in the log, notices are written: what is left to do? */
static void conclude(struct qmgr *q, struct message *m, struct file_work *w)
{
	int64_t now = clock_wall() / CLOCK_SECOND;
	bool open;

	registry_close(&q->registry, m);
	if (m->expire && count_state(m, RCPT_DEFERRED) > 0) {
		/* It was wished since they were logged as deferred. It goes
		 * on, and hears of other wishes. */
		registry_heed(&q->registry, m);
		file_work_free(w);
		m->state = MESSAGE_ACTIVE;
		message_settle(q, m);
		return;
	}
	open = count_state(m, RCPT_DEFERRED) > 0 ||
	    count_state(m, RCPT_FAILED_LOGGED) > 0 ||
	    count_state(m, RCPT_WAITING) > 0;

	if (m->wish == WISH_DELETE || (!open && m->wish == WISH_NONE &&
	    m->crashes < QMGR_CRASHES)) {
		file_work_free(w);
		recorder_release(q, m);
		return;
	}
	if (m->crashes >= QMGR_CRASHES)
		move_to(q, m, w, QUEUE_CORRUPT, 0);
	else if (m->wish == WISH_HOLD)
		move_to(q, m, w, QUEUE_HOLD, 0);
	else if (m->wish == WISH_REQUEUE)
		move_to(q, m, w, QUEUE_DEFERRED,
		    queue_due_bucket(now, q->bucket));
	else
		move_to(q, m, w, QUEUE_DEFERRED, retry_next(q, m, now));
}

/* What a notice of each kind is about. */
static bool is_due(const struct qmgr *q, const struct message *m,
    const struct recipient *r, int notice)
{
	switch (notice) {
	case NOTICE_FAILED:
		return r->state == RCPT_FAILED_LOGGED &&
		    is_wanted(q, m, r, QUEUE_NOTIFY_FAILURE);
	case NOTICE_DELAYED:
		return r->state == RCPT_DEFERRED &&
		    is_wanted(q, m, r, QUEUE_NOTIFY_DELAY);
	default:
		return r->state == RCPT_RECORDED && r->success_due &&
		    is_wanted(q, m, r, QUEUE_NOTIFY_SUCCESS);
	}
}

/* Failures that nobody is to be told of are closed here. */
static void close_silent(struct qmgr *q, struct message *m,
    struct file_work *w)
{
	size_t n = 0;

	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->state != RCPT_FAILED_LOGGED ||
		    is_wanted(q, m, r, QUEUE_NOTIFY_FAILURE))
			continue;
		add_record(w, (uint32_t)i, QUEUE_LOG_NOTIFIED, NULL);
		r->state = RCPT_CLOSED;
		n += r->notify != QUEUE_NOTIFY_NEVER;
	}
	if (n > 0) /* RFC 5321 6.1: no notice about a notice */
		log_warn("%s: undeliverable notification discarded: "
		    "from=<" STR_FMT ">, nrcpt=%zu", m->text,
		    STR_ARG(m->sender), n);
}

static void next_notice(struct qmgr *q, struct message *m)
{
	struct file_work *w;

	while (m->notice_failed == false && ++m->notice < NOTICE_COUNT) {
		uint32_t *indexes;
		size_t n = 0;

		if (!(m->notices & 1u << m->notice))
			continue;
		indexes = malloc(m->recipient_count * sizeof(*indexes));
		if (indexes == NULL)
			log_fatal("no memory");
		for (size_t i = 0; i < m->recipient_count &&
		    n < AGENT_RCPT_MAX; i++)
			if (is_due(q, m, &m->recipients[i], m->notice))
				indexes[n++] = (uint32_t)i;
		if (n > 0) {
			m->state = MESSAGE_NOTIFYING;
			schedule_notice(q, m, m->notice, indexes, n);
			free(indexes);
			return;
		}
		free(indexes);
	}
	w = file_work_new(q, m, NULL);
	conclude(q, m, w);
}

static void logged(struct disk_work *dw)
{
	struct file_work *w = (struct file_work *)dw;
	struct qmgr *q = w->qmgr;
	struct message *m = w->message;

	if (w->error != 0) {
		concluded(dw);
		return;
	}
	file_work_free(w);
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->state != RCPT_FAILED &&
		    r->state != RCPT_FAILED_LOGGED &&
		    r->state != RCPT_CLOSED) /* close_silent() */
			continue;
		if (r->holder != 0)
			agents_tell(q, r->holder, m->id, (uint32_t)i);
		r->holder = 0;
	}
	agents_flush(q);
	next_notice(q, m);
}

/* An old message's delays become failures. */
static void expire(struct qmgr *q, struct message *m)
{
	int64_t now = clock_wall() / CLOCK_SECOND;
	size_t n = 0;

	if (!retry_is_expired(q, m, now))
		return;
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].state == RCPT_DEFERRED) {
			m->recipients[i].state = RCPT_FAILED;
			n++;
		}
	if (n > 0)
		log_info("%s: from=<" STR_FMT ">, status=%s, returned to "
		    "sender", m->text, STR_ARG(m->sender), m->expire
		    ? "force-expired" : "expired");
}

static bool wants_warning(const struct qmgr *q, const struct message *m)
{
	int64_t most = q->params->delay_warning_time;

	return most > 0 && !m->warned &&
	    clock_wall() - m->arrival >= most * CLOCK_SECOND;
}

/* What is known of one recipient. */
static void add_result(struct file_work *w, const struct message *m,
    uint32_t index)
{
	const struct recipient *r = &m->recipients[index];

	if (r->state == RCPT_RECORDED || r->state == RCPT_SENT)
		add_record(w, index, r->relayed ? QUEUE_LOG_RELAYED
		    : QUEUE_LOG_SENT, r->outcome);
	else if (r->state == RCPT_DEFERRED)
		add_record(w, index, QUEUE_LOG_DEFERRED, r->outcome);
	else if (r->state == RCPT_FAILED)
		add_record(w, index, QUEUE_LOG_FAILED, r->outcome);
}

static void log_results(struct qmgr *q, struct message *m)
{
	struct file_work *w = file_work_new(q, m, logged);

	m->state = MESSAGE_LOGGING;
	m->notices = 1u << NOTICE_FAILED;
	m->notice = -1;
	m->notice_failed = false;
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		add_result(w, m, (uint32_t)i);
		if (r->state == RCPT_RECORDED && r->success_due)
			m->notices |= 1u << NOTICE_SUCCESS;
		else if (r->state == RCPT_DEFERRED && wants_warning(q, m))
			m->notices |= 1u << NOTICE_DELAYED;
		else if (r->state == RCPT_FAILED)
			r->state = RCPT_FAILED_LOGGED;
	}
	if (m->expire)
		add_record(w, QUEUE_LOG_MESSAGE, QUEUE_LOG_EXPIRE, NULL);
	close_silent(q, m, w);
	disk_add(q->disk, &w->work);
}

void message_leave(struct qmgr *q, struct message *m)
{
	struct file_work *w;

	registry_close(&q->registry, m);
	if (m->state != MESSAGE_ACTIVE ||
	    (m->wish == WISH_NONE && !m->expire))
		return;
	if (m->wish == WISH_DELETE) {
		if (queue_spool_release(&q->spool, &m->name) == 0)
			log_info("%s: removed", m->text);
		return;
	}
	w = file_work_new(q, m, NULL);
	for (size_t i = 0; i < m->recipient_count; i++)
		add_result(w, m, (uint32_t)i);
	if (m->expire)
		add_record(w, QUEUE_LOG_MESSAGE, QUEUE_LOG_EXPIRE, NULL);
	w->after = m->wish == WISH_HOLD ? AFTER_MOVE : AFTER_LOG;
	w->to = QUEUE_HOLD;
	run_file_work(&w->work);
	if (w->error != 0)
		log_warn("%s: what an operator wished is forgotten: %s",
		    m->text, strerror(w->error));
	else if (m->wish == WISH_HOLD)
		log_info("%s: placed on hold", m->text);
	file_work_free(w);
}

/* `bounce` has committed the notice, or could not. */
static void notice_logged(struct disk_work *dw)
{
	struct file_work *w = (struct file_work *)dw;
	struct qmgr *q = w->qmgr;
	struct message *m = w->message;

	if (w->error != 0) {
		concluded(dw);
		return;
	}
	file_work_free(w);
	next_notice(q, m);
}

static void notice_done(struct qmgr *q, struct message *m, bool written,
    struct job *job)
{
	struct file_work *w = file_work_new(q, m, notice_logged);

	bool delayed = m->notice == NOTICE_DELAYED;

	m->state = MESSAGE_LOGGING;
	m->notice_failed = !written;
	if (written && delayed) {
		m->warned = true;
		add_record(w, QUEUE_LOG_MESSAGE, QUEUE_LOG_WARNED, NULL);
	}
	/* More than one notice can hold: again. */
	if (written && !delayed && job->count == AGENT_RCPT_MAX)
		m->notice--;
	for (size_t k = 0; written && !delayed && k < job->count; k++) {
		struct recipient *r = &m->recipients[job->indexes[k]];

		add_record(w, job->indexes[k], QUEUE_LOG_NOTIFIED, NULL);
		r->state = RCPT_CLOSED;
	}
	disk_add(q->disk, &w->work);
}

/* True when it was one of those still open. The open ones stand first. */
static bool answer_notice(struct job *job, uint32_t index)
{
	for (size_t k = 0; k < job->open; k++)
		if (job->indexes[k] == index) {
			job->indexes[k] = job->indexes[--job->open];
			job->indexes[job->open] = index;
			return true;
		}
	return false;
}

void message_notice_result(struct qmgr *q, struct message *m,
    const struct agent_result *res, unsigned holder)
{
	struct job *job = m->notice_job;

	if (holder != 0)
		agents_tell(q, holder, m->id, (uint32_t)res->index);
	if (job == NULL || !answer_notice(job, (uint32_t)res->index))
		return;
	if (res->status == AGENT_DEFERRED)
		m->notice_failed = true;
	if (job->open > 0)
		return;
	notice_done(q, m, !m->notice_failed, job);
	m->notice_job = NULL;
	schedule_result(q, job, false, res);
}

void message_settle(struct qmgr *q, struct message *m)
{
	if (m->state != MESSAGE_ACTIVE || m->unrecorded > 0)
		return;
	if (m->open > 0) {
		/* A wish or a condemnation needs only that no agent has it. */
		if ((m->wish == WISH_NONE && m->crashes < QMGR_CRASHES) ||
		    count_state(m, RCPT_HANDED) > 0)
			return;
		schedule_cancel(q, m);
	}
	if (m->wish == WISH_DELETE || message_is_ending(m)) {
		registry_close(&q->registry, m);
		recorder_release(q, m);
		return;
	}
	expire(q, m);
	log_results(q, m);
}

void message_condemn(struct qmgr *q, struct message *m)
{
	log_warn("%s: delivery agents died of it %u times", m->text,
	    m->crashes);
	message_settle(q, m);
}

void message_heed(struct qmgr *q, struct message *m)
{
	if (m->closed)
		return; /* (only the loop sets it) */
	registry_heed(&q->registry, m);
	if (m->wish == WISH_NONE && !m->expire)
		return;
	if (m->state == MESSAGE_PARKED)
		m->state = MESSAGE_ACTIVE;
	message_settle(q, m);
}
