#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"

#define EVENTS_PER_TURN 64

struct watch {
	struct loop *loop;
	int fd;
	unsigned want;
	watch_fn *fn;
	void *ctx;
	struct watch *next_dead;
	bool dead;
};

struct timer {
	struct loop *loop;
	int64_t due;
	size_t at; /* index in the heap, or SIZE_MAX */
	timer_fn *fn;
	void *ctx;
	struct timer *next_dead;
	bool dead;
};

struct loop {
	int epfd;
	bool stop;
	int64_t now;
	struct timer **heap;
	size_t ntimers, heap_cap;
	struct watch *dead_watches;
	struct timer *dead_timers;
};

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->now = clock_now();
	if (l->epfd < 0) {
		free(l);
		return NULL;
	}
	return l;
}

static void bury(struct loop *l)
{
	while (l->dead_watches != NULL) {
		struct watch *w = l->dead_watches;

		l->dead_watches = w->next_dead;
		free(w);
	}
	while (l->dead_timers != NULL) {
		struct timer *t = l->dead_timers;

		l->dead_timers = t->next_dead;
		free(t);
	}
}

void loop_free(struct loop **lp)
{
	struct loop *l = *lp;

	if (l == NULL)
		return;
	bury(l);
	close(l->epfd);
	free(l->heap);
	free(l);
	*lp = NULL;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

int64_t loop_now(const struct loop *l)
{
	return l->now;
}

static uint32_t to_epoll(unsigned want)
{
	return (want & LOOP_READ ? EPOLLIN : 0u) |
	    (want & LOOP_WRITE ? EPOLLOUT : 0u);
}

struct watch *watch_new(struct loop *l, int fd, unsigned want, watch_fn *fn,
    void *ctx)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = { .events = to_epoll(want), .data.ptr = w };

	if (w == NULL)
		return NULL;
	w->loop = l;
	w->fd = fd;
	w->want = want;
	w->fn = fn;
	w->ctx = ctx;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(w);
		return NULL;
	}
	return w;
}

void watch_want(struct watch *w, unsigned want)
{
	struct epoll_event ev = { .events = to_epoll(want), .data.ptr = w };

	if (w->want == want)
		return;
	w->want = want;
	if (epoll_ctl(w->loop->epfd, EPOLL_CTL_MOD, w->fd, &ev) < 0)
		log_panic("epoll_ctl: descriptor %d: errno %d", w->fd, errno);
}

void watch_free(struct watch **wp)
{
	struct watch *w = *wp;

	if (w == NULL)
		return;
	epoll_ctl(w->loop->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	w->dead = true;
	w->next_dead = w->loop->dead_watches;
	w->loop->dead_watches = w;
	*wp = NULL;
}

static void place(struct loop *l, size_t i, struct timer *t)
{
	l->heap[i] = t;
	t->at = i;
}

static void sift_up(struct loop *l, size_t i)
{
	struct timer *t = l->heap[i];

	for (; i > 0 && l->heap[(i - 1) / 2]->due > t->due; i = (i - 1) / 2)
		place(l, i, l->heap[(i - 1) / 2]);
	place(l, i, t);
}

static void sift_down(struct loop *l, size_t i)
{
	struct timer *t = l->heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= l->ntimers)
			break;
		if (kid + 1 < l->ntimers &&
		    l->heap[kid + 1]->due < l->heap[kid]->due)
			kid++;
		if (l->heap[kid]->due >= t->due)
			break;
		place(l, i, l->heap[kid]);
		i = kid;
	}
	place(l, i, t);
}

struct timer *timer_new(struct loop *l, timer_fn *fn, void *ctx)
{
	struct timer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->loop = l;
	t->fn = fn;
	t->ctx = ctx;
	t->at = SIZE_MAX;
	return t;
}

void timer_at(struct timer *t, int64_t due)
{
	struct loop *l = t->loop;

	timer_stop(t);
	if (l->ntimers == l->heap_cap) {
		size_t cap = l->heap_cap ? l->heap_cap * 2 : 64;
		struct timer **heap = realloc(l->heap, cap * sizeof(*heap));

		if (heap == NULL)
			log_fatal("no memory for a timer");
		l->heap = heap;
		l->heap_cap = cap;
	}
	t->due = due;
	place(l, l->ntimers, t);
	l->ntimers++;
	sift_up(l, t->at);
}

void timer_in(struct timer *t, int64_t us)
{
	timer_at(t, clock_now() + us);
}

void timer_stop(struct timer *t)
{
	struct loop *l = t->loop;
	size_t i = t->at;
	struct timer *last;

	if (i == SIZE_MAX)
		return;
	t->at = SIZE_MAX;
	last = l->heap[--l->ntimers];
	if (last == t)
		return;
	place(l, i, last);
	sift_down(l, i);
	sift_up(l, last->at);
}

bool timer_runs(const struct timer *t)
{
	return t->at != SIZE_MAX;
}

void timer_free(struct timer **tp)
{
	struct timer *t = *tp;

	if (t == NULL)
		return;
	timer_stop(t);
	t->dead = true;
	t->next_dead = t->loop->dead_timers;
	t->loop->dead_timers = t;
	*tp = NULL;
}

static void run_timers(struct loop *l)
{
	while (l->ntimers > 0 && l->heap[0]->due <= l->now && !l->stop) {
		struct timer *t = l->heap[0];

		timer_stop(t);
		t->fn(t->ctx);
	}
}

void loop_run(struct loop *l)
{
	struct epoll_event ev[EVENTS_PER_TURN];

	l->stop = false;
	while (!l->stop) {
		int wait = l->ntimers ? clock_poll_ms(l->heap[0]->due) : -1;
		int n = epoll_wait(l->epfd, ev, EVENTS_PER_TURN, wait);

		l->now = clock_now();
		for (int i = 0; i < n && !l->stop; i++) {
			struct watch *w = ev[i].data.ptr;
			unsigned ready = 0;

			if (w->dead)
				continue;
			if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				ready |= LOOP_READ;
			if (ev[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
				ready |= LOOP_WRITE;
			ready &= w->want ? w->want : LOOP_READ | LOOP_WRITE;
			w->fn(w->fd, ready, w->ctx);
		}
		run_timers(l);
		bury(l);
	}
}
