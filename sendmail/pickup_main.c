/*
 * pickup - receives mail from the command line
 *
 * Hears from:  sendmail, mailq, postqueue, ... (msgs/pickup.h, msgs/queue.h,
 *              over public/pickup); maildrop/
 * Talks to:    cleanup (messages), lookup (senders), smtpd (sendmail -bs),
 *              qmgr (the operator's commands)
 * Runs as:     postern-pickup, empty root; may open what is in maildrop/
 * Owns:        maildrop/
 * Start at:    session(); maildrop.c
 * RFCs:        6409 (8: what a submission lacks is added by cleanup)
 *
 * A client is known by what the kernel says of its socket, or of its file.
 */
#include <pthread.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/lookup.h"
#include "msgs/stdio.h"
#include "sendmail/pickup.h"
#include "sendmail/submission.h"
#include "service/service.h"

#define SEND_TIMEOUT (60 * CLOCK_SECOND)
#define OPEN_TIMEOUT (10 * CLOCK_SECOND)
#define LOOKUP_TIMEOUT (30 * CLOCK_SECOND)

/* --- no user takes all sessions --- */

#define USERS_MAX 256

static struct {
	pthread_mutex_t lock;
	struct {
		uid_t uid;
		size_t sessions;
	} users[USERS_MAX];
} busy = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Half of the sessions are for others; root has as many as there are. */
static bool enter_user(uid_t uid)
{
	size_t most = service_session_max() / 2, free_row = USERS_MAX, i;
	bool ok = true;

	pthread_mutex_lock(&busy.lock);
	for (i = 0; i < USERS_MAX; i++) {
		if (busy.users[i].sessions == 0)
			free_row = i;
		else if (busy.users[i].uid == uid)
			break;
	}
	if (i == USERS_MAX)
		i = free_row;
	if (i == USERS_MAX) {
		ok = false;
	} else if (busy.users[i].sessions == 0) {
		busy.users[i].uid = uid;
		busy.users[i].sessions = 1;
	} else if (uid != 0 && busy.users[i].sessions >= most) {
		ok = false;
	} else {
		busy.users[i].sessions++;
	}
	pthread_mutex_unlock(&busy.lock);
	return ok;
}

static void leave_user(uid_t uid)
{
	pthread_mutex_lock(&busy.lock);
	for (size_t i = 0; i < USERS_MAX; i++)
		if (busy.users[i].sessions > 0 && busy.users[i].uid == uid) {
			busy.users[i].sessions--;
			break;
		}
	pthread_mutex_unlock(&busy.lock);
}

/* --- a message --- */

static void send_reply(struct conv *c, const struct pickup_reply *r)
{
	const char *why;

	conv_send(c, &pickup_reply_schema, r, clock_now() + SEND_TIMEOUT,
	    &why);
}

/* After pickup_submit: false when the client cancelled. */
static bool receive_message(struct conv *c, struct submission *s)
{
	static const struct msg_schema *const any[] = { &pickup_data_schema,
		&pickup_rcpts_schema };
	union {
		struct pickup_rcpts rcpts;
		struct pickup_data data;
	} m;
	const struct msg_schema *got;
	bool has_content = false;
	const char *why;

	while (submission_reply(s) == NULL) {
		switch (conv_recv(c, any, has_content ? 1 : 2, &got, &m,
		    clock_now() + CLIENT_TIMEOUT, &why)) {
		case CONV_MESSAGE:
			break;
		case CONV_BROKEN:
			log_warn("sendmail: %s", why);
			return false;
		default:
			return false;
		}
		if (got == &pickup_data_schema) {
			has_content = true;
			submission_data(s, m.data.content, m.data.last);
		} else {
			submission_rcpts(s, &m.rcpts.rcpts);
		}
	}
	return true;
}

static void serve_submit(struct conv *c, uid_t uid,
    const struct pickup_submit *m)
{
	struct submission *s = submission_new(uid, 0);

	if (s == NULL)
		return;
	submission_begin(s, m);
	if (receive_message(c, s))
		send_reply(c, submission_reply(s));
	submission_free(&s);
}

/* --- sendmail -bs --- */

static void serve_stdio(struct conv *c, uid_t uid,
    const struct pickup_stdio *m)
{
	static const struct msg_schema *const allowed[] = {
		&stdio_done_schema };
	struct stdio_session start = { m->input, m->output, uid };
	struct pickup_stdio_done done = { false };
	struct edge *edge = service_edge("smtpd");
	const struct msg_schema *got;
	struct stdio_done end;
	struct conv *smtpd = NULL;
	const char *why;

	if (edge != NULL && m->input >= 0 && m->output >= 0)
		smtpd = edge_open_fresh(edge, clock_now() + OPEN_TIMEOUT);
	if (smtpd != NULL && conv_send(smtpd, &stdio_session_schema, &start,
		clock_now() + SEND_TIMEOUT, &why) == 0)
		done.served = true;
	/* only smtpd is to hold them now, so that their ends are seen */
	if (m->input >= 0)
		close(m->input);
	if (m->output >= 0)
		close(m->output);
	if (done.served && conv_recv(smtpd, allowed, 1, &got, &end,
		CLOCK_NEVER, &why) != CONV_MESSAGE)
		done.served = false;
	conv_close(&smtpd);
	conv_send(c, &pickup_stdio_done_schema, &done,
	    clock_now() + SEND_TIMEOUT, &why);
}

/* --- sendmail -bv --- */

static int serve_verify(struct conv *c, const struct pickup_verify *m)
{
	struct resolve_request ask = { .address = m->address };
	struct pickup_verified v = { .status = LOOKUP_TEMPFAIL,
		.text = STR("temporary lookup failure") };
	struct resolve_reply reply;
	struct conv *lookup;
	const char *why;
	int rc;

	if (m->address.n == 0 || str_has_ctl(m->address)) {
		v.status = LOOKUP_BAD;
		v.text = STR("bad address");
		return conv_send(c, &pickup_verified_schema, &v,
		    clock_now() + SEND_TIMEOUT, &why);
	}
	if (service_ask("lookup", &resolve_request_schema, &ask,
		&resolve_reply_schema, &reply, LOOKUP_TIMEOUT, &lookup,
		&why) == 0)
		v = (struct pickup_verified){ reply.status, reply.address,
			reply.transport, reply.nexthop, reply.text };
	rc = conv_send(c, &pickup_verified_schema, &v,
	    clock_now() + SEND_TIMEOUT, &why);
	conv_keep(&lookup);
	return rc;
}

/* --- a client --- */

union first {
	struct pickup_submit submit;
	struct pickup_stdio stdio;
	struct pickup_verify verify;
	union operator_message operator;
};

static void serve(struct conv *c, uid_t uid)
{
	static const struct msg_schema *const allowed[] = {
		&pickup_submit_schema, &pickup_stdio_schema,
		&pickup_verify_schema, &queue_list_schema,
		&queue_order_schema, &queue_show_schema };
	const struct msg_schema *got;
	const char *why;
	union first m;
	int rc = 0;

	while (rc == 0) {
		enum conv_got how = conv_recv(c, allowed, 6, &got, &m,
		    clock_now() + CLIENT_TIMEOUT, &why);

		if (how == CONV_BROKEN)
			log_warn("uid=%u: %s", (unsigned)uid, why);
		if (how != CONV_MESSAGE)
			return;
		if (got == &pickup_submit_schema) {
			serve_submit(c, uid, &m.submit);
			return;
		}
		if (got == &pickup_stdio_schema) {
			serve_stdio(c, uid, &m.stdio);
			return;
		}
		rc = got == &pickup_verify_schema
		    ? serve_verify(c, &m.verify)
		    : operator_serve(c, uid, got, &m.operator);
	}
}

static void session(int fd, const struct service_client *client)
{
	struct pickup_reply full = { .code = 421, .dsn = STR("4.3.2"),
		.text = STR("too many commands of this user at once") };
	struct conv *c = conv_new("sendmail", fd);
	uid_t uid;

	(void)client;
	if (c == NULL)
		return;
	if (conv_peer(c, NULL, &uid) < 0) {
		conv_close(&c);
		return;
	}
	if (!enter_user(uid)) {
		send_reply(c, &full);
		conv_close(&c);
		return;
	}
	serve(c, uid);
	leave_user(uid);
	conv_close(&c);
}

static int ready(struct loop *loop)
{
	(void)loop;
	return maildrop_start();
}

static bool drain(bool stopping)
{
	(void)stopping;
	return maildrop_drain();
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "pickup",
		.ready = ready,
		.session = session,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
