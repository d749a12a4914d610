/*
 * queue_direct.c - the queue while nobody runs
 *
 * Holds qmgr's lock, so that neither it nor another command works there
 * meanwhile. What is ordered is done as qmgr/operator.c does it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/map.h"
#include "base/sys.h"
#include "postern/queue_access.h"
#include "queue/done.h"
#include "queue/log.h"
#include "queue/spool.h"

#define ARENA_LIMIT (64u << 20)
#define DONE_AREA (1u << 20)
#define ITEM_RCPTS 100

/* A recipient that is done: the key of a set. */
struct done_key {
	uint64_t id, recipient;
};

struct queue_direct {
	struct queue_spool spool;
	struct map *done;
	bool failed;		/* no memory for it */
	struct queue_name *names;
	size_t count, room;
};

static void add_done(uint64_t id, uint32_t recipient, enum queue_log_what what,
    int64_t when, void *ctx)
{
	struct queue_direct *q = ctx;
	struct done_key key = { id, recipient };
	static char mark;

	(void)what;
	(void)when;
	if (map_set(q->done, str_n(&key, sizeof(key)), &mark, NULL) < 0)
		q->failed = true;
}

/* Reads what was finished; there is nothing when nothing ever was. */
static int read_done(struct queue_direct *q)
{
	struct queue_done *done;
	struct stat st;
	int rc;

	if ((q->done = map_new(false)) == NULL)
		return -1;
	if (fstatat(q->spool.dir, "done", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -1;
	if ((done = queue_done_open(q->spool.dir, DONE_AREA)) == NULL)
		return -1;
	rc = queue_done_read(done, add_done, q);
	queue_done_close(&done);
	return q->failed ? -1 : rc;
}

struct queue_direct *queue_direct_open(int dir, const char **why_r)
{
	struct queue_direct *q = calloc(1, sizeof(*q));

	*why_r = "no memory";
	if (q == NULL)
		return NULL;
	if (queue_spool_open(&q->spool, dir, true, false, why_r) < 0) {
		if (errno == EWOULDBLOCK)
			*why_r = "another program has it";
		free(q);
		return NULL;
	}
	if (queue_spool_settle(&q->spool) < 0 || read_done(q) < 0) {
		*why_r = "the queue cannot be read";
		queue_direct_close(&q);
	}
	return q;
}

void queue_direct_close(struct queue_direct **qp)
{
	struct queue_direct *q = *qp;

	if (q == NULL)
		return;
	queue_spool_close(&q->spool);
	map_free(&q->done, NULL);
	free(q->names);
	free(q);
	*qp = NULL;
}

/* --- finding --- */

static int add_name(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct queue_direct *q = ctx;

	(void)file;
	if (name->id == 0)
		return 0;
	if (q->count == q->room) {
		size_t room = q->room ? 2 * q->room : 256;
		struct queue_name *more = reallocarray(q->names, room,
		    sizeof(*more));

		if (more == NULL)
			return -1;
		q->names = more;
		q->room = room;
	}
	q->names[q->count++] = *name;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct queue_name *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* All of the queue, by age. */
static int scan(struct queue_direct *q)
{
	q->count = 0;
	for (int place = 0; place < QUEUE_PLACE_COUNT; place++)
		if (queue_spool_scan(&q->spool, (enum queue_place)place,
			INT64_MAX, add_name, q) < 0) {
			complain("fatal: %s: %s", queue_place_name(
			    (enum queue_place)place), strerror(errno));
			return -1;
		}
	if (q->count > 0)
		qsort(q->names, q->count, sizeof(*q->names), compare_names);
	return 0;
}

static const struct queue_name *find(const struct queue_direct *q,
    struct str text)
{
	struct queue_name key = { 0 };

	if (queue_id_parse(text, &key.id) < 0 || q->count == 0)
		return NULL;
	return bsearch(&key, q->names, q->count, sizeof(key), compare_names);
}

static uint64_t where_of(const struct queue_name *name)
{
	switch (name->place) {
	case QUEUE_HOLD: return QUEUE_IN_HOLD;
	case QUEUE_CORRUPT: return QUEUE_IN_CORRUPT;
	case QUEUE_DEFERRED: return QUEUE_IN_DEFERRED;
	default: return QUEUE_IN_INCOMING;
	}
}

/* --- listing --- */

struct listed {
	struct arena *arena;
	struct queue_reader reader;
	bool *closed;
	struct str *reasons;
	bool expired;
};

static int take_record(const struct queue_log_record *r, void *ctx)
{
	struct listed *l = ctx;

	if (r->recipient == QUEUE_LOG_MESSAGE)
		l->expired |= r->what == QUEUE_LOG_EXPIRE;
	if (r->recipient >= l->reader.envelope.recipient_count)
		return 0;
	l->closed[r->recipient] = r->what != QUEUE_LOG_DEFERRED &&
	    r->what != QUEUE_LOG_FAILED;
	l->reasons[r->recipient] = arena_str(l->arena, r->text);
	return 0;
}

static int read_listed(struct queue_direct *q, const struct queue_name *name,
    struct listed *l)
{
	int fd = queue_spool_open_file(&q->spool, name, false), rc;
	const char *why;
	uint64_t end;
	size_t n;

	if (fd < 0)
		return -1;
	rc = queue_reader_open(&l->reader, fd, name->id, l->arena, &why);
	n = rc < 0 ? 0 : l->reader.envelope.recipient_count;
	l->closed = arena_array(l->arena, n + 1, sizeof(bool));
	l->reasons = arena_array(l->arena, n + 1, sizeof(struct str));
	if (rc == 0 && (l->closed == NULL || l->reasons == NULL))
		rc = -1;
	if (rc == 0)
		rc = queue_log_read(fd, &l->reader.header, take_record, l,
		    &end);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct done_key key = { name->id, i };

		l->closed[i] |= map_find(q->done, str_n(&key,
		    sizeof(key))) != NULL;
	}
	sys_close(fd);
	return rc;
}

static void tell_item(const struct queue_name *name, const struct listed *l,
    queue_item_fn *fn, void *ctx)
{
	const struct queue_envelope *e = &l->reader.envelope;
	struct str rcpts[ITEM_RCPTS], originals[ITEM_RCPTS],
	    reasons[ITEM_RCPTS];
	char text[QUEUE_ID_SIZE];
	struct queue_item item = {
		.queue_id = str_of(queue_id_text(name->id, text)),
		.where = where_of(name), .arrival = e->arrival,
		.due = name->due, .size = e->size, .expired = l->expired,
		.sender = e->sender, .rcpts = { rcpts, 0 },
		.originals = { originals, 0 }, .reasons = { reasons, 0 },
	};
	size_t i = 0;

	do {
		size_t n = 0;

		for (; i < e->recipient_count && n < ITEM_RCPTS; i++) {
			if (l->closed[i])
				continue;
			rcpts[n] = e->recipients[i].address;
			originals[n] = e->recipients[i].original;
			reasons[n++] = l->reasons[i];
		}
		item.rcpts.n = item.originals.n = item.reasons.n = n;
		item.more = i < e->recipient_count;
		fn(&item, ctx);
	} while (i < e->recipient_count);
}

static void list_one(struct queue_direct *q, const struct queue_name *name,
    uint64_t where, queue_item_fn *fn, void *ctx, struct queue_result *r)
{
	struct listed l = { .arena = arena_new(ARENA_LIMIT) };

	/* a file in stock, or a torn one, is nobody's message */
	if (l.arena != NULL && where & QUEUE_WHERE_BIT(where_of(name)) &&
	    read_listed(q, name, &l) == 0) {
		tell_item(name, &l, fn, ctx);
		r->count++;
		r->octets += l.reader.envelope.size;
	}
	arena_free(&l.arena);
}

int queue_direct_list(struct queue_direct *q, const struct queue_list *m,
    queue_item_fn *fn, void *ctx, struct queue_result *r)
{
	uint64_t where = m->where ? m->where : QUEUE_WHERE_ALL;

	if (scan(q) < 0)
		return -1;
	for (size_t i = 0; i < (m->ids.n ? m->ids.n : q->count); i++) {
		const struct queue_name *name = m->ids.n
		    ? find(q, m->ids.v[i]) : &q->names[i];

		if (name != NULL)
			list_one(q, name, where, fn, ctx, r);
	}
	return 0;
}

/* --- orders --- */

struct verb_row {
	uint64_t verb;
	uint64_t where;
	enum queue_place to;
};

#define BIT(where) QUEUE_WHERE_BIT(QUEUE_IN_##where)
#define ANYWHERE (BIT(INCOMING) | BIT(DEFERRED) | BIT(HOLD))

static const struct verb_row verbs[] = {
	{ QUEUE_DO_HOLD, BIT(INCOMING) | BIT(DEFERRED), QUEUE_HOLD },
	{ QUEUE_DO_RELEASE, BIT(HOLD), QUEUE_DEFERRED },
	{ QUEUE_DO_REQUEUE, ANYWHERE, QUEUE_DEFERRED },
	{ QUEUE_DO_DELETE, ANYWHERE | BIT(CORRUPT), QUEUE_PLACE_COUNT },
	{ QUEUE_DO_EXPIRE, ANYWHERE, QUEUE_DEFERRED },
};

static int append_expire(struct queue_direct *q,
    const struct queue_name *name)
{
	struct queue_log_record rec = { .recipient = QUEUE_LOG_MESSAGE,
		.what = QUEUE_LOG_EXPIRE, .when = clock_wall() };
	int fd = queue_spool_open_file(&q->spool, name, true), rc;
	struct queue_reader r;
	const char *why;
	struct buf b;
	uint64_t end;

	if (fd < 0)
		return -1;
	buf_init(&b, 4096);
	rc = queue_reader_open_header(&r, fd, name->id, &why);
	if (rc == 0)
		rc = queue_log_read(fd, &r.header, NULL, NULL, &end);
	if (rc == 0)
		rc = queue_log_encode(name->id, &rec, &b);
	if (rc == 0)
		rc = queue_log_append(fd, buf_str(&b), &end);
	sys_close(fd);
	buf_fini(&b);
	return rc;
}

static bool is_message(struct queue_direct *q, const struct queue_name *name)
{
	int fd = queue_spool_open_file(&q->spool, name, false);
	enum queue_kind kind;
	const char *why;

	if (fd < 0)
		return false;
	kind = queue_classify(fd, name->id, false, &why);
	sys_close(fd);
	return kind == QUEUE_KIND_WHOLE;
}

static int change(struct queue_direct *q, const struct verb_row *row,
    const struct queue_name *as)
{
	struct queue_name name = *as;
	int rc = 0;

	if (name.place == QUEUE_INCOMING && !is_message(q, &name))
		return -1;
	if (row->verb == QUEUE_DO_EXPIRE)
		rc = append_expire(q, &name);
	if (rc == 0 && row->verb == QUEUE_DO_DELETE)
		rc = queue_spool_release(&q->spool, &name);
	else if (rc == 0)
		rc = queue_spool_move(&q->spool, &name, row->to, 0);
	if (rc == 0 && as->place == QUEUE_DEFERRED)
		queue_spool_drop_due(&q->spool, as->due);
	if (rc == 0 && row->verb != QUEUE_DO_DELETE)
		rc = queue_spool_sync(&q->spool, &name);
	return rc;
}

int queue_direct_order(struct queue_direct *q, const struct queue_order *m,
    queue_changed_fn *fn, void *ctx, struct queue_result *r)
{
	const struct verb_row *row = NULL;
	uint64_t where = m->where ? m->where : m->ids.n > 0 ? UINT64_MAX
	    : QUEUE_WHERE_ALL;
	char text[QUEUE_ID_SIZE];

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].verb == m->verb)
			row = &verbs[i];
	if (row == NULL || scan(q) < 0)
		return -1;
	/* what is active when the suite runs is elsewhere when it is down */
	if (where & BIT(ACTIVE))
		where |= BIT(INCOMING);
	for (size_t i = 0; i < (m->ids.n ? m->ids.n : q->count); i++) {
		const struct queue_name *name = m->ids.n
		    ? find(q, m->ids.v[i]) : &q->names[i];

		if (name == NULL || !(where & row->where &
			QUEUE_WHERE_BIT(where_of(name))) ||
		    change(q, row, name) < 0)
			continue;
		r->count++;
		if (fn != NULL)
			fn(str_of(queue_id_text(name->id, text)), ctx);
	}
	for (int i = 0; i < QUEUE_PLACE_COUNT; i++)
		if (sys_fsync(q->spool.place[i]) < 0) {
			complain("fatal: %s: %s", queue_place_name(
			    (enum queue_place)i), strerror(errno));
			return -1;
		}
	return 0;
}

int queue_direct_show(struct queue_direct *q, struct str id,
    uint64_t *where_r, int64_t *due_r)
{
	const struct queue_name *name;

	if (scan(q) < 0)
		return -1;
	if ((name = find(q, id)) == NULL) {
		errno = ENOENT;
		return -1;
	}
	*where_r = where_of(name);
	*due_r = name->due;
	return queue_spool_open_file(&q->spool, name, false);
}
