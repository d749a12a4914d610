/*
 * pop3d - the POP3 sessions of one user
 *
 * does        RFC 1939 behind the login: INBOX as a maildrop
 * hears       clients, whose connections `login` hands over
 * asks        nobody
 * runs as     the user, confined to his mail
 * owns        INBOX for the length of a session, through lib/store
 * open first  commands.c, then session.h
 * RFCs        1939 2449 3206
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "msgs/session.h"
#include "pop3d/session.h"
#include "service/service.h"

/* A process without sessions ends after this long; it looks so often. */
#define LINGER (60 * CLOCK_SECOND)
#define LOOK_EVERY (10 * CLOCK_SECOND)
/* login must take the answer within. */
#define ANSWER_TIMEOUT (10 * CLOCK_SECOND)

static struct pop3d_server server;
static struct timer *linger;
static atomic_uint sessions;
static _Atomic int64_t idle_since;

/* The running sessions' connections, so that a stop can end their waiting. */
struct running {
	struct running *next;
	int fd;
};
static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static struct running *running;		/* under running_lock */
static bool stopping;			/* under running_lock */

static void enter(struct running *r, int fd)
{
	r->fd = fd;
	pthread_mutex_lock(&running_lock);
	r->next = running;
	running = r;
	if (stopping)
		shutdown(fd, SHUT_RD);
	pthread_mutex_unlock(&running_lock);
}

/* The descriptor is still open: nobody else has its number. */
static void leave(struct running *r)
{
	pthread_mutex_lock(&running_lock);
	for (struct running **at = &running; *at != NULL; at = &(*at)->next) {
		if (*at == r) {
			*at = r->next;
			break;
		}
	}
	pthread_mutex_unlock(&running_lock);
}

/* Nobody reads mail: `auth` orders another process when somebody does. A
 * login that arrives in this moment finds the conversation closed and asks
 * again. */
static void on_linger(void *ctx)
{
	(void)ctx;
	if (atomic_load(&sessions) == 0 &&
	    clock_now() - atomic_load(&idle_since) >= LINGER)
		exit(0);
	timer_in(linger, LOOK_EVERY);
}

static int ready(struct loop *loop)
{
	char host[HOST_NAME_MAX + 1] = "localhost";
	const char *why = "mail directory";

	server.user = service_arg();
	server.idle_timeout = service_params()->pop3_idle_timeout *
	    CLOCK_SECOND;
	if ((linger = timer_new(loop, on_linger, NULL)) == NULL) {
		log_warn("user=<%s>: %s", server.user, strerror(errno));
		return -1;
	}
	gethostname(host, sizeof(host) - 1);
	if (store_open(service_dir("mail"), str_of(host), true,
	    &server.store, &why) < 0) {
		log_warn("user=<%s>: %s: %s", server.user, why,
		    strerror(errno));
		return -1;
	}
	atomic_store(&idle_since, clock_now());
	timer_in(linger, LOOK_EVERY);
	return 0;
}

static void answer(struct conv *c, bool accepted)
{
	struct session_reply reply = { .accepted = accepted,
		.text = accepted ? STR_NONE : STR("this process is ending") };
	const char *why;

	if (conv_send(c, &session_reply_schema, &reply,
	    clock_now() + ANSWER_TIMEOUT, &why) < 0)
		log_warn("user=<%s>: login does not listen: %s", server.user,
		    why);
}

static struct session *accept_session(struct conv *c)
{
	static const struct msg_schema *const allowed[] = {
		&session_start_schema };
	const struct msg_schema *got;
	struct session_start start;
	struct session *s;
	const char *why;

	if (service_recv(c, allowed, 1, &got, &start, &why) != CONV_MESSAGE)
		return NULL;
	if (service_draining()) {
		sys_close(start.connection);
		answer(c, false);
		return NULL;
	}
	s = session_new(&server, start.connection, start.input);
	if (s == NULL)
		return NULL;
	if (str_to_c(start.session_id, s->id, sizeof(s->id)) < 0)
		s->id[0] = '\0';
	log_debug("user=<" STR_FMT ">, session=<" STR_FMT ">, rip=" STR_FMT
	    ", lip=" STR_FMT "%s", STR_ARG(start.user),
	    STR_ARG(start.session_id), STR_ARG(start.client_addr),
	    STR_ARG(start.local_addr), start.tls ? ", TLS" : "");
	answer(c, true);
	return s;
}

static void converse(struct conv *c, const char *client)
{
	struct running r;
	struct session *s;

	(void)client;
	atomic_fetch_add(&sessions, 1);
	s = accept_session(c);
	conv_close(&c);
	if (s != NULL) {
		int fd = dup(session_fd(s));

		/* A second descriptor stays open until we left the list. */
		enter(&r, fd);
		session_run(s);
		leave(&r);
		if (fd >= 0)
			sys_close(fd);
	}
	atomic_store(&idle_since, clock_now());
	atomic_fetch_sub(&sessions, 1);
}

/* Sessions find the end of input and end; what was marked stays. */
static bool drain(bool stop)
{
	if (!stop)
		return true;
	pthread_mutex_lock(&running_lock);
	stopping = true;
	for (struct running *r = running; r != NULL; r = r->next)
		shutdown(r->fd, SHUT_RD);
	pthread_mutex_unlock(&running_lock);
	return true;
}

int main(int argc, char **argv)
{
	static const struct service service = { .name = "pop3d",
		.ready = ready, .converse = converse, .drain = drain };

	return service_main(argc, argv, &service);
}
