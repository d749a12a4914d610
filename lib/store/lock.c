#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "store/lock.h"
#include "store/maildir.h"

static int set_lock(int fd, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &fl);
}

/*
 * F_OFD_SETLKW would wait without end for a stopped process; so this tries
 * again, soon at first. Locks are held for a write or a scan.
 */
int lock_file(int fd, int seconds)
{
	int64_t deadline = clock_now() + seconds * CLOCK_SECOND;
	long pause = 50000;

	while (set_lock(fd, F_WRLCK) < 0) {
		struct timespec ts = { 0, pause };

		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EACCES)
			return -1;
		errno = seconds == 0 ? EAGAIN : ETIMEDOUT;
		if (clock_now() >= deadline)
			return -1;
		nanosleep(&ts, NULL);
		if (pause < 3000000)
			pause += pause / 2;
	}
	return 0;
}

void unlock_file(int fd)
{
	int err = errno;

	set_lock(fd, F_UNLCK);
	errno = err;
}

enum lock_look lock_look(int fd, int dir, const char *name)
{
	struct stat mine, named;

	if (fstat(fd, &mine) != 0 || !S_ISREG(mine.st_mode) ||
	    fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    mine.st_ino != named.st_ino || mine.st_dev != named.st_dev)
		return LOCK_REPLACED;
	return mine.st_nlink > 1 ? LOCK_LINKED : LOCK_IN_PLACE;
}

static int copy_octets(int from, int to)
{
	char chunk[4096];
	ssize_t n;
	off_t at = 0;

	while ((n = sys_pread_full(from, chunk, sizeof(chunk), at)) > 0) {
		if (sys_write_all(to, chunk, (size_t)n) < 0)
			return -1;
		at += n;
	}
	return n < 0 ? -1 : sys_fsync(to);
}

int lock_part_links(const struct store *s, int *fd, int tmp, int dir,
    const char *name)
{
	char unique[MAILDIR_NAME_MAX + 1];
	int own, err;

	maildir_unique(s, unique, sizeof(unique));
	own = sys_openat(tmp, unique, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
	    0600);
	if (own < 0)
		return -1;
	if (copy_octets(*fd, own) == 0 && lock_file(own, 0) == 0 &&
	    sys_renameat(tmp, unique, dir, name) == 0) {
		sys_close(*fd);
		*fd = own;
		return sys_fsync(dir);
	}
	err = errno;
	sys_unlinkat(tmp, unique);
	sys_close(own);
	errno = err;
	return -1;
}
