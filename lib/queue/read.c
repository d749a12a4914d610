#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/crc32c.h"
#include "base/sys.h"
#include "queue/read.h"

/* One read brings the header and the envelope of a usual message. */
#define FIRST_READ 4096u
#define VERIFY_CHUNK 65536u
/* To pass a hole by arithmetic costs as much as to read so many octets. */
#define HOLE_MIN (256u << 10)

static int bad(const char **why_r, const char *why)
{
	*why_r = why;
	errno = EBADMSG;
	return -1;
}

static int failed(const char **why_r, const char *why)
{
	*why_r = why;
	return -1;
}

/* The envelope's octets: in `first`, or read into *memory_r. */
static int get_envelope(int fd, const struct queue_header *h,
    const unsigned char *first, size_t first_n, struct str *s_r,
    char **memory_r, const char **why_r)
{
	ssize_t k;

	*memory_r = NULL;
	if (h->envelope_offset + h->envelope_octets <= first_n) {
		*s_r = str_n(first + h->envelope_offset, h->envelope_octets);
		return 0;
	}
	*memory_r = malloc(h->envelope_octets + 1);
	if (*memory_r == NULL)
		return failed(why_r, "out of memory");
	k = sys_pread_full(fd, *memory_r, h->envelope_octets,
	    (off_t)h->envelope_offset);
	if (k < 0)
		return failed(why_r, "cannot read the envelope");
	if (k != (ssize_t)h->envelope_octets)
		return bad(why_r, "the file ends in its envelope");
	*s_r = str_n(*memory_r, h->envelope_octets);
	return 0;
}

static int check_envelope(struct queue_reader *r, struct str raw,
    struct arena *arena, const char **why_r)
{
	struct str copy;

	if (queue_header_sum(&r->header, raw) != r->header.sum1)
		return bad(why_r, "wrong checksum of header and envelope");
	if (arena == NULL)
		return 0;
	copy = arena_str(arena, raw);
	if (copy.p == NULL) {
		errno = ENOMEM;
		return failed(why_r, "out of memory");
	}
	if (queue_envelope_decode(copy, arena, &r->envelope, why_r) < 0) {
		errno = arena_failed(arena) ? ENOMEM : EBADMSG;
		return -1;
	}
	if (r->envelope.size != r->header.content_octets)
		return bad(why_r, "envelope and header differ in size");
	return 0;
}

static int open_reader(struct queue_reader *r, int fd, uint64_t id,
    struct arena *arena, const char **why_r)
{
	unsigned char first[FIRST_READ];
	ssize_t n = sys_pread_full(fd, first, sizeof(first), 0);
	struct stat st;
	struct str raw;
	char *memory;
	int rc;

	*r = (struct queue_reader){ .fd = fd };
	if (n < 0 || fstat(fd, &st) < 0)
		return failed(why_r, "cannot read the file");
	if (n < (ssize_t)QUEUE_HEADER_SIZE)
		return bad(why_r, "shorter than a header");
	if (queue_header_decode(first, &r->header, why_r) < 0)
		return bad(why_r, *why_r);
	if (id != 0 && r->header.id != id)
		return bad(why_r, "the file has another queue id");
	if ((uint64_t)st.st_size < r->header.log_offset)
		return bad(why_r, "the file ends before its log");
	rc = get_envelope(fd, &r->header, first, (size_t)n, &raw, &memory,
	    why_r);
	if (rc == 0)
		rc = check_envelope(r, raw, arena, why_r);
	free(memory);
	if (rc == 0)
		queue_reader_rewind(r);
	return rc;
}

int queue_reader_open(struct queue_reader *r, int fd, uint64_t id,
    struct arena *arena, const char **why_r)
{
	return open_reader(r, fd, id, arena, why_r);
}

int queue_reader_open_header(struct queue_reader *r, int fd, uint64_t id,
    const char **why_r)
{
	return open_reader(r, fd, id, NULL, why_r);
}

void queue_reader_rewind(struct queue_reader *r)
{
	r->at = 0;
	r->crc = queue_content_sum_start(r->header.id, r->header.sum1);
}

ssize_t queue_reader_pread(const struct queue_reader *r, void *to, size_t n,
    uint64_t at)
{
	const struct queue_header *h = &r->header;
	char *p = to;
	size_t done = 0;

	for (unsigned i = 0; i < h->extent_count && done < n; i++) {
		const struct queue_extent *e = &h->extents[i];
		uint64_t left;
		size_t want;
		ssize_t k;

		if (at >= e->octets) {
			at -= e->octets;
			continue;
		}
		left = e->octets - at;
		want = left < n - done ? (size_t)left : n - done;
		k = sys_pread_full(r->fd, p + done, want,
		    (off_t)(e->offset + at));
		if (k < 0)
			return -1;
		if ((size_t)k != want) { /* somebody cut the file */
			errno = EBADMSG;
			return -1;
		}
		done += want;
		at = 0;
	}
	return (ssize_t)done;
}

ssize_t queue_reader_read(struct queue_reader *r, void *p, size_t n)
{
	ssize_t k = queue_reader_pread(r, p, n, r->at);

	if (k > 0) {
		r->crc = crc32c(r->crc, p, (size_t)k);
		r->at += (uint64_t)k;
	} else if (k == 0 && n > 0 && r->crc != r->header.sum2) {
		errno = EBADMSG;
		return -1;
	}
	return k;
}

/* Octets of nothing in the file from `at` to at most `end`. */
static uint64_t hole_at(int fd, uint64_t at, uint64_t end)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);

	if (data < 0 && errno == ENXIO) /* none up to the end of the file */
		data = lseek(fd, 0, SEEK_END);
	if (data < 0 || (uint64_t)data < at)
		return 0;
	return ((uint64_t)data < end ? (uint64_t)data : end) - at;
}

/*
 * The sum over one extent. Holes are not read: a file can be any size and
 * occupy nothing, and whoever judges it must not need for it longer than it
 * took to write.
 */
static int sum_extent(struct queue_reader *r, const struct queue_extent *e,
    char *chunk)
{
	uint64_t at = e->offset, end = at + e->octets;

	while (at < end) {
		uint64_t n = end - at;
		uint64_t hole = n < HOLE_MIN ? 0 : hole_at(r->fd, at, end);
		ssize_t k;

		if (hole >= HOLE_MIN) {
			r->crc = queue_sum_zeros(r->crc, hole);
			at += hole;
			continue;
		}
		if (n > VERIFY_CHUNK)
			n = VERIFY_CHUNK;
		k = sys_pread_full(r->fd, chunk, (size_t)n, (off_t)at);
		if (k < 0)
			return -1;
		if ((uint64_t)k != n) { /* somebody cut the file */
			errno = EBADMSG;
			return -1;
		}
		r->crc = crc32c(r->crc, chunk, (size_t)k);
		at += n;
	}
	return 0;
}

int queue_reader_verify(struct queue_reader *r)
{
	char *chunk = malloc(VERIFY_CHUNK);
	int rc = 0;

	if (chunk == NULL)
		return -1;
	queue_reader_rewind(r);
	for (unsigned i = 0; i < r->header.extent_count && rc == 0; i++)
		rc = sum_extent(r, &r->header.extents[i], chunk);
	if (rc == 0 && r->crc != r->header.sum2) {
		errno = EBADMSG;
		rc = -1;
	}
	free(chunk);
	queue_reader_rewind(r);
	return rc;
}
