#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "store/lock.h"

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
