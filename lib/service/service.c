/*
 * service.c - start-up as a checklist, then threads for what arrives
 *
 *   parent's parameters and descriptors -> start() -> walls -> ready() ->
 *   "ready" to the parent -> serve until the parent's end of file or drain
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "msgs/control.h"
#include "service/logclient.h"
#include "service/sandbox.h"
#include "service/service.h"
#include "service/sessions.h"
#include "service/spawn.h"

#define TIDY_EVERY (5 * CLOCK_SECOND)
#define START_TIMEOUT (30 * CLOCK_SECOND)
#define PARAMS_MAX (1024 * 1024)

/* A descriptor that the parent gave, by kind and name. */
struct given {
	LIST_ENTRY(given) link;
	enum control_kind kind;
	char *name;
	int fd;
	struct edge *edge;	/* CONTROL_ASK */
	struct watch *watch;	/* CONTROL_LISTEN */
};

/* The server's end of an edge to one process of a client. They come and go
 * with those; the loop's thread alone knows them. */
struct served {
	LIST_ENTRY(served) link;
	const char *client;	/* of sandbox.def: lives as long as we do */
	int fd;
	size_t most;
	struct conv_tally *tally;
	struct watch *watch;
	int64_t complained;	/* clock_now() of the last line about it */
};

static struct {
	const struct service *program;
	const struct sandbox *row;
	struct params params;
	struct arena *arena;
	char *service, *arg, *dir;
	struct strs pairs;
	LIST_HEAD(, given) given;
	LIST_HEAD(, served) served;
	struct loop *loop;
	struct conv *control;
	struct watch *control_watch;
	int wake;		/* eventfd: a session ended */
	size_t session_max;
	int64_t idle_max;	/* microseconds; 0: never ends for that */
	struct timer *idle;
	struct timer *tidy;
	bool privileged;
	bool confine_dir;
	atomic_bool draining, stopping;
	atomic_bool busy;	/* drain() returned false, not yet done */
} self;

static int given_fd(enum control_kind, const char *name);

const struct params *service_params(void)
{
	return &self.params;
}

const char *service_name(void)
{
	return self.service;
}

const char *service_arg(void)
{
	return self.arg;
}

const char *service_dir_arg(void)
{
	return self.dir;
}

struct strs service_pairs(void)
{
	return self.pairs;
}

int service_log_fd(void)
{
	return given_fd(CONTROL_LOG, "log");
}

bool service_stopping(void)
{
	return atomic_load(&self.stopping);
}

bool service_draining(void)
{
	return atomic_load(&self.draining);
}

bool service_is_privileged(void)
{
	return self.privileged;
}

size_t service_session_max(void)
{
	return self.session_max;
}

static struct given *find_given(enum control_kind kind, const char *name)
{
	struct given *g;

	LIST_FOREACH(g, &self.given, link)
		if (g->kind == kind && strcmp(g->name, name) == 0)
			return g;
	return NULL;
}

struct edge *service_edge(const char *server)
{
	struct given *g = find_given(CONTROL_ASK, server);

	return g ? g->edge : NULL;
}

static int given_fd(enum control_kind kind, const char *name)
{
	struct given *g = find_given(kind, name);

	return g ? g->fd : -1;
}

int service_dir(const char *role)
{
	return given_fd(CONTROL_DIR, role);
}

int service_file(const char *param)
{
	return given_fd(CONTROL_FILE, param);
}

int service_exec(const char *program)
{
	return given_fd(CONTROL_EXEC, program);
}

/* --- asking others --- */

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	int64_t deadline = clock_now() + timeout_us;
	struct edge *e = service_edge(server);

	*conv_r = NULL;
	*why_r = "no edge";
	if (e == NULL)
		return -1;
	for (int attempt = 0; attempt < 2; attempt++) {
		struct conv *c = attempt == 0 ? edge_open(e, deadline)
		    : edge_open_fresh(e, deadline);
		const struct msg_schema *allowed[] = { reply }, *got;
		enum conv_got how;

		if (c == NULL) {
			*why_r = errno == ETIMEDOUT ? "timed out"
			    : "cannot be reached";
			return -1;
		}
		if (conv_send(c, request, req, deadline, why_r) == 0) {
			how = conv_recv(c, allowed, 1, &got, rep, deadline,
			    why_r);
			if (how == CONV_MESSAGE) {
				*conv_r = c;
				return 0;
			}
			/* an answer may be on its way: never ask twice, but
			 * for one who left before it took the question */
			if (how != CONV_CLOSED)
				attempt = 2;
		}
		conv_close(&c);
	}
	return -1;
}

static void wake_main(void)
{
	uint64_t one = 1;

	if (write(self.wake, &one, sizeof(one)) < 0)
		return; /* it is awake already */
}

/* --- what arrives --- */

static void watch_listeners(void)
{
	unsigned want = sessions_want_more() && !atomic_load(&self.draining)
	    ? LOOP_READ : 0;
	struct given *g;

	LIST_FOREACH(g, &self.given, link)
		if (g->kind == CONTROL_LISTEN && g->watch != NULL)
			watch_want(g->watch, want);
}

static void on_listener(int fd, unsigned ready, void *ctx)
{
	struct given *g = ctx;
	struct service_client c = { .listener = g->name };
	int client;

	(void)ready;
	c.peer_len = sizeof(c.peer);
	c.local_len = sizeof(c.local);
	client = accept4(fd, (struct sockaddr *)&c.peer, &c.peer_len,
	    SOCK_CLOEXEC);
	if (client < 0) {
		/* out of descriptors: the backlog holds them meanwhile */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			usleep(10000);
		return;
	}
	if (getsockname(client, (struct sockaddr *)&c.local,
		&c.local_len) < 0)
		c.local_len = 0;
	if (self.program->session_arrived != NULL) {
		self.program->session_arrived(client, &c);
		return;
	}
	sessions_admit(client, &c);
	watch_listeners();
}

/* Who was taken over must not fill the log, too. */
static void complain(struct served *e, const char *what)
{
	int64_t now = clock_now();

	if (e->complained != 0 && now - e->complained < CLOCK_SECOND)
		return;
	e->complained = now;
	log_warn("%s: %s", e->client, what);
}

static void end_edge(struct served *e)
{
	LIST_REMOVE(e, link);
	if (e->watch != NULL)
		watch_free(&e->watch);
	conv_tally_free(&e->tally);
	close(e->fd);
	free(e);
}

static void refuse_conv(struct served *e, struct conv *c)
{
	char text[96];

	snprintf(text, sizeof(text), "one process of it wants more than %zu "
	    "conversations at a time: refused", e->most);
	complain(e, text);
	conv_close(&c);
}

static void drain(bool stopping);

/* That process is gone, or ended it. Who was started for a user has all his
 * edges from the start: without one nobody can come any more. */
static void lose_edge(struct served *e)
{
	end_edge(e);
	if (LIST_EMPTY(&self.served) && self.row->processes == 0)
		drain(false);
}

static void on_edge(int fd, unsigned ready, void *ctx)
{
	struct served *e = ctx;
	int conv = edge_accept(fd);
	struct conv *c;

	(void)ready;
	if (conv < 0) {
		if (errno == EPIPE)
			lose_edge(e);
		else if (errno == EPROTO)
			complain(e, "what it sent is no conversation");
	} else if ((c = conv_new(e->client, conv)) == NULL) {
		complain(e, "no memory for a conversation");
	} else if (conv_tally_join(e->tally, c) < 0) {
		refuse_conv(e, c);
	} else if (self.program->conv_arrived != NULL) {
		self.program->conv_arrived(c, e->client);
	} else {
		sessions_converse(conv, e->client, c);
	}
}

/* --- the end --- */

static bool is_idle(void)
{
	return sessions_count() == 0 && !atomic_load(&self.busy);
}

static void end_if_done(void)
{
	/* Not exit(): OpenSSL would free what the destructors of threads that
	 * just ended still use. */
	if (atomic_load(&self.draining) && is_idle())
		_exit(0);
}

void service_done(void)
{
	atomic_store(&self.busy, false);
	wake_main();
}

static void drain(bool stopping)
{
	struct given *g;
	struct served *e;
	bool first = !atomic_exchange(&self.draining, true);

	if (stopping && atomic_exchange(&self.stopping, true))
		return;
	if (first)
		LIST_FOREACH(g, &self.given, link)
			if (g->watch != NULL)
				watch_free(&g->watch);
	while ((e = LIST_FIRST(&self.served)) != NULL)
		end_edge(e); /* our siblings have its end as well */
	sessions_drain(stopping);
	if (self.program->drain != NULL && (first || stopping)) {
		/* before the call: service_done() may come from another
		 * thread while it runs */
		atomic_store(&self.busy, true);
		if (self.program->drain(stopping))
			atomic_store(&self.busy, false);
	}
	end_if_done();
}

/* What a crowd needed of the others is given back, too. */
static void on_tidy(void *ctx)
{
	struct given *g;

	(void)ctx;
	LIST_FOREACH(g, &self.given, link)
		if (g->edge != NULL)
			edge_tidy(g->edge);
	timer_in(self.tidy, TIDY_EVERY);
}

static void on_wake(int fd, unsigned ready, void *ctx)
{
	uint64_t n;

	(void)ready;
	(void)ctx;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	sessions_went();
	watch_listeners();
	end_if_done();
}

static struct served *take_served(const struct control_give *give)
{
	struct served *e = calloc(1, sizeof(*e));
	const struct sandbox *row = NULL;
	char name[64];

	if (str_to_c(give->name, name, sizeof(name)) == 0)
		row = sandbox_find(name);
	if (e == NULL || row == NULL || give->fd < 0 ||
	    (e->tally = conv_tally_new(give->most)) == NULL)
		log_fatal("an edge that cannot be served");
	e->client = row->name;
	e->fd = give->fd;
	e->most = give->most;
	LIST_INSERT_HEAD(&self.served, e, link);
	return e;
}

static void watch_edge(struct served *e)
{
	if (atomic_load(&self.draining)) {
		end_edge(e);
		return;
	}
	e->watch = watch_new(self.loop, e->fd, LOOP_READ, on_edge, e);
	if (e->watch == NULL)
		log_fatal("cannot watch an edge: %s", strerror(errno));
}

static void on_control(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&control_give_schema, &control_drain_schema,
		&control_stop_schema };
	const struct msg_schema *got;
	struct control_give give;
	const char *why;

	(void)fd;
	(void)ready;
	(void)ctx;
	switch (conv_try_recv(self.control, allowed, 3, &got, &give, &why)) {
	case CONV_MESSAGE:
		if (got != &control_give_schema)
			drain(got == &control_stop_schema);
		else if (give.kind == CONTROL_SERVE)
			watch_edge(take_served(&give));
		else if (give.fd >= 0)
			close(give.fd);
		return;
	case CONV_TIMEOUT:
		return;
	case CONV_CLOSED:
	case CONV_BROKEN:
		/* the parent is gone: crash-only, nothing to tidy */
		_exit(0);
	}
}

/* --- the beginning --- */

static char *copy(struct str s)
{
	char *p = arena_cstr(self.arena, s);

	if (p == NULL)
		log_fatal("no memory");
	return p;
}

static void take_given(const struct control_give *give)
{
	struct given *g;

	if (give->kind == CONTROL_SERVE) {
		take_served(give);
		return;
	}
	if ((g = arena_alloc(self.arena, sizeof(*g))) == NULL)
		log_fatal("no memory");
	g->kind = (enum control_kind)give->kind;
	g->name = copy(give->name);
	g->fd = give->fd;
	if (g->kind == CONTROL_ASK &&
	    (g->edge = edge_new(g->name, g->fd)) == NULL)
		log_fatal("no memory");
	LIST_INSERT_HEAD(&self.given, g, link);
}

static void load_params(const struct control_start *start)
{
	size_t n = start->params.n;
	const char *why;

	/* the message's own strings go with the next one */
	self.pairs.v = arena_array(self.arena, n ? n : 1, sizeof(struct str));
	if (self.pairs.v == NULL)
		log_fatal("no memory");
	self.pairs.n = n;
	for (size_t i = 0; i < n; i++)
		self.pairs.v[i] = str_of(copy(start->params.v[i]));
	if (params_load(&self.params, self.pairs.v, n, self.arena, &why) < 0)
		log_fatal("parameters: %s", why);
}

/* imap_log_style: what Dovecot's lines have behind its name. */
static void start_log(int fd)
{
	static const struct {
		const char *program, *tag;	/* NULL: the service */
	} rows[] = {
		{ "login", NULL }, { "auth", "auth" },
		/* their lines begin with "imap(user)" themselves */
		{ "imapd", "" }, { "pop3d", "" },
	};

	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].program, self.program->name) == 0 &&
		    strcmp(self.params.imap_log_style, "dovecot") == 0) {
			logclient_start_tagged(fd, "dovecot", rows[i].tag
			    ? rows[i].tag : self.service);
			return;
		}
	logclient_start(fd, self.params.syslog_name, self.service);
}

/* Takes everything up to control_go. */
static void take_start(struct sandbox_identity *id)
{
	static const struct msg_schema *const allowed[] = {
		&control_start_schema, &control_give_schema,
		&control_go_schema };
	union {
		struct control_start start;
		struct control_give give;
	} msg;
	const struct msg_schema *got;
	const char *why;
	bool started = false;

	for (;;) {
		if (conv_recv(self.control, allowed, 3, &got, &msg,
			clock_now() + START_TIMEOUT, &why) != CONV_MESSAGE)
			log_fatal("control socket: %s", why);
		if (got == &control_go_schema)
			break;
		if (got == &control_give_schema) {
			take_given(&msg.give);
			continue;
		}
		if (started || !str_eq_c(msg.start.program,
			self.program->name))
			log_fatal("control socket: wrong program");
		started = true;
		self.service = copy(msg.start.service);
		self.arg = copy(msg.start.arg);
		self.dir = copy(msg.start.dir);
		self.session_max = (size_t)msg.start.session_max;
		self.idle_max = (int64_t)msg.start.idle_max * CLOCK_SECOND;
		self.confine_dir = msg.start.confine_dir;
		id->uid = msg.start.uid == UINT32_MAX ? (uid_t)-1
		    : (uid_t)msg.start.uid;
		id->gid = (gid_t)msg.start.gid;
		load_params(&msg.start);
	}
	if (!started)
		log_fatal("control socket: no start");
	start_log(given_fd(CONTROL_LOG, "log"));
}

/*
 * A session of one user is confined to that user's directory for life, also
 * where a thousand users share one uid. The directory is made when it is not
 * there yet, with the user's rights.
 */
static int open_user_dir(int mail)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
	char part[4096];
	size_t n = 0;
	int fd;

	if (self.dir[0] == '/')
		return open(self.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (const char *p = self.dir;; p++) {
		if (*p == '/' || *p == '\0') {
			part[n] = '\0';
			if (n > 0 && mkdirat(mail, part, 0700) < 0 &&
			    errno != EEXIST)
				return -1;
			if (*p == '\0')
				break;
		}
		if (n + 1 < sizeof(part))
			part[n++] = *p;
	}
	fd = sys_open_beneath(mail, self.dir, flags, 0);
	return fd;
}

/* Whether the program goes on after that error of open_user_dir(). */
static bool may_be_without(int err)
{
	return self.program->without_home && self.dir[0] == '/' &&
	    (err == ENOENT || err == ENOTDIR || err == EACCES);
}

/*
 * Who has no directory writes only into files that it was given: queue files.
 * One that was taken over makes none of them larger than a message can be, for
 * a sparse one costs it nothing and whoever reads it much. The kernel refuses
 * what is beyond (EFBIG, as SIGXFSZ is ignored); nobody behind the walls can
 * lift the limit again.
 */
static void bound_files(void)
{
	rlim_t most = (rlim_t)self.params.message_size_limit;
	struct rlimit limit;

	if (self.row->directories[0] != '\0' || most == 0)
		return;
	most += SERVICE_FILE_ROOM;
	if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
		log_fatal("cannot read a limit: %s", strerror(errno));
	if (limit.rlim_max < most) /* RLIM_INFINITY is the highest number */
		most = limit.rlim_max;
	limit.rlim_cur = limit.rlim_max = most;
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		log_fatal("cannot set a limit: %s", strerror(errno));
}

static void enter_walls(struct sandbox_identity *id)
{
	struct sandbox_path paths[16];
	char missing[64], rights[16][8];
	const char *why = NULL;
	struct given *g;
	size_t n = 0;

	id->root_fd = given_fd(CONTROL_ROOT, "root");
	if (self.confine_dir) {
		g = find_given(CONTROL_DIR, "mail");
		if (g == NULL)
			log_fatal("no mail directory");
		int fd = open_user_dir(g->fd);

		if (fd < 0 && !may_be_without(errno))
			log_fatal("mail directory %s: %s", self.dir,
			    strerror(errno));
		close(g->fd);
		g->fd = fd;
	}
	LIST_FOREACH(g, &self.given, link) {
		if (g->kind != CONTROL_DIR || g->fd < 0 || n == 16)
			continue;
		if (strcmp(self.row->directories, "*") == 0)
			continue; /* no file rules at all */
		if (sandbox_rights(self.row, g->name, rights[n]) == NULL)
			log_fatal("directory %s is not in sandbox.def",
			    g->name);
		paths[n].fd = g->fd;
		paths[n].rights = rights[n];
		n++;
	}
	bound_files();
	if (sandbox_enter(self.row, id, paths, n, missing, &why) < 0)
		log_fatal("%s: %s", why, strerror(errno));
	if (missing[0] != '\0')
		log_warn("this kernel lacks a wall: %s", missing);
#ifdef POSTERN_SAN
	log_info("sanitizer build: the walls have holes for the sanitizer");
#endif
}

/* Whoever waits in the backlog of our listeners is met by the next process:
 * connections are accepted by this thread only. */
static void on_idle(void *ctx)
{
	(void)ctx;
	if (is_idle())
		_exit(0);
	timer_in(self.idle, self.idle_max);
}

static void watch_all(void)
{
	struct served *e;
	struct given *g;

	LIST_FOREACH(e, &self.served, link)
		watch_edge(e);
	LIST_FOREACH(g, &self.given, link) {
		if (g->kind != CONTROL_LISTEN)
			continue;
		g->watch = watch_new(self.loop, g->fd, LOOP_READ, on_listener,
		    g);
		if (g->watch == NULL)
			log_fatal("cannot watch %s: %s", g->name,
			    strerror(errno));
	}
	if (self.idle_max > 0) {
		self.idle = timer_new(self.loop, on_idle, NULL);
		if (self.idle == NULL)
			log_fatal("no memory");
		timer_in(self.idle, self.idle_max);
	}
	sessions_begin(self.loop, self.session_max, watch_listeners);
	self.tidy = timer_new(self.loop, on_tidy, NULL);
	if (self.tidy == NULL)
		log_fatal("no memory");
	timer_in(self.tidy, TIDY_EVERY);
	self.control_watch = watch_new(self.loop, conv_fd(self.control),
	    LOOP_READ, on_control, NULL);
	if (self.control_watch == NULL ||
	    watch_new(self.loop, self.wake, LOOP_READ, on_wake, NULL) == NULL)
		log_fatal("cannot watch the control socket");
}

int service_main(int argc, char **argv, const struct service *program)
{
	struct sandbox_identity id = { .uid = (uid_t)-1, .root_fd = -1 };
	const char *why;

	(void)argc;
	(void)argv;
	log_set_name(program->name);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* one heap: hundreds of threads must not have hundreds of heaps */
	mallopt(M_ARENA_MAX, 2);
	self.program = program;
	LIST_INIT(&self.given);
	LIST_INIT(&self.served);
	sessions_init(program, wake_main);
	if ((self.row = sandbox_find(program->name)) == NULL)
		log_fatal("%s has no row in sandbox.def", program->name);
	self.privileged = geteuid() == 0;
	struct stat st;
	if (fstat(SPAWN_CONTROL_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "%s: this program is started by master; "
		    "see postern(1)\n", program->name);
		return 1;
	}
	fcntl(SPAWN_CONTROL_FD, F_SETFD, FD_CLOEXEC);
	self.arena = arena_new(PARAMS_MAX * 4);
	self.control = conv_new("master", SPAWN_CONTROL_FD);
	self.loop = loop_new();
	self.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self.arena == NULL || self.control == NULL || self.loop == NULL ||
	    self.wake < 0)
		log_fatal("no memory");
	take_start(&id);
	if (program->start != NULL && program->start() < 0)
		log_fatal("%s cannot start", program->name);
	enter_walls(&id);
	watch_all();
	if (program->ready != NULL && program->ready(self.loop) < 0)
		log_fatal("%s cannot start", program->name);
	malloc_trim(0); /* what only the start needed: half of a small one */
	if (conv_send(self.control, &control_ready_schema, NULL,
		clock_now() + START_TIMEOUT, &why) < 0)
		log_fatal("control socket: %s", why);
	loop_run(self.loop);
	return 0;
}
