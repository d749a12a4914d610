/*
 * format.c - header of a queue file and its sums
 *
 * States of a file, the function that changes them, and what a crash costs
 * (those of a message, which begin where this ends: qmgr/message.c):
 *
 *	(nothing)				OVER (below)
 *	  |  queue_spool_stock(): create,	  |  or rename an old file;
 *	  |  sync the directory once for many.	<-+
 *	  |  Crash: perhaps an empty file, torn, unlinked by recovery; or one
 *	  |  of the two names: the old one is over (`done` says so), the new
 *	  |  one does not fit the id inside: torn.
 *	EMPTY in incoming/, name durable, id never given again
 *	  |  queue_commit(): write, sync. Crash before the sync returned:
 *	  |  nothing was answered. The file is torn (unlinked), damaged (its
 *	  |  header came to the disk and its content did not: corrupt/, for
 *	  |  an operator to throw away) or whole (delivered; the client may
 *	  |  send it again, RFC 1047).
 *	WHOLE: answered; from here the file is the promise
 *	  |  queue_log_append(): records at the tail, then a sync. Crash: a
 *	  |  record is there or not; a half one fails its sum and ends the
 *	  |  log. Header, envelope and content are never written again.
 *	  |  queue_spool_move(): rename. Crash: one of the two names, or
 *	  |  both of them (queue_spool_settle()).
 *	WHOLE in deferred/, hold/ or corrupt/
 *	  +->	OVER in incoming/: queue_spool_retire() makes the header
 *	  |	blank when every recipient's end is durable in `done`, which
 *	  |	forgets them only after the new name is durable. Crash: the
 *	  |	header is there or not; nothing is left to do, as below.
 *	  |  queue_spool_release(): unlink, after every recipient's end is
 *	  |  durable in `done` or in the log. Crash: the name may come back;
 *	  |  `done` or the log then says that nothing is left to do.
 *	(nothing)
 *
 * What fails while it runs: a write or sync of queue_commit() makes the file
 * unusable (its header is made blank, it is released, the client hears 451)
 * and no sync is tried twice, because the kernel may have marked the lost
 * pages clean.
 */
#include <string.h>
#include "base/crc32c.h"
#include "queue/format.h"
#include "queue/envelope.h"
#include "queue/wire.h"

static const char magic[8] = { 'P', 'o', 's', 't', 'e', 'r', 'n', 'Q' };

void queue_header_encode(const struct queue_header *h,
    unsigned char out[QUEUE_HEADER_SIZE])
{
	memset(out, 0, QUEUE_HEADER_SIZE);
	memcpy(out, magic, sizeof(magic));
	put32(out + 8, QUEUE_FORMAT_VERSION);
	put32(out + 12, h->extent_count);
	put64(out + 16, h->id);
	put64(out + 24, h->envelope_offset);
	put32(out + 32, h->envelope_octets);
	put64(out + 40, h->content_octets);
	put64(out + 48, h->log_offset);
	put32(out + 56, h->sum1);
	put32(out + 60, h->sum2);
	for (unsigned i = 0; i < h->extent_count; i++) {
		put64(out + 64 + 16 * i, h->extents[i].offset);
		put64(out + 72 + 16 * i, h->extents[i].octets);
	}
}

/* Within the part that the header speaks for. */
static bool is_inside(uint64_t offset, uint64_t octets, uint64_t end)
{
	return offset >= QUEUE_HEADER_SIZE && offset <= end &&
	    octets <= end - offset;
}

static int refuse(const char **why_r, const char *why)
{
	*why_r = why;
	return -1;
}

static bool meet(const struct queue_extent *a, const struct queue_extent *b)
{
	return a->octets > 0 && b->octets > 0 &&
	    a->offset < b->offset + b->octets &&
	    b->offset < a->offset + a->octets;
}

/* Whether an octet of the file would be in two places of the message. */
static bool overlap(const struct queue_header *h)
{
	struct queue_extent envelope = { h->envelope_offset,
		h->envelope_octets };

	for (unsigned i = 0; i < h->extent_count; i++) {
		if (meet(&envelope, &h->extents[i]))
			return true;
		for (unsigned k = 0; k < i; k++)
			if (meet(&h->extents[k], &h->extents[i]))
				return true;
	}
	return false;
}

int queue_header_decode(const unsigned char in[QUEUE_HEADER_SIZE],
    struct queue_header *h, const char **why_r)
{
	unsigned char same[QUEUE_HEADER_SIZE];
	uint64_t sum = 0;

	memset(h, 0, sizeof(*h));
	if (memcmp(in, magic, sizeof(magic)) != 0)
		return refuse(why_r, "not a queue file");
	if (get32(in + 8) != QUEUE_FORMAT_VERSION)
		return refuse(why_r, "unknown version of the format");
	h->extent_count = get32(in + 12);
	h->id = get64(in + 16);
	h->envelope_offset = get64(in + 24);
	h->envelope_octets = get32(in + 32);
	h->content_octets = get64(in + 40);
	h->log_offset = get64(in + 48);
	h->sum1 = get32(in + 56);
	h->sum2 = get32(in + 60);
	if (h->id == 0)
		return refuse(why_r, "no queue id");
	if (h->extent_count == 0 || h->extent_count > QUEUE_EXTENT_MAX)
		return refuse(why_r, "bad number of extents");
	if (h->log_offset > INT64_MAX - (1 << 30) ||
	    h->envelope_octets > QUEUE_ENVELOPE_MAX ||
	    !is_inside(h->envelope_offset, h->envelope_octets, h->log_offset))
		return refuse(why_r, "envelope outside of the file");
	for (unsigned i = 0; i < h->extent_count; i++) {
		struct queue_extent *e = &h->extents[i];

		e->offset = get64(in + 64 + 16 * i);
		e->octets = get64(in + 72 + 16 * i);
		if (!is_inside(e->offset, e->octets, h->log_offset))
			return refuse(why_r, "content outside of the file");
		sum += e->octets; /* 60 times less than 2^63 may wrap: */
		if (sum > h->content_octets)
			return refuse(why_r, "extents exceed the content");
	}
	if (sum != h->content_octets)
		return refuse(why_r, "extents are not the content");
	if (overlap(h))
		return refuse(why_r, "extents overlap");
	/* The sum is taken over what we understood: nothing else is there. */
	queue_header_encode(h, same);
	if (memcmp(same, in, sizeof(same)) != 0)
		return refuse(why_r, "stray octets in the header");
	return 0;
}

uint32_t queue_header_sum(const struct queue_header *h, struct str envelope)
{
	unsigned char raw[QUEUE_HEADER_SIZE];

	queue_header_encode(h, raw);
	memset(raw + 56, 0, 8);
	return crc32c(crc32c(0, raw, sizeof(raw)), envelope.p, envelope.n);
}

uint32_t queue_content_sum_start(uint64_t id, uint32_t sum1)
{
	unsigned char raw[12];

	put64(raw, id);
	put32(raw + 8, sum1);
	return crc32c(0, raw, sizeof(raw));
}

bool queue_header_is_blank(const unsigned char in[QUEUE_HEADER_SIZE])
{
	static const unsigned char zero[QUEUE_HEADER_SIZE];

	return memcmp(in, zero, sizeof(zero)) == 0;
}

/*
 * Appending n zero octets to a message is linear in its CRC register, hence
 * a 32 by 32 matrix over GF(2); the matrix for 2n is that for n squared.
 */
static uint32_t matrix_times(const uint32_t m[32], uint32_t v)
{
	uint32_t out = 0;

	for (int i = 0; v != 0; i++, v >>= 1)
		if (v & 1)
			out ^= m[i];
	return out;
}

static void matrix_square(uint32_t to[32], const uint32_t m[32])
{
	for (int i = 0; i < 32; i++)
		to[i] = matrix_times(m, m[i]);
}

uint32_t queue_sum_combine(uint32_t first, uint32_t second, uint64_t n)
{
	uint32_t m[32], next[32];

	/* One zero bit: shift, and the reflected polynomial on carry. */
	m[0] = 0x82f63b78u;
	for (int i = 1; i < 32; i++)
		m[i] = 1u << (i - 1);
	for (int i = 0; i < 3; i++) { /* three squarings: 8 bits */
		matrix_square(next, m);
		memcpy(m, next, sizeof(m));
	}
	for (; n != 0; n >>= 1) {
		if (n & 1)
			first = matrix_times(m, first);
		matrix_square(next, m);
		memcpy(m, next, sizeof(m));
	}
	return first ^ second;
}

uint32_t queue_sum_zeros(uint32_t sum, uint64_t n)
{
	/* Octets of value 0 move the register alone, which is the sum's
	 * complement. */
	return ~queue_sum_combine(~sum, 0, n);
}
