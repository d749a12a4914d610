/* conv.c - see conv.h; also what the skeleton (service/service.h) gives */
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>
#include <errno.h>
#include "base/clock.h"
#include "service/service.h"
#include "tests/fuzz/fakes/conv.h"
#include "tests/fuzz/fuzz.h"

struct packet {
	STAILQ_ENTRY(packet) link;
	char *p;
	size_t n;
	int fds[MSG_FD_MAX];
	size_t nfds;
};

struct edge {
	const char *server;
	fake_peer_fn *peer;
	const struct msg_schema *const *kinds;
	void *state;
	int fd;			/* of edge_new() */
};

struct conv {
	LIST_ENTRY(conv) link;
	const char *name;
	fake_peer_fn *peer;
	const struct msg_schema *const *kinds;
	STAILQ_HEAD(, packet) packets;
	struct packet *last;	/* whose views are in use */
	struct arena *arena;
	bool left, leaves, full;
	int fd;			/* a number that no descriptor has */
	pid_t pid;
	uid_t uid;
	void *state;
};

static struct edge edges[16];
#define LEADS 256		/* descriptors have lower numbers */
static struct edge leads[LEADS];
static size_t edge_count, led_count, open_count, made_count;
static LIST_HEAD(, conv) convs = LIST_HEAD_INITIALIZER(convs);
bool fake_away, fake_privileged;
int fake_dir = -1, fake_mailspool = -1, fake_descriptor = -1;
int (*fake_spawn)(void (*fn)(void *), void *arg);
unsigned fake_done;
const struct params *fake_params;
struct arena *fake_arena;

struct edge *fake_edge(const char *server, fake_peer_fn *peer,
    const struct msg_schema *const *kinds)
{
	struct edge *e = &edges[edge_count++];

	fuzz_check(edge_count <= 16, "too many edges");
	*e = (struct edge){ server, peer, kinds, NULL, -1 };
	return e;
}

void fake_lead(int fd, fake_peer_fn *peer,
    const struct msg_schema *const *kinds, void *state)
{
	fuzz_check(fd >= 0 && fd < LEADS, "descriptor %d", fd);
	leads[fd] = (struct edge){ NULL, peer, kinds, state, fd };
}

size_t fake_edges(void)
{
	return led_count;
}

void fake_forget(void)
{
	edge_count = 0;
	memset(leads, 0, sizeof(leads));
	fake_away = false;
	fake_done = 0;
	fuzz_check(open_count == 0, "%zu conversations are left open",
	    open_count);
	fuzz_check(led_count == 0, "%zu edges are left", led_count);
}

static struct conv *make(const char *name, fake_peer_fn *peer)
{
	struct conv *c = calloc(1, sizeof(*c));

	fuzz_check(c != NULL, "no memory");
	c->name = name;
	c->peer = peer;
	STAILQ_INIT(&c->packets);
	c->fd = FAKE_FD + (int)(made_count++ % FAKE_FD);
	c->pid = -1;
	LIST_INSERT_HEAD(&convs, c, link);
	open_count++;
	return c;
}

struct conv *fake_client(const char *client, fake_peer_fn *peer)
{
	return make(client, peer);
}

void **fake_state(struct conv *c)
{
	return &c->state;
}

struct conv *fake_find(int fd)
{
	struct conv *c;

	LIST_FOREACH(c, &convs, link)
		if (c->fd == fd)
			return c;
	return NULL;
}

void fake_is(struct conv *c, pid_t pid, uid_t uid)
{
	c->pid = pid;
	c->uid = uid;
}

void fake_full(struct conv *c, bool full)
{
	c->full = full;
}

void fake_leave(struct conv *c)
{
	c->left = true;
}

void fake_leave_last(struct conv *c)
{
	c->leaves = true;
}

void fake_say_raw(struct conv *c, struct str wire, const int *fds,
    size_t nfds)
{
	struct packet *k = calloc(1, sizeof(*k));

	fuzz_check(k != NULL && (k->p = malloc(wire.n ? wire.n : 1)) != NULL &&
	    nfds <= MSG_FD_MAX, "no memory");
	k->n = wire.n;
	if (wire.n > 0)
		memcpy(k->p, wire.p, wire.n);
	k->nfds = nfds;
	for (size_t i = 0; i < nfds; i++)
		k->fds[i] = fds[i];
	STAILQ_INSERT_TAIL(&c->packets, k, link);
}

void fake_say(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	int fds[MSG_FD_MAX];
	size_t nfds;
	struct buf out;
	const char *why = "";

	buf_init(&out, MSG_MAX + 16);
	if (msg_encode(schema, msg, &out, fds, &nfds, &why) < 0)
		fuzz_fail(__FILE__, __LINE__, "a neighbour's %s: %s",
		    schema->name, why);
	fake_say_raw(c, buf_str(&out), fds, nfds);
	buf_fini(&out);
}

bool fake_first(const struct conv *c, const struct msg_schema *schema,
    struct arena *arena, void *msg)
{
	const struct packet *k = STAILQ_FIRST(&c->packets);
	const char *why;

	return k != NULL && msg_id(str_n(k->p, k->n)) == schema->id &&
	    msg_decode(schema, str_n(k->p, k->n), k->fds, k->nfds, arena, msg,
	    &why) == 0;
}

static void packet_free(struct packet *k, bool with_fds)
{
	if (k == NULL)
		return;
	for (size_t i = 0; with_fds && i < k->nfds; i++)
		close(k->fds[i]);
	free(k->p);
	free(k);
}

/* --- lib/ipc/conv.h --- */

struct edge *edge_new(const char *name, int fd)
{
	struct edge *e = malloc(sizeof(*e));

	fuzz_check(e != NULL, "no memory");
	*e = fd < LEADS ? leads[fd] : (struct edge){ 0 };
	e->server = name;
	e->fd = fd;
	led_count++;
	return e;
}

void edge_free(struct edge **ep)
{
	if (*ep == NULL)
		return;
	close((*ep)->fd);
	free(*ep);
	*ep = NULL;
	led_count--;
}

const char *edge_name(const struct edge *e)
{
	return e->server;
}

struct conv *edge_open_fresh(struct edge *e, int64_t deadline)
{
	struct conv *c;

	(void)deadline;
	if (fake_away) {
		errno = ETIMEDOUT;
		return NULL;
	}
	c = make(e->server, e->peer);
	c->kinds = e->kinds;
	c->state = e->state;
	return c;
}

struct conv *edge_open(struct edge *e, int64_t deadline)
{
	return edge_open_fresh(e, deadline);
}

void conv_close(struct conv **cp)
{
	struct conv *c = *cp;
	struct packet *k;

	if (c == NULL)
		return;
	while ((k = STAILQ_FIRST(&c->packets)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->packets, link);
		packet_free(k, true);
	}
	packet_free(c->last, false);
	arena_free(&c->arena);
	LIST_REMOVE(c, link);
	free(c);
	open_count--;
	*cp = NULL;
}

void conv_keep(struct conv **cp)
{
	conv_close(cp);
}

int conv_fd(const struct conv *c)
{
	return c->fd;
}

int conv_peer(const struct conv *c, pid_t *pid_r, uid_t *uid_r)
{
	if (c->pid < 0)
		return -1;
	if (pid_r != NULL)
		*pid_r = c->pid;
	if (uid_r != NULL)
		*uid_r = c->uid;
	return 0;
}

const char *conv_name(const struct conv *c)
{
	return c->name;
}

int conv_send(struct conv *c, const struct msg_schema *schema,
    const void *msg, int64_t deadline, const char **why_r)
{
	struct arena *arena = arena_new(4 << 20);
	void *heard = malloc(schema->size ? schema->size : 1);
	int fds[MSG_FD_MAX];
	size_t nfds = 0;
	struct buf out;
	char *exact;
	int rc;

	(void)deadline;
	*why_r = "the other end is gone";
	buf_init(&out, MSG_MAX + 16);
	if (c->left || c->full) {
		errno = c->left ? EPIPE : ETIMEDOUT;
		rc = -1;
		goto out;
	}
	if ((rc = msg_encode(schema, msg, &out, fds, &nfds, why_r)) < 0)
		goto out;
	if (c->kinds != NULL) {
		size_t i = 0;

		while (c->kinds[i] != NULL && c->kinds[i] != schema)
			i++;
		fuzz_check(c->kinds[i] != NULL, "%s is asked %s", c->name,
		    schema->name);
	}
	fuzz_check((exact = malloc(out.n)) != NULL, "no memory");
	memcpy(exact, out.p, out.n);
	rc = msg_decode(schema, str_n(exact, out.n), fds, nfds, arena, heard,
	    why_r);
	fuzz_check(rc == 0, "what was sent cannot be read: %s", *why_r);
	if (c->peer != NULL)
		c->peer(c, schema, heard);
	free(exact);
out:
	buf_fini(&out);
	free(heard);
	arena_free(&arena);
	return rc;
}

int conv_try_send(struct conv *c, const struct msg_schema *schema,
    const void *msg, const char **why_r)
{
	*why_r = "the other end does not take it";
	return c->full ? 1 : conv_send(c, schema, msg, 0, why_r);
}

enum conv_got conv_recv(struct conv *c,
    const struct msg_schema *const *allowed, size_t nallowed,
    const struct msg_schema **schema_r, void *msg, int64_t deadline,
    const char **why_r)
{
	struct packet *k = STAILQ_FIRST(&c->packets);
	uint16_t id;

	packet_free(c->last, false);
	c->last = NULL;
	arena_free(&c->arena);
	*why_r = "the other end is gone";
	if (k == NULL && (c->left || c->leaves || deadline == CLOCK_NEVER))
		return CONV_CLOSED;
	*why_r = "timed out";
	if (k == NULL)
		return CONV_TIMEOUT;
	STAILQ_REMOVE_HEAD(&c->packets, link);
	c->arena = arena_new(512 * 1024);
	id = msg_id(str_n(k->p, k->n));
	for (size_t i = 0; i < nallowed; i++) {
		if (allowed[i]->id != id)
			continue;
		if (msg_decode(allowed[i], str_n(k->p, k->n), k->fds,
			k->nfds, c->arena, msg, why_r) < 0)
			goto broken;
		c->last = k;
		*schema_r = allowed[i];
		return CONV_MESSAGE;
	}
	*why_r = "message not allowed now";
broken:
	packet_free(k, true);
	return CONV_BROKEN;
}

enum conv_got conv_try_recv(struct conv *c,
    const struct msg_schema *const *allowed, size_t nallowed,
    const struct msg_schema **schema_r, void *msg, const char **why_r)
{
	return conv_recv(c, allowed, nallowed, schema_r, msg, 0, why_r);
}

int conv_call(struct conv *c, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t deadline, const char **why_r)
{
	const struct msg_schema *allowed[] = { reply }, *got;

	return conv_send(c, request, req, deadline, why_r) == 0 &&
	    conv_recv(c, allowed, 1, &got, rep, deadline, why_r) ==
	    CONV_MESSAGE ? 0 : -1;
}

/* --- lib/service/service.h --- */

const struct params *service_params(void)
{
	return fake_params;
}

const char *service_name(void)
{
	return "fuzz";
}

const char *service_arg(void)
{
	return "";
}

struct edge *service_edge(const char *server)
{
	for (size_t i = 0; i < edge_count; i++)
		if (strcmp(edges[i].server, server) == 0)
			return &edges[i];
	return NULL;
}

int service_file(const char *param)
{
	(void)param;
	return fake_descriptor;
}

int service_dir(const char *role)
{
	return strcmp(role, "mailspool") == 0 ? fake_mailspool : fake_dir;
}

bool service_stopping(void)
{
	return false;
}

bool service_draining(void)
{
	return false;
}

bool service_is_privileged(void)
{
	return fake_privileged;
}

void service_done(void)
{
	fake_done++;
}

size_t service_session_max(void)
{
	return 4;
}

int service_thread(void (*fn)(void *), void *arg)
{
	return fake_spawn == NULL ? -1 : fake_spawn(fn, arg);
}

enum conv_got service_recv(struct conv *c, const struct msg_schema *const *ok,
    size_t n, const struct msg_schema **schema_r, void *msg,
    const char **why_r)
{
	return conv_recv(c, ok, n, schema_r, msg, CLOCK_NEVER, why_r);
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	struct edge *e = service_edge(server);

	(void)timeout_us;
	*conv_r = NULL;
	*why_r = "cannot be reached";
	if (e == NULL || (*conv_r = edge_open(e, 0)) == NULL)
		return -1;
	if (conv_call(*conv_r, request, req, reply, rep, 0, why_r) == 0)
		return 0;
	conv_close(conv_r);
	return -1;
}
