/*
 * dotlock.c - path.lock, and whether who made it lives
 *
 * To others a lock is that the name is there. Among ours it is theirs who hold
 * flock(2) on the file that has the name: a file of ours that nobody holds was
 * left by a process that died, or by a power cut, and whoever takes hold of it
 * has the lock. So no two can both take over what they both saw, and nobody
 * has to wait or to guess at a pid.
 *
 *	made, not yet held	another of ours may take hold of it: then it
 *	  |			is his, and its maker waits for him
 *	held and named		ours. A crash leaves the name; the kernel lets
 *	  |			go of the file
 *	unlinked, then closed	who waited for this file finds that it has
 *				lost its name, and begins again
 *
 * That it is ours must be known as soon as its name is, also after a power
 * cut, which takes what is in the file before it takes its inode: so the mode
 * says it. A lock of other programs says nothing of its maker, and is taken
 * away when it is old.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "local/dotlock.h"

/* The sticky bit means nothing for a file, and no other program sets it. */
#define MODE_OURS (S_ISVTX | S_IRUSR | S_IWUSR)
#define STALE 600	/* seconds: the owner of another's is dead */
/* Seconds: then also one that somebody keeps flock(2) on. Of ours nobody does
 * so long; others who may read the file could, to have us wait for ever. */
#define STALE_AND_HELD (2 * STALE)
#define REMOVALS_MOST 10	/* in one dotlock_take() */

static void nap(void)
{
	struct timespec ts = { 0, 100000000 };

	nanosleep(&ts, NULL);
}

/* The name leads to this file, and a plain one it is. */
static bool is_named(const struct dotlock *l, int fd, struct stat *st)
{
	struct stat named;

	return fstat(fd, st) == 0 && S_ISREG(st->st_mode) &&
	    fstatat(l->dir, l->path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_dev == st->st_dev && named.st_ino == st->st_ino;
}

/* Elsewhere another host may hold what nobody here does. */
static bool is_of_one_host(int fd)
{
	static const long types[] = { 0xef53 /* ext4 */,
		0x58465342 /* xfs */, 0x9123683e /* btrfs */,
		0x01021994 /* tmpfs */, 0x2fc12fc1 /* zfs */,
		0xf2f52010 /* f2fs */, 0xca451a4e /* bcachefs */,
		0x3153464a /* jfs */, 0x794c7630 /* overlayfs */ };
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (fs.f_type == types[i])
			return true;
	return false;
}

/* 1: we hold it, 0: another does or it lost its name, -1: files of this file
 * system cannot be held. */
static int hold(struct dotlock *l, int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
	if (!is_named(l, fd, &st))
		return 0;
	l->fd = fd;
	return 1;
}

/* As hold(), for one that is there. */
static int take_over(struct dotlock *l)
{
	int fd = sys_openat(l->dir, l->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK,
	    0), rc = -1;
	struct stat st;

	if (fd < 0)
		return -1;
	if (is_named(l, fd, &st) && (st.st_mode & 07777) == MODE_OURS &&
	    st.st_nlink == 1 && is_of_one_host(fd))
		rc = hold(l, fd);
	if (rc == 1)
		log_info("%s: who made it is dead; taken over", l->path);
	else
		sys_close(fd);
	return rc;
}

static bool is_older(const struct stat *st, int64_t seconds)
{
	return clock_wall() / CLOCK_SECOND - st->st_mtime > seconds;
}

/*
 * Another program's, and old: true when it is gone. Of two that see it, one
 * must not take away what the other made meanwhile: so who removes it holds
 * it. Where it cannot be opened (a link) that is not to be had.
 */
static bool remove_old(struct dotlock *l)
{
	struct stat st;
	bool gone = false;
	int fd;

	if (fstatat(l->dir, l->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT;
	if (!is_older(&st, STALE))
		return false;
	fd = sys_openat(l->dir, l->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
	    0);
	if (fd < 0)
		return sys_unlinkat(l->dir, l->path) == 0;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		gone = ((errno != EWOULDBLOCK && errno != EINTR) ||
		    (is_named(l, fd, &st) && is_older(&st, STALE_AND_HELD))) &&
		    sys_unlinkat(l->dir, l->path) == 0;
	else if (is_named(l, fd, &st) && is_older(&st, STALE))
		gone = sys_unlinkat(l->dir, l->path) == 0;
	sys_close(fd);
	return gone;
}

/* 1: ours, 0: somebody's, -1: it cannot be made (errno). */
static int make(struct dotlock *l)
{
	int fd = sys_openat(l->dir, l->path, O_RDWR | O_CREAT | O_EXCL |
	    O_NOFOLLOW, MODE_OURS);

	if (fd < 0)
		return errno == EEXIST ? 0 : -1;
	if (hold(l, fd) != 0) {
		l->fd = fd;
		return 1;
	}
	sys_close(fd);
	return 0;
}

int dotlock_take(struct dotlock *l, int dir, const char *path,
    int64_t deadline)
{
	int removals = 0;

	l->dir = dir;
	l->fd = -1;
	if (snprintf(l->path, sizeof(l->path), "%s.lock", path) >=
	    (int)sizeof(l->path)) {
		l->path[0] = '\0';
		errno = ENAMETOOLONG;
		return -1;
	}
	for (;;) {
		int rc = make(l);

		if (rc < 0) {
			l->path[0] = '\0';
			return errno == EACCES || errno == EROFS ||
			    errno == EPERM ? 0 : -1;
		}
		if (rc == 1 || (rc = take_over(l)) == 1)
			return 0;
		/* Whoever makes an old one again and again ends no wait. */
		if (rc < 0 && removals < REMOVALS_MOST && remove_old(l)) {
			removals++;
			continue;
		}
		if (clock_now() > deadline) {
			l->path[0] = '\0';
			errno = EAGAIN;
			return -1;
		}
		nap();
	}
}

void dotlock_release(struct dotlock *l)
{
	struct stat st;

	if (l->path[0] == '\0')
		return;
	/* Not what another program has put in its place. */
	if (is_named(l, l->fd, &st))
		sys_unlinkat(l->dir, l->path);
	sys_close(l->fd);
	l->path[0] = '\0';
}
