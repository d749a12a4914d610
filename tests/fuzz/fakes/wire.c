/* wire.c - see wire.h */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/fuzz/fakes/wire.h"
#include "tests/fuzz/fuzz.h"

#define WIRES 64

static struct wire {
	int fd;
	wire_more_fn *more;
	void *ctx;
	struct buf *out;
	struct str piece;
	bool eof;
} wires[WIRES];
static size_t count;

ssize_t __real_recv(int, void *, size_t, int);
ssize_t __real_send(int, const void *, size_t, int);
int __real_poll(struct pollfd *, nfds_t, int);
ssize_t __real_sendfile(int, int, off_t *, size_t);
ssize_t __wrap_recv(int, void *, size_t, int);
ssize_t __wrap_send(int, const void *, size_t, int);
int __wrap_poll(struct pollfd *, nfds_t, int);
ssize_t __wrap_sendfile(int, int, off_t *, size_t);

bool wire_client_more(void *ctx, struct str *piece_r)
{
	struct wire_client *c = ctx;
	struct str part;

	for (;;) {
		if (c->cutting && fuzz_piece(&c->cuts, piece_r)) {
			if (piece_r->n > 0)
				return true;
			continue;
		}
		c->cutting = false;
		if (!str_split(&c->rest, '\001', &part))
			return false;
		c->cuts = fuzz_cuts(part, c->way);
		c->cutting = part.n > 0;
	}
}

int wire_open(wire_more_fn *more, void *ctx, struct buf *out)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fuzz_check(fd >= 0 && count < WIRES, "no more wires");
	wires[count++] = (struct wire){ fd, more, ctx, out, STR_NONE, false };
	return fd;
}

void wire_end(void)
{
	for (; count > 0; count--)
		fuzz_check(fcntl(wires[count - 1].fd, F_GETFD) < 0,
		    "the connection was not closed");
}

/* The last one: numbers are used again. */
static struct wire *find(int fd)
{
	for (size_t i = count; i > 0; i--)
		if (wires[i - 1].fd == fd)
			return &wires[i - 1];
	return NULL;
}

static void want_piece(struct wire *w)
{
	if (w->piece.n == 0 && !w->eof && !w->more(w->ctx, &w->piece))
		w->eof = true;
}

ssize_t __wrap_recv(int fd, void *p, size_t n, int flags)
{
	struct wire *w = find(fd);

	if (w == NULL)
		return __real_recv(fd, p, n, flags);
	if (!(flags & MSG_DONTWAIT))
		want_piece(w);
	if (w->piece.n == 0) {
		if (w->eof)
			return 0;
		errno = EAGAIN;
		return -1;
	}
	if (n > w->piece.n)
		n = w->piece.n;
	memcpy(p, w->piece.p, n);
	if (!(flags & MSG_PEEK))
		w->piece = str_from(w->piece, n);
	return (ssize_t)n;
}

ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
	struct wire *w = find(fd);

	if (w == NULL)
		return __real_send(fd, p, n, flags);
	fuzz_check(buf_append_n(w->out, p, n) == 0, "output without end");
	return (ssize_t)n;
}

ssize_t __wrap_sendfile(int to, int from, off_t *at, size_t n)
{
	struct wire *w = find(to);
	static char room[65536];
	ssize_t k;

	if (w == NULL)
		return __real_sendfile(to, from, at, n);
	k = pread(from, room, n < sizeof(room) ? n : sizeof(room), *at);
	if (k > 0) {
		*at += k;
		buf_append_n(w->out, room, (size_t)k);
	}
	return k;
}

/* Only what the code does: waits for one descriptor of ours, or for one of
 * ours and others of its own that never come. */
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout)
{
	struct wire *w = n > 0 ? find(p[0].fd) : NULL;

	if (w == NULL)
		return __real_poll(p, n, timeout);
	for (nfds_t i = 0; i < n; i++)
		p[i].revents = 0;
	if (p[0].events & POLLOUT)
		p[0].revents |= POLLOUT;
	if (p[0].events & POLLIN) {
		if (timeout != 0)
			want_piece(w);
		if (w->piece.n > 0 || w->eof)
			p[0].revents |= POLLIN;
	}
	return p[0].revents != 0;
}
