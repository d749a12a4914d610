#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "store/maildir.h"

/* What stands in tmp/ for so long belongs to no delivery any more. */
#define TMP_AGE (36 * 3600)
#define TMP_LOOK_AGE (24 * 3600)

static const char *const subdirs[] = { "tmp", "new", "cur" };

int store_fail(const char **why_r, int err, const char *why)
{
	if (why_r != NULL)
		*why_r = why;
	errno = err;
	return -1;
}

int store_fail_errno(const char **why_r, const char *what)
{
	int err = errno;

	switch (err) {
	case ENOSPC:
		what = "There is no room on the disk";
		break;
	case EDQUOT:
		what = "The disk quota is used up";
		break;
	case EFBIG:
		what = "The message is too large";
		break;
	case ENOMEM:
		what = "There is not enough memory";
		break;
	case ETIMEDOUT:
		what = "The mailbox is locked by another session";
		break;
	}
	return store_fail(why_r, err, what);
}

static int open_dir(int at, const char *name)
{
	return sys_open_beneath(at, name, O_RDONLY | O_DIRECTORY, 0);
}

int maildir_make_dirs(int dir, bool anew)
{
	bool made = false;
	struct stat st;

	/* The last one is there: so are the others, or maildir_open() sees. */
	if (!anew && fstatat(dir, subdirs[2], &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (sys_mkdirat(dir, subdirs[i], 0700) == 0)
			made = true;
		else if (errno != EEXIST)
			return -1;
	}
	return made ? sys_fsync(dir) : 0;
}

static int open_subdirs(struct maildir *md)
{
	if ((md->tmp = open_dir(md->dir, "tmp")) < 0 ||
	    (md->fresh = open_dir(md->dir, "new")) < 0 ||
	    (md->cur = open_dir(md->dir, "cur")) < 0)
		return -1;
	return 0;
}

int maildir_open(const struct store *s, const struct mbname *name,
    struct maildir *md, const char **why_r)
{
	*md = (struct maildir){ -1, -1, -1, -1 };
	if ((md->dir = open_dir(s->root, name->dir)) < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return store_fail(why_r, ENOENT,
			    "There is no such mailbox");
		return store_fail_errno(why_r, "The mailbox cannot be opened");
	}
	if (open_subdirs(md) == 0)
		return 0;
	if (errno == ENOENT) {
		/* Another program left it half made. */
		maildir_close(md);
		if ((md->dir = open_dir(s->root, name->dir)) >= 0 &&
		    maildir_make_dirs(md->dir, true) == 0 &&
		    open_subdirs(md) == 0)
			return 0;
	}
	store_fail_errno(why_r, "The mailbox cannot be opened");
	maildir_close(md);
	return -1;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = -1;
}

void maildir_close(struct maildir *md)
{
	int err = errno;

	close_fd(&md->dir);
	close_fd(&md->tmp);
	close_fd(&md->fresh);
	close_fd(&md->cur);
	errno = err;
}

static DIR *list_dir(int dir, const char *name)
{
	int fd = open_dir(dir, name);
	DIR *d;

	if (fd < 0)
		return NULL;
	if ((d = fdopendir(fd)) == NULL)
		sys_close(fd);
	return d;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' &&
	    (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Unlinks the files in the directory, and with `deeper` its directories. */
static int empty_dir(int parent, const char *name, int deeper)
{
	DIR *d = list_dir(parent, name);
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return -1;
	while ((e = readdir(d)) != NULL) {
		if (is_dots(e->d_name))
			continue;
		if (sys_unlinkat(dirfd(d), e->d_name) == 0 || errno == ENOENT)
			continue;
		if (deeper == 0 || (errno != EISDIR && errno != EPERM) ||
		    empty_dir(dirfd(d), e->d_name, deeper - 1) < 0 ||
		    sys_rmdirat(dirfd(d), e->d_name) < 0)
			rc = -1;
	}
	closedir(d);
	return rc;
}

int maildir_remove_tree(int parent, const char *name)
{
	/* A delivery that was under way may add a file meanwhile. */
	for (int i = 0; i < 5; i++) {
		if (empty_dir(parent, name, 1) < 0 && errno == ENOENT)
			return 0;
		if (sys_rmdirat(parent, name) == 0)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return -1;
	}
	return -1;
}

int maildir_rename_new(int from_dir, const char *from, int to_dir,
    const char *to)
{
	if (sys_renameat_new(from_dir, from, to_dir, to) == 0)
		return 0;
	/* A file system without RENAME_NOREPLACE. */
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (sys_linkat(from_dir, from, to_dir, to) < 0)
		return -1;
	return sys_unlinkat(from_dir, from);
}

void maildir_clean_tmp(const struct maildir *md)
{
	time_t now = (time_t)(clock_wall() / CLOCK_SECOND);
	struct stat st;
	struct dirent *e;
	DIR *d;

	/* Reading a directory sets its access time, even with relatime when
	 * the old one is a day back: so once a day is looked. */
	if (fstat(md->tmp, &st) < 0 || now - st.st_atime < TMP_LOOK_AGE ||
	    (d = list_dir(md->tmp, ".")) == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (is_dots(e->d_name) || fstatat(md->tmp, e->d_name, &st,
		    AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		/* The time of change: that of the octets is what an APPEND
		 * asked for, and may lie ahead for ever. */
		if (now - st.st_ctime < TMP_AGE)
			continue;
		if (S_ISDIR(st.st_mode))
			maildir_remove_tree(md->tmp, e->d_name);
		else
			sys_unlinkat(md->tmp, e->d_name);
	}
	closedir(d);
}
