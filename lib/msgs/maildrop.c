#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/sys.h"
#include "msgs/maildrop.h"
#include "msgs/pickup.h"

#define ITEM_RCPTS 100		/* recipients in one queue_item */
#define ADDRESS_SHOWN 320	/* octets */

const char *maildrop_judge(const struct stat *st, gid_t gid)
{
	if (!S_ISREG(st->st_mode))
		return "not a regular file";
	if (st->st_gid != gid)
		return "it was not made here";
	if (st->st_nlink != 1)
		return "it has more than one link";
	if (!(st->st_mode & MAILDROP_MARK))
		return "unfinished";
	return NULL;
}

int64_t maildrop_since(const struct stat *st)
{
	/* beyond the years that such a number has, it is none */
	if (st->st_mtim.tv_sec < 0 || st->st_mtim.tv_sec > INT32_MAX * 4096LL)
		return 0;
	return (int64_t)st->st_mtim.tv_sec * 1000000 +
	    st->st_mtim.tv_nsec / 1000;
}

/* --- packets --- */

/* Reads exactly n octets; 1, 0 at the end, -1. */
static int read_full(int fd, void *p, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t k = read(fd, (char *)p + got, n - got);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (k == 0)
			return got == 0 ? 0 : -1;
		got += (size_t)k;
	}
	return 1;
}

int maildrop_read(int fd, char *room, struct str *wire_r)
{
	unsigned char len[4];
	size_t n;

	if (read_full(fd, len, 4) != 1)
		return -1;
	n = len[0] | (size_t)len[1] << 8 | (size_t)len[2] << 16 |
	    (size_t)len[3] << 24;
	if (n < 2 || n > MSG_MAX || read_full(fd, room, n) != 1)
		return -1;
	*wire_r = str_n(room, n);
	return 0;
}

/* --- ids --- */

#define ID_SIZE 24

/* The microsecond and the file's number. The 1 in front tells it from the ids
 * of the queue, whose first digits are the year's. */
static const char *make_id(const struct stat *st, char out[ID_SIZE])
{
	snprintf(out, ID_SIZE, "1%05lX%llX",
	    (unsigned long)(st->st_mtim.tv_nsec / 1000),
	    (unsigned long long)st->st_ino & 0xffffffffffull);
	return out;
}

/* The file of that name, if it is a message that is ready; -1. */
static int open_ready(int dir, gid_t gid, const char *name, struct stat *st)
{
	int fd;

	if (name[0] == '.' ||
	    fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    maildrop_judge(st, gid) != NULL)
		return -1;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	if (fd >= 0 && fstat(fd, st) == 0 && maildrop_judge(st, gid) == NULL)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static DIR *open_list(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (d == NULL && copy >= 0)
		close(copy);
	return d;
}

int maildrop_open(int dir, struct str id, char name[NAME_MAX + 1])
{
	DIR *d = open_list(dir);
	const struct dirent *e;
	struct stat st, own;
	char text[ID_SIZE];
	int fd = -1;

	if (d == NULL)
		return -1;
	if (fstat(dir, &own) == 0)
		while (fd < 0 && (e = readdir(d)) != NULL) {
			fd = open_ready(dir, own.st_gid, e->d_name, &st);
			snprintf(name, NAME_MAX + 1, "%s", e->d_name);
			if (fd >= 0 && !str_eq_c(id, make_id(&st, text))) {
				close(fd);
				fd = -1;
			}
		}
	closedir(d);
	if (fd < 0)
		errno = ENOENT;
	return fd;
}

/* pickup locks what it takes (sendmail/maildrop.c). */
int maildrop_remove(int dir, struct str id)
{
	char name[NAME_MAX + 1];
	struct stat st, named;
	int fd = maildrop_open(dir, id, name), rc = -1, err;

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 &&
	    fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = ENOENT;
		if (st.st_ino == named.st_ino && st.st_dev == named.st_dev)
			rc = sys_unlinkat(dir, name);
		if (rc == 0)
			rc = sys_fsync_dir(dir, ".");
	}
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

/* --- the list --- */

struct listing {
	maildrop_item_fn *fn;
	void *ctx;
	struct queue_item item;	/* of the message at hand */
	char *room;		/* MSG_MAX octets */
	struct arena *envelope;	/* of what `item` has */
	struct arena *packet;
};

/* Readers of JSON want UTF-8; a terminal wants neither more nor less. */
static struct str shown(struct arena *a, struct str s)
{
	struct str cut = str_sub(s, 0, ADDRESS_SHOWN);
	char *p;

	if (cut.n == 0 || (!str_has_ctl(cut) && str_is_utf8(cut)))
		return cut;
	if ((p = arena_alloc(a, cut.n)) == NULL)
		return STR_NONE;
	for (size_t i = 0; i < cut.n; i++) {
		unsigned char c = (unsigned char)cut.p[i];

		p[i] = c >= 32 && c < 127 ? (char)c : '?';
	}
	return str_n(p, cut.n);
}

static bool next_is_rcpts(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	char head[6];

	return at >= 0 && pread(fd, head, sizeof(head), at) == sizeof(head) &&
	    msg_id(str_n(head + 4, 2)) == pickup_rcpts_schema.id;
}

/* The recipients of one packet. more: another packet has the next. */
static int tell(struct listing *l, const struct strs *rcpts, bool more)
{
	struct str some[ITEM_RCPTS], none[ITEM_RCPTS] = { STR_NONE };
	size_t i = 0;
	int rc;

	do {
		size_t n = 0;

		while (i < rcpts->n && n < ITEM_RCPTS)
			some[n++] = shown(l->packet, rcpts->v[i++]);
		l->item.rcpts = (struct strs){ some, n };
		l->item.originals = l->item.reasons =
		    (struct strs){ none, n };
		l->item.more = more || i < rcpts->n;
		rc = l->fn(&l->item, l->ctx);
	} while (rc == 0 && i < rcpts->n);
	return rc;
}

static int tell_rest(struct listing *l, int fd)
{
	struct strs nobody = { NULL, 0 };
	struct pickup_rcpts m;
	struct str wire;
	const char *why;
	bool more;
	int rc = 0;

	do {
		arena_reset(l->packet);
		if (maildrop_read(fd, l->room, &wire) < 0 ||
		    msg_decode(&pickup_rcpts_schema, wire, NULL, 0, l->packet,
			&m, &why) < 0)
			/* more was promised */
			return tell(l, &nobody, false);
		more = next_is_rcpts(fd) &&
		    lseek(fd, 0, SEEK_CUR) < MAILDROP_LISTED;
		rc = tell(l, &m.rcpts, more);
	} while (rc == 0 && more);
	return rc;
}

/* 1: it was no message. */
static int tell_message(struct listing *l, int fd, const struct stat *st)
{
	struct pickup_submit m;
	struct str wire;
	const char *why;
	char id[ID_SIZE];
	bool more;
	int rc;

	arena_reset(l->envelope);
	arena_reset(l->packet);
	if (maildrop_read(fd, l->room, &wire) < 0 ||
	    msg_decode(&pickup_submit_schema, wire, NULL, 0, l->packet, &m,
		&why) < 0)
		return 1;
	l->item = (struct queue_item){ .queue_id = str_of(make_id(st, id)),
		.where = QUEUE_IN_MAILDROP,
		.arrival = maildrop_since(st),
		.size = (uint64_t)st->st_size,
		.sender = arena_str(l->envelope, shown(l->packet, m.sender)) };
	more = next_is_rcpts(fd);
	rc = tell(l, &m.rcpts, more);
	return rc == 0 && more ? tell_rest(l, fd) : rc;
}

static int tell_file(struct listing *l, int dir, gid_t gid, const char *name,
    struct stat *st)
{
	int fd = open_ready(dir, gid, name, st), rc;

	if (fd < 0)
		return 1;
	rc = tell_message(l, fd, st);
	close(fd);
	return rc;
}

static int tell_all(struct listing *l, DIR *d, uint64_t *count,
    uint64_t *octets)
{
	struct dirent *e;
	struct stat st;
	gid_t gid;
	int rc = 0;

	if (fstat(dirfd(d), &st) < 0)
		return -1;
	gid = st.st_gid;
	while (rc >= 0 && (e = readdir(d)) != NULL) {
		rc = tell_file(l, dirfd(d), gid, e->d_name, &st);
		if (rc == 0) {
			++*count;
			*octets += (uint64_t)st.st_size;
		}
	}
	return rc < 0 ? rc : 0;
}

int maildrop_list(int dir, maildrop_item_fn *fn, void *ctx, uint64_t *count_r,
    uint64_t *octets_r)
{
	struct listing l = { .fn = fn, .ctx = ctx, .room = malloc(MSG_MAX),
		.envelope = arena_new(MSG_MAX),
		.packet = arena_new(4 * MSG_MAX) };
	DIR *d = open_list(dir);
	int rc = -1;

	*count_r = *octets_r = 0;
	if (d != NULL && l.room != NULL && l.envelope != NULL &&
	    l.packet != NULL)
		rc = tell_all(&l, d, count_r, octets_r);
	if (d != NULL)
		closedir(d);
	arena_free(&l.envelope);
	arena_free(&l.packet);
	free(l.room);
	return rc;
}
