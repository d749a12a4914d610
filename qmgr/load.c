/*
 * load.c - messages from the disk: at start, when they are due, and what a
 * `cleanup` left behind
 *
 * All of it happens in disk threads; what was loaded comes to the loop in
 * one list. The registry keeps two from loading the same file.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "msgs/lookup.h"
#include "qmgr/qmgr.h"
#include "service/service.h"

/* Two areas of `done`: room for the records of twice as many recipients as
 * can be in memory. */
#define DONE_AREA (5u << 20)
#define ARENA_LIMIT (64u << 20)
#define RESOLVE_TIMEOUT (5 * CLOCK_SECOND)
/* Files of a stock that was made before us are looked at so often. */
#define HELD_AGAIN (10 * CLOCK_SECOND)
/* So many at a time, once a second: others want the disk as well. */
#define HELD_TURN 1024u
/* More of them are found when incoming/ is read the next time. */
#define HELD_MAX 65536u
/* Octets of the messages of one look; what is left is looked at again. */
#define LOAD_OCTETS (QMGR_OCTETS_MAX / 8)
#define DUES_MAX 65536
#define RUN_MAX 2000		/* messages of one look */

struct load {
	struct disk_work work;
	struct qmgr *qmgr;
	struct message_list loaded;
	size_t count, most, octets;
	unsigned cleanup;	/* load_file() */
	int64_t until;		/* deferred that is due then */
	bool incoming, deferred, resolve, left, left_incoming;
	bool unread;		/* some file in incoming/ */
	int64_t *used;		/* buckets in which there was a name */
	size_t used_count, used_room;
	uint64_t id;		/* load_file() */
	bool fresh;		/* no agent can have had it */
	uint64_t *held;
	size_t held_count, held_room;
	int64_t next_due;
	uint64_t *seen;		/* ids in incoming/ at start */
	size_t seen_count, seen_room;
	const char *failed;	/* at start: cannot go on */
	int error;
};

static struct load *load_new(struct qmgr *q, void (*run)(struct disk_work *),
    void (*done)(struct disk_work *))
{
	struct load *l = calloc(1, sizeof(*l));

	if (l == NULL)
		log_fatal("no memory");
	l->work.run = run;
	l->work.done = done;
	l->qmgr = q;
	l->next_due = INT64_MAX;
	TAILQ_INIT(&l->loaded);
	return l;
}

static void add_id(uint64_t **ids, size_t *count, size_t *room, uint64_t id)
{
	if (*count == *room) {
		size_t more = *room ? 2 * *room : 64;
		uint64_t *p = realloc(*ids, more * sizeof(*p));

		if (p == NULL)
			log_fatal("no memory");
		*ids = p;
		*room = more;
	}
	(*ids)[(*count)++] = id;
}

static bool is_full(const struct load *l)
{
	return l->count >= l->most || l->octets >= LOAD_OCTETS;
}

/* --- one file --------------------------------------------------------- */

struct log_state {
	struct queue_envelope *envelope;
	enum recipient_state *states;
	bool warned, expire;
};

static int take_record(const struct queue_log_record *r, void *ctx)
{
	struct log_state *s = ctx;

	if (r->recipient == QUEUE_LOG_MESSAGE) {
		s->warned |= r->what == QUEUE_LOG_WARNED;
		s->expire |= r->what == QUEUE_LOG_EXPIRE;
		return 0;
	}
	if (r->recipient >= s->envelope->recipient_count)
		return 0;
	switch (r->what) {
	case QUEUE_LOG_DEFERRED:
		s->states[r->recipient] = RCPT_WAITING;
		break;
	case QUEUE_LOG_FAILED:
		s->states[r->recipient] = RCPT_FAILED_LOGGED;
		break;
	default:
		s->states[r->recipient] = RCPT_CLOSED;
	}
	return 0;
}

static int compare_marks(const void *a, const void *b)
{
	const struct done_mark *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->recipient < y->recipient ? -1 : x->recipient > y->recipient;
}

/* What `done` knew of it when we started. */
static void apply_marks(const struct qmgr *q, uint64_t id,
    enum recipient_state *states, size_t count)
{
	size_t low = 0, high = q->mark_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (q->marks[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < q->mark_count && q->marks[low].id == id; low++)
		if (q->marks[low].recipient < count)
			states[q->marks[low].recipient] = RCPT_RECORDED;
}

/* Where mail goes may have changed since it came. */
static void resolve(struct load *l, const struct queue_envelope *e,
    struct queue_recipient *r, struct arena *arena)
{
	struct resolve_request req = { .address = r->address,
		.sender = e->sender };
	struct resolve_reply rep;
	struct conv *conv;
	const char *why;

	if (!l->resolve)
		return;
	if (service_ask("lookup", &resolve_request_schema, &req,
	    &resolve_reply_schema, &rep, RESOLVE_TIMEOUT, &conv, &why) < 0) {
		log_warn("lookup: %s", why);
		l->resolve = false; /* it goes where it was to go */
		return;
	}
	if (rep.status == LOOKUP_OK && rep.transport.n > 0) {
		r->transport = arena_str(arena, rep.transport);
		r->nexthop = arena_str(arena, rep.nexthop);
	}
	conv_keep(&conv);
}

static struct message *read_message(struct load *l,
    const struct queue_name *name, int fd, const char **why)
{
	struct arena *arena = arena_new(ARENA_LIMIT);
	enum recipient_state *states;
	struct message *m = NULL;
	struct queue_reader r;
	struct log_state s;
	uint64_t end;
	int error;

	errno = ENOMEM;
	if (arena == NULL || queue_reader_open(&r, fd, name->id, arena,
	    why) < 0)
		goto out;
	errno = ENOMEM;
	states = arena_array(arena, r.envelope.recipient_count + 1,
	    sizeof(*states));
	if (states == NULL)
		goto out;
	s = (struct log_state){ &r.envelope, states, false, false };
	if (queue_log_read(fd, &r.header, take_record, &s, &end) < 0)
		goto out;
	apply_marks(l->qmgr, name->id, states, r.envelope.recipient_count);
	for (size_t i = 0; i < r.envelope.recipient_count; i++)
		if (states[i] == RCPT_WAITING)
			resolve(l, &r.envelope, &r.envelope.recipients[i],
			    arena);
	m = message_new(name, &r.envelope);
	if (m == NULL)
		goto out;
	m->warned = s.warned;
	m->expire = s.expire;
	m->flushed = name->place == QUEUE_DEFERRED && name->due == 0;
	for (size_t i = 0; i < m->recipient_count; i++)
		m->recipients[i].state = states[i];
out:
	error = errno;
	arena_free(&arena);
	errno = error;
	return m;
}

/* Its sums are right and what they are the sums of is not: nothing that
 * cleanup writes, and no better the next time. */
static void set_aside(struct load *l, const struct queue_name *as,
    const char *why)
{
	struct queue_name name = *as;
	char text[QUEUE_ID_SIZE];

	queue_id_text(name.id, text);
	if (queue_spool_move(&l->qmgr->spool, &name, QUEUE_CORRUPT, 0) < 0)
		log_warn("%s: damaged (%s), cannot be moved to corrupt/: %s",
		    text, why, strerror(errno));
	else
		log_warn("%s: damaged (%s), moved to corrupt/", text, why);
}

/* The registry's claim passes to the message, or is dropped. */
static void take_message(struct load *l, const struct queue_name *name,
    int fd)
{
	const char *why = "out of memory";
	struct message *m = read_message(l, name, fd, &why);
	char text[QUEUE_ID_SIZE];

	if (m == NULL) {
		if (errno == EBADMSG) {
			set_aside(l, name, why);
		} else {
			log_warn("%s: %s", queue_id_text(name->id, text),
			    why);
			l->left = true;
		}
		registry_drop(&l->qmgr->registry, name->id);
		return;
	}
	TAILQ_INSERT_TAIL(&l->loaded, m, link);
	l->count++;
	l->octets += m->octets;
}

/* --- incoming/ -------------------------------------------------------- */

static int found(enum queue_found what, const struct queue_name *name,
    const char *file, int fd, const char *why, void *ctx)
{
	struct load *l = ctx;
	struct registry *reg = &l->qmgr->registry;
	char text[QUEUE_ID_SIZE];
	int error = errno;

	queue_id_text(name->id, text);
	switch (what) {
	case QUEUE_FOUND_MESSAGE:
		take_message(l, name, fd);
		return 0;
	case QUEUE_FOUND_HELD:
		add_id(&l->held, &l->held_count, &l->held_room, name->id);
		break;
	case QUEUE_FOUND_CORRUPT:
		log_warn("%s: damaged (%s), moved to corrupt/", text, why);
		break;
	case QUEUE_FOUND_STRANGE:
		log_warn("%s/%s: skipped: %s", queue_place_name(name->place),
		    file, why);
		break;
	case QUEUE_FOUND_FAILED:
		if (error != ENOENT)
			log_warn("%s/%s: %s: %s",
			    queue_place_name(name->place), file, why ? why :
			    "cannot be read", strerror(error));
		/* Perhaps it can at the next look. */
		if (error != ENOENT && name->place == QUEUE_INCOMING)
			l->unread = true;
		break;
	case QUEUE_FOUND_REMOVED:
		break;
	}
	if (name->id != 0)
		registry_drop(reg, name->id);
	return 0;
}

static int see_incoming(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct load *l = ctx;

	if (l->seen_room != SIZE_MAX && name->id != 0)
		add_id(&l->seen, &l->seen_count, &l->seen_room, name->id);
	if (name->id != 0) {
		if (is_full(l)) {
			l->left_incoming = true;
			return 0;
		}
		if (!registry_claim(&l->qmgr->registry, name->id))
			return 0;
	}
	return queue_recover_file(&l->qmgr->spool, name, file, found, l);
}

static int load_incoming(struct load *l)
{
	struct queue_spool *s = &l->qmgr->spool;

	if (queue_spool_scan(s, QUEUE_INCOMING, 0, see_incoming, l) < 0)
		return -1;
	return sys_fsync(s->place[QUEUE_CORRUPT]) < 0 ||
	    sys_fsync(s->place[QUEUE_INCOMING]) < 0 ? -1 : 0;
}

/* --- deferred/ -------------------------------------------------------- */

/* Names of a bucket come one after the other. */
static void note_bucket(struct load *l, int64_t due)
{
	if (l->used_count > 0 && l->used[l->used_count - 1] == due)
		return;
	if (l->used_count == l->used_room) {
		size_t room = l->used_room ? 2 * l->used_room : 16;
		int64_t *p = realloc(l->used, room * sizeof(*p));

		if (p == NULL)
			log_fatal("no memory");
		l->used = p;
		l->used_room = room;
	}
	l->used[l->used_count++] = due;
}

static bool is_used(const struct load *l, int64_t due)
{
	for (size_t i = 0; i < l->used_count; i++)
		if (l->used[i] == due)
			return true;
	return false;
}

static int see_deferred(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct load *l = ctx;

	note_bucket(l, name->due);

	if (name->id == 0) {
		log_warn("deferred/%lld/%s: skipped: the name is no queue id",
		    (long long)name->due, file);
		return 0;
	}
	if (is_full(l)) {
		l->left = true;
		return 1;
	}
	if (!registry_claim(&l->qmgr->registry, name->id))
		return 0;
	return queue_recover_file(&l->qmgr->spool, name, file, found, l);
}

static void find_next_due(struct load *l)
{
	int64_t *dues = malloc(DUES_MAX * sizeof(*dues));
	ssize_t n = dues == NULL ? -1 : queue_spool_dues(&l->qmgr->spool,
	    dues, DUES_MAX);

	for (ssize_t i = 0; i < n; i++)
		if (dues[i] > l->until) {
			if (dues[i] < l->next_due)
				l->next_due = dues[i];
		} else if (!l->left && !is_used(l, dues[i])) {
			/* Tried here alone: to find that a large directory
			 * is empty takes long, if it was not. */
			queue_spool_drop_due(&l->qmgr->spool, dues[i]);
		}
	if (n == DUES_MAX) /* not all of them were seen */
		l->next_due = l->until + 1;
	free(dues);
}

static void run_run(struct disk_work *dw)
{
	struct load *l = (struct load *)dw;

	if (l->incoming && load_incoming(l) < 0) {
		log_warn("cannot read incoming/: %s", strerror(errno));
		l->left_incoming = true;
	}
	if (queue_spool_scan(&l->qmgr->spool, QUEUE_DEFERRED, l->until,
	    see_deferred, l) < 0)
		log_warn("cannot read deferred/: %s", strerror(errno));
	find_next_due(l);
}

/* --- in the loop ------------------------------------------------------ */

bool load_again(struct qmgr *q)
{
	int64_t again = clock_wall() / CLOCK_SECOND +
	    q->params->minimal_backoff_time;

	if (again >= q->incoming_due)
		return false;
	q->incoming_due = again;
	load_due(q, again);
	return true;
}

/* Somebody who was taken over may hold files as he likes, and ask for each
 * again and again. */
static void add_held(struct qmgr *q, uint64_t id)
{
	struct str key = str_n(&id, sizeof(id));

	if (map_find(q->held_ids, key) != NULL)
		return;
	if (q->held_count >= HELD_MAX) {
		if (load_again(q))
			log_warn("more than %u files in incoming/ are held: "
			    "not all are watched", HELD_MAX);
		return;
	}
	if (map_set(q->held_ids, key, q, NULL) < 0)
		log_fatal("no memory");
	add_id(&q->held, &q->held_count, &q->held_room, id);
}

bool load_is_held(const struct qmgr *q, uint64_t id)
{
	return map_find(q->held_ids, str_n(&id, sizeof(id))) != NULL;
}

static void admit_loaded(struct load *l)
{
	struct qmgr *q = l->qmgr;
	struct message *m;

	while ((m = TAILQ_FIRST(&l->loaded)) != NULL) {
		TAILQ_REMOVE(&l->loaded, m, link);
		message_admit(q, m);
		if (q->grace == 0 || l->fresh)
			message_start(q, m);
	}
	if (l->held_count > 0 && q->held_count == 0)
		q->held_again = loop_now(q->loop) + HELD_AGAIN;
	for (size_t i = 0; i < l->held_count; i++)
		add_held(q, l->held[i]);
	if (q->held_count > 0)
		qmgr_start_tick(q);
	if (l->unread)
		load_again(q);
	schedule_run(q);
}

static void load_free(struct load *l)
{
	free(l->held);
	free(l->used);
	free(l->seen);
	free(l);
}

static void set_timer(struct qmgr *q)
{
	int64_t now = clock_wall(), wait;
	int64_t most = q->params->queue_run_delay * CLOCK_SECOND;

	wait = q->next_due == INT64_MAX ? most
	    : q->next_due * CLOCK_SECOND - now + CLOCK_SECOND / 10;
	if (wait > most)
		wait = most;
	timer_in(q->run_timer, wait < 0 ? 0 : wait);
}

static void run_done(struct disk_work *dw)
{
	struct load *l = (struct load *)dw;
	struct qmgr *q = l->qmgr;

	q->scanning = false;
	q->deferred_left = l->left;
	/* One that was left while we looked stays noted. */
	q->incoming_left |= l->left_incoming;
	if (l->next_due < q->next_due)
		q->next_due = l->next_due;
	if (q->incoming_due < q->next_due)
		q->next_due = q->incoming_due;
	admit_loaded(l);
	/* Whatever could not be read is tried again at the next look. */
	set_timer(q);
	if (q->run_again || ((l->left || l->left_incoming) && l->count > 0 &&
	    qmgr_room(q) > 0)) {
		q->run_again = false;
		load_run(q);
	}
	load_free(l);
	qmgr_check_drain(q);
}

void load_run(struct qmgr *q)
{
	struct load *l;

	if (!q->ready || q->draining)
		return;
	if (q->scanning) {
		q->run_again = true;
		return;
	}
	l = load_new(q, run_run, run_done);
	l->until = clock_wall() / CLOCK_SECOND;
	l->most = qmgr_room(q) < RUN_MAX ? qmgr_room(q) : RUN_MAX;
	l->incoming = q->incoming_left || q->incoming_due <= l->until;
	q->incoming_left = false;
	if (l->incoming)
		q->incoming_due = INT64_MAX;
	l->resolve = true;
	l->seen_room = SIZE_MAX; /* nobody asks */
	q->scanning = true;
	q->next_due = INT64_MAX;
	disk_add(q->disk, &l->work);
}

void load_flushed(struct qmgr *q)
{
	if (q->incoming_due != INT64_MAX)
		q->incoming_due = 0;
	schedule_forget_dead(q);
	load_run(q);
}

void load_due(struct qmgr *q, int64_t due)
{
	if (due >= q->next_due)
		return;
	q->next_due = due;
	set_timer(q);
}

static void file_run(struct disk_work *dw)
{
	struct load *l = (struct load *)dw;
	struct queue_name name = { l->id, QUEUE_INCOMING, 0 };
	char text[QUEUE_ID_SIZE];

	if (registry_claim(&l->qmgr->registry, l->id))
		queue_recover_file(&l->qmgr->spool, &name,
		    queue_id_text(l->id, text), found, l);
}

static void file_done(struct disk_work *dw)
{
	struct load *l = (struct load *)dw;
	struct qmgr *q = l->qmgr;

	admit_loaded(l);
	if (l->left)
		load_again(q);
	if (l->cleanup != 0)
		stock_loaded(q, l->cleanup);
	load_free(l);
	qmgr_check_drain(q);
}

void load_file(struct qmgr *q, uint64_t id, bool fresh, unsigned cleanup)
{
	struct load *l = load_new(q, file_run, file_done);

	l->id = id;
	l->fresh = fresh;
	l->cleanup = cleanup;
	disk_add(q->disk, &l->work);
}

void load_tick(struct qmgr *q, int64_t now)
{
	size_t n = q->held_count < HELD_TURN ? q->held_count : HELD_TURN;

	if (n == 0 || q->draining || now < q->held_again)
		return;
	for (size_t i = 0; i < n; i++) {
		map_take(q->held_ids, str_n(&q->held[i], sizeof(q->held[i])));
		load_file(q, q->held[i], false, 0);
	}
	/* Those that are held still come back behind the others. */
	q->held_count -= n;
	memmove(q->held, q->held + n, q->held_count * sizeof(q->held[0]));
	q->held_again = now + (q->held_count > 0 ? CLOCK_SECOND : HELD_AGAIN);
}

/* --- the start -------------------------------------------------------- */

static void take_mark(uint64_t id, uint32_t recipient,
    enum queue_log_what what, int64_t when, void *ctx)
{
	struct qmgr *q = ctx;

	(void)what;
	(void)when;
	if ((q->mark_count & (q->mark_count - 1)) == 0) {
		size_t room = q->mark_count ? 2 * q->mark_count : 1;
		struct done_mark *p = realloc(q->marks, room * sizeof(*p));

		if (p == NULL)
			log_fatal("no memory");
		q->marks = p;
	}
	q->marks[q->mark_count++] = (struct done_mark){ id, recipient };
}

static int see_name(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct load *l = ctx;

	(void)file;
	add_id(&l->seen, &l->seen_count, &l->seen_room, name->id);
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Records of messages whose file is gone need not be carried on. */
static void drop_old_marks(struct load *l)
{
	struct qmgr *q = l->qmgr;

	if (q->mark_count == 0)
		return;
	queue_spool_scan(&q->spool, QUEUE_DEFERRED, INT64_MAX, see_name, l);
	queue_spool_scan(&q->spool, QUEUE_HOLD, 0, see_name, l);
	queue_spool_scan(&q->spool, QUEUE_CORRUPT, 0, see_name, l);
	if (l->seen_count > 0)
		qsort(l->seen, l->seen_count, sizeof(*l->seen), compare_ids);
	for (size_t i = 0; i < q->mark_count; i++)
		if (l->seen_count == 0 || bsearch(&q->marks[i].id, l->seen,
			l->seen_count, sizeof(*l->seen), compare_ids) == NULL)
			queue_done_forget(q->done, q->marks[i].id);
}

static void start_run(struct disk_work *dw)
{
	struct load *l = (struct load *)dw;
	struct qmgr *q = l->qmgr;
	int dir = service_dir("spool");
	ssize_t doubles;

	/* What we were given may only name the directory. */
	dir = dir < 0 ? -1 : sys_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	l->failed = "cannot open the spool";
	if (dir < 0 || queue_spool_open(&q->spool, dir, true, true,
	    &l->failed) < 0)
		goto fail;
	l->failed = "cannot read the spool";
	if ((doubles = queue_spool_settle(&q->spool)) < 0)
		goto fail;
	if (doubles > 0)
		log_info("%zd messages had two names", doubles);
	l->failed = "cannot open the log of results";
	q->done = queue_done_open(q->spool.dir, DONE_AREA);
	if (q->done == NULL)
		goto fail;
	queue_done_read(q->done, take_mark, q);
	if (q->mark_count > 0)
		qsort(q->marks, q->mark_count, sizeof(*q->marks),
		    compare_marks);
	l->failed = "cannot read incoming/";
	if (load_incoming(l) < 0)
		goto fail;
	drop_old_marks(l);
	l->failed = NULL;
	return;
fail:
	l->error = errno;
}

static void start_done(struct disk_work *dw)
{
	struct load *l = (struct load *)dw;
	struct qmgr *q = l->qmgr;

	if (l->failed != NULL)
		log_fatal("%s: %s", l->failed, strerror(l->error));
	q->ready = true;
	q->recycles = queue_spool_can_recycle(&q->spool);
	q->incoming_left = l->left_incoming || l->left;
	/* Agents say first what they have of these, and of what is due. */
	q->grace = loop_now(q->loop) + QMGR_AGENT_GRACE;
	if (l->count > 0)
		log_info("found %zu messages in incoming/", l->count);
	admit_loaded(l);
	load_free(l);
	qmgr_is_ready(q);
	load_run(q);
}

void load_start(struct qmgr *q)
{
	struct load *l = load_new(q, start_run, start_done);

	l->most = (size_t)q->params->qmgr_message_active_limit;
	disk_add(q->disk, &l->work);
}
