#include <errno.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/sys.h"
#include "queue/operate.h"

#define ADDRESS_SHOWN 320	/* octets */
#define REASON_SHOWN 500

/* --- names --- */

static int add_name(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct queue_names *l = ctx;

	(void)file;
	if (name->id == 0)
		return 0;
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		struct queue_name *p = reallocarray(l->v, room, sizeof(*p));

		if (p == NULL)
			return -1;
		l->v = p;
		l->room = room;
	}
	l->v[l->n++] = *name;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct queue_name *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

int queue_names_read(struct queue_names *l, const struct queue_spool *spool,
    unsigned places, enum queue_place *place_r)
{
	for (int i = 0; i < QUEUE_PLACE_COUNT; i++) {
		*place_r = (enum queue_place)i;
		if (places & QUEUE_PLACE_BIT(i) && queue_spool_scan(spool,
			*place_r, INT64_MAX, add_name, l) < 0)
			return -1;
	}
	if (l->n > 0)
		qsort(l->v, l->n, sizeof(*l->v), compare_names);
	return 0;
}

void queue_names_free(struct queue_names *l)
{
	free(l->v);
	*l = (struct queue_names){ 0 };
}

const struct queue_name *queue_names_find(const struct queue_names *l,
    struct str id)
{
	struct queue_name key = { 0 };

	if (queue_id_parse(id, &key.id) < 0 || l->n == 0)
		return NULL;
	return bsearch(&key, l->v, l->n, sizeof(key), compare_names);
}

/* --- a message --- */

static int take_record(const struct queue_log_record *r, void *ctx)
{
	struct queue_listed *l = ctx;

	if (r->recipient == QUEUE_LOG_MESSAGE)
		l->expired |= r->what == QUEUE_LOG_EXPIRE;
	if (r->recipient >= l->reader.envelope.recipient_count)
		return 0;
	l->closed[r->recipient] = r->what != QUEUE_LOG_DEFERRED &&
	    r->what != QUEUE_LOG_FAILED;
	l->reasons[r->recipient] = arena_str(l->arena, r->text);
	return 0;
}

int queue_listed_read(struct queue_listed *l, const struct queue_spool *spool,
    const struct queue_name *name, struct arena *a)
{
	int fd = queue_spool_open_file(spool, name, false);
	const char *why;
	uint64_t end;
	size_t n;
	int rc;

	*l = (struct queue_listed){ .arena = a };
	if (fd < 0)
		return -1;
	rc = queue_reader_open(&l->reader, fd, name->id, a, &why);
	n = rc < 0 ? 0 : l->reader.envelope.recipient_count;
	l->closed = arena_array(a, n + 1, sizeof(bool));
	l->reasons = arena_array(a, n + 1, sizeof(struct str));
	if (rc == 0 && (l->closed == NULL || l->reasons == NULL))
		rc = -1;
	if (rc == 0)
		rc = queue_log_read(fd, &l->reader.header, take_record, l,
		    &end);
	sys_close(fd);
	l->reader.fd = -1;
	return rc;
}

void queue_listed_next(const struct queue_listed *l, size_t *at,
    struct queue_listed_part *part)
{
	const struct queue_envelope *e = &l->reader.envelope;
	size_t n = 0;

	for (; *at < e->recipient_count && n < QUEUE_LISTED_RCPTS; ++*at) {
		const struct queue_recipient *r = &e->recipients[*at];

		if (l->closed[*at])
			continue;
		part->rcpts[n] = str_sub(r->address, 0, ADDRESS_SHOWN);
		part->originals[n] = str_sub(r->original, 0, ADDRESS_SHOWN);
		part->reasons[n++] = str_sub(l->reasons[*at], 0,
		    REASON_SHOWN);
	}
	part->n = n;
	part->more = *at < e->recipient_count;
}

/* --- changes --- */

bool queue_is_message(const struct queue_spool *spool,
    const struct queue_name *name)
{
	int fd = queue_spool_open_file(spool, name, false);
	enum queue_kind kind;
	const char *why;

	if (fd < 0)
		return false;
	kind = queue_classify(fd, name->id, false, &why);
	sys_close(fd);
	return kind == QUEUE_KIND_WHOLE;
}

static int append_expire(const struct queue_spool *spool,
    const struct queue_name *name)
{
	struct queue_log_record rec = { .recipient = QUEUE_LOG_MESSAGE,
		.what = QUEUE_LOG_EXPIRE, .when = clock_wall() };
	int fd = queue_spool_open_file(spool, name, true), rc;
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

int queue_change(const struct queue_spool *spool, struct queue_name *name,
    bool expire, enum queue_place to)
{
	if (name->place == QUEUE_INCOMING && !queue_is_message(spool, name))
		return -1;
	if (expire && append_expire(spool, name) < 0)
		return -1;
	return to == QUEUE_PLACE_COUNT ? queue_spool_release(spool, name)
	    : queue_spool_move(spool, name, to, 0);
}
