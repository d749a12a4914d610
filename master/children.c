/*
 * children.c - every process, from its start to its end
 *
 * A child that dies is replaced at once; one that dies before it was ready
 * for a while (SERVED) is replaced after a delay that doubles.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "master/master.h"
#include "msgs/control.h"
#include "service/spawn.h"

#define SERVED (5 * CLOCK_SECOND)
#define DELAY_LEAST (100 * CLOCK_MS)
/* Until a start is tried again for which the machine had nothing to spare. */
#define RETRY CLOCK_SECOND
#define STOP_PATIENCE (5 * CLOCK_SECOND)
#define SEND_PATIENCE (10 * CLOCK_SECOND)

static LIST_HEAD(, child) children = LIST_HEAD_INITIALIZER(children);

/* A place in a group that waits for its restart. */
struct vacancy {
	struct group *group;
	struct plan *plan;
	unsigned slot;
	struct timer *timer;
};

/* Per program: how long the next restart waits. */
static struct {
	const struct sandbox *row;
	int64_t delay;
} delays[64];

static int64_t *delay_of(const struct sandbox *row)
{
	size_t i = (size_t)(row - sandbox_programs);

	if (i >= 64)
		log_panic("more programs than expected");
	return &delays[i].delay;
}

/* --- what a program is given --- */

static int give_dir(struct conv *c, const struct plan *plan, const char *role)
{
	int fd, rc = 0;

	for (unsigned nth = 0; rc == 0; nth++) {
		fd = spool_open_role(plan, role, nth);
		if (fd < 0)
			return files_is_passing(errno) ? -1 : 0;
		rc = spawn_give(c, CONTROL_DIR, role, fd);
		close(fd);
	}
	return rc;
}

static int give_dirs(struct conv *c, const struct plan *plan,
    const struct group *g)
{
	const char *p = g->row->directories;
	char role[64];
	int fd, rc;

	if (strcmp(g->row->name, "launch") == 0 &&
	    (give_dir(c, plan, "mail") < 0 ||
		give_dir(c, plan, "mailspool") < 0 ||
		give_dir(c, plan, "accounts") < 0))
		return -1;
	if (strcmp(p, "*") == 0)
		p = "";
	while (*p != '\0') {
		size_t len = strcspn(p, " "), n = strcspn(p, ":");

		snprintf(role, sizeof(role), "%.*s", (int)n, p);
		if (give_dir(c, plan, role) < 0)
			return -1;
		p += len + (p[len] == ' ');
	}
	if (g->row->root != SANDBOX_EMPTY)
		return 0;
	if ((fd = spool_open_role(plan, "empty", 0)) < 0)
		return files_is_passing(errno) ? -1 : 0;
	rc = spawn_give(c, CONTROL_ROOT, "root", fd);
	close(fd);
	return rc;
}

/* What a session, or a delivery, asks at once, and what a client keeps. */
#define CONVERSATIONS_SPARE 256

static size_t conversations_of(const struct plan *plan,
    const struct group *g)
{
	/* who asks for all who ask them */
	static const char *const middle[] = { "cleanup", "lookup", "auth",
		"qmgr" };
	size_t n = g->session_max;

	for (size_t i = 0; i < sizeof(middle) / sizeof(middle[0]); i++)
		if (strcmp(g->row->name, middle[i]) == 0)
			n = plan->sessions;
	return n + CONVERSATIONS_SPARE;
}

static bool is_served_by(const struct child *client, size_t row,
    const struct child *server)
{
	return client->edges[row] >= 0 && server->serves && server->ready &&
	    !server->stopping &&
	    strcmp(sandbox_edges[row].server, server->row->name) == 0;
}

static void tell_edge(struct child *client, size_t row, struct child *server)
{
	if (is_served_by(client, row, server) &&
	    spawn_give_served(server->control, client->row->name,
		client->edges[row], client->most) < 0)
		log_warn("%s[%d] does not take its edge to %s[%d]",
		    server->service, (int)server->pid, client->service,
		    (int)client->pid);
}

/* A server that is ready hears of all who may ask it. */
static void give_clients(struct child *server)
{
	struct child *c;

	LIST_FOREACH(c, &children, link)
		for (size_t i = 0; sandbox_edges[i].client != NULL; i++)
			tell_edge(c, i, server);
}

/*
 * Each process has edges of its own: one that was taken over can shut them
 * down, or have more conversations than it should, for itself only. The
 * servers that are ready get the other ends, the later ones in on_control().
 */
static int give_edges(struct child *c)
{
	struct child *server;

	for (size_t i = 0; sandbox_edges[i].client != NULL; i++) {
		int pair[2], rc;

		if (i == EDGES_MAX)
			log_panic("more edges than expected");
		if (strcmp(sandbox_edges[i].client, c->row->name) != 0)
			continue;
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
			SOCK_NONBLOCK, 0, pair) < 0)
			return -1;
		c->edges[i] = pair[1];
		rc = spawn_give(c->control, CONTROL_ASK,
		    sandbox_edges[i].server, pair[0]);
		close(pair[0]); /* so that its end is the edge's end */
		if (rc < 0)
			return -1;
		LIST_FOREACH(server, &children, link)
			tell_edge(c, i, server);
	}
	return 0;
}

static void close_edges(struct child *c)
{
	for (size_t i = 0; i < EDGES_MAX; i++)
		if (c->edges[i] >= 0)
			close(c->edges[i]);
}

static int give_programs(struct conv *c, const struct group *g)
{
	static const char *const launched[] = { "imapd", "pop3d", "deliver",
		"deliver_command" };

	if (strcmp(g->row->name, "launch") != 0)
		return 0;
	for (size_t i = 0; i < 4; i++) {
		int fd = openat(master.bin_fd, launched[i],
		    O_PATH | O_CLOEXEC), rc;

		if (fd < 0) {
			log_warn("program %s: %s", launched[i],
			    strerror(errno));
			continue;
		}
		rc = spawn_give(c, CONTROL_EXEC, launched[i], fd);
		close(fd);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int give_all(struct child *child, const struct plan *plan,
    const struct group *g)
{
	struct conv *c = child->control;
	gid_t gid = 0;
	uid_t uid = plan_uid(plan, g->row, &gid);
	struct control_start start = {
		.program = str_of(g->row->name),
		.service = str_of(g->service),
		.params = { g->pairs, g->npairs },
		.uid = uid == (uid_t)-1 ? UINT32_MAX : uid,
		.gid = gid,
		.session_max = g->session_max,
		/* (login's relays are no sessions in this sense) */
		.idle_max = g->on_demand && strcmp(g->row->name, "smtpd") == 0
		    ? (uint64_t)plan->params.max_idle : 0,
	};
	const char *why;

	if (uid == (uid_t)-2 || conv_send(c, &control_start_schema, &start,
		clock_now() + SEND_PATIENCE, &why) < 0)
		return -1;
	/* `log` has the other end, and its own lines go there too */
	if (spawn_give(c, CONTROL_LOG, "log", master.log_pair[0]) < 0 ||
	    (strcmp(g->row->name, "log") == 0 && spawn_give(c, CONTROL_FILE,
		"log", master.log_pair[1]) < 0))
		return -1;
	for (size_t i = 0; i < g->nlisteners; i++)
		if (spawn_give(c, CONTROL_LISTEN, g->listeners[i].name,
			g->listeners[i].listener->fd) < 0)
			return -1;
	if (give_dirs(c, plan, g) < 0 || files_give(c, plan, g) < 0 ||
	    give_edges(child) < 0 || give_programs(c, g) < 0)
		return -1;
	return conv_send(c, &control_go_schema, NULL,
	    clock_now() + SEND_PATIENCE, &why);
}

/* --- start --- */

static void on_control(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&control_ready_schema, &control_idle_schema };
	const struct msg_schema *got;
	struct child *c = ctx;
	const char *why;

	(void)fd;
	(void)ready;
	switch (conv_try_recv(c->control, allowed, 2, &got, NULL, &why)) {
	case CONV_MESSAGE:
		if (got == &control_ready_schema && !c->ready) {
			c->ready = true;
			give_clients(c);
		}
		return;
	case CONV_TIMEOUT:
		return;
	case CONV_CLOSED:
	case CONV_BROKEN:
		watch_free(&c->watch); /* its end comes as a signal */
	}
}

static int open_program(const char *name)
{
	return openat(master.bin_fd, name, O_PATH | O_CLOEXEC);
}

static void start_child(struct plan *plan, struct group *g, unsigned slot);

static void fill(void *ctx)
{
	struct vacancy *v = ctx;

	if (!master.stopping && v->plan == master.plan)
		start_child(v->plan, v->group, v->slot);
	timer_free(&v->timer);
	free(v);
}

static void fill_later(struct plan *plan, struct group *g, unsigned slot,
    int64_t delay)
{
	struct vacancy *v = calloc(1, sizeof(*v));

	if (v == NULL || (v->timer = timer_new(master.loop, fill, v)) == NULL)
		log_fatal("no memory");
	v->plan = plan;
	v->group = g;
	v->slot = slot;
	timer_in(v->timer, delay);
}

/* Where the machine has no process, descriptor or memory to spare it is tried
 * again: who waits for the service has no other way to have it. */
static void start_child(struct plan *plan, struct group *g, unsigned slot)
{
	struct child *c = calloc(1, sizeof(*c));
	int exec_fd = open_program(g->row->name);

	if (c == NULL || exec_fd < 0) {
		log_warn("program %s: %s", g->row->name, strerror(errno));
		free(c);
		if (exec_fd >= 0)
			close(exec_fd);
		fill_later(plan, g, slot, RETRY);
		return;
	}
	c->pid = spawn_program(exec_fd, g->row->name, NULL, &c->control);
	close(exec_fd);
	if (c->pid < 0) {
		log_warn("cannot start %s: %s", g->row->name,
		    strerror(errno));
		free(c);
		fill_later(plan, g, slot, RETRY);
		return;
	}
	c->plan = plan;
	c->group = g;
	c->row = g->row;
	c->service = strdup(g->service);
	c->on_tcp = g->on_tcp;
	c->slot = slot;
	c->started = clock_now();
	LIST_INSERT_HEAD(&children, c, link);
	c->serves = g->first;
	c->most = conversations_of(plan, g);
	for (size_t i = 0; i < EDGES_MAX; i++)
		c->edges[i] = -1;
	if (give_all(c, plan, g) < 0 || (c->watch = watch_new(master.loop,
		conv_fd(c->control), LOOP_READ, on_control, c)) == NULL) {
		log_warn("cannot prepare %s, process %d", g->row->name,
		    (int)c->pid);
		kill(c->pid, SIGKILL); /* and its end brings another */
	}
}

static void tell(struct child *c, const struct msg_schema *what)
{
	const char *why;

	if (c->stopping && what == &control_drain_schema)
		return;
	c->stopping = true;
	conv_send(c->control, what, NULL, clock_now() + CLOCK_SECOND, &why);
}

/* Same parameters and sockets, and nothing behind them that is read once. */
static bool is_unchanged(const struct group *a, const struct group *b)
{
	static const char *const always[] = { "smtpd", "login", "keys", "log",
		"smtp", "dns" };

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (strcmp(a->row->name, always[i]) == 0)
			return false;
	if (a->row != b->row || strcmp(a->service, b->service) != 0 ||
	    a->npairs != b->npairs || a->nlisteners != b->nlisteners ||
	    a->session_max != b->session_max)
		return false;
	for (size_t i = 0; i < a->npairs; i++)
		if (!str_eq(a->pairs[i], b->pairs[i]))
			return false;
	for (size_t i = 0; i < a->nlisteners; i++)
		if (a->listeners[i].listener != b->listeners[i].listener)
			return false;
	return true;
}

static bool adopt(struct plan *plan, struct group *g)
{
	struct child *c;
	bool any = false;

	LIST_FOREACH(c, &children, link)
		if (c->plan != NULL && c->plan != plan && !c->stopping &&
		    is_unchanged(c->group, g)) {
			c->plan = plan;
			c->group = g;
			any = true;
		}
	return any;
}

static void start_group(struct plan *plan, struct group *g)
{
	for (unsigned i = 0; i < g->processes; i++)
		start_child(plan, g, i);
}

static void stop_waiting(struct group *g)
{
	for (size_t i = 0; i < g->nlisteners; i++)
		watch_free(&g->waits[i]);
}

static void on_first_client(int fd, unsigned ready, void *ctx)
{
	struct group *g = ctx;

	(void)fd;
	(void)ready;
	stop_waiting(g);
	start_group(master.plan, g);
}

/* The group is of the plan in force. */
static void wait_for_client(struct group *g)
{
	for (size_t i = 0; i < g->nlisteners; i++) {
		g->waits[i] = watch_new(master.loop,
		    g->listeners[i].listener->fd, LOOP_READ, on_first_client,
		    g);
		if (g->waits[i] == NULL) {
			log_warn("cannot watch a listener: %s",
			    strerror(errno));
			on_first_client(-1, 0, g); /* it is met at once */
			return;
		}
	}
}

void children_start(struct plan *plan)
{
	struct plan *old = master.plan == plan ? NULL : master.plan;
	struct group *g;
	struct child *c;

	master.plan = plan;
	if (old != NULL)
		TAILQ_FOREACH(g, &old->groups, link)
			stop_waiting(g);
	TAILQ_FOREACH(g, &plan->groups, link) {
		if (old != NULL && adopt(plan, g))
			continue;
		if (g->on_demand)
			wait_for_client(g);
		else
			start_group(plan, g);
	}
	if (old == NULL)
		return;
	LIST_FOREACH(c, &children, link)
		if (c->plan == old) {
			c->plan = NULL;
			c->group = NULL;
			tell(c, &control_drain_schema);
		}
	/* vacancies of the old plan find master.plan changed and end; its
	 * memory stays: reloads are rare and plans are small */
}

bool children_ready(void)
{
	struct child *c;

	LIST_FOREACH(c, &children, link)
		if (!c->ready)
			return false;
	return true;
}

/* --- end --- */

/* It ended by itself, having had nothing to do: the last one of its group
 * leaves the watch to us. */
static bool is_retired(const struct child *c, int status)
{
	const struct child *other;

	if (!c->group->on_demand || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 0)
		return false;
	LIST_FOREACH(other, &children, link)
		if (other->group == c->group)
			return true;
	wait_for_client(c->group);
	return true;
}

static void replace(const struct child *c)
{
	int64_t most = c->plan->params.service_throttle_time * CLOCK_SECOND;
	int64_t *delay = delay_of(c->row);

	if (c->ready && clock_now() - c->started >= SERVED)
		*delay = 0;
	else if (!c->ready)
		*delay = *delay == 0 ? DELAY_LEAST
		    : *delay * 2 > most ? most : *delay * 2;
	if (*delay > CLOCK_SECOND)
		log_warn("%s died before it served; next start in %lld s",
		    c->service, (long long)(*delay / CLOCK_SECOND));
	fill_later(c->plan, c->group, c->slot, *delay);
}

/* Groups of programs that end together when all stop, first to last. */
static int stop_phase(const struct child *c)
{
	static const char *const middle[] = { "cleanup", "local", "smtp",
		"bounce", "launch" };

	if (c->on_tcp || strcmp(c->row->name, "pickup") == 0)
		return 0;
	for (size_t i = 0; i < sizeof(middle) / sizeof(middle[0]); i++)
		if (strcmp(c->row->name, middle[i]) == 0)
			return 1;
	return strcmp(c->row->name, "log") == 0 ? 3 : 2;
}

static int phase = -1;
static struct timer *patience;

static void next_phase(void)
{
	struct child *c;
	bool any = false;

	while (!any && ++phase <= 3)
		LIST_FOREACH(c, &children, link)
			if (stop_phase(c) <= phase) {
				tell(c, &control_stop_schema);
				any = true;
			}
	if (!any) {
		loop_stop(master.loop);
		return;
	}
	timer_in(patience, STOP_PATIENCE);
}

static void lose_patience(void *ctx)
{
	struct child *c;

	(void)ctx;
	LIST_FOREACH(c, &children, link)
		if (stop_phase(c) <= phase) {
			log_warn("%s[%d] does not end; killed", c->service,
			    (int)c->pid);
			kill(c->pid, SIGKILL);
		}
	timer_in(patience, STOP_PATIENCE);
}

void children_stop(void)
{
	struct group *g;

	TAILQ_FOREACH(g, &master.plan->groups, link)
		stop_waiting(g);
	patience = timer_new(master.loop, lose_patience, NULL);
	if (patience == NULL)
		log_fatal("no memory");
	next_phase();
}

static void phase_over(void)
{
	struct child *c;

	LIST_FOREACH(c, &children, link)
		if (stop_phase(c) <= phase)
			return;
	next_phase();
}

static void tell_end(const struct child *c, int status)
{
	if (WIFSIGNALED(status))
		log_warn("process %s[%d] killed by signal %d", c->service,
		    (int)c->pid, WTERMSIG(status));
	else if (WEXITSTATUS(status) == 111)
		log_warn("process %s[%d]: cannot execute the program",
		    c->service, (int)c->pid);
	else if (WEXITSTATUS(status) != 0)
		log_warn("process %s[%d] exit status %d", c->service,
		    (int)c->pid, WEXITSTATUS(status));
}

void children_reap(void)
{
	struct child *c;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		LIST_FOREACH(c, &children, link)
			if (c->pid == pid)
				break;
		if (c == NULL)
			continue;
		LIST_REMOVE(c, link);
		if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0))
			tell_end(c, status);
		if (!master.stopping && c->plan != NULL &&
		    !is_retired(c, status))
			replace(c);
		watch_free(&c->watch);
		conv_close(&c->control);
		close_edges(c);
		free(c->service);
		free(c);
	}
	if (master.stopping && phase >= 0)
		phase_over();
}
