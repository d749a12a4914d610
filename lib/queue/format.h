/*
 * format.h - the queue file, version 1
 *
 * Numbers are little-endian.
 *
 *	0	8	"PosternQ"
 *	8	4	version
 *	12	4	number of extents, 1 to QUEUE_EXTENT_MAX
 *	16	8	queue id
 *	24	8	envelope: offset
 *	32	4	envelope: octets
 *	36	4	0
 *	40	8	content: octets, the sum of the extents
 *	48	8	offset of the delivery log: the end of all above
 *	56	4	C1: CRC-32C of the header, both sums as 0, and envelope
 *	60	4	C2: CRC-32C of queue id, C1 and content, so that parts
 *			of two messages never fit
 *	64	16*n	extents in the order of the content: offset, octets
 *	1024		envelope and extents, in any order without overlap;
 *			then the delivery log (log.h)
 *
 * Three kinds of file have no message: an empty one, one whose first 1024
 * octets are missing or all zero, and one that ends before its own
 * delivery log begins. They are called torn and cost nobody anything: the
 * sync that would have been answered never returned. What is not whole and
 * not torn is damaged.
 */
#ifndef QUEUE_FORMAT_H
#define QUEUE_FORMAT_H
#include "base/str.h"

#define QUEUE_FORMAT_VERSION 1u
#define QUEUE_HEADER_SIZE 1024u
#define QUEUE_EXTENT_MAX 60u

struct queue_extent {
	uint64_t offset, octets;
};

struct queue_header {
	uint64_t id;
	uint64_t envelope_offset;
	uint32_t envelope_octets;
	uint64_t content_octets;
	uint64_t log_offset;
	uint32_t sum1, sum2;
	unsigned extent_count;
	struct queue_extent extents[QUEUE_EXTENT_MAX];
};

void queue_header_encode(const struct queue_header *,
    unsigned char out[QUEUE_HEADER_SIZE]);
/* Checks everything but the sums. -1 with a reason. */
int queue_header_decode(const unsigned char in[QUEUE_HEADER_SIZE],
    struct queue_header *h_r, const char **why_r);
/* C1 over header (its sums are ignored) and envelope. */
uint32_t queue_header_sum(const struct queue_header *, struct str envelope);
/* What C2 starts with: the sum of id and C1. */
uint32_t queue_content_sum_start(uint64_t id, uint32_t sum1);
/* The CRC-32C of two pieces, of which the second has n octets. */
uint32_t queue_sum_combine(uint32_t first, uint32_t second, uint64_t n);
/* The sum of a piece that n octets of value 0 follow. */
uint32_t queue_sum_zeros(uint32_t sum, uint64_t n);
/* The header's 1024 octets are all zero. */
bool queue_header_is_blank(const unsigned char in[QUEUE_HEADER_SIZE]);
#endif
