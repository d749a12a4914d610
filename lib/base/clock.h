/* clock.h - time: a monotonic one for deadlines, the wall's for mail */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC. */
int64_t clock_now(void);
/* Microseconds since the epoch, CLOCK_REALTIME. */
int64_t clock_wall(void);

#define CLOCK_MS INT64_C(1000)
#define CLOCK_SECOND INT64_C(1000000)
#define CLOCK_NEVER INT64_MAX

/* A deadline is a clock_now() value. Milliseconds left for poll(2), rounded
 * up: 0 when it passed, -1 for CLOCK_NEVER. */
int clock_poll_ms(int64_t deadline);
#endif
