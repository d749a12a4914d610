#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/crc32c.h"
#include "base/sys.h"
#include "queue/done.h"
#include "queue/wire.h"

#define FILE_NAME "done"
#define NEW_FILE "done.new"
#define RECORD 32u
/* Octets that go to the disk at a time when many do. */
#define CHUNK 65536u
/* Of a log that had to grow. */
#define AREA_MAX ((size_t)1 << 30)

struct record {
	uint64_t id;
	uint32_t recipient, what;
	int64_t when;
};

/* Of this id the live records before that number may go; later ones were
 * made when it was in work again. */
struct forgotten {
	uint64_t id;
	size_t before;
};

struct queue_done {
	int dir;		/* the spool's */
	int fd;
	size_t area;		/* octets of one area */
	uint32_t generation;
	unsigned current;	/* area */
	size_t at;		/* octets written in the current area */
	struct record *live;	/* of messages that were not forgotten */
	size_t live_count, live_room;
	struct forgotten *forgotten;
	size_t forgotten_count, forgotten_room;
	struct buf pending;	/* encoded, not written */
	bool broken;
};

static void encode(const struct record *r, uint32_t generation,
    unsigned char out[RECORD])
{
	put32(out + 4, generation);
	put64(out + 8, r->id);
	put32(out + 16, r->recipient);
	put32(out + 20, r->what);
	put64(out + 24, (uint64_t)r->when);
	put32(out, crc32c(0, out + 4, RECORD - 4));
}

/* Generation 0 is never written: an area of zeros has no record. */
static int decode(const unsigned char in[RECORD], struct record *r,
    uint32_t *generation_r)
{
	*generation_r = get32(in + 4);
	if (*generation_r == 0 || get32(in) != crc32c(0, in + 4, RECORD - 4))
		return -1;
	r->id = get64(in + 8);
	r->recipient = get32(in + 16);
	r->what = get32(in + 20);
	r->when = (int64_t)get64(in + 24);
	return 0;
}

static int keep(struct queue_done *d, const struct record *r)
{
	if (d->live_count == d->live_room) {
		size_t room = d->live_room ? 2 * d->live_room : 256;
		struct record *more = realloc(d->live, room * sizeof(*more));

		if (more == NULL)
			return -1;
		d->live = more;
		d->live_room = room;
	}
	d->live[d->live_count++] = *r;
	return 0;
}

static off_t area_offset(const struct queue_done *d, unsigned area)
{
	return (off_t)(area * d->area);
}

/* The generation that an area's first record tells, 0 for none. */
static uint32_t area_generation(const struct queue_done *d, unsigned area)
{
	unsigned char raw[RECORD];
	uint32_t generation;
	struct record r;

	if (sys_pread_full(d->fd, raw, RECORD, area_offset(d, area)) != RECORD
	    || decode(raw, &r, &generation) < 0 || r.id != 0)
		return 0;
	return generation;
}

static int start_area(struct queue_done *d, unsigned area, uint32_t generation)
{
	struct record r = { 0 };
	unsigned char raw[RECORD];

	encode(&r, generation, raw);
	if (sys_pwrite_all(d->fd, raw, RECORD, area_offset(d, area)) < 0 ||
	    sys_fdatasync(d->fd) < 0)
		return -1;
	d->current = area;
	d->generation = generation;
	return 0;
}

/* Zeros from `at` to the end of both areas, so that no later write
 * allocates. */
static int fill(int fd, size_t at, size_t end)
{
	char *zero = calloc(1, CHUNK);
	int rc = zero == NULL ? -1 : 0;

	for (; rc == 0 && at < end; at += CHUNK)
		rc = sys_pwrite_all(fd, zero, end - at < CHUNK ? end - at :
		    CHUNK, (off_t)at);
	free(zero);
	return rc;
}

static int make_areas(struct queue_done *d)
{
	if (fill(d->fd, 0, 2 * d->area) < 0 || sys_fsync(d->fd) < 0 ||
	    sys_fsync(d->dir) < 0)
		return -1;
	d->at = RECORD;
	return start_area(d, 0, 1);
}

static int load(struct queue_done *d)
{
	uint32_t a = area_generation(d, 0), b = area_generation(d, 1);
	unsigned char raw[RECORD];
	uint32_t generation;
	struct record r;

	d->current = b > a;
	d->generation = d->current ? b : a;
	if (d->generation == 0) /* the making was cut short */
		return 1;
	for (d->at = RECORD; d->at + RECORD <= d->area; d->at += RECORD) {
		ssize_t n = sys_pread_full(d->fd, raw, RECORD,
		    area_offset(d, d->current) + (off_t)d->at);

		if (n < 0)
			return -1;
		if (n != RECORD || decode(raw, &r, &generation) < 0 ||
		    generation != d->generation || r.id == 0)
			break;
		if (keep(d, &r) < 0)
			return -1;
	}
	return 0;
}

/* The file, with what was recorded in it. */
static int open_file(struct queue_done *d)
{
	size_t asked = d->area;
	struct stat st;
	int rc = 1;

	/* What a crash left of a log that was growing. */
	if (sys_unlinkat(d->dir, NEW_FILE) < 0 && errno != ENOENT)
		return -1;
	d->fd = sys_openat(d->dir, FILE_NAME, O_RDWR | O_CREAT | O_NOFOLLOW,
	    0600);
	if (d->fd < 0 || fstat(d->fd, &st) < 0)
		return -1;
	/* An area's size is the file's, once it is made. */
	if ((size_t)st.st_size >= 4 * RECORD &&
	    (size_t)st.st_size % (2 * RECORD) == 0) {
		d->area = (size_t)st.st_size / 2;
		rc = load(d);
	}
	if (rc != 1)
		return rc;
	d->area = asked;
	return make_areas(d);
}

struct queue_done *queue_done_open(int spool_dir, size_t area)
{
	struct queue_done *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->area = area / RECORD * RECORD;
	d->fd = -1;
	buf_init(&d->pending, 16u << 20);
	d->dir = fcntl(spool_dir, F_DUPFD_CLOEXEC, 3);
	if (d->dir < 0 || open_file(d) < 0)
		queue_done_close(&d);
	return d;
}

void queue_done_close(struct queue_done **dp)
{
	struct queue_done *d = *dp;
	int err = errno;

	if (d == NULL)
		return;
	if (d->fd >= 0)
		sys_close(d->fd);
	if (d->dir >= 0)
		sys_close(d->dir);
	free(d->forgotten);
	buf_fini(&d->pending);
	free(d->live);
	free(d);
	*dp = NULL;
	errno = err;
}

int queue_done_read(const struct queue_done *d, queue_done_fn *fn, void *ctx)
{
	for (size_t i = 0; i < d->live_count; i++) {
		const struct record *r = &d->live[i];

		fn(r->id, r->recipient, (enum queue_log_what)r->what, r->when,
		    ctx);
	}
	return 0;
}

int queue_done_add(struct queue_done *d, uint64_t id, uint32_t recipient,
    enum queue_log_what what, int64_t when)
{
	struct record r = { id, recipient, (uint32_t)what, when };
	unsigned char raw[RECORD];

	if (keep(d, &r) < 0)
		return -1;
	encode(&r, d->generation, raw);
	return buf_append_n(&d->pending, raw, RECORD);
}

void queue_done_forget(struct queue_done *d, uint64_t id)
{
	if (d->forgotten_count == d->forgotten_room) {
		size_t room = d->forgotten_room ? 2 * d->forgotten_room : 256;
		struct forgotten *more = realloc(d->forgotten,
		    room * sizeof(*more));

		if (more == NULL)
			return; /* its records are carried on; no harm */
		d->forgotten = more;
		d->forgotten_room = room;
	}
	d->forgotten[d->forgotten_count++] =
	    (struct forgotten){ id, d->live_count };
}

static int compare_forgotten(const void *a, const void *b)
{
	const struct forgotten *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->before > y->before ? -1 : x->before < y->before;
}

/* Sorted, and of each id only the entry that reaches furthest. */
static void sort_forgotten(struct queue_done *d)
{
	size_t n = 0;

	qsort(d->forgotten, d->forgotten_count, sizeof(*d->forgotten),
	    compare_forgotten);
	for (size_t i = 0; i < d->forgotten_count; i++)
		if (n == 0 || d->forgotten[i].id != d->forgotten[n - 1].id)
			d->forgotten[n++] = d->forgotten[i];
	d->forgotten_count = n;
}

static int compare_id(const void *key, const void *entry)
{
	uint64_t id = *(const uint64_t *)key;
	uint64_t other = ((const struct forgotten *)entry)->id;

	return id < other ? -1 : id > other;
}

/* Takes what belongs to forgotten messages out of the live records. */
static void drop_forgotten(struct queue_done *d)
{
	size_t n = 0;

	if (d->forgotten_count == 0)
		return;
	sort_forgotten(d);
	for (size_t i = 0; i < d->live_count; i++) {
		const struct forgotten *f = bsearch(&d->live[i].id,
		    d->forgotten, d->forgotten_count, sizeof(*f),
		    compare_id);

		if (f == NULL || i >= f->before)
			d->live[n++] = d->live[i];
	}
	d->live_count = n;
	d->forgotten_count = 0;
}

/* All live records (the pending ones are among them) from `at` on. */
static int write_live(const struct queue_done *d, int fd, off_t at,
    uint32_t generation)
{
	unsigned char *chunk = malloc(CHUNK);
	size_t i = 0;
	int rc = chunk == NULL ? -1 : 0;

	while (rc == 0 && i < d->live_count) {
		size_t n = 0;

		for (; n < CHUNK && i < d->live_count; n += RECORD)
			encode(&d->live[i++], generation, chunk + n);
		rc = sys_pwrite_all(fd, chunk, n, at);
		at += (off_t)n;
	}
	free(chunk);
	return rc;
}

/*
 * The live records go to the other area behind the place of its first
 * record, which is written when they are durable. A crash before that leaves
 * the old area, in which everything synced still stands.
 */
static int use_other_area(struct queue_done *d, uint32_t generation)
{
	unsigned other = !d->current;

	if (write_live(d, d->fd, area_offset(d, other) + RECORD, generation) <
	    0 || sys_fdatasync(d->fd) < 0)
		return -1;
	return start_area(d, other, generation);
}

/*
 * So many recipients of messages that are not over yet (much mail to many
 * at once) that half an area does not hold them: a file with larger areas
 * takes the place of this one, whole, when it is durable. A crash leaves
 * this or that, and everything synced is in both.
 */
static int grow(struct queue_done *d, size_t area, uint32_t generation)
{
	struct queue_done larger = *d;
	struct record first = { 0 };
	unsigned char raw[RECORD];
	int fd = sys_openat(d->dir, NEW_FILE,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -1;
	larger.fd = fd;
	larger.area = area;
	larger.current = 0;
	larger.generation = generation;
	encode(&first, generation, raw);
	if (sys_pwrite_all(fd, raw, RECORD, 0) < 0 ||
	    write_live(d, fd, RECORD, generation) < 0 ||
	    fill(fd, (d->live_count + 1) * RECORD, 2 * area) < 0 ||
	    sys_fsync(fd) < 0 ||
	    sys_renameat(d->dir, NEW_FILE, d->dir, FILE_NAME) < 0 ||
	    sys_fsync(d->dir) < 0) {
		int err = errno;

		sys_close(fd);
		errno = err;
		return -1;
	}
	sys_close(d->fd);
	*d = larger;
	return 0;
}

static int switch_area(struct queue_done *d, int (*settle)(void *), void *ctx)
{
	uint32_t generation = d->generation + 1;
	size_t area = d->area;
	int rc;

	if ((settle != NULL && settle(ctx) < 0))
		return -1;
	drop_forgotten(d);
	while ((d->live_count + 1) * RECORD > area / 2)
		area *= 2;
	if (area > AREA_MAX && area > d->area) {
		errno = ENOSPC;
		return -1;
	}
	rc = area > d->area ? grow(d, area, generation) :
	    use_other_area(d, generation);
	if (rc < 0)
		return -1;
	d->at = (d->live_count + 1) * RECORD;
	buf_reset(&d->pending);
	return 0;
}

int queue_done_sync(struct queue_done *d, int (*settle)(void *), void *ctx)
{
	int rc = -1;

	if (d->broken) {
		errno = EIO;
		return -1;
	}
	if (d->pending.n == 0)
		return 0;
	if (d->at + d->pending.n > d->area) {
		rc = switch_area(d, settle, ctx);
	} else if (sys_pwrite_all(d->fd, d->pending.p, d->pending.n,
	    area_offset(d, d->current) + (off_t)d->at) == 0 &&
	    sys_fdatasync(d->fd) == 0) {
		d->at += d->pending.n;
		buf_reset(&d->pending);
		rc = 0;
	}
	d->broken = rc < 0;
	return rc;
}
