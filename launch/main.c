/*
 * launch - starts a program with a user's rights, on auth's order
 *
 * Hears from:  auth (msgs/launch.h)
 * Talks to:    the processes it started (msgs/control.h)
 * Runs as:     root with SETUID SETGID KILL, or as whoever made the instance
 * Owns:        nothing but its children
 * Start at:    on_order()
 * RFCs:        none
 *
 * It parses nothing: an order is numbers, a path that is opened beneath the
 * mail root by the started program itself, and descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/launch.h"
#include "service/service.h"
#include "service/spawn.h"

#define SEND_PATIENCE (5 * CLOCK_SECOND)
#define CHILDREN_MAX 20000
/* Of all processes of login, auth or local, with one process of a user. */
#define CONVERSATIONS_MAX 4096

struct child {
	LIST_ENTRY(child) link;
	pid_t pid;
	const char *program;
	struct conv *control;
	struct watch *watch;
	int edge;		/* to give to who orders the same; -1: not */
	uid_t uid;
	gid_t gid;
	struct buf key;		/* user, NUL, directory */
};

struct client {
	struct conv *conv;
	struct watch *watch;
};

static struct {
	struct loop *loop;
	LIST_HEAD(, child) children;
	size_t count;
	bool draining, stopping;
} self;

static const char *const programs[] = { [LAUNCH_IMAPD] = "imapd",
	[LAUNCH_POP3D] = "pop3d", [LAUNCH_DELIVER] = "deliver",
	[LAUNCH_COMMAND] = "deliver_command" };

/* --- one child --- */

static int give_start(struct child *c, const struct launch_request *r,
    int edge)
{
	const struct params *p = service_params();
	struct control_start start = {
		.program = str_of(c->program),
		.service = str_of(c->program),
		.arg = r->user,
		.dir = r->dir,
		.params = service_pairs(),
		.uid = service_is_privileged() ? r->uid : UINT32_MAX,
		.gid = r->gid,
		.session_max = (uint64_t)p->default_process_limit * 100,
		.confine_dir = r->dir.n > 0 &&
		    r->program != LAUNCH_COMMAND,
	};
	const char *why;

	if (start.session_max > 1000000)
		start.session_max = 1000000;
	if (conv_send(c->control, &control_start_schema, &start,
		clock_now() + SEND_PATIENCE, &why) < 0)
		return -1;
	if (service_log_fd() >= 0 && spawn_give(c->control, CONTROL_LOG,
		"log", service_log_fd()) < 0)
		return -1;
	if (service_dir("mail") >= 0 && spawn_give(c->control, CONTROL_DIR,
		"mail", service_dir("mail")) < 0)
		return -1;
	if (r->program == LAUNCH_DELIVER && !r->is_virtual &&
	    service_dir("mailspool") >= 0 && spawn_give(c->control,
		CONTROL_DIR, "mailspool", service_dir("mailspool")) < 0)
		return -1;
	if (spawn_give_served(c->control, "login", edge,
		CONVERSATIONS_MAX) < 0)
		return -1;
	return conv_send(c->control, &control_go_schema, NULL,
	    clock_now() + SEND_PATIENCE, &why);
}

static void forget(struct child *c)
{
	LIST_REMOVE(c, link);
	self.count--;
	watch_free(&c->watch);
	conv_close(&c->control);
	if (c->edge >= 0)
		close(c->edge);
	buf_fini(&c->key);
	free(c);
	if (self.draining && self.count == 0)
		service_done();
}

/* "ready" and the like are of no interest: the edge works at once, and what
 * is opened on it waits there until the process serves. */
static void on_control(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&control_ready_schema, &control_idle_schema };
	const struct msg_schema *got;
	struct child *c = ctx;
	enum conv_got how;
	const char *why;

	(void)fd;
	(void)ready;
	how = conv_try_recv(c->control, allowed, 2, &got, NULL, &why);
	if (how == CONV_CLOSED || how == CONV_BROKEN)
		watch_free(&c->watch); /* its end comes as a signal */
}

static const char *refusal(const struct launch_request *r)
{
	int64_t least = service_params()->minimum_uid;

	if (r->program < LAUNCH_IMAPD || r->program > LAUNCH_COMMAND)
		return "no such program";
	if (service_is_privileged() && (r->uid == 0 || r->gid == 0 ||
		(int64_t)r->uid < least || r->uid >= UINT32_MAX ||
		r->gid >= UINT32_MAX))
		return "uid or gid below minimum_uid";
	if (!service_is_privileged() && r->uid != geteuid())
		return "another uid, and we are not root";
	if (r->is_virtual && r->dir.n > 0 && r->dir.p[0] == '/')
		return "absolute directory";
	if (str_has_nul(r->dir))
		return "NUL in a directory";
	if (self.stopping || self.draining)
		return "shutting down";
	if (self.count >= CHILDREN_MAX)
		return "too many processes";
	return NULL;
}

static void make_key(const struct launch_request *r, struct buf *key)
{
	buf_init(key, 8192);
	buf_append(key, r->user);
	buf_append_char(key, '\0');
	buf_append(key, r->dir);
}

/* Nobody serves on it any more, or a client shut it down for all. */
static bool is_gone(int edge)
{
	struct pollfd p = { .fd = edge, .events = 0 };

	return poll(&p, 1, 0) != 0;
}

/* The process that serves this already, if its caller may have it again. */
static struct child *find_child(const struct launch_request *r)
{
	struct child *c;
	struct buf key;

	make_key(r, &key);
	LIST_FOREACH(c, &self.children, link)
		if (c->edge >= 0 && c->program == programs[r->program] &&
		    c->uid == (uid_t)r->uid && c->gid == (gid_t)r->gid &&
		    str_eq(buf_str(&c->key), buf_str(&key)))
			break;
	buf_fini(&key);
	/* It ends: nobody gets it any more. */
	if (c != NULL && (r->again || is_gone(c->edge))) {
		close(c->edge);
		c->edge = -1;
		c = NULL;
	}
	return c;
}

static const char *start_child(const struct launch_request *r, pid_t *pid_r,
    int *edge_r)
{
	struct spawn_identity id = { (uid_t)r->uid, (gid_t)r->gid };
	struct child *c = calloc(1, sizeof(*c));
	int pair[2];

	if (c == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
		SOCK_NONBLOCK, 0, pair) < 0) {
		free(c);
		return "no memory or descriptors";
	}
	c->edge = -1;
	c->uid = (uid_t)r->uid;
	c->gid = (gid_t)r->gid;
	make_key(r, &c->key);
	c->program = programs[r->program];
	c->pid = spawn_program(service_exec(c->program), c->program,
	    service_is_privileged() ? &id : NULL, &c->control);
	if (c->pid < 0) {
		int err = errno;

		close(pair[0]);
		close(pair[1]);
		buf_fini(&c->key);
		free(c);
		return strerror(err);
	}
	LIST_INSERT_HEAD(&self.children, c, link);
	self.count++;
	c->watch = watch_new(self.loop, conv_fd(c->control), LOOP_READ,
	    on_control, c);
	if (give_start(c, r, pair[1]) < 0 || c->watch == NULL) {
		kill(c->pid, SIGKILL);
		close(pair[0]);
		close(pair[1]);
		return "the process does not take its start";
	}
	close(pair[1]);
	*pid_r = c->pid;
	*edge_r = pair[0];
	c->edge = fcntl(pair[0], F_DUPFD_CLOEXEC, 3);
	return NULL;
}

/* --- orders --- */

static void drop_client(struct client *cl)
{
	watch_free(&cl->watch);
	conv_close(&cl->conv);
	free(cl);
}

static void on_order(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&launch_request_schema };
	struct launch_reply reply = { .edge = -1 };
	const struct msg_schema *got;
	struct launch_request r;
	struct client *cl = ctx;
	struct child *running;
	const char *why, *no;
	pid_t pid = 0;
	int rc;

	(void)fd;
	(void)ready;
	switch (conv_try_recv(cl->conv, allowed, 1, &got, &r, &why)) {
	case CONV_TIMEOUT:
		return;
	case CONV_CLOSED:
		drop_client(cl);
		return;
	case CONV_BROKEN:
		log_warn("an order from auth: %s", why);
		drop_client(cl);
		return;
	case CONV_MESSAGE:
		break;
	}
	no = refusal(&r);
	running = no == NULL ? find_child(&r) : NULL;
	if (running != NULL) {
		pid = running->pid;
		reply.edge = fcntl(running->edge, F_DUPFD_CLOEXEC, 3);
		no = reply.edge < 0 ? "no descriptors" : NULL;
	} else if (no == NULL) {
		no = start_child(&r, &pid, &reply.edge);
	}
	if (no != NULL)
		log_warn("order for user " STR_FMT ", uid %llu: %s",
		    STR_ARG(r.user), (unsigned long long)r.uid, no);
	reply.pid = no == NULL ? (uint64_t)pid : 0;
	reply.text = str_of(no);
	rc = conv_send(cl->conv, &launch_reply_schema, &reply,
	    clock_now() + SEND_PATIENCE, &why);
	if (reply.edge >= 0)
		close(reply.edge);
	if (rc < 0)
		drop_client(cl);
}

static void conv_arrived(struct conv *c, const char *client)
{
	struct client *cl = calloc(1, sizeof(*cl));

	(void)client;
	if (cl == NULL) {
		conv_close(&c);
		return;
	}
	cl->conv = c;
	cl->watch = watch_new(self.loop, conv_fd(c), LOOP_READ, on_order, cl);
	if (cl->watch == NULL)
		drop_client(cl);
}

/* --- ends --- */

static void on_child(int fd, unsigned ready, void *ctx)
{
	struct signalfd_siginfo si;
	struct child *c;
	int status;
	pid_t pid;

	(void)ready;
	(void)ctx;
	while (read(fd, &si, sizeof(si)) == sizeof(si))
		continue;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		LIST_FOREACH(c, &self.children, link)
			if (c->pid == pid)
				break;
		if (c == NULL)
			continue;
		if (WIFSIGNALED(status))
			log_warn("process %s[%d] killed by signal %d",
			    c->program, (int)pid, WTERMSIG(status));
		else if (WEXITSTATUS(status) != 0)
			log_warn("process %s[%d] exit status %d", c->program,
			    (int)pid, WEXITSTATUS(status));
		forget(c);
	}
}

static bool is_delivering(const struct child *c)
{
	return strcmp(c->program, "deliver") == 0 ||
	    strcmp(c->program, "deliver_command") == 0;
}

static bool drain(bool stopping)
{
	struct child *c;
	const char *why;

	self.draining = true;
	self.stopping |= stopping;
	/* Nobody gets a process from here any more. */
	LIST_FOREACH(c, &self.children, link)
		if (c->edge >= 0) {
			close(c->edge);
			c->edge = -1;
		}
	/* An IMAP or POP3 session is its user's, to its end. Who delivers ends
	 * when nothing is under way: also a `local` of after the reload may
	 * have his edge, and finds the next one. */
	LIST_FOREACH(c, &self.children, link)
		if (stopping || is_delivering(c))
			conv_send(c->control, stopping ? &control_stop_schema
			    : &control_drain_schema, NULL,
			    clock_now() + CLOCK_SECOND, &why);
	return self.count == 0;
}

static int ready(struct loop *loop)
{
	sigset_t set;
	int fd;

	self.loop = loop;
	LIST_INIT(&self.children);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd >= 0 && watch_new(loop, fd, LOOP_READ, on_child, NULL) != NULL
	    ? 0 : -1;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "launch",
		.ready = ready,
		.conv_arrived = conv_arrived,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
