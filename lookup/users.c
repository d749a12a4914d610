/* users.c - who exists, as auth says */
#include <pthread.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/map.h"
#include "lookup/lookup.h"
#include "msgs/auth.h"
#include "service/service.h"

#define REMEMBER (2 * CLOCK_SECOND)
#define REMEMBER_MAX 10000
#define AUTH_TIMEOUT (20 * CLOCK_SECOND)

/* Shared by all threads, behind the lock: who was there, until when. */
static struct {
	pthread_mutex_t lock;
	struct map *until;	/* address -> int64_t * */
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool is_remembered(struct str address)
{
	const int64_t *until = NULL;
	bool yes;

	pthread_mutex_lock(&cache.lock);
	if (cache.until != NULL)
		until = map_find(cache.until, address);
	yes = until != NULL && *until > clock_now();
	pthread_mutex_unlock(&cache.lock);
	return yes;
}

static void remember(struct str address)
{
	int64_t *until = malloc(sizeof(*until));
	void *old = NULL;

	if (until == NULL)
		return;
	*until = clock_now() + REMEMBER;
	pthread_mutex_lock(&cache.lock);
	if (cache.until != NULL && map_count(cache.until) >= REMEMBER_MAX)
		map_free(&cache.until, free);
	if (cache.until == NULL)
		cache.until = map_new(true);
	if (cache.until == NULL ||
	    map_set(cache.until, address, until, &old) < 0)
		old = until;
	free(old);
	pthread_mutex_unlock(&cache.lock);
}

int users_exists(struct str address, struct buf *why, void *ctx)
{
	struct user_request ask = { .address = address };
	struct user_reply reply;
	struct conv *conv;
	const char *reason = "auth cannot tell";
	int ret;

	(void)ctx;
	if (is_remembered(address))
		return 1;
	if (service_ask("auth", &user_request_schema, &ask, &user_reply_schema,
	    &reply, AUTH_TIMEOUT, &conv, &reason) < 0) {
		ret = -1;
	} else {
		ret = reply.status == AUTH_OK ? 1
			: reply.status == AUTH_NO ? 0 : -1;
		conv_keep(&conv);
	}
	if (ret > 0)
		remember(address);
	if (ret < 0) {
		buf_reset(why);
		buf_printf(why, "auth: %s", reason);
	}
	return ret;
}
