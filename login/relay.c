/*
 * relay.c - a byte relay between TLS clients and sessions
 *
 * One thread, one loop. Octets wait in a relay only while the side they go to
 * is full; then nothing more is read for that side. An idle relay has its
 * TLS state, two descriptors and no buffer.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "base/loop.h"
#include "login/relay.h"
#include "net/tls.h"
#include "service/service.h"

#define CHUNK 16384
/* Chunks that one relay moves before the others have their turn. */
#define TURN 16
/* What a client still sends after the last word is dropped, so long and so
 * much: a socket that is closed with input unread is reset, and the reset may
 * overtake the word (as stream_linger()). */
#define LINGER (2 * CLOCK_SECOND)
#define LINGER_MAX (16 << 20)

/* Octets on their way to a side that took only a part of them. */
struct waiting {
	char *p;
	size_t at, n;
};

struct relay {
	TAILQ_ENTRY(relay) link;	/* arrived, or hot */
	TAILQ_ENTRY(relay) all;
	struct stream *client;
	int session;
	void *ctx;
	struct watch *client_watch, *session_watch;
	struct waiting to_client, to_session;
	bool client_ended;		/* no more goes to the session */
	bool client_eof;		/* since the client said so */
	bool session_ended;
	struct timer *linger;		/* all is said: waits for its end */
	size_t dropped;
	bool hot;			/* in self.hot */
	unsigned tls_wants;		/* TLS_WANT_* of the last calls */
};

TAILQ_HEAD(relays, relay);

static struct {
	struct loop *loop;
	void (*ended)(void *ctx, size_t left);
	struct timer *turn;		/* runs what is hot */
	struct relays hot, all;
	atomic_size_t count;
	int wake;
	char chunk[CHUNK];

	pthread_mutex_t lock;		/* the rest */
	struct relays arrived;
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

size_t relay_count(void)
{
	return atomic_load(&self.count);
}

static void relay_end(struct relay *r)
{
	void *ctx = r->ctx;

	if (r->hot)
		TAILQ_REMOVE(&self.hot, r, link);
	TAILQ_REMOVE(&self.all, r, all);
	watch_free(&r->client_watch);
	watch_free(&r->session_watch);
	timer_free(&r->linger);
	tls_try_shutdown(r->client);
	stream_free(&r->client);
	if (r->session >= 0)
		close(r->session);
	free(r->to_client.p);
	free(r->to_session.p);
	free(r);
	self.ended(ctx, atomic_fetch_sub(&self.count, 1) - 1);
}

static int keep(struct waiting *w, const char *p, size_t n)
{
	if ((w->p = malloc(n)) == NULL)
		return -1;
	memcpy(w->p, p, n);
	w->at = 0;
	w->n = n;
	return 0;
}

static bool advance(struct waiting *w, size_t k)
{
	w->at += k;
	if (w->at < w->n)
		return false;
	free(w->p);
	*w = (struct waiting){ NULL, 0, 0 };
	return true;
}

static void on_ready(int fd, unsigned ready, void *ctx);

/* What came of a step. */
enum moved { MOVED, BLOCKED, OVER };

static enum moved send_session(struct relay *r, const char *p, size_t n,
    size_t *k_r)
{
	ssize_t k;

	do {
		k = send(r->session, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (k < 0 && errno == EINTR);
	*k_r = k > 0 ? (size_t)k : 0;
	if (k < 0)
		return errno == EAGAIN ? BLOCKED : OVER;
	return *k_r == n ? MOVED : BLOCKED;
}

static enum moved send_client(struct relay *r, const char *p, size_t n,
    size_t *k_r)
{
	*k_r = 0;
	while (*k_r < n) {
		int want;
		ssize_t k = tls_try_write(r->client, p + *k_r, n - *k_r,
		    &want);

		if (k > 0) {
			*k_r += (size_t)k;
			continue;
		}
		if (want == 0)
			return OVER;
		r->tls_wants |= (unsigned)want;
		return BLOCKED;
	}
	return MOVED;
}

/* The session sees the end of its input, says what it has to say and ends. */
static void end_input(struct relay *r)
{
	if (!r->client_ended)
		shutdown(r->session, SHUT_WR);
	r->client_ended = true;
}

/* The session hears no more: what it said last is still moved to the client,
 * then its end ends the relay. */
static void drop_input(struct relay *r)
{
	free(r->to_session.p);
	r->to_session = (struct waiting){ NULL, 0, 0 };
	r->client_ended = true;
}

/* Client to session, one chunk. */
static enum moved move_in(struct relay *r)
{
	struct waiting *w = &r->to_session;
	enum moved m;
	size_t k;
	ssize_t n;
	int want;

	if (w->p != NULL) {
		m = send_session(r, w->p + w->at, w->n - w->at, &k);
		if (m == OVER) {
			drop_input(r);
			return BLOCKED;
		}
		return advance(w, k) ? MOVED : BLOCKED;
	}
	if (r->client_ended)
		return BLOCKED;
	n = tls_try_read(r->client, self.chunk, CHUNK, &want);
	if (n > 0) {
		m = send_session(r, self.chunk, (size_t)n, &k);
		if (m == OVER) {
			drop_input(r);
			return BLOCKED;
		}
		if (m == BLOCKED && keep(w, self.chunk + k,
		    (size_t)n - k) != 0)
			return OVER;
		return m;
	}
	if (n < 0 && want != 0) {
		r->tls_wants |= (unsigned)want;
		return BLOCKED;
	}
	if (n < 0)
		return OVER;
	end_input(r);
	r->client_eof = true;
	return BLOCKED;
}

/* Session to client, one chunk. */
static enum moved move_out(struct relay *r)
{
	struct waiting *w = &r->to_client;
	enum moved m;
	size_t k;
	ssize_t n;

	if (w->p != NULL) {
		m = send_client(r, w->p + w->at, w->n - w->at, &k);
		if (m == OVER)
			return OVER;
		return advance(w, k) ? MOVED : BLOCKED;
	}
	if (r->session_ended)
		return OVER;	/* all is said */
	do {
		n = recv(r->session, self.chunk, CHUNK, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		m = send_client(r, self.chunk, (size_t)n, &k);
		if (m == BLOCKED && keep(w, self.chunk + k,
		    (size_t)n - k) != 0)
			return OVER;
		return m;
	}
	if (n < 0 && errno == EAGAIN)
		return BLOCKED;
	r->session_ended = true;
	return OVER;
}

/* A descriptor of which nothing is wanted is not watched at all: its hang-up
 * would be reported again and again. */
static int set_watch(struct relay *r, struct watch **w, int fd, unsigned want)
{
	if (want == 0)
		watch_free(w);
	else if (*w != NULL)
		watch_want(*w, want);
	else if ((*w = watch_new(self.loop, fd, want, on_ready, r)) == NULL)
		return -1;
	return 0;
}

static int set_wants(struct relay *r)
{
	unsigned client = 0, session = 0;

	/* TLS reads also while its input is not wanted, when it must. */
	if (!r->client_ended && r->to_session.p == NULL)
		client |= LOOP_READ;
	if (r->tls_wants & TLS_WANT_READ && r->to_client.p != NULL)
		client |= LOOP_READ;
	if (r->tls_wants & TLS_WANT_WRITE)
		client |= LOOP_WRITE;
	if (r->to_client.p == NULL && !r->session_ended)
		session |= LOOP_READ;
	if (r->to_session.p != NULL)
		session |= LOOP_WRITE;
	if (set_watch(r, &r->client_watch, stream_fd(r->client),
	    client) != 0 ||
	    set_watch(r, &r->session_watch, r->session, session) != 0) {
		log_warn("cannot watch a connection");
		return -1;
	}
	return 0;
}

static void on_linger_over(void *ctx)
{
	relay_end(ctx);
}

/* r may be gone afterwards. */
static void drop_rest(struct relay *r)
{
	ssize_t n;

	do {
		n = recv(stream_fd(r->client), self.chunk, CHUNK,
		    MSG_DONTWAIT);
		if (n > 0)
			r->dropped += (size_t)n;
	} while ((n > 0 && r->dropped < LINGER_MAX) ||
	    (n < 0 && errno == EINTR));
	if (n >= 0 || errno != EAGAIN)
		relay_end(r);
}

/* The session ended and all that it said is on its way. */
static void linger(struct relay *r)
{
	tls_try_shutdown(r->client);
	watch_free(&r->session_watch);
	close(r->session);
	r->session = -1;
	if (r->hot)
		TAILQ_REMOVE(&self.hot, r, link);
	r->hot = false;
	r->linger = timer_new(self.loop, on_linger_over, r);
	if (r->client_eof || r->linger == NULL ||
	    shutdown(stream_fd(r->client), SHUT_WR) < 0 ||
	    set_watch(r, &r->client_watch, stream_fd(r->client),
	    LOOP_READ) != 0) {
		relay_end(r);
		return;
	}
	timer_in(r->linger, LINGER);
	drop_rest(r);
}

/* Moves what can be moved, both ways. r may be gone afterwards. */
static void pump(struct relay *r)
{
	enum moved in = MOVED, out = MOVED;
	int turns = 0;

	if (r->linger != NULL)
		return;
	r->tls_wants = 0;
	while ((in == MOVED || out == MOVED) && turns++ < TURN) {
		in = move_in(r);
		if (in == OVER) {
			relay_end(r);
			return;
		}
		out = move_out(r);
		if (out == OVER) {
			(r->session_ended ? linger : relay_end)(r);
			return;
		}
	}
	if ((in == MOVED || out == MOVED) && !r->hot) {
		r->hot = true;
		TAILQ_INSERT_TAIL(&self.hot, r, link);
		timer_in(self.turn, 0);
	}
	if (set_wants(r) != 0)
		relay_end(r);
}

static void on_ready(int fd, unsigned ready, void *ctx)
{
	struct relay *r = ctx;

	(void)fd;
	(void)ready;
	if (r->linger != NULL)
		drop_rest(r);
	else
		pump(r);
}

/* The relays that had more to move than one turn allows. */
static void on_turn(void *ctx)
{
	struct relays now = TAILQ_HEAD_INITIALIZER(now);
	struct relay *r;

	(void)ctx;
	TAILQ_CONCAT(&now, &self.hot, link);
	while ((r = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, r, link);
		r->hot = false;
		pump(r);
	}
}

static void on_arrival(int fd, unsigned ready, void *ctx)
{
	struct relays arrived = TAILQ_HEAD_INITIALIZER(arrived);
	struct relay *r;
	uint64_t n;

	(void)ready;
	(void)ctx;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&self.lock);
	TAILQ_CONCAT(&arrived, &self.arrived, link);
	pthread_mutex_unlock(&self.lock);
	while ((r = TAILQ_FIRST(&arrived)) != NULL) {
		TAILQ_REMOVE(&arrived, r, link);
		TAILQ_INSERT_TAIL(&self.all, r, all);
		/* TLS may hold octets that no descriptor announces. */
		pump(r);
	}
	if (!service_stopping())
		return;
	for (struct relay *next, *at = TAILQ_FIRST(&self.all); at != NULL;
	    at = next) {
		next = TAILQ_NEXT(at, all);
		end_input(at);
		pump(at);
	}
}

static void wake(void)
{
	uint64_t one = 1;

	while (write(self.wake, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

void relay_stop(void)
{
	wake();
}

int relay_add(struct stream *client, int session, void *ctx)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -1;
	stream_release(client);
	tls_set_nonblocking(client);
	r->client = client;
	r->session = session;
	r->ctx = ctx;
	atomic_fetch_add(&self.count, 1);
	pthread_mutex_lock(&self.lock);
	TAILQ_INSERT_TAIL(&self.arrived, r, link);
	pthread_mutex_unlock(&self.lock);
	wake();
	return 0;
}

static void run(void *arg)
{
	(void)arg;
	loop_run(self.loop);
}

int relay_start(void (*ended)(void *ctx, size_t left))
{
	self.ended = ended;
	TAILQ_INIT(&self.hot);
	TAILQ_INIT(&self.all);
	TAILQ_INIT(&self.arrived);
	self.loop = loop_new();
	self.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self.loop == NULL || self.wake < 0)
		return -1;
	self.turn = timer_new(self.loop, on_turn, NULL);
	if (self.turn == NULL || watch_new(self.loop, self.wake, LOOP_READ,
	    on_arrival, NULL) == NULL)
		return -1;
	return service_thread(run, NULL);
}
