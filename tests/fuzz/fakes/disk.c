/* disk.c - see disk.h */
#include <stdlib.h>
#include "tests/fuzz/fakes/disk.h"
#include "tests/fuzz/fuzz.h"

TAILQ_HEAD(work_list, disk_work);

struct disk {
	struct work_list todo, finished;
	size_t pending;
	void (*wake)(void *);
	void *wake_ctx;
	bool awake;
};

static struct disk the;

struct disk *disk_new(struct loop *loop, size_t threads,
    int (*spawn)(void (*)(void *), void *))
{
	(void)loop;
	(void)threads;
	(void)spawn;
	TAILQ_INIT(&the.todo);
	TAILQ_INIT(&the.finished);
	return &the;
}

void disk_set_wake(struct disk *d, void (*wake)(void *), void *ctx)
{
	d->wake = wake;
	d->wake_ctx = ctx;
}

void disk_wake(struct disk *d)
{
	d->awake = true;
}

void disk_add(struct disk *d, struct disk_work *w)
{
	d->pending++;
	TAILQ_INSERT_TAIL(&d->todo, w, link);
}

size_t disk_pending(const struct disk *d)
{
	return d->pending;
}

bool fake_disk_run(unsigned nth)
{
	struct disk_work *w = TAILQ_FIRST(&the.todo);

	if (w == NULL)
		return false;
	for (nth %= QMGR_DISK_THREADS; nth > 0 && TAILQ_NEXT(w, link) != NULL;
	    nth--)
		w = TAILQ_NEXT(w, link);
	TAILQ_REMOVE(&the.todo, w, link);
	w->run(w);
	TAILQ_INSERT_TAIL(&the.finished, w, link);
	return true;
}

bool fake_disk_collect(void)
{
	struct disk_work *w = TAILQ_FIRST(&the.finished);

	if (w == NULL && !the.awake)
		return false;
	the.awake = false;
	if (w != NULL) {
		TAILQ_REMOVE(&the.finished, w, link);
		the.pending--;
		w->done(w);
	}
	if (the.wake != NULL)
		the.wake(the.wake_ctx);
	return true;
}
