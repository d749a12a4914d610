/* dotlock.h - path.lock, as programs on every system respect it */
#ifndef LOCAL_DOTLOCK_H
#define LOCAL_DOTLOCK_H
#include <stdint.h>

struct dotlock {
	int dir, fd;
	char path[4200];	/* "": there is none */
};

/*
 * Waits until `path`.lock is ours (path: relative to dir, or absolute), at
 * most until the deadline (clock_now()): -1 with EAGAIN. 0 also when nobody
 * like us may make a file there: then fcntl(2) has to do.
 */
int dotlock_take(struct dotlock *, int dir, const char *path,
    int64_t deadline);
void dotlock_release(struct dotlock *);
#endif
