/*
 * loop.h - one thread's event loop: descriptors (epoll, level-triggered),
 * timers (binary heap), calls put off to the end of a turn
 *
 * A callback may stop or free any watch or timer, its own too: memory is
 * freed at the end of the turn.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct watch;
struct timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void watch_fn(int fd, unsigned ready, void *ctx);
typedef void timer_fn(void *ctx);

struct loop *loop_new(void); /* NULL: no memory or no epoll */
void loop_free(struct loop **);
/* Turns until loop_stop(). */
void loop_run(struct loop *);
void loop_stop(struct loop *);
/* clock_now() as of the start of this turn. */
int64_t loop_now(const struct loop *);

/* NULL with errno set. The descriptor stays the caller's. Hang-up and error
 * are reported as what was asked for. */
struct watch *watch_new(struct loop *, int fd, unsigned want, watch_fn *,
    void *ctx);
void watch_want(struct watch *, unsigned want);
/* Call it before closing the descriptor. */
void watch_free(struct watch **);

/* A timer that is not running. */
struct timer *timer_new(struct loop *, timer_fn *, void *ctx);
/* At clock_now() value `due`; moves it when it runs already. */
void timer_at(struct timer *, int64_t due);
void timer_in(struct timer *, int64_t us);
void timer_stop(struct timer *);
bool timer_runs(const struct timer *);
void timer_free(struct timer **);
#endif
