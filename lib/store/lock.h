/* lock.h - whole-file locks of an open file description (inside lib/store) */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

/* Exclusive; waits at most `seconds` (0: not at all). -1: ETIMEDOUT, or
 * EAGAIN when it was not to wait. */
int lock_file(int fd, int seconds);
void unlock_file(int fd);
#endif
