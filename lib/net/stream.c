#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/stream.h"

#define OUT_FIRST 512
#define OUT_KEEP 2048
/* RFC 5321 4.5.3.2.7: a server waits at least 5 minutes for a command. */
#define DEFAULT_TIMEOUT (300 * CLOCK_SECOND)
#define DISCARD_MAX 65536
/* What stream_free() may wait to get rid of the last answer. */
#define FAREWELL CLOCK_SECOND
#define LINGER (2 * CLOCK_SECOND)
#define LINGER_MAX (16 << 20)

struct stream {
	int in, out;
	bool not_socket;	/* recv(2) and send(2) said so */
	bool eof;
	int64_t rcvtimeo;	/* SO_RCVTIMEO as we set it, 0 if not */
	int64_t sndtimeo;
	int64_t read_us, write_us, deadline;
	size_t discard_max;
	const struct stream_transport *transport;
	void *ctx;
	char *ibuf;
	size_t icap, ipos, iend;
	bool ifull;		/* the last read filled the buffer */
	char *obuf;
	size_t ocap, on;
	enum stream_result failed; /* of an output: stays */
	const char *why;
	uint64_t octets_in, octets_out;
};

struct stream *stream_new_pair(int in, int out)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->in = in;
	s->out = out;
	s->read_us = s->write_us = DEFAULT_TIMEOUT;
	s->deadline = CLOCK_NEVER;
	s->discard_max = DISCARD_MAX;
	s->why = "no error";
	return s;
}

struct stream *stream_new(int fd)
{
	return stream_new_pair(fd, fd);
}

int stream_detach(struct stream **sp)
{
	struct stream *s = *sp;
	int fd = s->in;

	(void)stream_flush(s);
	if (s->transport != NULL)
		s->transport->free(s->ctx);
	free(s->ibuf);
	free(s->obuf);
	free(s);
	*sp = NULL;
	return fd;
}

void stream_free(struct stream **sp)
{
	struct stream *s = *sp;
	int in, out;

	if (s == NULL)
		return;
	in = s->in;
	out = s->out;
	stream_set_timeout(s, FAREWELL, FAREWELL);
	stream_set_deadline(s, clock_now() + FAREWELL);
	stream_detach(sp);
	close(in);
	if (out != in)
		close(out);
}

void stream_linger(struct stream *s)
{
	int64_t deadline = clock_now() + LINGER;
	uint64_t dropped = 0;
	char piece[4096];
	ssize_t n;

	stream_set_timeout(s, LINGER, LINGER);
	stream_set_deadline(s, deadline);
	if (stream_flush(s) != STREAM_OK || s->eof)
		return;
	if (s->transport != NULL && s->transport->finish != NULL)
		s->transport->finish(s->ctx);
	if (shutdown(s->out, SHUT_WR) < 0)
		return;
	while (dropped < LINGER_MAX && (n = stream_raw_read(s, piece,
	    sizeof(piece), deadline)) > 0)
		dropped += (uint64_t)n;
}

int stream_fd(const struct stream *s)
{
	return s->in;
}

void stream_set_timeout(struct stream *s, int64_t read_us, int64_t write_us)
{
	s->read_us = read_us;
	s->write_us = write_us;
}

void stream_set_deadline(struct stream *s, int64_t deadline)
{
	s->deadline = deadline;
}

int64_t stream_deadline(const struct stream *s)
{
	return s->deadline;
}

void stream_set_discard_max(struct stream *s, size_t octets)
{
	s->discard_max = octets;
}

const char *stream_why(const struct stream *s)
{
	return s->why;
}

uint64_t stream_octets_in(const struct stream *s)
{
	return s->octets_in;
}

uint64_t stream_octets_out(const struct stream *s)
{
	return s->octets_out + s->on;
}

uint64_t stream_octets_read(const struct stream *s)
{
	return s->octets_in - (s->iend - s->ipos);
}

bool stream_is_tls(const struct stream *s)
{
	return s->transport != NULL;
}

void *stream_transport_ctx(const struct stream *s)
{
	return s->ctx;
}

/* The earlier of the total deadline and `us` from now. */
static int64_t limit_of(const struct stream *s, int64_t now, int64_t us)
{
	int64_t t = us == CLOCK_NEVER ? CLOCK_NEVER : now + us;

	return t < s->deadline ? t : s->deadline;
}

static enum stream_result fail_with(struct stream *s, int err)
{
	const char *text = NULL;

	if (err == ETIMEDOUT) {
		s->why = "timeout";
		return STREAM_TIMEOUT;
	}
	if (s->transport != NULL)
		text = s->transport->why(s->ctx);
	if (text == NULL)
		text = strerrordesc_np(err);
	s->why = text != NULL ? text : "unknown error";
	return STREAM_ERROR;
}

static enum stream_result fail_output(struct stream *s, int err)
{
	s->failed = fail_with(s, err);
	s->on = 0;
	return s->failed;
}

/* Waits for the descriptor. 0, or -1 with errno (ETIMEDOUT). */
static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		int n = poll(&p, 1, clock_poll_ms(deadline));

		if (n > 0)
			return 0;
		if (n == 0 && clock_now() >= deadline) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (n < 0 && errno != EINTR)
			return -1;
	}
}

/*
 * A blocking recv(2) with a socket time-out is one system call where poll and
 * recv are two. The option is set again only when what it says is far from
 * what is needed: a command may so wait an eighth longer than told.
 */
static void set_socket_timeout(struct stream *s, int fd, int option,
    int64_t *set, int64_t left)
{
	struct timeval tv;

	if (*set != 0 && *set <= left + left / 8 && *set >= left / 2)
		return;
	if (left < CLOCK_MS)
		left = CLOCK_MS;
	tv.tv_sec = left / CLOCK_SECOND;
	tv.tv_usec = left % CLOCK_SECOND;
	if (setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) == 0)
		*set = left;
	else if (errno == ENOTSOCK)
		s->not_socket = true;
}

/* Longer waits than a day are cut into days. */
#define LONGEST_WAIT (86400 * CLOCK_SECOND)

static ssize_t recv_by(struct stream *s, void *p, size_t n, int64_t deadline)
{
	int64_t left = deadline == CLOCK_NEVER ? LONGEST_WAIT :
	    deadline - clock_now();
	int flags = 0;

	if (left > LONGEST_WAIT)
		left = LONGEST_WAIT;
	if (left <= 0)
		flags = MSG_DONTWAIT;
	else
		set_socket_timeout(s, s->in, SO_RCVTIMEO, &s->rcvtimeo, left);
	return recv(s->in, p, n, flags);
}

ssize_t stream_raw_read(struct stream *s, void *p, size_t n, int64_t deadline)
{
	for (;;) {
		bool is_socket = !s->not_socket;
		ssize_t r;

		if (is_socket) {
			r = recv_by(s, p, n, deadline);
		} else {
			if (wait_for(s->in, POLLIN, deadline) != 0)
				return -1;
			r = read(s->in, p, n);
		}
		if (r >= 0)
			return r;
		if (errno == ENOTSOCK && is_socket) {
			s->not_socket = true;
		} else if (errno == EAGAIN) {
			/* Too early, or the descriptor is non-blocking. */
			if (wait_for(s->in, POLLIN, deadline) != 0)
				return -1;
		} else if (errno != EINTR)
			return -1;
	}
}

int stream_raw_write(struct stream *s, const void *p, size_t n,
    int64_t deadline)
{
	const char *at = p;

	while (n > 0) {
		bool is_socket = !s->not_socket;
		ssize_t r;

		if (is_socket) {
			r = send(s->out, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		} else {
			/* Writable means room for PIPE_BUF octets. */
			if (wait_for(s->out, POLLOUT, deadline) != 0)
				return -1;
			r = write(s->out, at, n < 4096 ? n : 4096);
		}
		if (r >= 0) {
			at += r;
			n -= (size_t)r;
		} else if (errno == ENOTSOCK && is_socket) {
			s->not_socket = true;
		} else if (errno == EAGAIN) {
			if (wait_for(s->out, POLLOUT, deadline) != 0)
				return -1;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

static int transport_write(struct stream *s, const void *p, size_t n)
{
	int64_t now = clock_now();
	int64_t deadline = limit_of(s, now, s->write_us);
	int r;

	s->octets_out += n;
	if (s->transport != NULL)
		r = s->transport->write(s->ctx, p, n, deadline);
	else
		r = stream_raw_write(s, p, n, deadline);
	if (r != 0) {
		fail_output(s, errno);
		return -1;
	}
	return 0;
}

enum stream_result stream_flush(struct stream *s)
{
	if (s->failed != STREAM_OK)
		return s->failed;
	if (s->on > 0 && transport_write(s, s->obuf, s->on) != 0)
		return s->failed;
	s->on = 0;
	if (s->ocap > OUT_KEEP) {
		free(s->obuf);
		s->obuf = NULL;
		s->ocap = 0;
	}
	return STREAM_OK;
}

/* Room for n (<= STREAM_OUT_FULL) more octets of output; NULL: failed. */
static char *reserve_output(struct stream *s, size_t n)
{
	size_t cap = s->ocap > 0 ? s->ocap : OUT_FIRST;
	char *p;

	if (s->failed != STREAM_OK)
		return NULL;
	if (s->on + n > STREAM_OUT_FULL && stream_flush(s) != STREAM_OK)
		return NULL;
	if (s->on + n <= s->ocap)
		return s->obuf + s->on;
	while (cap < s->on + n)
		cap *= 2;
	if ((p = realloc(s->obuf, cap)) == NULL) {
		fail_output(s, ENOMEM);
		return NULL;
	}
	s->obuf = p;
	s->ocap = cap;
	return p + s->on;
}

int stream_write(struct stream *s, struct str text)
{
	char *p;

	if (text.n == 0)
		return s->failed == STREAM_OK ? 0 : -1;
	if (text.n >= STREAM_OUT_FULL) {
		if (stream_flush(s) != STREAM_OK)
			return -1;
		return transport_write(s, text.p, text.n);
	}
	if ((p = reserve_output(s, text.n)) == NULL)
		return -1;
	memcpy(p, text.p, text.n);
	s->on += text.n;
	return 0;
}

int stream_write_c(struct stream *s, const char *text)
{
	return stream_write(s, str_of(text));
}

int stream_printf(struct stream *s, const char *fmt, ...)
{
	size_t room = 256;

	for (;;) {
		va_list ap;
		char *p = reserve_output(s, room);
		int n;

		if (p == NULL)
			return -1;
		va_start(ap, fmt);
		n = vsnprintf(p, room, fmt, ap);
		va_end(ap);
		if (n < 0 || n >= STREAM_OUT_FULL) {
			fail_output(s, EMSGSIZE);
			return -1;
		}
		if ((size_t)n < room) {
			s->on += (size_t)n;
			return 0;
		}
		room = (size_t)n + 1;
	}
}

/* Octets of a file by way of the output buffer. */
static int copy_file(struct stream *s, int fd, off_t at, uint64_t n)
{
	while (n > 0) {
		size_t piece = n < STREAM_OUT_FULL / 2 ? (size_t)n :
		    STREAM_OUT_FULL / 2;
		char *p = reserve_output(s, piece);
		ssize_t r;

		if (p == NULL)
			return -1;
		r = pread(fd, p, piece, at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			fail_output(s, r == 0 ? EIO : errno);
			return -1;
		}
		s->on += (size_t)r;
		at += r;
		n -= (uint64_t)r;
	}
	return 0;
}

static int send_file(struct stream *s, int fd, off_t at, uint64_t n)
{
	int64_t deadline = limit_of(s, clock_now(), s->write_us);

	while (n > 0) {
		int64_t now = clock_now();
		int64_t left = deadline - now;
		ssize_t r;

		if (deadline == CLOCK_NEVER || left > LONGEST_WAIT)
			left = LONGEST_WAIT;
		if (left <= 0) {
			fail_output(s, ETIMEDOUT);
			return -1;
		}
		set_socket_timeout(s, s->out, SO_SNDTIMEO, &s->sndtimeo, left);
		r = sendfile(s->out, fd, &at, n < (1 << 20) ? n : 1 << 20);
		if (r > 0) {
			n -= (uint64_t)r;
			s->octets_out += (uint64_t)r;
			deadline = limit_of(s, now, s->write_us);
		} else if (r == 0) {
			fail_output(s, EIO);
			return -1;
		} else if (errno == EAGAIN) {
			if (wait_for(s->out, POLLOUT, deadline) != 0) {
				fail_output(s, errno);
				return -1;
			}
		} else if (errno != EINTR) {
			fail_output(s, errno);
			return -1;
		}
	}
	return 0;
}

int stream_write_file(struct stream *s, int fd, off_t at, uint64_t n)
{
	/* A small file shares the write of what stands around it. */
	if (s->transport != NULL || s->not_socket || n < STREAM_OUT_FULL)
		return copy_file(s, fd, at, n);
	if (stream_flush(s) != STREAM_OK)
		return -1;
	return send_file(s, fd, at, n);
}

/* Makes the buffer `cap` octets large, with what is unread at its start. */
static int resize_input(struct stream *s, size_t cap)
{
	char *p;

	if (s->ipos > 0 && s->iend > s->ipos)
		memmove(s->ibuf, s->ibuf + s->ipos, s->iend - s->ipos);
	s->iend -= s->ipos;
	s->ipos = 0;
	if (cap == s->icap)
		return 0;
	if (s->iend == 0) {	/* nothing to carry over */
		free(s->ibuf);
		s->ibuf = NULL;
		s->icap = 0;
	}
	if ((p = realloc(s->ibuf, cap)) == NULL) {
		fail_with(s, ENOMEM);
		return -1;
	}
	s->ibuf = p;
	s->icap = cap;
	return 0;
}

static enum stream_result take_read(struct stream *s, ssize_t r)
{
	if (r < 0)
		return fail_with(s, errno);
	if (r == 0) {
		s->eof = true;
		s->why = "connection closed by peer";
		return STREAM_EOF;
	}
	s->octets_in += (uint64_t)r;
	return STREAM_OK;
}

static ssize_t transport_read(struct stream *s, void *p, size_t n,
    int64_t deadline)
{
	if (s->transport != NULL)
		return s->transport->read(s->ctx, p, n, deadline);
	return stream_raw_read(s, p, n, deadline);
}

/* Waits for more input behind what is there; the buffer has room. */
static enum stream_result fill(struct stream *s)
{
	int64_t now;
	ssize_t r;
	enum stream_result result;

	if ((s->on > 0 || s->failed != STREAM_OK) &&
	    (result = stream_flush(s)) != STREAM_OK)
		return result;
	if (s->eof)
		return STREAM_EOF;
	now = clock_now();
	if (now >= s->deadline)
		return fail_with(s, ETIMEDOUT);
	r = transport_read(s, s->ibuf + s->iend, s->icap - s->iend,
	    limit_of(s, now, s->read_us));
	if ((result = take_read(s, r)) != STREAM_OK)
		return result;
	s->iend += (size_t)r;
	s->ifull = s->iend == s->icap;
	return STREAM_OK;
}

/* Swallows the rest of a line; its first `max` octets stay at the start of
 * the buffer. */
static enum stream_result swallow_line(struct stream *s, size_t max,
    struct stream_line *line_r)
{
	size_t gone = 0;
	enum stream_result result;

	if (resize_input(s, s->icap > max + STREAM_IN_SMALL ? s->icap :
	    max + STREAM_IN_SMALL) != 0)
		return STREAM_ERROR;
	for (;;) {
		char *rest = s->ibuf + max;
		char *lf = memchr(rest, '\n', s->iend - max);

		if (lf != NULL) {
			s->ipos = (size_t)(lf + 1 - s->ibuf);
			line_r->text = str_n(s->ibuf, max);
			line_r->end = STREAM_END_LF;
			return STREAM_TOO_LONG;
		}
		gone += s->iend - max;
		s->iend = max;
		if (gone > s->discard_max) {
			s->why = "over-long line without an end";
			result = STREAM_FLOOD;
		} else {
			result = fill(s);
		}
		if (result != STREAM_OK) {
			s->ipos = s->iend = 0;
			return result;
		}
	}
}

/* A complete line of n octets (with its LF) at p. */
static enum stream_result cut_line(struct stream *s, const char *p, size_t n,
    size_t max, struct stream_line *line_r)
{
	bool crlf = n >= 2 && p[n - 2] == '\r';

	s->ipos += n;
	n -= crlf ? 2 : 1;
	line_r->end = crlf ? STREAM_END_CRLF : STREAM_END_LF;
	line_r->text = str_n(p, n < max ? n : max);
	return n > max ? STREAM_TOO_LONG : STREAM_OK;
}

enum stream_result stream_read_line(struct stream *s, size_t max,
    struct stream_line *line_r)
{
	size_t seen = 0;

	*line_r = (struct stream_line){ .text = STR_NONE };
	for (;;) {
		size_t have = s->iend - s->ipos;
		const char *p, *lf = NULL;
		enum stream_result result;

		if (have > seen) {
			p = s->ibuf + s->ipos;
			lf = memchr(p + seen, '\n', have - seen);
			if (lf != NULL)
				return cut_line(s, p, (size_t)(lf + 1 - p),
				    max, line_r);
			/* A CR may still be of the end. */
			if (have > max + 1)
				return swallow_line(s, max, line_r);
			seen = have;
		}
		if (have == 0 && s->icap != STREAM_IN_SMALL) {
			if (resize_input(s, STREAM_IN_SMALL) != 0)
				return STREAM_ERROR;
		} else if (s->iend == s->icap) {
			size_t cap = s->icap;

			if (s->ipos == 0)
				cap = cap * 2 < max + 2 ? cap * 2 : max + 2;
			if (resize_input(s, cap) != 0)
				return STREAM_ERROR;
		} else if (have == 0) {
			s->ipos = s->iend = 0;
		}
		if ((result = fill(s)) == STREAM_OK)
			continue;
		if (result == STREAM_EOF && have > 0) {
			line_r->text = str_n(s->ibuf + s->ipos,
			    have < max ? have : max);
			s->ipos = s->iend;
		}
		return result;
	}
}

enum stream_result stream_peek(struct stream *s, struct str *piece_r)
{
	enum stream_result result;

	*piece_r = STR_NONE;
	if (s->ipos == s->iend) {
		/* Content comes in long: one large read instead of 16. */
		size_t cap = s->icap == 0 ? STREAM_IN_SMALL :
		    s->ifull && s->icap < STREAM_IN_BIG ? STREAM_IN_BIG :
		    s->icap;

		s->ipos = s->iend = 0;
		if (resize_input(s, cap) != 0)
			return STREAM_ERROR;
		if ((result = fill(s)) != STREAM_OK)
			return result;
	}
	*piece_r = str_n(s->ibuf + s->ipos, s->iend - s->ipos);
	return STREAM_OK;
}

void stream_take(struct stream *s, size_t n)
{
	s->ipos += n;
}

enum stream_result stream_read_some(struct stream *s, size_t max,
    struct str *piece_r)
{
	enum stream_result result = stream_peek(s, piece_r);

	if (piece_r->n > max)
		piece_r->n = max;
	stream_take(s, piece_r->n);
	return result;
}

/* Octets into the caller's memory, not by way of the buffer. */
static enum stream_result read_past_buffer(struct stream *s, char *p,
    size_t n)
{
	while (n > 0) {
		int64_t now;
		ssize_t r;
		enum stream_result result = stream_flush(s);

		if (result == STREAM_OK && s->eof)
			result = STREAM_EOF;
		if (result != STREAM_OK)
			return result;
		now = clock_now();
		if (now >= s->deadline)
			return fail_with(s, ETIMEDOUT);
		r = transport_read(s, p, n, limit_of(s, now, s->read_us));
		if ((result = take_read(s, r)) != STREAM_OK)
			return result;
		p += r;
		n -= (size_t)r;
	}
	return STREAM_OK;
}

enum stream_result stream_read_full(struct stream *s, void *p, size_t n)
{
	char *to = p;

	for (;;) {
		size_t have = s->iend - s->ipos;
		enum stream_result result;
		struct str piece;

		if (have > n)
			have = n;
		if (have > 0) {
			memcpy(to, s->ibuf + s->ipos, have);
			s->ipos += have;
			to += have;
			n -= have;
		}
		if (n == 0)
			return STREAM_OK;
		/* Short: read what follows in the same call. */
		if (n >= STREAM_IN_SMALL)
			return read_past_buffer(s, to, n);
		if ((result = stream_peek(s, &piece)) != STREAM_OK)
			return result;
	}
}

enum stream_result stream_skip(struct stream *s, uint64_t n)
{
	while (n > 0) {
		struct str piece;
		enum stream_result result = stream_read_some(s,
		    n < SIZE_MAX ? (size_t)n : SIZE_MAX, &piece);

		if (result != STREAM_OK)
			return result;
		n -= piece.n;
	}
	return STREAM_OK;
}

size_t stream_buffered(const struct stream *s)
{
	size_t n = s->iend - s->ipos;

	if (s->transport != NULL)
		n += s->transport->pending(s->ctx);
	return n;
}

bool stream_input_pending(struct stream *s)
{
	ssize_t r;

	if (stream_buffered(s) > 0)
		return true;
	if (s->eof)
		return false;
	s->ipos = s->iend = 0;
	if (s->icap == 0 && resize_input(s, STREAM_IN_SMALL) != 0)
		return false;
	/* Read, not peeked at: the octets are wanted soon anyway. */
	r = transport_read(s, s->ibuf, s->icap, 0);
	if (r > 0) {
		s->octets_in += (uint64_t)r;
		s->iend = (size_t)r;
	} else if (r == 0) {
		s->eof = true;
	}
	return r > 0;
}

enum stream_result stream_wait_input(struct stream *s, int64_t deadline)
{
	enum stream_result result = stream_flush(s);

	if (result != STREAM_OK)
		return result;
	if (stream_buffered(s) > 0 || s->eof)
		return STREAM_OK;
	if (deadline > s->deadline)
		deadline = s->deadline;
	if (wait_for(s->in, POLLIN, deadline) != 0)
		return fail_with(s, errno);
	return STREAM_OK;
}

int stream_push_input(struct stream *s, struct str text)
{
	size_t have = s->iend - s->ipos;
	size_t cap = s->icap > STREAM_IN_SMALL ? s->icap : STREAM_IN_SMALL;

	if (have > STREAM_IN_BIG || text.n > STREAM_IN_BIG - have)
		return -1;
	while (cap < have + text.n)
		cap *= 2;
	if (resize_input(s, cap) != 0)
		return -1;
	memmove(s->ibuf + text.n, s->ibuf, have);
	if (text.n > 0)
		memcpy(s->ibuf, text.p, text.n);
	s->iend = have + text.n;
	return 0;
}

int stream_start_tls(struct stream *s, const struct stream_transport *t,
    void *ctx)
{
	/* RFC 3207 4.2: what came before the handshake is not knowledge. */
	if (s->iend > s->ipos || s->transport != NULL) {
		s->why = "plaintext after STARTTLS";
		return -1;
	}
	if (stream_flush(s) != STREAM_OK)
		return -1;
	s->transport = t;
	s->ctx = ctx;
	return 0;
}

void stream_release(struct stream *s)
{
	if (s->ipos == s->iend) {
		free(s->ibuf);
		s->ibuf = NULL;
		s->icap = s->ipos = s->iend = 0;
	}
	if (s->on == 0) {
		free(s->obuf);
		s->obuf = NULL;
		s->ocap = 0;
	}
}
