/*
 * cache.h - passwords that were right a moment ago
 *
 * What is kept is HMAC-SHA256 under a key that this process drew, over the
 * name, the stored hash and the password: no password can be read from it,
 * and one that was changed is unknown at once.
 */
#ifndef AUTH_CACHE_H
#define AUTH_CACHE_H
#include "base/str.h"

#define CACHE_MAX 20000

struct cache;

/* life_us 0: remembers nothing. NULL: no memory or no randomness. */
struct cache *cache_new(int64_t life_us);
void cache_free(struct cache **);
/* Thread-safe. */
void cache_remember(struct cache *, struct str name, struct str stored,
    struct str password, int64_t now);
bool cache_knows(struct cache *, struct str name, struct str stored,
    struct str password, int64_t now);
#endif
