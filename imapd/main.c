/*
 * imapd - the IMAP sessions of one user
 *
 * does        RFC 3501 behind the login, with the extensions that
 *             cmd_capability.c announces
 * hears       clients, whose connections `login` hands over
 * asks        nobody
 * runs as     the user, confined to his mail
 * owns        his mailboxes (lib/store), together with pop3d and deliver
 * open first  commands.c, then session.h
 * RFCs        3501 2177 2342 2971 3348 3691 4315 4731 5032 5161 5258 5530
 *             5819 6154 6851 7888 7889
 */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "imapd/session.h"
#include "mail/charset.h"
#include "msgs/session.h"
#include "service/service.h"

/* A process without sessions ends after this long: until then the next
 * login costs a thread. It looks so often. */
#define LINGER (60 * CLOCK_SECOND)
#define LOOK_EVERY (10 * CLOCK_SECOND)
/* login must take the answer within. */
#define ANSWER_TIMEOUT (10 * CLOCK_SECOND)

static struct session_list session_list = {
	.lock = PTHREAD_MUTEX_INITIALIZER };
static struct imapd_server server = { .sessions = &session_list };
static struct timer *linger;
static atomic_uint sessions;
static _Atomic int64_t idle_since;

static int start(void)
{
	tzset();
	if (mail_charset_open_all() > 0)
		log_debug("this system lacks some character sets");
	return 0;
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
	const struct params *params = service_params();
	int root = service_dir("mail");
	const char *why = NULL;
	char host[HOST_NAME_MAX + 1] = "localhost";

	server.user = service_arg();
	server.idle_timeout = params->imap_idle_timeout * CLOCK_SECOND;
	server.append_limit = (uint64_t)params->imap_append_limit;
	server.stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	linger = timer_new(loop, on_linger, NULL);
	if (server.stop_fd < 0 || linger == NULL) {
		log_warn("user=<%s>: %s", server.user, strerror(errno));
		return -1;
	}
	gethostname(host, sizeof(host) - 1);
	if (store_open(root, str_of(host), true, &server.store, &why) < 0) {
		log_warn("user=<%s>: %s: %s", server.user, why != NULL ? why :
		    "mail directory", strerror(errno));
		return -1;
	}
	/* For notify.c; without it IDLE looks by the clock. */
	if (fchdir(root) < 0)
		log_debug("working directory: %s", strerror(errno));
	atomic_store(&idle_since, clock_now());
	timer_in(linger, LOOK_EVERY);
	return 0;
}

static struct session *accept_session(struct conv *c)
{
	static const struct msg_schema *const allowed[] = {
		&session_start_schema };
	struct session_reply reply = { .accepted = true };
	struct session_start start;
	const struct msg_schema *got;
	struct session *s;
	const char *why;

	if (service_recv(c, allowed, 1, &got, &start, &why) != CONV_MESSAGE)
		return NULL;
	if (service_draining()) {
		reply.accepted = false;
		reply.text = STR("this process is ending");
		sys_close(start.connection);
		conv_send(c, &session_reply_schema, &reply,
		    clock_now() + ANSWER_TIMEOUT, &why);
		return NULL;
	}
	s = session_new(&server, start.connection, start.tag, start.input,
	    start.session_id);
	if (s == NULL)
		return NULL;
	log_debug("user=<" STR_FMT ">, session=<" STR_FMT ">, rip=" STR_FMT
	    ", lip=" STR_FMT "%s", STR_ARG(start.user),
	    STR_ARG(start.session_id), STR_ARG(start.client_addr),
	    STR_ARG(start.local_addr), start.tls ? ", TLS" : "");
	if (conv_send(c, &session_reply_schema, &reply,
	    clock_now() + ANSWER_TIMEOUT, &why) < 0)
		log_warn("user=<%s>: login does not listen: %s", server.user,
		    why);
	return s;
}

static void converse(struct conv *c, const char *client)
{
	struct session *s;

	(void)client;
	atomic_fetch_add(&sessions, 1);
	s = accept_session(c);
	/* It does not keep what the conversation needed. */
	conv_close(&c);
	if (s != NULL)
		session_run(s);
	atomic_store(&idle_since, clock_now());
	atomic_fetch_sub(&sessions, 1);
}

static bool drain(bool stopping)
{
	if (stopping && session_stop_all(&server) < 0)
		log_warn("cannot tell the sessions: %s", strerror(errno));
	return true;
}

int main(int argc, char **argv)
{
	static const struct service service = { .name = "imapd",
		.start = start, .ready = ready, .converse = converse,
		.drain = drain };

	return service_main(argc, argv, &service);
}
