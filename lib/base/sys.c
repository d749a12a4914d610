#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "base/sys.h"

static sys_hook_fn *hook;
static void *hook_ctx;

void sys_set_hook(sys_hook_fn *fn, void *ctx)
{
	hook = fn;
	hook_ctx = ctx;
}

const char *sys_op_name(enum sys_op op)
{
	static const char *const names[SYS_OP_COUNT] = {
		[SYS_OPEN] = "open", [SYS_CLOSE] = "close",
		[SYS_WRITE] = "write", [SYS_FSYNC] = "fsync",
		[SYS_FDATASYNC] = "fdatasync", [SYS_SYNCFS] = "syncfs",
		[SYS_RENAME] = "rename", [SYS_LINK] = "link",
		[SYS_UNLINK] = "unlink", [SYS_MKDIR] = "mkdir",
		[SYS_RMDIR] = "rmdir", [SYS_CHMOD] = "chmod",
		[SYS_TRUNCATE] = "truncate", [SYS_ALLOCATE] = "allocate",
	};

	return op < SYS_OP_COUNT ? names[op] : "?";
}

/* False: the hook refused the operation and errno is set. */
static bool before(enum sys_op op, int fd, const char *path, size_t octets)
{
	struct sys_event ev = { op, false, fd, path, octets, 0 };
	int err;

	if (__builtin_expect(hook == NULL, 1))
		return true;
	if ((err = hook(&ev, hook_ctx)) == 0)
		return true;
	errno = err;
	return false;
}

static int after(enum sys_op op, int fd, const char *path, size_t octets,
    int rc)
{
	if (__builtin_expect(hook != NULL, 0)) {
		int err = errno;
		struct sys_event ev = { op, true, fd, path, octets,
			rc < 0 ? err : 0 };

		hook(&ev, hook_ctx);
		errno = err;
	}
	return rc;
}

/* Does `call` between the hook's two visits, again while interrupted. */
#define SHIM(op, fd, path, octets, call) do { \
	int rc_; \
	if (!before(op, fd, path, octets)) \
		return -1; \
	do { \
		rc_ = (int)(call); \
	} while (rc_ < 0 && errno == EINTR); \
	return after(op, fd, path, octets, rc_); \
} while (0)

int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	SHIM(SYS_OPEN, dirfd, path, 0,
	    openat(dirfd, path, flags | O_CLOEXEC, mode));
}

int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};

	SHIM(SYS_OPEN, dirfd, path, 0,
	    syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

int sys_close(int fd)
{
	int rc;

	if (!before(SYS_CLOSE, fd, NULL, 0))
		return -1;
	rc = close(fd);
	return after(SYS_CLOSE, fd, NULL, 0, rc);
}

int sys_writev_all(int fd, struct iovec *iov, int count)
{
	size_t total = 0;
	int i = 0;

	for (int k = 0; k < count; k++)
		total += iov[k].iov_len;
	if (!before(SYS_WRITE, fd, NULL, total))
		return -1;
	while (i < count) {
		ssize_t k;

		if (iov[i].iov_len == 0) {
			i++;
			continue;
		}
		k = writev(fd, iov + i, count - i);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			if (k == 0)
				errno = EIO;
			return after(SYS_WRITE, fd, NULL, total, -1);
		}
		while (k > 0 && i < count) {
			size_t step = (size_t)k < iov[i].iov_len
			    ? (size_t)k : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + step;
			iov[i].iov_len -= step;
			k -= (ssize_t)step;
			if (iov[i].iov_len == 0)
				i++;
		}
	}
	return after(SYS_WRITE, fd, NULL, total, 0);
}

int sys_write_all(int fd, const void *p, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return sys_writev_all(fd, &iov, 1);
}

int sys_pwrite_all(int fd, const void *p, size_t n, off_t at)
{
	const char *from = p;
	size_t done = 0;

	if (!before(SYS_WRITE, fd, NULL, n))
		return -1;
	while (done < n) {
		ssize_t k = pwrite(fd, from + done, n - done,
		    at + (off_t)done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			if (k == 0)
				errno = EIO;
			return after(SYS_WRITE, fd, NULL, n, -1);
		}
		done += (size_t)k;
	}
	return after(SYS_WRITE, fd, NULL, n, 0);
}

/*
 * ext4 may call a directory synced that went down with its journal: when that
 * is given up after a failed write, there is nothing left to commit, and jbd2
 * says so without an error. (A file's sync also flushes the disk, which tells
 * of its death.) The journal stays given up, so whoever wants to change
 * something now is told. To take away an attribute that is not there changes
 * nothing: ENODATA says that all is well; other answers come from file
 * systems that have no attributes. Shown by tests/crash/h6.py.
 */
static int sync_and_look(int fd)
{
	struct stat st;

	if (fsync(fd) < 0)
		return -1;
	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) &&
	    fremovexattr(fd, "user.postern.none") < 0 &&
	    (errno == EROFS || errno == EIO) ? -1 : 0;
}

int sys_fsync(int fd)
{
	SHIM(SYS_FSYNC, fd, NULL, 0, sync_and_look(fd));
}

int sys_fdatasync(int fd)
{
	SHIM(SYS_FDATASYNC, fd, NULL, 0, fdatasync(fd));
}

/*
 * As above, for a file. A write of no octets asks only for a flag that is set
 * some milliseconds after the journal was given up; what begins a change of
 * the journal knows at once. To allocate what is allocated is the one such
 * change that somebody may make who only has the descriptor.
 */
int sys_fdatasync_sure(int fd)
{
	if (sys_fdatasync(fd) < 0)
		return -1;
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1) < 0 &&
	    (errno == EROFS || errno == EIO) ? -1 : 0;
}

int sys_syncfs(int fd)
{
	SHIM(SYS_SYNCFS, fd, NULL, 0, syncfs(fd));
}

int sys_renameat(int olddir, const char *from, int newdir, const char *to)
{
	SHIM(SYS_RENAME, newdir, to, 0, renameat(olddir, from, newdir, to));
}

int sys_renameat_new(int olddir, const char *from, int newdir, const char *to)
{
	SHIM(SYS_RENAME, newdir, to, 0,
	    renameat2(olddir, from, newdir, to, RENAME_NOREPLACE));
}

int sys_linkat(int olddir, const char *from, int newdir, const char *to)
{
	SHIM(SYS_LINK, newdir, to, 0, linkat(olddir, from, newdir, to, 0));
}

int sys_unlinkat(int dirfd, const char *path)
{
	SHIM(SYS_UNLINK, dirfd, path, 0, unlinkat(dirfd, path, 0));
}

int sys_mkdirat(int dirfd, const char *path, mode_t mode)
{
	SHIM(SYS_MKDIR, dirfd, path, 0, mkdirat(dirfd, path, mode));
}

int sys_rmdirat(int dirfd, const char *path)
{
	SHIM(SYS_RMDIR, dirfd, path, 0, unlinkat(dirfd, path, AT_REMOVEDIR));
}

int sys_fchmod(int fd, mode_t mode)
{
	SHIM(SYS_CHMOD, fd, NULL, 0, fchmod(fd, mode));
}

int sys_ftruncate(int fd, off_t size)
{
	SHIM(SYS_TRUNCATE, fd, NULL, 0, ftruncate(fd, size));
}

int sys_allocate(int fd, off_t size)
{
	SHIM(SYS_ALLOCATE, fd, NULL, (size_t)size, fallocate(fd, 0, 0, size));
}

int sys_fsync_dir(int dirfd, const char *dir)
{
	int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc, err;

	if (fd < 0)
		return -1;
	rc = sys_fsync(fd);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

ssize_t sys_pread_full(int fd, void *p, size_t n, off_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t k = pread(fd, (char *)p + done, n - done,
		    at + (off_t)done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (k == 0)
			break;
		done += (size_t)k;
	}
	return (ssize_t)done;
}
