/*
 * operator.c - what an operator asks and orders (msgs/queue.h)
 *
 * A thread for each conversation. A message in work gets a wish, which the
 * loop fulfils when no agent has it; a file that nobody works on is claimed
 * and changed here.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "qmgr/qmgr.h"
#include "queue/operate.h"
#include "service/service.h"

#define SEND_TIMEOUT (60 * CLOCK_SECOND)
#define ARENA_LIMIT (64u << 20)
#define BUSY_PATIENCE (5 * CLOCK_SECOND)
/* How often a message is looked for again that moved meanwhile. */
#define MOVES_MOST 5
#define LOOKS_MOST 3

struct operator {
	struct qmgr *qmgr;
	struct conv *conv;
};

static int say(struct operator *o, const struct msg_schema *schema,
    const void *msg)
{
	const char *why;

	return conv_send(o->conv, schema, msg, clock_now() + SEND_TIMEOUT,
	    &why);
}

static int send_end(struct operator *o, uint64_t count, uint64_t octets,
    const struct strs *missing, const char *error)
{
	struct queue_end end = { .count = count, .octets = octets,
		.error = str_of(error) };

	if (missing != NULL)
		end.missing = *missing;
	return say(o, &queue_end_schema, &end);
}

/* --- finding ---------------------------------------------------------- */

/* All names in the places of `where`, sorted by id, that is by age. */
static int list_names(struct qmgr *q, uint64_t where, struct queue_names *l)
{
	static const uint64_t bits[] = {
		[QUEUE_INCOMING] = QUEUE_WHERE_BIT(QUEUE_IN_ACTIVE) |
		    QUEUE_WHERE_BIT(QUEUE_IN_INCOMING),
		[QUEUE_DEFERRED] = QUEUE_WHERE_BIT(QUEUE_IN_ACTIVE) |
		    QUEUE_WHERE_BIT(QUEUE_IN_DEFERRED),
		[QUEUE_HOLD] = QUEUE_WHERE_BIT(QUEUE_IN_HOLD),
		[QUEUE_CORRUPT] = QUEUE_WHERE_BIT(QUEUE_IN_CORRUPT),
	};
	enum queue_place place;
	unsigned places = 0;

	for (unsigned i = 0; i < QUEUE_PLACE_COUNT; i++)
		if (where & bits[i])
			places |= QUEUE_PLACE_BIT(i);
	return queue_names_read(l, &q->spool, places, &place);
}

static bool has_all(const struct queue_names *l, const struct strs *ids)
{
	for (size_t i = 0; i < ids->n; i++)
		if (queue_names_find(l, ids->v[i]) == NULL)
			return false;
	return true;
}

/*
 * As list_names(). What moves to a directory that was read already is in none
 * of those that are read after it: an id that is asked for is looked for again
 * before it is called missing.
 */
static int list_names_with(struct qmgr *q, uint64_t where,
    const struct strs *ids, struct queue_names *l)
{
	int looks = 0;

	for (;;) {
		if (list_names(q, where, l) < 0)
			return -1;
		if (++looks == LOOKS_MOST || has_all(l, ids))
			return 0;
		queue_names_free(l);
	}
}

static uint64_t where_of(struct qmgr *q, const struct queue_name *name)
{
	switch (name->place) {
	case QUEUE_HOLD:
		return QUEUE_IN_HOLD;
	case QUEUE_CORRUPT:
		return QUEUE_IN_CORRUPT;
	case QUEUE_DEFERRED:
		return registry_is_active(&q->registry, name->id)
		    ? QUEUE_IN_ACTIVE : QUEUE_IN_DEFERRED;
	default:
		return registry_is_active(&q->registry, name->id)
		    ? QUEUE_IN_ACTIVE : QUEUE_IN_INCOMING;
	}
}

/* --- listing ---------------------------------------------------------- */

static int send_item(struct operator *o, const struct queue_name *name,
    const struct queue_listed *l)
{
	const struct queue_envelope *e = &l->reader.envelope;
	struct queue_listed_part part;
	char text[QUEUE_ID_SIZE];
	struct queue_item item = {
		.queue_id = str_of(queue_id_text(name->id, text)),
		.where = where_of(o->qmgr, name), .arrival = e->arrival,
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
		if (say(o, &queue_item_schema, &item) < 0)
			return -1;
	} while (item.more);
	return 0;
}

/* A corrupt file: all there is to say is that it is there. */
static int send_corrupt(struct operator *o, const struct queue_name *name)
{
	char text[QUEUE_ID_SIZE];
	struct queue_item item = {
		.queue_id = str_of(queue_id_text(name->id, text)),
		.where = QUEUE_IN_CORRUPT,
	};

	return say(o, &queue_item_schema, &item);
}

static int list_one(struct operator *o, const struct queue_name *name,
    uint64_t where, uint64_t *count, uint64_t *octets)
{
	struct queue_listed l;
	struct arena *a;
	int rc = 0;

	if (!(where & QUEUE_WHERE_BIT(where_of(o->qmgr, name))))
		return 0;
	if ((a = arena_new(ARENA_LIMIT)) == NULL)
		return -1;
	if (queue_listed_read(&l, &o->qmgr->spool, name, a) == 0) {
		rc = send_item(o, name, &l);
		*octets += l.reader.envelope.size;
		++*count;
	} else if (name->place == QUEUE_CORRUPT) {
		rc = send_corrupt(o, name);
		++*count;
	}
	arena_free(&a);
	return rc;
}

/* Ids that were asked for and have no file. */
static struct strs find_missing(const struct strs *ids,
    const struct queue_names *l, struct str *room)
{
	struct strs missing = { room, 0 };

	for (size_t i = 0; i < ids->n; i++)
		if (queue_names_find(l, ids->v[i]) == NULL)
			room[missing.n++] = ids->v[i];
	return missing;
}

static int list(struct operator *o, const struct queue_list *ask)
{
	struct queue_names names = { 0 };
	struct str room[QUEUE_IDS_MAX];
	struct strs missing = { room, 0 };
	uint64_t count = 0, octets = 0;
	uint64_t where = ask->where ? ask->where : QUEUE_WHERE_ALL;
	int rc = 0;

	if (list_names_with(o->qmgr, where, &ask->ids, &names) < 0) {
		queue_names_free(&names);
		return send_end(o, 0, 0, NULL, "the spool cannot be read");
	}
	if (ask->ids.n == 0) {
		for (size_t i = 0; rc == 0 && i < names.n; i++)
			rc = list_one(o, &names.v[i], where, &count,
			    &octets);
	} else {
		missing = find_missing(&ask->ids, &names, room);
		for (size_t i = 0; rc == 0 && i < ask->ids.n; i++) {
			const struct queue_name *name = queue_names_find(&names,
			    ask->ids.v[i]);

			if (name != NULL)
				rc = list_one(o, name, where, &count,
				    &octets);
		}
	}
	queue_names_free(&names);
	return rc < 0 ? rc : send_end(o, count, octets, &missing, "");
}

/* --- orders ----------------------------------------------------------- */

/* Does a recipient that is not done lead to that next hop or domain? errno
 * ENOENT: it does not stand at that name any more. */
static bool leads_to(struct qmgr *q, const struct queue_name *name,
    struct str site)
{
	struct arena *a = arena_new(ARENA_LIMIT);
	struct queue_listed l;
	bool yes = false;

	if (a == NULL || queue_listed_read(&l, &q->spool, name, a) < 0) {
		int err = errno;

		arena_free(&a);
		errno = err;
		return false;
	}
	for (size_t i = 0; i < l.reader.envelope.recipient_count; i++) {
		const struct queue_recipient *r =
		    &l.reader.envelope.recipients[i];
		ssize_t at = str_rchr(r->address, '@');

		if (!l.closed[i] && (str_eq_nocase(r->nexthop, site) ||
		    (at >= 0 && str_eq_nocase(str_from(r->address,
		    (size_t)at + 1), site))))
			yes = true;
	}
	arena_free(&a);
	return yes;
}

struct verb_row {
	uint64_t verb;
	uint64_t where;		/* bits: where it can be done */
	enum queue_place to;	/* of a file that nobody works on */
	const char *words;
};

#define BIT(where) QUEUE_WHERE_BIT(QUEUE_IN_##where)

static const struct verb_row verbs[] = {
	{ QUEUE_DO_FLUSH, BIT(DEFERRED), QUEUE_DEFERRED, NULL },
	{ QUEUE_DO_HOLD, BIT(ACTIVE) | BIT(INCOMING) | BIT(DEFERRED),
	    QUEUE_HOLD, "placed on hold" },
	{ QUEUE_DO_RELEASE, BIT(HOLD), QUEUE_DEFERRED, "released from hold" },
	{ QUEUE_DO_REQUEUE, BIT(ACTIVE) | BIT(INCOMING) | BIT(DEFERRED) |
	    BIT(HOLD) | BIT(CORRUPT), QUEUE_DEFERRED, "requeued" },
	{ QUEUE_DO_DELETE, BIT(ACTIVE) | BIT(INCOMING) | BIT(DEFERRED) |
	    BIT(HOLD) | BIT(CORRUPT), QUEUE_PLACE_COUNT, "removed" },
	{ QUEUE_DO_EXPIRE, BIT(ACTIVE) | BIT(INCOMING) | BIT(DEFERRED) |
	    BIT(HOLD), QUEUE_DEFERRED, "expired" },
};

static const struct verb_row *find_verb(uint64_t verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (verbs[i].verb == verb)
			return &verbs[i];
	return NULL;
}

/* As registry_wish(), once nobody is at it: a file's rename takes its time,
 * and stands somewhere else afterwards. -1: it is still busy, or a cleanup's
 * stock, which nobody waits for. */
static int wish_when_free(struct qmgr *q, const struct queue_name *name,
    uint64_t verb)
{
	static const struct timespec pause = { 0, 2000000 };
	int64_t deadline = clock_now() + BUSY_PATIENCE;
	int rc;

	/* What is busy need not be told to be tried: anybody may say so. */
	while ((rc = registry_wish(&q->registry, name->id, verb)) < 0 &&
	    verb != QUEUE_DO_FLUSH && clock_now() < deadline &&
	    (name->place != QUEUE_INCOMING ||
		queue_is_message(&q->spool, name)))
		nanosleep(&pause, NULL);
	return rc;
}

enum change { CHANGE_NONE, CHANGE_DONE, CHANGE_MOVED };

/* MOVED: it does not stand at that name any more. */
static enum change change(struct operator *o, const struct verb_row *row,
    uint64_t where, struct str site, const struct queue_name *name)
{
	struct qmgr *q = o->qmgr;
	struct queue_name file = *name;
	char text[QUEUE_ID_SIZE];
	int rc = 0;

	if (!(where & row->where & QUEUE_WHERE_BIT(where_of(q, name))))
		return CHANGE_NONE;
	errno = 0;
	if (site.n > 0 && !leads_to(q, name, site))
		return errno == ENOENT ? CHANGE_MOVED : CHANGE_NONE;
	switch (wish_when_free(q, name, row->verb)) {
	case 1:
		atomic_store(&q->wishes, true);
		return row->verb != QUEUE_DO_FLUSH ? CHANGE_DONE
		    : CHANGE_NONE;
	case 0:
		/* A due time of 0 says that an operator wants it tried
		 * whatever the configuration defers. */
		errno = 0;
		rc = queue_change(&q->spool, &file,
		    row->verb == QUEUE_DO_EXPIRE, row->to);
		if (rc < 0 && errno == ENOENT)
			rc = -2;
		registry_drop(&q->registry, name->id);
		break;
	default:
		return CHANGE_NONE;
	}
	if (rc == 0 && row->words != NULL)
		log_info("%s: %s", queue_id_text(name->id, text), row->words);
	return rc == 0 ? CHANGE_DONE : rc == -2 ? CHANGE_MOVED : CHANGE_NONE;
}

struct changes {
	struct str ids[QUEUE_IDS_MAX];
	char texts[QUEUE_IDS_MAX][QUEUE_ID_SIZE];
	size_t n;
	uint64_t count;
	bool unsynced;		/* a crash may undo what was changed */
};

static int flush_changes(struct operator *o, struct changes *c)
{
	struct queue_changed m = { { c->ids, c->n } };
	int rc = c->n == 0 ? 0 : say(o, &queue_changed_schema, &m);

	c->n = 0;
	return rc;
}

/* 0 or -1 (logged). All are tried. */
static int sync_places(struct qmgr *q)
{
	struct queue_name zero = { .place = QUEUE_DEFERRED };
	int rc = 0;

	for (int i = 0; i < QUEUE_PLACE_COUNT; i++)
		if (sys_fsync(q->spool.place[i]) < 0) {
			log_warn("%s/: sync: %s", queue_place_name(i),
			    strerror(errno));
			rc = -1;
		}
	if (queue_spool_sync(&q->spool, &zero) < 0 && errno != ENOENT) {
		log_warn("deferred/0: sync: %s", strerror(errno));
		rc = -1;
	}
	return rc;
}

/* What was renamed or unlinked is durable before it is said; what is not is
 * not said. */
static int say_changes(struct operator *o, struct changes *c)
{
	if (sync_places(o->qmgr) < 0)
		c->unsynced = true;
	if (c->unsynced)
		c->n = 0;
	return flush_changes(o, c);
}

static int note_change(struct operator *o, struct changes *c,
    const struct queue_name *name)
{
	c->ids[c->n] = str_of(queue_id_text(name->id, c->texts[c->n]));
	c->n++;
	c->count++;
	return c->n < QUEUE_IDS_MAX ? 0 : say_changes(o, c);
}

/* What an order is about: by id, since a name changes meanwhile. */
static size_t choose(const struct queue_order *ask,
    const struct queue_names *names, uint64_t *ids)
{
	size_t n = 0;

	if (ask->ids.n == 0) {
		for (size_t i = 0; i < names->n; i++)
			if (n == 0 || ids[n - 1] != names->v[i].id)
				ids[n++] = names->v[i].id;
		return n;
	}
	for (size_t i = 0; i < ask->ids.n; i++) {
		const struct queue_name *name = queue_names_find(names,
		    ask->ids.v[i]);

		if (name != NULL)
			ids[n++] = name->id;
	}
	return n;
}

/* Changes those n. Left in ids are those that moved before they could be
 * changed, *n_r of them: at their new names they can be. */
static int change_all(struct operator *o, const struct queue_order *ask,
    const struct verb_row *row, const struct queue_names *names,
    uint64_t *ids, size_t *n_r, struct changes *c)
{
	uint64_t where = ask->where ? ask->where : QUEUE_WHERE_ALL;
	size_t n = *n_r;
	int rc = 0;

	/* An id that is named is meant, wherever it is. */
	if (ask->ids.n > 0 && ask->where == 0)
		where = row->where;
	*n_r = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		char text[QUEUE_ID_SIZE];
		const struct queue_name *name = queue_names_find(names,
		    str_of(queue_id_text(ids[i], text)));
		enum change what = name == NULL ? CHANGE_NONE
		    : change(o, row, where, ask->site, name);

		if (what == CHANGE_DONE)
			rc = note_change(o, c, name);
		else if (what == CHANGE_MOVED)
			ids[(*n_r)++] = ids[i];
	}
	return rc;
}

static int order(struct operator *o, const struct queue_order *ask)
{
	const struct verb_row *row = find_verb(ask->verb);
	struct qmgr *q = o->qmgr;
	struct changes *c = calloc(1, sizeof(*c));
	struct queue_names names = { 0 };
	struct str room[QUEUE_IDS_MAX];
	struct strs missing = { room, 0 };
	uint64_t *ids = NULL;
	size_t n;
	int rc = 0;

	if (row == NULL || c == NULL || list_names_with(q, row->where,
	    &ask->ids, &names) < 0 || (ids = calloc(names.n + ask->ids.n + 1,
	    sizeof(*ids))) == NULL) {
		free(c);
		queue_names_free(&names);
		return send_end(o, 0, 0, NULL, row == NULL ? "unknown order"
		    : "the spool cannot be read");
	}
	missing = find_missing(&ask->ids, &names, room);
	n = choose(ask, &names, ids);
	rc = change_all(o, ask, row, &names, ids, &n, c);
	for (int again = 0; rc == 0 && n > 0 && again < MOVES_MOST; again++) {
		queue_names_free(&names);
		if (list_names(q, row->where, &names) < 0)
			break;
		rc = change_all(o, ask, row, &names, ids, &n, c);
	}
	if (rc == 0)
		rc = say_changes(o, c);
	else
		sync_places(q);	/* nobody listens any more */
	atomic_store(&q->look, true);
	disk_wake(q->disk);
	if (rc == 0)
		rc = send_end(o, c->count, 0, &missing, c->unsynced
		    ? "what was changed may come back: a directory of the "
		      "queue cannot be synced; the log tells more" : "");
	free(ids);
	free(c);
	queue_names_free(&names);
	return rc;
}

static int show(struct operator *o, const struct queue_show *ask)
{
	struct queue_file m = { .fd = -1 };
	const struct queue_name *name;
	struct queue_names names = { 0 };
	struct str asked = ask->queue_id;
	int rc;

	if (list_names_with(o->qmgr, QUEUE_WHERE_ALL |
	    QUEUE_WHERE_BIT(QUEUE_IN_CORRUPT), &(struct strs){ &asked, 1 },
	    &names) == 0 &&
	    (name = queue_names_find(&names, ask->queue_id)) != NULL) {
		m.fd = queue_spool_open_file(&o->qmgr->spool, name, false);
		m.where = where_of(o->qmgr, name);
		m.due = name->due;
	}
	queue_names_free(&names);
	rc = say(o, &queue_file_schema, &m);
	if (m.fd >= 0)
		sys_close(m.fd);
	return rc;
}

/* --- the conversation ------------------------------------------------- */

static void serve(void *arg)
{
	static const struct msg_schema *const allowed[] = {
		&queue_list_schema, &queue_order_schema, &queue_show_schema };
	struct operator *o = arg;
	union {
		struct queue_list list;
		struct queue_order order;
		struct queue_show show;
	} m;
	const struct msg_schema *schema;
	const char *why;
	int rc = 0;

	while (rc == 0 && conv_recv(o->conv, allowed, 3, &schema, &m,
	    CLOCK_NEVER, &why) == CONV_MESSAGE) {
		if (schema == &queue_list_schema)
			rc = list(o, &m.list);
		else if (schema == &queue_order_schema)
			rc = order(o, &m.order);
		else
			rc = show(o, &m.show);
	}
	conv_close(&o->conv);
	free(o);
}

void operator_add(struct qmgr *q, struct conv *conv)
{
	struct operator *o = calloc(1, sizeof(*o));

	if (o == NULL)
		log_fatal("no memory");
	o->qmgr = q;
	o->conv = conv;
	if (service_thread(serve, o) == 0)
		return;
	log_warn("cannot start a thread: %s", strerror(errno));
	conv_close(&o->conv);
	free(o);
}
