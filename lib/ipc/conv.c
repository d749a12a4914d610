#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "ipc/conv.h"

/* Kept conversations an edge holds for its process. */
#define KEEP_MAX 128
#define KEEP_ALWAYS 4
#define ARENA_MAX (512 * 1024)

struct edge {
	const char *name;
	int fd;
	pthread_mutex_t lock;
	struct conv *kept; /* most recently used first */
	size_t nkept;
	size_t unused;		/* of nkept: nobody took them since edge_tidy() */
};

/* How many conversations of one client are open; outlives its owner until
 * the last of them is closed. */
struct conv_tally {
	atomic_size_t open, refs;
	size_t most;
};

struct conv {
	const char *name;
	int fd;
	atomic_bool broken; /* several threads may send */
	struct edge *edge;
	struct conv_tally *tally; /* NULL: not counted */
	struct conv *next;
	char *in; /* MSG_MAX + 16 octets, when a packet was asked for */
	int timeout_ms; /* in force for receiving; 0: none */
	struct arena *arena;
};

struct edge *edge_new(const char *name, int fd)
{
	struct edge *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->name = name;
	e->fd = fd;
	pthread_mutex_init(&e->lock, NULL);
	return e;
}

void edge_free(struct edge **ep)
{
	struct edge *e = *ep;

	if (e == NULL)
		return;
	while (e->kept != NULL) {
		struct conv *c = e->kept;

		e->kept = c->next;
		c->edge = NULL;
		conv_close(&c);
	}
	close(e->fd);
	pthread_mutex_destroy(&e->lock);
	free(e);
	*ep = NULL;
}

const char *edge_name(const struct edge *e)
{
	return e->name;
}

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int rc;

	do {
		rc = poll(&p, 1, clock_poll_ms(deadline));
	} while (rc < 0 && errno == EINTR);
	if (rc == 0)
		errno = ETIMEDOUT;
	return rc > 0 ? 0 : -1;
}

/* Sends n octets and descriptors as one packet, waiting for room. */
static int send_packet(int fd, const void *p, size_t n, const int *fds,
    size_t nfds, int64_t deadline)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * MSG_FD_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cm;

	if (nfds > 0) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * nfds);
	}
	for (;;) {
		ssize_t k = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != ENOBUFS)
			return -1;
		if (wait_for(fd, POLLOUT, deadline) < 0)
			return -1;
	}
}

/* Collects the descriptors of a received packet. */
static size_t take_fds(struct msghdr *mh, int fds[MSG_FD_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm != NULL;
	    cm = CMSG_NXTHDR(mh, cm)) {
		size_t k;

		if (cm->cmsg_level != SOL_SOCKET ||
		    cm->cmsg_type != SCM_RIGHTS)
			continue;
		k = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int),
			    sizeof(fd));
			if (n < MSG_FD_MAX)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

struct conv *edge_open_fresh(struct edge *e, int64_t deadline)
{
	struct conv *c;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return NULL;
	if (send_packet(e->fd, "c", 1, &pair[1], 1, deadline) < 0) {
		int err = errno;

		close(pair[0]);
		close(pair[1]);
		errno = err;
		return NULL;
	}
	close(pair[1]);
	if ((c = conv_new(e->name, pair[0])) == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	c->edge = e;
	return c;
}

void edge_tidy(struct edge *e)
{
	struct conv **at, *c, *old = NULL;

	pthread_mutex_lock(&e->lock);
	/* those at the end are the ones that were not wanted */
	if (e->unused > KEEP_ALWAYS) {
		at = &e->kept;
		for (size_t i = e->nkept - e->unused + KEEP_ALWAYS; i > 0; i--)
			at = &(*at)->next;
		old = *at;
		*at = NULL;
		e->nkept -= e->unused - KEEP_ALWAYS;
	}
	e->unused = e->nkept;
	pthread_mutex_unlock(&e->lock);
	while ((c = old) != NULL) {
		old = c->next;
		conv_close(&c);
	}
}

/* Whether a kept conversation's far end is still there. */
static bool is_alive(struct conv *c)
{
	char octet;
	ssize_t k = recv(c->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);

	return k < 0 && errno == EAGAIN;
}

struct conv *edge_open(struct edge *e, int64_t deadline)
{
	struct conv *c;

	for (;;) {
		pthread_mutex_lock(&e->lock);
		if ((c = e->kept) != NULL) {
			e->kept = c->next;
			if (--e->nkept < e->unused)
				e->unused = e->nkept;
		}
		pthread_mutex_unlock(&e->lock);
		if (c == NULL)
			return edge_open_fresh(e, deadline);
		c->next = NULL;
		if (is_alive(c))
			return c;
		conv_close(&c);
	}
}

static bool is_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 &&
	    (p.revents & (POLLRDHUP | POLLHUP)) != 0;
}

/* A client that was taken over may send any descriptor, and an event loop
 * cannot watch a file. */
static bool can_converse(int fd)
{
	int type = 0, domain = 0;
	socklen_t n = sizeof(type), m = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &m) == 0 &&
	    type == SOCK_SEQPACKET && domain == AF_UNIX;
}

int edge_accept(int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * MSG_FD_MAX)];
		struct cmsghdr align;
	} control;
	char octet;
	struct iovec iov = { &octet, 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	int fds[MSG_FD_MAX];
	ssize_t k;
	size_t n;

	do {
		k = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (k < 0 && errno == EINTR);
	if (k < 0)
		return -1;
	n = take_fds(&mh, fds);
	if (k == 0 && n == 0) {
		/* An empty packet looks like the end, and must not be taken
		 * for it: the edge serves other processes of the client. */
		errno = is_hung_up(fd) ? EPIPE : EAGAIN;
		return -1;
	}
	if (n == 1 && can_converse(fds[0]))
		return fds[0];
	while (n > 0)
		close(fds[--n]);
	errno = EPROTO;
	return -1;
}

/* --- bounds --- */

struct conv_tally *conv_tally_new(size_t most)
{
	struct conv_tally *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->most = most;
	t->refs = 1;
	return t;
}

static void tally_release(struct conv_tally *t)
{
	if (atomic_fetch_sub(&t->refs, 1) == 1)
		free(t);
}

void conv_tally_free(struct conv_tally **tp)
{
	if (*tp != NULL)
		tally_release(*tp);
	*tp = NULL;
}

int conv_tally_join(struct conv_tally *t, struct conv *c)
{
	if (atomic_fetch_add(&t->open, 1) >= t->most) {
		atomic_fetch_sub(&t->open, 1);
		return -1;
	}
	atomic_fetch_add(&t->refs, 1);
	c->tally = t;
	return 0;
}

static void tally_leave(struct conv *c)
{
	if (c->tally == NULL)
		return;
	atomic_fetch_sub(&c->tally->open, 1);
	tally_release(c->tally);
	c->tally = NULL;
}

struct conv *conv_new(const char *name, int fd)
{
	struct conv *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return NULL;
	}
	c->name = name;
	c->fd = fd;
	return c;
}

void conv_close(struct conv **cp)
{
	struct conv *c = *cp;

	if (c == NULL)
		return;
	close(c->fd);
	tally_leave(c);
	free(c->in);
	arena_free(&c->arena);
	free(c);
	*cp = NULL;
}

void conv_keep(struct conv **cp)
{
	struct conv *c = *cp;
	struct edge *e;
	bool kept = false;

	if (c == NULL)
		return;
	e = c->edge;
	if (e != NULL && !c->broken) {
		if (c->arena != NULL)
			arena_reset(c->arena);
		pthread_mutex_lock(&e->lock);
		if (e->nkept < KEEP_MAX) {
			c->next = e->kept;
			e->kept = c;
			e->nkept++;
			kept = true;
		}
		pthread_mutex_unlock(&e->lock);
	}
	if (!kept)
		conv_close(&c);
	*cp = NULL;
}

int conv_fd(const struct conv *c)
{
	return c->fd;
}

const char *conv_name(const struct conv *c)
{
	return c->name;
}

int conv_peer(const struct conv *c, pid_t *pid_r, uid_t *uid_r)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -1;
	if (pid_r != NULL)
		*pid_r = cred.pid;
	if (uid_r != NULL)
		*uid_r = cred.uid;
	return 0;
}

static int send_message(struct conv *c, const struct msg_schema *schema,
    const void *msg, int64_t deadline, const char **why_r)
{
	int fds[MSG_FD_MAX], rc;
	struct buf out;
	size_t nfds;

	buf_init(&out, MSG_MAX + 16);
	*why_r = "no memory";
	errno = ENOMEM;
	rc = msg_encode(schema, msg, &out, fds, &nfds, why_r);
	if (rc < 0)
		errno = EMSGSIZE;
	else if ((rc = send_packet(c->fd, out.p, out.n, fds, nfds,
		deadline)) < 0)
		*why_r = errno == ETIMEDOUT ? "timed out"
		    : errno == EPIPE || errno == ECONNRESET
		    ? "the other end is gone" : "cannot send";
	buf_fini(&out);
	return rc;
}

int conv_send(struct conv *c, const struct msg_schema *schema,
    const void *msg, int64_t deadline, const char **why_r)
{
	int rc = send_message(c, schema, msg, deadline, why_r);

	if (rc < 0 && errno != EMSGSIZE)
		c->broken = true;
	return rc;
}

int conv_try_send(struct conv *c, const struct msg_schema *schema,
    const void *msg, const char **why_r)
{
	int rc = send_message(c, schema, msg, 0, why_r);

	if (rc < 0 && errno == ETIMEDOUT)
		return 1;
	if (rc < 0 && errno != EMSGSIZE)
		c->broken = true;
	return rc;
}

/*
 * A blocking receive with the socket's own timeout is one system call where
 * poll and receive are two. The timeout is set only when the one in force
 * would end too late or much too early.
 */
static int set_timeout(struct conv *c, int64_t deadline)
{
	int ms = clock_poll_ms(deadline);
	struct timeval tv;

	if (ms == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	if (ms < 0)
		ms = 0;
	if (c->timeout_ms == ms || (ms > 0 && c->timeout_ms > 0 &&
		c->timeout_ms <= ms && c->timeout_ms >= ms / 2))
		return 0;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = ms % 1000 * 1000;
	if (setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
		return -1;
	c->timeout_ms = ms;
	return 0;
}

/* Takes one packet into c->in. >0 octets, 0 closed, -1 errno (EAGAIN). */
static ssize_t take_packet(struct conv *c, int fds[MSG_FD_MAX], size_t *nfds,
    bool *cut, int64_t deadline, bool wait)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * MSG_FD_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	bool reset = false;
	ssize_t k;

	*nfds = 0;
	/* One size for all: pages that no packet reached cost nothing. */
	if (c->in == NULL && (c->in = malloc(MSG_MAX + 16)) == NULL) {
		errno = ENOMEM;
		return -1;
	}
	iov.iov_base = c->in;
	iov.iov_len = MSG_MAX + 16;
	mh.msg_control = &control;
	mh.msg_controllen = sizeof(control);
	for (;;) {
		if (wait && set_timeout(c, deadline) < 0)
			return -1;
		k = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC |
		    (wait ? 0 : MSG_DONTWAIT));
		if (k >= 0)
			break;
		/* The other end closed with something of ours unread: that is
		 * told once, before what it had sent, which may be why. */
		if (errno == ECONNRESET && !reset) {
			reset = true;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (!wait || errno != EAGAIN)
			return -1;
		/* Either the deadline, or the other end, which made the pair
		 * and shares its options, made our end one that never waits:
		 * without this we would turn round in circles. */
		c->timeout_ms = 0;
		if (wait_for(c->fd, POLLIN, deadline) < 0)
			return -1;
	}
	*nfds = take_fds(&mh, fds);
	*cut = mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	return k;
}

static enum conv_got receive(struct conv *c,
    const struct msg_schema *const *allowed, size_t nallowed,
    const struct msg_schema **schema_r, void *msg, int64_t deadline,
    bool wait, const char **why_r)
{
	int fds[MSG_FD_MAX];
	size_t nfds;
	bool cut = false;
	ssize_t k = take_packet(c, fds, &nfds, &cut, deadline, wait);
	uint16_t id;

	if (k < 0 && (errno == EAGAIN || errno == ETIMEDOUT)) {
		*why_r = "timed out";
		return CONV_TIMEOUT;
	}
	if (k == 0 || (k < 0 && (errno == ECONNRESET || errno == EPIPE))) {
		while (nfds > 0) /* an empty packet may carry some, too */
			close(fds[--nfds]);
		c->broken = true;
		*why_r = "the other end is gone";
		return CONV_CLOSED;
	}
	*why_r = "cannot receive";
	if (k < 0 || cut)
		goto broken;
	if (c->arena == NULL && (c->arena = arena_new(ARENA_MAX)) == NULL)
		goto broken;
	arena_reset(c->arena);
	id = msg_id(str_n(c->in, (size_t)k));
	for (size_t i = 0; i < nallowed; i++) {
		if (allowed[i]->id != id)
			continue;
		if (msg_decode(allowed[i], str_n(c->in, (size_t)k), fds, nfds,
			c->arena, msg, why_r) < 0)
			goto broken;
		*schema_r = allowed[i];
		return CONV_MESSAGE;
	}
	*why_r = "message not allowed now";
broken:
	while (nfds > 0)
		close(fds[--nfds]);
	c->broken = true;
	return CONV_BROKEN;
}

enum conv_got conv_recv(struct conv *c,
    const struct msg_schema *const *allowed, size_t nallowed,
    const struct msg_schema **schema_r, void *msg, int64_t deadline,
    const char **why_r)
{
	return receive(c, allowed, nallowed, schema_r, msg, deadline, true,
	    why_r);
}

enum conv_got conv_try_recv(struct conv *c,
    const struct msg_schema *const *allowed, size_t nallowed,
    const struct msg_schema **schema_r, void *msg, const char **why_r)
{
	return receive(c, allowed, nallowed, schema_r, msg, 0, false, why_r);
}

int conv_call(struct conv *c, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t deadline, const char **why_r)
{
	const struct msg_schema *allowed[] = { reply }, *got;

	if (conv_send(c, request, req, deadline, why_r) < 0)
		return -1;
	if (conv_recv(c, allowed, 1, &got, rep, deadline, why_r) ==
	    CONV_MESSAGE)
		return 0;
	c->broken = true; /* a late answer must not meet the next question */
	return -1;
}
