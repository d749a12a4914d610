#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "smtp/cache.h"

struct idle {
	struct session *session;
	int64_t since;
	struct str key;
	struct idle *next; /* the one that became idle before */
	char key_text[];
};

struct cache {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct idle *first; /* most recently idle first */
	size_t n;
	bool closed;
};

struct cache *cache_new(void)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->filled, NULL);
	return c;
}

void cache_free(struct cache **cp)
{
	struct cache *c = *cp;

	if (c == NULL)
		return;
	cache_expire(c, true);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->filled);
	free(c);
	*cp = NULL;
}

static struct session *open_idle(struct idle *i)
{
	struct session *s = i->session;

	free(i);
	return s;
}

static struct idle *take_idle(struct cache *c, struct str key)
{
	struct idle **at = &c->first, *i;

	while ((i = *at) != NULL && !str_eq(i->key, key))
		at = &i->next;
	if (i != NULL) {
		*at = i->next;
		c->n--;
	}
	return i;
}

struct session *cache_take(struct cache *c, struct str key)
{
	for (;;) {
		struct session *s;
		struct idle *i;

		pthread_mutex_lock(&c->lock);
		i = take_idle(c, key);
		pthread_mutex_unlock(&c->lock);
		if (i == NULL)
			return NULL;
		s = open_idle(i);
		if (session_is_fresh(s))
			return s;
		s->dead = true; /* it is past hearing QUIT */
		session_close(&s);
	}
}

void cache_give(struct cache *c, struct str key, struct session **sp)
{
	struct session *s = *sp;
	struct idle *i = NULL;
	int64_t now = clock_now();
	bool kept = false;

	*sp = NULL;
	if (!s->dead && !s->dirty && now - s->opened < CACHE_REUSE_TIME)
		i = malloc(sizeof(*i) + key.n + 1);
	if (i != NULL) {
		*i = (struct idle){ .session = s, .since = now };
		memcpy(i->key_text, key.p, key.n);
		i->key = str_n(i->key_text, key.n);
		stream_release(s->stream);
		pthread_mutex_lock(&c->lock);
		if (c->n < CACHE_MAX && !c->closed) {
			i->next = c->first;
			c->first = i;
			kept = c->n++ > 0 || pthread_cond_signal(
			    &c->filled) == 0;
		}
		pthread_mutex_unlock(&c->lock);
	}
	if (!kept) {
		free(i);
		session_close(&s);
	}
}

size_t cache_expire(struct cache *c, bool all)
{
	int64_t limit = clock_now() - CACHE_KEEP;
	struct idle **at, *old;
	size_t left = 0;

	pthread_mutex_lock(&c->lock);
	c->closed |= all;
	/* since is falling along the list: the old ones are its tail */
	at = &c->first;
	while (*at != NULL && !all && (*at)->since > limit) {
		at = &(*at)->next;
		left++;
	}
	old = *at;
	*at = NULL;
	c->n = left;
	pthread_mutex_unlock(&c->lock);
	while (old != NULL) {
		struct idle *next = old->next;
		struct session *s = open_idle(old);

		session_close(&s);
		old = next;
	}
	return left;
}

void cache_wait(struct cache *c)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&c->lock);
	if (c->n == 0)
		pthread_cond_timedwait(&c->filled, &c->lock, &until);
	pthread_mutex_unlock(&c->lock);
}
