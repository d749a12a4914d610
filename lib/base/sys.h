/*
 * sys.h - the shim through which every durable change goes
 *
 * Each function is the system call of that name: same arguments, same
 * result, errno set. EINTR is retried where POSIX leaves the operation
 * undone; sys_close() is never retried; a failed sys_fsync() must not be
 * retried by the caller (the pages may be marked clean).
 *
 * A test may install a hook: it is asked before (`after` false) and told
 * after each operation, and may kill the process, record the operation, or
 * refuse it by returning an errno (before only; 0 lets it pass).
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum sys_op {
	SYS_OPEN, SYS_CLOSE, SYS_WRITE, SYS_FSYNC, SYS_FDATASYNC, SYS_SYNCFS,
	SYS_RENAME, SYS_LINK, SYS_UNLINK, SYS_MKDIR, SYS_RMDIR, SYS_CHMOD,
	SYS_TRUNCATE, SYS_ALLOCATE, SYS_OP_COUNT
};

struct sys_event {
	enum sys_op op;
	bool after;
	int fd;			/* file, or directory of `path`, or -1 */
	const char *path;	/* NULL when the operation has none */
	size_t octets;		/* asked for, in a write */
	int result;		/* after: 0 or errno */
};

typedef int sys_hook_fn(const struct sys_event *, void *ctx);
/* Process-wide; NULL takes it away. Only tests call this. */
void sys_set_hook(sys_hook_fn *, void *ctx);
const char *sys_op_name(enum sys_op);

int sys_openat(int dirfd, const char *path, int flags, mode_t mode);
/* openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS; path is relative. */
int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
int sys_close(int fd);
/* Writes everything or fails; a short write is continued. 0 or -1. */
int sys_write_all(int fd, const void *p, size_t n);
int sys_pwrite_all(int fd, const void *p, size_t n, off_t at);
/* As above for a vector, which it changes. */
int sys_writev_all(int fd, struct iovec *, int count);
/* Of a directory 0 also says that the file system was well afterwards. */
int sys_fsync(int fd);
int sys_fdatasync(int fd);
/* For what is promised at once: also asks whether the file system is well
 * after the sync. ext4 says 0 of one that was giving up meanwhile. */
int sys_fdatasync_sure(int fd);
int sys_syncfs(int fd);
int sys_renameat(int olddir, const char *from, int newdir, const char *to);
/* Fails with EEXIST when `to` exists (RENAME_NOREPLACE). */
int sys_renameat_new(int olddir, const char *from, int newdir,
    const char *to);
int sys_linkat(int olddir, const char *from, int newdir, const char *to);
int sys_unlinkat(int dirfd, const char *path);
int sys_mkdirat(int dirfd, const char *path, mode_t mode);
int sys_rmdirat(int dirfd, const char *path);
int sys_fchmod(int fd, mode_t mode);
int sys_ftruncate(int fd, off_t size);
/* posix_fallocate(3)-like, but errno is set and -1 returned. */
int sys_allocate(int fd, off_t size);
/* Opens dir (relative to dirfd), fsyncs and closes it. */
int sys_fsync_dir(int dirfd, const char *dir);
/* Reads up to n octets from `at`; less only at end of file. -1 on error. */
ssize_t sys_pread_full(int fd, void *p, size_t n, off_t at);
#endif
