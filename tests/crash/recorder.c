/*
 * recorder.c - two disks that remember what they were told, and can fail
 *
 *	crash-recorder [--log FILE] MOUNTPOINT DISK [DISK]
 *
 * A FUSE file system with the files disk0, disk1 (the octets of the DISKs,
 * which are images of file systems) and ctl. Loop devices sit on the disks.
 * Each write, discard and flush that the kernel sends is done, in the order
 * in which it came, and appended to the log (powerlog.h). Into ctl go
 *
 *	mark N		a client's moment, into the log
 *	fail DISK N	after N more writes to the disk, it and all after fail
 *	heal		no disk fails any more
 *
 * and from it comes "writes N flushes N failed N". In the foreground; ends
 * when it is unmounted. One thread: the log's order is the order of the
 * answers, and a write answered before a flush came is before it in the log.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "powerlog.h"

struct disk {
	int fd;
	off_t size;
	int64_t left;		/* writes until it fails; -1: it is well */
};

static struct disk disks[POWERLOG_DISKS];
static int ndisks, log_fd = -1;
static unsigned long writes, flushes, failed;

static int disk_of(const char *path)
{
	for (int i = 0; i < ndisks; i++) {
		char name[16];

		snprintf(name, sizeof(name), "/disk%d", i);
		if (strcmp(path, name) == 0)
			return i;
	}
	return -1;
}

static bool is_ctl(const char *path)
{
	return strcmp(path, "/ctl") == 0;
}

/* A log with a hole would prove nothing. */
static void record(enum powerlog_what what, int disk, uint64_t at,
    const void *p, size_t n)
{
	struct powerlog_record r = { .what = what, .disk = (uint32_t)disk,
		.at = at, .octets = n };
	struct iovec iov[2] = { { &r, sizeof(r) }, { (void *)p, n } };
	size_t want = sizeof(r) + (p != NULL ? n : 0);

	if (log_fd >= 0 &&
	    writev(log_fd, iov, p != NULL ? 2 : 1) != (ssize_t)want) {
		perror("crash-recorder: log");
		exit(1);
	}
}

/* 0, or the error with which the dying disk answers. */
static int count_write(struct disk *d)
{
	writes++;
	if (d->left > 0)
		d->left--;
	else if (d->left == 0) {
		failed++;
		return -EIO;
	}
	return 0;
}

/* --- operations ------------------------------------------------------- */

static int do_getattr(const char *path, struct stat *st,
    struct fuse_file_info *fi)
{
	int i = disk_of(path);

	(void)fi;
	memset(st, 0, sizeof(*st));
	st->st_nlink = 1;
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
	} else if (i >= 0) {
		st->st_mode = S_IFREG | 0600;
		st->st_size = disks[i].size;
	} else if (is_ctl(path)) {
		st->st_mode = S_IFREG | 0600;
	} else {
		return -ENOENT;
	}
	return 0;
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
    off_t at, struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	(void)path, (void)at, (void)fi, (void)flags;
	fill(buf, "disk0", NULL, 0, 0);
	if (ndisks > 1)
		fill(buf, "disk1", NULL, 0, 0);
	fill(buf, "ctl", NULL, 0, 0);
	return 0;
}

/* No cache in between: a write is here when its caller's call returns. */
static int do_open(const char *path, struct fuse_file_info *fi)
{
	if (disk_of(path) < 0 && !is_ctl(path))
		return -ENOENT;
	fi->direct_io = 1;
	return 0;
}

/* Programs open ctl for writing as they would a plain file. */
static int do_truncate(const char *path, off_t size,
    struct fuse_file_info *fi)
{
	(void)size, (void)fi;
	return is_ctl(path) ? 0 : -EPERM;
}

static int do_read(const char *path, char *p, size_t n, off_t at,
    struct fuse_file_info *fi)
{
	int i = disk_of(path);
	ssize_t got;

	(void)fi;
	if (i < 0) {
		char text[100];
		size_t len = (size_t)snprintf(text, sizeof(text),
		    "writes %lu flushes %lu failed %lu\n", writes, flushes,
		    failed);

		if ((size_t)at >= len)
			return 0;
		n = n < len - (size_t)at ? n : len - (size_t)at;
		memcpy(p, text + at, n);
		return (int)n;
	}
	got = pread(disks[i].fd, p, n, at);
	return got < 0 ? -errno : (int)got;
}

static int obey(const char *text)
{
	unsigned long number;
	long long n;
	int i;

	if (sscanf(text, "mark %lu", &number) == 1) {
		record(POWERLOG_MARK, 0, number, NULL, 0);
	} else if (sscanf(text, "fail %d %lld", &i, &n) == 2 && i >= 0 &&
	    i < ndisks && n >= 0) {
		disks[i].left = n;
	} else if (strncmp(text, "heal", 4) == 0) {
		for (i = 0; i < ndisks; i++)
			disks[i].left = -1;
	} else {
		return -EINVAL;
	}
	return 0;
}

static int do_write(const char *path, const char *p, size_t n, off_t at,
    struct fuse_file_info *fi)
{
	int i = disk_of(path), rc;
	ssize_t done;

	(void)fi;
	if (i < 0) {
		char text[100];

		snprintf(text, sizeof(text), "%.*s", (int)(n < 99 ? n : 99),
		    p);
		rc = obey(text);
		return rc < 0 ? rc : (int)n;
	}
	if (at > disks[i].size)
		return -ENOSPC;
	if ((off_t)n > disks[i].size - at)
		n = (size_t)(disks[i].size - at);
	if ((rc = count_write(&disks[i])) < 0)
		return rc;
	done = pwrite(disks[i].fd, p, n, at);
	if (done < 0)
		return -errno;
	record(POWERLOG_WRITE, i, (uint64_t)at, p, (size_t)done);
	return (int)done;
}

static int do_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	int i = disk_of(path);

	(void)datasync, (void)fi;
	if (i < 0)
		return 0;
	flushes++;
	if (disks[i].left == 0) {
		failed++;
		return -EIO;
	}
	record(POWERLOG_FLUSH, i, 0, NULL, 0);
	return 0;
}

/* A discard or write of zeroes. */
static int do_fallocate(const char *path, int mode, off_t at, off_t n,
    struct fuse_file_info *fi)
{
	int i = disk_of(path), rc;

	(void)fi;
	if (i < 0 || (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) ==
	    0 || at < 0 || n < 0 || at + n > disks[i].size)
		return -EOPNOTSUPP;
	if ((rc = count_write(&disks[i])) < 0)
		return rc;
	if (fallocate(disks[i].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    at, n) < 0)
		return -errno;
	record(POWERLOG_ZERO, i, (uint64_t)at, NULL, (size_t)n);
	return 0;
}

static const struct fuse_operations operations = {
	.getattr = do_getattr,
	.readdir = do_readdir,
	.open = do_open,
	.truncate = do_truncate,
	.read = do_read,
	.write = do_write,
	.fsync = do_fsync,
	.fallocate = do_fallocate,
};

/* --- start ------------------------------------------------------------ */

static int add_disk(const char *path)
{
	struct disk *d = &disks[ndisks];
	struct stat st;

	d->fd = open(path, O_RDWR | O_CLOEXEC);
	if (d->fd < 0 || fstat(d->fd, &st) < 0) {
		perror(path);
		return -1;
	}
	d->size = st.st_size;
	d->left = -1;
	ndisks++;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "log", required_argument, NULL, 'l' }, { 0 } };
	char *args[] = { argv[0], (char *)"-f", (char *)"-s", NULL, NULL };
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (c != 'l')
			return 64;
		log_fd = open(optarg, O_WRONLY | O_CREAT | O_TRUNC |
		    O_APPEND | O_CLOEXEC, 0600);
		if (log_fd < 0) {
			perror(optarg);
			return 1;
		}
	}
	if (argc - optind < 2 || argc - optind > 1 + POWERLOG_DISKS) {
		fprintf(stderr, "usage: crash-recorder [--log FILE] "
		    "MOUNTPOINT DISK [DISK]\n");
		return 64;
	}
	args[3] = argv[optind];
	for (int i = optind + 1; i < argc; i++)
		if (add_disk(argv[i]) < 0)
			return 1;
	return fuse_main(4, args, &operations, NULL);
}
