/*
 * queue_direct.c - the queue while nobody runs
 *
 * Holds qmgr's lock, so that neither it nor another command works there
 * meanwhile. Lists and changes what qmgr would (queue/operate.h).
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/map.h"
#include "base/sys.h"
#include "postern/queue_access.h"
#include "queue/done.h"
#include "queue/operate.h"

#define ARENA_LIMIT (64u << 20)
#define DONE_AREA (1u << 20)

/* A recipient that is done: the key of a set. */
struct done_key {
	uint64_t id, recipient;
};

struct queue_direct {
	struct queue_spool spool;
	struct map *done;
	bool failed;		/* no memory for it */
	struct queue_names names;
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
	queue_names_free(&q->names);
	free(q);
	*qp = NULL;
}

/* --- finding --- */

/* All of the queue, by age. */
static int scan(struct queue_direct *q)
{
	enum queue_place place;

	queue_names_free(&q->names);
	if (queue_names_read(&q->names, &q->spool, UINT_MAX, &place) == 0)
		return 0;
	complain("fatal: %s: %s", queue_place_name(place), strerror(errno));
	return -1;
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

/* What `done` says is done, too. */
static int read_listed(struct queue_direct *q, const struct queue_name *name,
    struct queue_listed *l, struct arena *a)
{
	if (queue_listed_read(l, &q->spool, name, a) < 0)
		return -1;
	for (size_t i = 0; i < l->reader.envelope.recipient_count; i++) {
		struct done_key key = { name->id, i };

		l->closed[i] |= map_find(q->done, str_n(&key,
		    sizeof(key))) != NULL;
	}
	return 0;
}

static void tell_item(const struct queue_name *name,
    const struct queue_listed *l, queue_item_fn *fn, void *ctx)
{
	const struct queue_envelope *e = &l->reader.envelope;
	struct queue_listed_part part;
	char text[QUEUE_ID_SIZE];
	struct queue_item item = {
		.queue_id = str_of(queue_id_text(name->id, text)),
		.where = where_of(name), .arrival = e->arrival,
		.due = name->due, .size = e->size, .expired = l->expired,
		.sender = e->sender, .rcpts = { part.rcpts, 0 },
		.originals = { part.originals, 0 },
		.reasons = { part.reasons, 0 },
	};
	size_t i = 0;

	do {
		queue_listed_next(l, &i, &part);
		item.rcpts.n = item.originals.n = item.reasons.n = part.n;
		item.more = part.more;
		fn(&item, ctx);
	} while (item.more);
}

static void list_one(struct queue_direct *q, const struct queue_name *name,
    uint64_t where, queue_item_fn *fn, void *ctx, struct queue_result *r)
{
	struct arena *a = arena_new(ARENA_LIMIT);
	struct queue_listed l;

	/* a file in stock, or a torn one, is nobody's message */
	if (a != NULL && where & QUEUE_WHERE_BIT(where_of(name)) &&
	    read_listed(q, name, &l, a) == 0) {
		tell_item(name, &l, fn, ctx);
		r->count++;
		r->octets += l.reader.envelope.size;
	}
	arena_free(&a);
}

int queue_direct_list(struct queue_direct *q, const struct queue_list *m,
    queue_item_fn *fn, void *ctx, struct queue_result *r)
{
	uint64_t where = m->where ? m->where : QUEUE_WHERE_ALL;

	if (scan(q) < 0)
		return -1;
	for (size_t i = 0; i < (m->ids.n ? m->ids.n : q->names.n); i++) {
		const struct queue_name *name = m->ids.n
		    ? queue_names_find(&q->names, m->ids.v[i]) : &q->names.v[i];

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
	{ QUEUE_DO_REQUEUE, ANYWHERE | BIT(CORRUPT), QUEUE_DEFERRED },
	{ QUEUE_DO_DELETE, ANYWHERE | BIT(CORRUPT), QUEUE_PLACE_COUNT },
	{ QUEUE_DO_EXPIRE, ANYWHERE, QUEUE_DEFERRED },
};

static int change(struct queue_direct *q, const struct verb_row *row,
    const struct queue_name *as)
{
	struct queue_name name = *as;
	int rc = queue_change(&q->spool, &name, row->verb == QUEUE_DO_EXPIRE,
	    row->to);

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
	for (size_t i = 0; i < (m->ids.n ? m->ids.n : q->names.n); i++) {
		const struct queue_name *name = m->ids.n
		    ? queue_names_find(&q->names, m->ids.v[i]) : &q->names.v[i];

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
	if ((name = queue_names_find(&q->names, id)) == NULL) {
		errno = ENOENT;
		return -1;
	}
	*where_r = where_of(name);
	*due_r = name->due;
	return queue_spool_open_file(&q->spool, name, false);
}
