#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include "base/sys.h"
#include "store/dirsync.h"

/*
 * A waiter stands on its thread's stack. Those of one directory that wait
 * together have the first of them as leader: it waits until no fsync of the
 * directory runs, takes all that stand there by then, syncs and tells
 * them the result.
 */
struct waiter {
	struct waiter *next;
	dev_t dev;
	ino_t ino;
	bool taken, done;
	int err;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct waiter *waiters;	/* newest first; under `lock` */

static bool same_dir(const struct waiter *a, const struct waiter *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static bool somebody_syncs(const struct waiter *me)
{
	for (const struct waiter *w = waiters; w != NULL; w = w->next)
		if (w != me && same_dir(w, me) && w->taken && !w->done)
			return true;
	return false;
}

static void take_all(const struct waiter *me)
{
	for (struct waiter *w = waiters; w != NULL; w = w->next)
		if (same_dir(w, me) && !w->done)
			w->taken = true;
}

static void finish_all(const struct waiter *me, int err)
{
	for (struct waiter *w = waiters; w != NULL; w = w->next) {
		if (same_dir(w, me) && w->taken && !w->done) {
			w->done = true;
			w->err = err;
		}
	}
}

static void leave(struct waiter *me)
{
	struct waiter **at = &waiters;

	while (*at != me)
		at = &(*at)->next;
	*at = me->next;
}

int dirsync(int fd)
{
	struct stat st;
	struct waiter me = { .err = 0 };

	if (fstat(fd, &st) < 0)
		return -1;
	me.dev = st.st_dev;
	me.ino = st.st_ino;
	pthread_mutex_lock(&lock);
	me.next = waiters;
	waiters = &me;
	while (!me.done && somebody_syncs(&me))
		pthread_cond_wait(&changed, &lock);
	if (!me.done) {
		int err;

		take_all(&me);
		pthread_mutex_unlock(&lock);
		err = sys_fsync(fd) < 0 ? errno : 0;
		pthread_mutex_lock(&lock);
		finish_all(&me, err);
		pthread_cond_broadcast(&changed);
	}
	leave(&me);
	pthread_mutex_unlock(&lock);
	errno = me.err;
	return me.err != 0 ? -1 : 0;
}
