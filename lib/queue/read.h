/*
 * read.h - a queue file as its readers see it: agents, bounce, qmgr, postcat
 *
 * The descriptor may be shared with others, so that nothing here moves its
 * offset.
 */
#ifndef QUEUE_READ_H
#define QUEUE_READ_H
#include "queue/envelope.h"
#include "queue/format.h"

struct queue_reader {
	int fd;			/* borrowed */
	struct queue_header header;
	struct queue_envelope envelope;	/* strings live in the arena */
	uint64_t at;		/* content octets read so far */
	uint32_t crc;		/* of them */
};

/*
 * Reads and verifies header and envelope. id: what it must be, 0 for any.
 * The arena holds the envelope's strings. 0, or -1: errno EBADMSG for what
 * no message is, ENOMEM, EIO; why_r says it in words.
 */
int queue_reader_open(struct queue_reader *, int fd, uint64_t id,
    struct arena *, const char **why_r);
/* As above, but only the header (and its checksum, with the envelope's). */
int queue_reader_open_header(struct queue_reader *, int fd, uint64_t id,
    const char **why_r);
/*
 * The next octets of content, in order; 0 at the end, and only when the
 * content's checksum is right: -1 with EBADMSG otherwise, then nothing of
 * what was read may count as the message.
 */
ssize_t queue_reader_read(struct queue_reader *, void *p, size_t n);
/* Starts again at the first octet. */
void queue_reader_rewind(struct queue_reader *);
/* Content from an offset, not verified. Less than n only at the end. */
ssize_t queue_reader_pread(const struct queue_reader *, void *p, size_t n,
    uint64_t at);
/*
 * Reads all of it once for its checksum (and leaves the reader at the
 * start). 0 or -1. What it costs grows with what the file occupies, not with
 * its size: holes are counted. It alone moves the descriptor's offset.
 */
int queue_reader_verify(struct queue_reader *);
#endif
