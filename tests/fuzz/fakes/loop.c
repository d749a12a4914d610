/* loop.c - see loop.h */
#include <stdlib.h>
#include "base/clock.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fuzz.h"

#define EPOCH (INT64_C(1800000000) * CLOCK_SECOND)

struct watch {
	struct watch *next;
	watch_fn *fn;
	void *ctx;
	int fd;
	unsigned want;
};

struct timer {
	struct timer *next;
	timer_fn *fn;
	void *ctx;
	int64_t due;		/* -1: it does not run */
};

int64_t fake_time = 1000 * CLOCK_SECOND;
static struct watch *watches;
static struct timer *timers;
static size_t watch_count;

struct watch *__wrap_watch_new(struct loop *, int, unsigned, watch_fn *,
    void *);
void __wrap_watch_want(struct watch *, unsigned);
void __wrap_watch_free(struct watch **);
struct timer *__wrap_timer_new(struct loop *, timer_fn *, void *);
void __wrap_timer_at(struct timer *, int64_t);
void __wrap_timer_in(struct timer *, int64_t);
void __wrap_timer_stop(struct timer *);
bool __wrap_timer_runs(const struct timer *);
void __wrap_timer_free(struct timer **);
int64_t __wrap_loop_now(const struct loop *);
int64_t __wrap_clock_now(void);
int64_t __wrap_clock_wall(void);

struct watch *__wrap_watch_new(struct loop *loop, int fd, unsigned want,
    watch_fn *fn, void *ctx)
{
	struct watch *w = calloc(1, sizeof(*w));

	(void)loop;
	fuzz_check(w != NULL, "no memory");
	*w = (struct watch){ watches, fn, ctx, fd, want };
	watches = w;
	watch_count++;
	return w;
}

void __wrap_watch_want(struct watch *w, unsigned want)
{
	w->want = want;
}

void __wrap_watch_free(struct watch **wp)
{
	struct watch **at = &watches;

	if (*wp == NULL)
		return;
	while (*at != *wp)
		at = &(*at)->next;
	*at = (*wp)->next;
	free(*wp);
	*wp = NULL;
	watch_count--;
}

size_t fake_watches(void)
{
	return watch_count;
}

void fake_fire_nth(size_t n)
{
	struct watch *w = watches;

	for (; n > 0; n--)
		w = w->next;
	w->fn(w->fd, LOOP_READ, w->ctx);
}

static struct watch *find(int fd)
{
	struct watch *w = watches;

	while (w != NULL && w->fd != fd)
		w = w->next;
	return w;
}

unsigned fake_wants(int fd)
{
	struct watch *w = find(fd);

	return w == NULL ? 0 : w->want;
}

void fake_fire(int fd, unsigned ready)
{
	struct watch *w = find(fd);

	if (w != NULL)
		w->fn(w->fd, ready, w->ctx);
}

struct timer *__wrap_timer_new(struct loop *loop, timer_fn *fn, void *ctx)
{
	struct timer *t = calloc(1, sizeof(*t));

	(void)loop;
	fuzz_check(t != NULL, "no memory");
	*t = (struct timer){ timers, fn, ctx, -1 };
	timers = t;
	return t;
}

void __wrap_timer_at(struct timer *t, int64_t due)
{
	t->due = due < 0 ? 0 : due;
}

void __wrap_timer_in(struct timer *t, int64_t us)
{
	t->due = __wrap_loop_now(NULL) + us;
}

void __wrap_timer_stop(struct timer *t)
{
	t->due = -1;
}

bool __wrap_timer_runs(const struct timer *t)
{
	return t->due >= 0;
}

void __wrap_timer_free(struct timer **tp)
{
	struct timer **at = &timers;

	if (*tp == NULL)
		return;
	while (*at != *tp)
		at = &(*at)->next;
	*at = (*tp)->next;
	free(*tp);
	*tp = NULL;
}

size_t fake_timers(void)
{
	size_t n = 0;

	for (struct timer *t = timers; t != NULL; t = t->next)
		n += t->due >= 0;
	return n;
}

static struct timer *next_due(int64_t until)
{
	struct timer *first = NULL;

	for (struct timer *t = timers; t != NULL; t = t->next)
		if (t->due >= 0 && t->due <= until &&
		    (first == NULL || t->due < first->due))
			first = t;
	return first;
}

int64_t fake_until_timer(int64_t most)
{
	const struct timer *t = next_due(fake_time + most);

	return t == NULL ? most : t->due > fake_time ? t->due - fake_time : 0;
}

void fake_pass(int64_t us)
{
	int64_t until = fake_time + us;
	struct timer *t;

	while ((t = next_due(until)) != NULL) {
		if (t->due > fake_time)
			fake_time = t->due;
		t->due = -1;
		t->fn(t->ctx);
	}
	fake_time = until;
}

/* As the target has it: the clock may be taken or not. */
int64_t __wrap_loop_now(const struct loop *loop)
{
	(void)loop;
	return clock_now();
}

int64_t __wrap_clock_now(void)
{
	return fake_time;
}

int64_t __wrap_clock_wall(void)
{
	return EPOCH + fake_time;
}
