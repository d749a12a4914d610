/* message.h - the content of a queue file, checked, to be sent */
#ifndef SMTP_MESSAGE_H
#define SMTP_MESSAGE_H
#include "base/buf.h"
#include "queue/read.h"

/* A message up to this size is read whole and verified before a session is
 * used; a larger one is verified while it is sent, before its final dot. */
#define MESSAGE_IN_MEMORY (256 * 1024)

struct message {
	struct queue_reader reader;
	uint64_t size;
	char *content;		/* whole, or NULL: read while sending */
	size_t at;		/* of content */
	bool scanned, has_8bit, header_8bit;
	struct buf recoded;	/* for servers without 8BITMIME */
	bool use_recoded;
};

/* fd is borrowed. id: the queue id it must have. 0, or -1 with why (for the
 * log): the file is damaged (errno EBADMSG) or cannot be read. */
int message_open(struct message *, int fd, struct str id,
    const char **why_r);
void message_fini(struct message *);
void message_rewind(struct message *);
/*
 * From here on the message is in 7 bits (recode.h), or as it is.
 * 0; -1 with why: errno EFBIG when it is too large for that, EBADMSG as
 * above, ENOMEM.
 */
int message_as_7bit(struct message *, bool yes, const char **why_r);
/* Octets that message_next() will give. */
uint64_t message_size(const struct message *);
/* The next piece, a view until the next call; buf has `size` octets. 1, 0 at
 * the verified end, -1: damaged or unreadable, so nothing of it may count. */
int message_next(struct message *, char *buf, size_t size,
    struct str *piece_r);
/* Looks once whether it has octets above 127, and where; 0 or -1 as above.
 * Leaves it at its start. */
int message_scan(struct message *);
#endif
