#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "service/overload.h"
#include "service/sessions.h"

/* From so many sessions on it pays to give their memory back. */
#define CROWD 16
/* Clients that wait for room in this process, before the kernel's backlog,
 * and how often it is looked for. */
#define PARKED_MAX 512
#define PARKED_RETRY CLOCK_SECOND
/* How often one looks for who might go, when nobody did. */
#define OVERLOAD_LOOK (100 * CLOCK_MS)
#define STACK_SIZE (192 * 1024)
#ifdef POSTERN_SAN
#define STACK_FACTOR 8
#else
#define STACK_FACTOR 1
#endif

/* A thread that serves a client or a conversation. */
struct session {
	LIST_ENTRY(session) link;
	int fd;
	const char *from;	/* listener's or client's name */
	struct conv *conv;
	bool idle;		/* between two exchanges: a drain may end it */
	bool evicted;		/* shut down, to make room */
	int64_t since;
	struct service_client client;
};

/* A client that waits for room. */
struct parked {
	TAILQ_ENTRY(parked) link;
	int fd;
	struct service_client client;
};

TAILQ_HEAD(parked_list, parked);

static struct {
	const struct service *program;
	void (*wake)(void);

	/* the loop's thread alone knows these */
	void (*changed)(void);
	struct timer *retry;	/* to make room for who is parked */
	size_t max;
	struct parked_list parked, parked_great; /* great: of a crowd */
	size_t nparked;
	int64_t told_overload, looked_in_vain;

	pthread_mutex_t lock;	/* what follows */
	LIST_HEAD(, session) sessions;
	size_t nclients, nsessions;
	size_t peak;		/* of nsessions, since memory was given back */
	size_t nevicted;	/* of nclients: they are about to end */
	struct map *nets;	/* struct overload_net: how many clients */
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- threads --- */

static int start_thread(void *(*fn)(void *), void *arg)
{
	size_t stack = self.program->stack ? self.program->stack : STACK_SIZE;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, stack * STACK_FACTOR);
	rc = pthread_create(&thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	errno = rc;
	return rc ? -1 : 0;
}

struct plain_thread {
	void (*fn)(void *);
	void *arg;
};

static void *run_plain(void *p)
{
	struct plain_thread t = *(struct plain_thread *)p;

	free(p);
	t.fn(t.arg);
	return NULL;
}

int service_thread(void (*fn)(void *), void *arg)
{
	struct plain_thread *t = malloc(sizeof(*t));

	if (t == NULL)
		return -1;
	*t = (struct plain_thread){ fn, arg };
	if (start_thread(run_plain, t) < 0) {
		int err = errno;

		free(t);
		errno = err;
		return -1;
	}
	return 0;
}

/* A client more or less, of his network too. The lock is held. */
static void count_client(const struct session *s, int more)
{
	struct overload_net net = overload_net_of(&s->client.peer);
	struct str key = str_n((const char *)&net, sizeof(net));
	size_t n = (size_t)map_find(self.nets, key);

	self.nclients += (size_t)more;
	if (n == 0 && more < 0)
		return;		/* there was no memory to count it */
	n += (size_t)more;
	/* the number is kept in the pointer */
	if (n == 0)
		map_take(self.nets, key);
	else if (map_set(self.nets, key, (void *)n, NULL) < 0)
		log_warn("no memory for a client's network");
}

/* The conversation of this thread, for service_recv(). */
static _Thread_local struct session *mine;

static void *run_session(void *p)
{
	struct session *s = p;

	mine = s;
	if (s->conv != NULL)
		self.program->converse(s->conv, s->from);
	else
		self.program->session(s->fd, &s->client);
	pthread_mutex_lock(&self.lock);
	LIST_REMOVE(s, link);
	self.nsessions--;
	if (s->conv == NULL)
		count_client(s, -1);
	self.nevicted -= s->evicted;
	pthread_mutex_unlock(&self.lock);
	free(s);
	self.wake();
	return NULL;
}

enum conv_got service_recv(struct conv *c, const struct msg_schema *const *ok,
    size_t n, const struct msg_schema **schema_r, void *msg,
    const char **why_r)
{
	enum conv_got got;

	if (mine == NULL || mine->conv != c)
		return conv_recv(c, ok, n, schema_r, msg, CLOCK_NEVER, why_r);
	pthread_mutex_lock(&self.lock);
	mine->idle = true;
	if (service_draining())
		shutdown(mine->fd, SHUT_RD); /* what was sent is still read */
	pthread_mutex_unlock(&self.lock);
	got = conv_recv(c, ok, n, schema_r, msg, CLOCK_NEVER, why_r);
	pthread_mutex_lock(&self.lock);
	mine->idle = false;
	pthread_mutex_unlock(&self.lock);
	return got;
}

/* The descriptor, or the conversation on it, is taken in any case. */
static void start_session(int fd, const char *from, struct conv *conv,
    const struct service_client *client)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		goto fail;
	s->fd = fd;
	s->from = from;
	s->conv = conv;
	s->since = clock_now();
	if (client != NULL)
		s->client = *client;
	pthread_mutex_lock(&self.lock);
	LIST_INSERT_HEAD(&self.sessions, s, link);
	if (++self.nsessions > self.peak)
		self.peak = self.nsessions;
	if (conv == NULL)
		count_client(s, 1);
	pthread_mutex_unlock(&self.lock);
	if (start_thread(run_session, s) == 0)
		return;
	log_warn("cannot start a thread: %s", strerror(errno));
	pthread_mutex_lock(&self.lock);
	LIST_REMOVE(s, link);
	self.nsessions--;
	if (conv == NULL)
		count_client(s, -1);
	pthread_mutex_unlock(&self.lock);
	free(s);
	goto out;
fail:
	log_warn("no memory for a session with %s", from);
out:
	if (conv != NULL)
		conv_close(&conv);
	else
		close(fd);
}

/* --- room --- */

/* Those that were shut down count for some time yet, but not without end. */
static size_t evicted_most(void)
{
	return self.max / OVERLOAD_SHARE + 1;
}

static bool has_room(void)
{
	bool room;

	pthread_mutex_lock(&self.lock);
	room = self.nclients - self.nevicted < self.max &&
	    self.nclients < self.max + evicted_most();
	pthread_mutex_unlock(&self.lock);
	return room;
}

/* Is this still the connection that the session began with? Its thread may
 * have closed it. */
static bool is_same_peer(const struct session *s)
{
	struct sockaddr_storage now;
	socklen_t n = sizeof(now);

	return getpeername(s->fd, (struct sockaddr *)&now, &n) == 0 &&
	    n == s->client.peer_len && memcmp(&now, &s->client.peer, n) == 0;
}

/* Is the lock's holder's. All clients that may be ended, and their threads. */
static size_t list_clients(struct overload_session *v, struct session **who)
{
	int64_t now = clock_now();
	struct session *s;
	size_t n = 0;

	LIST_FOREACH(s, &self.sessions, link) {
		if (s->conv != NULL || s->evicted || !is_same_peer(s))
			continue;
		v[n] = (struct overload_session){
			overload_net_of(&s->client.peer), now - s->since,
			overload_octets(s->fd) };
		who[n++] = s;
	}
	return n;
}

static void tell_overload(size_t ended)
{
	int64_t now = clock_now();

	if (self.told_overload != 0 &&
	    now - self.told_overload < 10 * CLOCK_SECOND)
		return;
	self.told_overload = now;
	log_warn("all %zu sessions are taken: %zu that hardly moved make room "
	    "for others", self.max, ended);
}

/* The lock is held. */
static size_t pick_and_end(const struct overload_net *newcomer)
{
	size_t room = self.nclients + 1, most = evicted_most(), n = 0;
	struct overload_session *v = calloc(room, sizeof(*v));
	struct session **who = calloc(room, sizeof(struct session *));
	size_t *picked;

	most = self.nevicted < most ? most - self.nevicted : 0;
	picked = calloc(most + 1, sizeof(*picked));
	if (v != NULL && who != NULL && picked != NULL)
		n = overload_choose(v, list_clients(v, who), newcomer,
		    picked, most);
	for (size_t i = 0; i < n; i++) {
		who[picked[i]]->evicted = true;
		shutdown(who[picked[i]]->fd, SHUT_RDWR);
	}
	self.nevicted += n;
	free(v);
	free(who);
	free(picked);
	return n;
}

static bool is_of_crowd(const struct service_client *c)
{
	struct overload_net net = overload_net_of(&c->peer);
	size_t share;
	bool great;

	pthread_mutex_lock(&self.lock);
	share = (size_t)map_find(self.nets, str_n((const char *)&net,
	    sizeof(net)));
	great = overload_is_great(share + 1, self.nclients);
	pthread_mutex_unlock(&self.lock);
	return net.family == 0 || great;
}

/* Ends sessions so that this client, who is not of a crowd, can have one. */
static bool make_room(const struct service_client *c)
{
	struct overload_net net = overload_net_of(&c->peer);
	int64_t now = clock_now();
	size_t n;

	/* It looks at each connection: not for each newcomer in vain. */
	if (self.looked_in_vain != 0 &&
	    now - self.looked_in_vain < OVERLOAD_LOOK)
		return false;
	pthread_mutex_lock(&self.lock);
	n = pick_and_end(&net);
	pthread_mutex_unlock(&self.lock);
	self.looked_in_vain = n == 0 ? now : 0;
	if (n > 0)
		tell_overload(n);
	return n > 0 && has_room();
}

static void drop_parked(struct parked_list *list, struct parked *p)
{
	TAILQ_REMOVE(list, p, link);
	self.nparked--;
	free(p);
}

static void park(int fd, const struct service_client *c, bool great)
{
	struct parked *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		close(fd);
		return;
	}
	*p = (struct parked){ .fd = fd, .client = *c };
	TAILQ_INSERT_TAIL(great ? &self.parked_great : &self.parked, p, link);
	/* One of the crowd is sent away rather than somebody else. */
	if (++self.nparked == PARKED_MAX &&
	    (p = TAILQ_FIRST(&self.parked_great)) != NULL) {
		close(p->fd);
		drop_parked(&self.parked_great, p);
	}
	timer_in(self.retry, PARKED_RETRY);
}

/* Those who wait, as far as there is room; the crowd last. */
static void start_parked(void)
{
	while (self.nparked > 0 && has_room() &&
	    !service_draining()) {
		struct parked_list *list = TAILQ_EMPTY(&self.parked)
		    ? &self.parked_great : &self.parked;
		struct parked *p = TAILQ_FIRST(list);

		start_session(p->fd, p->client.listener, NULL, &p->client);
		drop_parked(list, p);
	}
}

/* Nobody new gets in, but those who did are served. */
static void end_parked(bool stopping)
{
	while (self.nparked > 0) {
		struct parked_list *list = TAILQ_EMPTY(&self.parked)
		    ? &self.parked_great : &self.parked;
		struct parked *p = TAILQ_FIRST(list);

		if (stopping)
			close(p->fd);
		else
			start_session(p->fd, p->client.listener, NULL, &p->client);
		drop_parked(list, p);
	}
}

static void on_retry(void *ctx)
{
	struct parked *p = TAILQ_FIRST(&self.parked);

	(void)ctx;
	if (p != NULL && !has_room())
		make_room(&p->client);
	start_parked();
	self.changed();
	if (self.nparked > 0)
		timer_in(self.retry, PARKED_RETRY);
}

/* Freed memory stays with the heap, in thousands of holes between what is in
 * use: each time that half of a crowd has gone it is given back. */
static void give_memory_back(void)
{
	bool now;

	pthread_mutex_lock(&self.lock);
	now = self.peak >= CROWD && self.nsessions <= self.peak / 2;
	if (now)
		self.peak = self.nsessions;
	pthread_mutex_unlock(&self.lock);
	if (now)
		malloc_trim(0);
}

/* --- the service's side --- */

void sessions_init(const struct service *program, void (*wake)(void))
{
	self.program = program;
	self.wake = wake;
	LIST_INIT(&self.sessions);
	TAILQ_INIT(&self.parked);
	TAILQ_INIT(&self.parked_great);
	if ((self.nets = map_new(false)) == NULL)
		log_fatal("no memory");
}

void sessions_begin(struct loop *loop, size_t max, void (*changed)(void))
{
	self.max = max;
	self.changed = changed;
	if ((self.retry = timer_new(loop, on_retry, NULL)) == NULL)
		log_fatal("no memory");
}

void sessions_converse(int fd, const char *from, struct conv *conv)
{
	start_session(fd, from, conv, NULL);
}

void sessions_admit(int fd, const struct service_client *c)
{
	/* who waits already is not overtaken by the crowd */
	bool crowd = (!has_room() || self.nparked > 0) && is_of_crowd(c);

	if (!crowd && (has_room() || make_room(c)))
		start_session(fd, c->listener, NULL, c);
	else
		park(fd, c, crowd);
	start_parked();
}

bool sessions_want_more(void)
{
	return has_room() || self.nparked < PARKED_MAX;
}

void sessions_went(void)
{
	start_parked();
	give_memory_back();
}

size_t sessions_count(void)
{
	size_t n;

	pthread_mutex_lock(&self.lock);
	n = self.nsessions;
	pthread_mutex_unlock(&self.lock);
	return n;
}

void sessions_drain(bool stopping)
{
	struct session *s;

	end_parked(stopping);
	pthread_mutex_lock(&self.lock);
	LIST_FOREACH(s, &self.sessions, link)
		if (s->conv != NULL ? s->idle : stopping)
			shutdown(s->fd, SHUT_RD);
	pthread_mutex_unlock(&self.lock);
}
