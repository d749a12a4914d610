/*
 * stream.h - a connection as lines and octets, with a deadline on everything
 *
 * One thread uses a stream at a time; calls block. Output is collected and
 * goes out in one write when the stream is about to wait for input, when
 * stream_flush() is called, or when STREAM_OUT_FULL octets have come
 * together, so the answers to pipelined commands share a write. A failed write
 * is remembered: every later call reports it.
 *
 * Memory: an input buffer of STREAM_IN_SMALL octets from the first read on,
 * up to STREAM_IN_BIG while content is read; an output buffer only while
 * there is output. Large buffers are given back before waiting for a line,
 * everything by stream_release().
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H
#include <stdint.h>
#include "base/clock.h"
#include "base/str.h"

#define STREAM_IN_SMALL 4096
#define STREAM_IN_BIG 65536
#define STREAM_OUT_FULL 32768

struct stream;

enum stream_result {
	STREAM_OK,
	STREAM_TOO_LONG,	/* the line: cut, and its rest was swallowed */
	STREAM_FLOOD,		/* more to swallow than may be: close now */
	STREAM_EOF,		/* the peer closed (TLS: also without notify) */
	STREAM_TIMEOUT,
	STREAM_ERROR		/* stream_why() tells */
};

/*
 * What carries the octets. The plain descriptor is built in; TLS is another
 * (net/tls.h). read and write wait until `deadline` (clock_now() value):
 * read: octets read (at most n), 0 at the end, -1 with errno (ETIMEDOUT past
 * the deadline). write: everything or -1. pending: octets that read would
 * give without asking the network. free: also ends the layer (no close).
 */
struct stream_transport {
	ssize_t (*read)(void *ctx, void *p, size_t n, int64_t deadline);
	int (*write)(void *ctx, const void *p, size_t n, int64_t deadline);
	size_t (*pending)(void *ctx);
	const char *(*why)(void *ctx);	/* of the last failure, or NULL */
	void (*free)(void *ctx);
	void (*finish)(void *ctx);	/* tells that nothing more is said;
					 * or NULL */
};

/* Takes the descriptor: a stream socket, a pipe or a terminal; blocking or
 * not. NULL: no memory, and the descriptor stays the caller's. */
struct stream *stream_new(int fd);
/* Two descriptors (standard input and output); may be equal. */
struct stream *stream_new_pair(int in, int out);
/* Tries to write what is pending (within 1 s), closes. *s may be NULL. */
void stream_free(struct stream **);
/*
 * Before stream_free(), where we end a conversation in which the other side
 * may still be speaking: a socket that is closed with input unread is reset,
 * and the reset may overtake what we said last. Sends it, ends our direction
 * and drops what still comes, until the other side ends too; for at most 2 s
 * and 16 MB.
 */
void stream_linger(struct stream *);
/* Frees the stream, keeps the descriptor open and returns it. Pending output
 * is flushed, buffered input is lost: take it before. */
int stream_detach(struct stream **);
int stream_fd(const struct stream *);

/* Longest wait of one read and one write, microseconds; at first 300 s
 * (RFC 5321 4.5.3.2.7). CLOCK_NEVER: none. */
void stream_set_timeout(struct stream *, int64_t read_us, int64_t write_us);
/* No read or write waits past this clock_now() value, however the octets
 * drip: for one command, one handshake. CLOCK_NEVER: none. */
void stream_set_deadline(struct stream *, int64_t deadline);
int64_t stream_deadline(const struct stream *);
/* Octets of one over-long line that are swallowed before STREAM_FLOOD;
 * at first 65536. */
void stream_set_discard_max(struct stream *, size_t octets);

enum stream_line_end { STREAM_END_NONE, STREAM_END_LF, STREAM_END_CRLF };

struct stream_line {
	struct str text;	/* without the end; valid until the next read */
	enum stream_line_end end;
};

/*
 * The one line reader. A line ends with LF; a CR before it belongs to the
 * end. Any other CR, and NUL, stay in the text for the caller to refuse.
 * text has at most max octets (max <= STREAM_IN_BIG - 2); STREAM_TOO_LONG
 * gives the first max octets. STREAM_EOF gives what came without an end
 * (end = STREAM_END_NONE): it is not a command.
 */
enum stream_result stream_read_line(struct stream *, size_t max,
    struct stream_line *line_r);
/* The next octets, at least 1 and at most max, as a view into the input
 * buffer that is valid until the next read. Waits only when it has none. */
enum stream_result stream_read_some(struct stream *, size_t max,
    struct str *piece_r);
/* As stream_read_some() with all that is there, but nothing is taken: the
 * caller takes what it used with stream_take(). */
enum stream_result stream_peek(struct stream *, struct str *piece_r);
void stream_take(struct stream *, size_t n);
/* Exactly n octets to p; large ones without a copy. */
enum stream_result stream_read_full(struct stream *, void *p, size_t n);
/* Reads n octets and forgets them. */
enum stream_result stream_skip(struct stream *, uint64_t n);
/* Octets that were received and not read yet. */
size_t stream_buffered(const struct stream *);
/* Has the client sent something that we have not read (buffered, or waiting
 * in the kernel)? For the checks of RFC 2920 and RFC 3207. */
bool stream_input_pending(struct stream *);
/* Flushes and waits for input without reading it. */
enum stream_result stream_wait_input(struct stream *, int64_t deadline);
/* Puts octets in front of the input (a hand-over's). 0 or -1 (memory). */
int stream_push_input(struct stream *, struct str);

/* 0, or -1 when an earlier or this write failed. */
int stream_write(struct stream *, struct str);
int stream_write_c(struct stream *, const char *);
/* Less than STREAM_OUT_FULL octets. */
int stream_printf(struct stream *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The octets [at, at+n) of a file: sendfile(2) when nothing is in between.
 * A file that ends early is a failure (EIO). */
int stream_write_file(struct stream *, int fd, off_t at, uint64_t n);
enum stream_result stream_flush(struct stream *);

/*
 * Flushes, then puts a transport over this stream (its ctx is freed with the
 * stream). Refused (-1, ctx untouched) when plaintext input is buffered: it
 * came before the handshake and must never be read as if protected
 * (CVE-2011-0411). ctx talks through stream_raw_read() and _write().
 */
int stream_start_tls(struct stream *, const struct stream_transport *,
    void *ctx);
bool stream_is_tls(const struct stream *);
/* The transport's ctx, or NULL when plain. */
void *stream_transport_ctx(const struct stream *);
/* Below the transport: the descriptor with a deadline. As read and write of
 * struct stream_transport. */
ssize_t stream_raw_read(struct stream *, void *p, size_t n, int64_t deadline);
int stream_raw_write(struct stream *, const void *p, size_t n,
    int64_t deadline);

/* Gives memory back as far as buffers are empty (a parked session). */
void stream_release(struct stream *);
/* Why the last call failed, for the log ("connection reset by peer"). Never
 * NULL. */
const char *stream_why(const struct stream *);
/* Octets received and written (above TLS), for the log. */
uint64_t stream_octets_in(const struct stream *);
uint64_t stream_octets_out(const struct stream *);
/* Octets received and read: never what TLS still holds. Not for a stream
 * that something was pushed into. */
uint64_t stream_octets_read(const struct stream *);
#endif
