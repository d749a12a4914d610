#include <errno.h>
#include "qmgr/qmgr.h"

/* The mark of an id that is claimed, with no message in memory. */
static char claimed;

static struct str key_of(const uint64_t *id)
{
	return str_n(id, sizeof(*id));
}

int registry_init(struct registry *r)
{
	pthread_mutex_init(&r->lock, NULL);
	r->entries = map_new(false);
	return r->entries == NULL ? -1 : 0;
}

bool registry_claim(struct registry *r, uint64_t id)
{
	bool ok;

	pthread_mutex_lock(&r->lock);
	ok = map_find(r->entries, key_of(&id)) == NULL &&
	    map_set(r->entries, key_of(&id), &claimed, NULL) == 0;
	pthread_mutex_unlock(&r->lock);
	return ok;
}

void registry_set(struct registry *r, uint64_t id, struct message *m)
{
	pthread_mutex_lock(&r->lock);
	if (map_set(r->entries, key_of(&id), m, NULL) < 0)
		log_fatal("no memory");
	pthread_mutex_unlock(&r->lock);
}

void registry_drop(struct registry *r, uint64_t id)
{
	pthread_mutex_lock(&r->lock);
	map_take(r->entries, key_of(&id));
	pthread_mutex_unlock(&r->lock);
}

struct message *registry_find(struct registry *r, uint64_t id)
{
	void *p;

	pthread_mutex_lock(&r->lock);
	p = map_find(r->entries, key_of(&id));
	pthread_mutex_unlock(&r->lock);
	return p == &claimed ? NULL : p;
}

bool registry_is_active(struct registry *r, uint64_t id)
{
	return registry_find(r, id) != NULL;
}

static void set_wish(struct message *m, uint64_t verb)
{
	switch (verb) {
	case QUEUE_DO_HOLD:
		if (m->wished != WISH_DELETE)
			m->wished = WISH_HOLD;
		break;
	case QUEUE_DO_DELETE:
		m->wished = WISH_DELETE;
		break;
	case QUEUE_DO_REQUEUE:
		if (m->wished != WISH_DELETE)
			m->wished = WISH_REQUEUE;
		break;
	case QUEUE_DO_EXPIRE:
		m->expire_wished = true;
		break;
	default: /* it is being tried already */
		break;
	}
}

int registry_wish(struct registry *r, uint64_t id, uint64_t verb)
{
	int rc = -1;
	void *p;

	pthread_mutex_lock(&r->lock);
	p = map_find(r->entries, key_of(&id));
	if (p == NULL) {
		if (map_set(r->entries, key_of(&id), &claimed, NULL) == 0)
			rc = 0;
	} else if (p != &claimed && !((struct message *)p)->closed) {
		set_wish(p, verb);
		rc = 1;
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static void heed(struct registry *r, struct message *m, bool last)
{
	pthread_mutex_lock(&r->lock);
	if (m->wished != WISH_NONE)
		m->wish = m->wished;
	m->expire = m->expire || m->expire_wished;
	m->closed = last;
	pthread_mutex_unlock(&r->lock);
}

void registry_heed(struct registry *r, struct message *m)
{
	heed(r, m, false);
}

void registry_close(struct registry *r, struct message *m)
{
	heed(r, m, true);
}
