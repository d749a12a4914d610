/* lock.h - whole-file locks of an open file description (inside lib/store) */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

struct store;

/* Exclusive; waits at most `seconds` (0: not at all). -1: ETIMEDOUT, or
 * EAGAIN when it was not to wait. */
int lock_file(int fd, int seconds);
void unlock_file(int fd);

/* What is fd of the file `name` in dir? */
enum lock_look {
	LOCK_IN_PLACE,
	LOCK_LINKED,	/* the same, and it has another name elsewhere */
	LOCK_REPLACED,	/* not it, or not a regular file */
};
enum lock_look lock_look(int fd, int dir, const char *name);
/*
 * For LOCK_LINKED, with the lock held: what has a second name may be
 * somebody else's, or a backup's, and is never written. Its octets go into a
 * file of its own, made in tmp, locked, that takes the name; *fd becomes its
 * descriptor. 0, or -1 with *fd as it was.
 */
int lock_part_links(const struct store *, int *fd, int tmp, int dir,
    const char *name);
#endif
