#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/crc32c.h"
#include "base/sys.h"
#include "queue/commit.h"
#include "queue/format.h"
#include "queue/spool.h"

#define STREAM_CHUNK 65536u
#define EDIT_COPY 16384u

/* A part of the content as it lies in a streamed file. */
struct part {
	uint64_t offset, octets;
	uint32_t sum;
};

struct queue_commit {
	int fd;
	uint64_t id, limit, size;
	/*
	 * In memory: all of the content. Streamed: what was appended after
	 * the last write; it belongs at `end`, and to the part at its end
	 * once it is written.
	 */
	struct buf memory;
	bool streamed, finished;
	int failed;		/* errno that every later call repeats */
	uint64_t end;		/* streamed: where the file ends */
	struct part parts[QUEUE_EXTENT_MAX];
	unsigned part_count;
	struct buf envelope;
};

int queue_commit_begin(struct queue_commit **c_r, int fd, uint64_t id,
    uint64_t limit)
{
	struct queue_commit *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -1;
	c->fd = fd;
	c->id = id;
	c->limit = limit;
	buf_init(&c->memory, STREAM_CHUNK + 1);
	buf_init(&c->envelope, QUEUE_ENVELOPE_MAX);
	*c_r = c;
	return 0;
}

void queue_commit_end(struct queue_commit **c)
{
	if (*c == NULL)
		return;
	buf_fini(&(*c)->memory);
	buf_fini(&(*c)->envelope);
	free(*c);
	*c = NULL;
}

uint64_t queue_commit_size(const struct queue_commit *c)
{
	return c->size;
}

static int fail(struct queue_commit *c, int err)
{
	c->failed = err;
	errno = err;
	return -1;
}

/* Writes octets at the end of a streamed file as (part of) the last part. */
static int write_part(struct queue_commit *c, struct str s, bool extend)
{
	struct part *p;

	if (s.n == 0)
		return 0;
	if (sys_pwrite_all(c->fd, s.p, s.n, (off_t)c->end) < 0)
		return fail(c, errno);
	p = c->part_count > 0 ? &c->parts[c->part_count - 1] : NULL;
	if (!extend || p == NULL || p->offset + p->octets != c->end) {
		if (c->part_count == QUEUE_EXTENT_MAX)
			return fail(c, E2BIG);
		p = &c->parts[c->part_count++];
		*p = (struct part){ .offset = c->end };
	}
	p->sum = crc32c(p->sum, s.p, s.n);
	p->octets += s.n;
	c->end += s.n;
	return 0;
}

/* From here the content goes to the file as it comes. */
static int flush_memory(struct queue_commit *c)
{
	if (!c->streamed) {
		c->streamed = true;
		c->end = QUEUE_HEADER_SIZE;
	}
	if (write_part(c, buf_str(&c->memory), true) < 0)
		return -1;
	buf_reset(&c->memory);
	return 0;
}

int queue_commit_append(struct queue_commit *c, struct str s)
{
	if (c->failed != 0 || c->finished)
		return fail(c, c->failed ? c->failed : EINVAL);
	if (s.n > c->limit - c->size || c->size > c->limit)
		return fail(c, EFBIG);
	if (c->memory.n + s.n > STREAM_CHUNK && flush_memory(c) < 0)
		return -1;
	c->size += s.n;
	if (c->streamed && s.n >= STREAM_CHUNK)
		return write_part(c, s, true);
	if (buf_append(&c->memory, s) < 0)
		return fail(c, ENOMEM);
	return 0;
}

static int splice_memory(struct queue_commit *c, size_t at, size_t cut,
    struct str in)
{
	struct buf *b = &c->memory;
	size_t tail = b->n - at - cut;

	if (in.n > cut && buf_reserve(b, in.n - cut) == NULL)
		return fail(c, ENOMEM);
	if (b->p == NULL)
		return 0; /* nothing there and nothing put in */
	memmove(b->p + at + in.n, b->p + at + cut, tail);
	if (in.n > 0)
		memcpy(b->p + at, in.p, in.n);
	if (in.n > cut)
		buf_added(b, in.n - cut);
	else
		buf_truncate(b, at + in.n + tail);
	return 0;
}

/* The sum of a piece of the file, read back. */
static int sum_of(struct queue_commit *c, struct part *p)
{
	char chunk[EDIT_COPY];
	uint64_t done = 0;

	p->sum = 0;
	while (done < p->octets) {
		size_t n = p->octets - done < sizeof(chunk)
		    ? (size_t)(p->octets - done) : sizeof(chunk);
		ssize_t k = sys_pread_full(c->fd, chunk, n,
		    (off_t)(p->offset + done));

		if (k != (ssize_t)n)
			return fail(c, k < 0 ? errno : EIO);
		p->sum = crc32c(p->sum, chunk, n);
		done += n;
	}
	return 0;
}

/* Makes content offset `at` a border of two parts; *index_r is the second. */
static int split_at(struct queue_commit *c, uint64_t at, unsigned *index_r)
{
	unsigned i = 0;
	struct part *p;

	while (i < c->part_count && at >= c->parts[i].octets)
		at -= c->parts[i++].octets;
	*index_r = i;
	if (at == 0)
		return 0;
	if (c->part_count == QUEUE_EXTENT_MAX)
		return fail(c, E2BIG);
	p = &c->parts[i];
	memmove(p + 1, p, (c->part_count - i) * sizeof(*p));
	c->part_count++;
	p[1].offset += at;
	p[1].octets -= at;
	p[0].octets = at;
	*index_r = i + 1;
	return sum_of(c, &p[0]) < 0 || sum_of(c, &p[1]) < 0 ? -1 : 0;
}

static int splice_file(struct queue_commit *c, uint64_t at, uint64_t cut,
    struct str in)
{
	unsigned from, to;
	struct part last;

	if (flush_memory(c) < 0 || split_at(c, at, &from) < 0 ||
	    split_at(c, at + cut, &to) < 0)
		return -1;
	memmove(&c->parts[from], &c->parts[to],
	    (c->part_count - to) * sizeof(c->parts[0]));
	c->part_count -= to - from;
	if (in.n == 0)
		return 0;
	if (write_part(c, in, false) < 0)
		return -1;
	last = c->parts[c->part_count - 1];
	memmove(&c->parts[from + 1], &c->parts[from],
	    (c->part_count - 1 - from) * sizeof(last));
	c->parts[from] = last;
	return 0;
}

int queue_commit_splice(struct queue_commit *c, uint64_t at, uint64_t cut,
    struct str in)
{
	int rc;

	if (c->failed != 0 || c->finished)
		return fail(c, c->failed ? c->failed : EINVAL);
	if (at > c->size || cut > c->size - at) {
		errno = EINVAL;
		return -1;
	}
	if (c->size - cut > c->limit || in.n > c->limit - (c->size - cut))
		return fail(c, EFBIG);
	if (!c->streamed && c->size - cut + in.n <= STREAM_CHUNK)
		rc = splice_memory(c, (size_t)at, (size_t)cut, in);
	else
		rc = splice_file(c, at, cut, in);
	if (rc == 0)
		c->size = c->size - cut + in.n;
	return rc;
}

ssize_t queue_commit_pread(struct queue_commit *c, void *to, size_t n,
    uint64_t at)
{
	char *p = to;
	size_t done = 0;

	if (!c->streamed) {
		struct str s = at < c->size
		    ? str_sub(buf_str(&c->memory), (size_t)at, n) : STR_NONE;

		if (s.n > 0)
			memcpy(p, s.p, s.n);
		return (ssize_t)s.n;
	}
	if (c->failed != 0 || flush_memory(c) < 0)
		return fail(c, c->failed ? c->failed : errno);
	for (unsigned i = 0; i < c->part_count && done < n; i++) {
		struct part *e = &c->parts[i];
		uint64_t left;
		size_t k;

		if (at >= e->octets) {
			at -= e->octets;
			continue;
		}
		left = e->octets - at;
		k = left < n - done ? (size_t)left : n - done;
		if (sys_pread_full(c->fd, p + done, k,
		    (off_t)(e->offset + at)) != (ssize_t)k)
			return fail(c, EIO);
		done += k;
		at = 0;
	}
	return (ssize_t)done;
}

/* Header, envelope and content in one write, in order. */
static int write_whole(struct queue_commit *c, struct queue_header *h)
{
	static const char zeros[QUEUE_SPARE_OCTETS];
	unsigned char raw[QUEUE_HEADER_SIZE];
	size_t n = sizeof(raw) + c->envelope.n + c->memory.n;
	struct iovec iov[4] = {
		{ raw, sizeof(raw) },
		{ c->envelope.p, c->envelope.n },
		{ c->memory.p, c->memory.n },
		/* All of a file of a spare's size is written each time: the
		 * size stays, and nothing of the message before is left. */
		{ (char *)(uintptr_t)zeros, n < QUEUE_SPARE_OCTETS
		    ? QUEUE_SPARE_OCTETS - n : 0 },
	};

	h->envelope_offset = QUEUE_HEADER_SIZE;
	h->extent_count = 1;
	h->extents[0].offset = h->envelope_offset + c->envelope.n;
	h->extents[0].octets = c->memory.n;
	h->log_offset = h->extents[0].offset + c->memory.n;
	h->sum1 = queue_header_sum(h, buf_str(&c->envelope));
	h->sum2 = crc32c(queue_content_sum_start(c->id, h->sum1),
	    c->memory.p, c->memory.n);
	queue_header_encode(h, raw);
	return sys_writev_all(c->fd, iov, 4);
}

/* The envelope after the content, and the header last. */
static int write_rest(struct queue_commit *c, struct queue_header *h)
{
	unsigned char raw[QUEUE_HEADER_SIZE];

	if (flush_memory(c) < 0)
		return -1;
	h->envelope_offset = c->end;
	h->log_offset = c->end + c->envelope.n;
	h->extent_count = c->part_count;
	for (unsigned i = 0; i < c->part_count; i++)
		h->extents[i] = (struct queue_extent){
			c->parts[i].offset, c->parts[i].octets };
	if (h->extent_count == 0) {
		h->extent_count = 1;
		h->extents[0].offset = QUEUE_HEADER_SIZE;
	}
	h->sum1 = queue_header_sum(h, buf_str(&c->envelope));
	h->sum2 = queue_content_sum_start(c->id, h->sum1);
	for (unsigned i = 0; i < c->part_count; i++)
		h->sum2 = queue_sum_combine(h->sum2, c->parts[i].sum,
		    c->parts[i].octets);
	queue_header_encode(h, raw);
	if (sys_pwrite_all(c->fd, c->envelope.p, c->envelope.n,
	    (off_t)h->envelope_offset) < 0)
		return -1;
	return sys_pwrite_all(c->fd, raw, sizeof(raw), 0);
}

/*
 * Of a file that was written whole and whose sync failed: whoever reads it
 * finds no message, which was refused. (A power cut may yet find one, as after
 * a sync that never returned.)
 */
static int take_back(struct queue_commit *c, int error)
{
	static const unsigned char blank[QUEUE_HEADER_SIZE];

	/* Where not even that can be written, it is found and may come twice. */
	sys_pwrite_all(c->fd, blank, sizeof(blank), 0);
	return fail(c, error);
}

int queue_commit(struct queue_commit *c, struct queue_envelope *e,
    const char **why_r)
{
	struct queue_header h = { .id = c->id };
	struct stat st;

	*why_r = "the message could not be stored";
	if (c->failed != 0 || c->finished)
		return fail(c, c->failed ? c->failed : EINVAL);
	c->finished = true;
	e->size = c->size;
	if (queue_envelope_encode(e, &c->envelope, why_r) < 0)
		return fail(c, EINVAL);
	h.envelope_octets = (uint32_t)c->envelope.n;
	h.content_octets = c->size;
	if ((c->streamed ? write_rest(c, &h) : write_whole(c, &h)) < 0)
		return fail(c, errno);
	/* The octets and what it takes to find them; in a file that was
	 * written before that is no metadata at all. */
	if (sys_fdatasync_sure(c->fd) < 0)
		return take_back(c, errno);
	/*
	 * Where leases do not work, qmgr may have unlinked a file that it
	 * took for abandoned. Without a name there is no promise.
	 */
	if (fstat(c->fd, &st) < 0 || st.st_nlink == 0) {
		*why_r = "the queue file was taken away";
		return fail(c, ENOENT);
	}
	return 0;
}

struct str queue_commit_envelope(const struct queue_commit *c)
{
	return buf_str(&c->envelope);
}
