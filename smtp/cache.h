/* cache.h - idle sessions, kept a moment for the next message to the same
 * next hop; shared by all threads */
#ifndef SMTP_CACHE_H
#define SMTP_CACHE_H
#include "smtp/session.h"

#define CACHE_KEEP (2 * CLOCK_SECOND)	/* idle time */
#define CACHE_MAX 500			/* sessions */
#define CACHE_REUSE_TIME (300 * CLOCK_SECOND) /* age of a session */

struct cache;

struct cache *cache_new(void);
/* Closes what it holds. Only when no thread uses it any more. */
void cache_free(struct cache **);
/* A session for this key (transport and next hop), most recently used first,
 * or NULL. */
struct session *cache_take(struct cache *, struct str key);
/* Gives a session that is neither dead nor dirty; *s becomes NULL. It is
 * closed when the cache is full or the session too old. */
void cache_give(struct cache *, struct str key, struct session **);
/* Closes what is idle too long, or all; returns how many are left. */
size_t cache_expire(struct cache *, bool all);
/* Waits until the cache holds something (at most a minute). */
void cache_wait(struct cache *);
#endif
