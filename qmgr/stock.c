/*
 * stock.c - the conversations with `cleanup` (msgs/stock.h)
 *
 * Files are made ahead, many with one sync of their directory. A commit is
 * news about a file that is safe already, so it costs one receive and, as a
 * rule, no look at the file.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "msgs/stock.h"
#include "qmgr/qmgr.h"

#define MESSAGES_PER_TURN 64
#define WANT_MAX 256
/* Files that one process has at a time: one for each message that it writes.
 * Who wants more waits until it gave some back. */
#define FILES_MAX 4096
/* Files of one process that are read at a time (which costs a disk thread, and
 * as much memory as is in them); it is not heard meanwhile. */
#define LOADS_MAX 4
#define TELL_AGAIN (60 * CLOCK_SECOND)
#define BATCH 64
#define SPARES_LEFT 32

struct make_work {
	struct disk_work work;
	struct qmgr *qmgr;
	size_t count, spare_count;
	struct queue_spare spares[BATCH];
	uint64_t ids[BATCH];
	int fds[BATCH];
	int error;
};

static struct str key_of(const uint64_t *id)
{
	return str_n(id, sizeof(*id));
}

static void close_cleanup(struct qmgr *q, struct cleanup *c)
{
	struct str key;
	size_t pos = 0;
	void *value;

	/* It may have committed what it did not tell of. */
	while (map_next(c->files, &pos, &key, &value)) {
		uint64_t id;

		memcpy(&id, key.p, sizeof(id));
		registry_drop(&q->registry, id);
		load_file(q, id, false, 0);
	}
	TAILQ_REMOVE(&q->cleanups, c, link);
	watch_free(&c->watch);
	conv_close(&c->conv);
	map_free(&c->files, NULL);
	free(c);
}

/* --- making and giving ------------------------------------------------ */

/* How many files it may be given now. */
static size_t wanted_by(struct cleanup *c)
{
	size_t has = map_count(c->files), room;

	room = has < FILES_MAX ? FILES_MAX - has : 0;
	if (room < c->wants && !c->complained) {
		log_warn("cleanup: process %d has %zu queue files and wants "
		    "more than %d", (int)c->pid, has, FILES_MAX);
		c->complained = true;
	}
	return c->wants < room ? c->wants : room;
}

static void run_make(struct disk_work *dw)
{
	struct make_work *w = (struct make_work *)dw;

	w->error = queue_spool_stock(&w->qmgr->spool, w->count, w->spares,
	    w->spare_count, w->ids, w->fds) < 0 ? errno : 0;
}

/* Its id is claimed as long as somebody has it. 0, or -1: nobody wants
 * it. */
static int give(struct qmgr *q, uint64_t id, int fd)
{
	char text[QUEUE_ID_SIZE];
	struct stock_file m = { str_of(queue_id_text(id, text)), fd };
	struct cleanup *c;
	const char *why;

	TAILQ_FOREACH(c, &q->cleanups, link) {
		if (wanted_by(c) == 0)
			continue;
		if (conv_try_send(c->conv, &stock_file_schema, &m,
		    &why) != 0) {
			c->wants = 0; /* it is stuck, or leaves */
			continue;
		}
		c->wants--;
		registry_claim(&q->registry, id);
		if (map_set(c->files, key_of(&id), c, NULL) < 0)
			log_fatal("no memory");
		/* The others' turn: one that wants without end is no reason
		 * for them to have none. */
		TAILQ_REMOVE(&q->cleanups, c, link);
		TAILQ_INSERT_TAIL(&q->cleanups, c, link);
		return 0;
	}
	return -1;
}

static void made(struct disk_work *dw)
{
	struct make_work *w = (struct make_work *)dw;
	struct qmgr *q = w->qmgr;

	q->making = false;
	if (w->error != 0) {
		log_warn("cannot make queue files: %s", strerror(w->error));
		qmgr_start_tick(q); /* which tries again */
		free(w);
		return;
	}
	/* Their old names are gone for good. */
	for (size_t i = 0; i < w->spare_count; i++)
		recorder_forget(q, w->spares[i].id);
	for (size_t i = 0; i < w->count; i++) {
		int rc = give(q, w->ids[i], w->fds[i]);

		sys_close(w->fds[i]);
		if (rc < 0)
			load_file(q, w->ids[i], false, 0);
	}
	free(w);
	stock_serve(q);
}

/* The oldest, and only while enough younger ones are left: an agent may
 * still close what it just delivered. */
static void take_spares(struct qmgr *q, struct make_work *w)
{
	size_t n = q->spare_count > SPARES_LEFT
	    ? q->spare_count - SPARES_LEFT : 0;

	if (n > w->count)
		n = w->count;
	memcpy(w->spares, q->spares, n * sizeof(w->spares[0]));
	w->spare_count = n;
	q->spare_count -= n;
	memmove(q->spares, q->spares + n,
	    q->spare_count * sizeof(q->spares[0]));
}

void stock_serve(struct qmgr *q)
{
	struct make_work *w;
	struct cleanup *c;
	size_t n = 0;

	if (q->making || q->draining || !q->ready)
		return;
	TAILQ_FOREACH(c, &q->cleanups, link)
		n += wanted_by(c);
	if (n == 0)
		return;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		log_fatal("no memory");
	w->work.run = run_make;
	w->work.done = made;
	w->qmgr = q;
	w->count = n < BATCH ? n : BATCH;
	take_spares(q, w);
	q->making = true;
	disk_add(q->disk, &w->work);
}

/* --- commits ---------------------------------------------------------- */

static struct str nth(const struct strs *s, size_t i)
{
	return i < s->n ? s->v[i] : STR_NONE;
}

static struct message *message_of(uint64_t id, const struct stock_commit *c)
{
	struct queue_name name = { id, QUEUE_INCOMING, 0 };
	struct queue_envelope e = {
		.arrival = c->arrival, .size = c->size,
		.flags = (unsigned)c->flags, .sender = c->sender,
		.envid = c->envid, .ret = (enum queue_ret)c->ret,
		.recipient_count = c->rcpts.n,
	};
	struct message *m;

	e.recipients = calloc(c->rcpts.n ? c->rcpts.n : 1,
	    sizeof(*e.recipients));
	if (e.recipients == NULL)
		return NULL;
	for (size_t i = 0; i < c->rcpts.n; i++)
		e.recipients[i] = (struct queue_recipient){
			.address = c->rcpts.v[i],
			.original = nth(&c->originals, i),
			.orcpt = nth(&c->orcpts, i),
			.transport = nth(&c->transports, i),
			.nexthop = nth(&c->nexthops, i),
			.notify = i < c->notify.n
			    ? (unsigned)c->notify.v[i] : 0,
		};
	m = message_new(&name, &e);
	free(e.recipients);
	return m;
}

/* The file tells. */
static void load_of(struct qmgr *q, struct cleanup *c, uint64_t id, bool fresh)
{
	c->loads++;
	load_file(q, id, fresh, c->serial);
}

/* It is found when there is room again. */
static void leave_on_disk(struct qmgr *q)
{
	int64_t now = loop_now(q->loop);

	q->incoming_left = true;
	if (q->draining || (q->told_full != 0 &&
		now - q->told_full < TELL_AGAIN))
		return;
	q->told_full = now;
	log_warn("the queue is full: %zu messages, %zu recipients, %zu "
	    "octets in memory; others wait on the disk", q->message_count,
	    q->recipient_count, q->octets);
}

static void hear_commit(struct qmgr *q, struct cleanup *c,
    const struct stock_commit *commit)
{
	struct message *m;
	uint64_t id;
	bool ours;

	if (queue_id_parse(commit->queue_id, &id) < 0) {
		log_warn("cleanup: a commit without a queue id");
		return;
	}
	/* A file of the qmgr before us, or too much for one message: the
	 * file tells. */
	ours = map_take(c->files, key_of(&id)) != NULL;
	if (qmgr_room(q) == 0 || q->draining) {
		if (ours)
			registry_drop(&q->registry, id);
		leave_on_disk(q);
		return;
	}
	if (!ours || commit->more || commit->rcpts.n == 0) {
		/* Only what we saw counts, and not the word of a stranger:
		 * in the first seconds some agent of before may have it. */
		bool fresh = ours || load_is_held(q, id);

		if (ours)
			registry_drop(&q->registry, id);
		load_of(q, c, id, fresh);
		return;
	}
	m = message_of(id, commit);
	if (m == NULL) {
		registry_drop(&q->registry, id);
		leave_on_disk(q);
		return;
	}
	message_admit(q, m);
	message_start(q, m);
}

static void hear_return(struct qmgr *q, struct cleanup *c,
    const struct stock_return *m)
{
	uint64_t id;

	if (queue_id_parse(m->queue_id, &id) < 0)
		return;
	if (map_take(c->files, key_of(&id)) != NULL)
		registry_drop(&q->registry, id);
	load_of(q, c, id, false);
}

static void on_cleanup(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&stock_want_schema, &stock_commit_schema,
		&stock_return_schema };
	struct cleanup *c = ctx;
	struct qmgr *q = c->qmgr;
	union {
		struct stock_want want;
		struct stock_commit commit;
		struct stock_return ret;
	} m;
	const struct msg_schema *schema;
	const char *why;

	(void)fd;
	(void)ready;
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		if (c->loads >= LOADS_MAX) { /* stock_loaded() */
			watch_free(&c->watch);
			break;
		}
		switch (conv_try_recv(c->conv, allowed, 3, &schema, &m,
		    &why)) {
		case CONV_TIMEOUT:
			goto out;
		case CONV_BROKEN:
			log_warn("cleanup: %s", why);
			/* fall through */
		case CONV_CLOSED:
			close_cleanup(q, c);
			goto out;
		case CONV_MESSAGE:
			break;
		}
		if (schema == &stock_want_schema)
			c->wants = m.want.files < WANT_MAX - c->wants
			    ? c->wants + (size_t)m.want.files : WANT_MAX;
		else if (schema == &stock_commit_schema)
			hear_commit(q, c, &m.commit);
		else
			hear_return(q, c, &m.ret);
	}
out:
	stock_serve(q);
	schedule_run(q);
}

/* Listens to it. -1: it is closed. */
static int watch_cleanup(struct qmgr *q, struct cleanup *c)
{
	c->watch = watch_new(q->loop, conv_fd(c->conv), LOOP_READ, on_cleanup,
	    c);
	if (c->watch != NULL)
		return 0;
	log_warn("cannot watch cleanup: %s", strerror(errno));
	close_cleanup(q, c);
	return -1;
}

void stock_loaded(struct qmgr *q, unsigned serial)
{
	struct cleanup *c;

	TAILQ_FOREACH(c, &q->cleanups, link)
		if (c->serial == serial)
			break;
	if (c == NULL)
		return;
	c->loads--;
	if (c->watch == NULL && c->loads == 0)
		watch_cleanup(q, c);
}

/* A process has one conversation; its next takes the place of the last. */
static void close_last_of(struct qmgr *q, pid_t pid)
{
	struct cleanup *c;

	TAILQ_FOREACH(c, &q->cleanups, link)
		if (pid > 0 && c->pid == pid)
			break;
	if (c != NULL)
		close_cleanup(q, c);
}

void stock_add(struct qmgr *q, struct conv *conv)
{
	struct cleanup *c = calloc(1, sizeof(*c));

	if (c == NULL)
		log_fatal("no memory");
	c->qmgr = q;
	c->conv = conv;
	c->serial = ++q->cleanup_serial;
	if (conv_peer(conv, &c->pid, NULL) < 0)
		c->pid = -1;
	c->files = map_new(false);
	if (c->files == NULL)
		log_fatal("no memory");
	close_last_of(q, c->pid);
	TAILQ_INSERT_TAIL(&q->cleanups, c, link);
	watch_cleanup(q, c);
}
