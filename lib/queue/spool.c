#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "queue/spool.h"

#define ID_COUNTER_BITS 16
/* Seconds of ids that are reserved with one sync of the file `ids`. */
#define ID_RESERVE 16
#define PATH_SIZE 64

static const char *const place_names[QUEUE_PLACE_COUNT] = {
	"incoming", "deferred", "hold", "corrupt",
};

const char *queue_place_name(enum queue_place place)
{
	return place < QUEUE_PLACE_COUNT ? place_names[place] : "?";
}

int64_t queue_due_bucket(int64_t due, int64_t bucket)
{
	return due <= 0 ? 0 : (due + bucket - 1) / bucket * bucket;
}

static int64_t seconds_now(void)
{
	return clock_wall() / CLOCK_SECOND;
}

/* The name below its place: "ID", or "DUE/ID". */
static void file_path(const struct queue_name *name, char out[PATH_SIZE])
{
	char id[QUEUE_ID_SIZE];

	queue_id_text(name->id, id);
	if (name->place == QUEUE_DEFERRED)
		snprintf(out, PATH_SIZE, "%lld/%s", (long long)name->due, id);
	else
		snprintf(out, PATH_SIZE, "%s", id);
}

static void due_path(int64_t due, char out[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "%lld", (long long)due);
}

/* --- opening ---------------------------------------------------------- */

static int make_dir(int dir, const char *name, mode_t mode)
{
	return sys_mkdirat(dir, name, mode) < 0 && errno != EEXIST ? -1 : 0;
}

static int open_places(struct queue_spool *s, bool make)
{
	struct stat st;

	for (int i = 0; i < QUEUE_PLACE_COUNT; i++) {
		if (make && make_dir(s->dir, place_names[i], 0700) < 0)
			return -1;
		s->place[i] = sys_openat(s->dir, place_names[i],
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (s->place[i] < 0)
			return -1;
	}
	if (fstat(s->place[QUEUE_INCOMING], &st) < 0)
		return -1;
	s->owner = st.st_uid;
	return make ? sys_fsync(s->dir) : 0;
}

static int take_lock(struct queue_spool *s, bool wait)
{
	s->lock = sys_openat(s->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW,
	    0600);
	if (s->lock < 0)
		return -1;
	while (flock(s->lock, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

/* The highest id that a name in the spool has: when `ids` is not there. */
static int note_id(const struct queue_name *name, const char *file, void *ctx)
{
	uint64_t *highest = ctx;

	(void)file;
	if (name->id > *highest)
		*highest = name->id;
	return 0;
}

static int read_id_floor(struct queue_spool *s)
{
	uint64_t floor = 0, highest = 0;
	char text[24];
	int fd = sys_openat(s->dir, "ids", O_RDONLY | O_NOFOLLOW, 0);
	ssize_t n = fd < 0 ? -1 : sys_pread_full(fd, text, sizeof(text), 0);

	if (fd >= 0)
		sys_close(fd);
	if (n < 1 || text[n - 1] != '\n' ||
	    str_to_u64(str_n(text, (size_t)n - 1), UINT32_MAX, &floor) < 0) {
		for (int i = 0; i < QUEUE_PLACE_COUNT; i++)
			if (queue_spool_scan(s, i, INT64_MAX, note_id,
			    &highest) < 0)
				return -1;
		floor = (highest >> ID_COUNTER_BITS) + 1;
	}
	if (floor < (uint64_t)seconds_now())
		floor = (uint64_t)seconds_now();
	s->id_floor = floor;
	s->next_id = floor << ID_COUNTER_BITS;
	return 0;
}

int queue_spool_open(struct queue_spool *s, int dir, bool lock, bool wait,
    const char **why_r)
{
	*s = (struct queue_spool){ .dir = dir, .lock = -1 };
	for (int i = 0; i < QUEUE_PLACE_COUNT; i++)
		s->place[i] = -1;
	*why_r = "cannot lock the spool";
	if (lock && take_lock(s, wait) < 0)
		goto fail;
	*why_r = "cannot make or open the spool's directories";
	if (open_places(s, lock) < 0)
		goto fail;
	*why_r = "cannot read the spool";
	if (lock && read_id_floor(s) < 0)
		goto fail;
	return 0;
fail:
	{
		int err = errno;

		queue_spool_close(s);
		errno = err;
	}
	return -1;
}

void queue_spool_close(struct queue_spool *s)
{
	for (int i = 0; i < QUEUE_PLACE_COUNT; i++)
		if (s->place[i] >= 0)
			sys_close(s->place[i]);
	if (s->lock >= 0)
		sys_close(s->lock);
}

/* --- get -------------------------------------------------------------- */

/* Makes sure that no id up to `last` can be given by a later start. */
static int reserve_ids(struct queue_spool *s, uint64_t last)
{
	uint64_t floor = (last >> ID_COUNTER_BITS) + ID_RESERVE;
	char text[24];
	int fd, n, rc;

	if (last >> ID_COUNTER_BITS < s->id_floor)
		return 0;
	n = snprintf(text, sizeof(text), "%010llu\n",
	    (unsigned long long)floor);
	fd = sys_openat(s->dir, "ids", O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	rc = sys_pwrite_all(fd, text, (size_t)n, 0);
	if (rc == 0)
		rc = sys_fsync(fd);
	sys_close(fd);
	/* Its name has to be durable as well, once; the place's own sync is
	 * of another directory. */
	if (rc == 0)
		rc = sys_fsync(s->dir);
	if (rc == 0)
		s->id_floor = floor;
	return rc;
}

bool queue_spool_can_recycle(const struct queue_spool *s)
{
	static const long copies[] = { 0x9123683e /* btrfs */,
		0x2fc12fc1 /* zfs */, 0xca451a4e /* bcachefs */ };
	struct statfs fs;

	if (fstatfs(s->place[QUEUE_INCOMING], &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++)
		if (fs.f_type == copies[i])
			return false;
	return true;
}

int queue_spool_retire(const struct queue_spool *s, uint64_t id)
{
	static const unsigned char blank[QUEUE_HEADER_SIZE];
	struct queue_name name = { .id = id, .place = QUEUE_INCOMING };
	int fd = queue_spool_open_file(s, &name, true);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && st.st_size == QUEUE_SPARE_OCTETS &&
	    sys_pwrite_all(fd, blank, sizeof(blank), 0) == 0)
		return fd;
	sys_close(fd);
	return -1;
}

/* A spare file under its new name, or -1: it is gone, one is to be made. */
static int reuse(struct queue_spool *s, const struct queue_spare *spare,
    uint64_t id)
{
	struct queue_name from = { .id = spare->id, .place = QUEUE_INCOMING };
	struct queue_name to = { .id = id, .place = QUEUE_INCOMING };
	char from_path[PATH_SIZE], to_path[PATH_SIZE];

	file_path(&from, from_path);
	file_path(&to, to_path);
	if (queue_is_unheld(spare->fd) &&
	    sys_renameat(s->place[QUEUE_INCOMING], from_path,
		s->place[QUEUE_INCOMING], to_path) == 0)
		return spare->fd;
	sys_close(spare->fd);
	queue_spool_release(s, &from);
	return -1;
}

int queue_spool_stock(struct queue_spool *s, size_t count,
    const struct queue_spare spares[], size_t spare_count, uint64_t ids_r[],
    int fds_r[])
{
	uint64_t now = (uint64_t)seconds_now() << ID_COUNTER_BITS;
	char path[PATH_SIZE];
	size_t made = 0;
	int err;

	if (s->next_id < now)
		s->next_id = now;
	if (reserve_ids(s, s->next_id + count) < 0)
		return -1;
	for (; made < count; made++) {
		struct queue_name name = { .place = QUEUE_INCOMING };

		name.id = ids_r[made] = s->next_id++;
		fds_r[made] = made < spare_count
		    ? reuse(s, &spares[made], name.id) : -1;
		if (fds_r[made] >= 0)
			continue;
		file_path(&name, path);
		fds_r[made] = sys_openat(s->place[QUEUE_INCOMING], path,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
		if (fds_r[made] < 0)
			goto fail;
	}
	if (sys_fsync(s->place[QUEUE_INCOMING]) == 0)
		return 0;
fail:
	err = errno;
	while (made-- > 0) {
		struct queue_name name = { .place = QUEUE_INCOMING,
			.id = ids_r[made] };

		sys_close(fds_r[made]);
		queue_spool_release(s, &name);
	}
	errno = err;
	return -1;
}

/* --- open, move, release ---------------------------------------------- */

int queue_spool_open_file(const struct queue_spool *s,
    const struct queue_name *name, bool writing)
{
	char path[PATH_SIZE];
	struct stat st;
	int fd;

	file_path(name, path);
	/* O_NONBLOCK: a named pipe must not stop us */
	fd = sys_openat(s->place[name->place], path, O_NOFOLLOW | O_NONBLOCK |
	    O_NOCTTY | (writing ? O_RDWR : O_RDONLY), 0);
	if (fd < 0) {
		if (errno == ELOOP || errno == ENXIO || errno == EISDIR)
			errno = EBADMSG;
		return -1;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_nlink == 1 && st.st_uid == s->owner)
		return fd;
	sys_close(fd);
	errno = EBADMSG;
	return -1;
}

int queue_spool_stat(const struct queue_spool *s,
    const struct queue_name *name, struct stat *st)
{
	char path[PATH_SIZE];

	file_path(name, path);
	return fstatat(s->place[name->place], path, st, AT_SYMLINK_NOFOLLOW);
}

int queue_spool_release(const struct queue_spool *s,
    const struct queue_name *name)
{
	char path[PATH_SIZE];

	file_path(name, path);
	return sys_unlinkat(s->place[name->place], path);
}

static int make_due(const struct queue_spool *s, int64_t due)
{
	char path[PATH_SIZE];

	due_path(due, path);
	if (sys_mkdirat(s->place[QUEUE_DEFERRED], path, 0700) < 0)
		return errno == EEXIST ? 0 : -1;
	return sys_fsync(s->place[QUEUE_DEFERRED]);
}

int queue_spool_move(const struct queue_spool *s, struct queue_name *name,
    enum queue_place to, int64_t due)
{
	struct queue_name target = { name->id, to,
		to == QUEUE_DEFERRED ? due : 0 };
	char from_path[PATH_SIZE], to_path[PATH_SIZE];

	file_path(name, from_path);
	file_path(&target, to_path);
	/* An empty bucket may be removed at any time: make it, try again. */
	for (int tries = 0; tries < 3; tries++) {
		if (sys_renameat(s->place[name->place], from_path,
		    s->place[to], to_path) == 0) {
			*name = target;
			return 0;
		}
		if (errno != ENOENT || to != QUEUE_DEFERRED ||
		    make_due(s, due) < 0)
			return -1;
	}
	errno = ENOENT;
	return -1;
}

int queue_spool_sync(const struct queue_spool *s,
    const struct queue_name *name)
{
	char path[PATH_SIZE];

	if (name->place != QUEUE_DEFERRED)
		return sys_fsync(s->place[name->place]);
	due_path(name->due, path);
	return sys_fsync_dir(s->place[QUEUE_DEFERRED], path);
}

void queue_spool_drop_due(const struct queue_spool *s, int64_t due)
{
	char path[PATH_SIZE];

	due_path(due, path);
	sys_rmdirat(s->place[QUEUE_DEFERRED], path);
}

/* --- judging ---------------------------------------------------------- */

/* Header and envelope fit each other, or the envelope is not all there. A
 * header that lies about where the file ends was never written like that. */
static bool may_be_cut(int fd, const struct queue_header *h, uint64_t size)
{
	char *envelope;
	bool fits;

	if (h->envelope_offset + h->envelope_octets > size)
		return true;
	if ((envelope = malloc(h->envelope_octets + 1)) == NULL)
		return false;
	fits = sys_pread_full(fd, envelope, h->envelope_octets,
		(off_t)h->envelope_offset) == (ssize_t)h->envelope_octets &&
	    queue_header_sum(h, str_n(envelope, h->envelope_octets)) ==
	    h->sum1;
	free(envelope);
	return fits;
}

/* Has the file the octets that its header promises, if it has a header? */
static bool is_torn(int fd)
{
	unsigned char raw[QUEUE_HEADER_SIZE];
	struct queue_header h;
	const char *why;
	struct stat st;
	ssize_t n = sys_pread_full(fd, raw, sizeof(raw), 0);

	if (n < 0 || fstat(fd, &st) < 0)
		return false;
	if (n < (ssize_t)sizeof(raw) || queue_header_is_blank(raw))
		return true;
	return queue_header_decode(raw, &h, &why) == 0 &&
	    (uint64_t)st.st_size < h.log_offset &&
	    may_be_cut(fd, &h, (uint64_t)st.st_size);
}

/* An undamaged header of another message: it was over when its file was given
 * again under this name, and nothing was written since. */
static bool is_given_again(int fd, uint64_t id)
{
	struct queue_reader r;
	const char *why;

	return queue_reader_open_header(&r, fd, 0, &why) == 0 &&
	    r.header.id != id;
}

enum queue_kind queue_classify(int fd, uint64_t id, bool deep,
    const char **why_r)
{
	struct queue_reader r;

	if (queue_reader_open_header(&r, fd, id, why_r) < 0) {
		if (errno != EBADMSG)
			return QUEUE_KIND_ERROR;
		/* Outside of incoming/ the name is always that inside. */
		return is_torn(fd) || (deep && is_given_again(fd, id))
		    ? QUEUE_KIND_TORN : QUEUE_KIND_DAMAGED;
	}
	if (deep && queue_reader_verify(&r) < 0) {
		*why_r = "wrong checksum of the content";
		return errno == EBADMSG ? QUEUE_KIND_DAMAGED
		    : QUEUE_KIND_ERROR;
	}
	return QUEUE_KIND_WHOLE;
}

bool queue_is_unheld(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return false;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}

/* --- scanning --------------------------------------------------------- */

static DIR *open_listing(int dir, const char *path)
{
	int fd = sys_openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
	    0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL && fd >= 0)
		sys_close(fd);
	return d;
}

/* Closes d. */
static int scan_listing(DIR *d, struct queue_name base, queue_scan_fn *fn,
    void *ctx)
{
	struct dirent *e;
	int rc = 0;

	while (rc == 0 && (e = readdir(d)) != NULL) {
		struct queue_name name = base;

		if (e->d_name[0] == '.')
			continue;
		if (queue_id_parse(str_of(e->d_name), &name.id) < 0)
			name.id = 0;
		rc = fn(&name, e->d_name, ctx);
	}
	closedir(d);
	return rc;
}

/* Only as due_path() writes it. */
static int parse_due(const char *text, int64_t *due_r)
{
	uint64_t v;

	if ((text[0] == '0' && text[1] != '\0') ||
	    str_to_u64(str_of(text), INT64_MAX / CLOCK_SECOND, &v) < 0)
		return -1;
	*due_r = (int64_t)v;
	return 0;
}

ssize_t queue_spool_dues(const struct queue_spool *s, int64_t *dues,
    size_t max)
{
	DIR *d = open_listing(s->place[QUEUE_DEFERRED], ".");
	struct dirent *e;
	size_t n = 0;

	if (d == NULL)
		return -1;
	while (n < max && (e = readdir(d)) != NULL)
		if (parse_due(e->d_name, &dues[n]) == 0)
			n++;
	closedir(d);
	return (ssize_t)n;
}

int queue_spool_scan(const struct queue_spool *s, enum queue_place place,
    int64_t until, queue_scan_fn *fn, void *ctx)
{
	struct queue_name base = { .place = place };
	DIR *d = open_listing(s->place[place], "."), *bucket;
	struct dirent *e;
	int rc = 0, error = 0;

	if (d == NULL)
		return -1;
	if (place != QUEUE_DEFERRED)
		return scan_listing(d, base, fn, ctx);
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (parse_due(e->d_name, &base.due) < 0 || base.due > until)
			continue;
		bucket = open_listing(s->place[place], e->d_name);
		/* A file or a link with such a name is nobody's; what cannot
		 * be read does not keep the others. */
		if (bucket != NULL)
			rc = scan_listing(bucket, base, fn, ctx);
		else if (errno != ENOENT && errno != ENOTDIR &&
		    errno != ELOOP)
			error = errno;
	}
	closedir(d);
	if (rc == 0 && error != 0) {
		errno = error;
		rc = -1;
	}
	return rc;
}
