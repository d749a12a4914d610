/*
 * loop.h - an event loop that turns when the target says so, and its clock
 *
 * In the place of lib/base/loop.c (FUZZ_LOOP of module.mk) and of the clock
 * (FUZZ_CLOCK). A watch that is freed is gone at once: code that uses it
 * afterwards is seen.
 */
#ifndef FUZZ_FAKES_LOOP_H
#define FUZZ_FAKES_LOOP_H
#include <stddef.h>
#include "base/loop.h"

/* clock_now() where that is taken, microseconds; the wall's clock goes with
 * it. Only fake_pass() moves it. */
extern int64_t fake_time;

size_t fake_watches(void);
/* Calls the watch of that place, the youngest first, with LOOP_READ. */
void fake_fire_nth(size_t);
/* What the watch of the descriptor (or fake conversation) wants; 0: it wants
 * nothing, or there is none. */
unsigned fake_wants(int fd);
/* Calls the watch of the descriptor. */
void fake_fire(int fd, unsigned ready);
/* Time passes; each timer that is due is called at its time. */
void fake_pass(int64_t us);
/* Timers that run. */
size_t fake_timers(void);
/* Until the first of them is due, `most` microseconds at most. */
int64_t fake_until_timer(int64_t most);
#endif
