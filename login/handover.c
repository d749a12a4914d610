#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "login/handover.h"
#include "login/main.h"
#include "login/relay.h"
#include "msgs/auth.h"
#include "msgs/session.h"

/* auth waits on purpose after failures, and a process has to be started. */
#define AUTH_TIME (90 * CLOCK_SECOND)
#define SESSION_TIME (30 * CLOCK_SECOND)
/* A process may end just when it is asked, and so may the next. */
#define ATTEMPTS 4

struct login {
	struct client *client;
	struct str user, password, tag;
	char name[512];		/* as auth knows the user */
};

static enum handover_result ask_auth(struct login *l, bool again,
    int *session_r)
{
	const struct client *c = l->client;
	struct verify_request q = {
		.user = l->user, .password = l->password,
		.service = str_of(c->service),
		.client_addr = str_of(c->remote),
		.tls = stream_is_tls(c->stream), .want_session = true,
		.again = again,
	};
	struct verify_reply reply = { .session = -1 };
	enum handover_result r = HANDOVER_TEMPFAIL;
	struct conv *conv;
	const char *why;

	if (service_ask("auth", &verify_request_schema, &q,
	    &verify_reply_schema, &reply, AUTH_TIME, &conv, &why) != 0) {
		log_warn("auth: %s", why);
		return HANDOVER_TEMPFAIL;
	}
	if (reply.status == AUTH_NO)
		r = HANDOVER_NO;
	else if (reply.status == AUTH_OK && reply.session >= 0 &&
	    str_to_c(reply.user, l->name, sizeof(l->name)) == 0)
		r = HANDOVER_DONE;
	else
		log_warn("user=<" STR_FMT ">: no session: " STR_FMT,
		    STR_ARG(l->user), STR_ARG(reply.text));
	if (r == HANDOVER_DONE)
		*session_r = reply.session;
	else if (reply.session >= 0)
		close(reply.session);
	conv_keep(&conv);
	return r;
}

/* Gives the connection to the process behind that edge. 0: it has it. -1: it
 * is ending, or gone. */
static int start_session(struct login *l, int edge_fd, int connection)
{
	const struct client *c = l->client;
	int64_t deadline = clock_now() + SESSION_TIME;
	struct session_start start = {
		.connection = connection, .user = str_of(l->name),
		.client_addr = str_of(c->remote),
		.local_addr = str_of(c->local),
		.tls = stream_is_tls(c->stream), .tag = l->tag,
		.session_id = str_of(c->session_id),
	};
	struct session_reply reply = { .accepted = false };
	struct edge *edge = edge_new("session", edge_fd);
	struct conv *conv;
	const char *why;

	if (edge == NULL) {
		close(edge_fd);
		return -1;
	}
	/* What the client sent behind its login (RFC 2449 6.6, RFC 3501 5.5)
	 * goes along; what TLS still holds comes by way of the relay. */
	if (stream_buffered(c->stream) > 0)
		(void)stream_peek(c->stream, &start.input);
	conv = edge_open_fresh(edge, deadline);
	if (conv != NULL && conv_call(conv, &session_start_schema, &start,
	    &session_reply_schema, &reply, deadline, &why) != 0)
		reply.accepted = false;
	if (reply.accepted)
		stream_take(c->stream, start.input.n);
	conv_close(&conv);
	edge_free(&edge);
	return reply.accepted ? 0 : -1;
}

static void say_login(struct client *c)
{
	struct buf b;

	buf_init(&b, 2048);
	client_describe(c, &b);
	log_info("Login: %s", buf_cstr(&b));
	buf_fini(&b);
}

/* The stream is the relay's from here on, or closed. */
static void start_relay(struct client *c, int inner)
{
	void *held = login_held_new(c->remote, c->service);

	if (held != NULL && relay_add(c->stream, inner, held) == 0) {
		c->stream = NULL;
		return;
	}
	log_warn("no memory to relay a connection");
	login_held_free(held);
	close(inner);
	stream_free(&c->stream);
}

static enum handover_result hand_over(struct login *l, int connection)
{
	enum handover_result r = HANDOVER_TEMPFAIL;
	int session = -1;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		r = ask_auth(l, attempt > 0, &session);
		if (r != HANDOVER_DONE)
			return r;
		/* What was said so far is said before the session speaks. */
		if (stream_flush(l->client->stream) != STREAM_OK)
			break;
		if (start_session(l, session, connection) == 0)
			return HANDOVER_DONE;
	}
	log_warn("user=<%s>: no process takes the session", l->name);
	return HANDOVER_TEMPFAIL;
}

enum handover_result handover(struct client *c, struct str user,
    struct str password, struct str tag)
{
	struct login l = { .client = c, .user = user, .password = password,
		.tag = tag };
	enum handover_result r;
	int pair[2] = { -1, -1 };

	snprintf(c->user, sizeof(c->user), STR_FMT, STR_ARG(user));
	/* Longer than any user or password is; a NUL is in none. */
	if (user.n == 0 || user.n > 512 || password.n > 1024 ||
	    str_has_nul(user) || str_has_nul(password)) {
		c->attempts++;
		return HANDOVER_NO;
	}
	if (stream_is_tls(c->stream) && socketpair(AF_UNIX, SOCK_STREAM |
	    SOCK_CLOEXEC, 0, pair) != 0)
		return HANDOVER_TEMPFAIL;
	r = hand_over(&l, pair[1] >= 0 ? pair[1] : stream_fd(c->stream));
	if (pair[1] >= 0)
		close(pair[1]);
	if (r == HANDOVER_DONE) {
		snprintf(c->user, sizeof(c->user), "%.255s", l.name);
		say_login(c);
		c->handed_over = true;
		if (pair[0] >= 0)
			start_relay(c, pair[0]);
		else
			stream_free(&c->stream);
		return r;
	}
	if (pair[0] >= 0)
		close(pair[0]);
	if (r == HANDOVER_NO)
		c->attempts++;
	return r;
}
