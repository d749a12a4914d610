/*
 * log.h - the delivery log at the tail of a queue file
 *
 * Written by `qmgr` alone, when a message is deferred, failed or noted;
 * read by `bounce`, `qmgr` after a restart, `mailq`. A record:
 *
 *	0	4	octets of this record, all of it
 *	4	4	CRC-32C of queue id and all that follows
 *	8	4	recipient (index in the envelope), or 0xffffffff
 *	12	4	what (enum queue_log_what)
 *	16	8	when, microseconds since the epoch
 *	24		four strings, each 2 octets of length before it:
 *			enhanced status code, remote host, text, diagnostic
 *
 * Reading ends at the first record that is not right; the next append
 * overwrites it. The last record of a recipient is the one that counts.
 */
#ifndef QUEUE_LOG_H
#define QUEUE_LOG_H
#include "base/arena.h"
#include "base/buf.h"
#include "queue/format.h"

#define QUEUE_LOG_MESSAGE UINT32_MAX	/* recipient: the whole message */
#define QUEUE_LOG_TEXT_MAX 4096u	/* longer texts are cut */
#define QUEUE_LOG_MAX (64u << 20)	/* octets of one file's log */

enum queue_log_what {
	QUEUE_LOG_SENT = 1,	/* delivered here */
	QUEUE_LOG_RELAYED,	/* handed to a host without DSN (RFC 3461) */
	QUEUE_LOG_EXPANDED,	/* became other recipients */
	QUEUE_LOG_DEFERRED,	/* try again */
	QUEUE_LOG_FAILED,	/* never; a notice is due unless NOTIFIED */
	QUEUE_LOG_NOTIFIED,	/* notice of the failure is committed */
	QUEUE_LOG_WARNED,	/* message: notice of delay is committed */
	QUEUE_LOG_EXPIRE,	/* message: an operator wants it expired */
	QUEUE_LOG_WHAT_END
};

struct queue_log_record {
	uint32_t recipient;
	enum queue_log_what what;
	int64_t when;		/* clock_wall() */
	struct str status;	/* "4.4.1" */
	struct str host;	/* remote MTA, empty for none */
	struct str text;	/* no NUL, CR, LF: they become spaces */
	struct str diagnostic;	/* the remote reply (RFC 3464 2.3.6) or "" */
};

/* Appends the encoded record to out. 0, or -1 when out is full. */
int queue_log_encode(uint64_t id, const struct queue_log_record *,
    struct buf *out);
/*
 * Writes records at the end of fd's log, then syncs: on stable storage when
 * 0. end: where queue_log_read() said the log ends; it is moved on.
 */
int queue_log_append(int fd, struct str records, uint64_t *end);
/* Called for each record; strings are valid during the call. Not 0 ends. */
typedef int queue_log_fn(const struct queue_log_record *, void *ctx);
/* 0 with the log's end, -1 with errno. fn may be NULL. */
int queue_log_read(int fd, const struct queue_header *, queue_log_fn *,
    void *ctx, uint64_t *end_r);
/* "sent", "deferred", ... */
const char *queue_log_what_name(enum queue_log_what);
#endif
