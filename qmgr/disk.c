#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/log.h"
#include "qmgr/qmgr.h"

TAILQ_HEAD(work_list, disk_work);

struct disk {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct work_list todo, finished;
	struct watch *watch;
	int event;
	size_t pending;		/* the loop's */
	void (*wake)(void *);
	void *wake_ctx;
};

static void serve(void *ctx)
{
	struct disk *d = ctx;

	pthread_mutex_lock(&d->lock);
	for (;;) {
		struct disk_work *w = TAILQ_FIRST(&d->todo);
		bool first;

		if (w == NULL) {
			pthread_cond_wait(&d->work, &d->lock);
			continue;
		}
		TAILQ_REMOVE(&d->todo, w, link);
		pthread_mutex_unlock(&d->lock);
		w->run(w);
		pthread_mutex_lock(&d->lock);
		first = TAILQ_EMPTY(&d->finished);
		TAILQ_INSERT_TAIL(&d->finished, w, link);
		if (first)
			disk_wake(d);
	}
}

void disk_wake(struct disk *d)
{
	uint64_t one = 1;

	if (write(d->event, &one, sizeof(one)) < 0)
		return; /* it is awake already */
}

static void on_event(int fd, unsigned ready, void *ctx)
{
	struct work_list finished = TAILQ_HEAD_INITIALIZER(finished);
	struct disk *d = ctx;
	struct disk_work *w;
	uint64_t n;

	(void)ready;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&d->lock);
	TAILQ_CONCAT(&finished, &d->finished, link);
	pthread_mutex_unlock(&d->lock);
	while ((w = TAILQ_FIRST(&finished)) != NULL) {
		TAILQ_REMOVE(&finished, w, link);
		d->pending--;
		w->done(w);
	}
	if (d->wake != NULL)
		d->wake(d->wake_ctx);
}

struct disk *disk_new(struct loop *loop, size_t threads,
    int (*spawn)(void (*)(void *), void *))
{
	struct disk *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->work, NULL);
	TAILQ_INIT(&d->todo);
	TAILQ_INIT(&d->finished);
	d->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (d->event < 0)
		return NULL;
	d->watch = watch_new(loop, d->event, LOOP_READ, on_event, d);
	if (d->watch == NULL)
		return NULL;
	for (size_t i = 0; i < threads; i++)
		if (spawn(serve, d) < 0)
			return NULL;
	return d;
}

void disk_set_wake(struct disk *d, void (*wake)(void *), void *ctx)
{
	d->wake = wake;
	d->wake_ctx = ctx;
}

void disk_add(struct disk *d, struct disk_work *w)
{
	d->pending++;
	pthread_mutex_lock(&d->lock);
	TAILQ_INSERT_TAIL(&d->todo, w, link);
	pthread_mutex_unlock(&d->lock);
	pthread_cond_signal(&d->work);
}

size_t disk_pending(const struct disk *d)
{
	return d->pending;
}
