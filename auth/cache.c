#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include "auth/cache.h"
#include "base/buf.h"
#include "base/map.h"

#define DIGEST 32

struct entry {
	unsigned char digest[DIGEST];
	int64_t until;
};

struct cache {
	int64_t life;
	unsigned char key[32];
	pthread_mutex_t lock;
	struct map *entries;
};

struct cache *cache_new(int64_t life_us)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->life = life_us;
	pthread_mutex_init(&c->lock, NULL);
	c->entries = map_new(false);
	if (c->entries == NULL ||
	    getrandom(c->key, sizeof(c->key), 0) != sizeof(c->key))
		cache_free(&c);
	return c;
}

void cache_free(struct cache **cp)
{
	struct cache *c = *cp;

	if (c->entries != NULL)
		map_free(&c->entries, free);
	pthread_mutex_destroy(&c->lock);
	explicit_bzero(c, sizeof(*c));
	free(c);
	*cp = NULL;
}

/* Lengths in front, so that no two triples are the same octets. */
static int make_digest(const struct cache *c, struct str name,
    struct str stored, struct str password, unsigned char out[DIGEST])
{
	struct buf b;
	unsigned n = 0;
	int r = -1;

	buf_init(&b, 4096);
	buf_printf(&b, "%zu %zu %zu ", name.n, stored.n, password.n);
	buf_append(&b, name);
	buf_append(&b, stored);
	buf_append(&b, password);
	if (!b.failed && HMAC(EVP_sha256(), c->key, sizeof(c->key),
	    (const unsigned char *)b.p, b.n, out, &n) != NULL && n == DIGEST)
		r = 0;
	if (b.p != NULL)
		explicit_bzero(b.p, b.cap);
	buf_fini(&b);
	return r;
}

void cache_remember(struct cache *c, struct str name, struct str stored,
    struct str password, int64_t now)
{
	struct entry *e;
	void *old = NULL;

	if (c->life == 0 || (e = calloc(1, sizeof(*e))) == NULL)
		return;
	e->until = now + c->life;
	if (make_digest(c, name, stored, password, e->digest) != 0) {
		free(e);
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (map_count(c->entries) >= CACHE_MAX) {
		struct map *fresh = map_new(false);

		/* Full: everybody is checked once more. */
		if (fresh != NULL) {
			map_free(&c->entries, free);
			c->entries = fresh;
		}
	}
	if (map_set(c->entries, name, e, &old) != 0)
		old = e;
	pthread_mutex_unlock(&c->lock);
	free(old);
}

bool cache_knows(struct cache *c, struct str name, struct str stored,
    struct str password, int64_t now)
{
	unsigned char digest[DIGEST], kept[DIGEST];
	struct entry *e;
	bool have = false;

	pthread_mutex_lock(&c->lock);
	if ((e = map_find(c->entries, name)) != NULL) {
		have = now < e->until;
		memcpy(kept, e->digest, DIGEST);
		if (!have) {
			map_take(c->entries, name);
			free(e);
		}
	}
	pthread_mutex_unlock(&c->lock);
	return have && make_digest(c, name, stored, password, digest) == 0 &&
	    str_eq_secret(str_n(digest, DIGEST), str_n(kept, DIGEST));
}
