/*
 * local - delivers to this system's users
 *
 * Hears from:  qmgr (msgs/agent.h)
 * Talks to:    auth (where a user's mail lives), deliver (which puts it
 *              there), lookup (aliases), cleanup (what is forwarded)
 * Runs as:     postern-local, empty root, no files
 * Owns:        nothing
 * Start at:    deliver_job()
 * RFCs:        5321 (4.1.1.3, 6.3)
 */
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "local/users.h"
#include "msgs/deliver.h"
#include "service/agent.h"
#include "service/service.h"

/* A delivery may run a command: command_time_limit, and some. */
#define DELIVER_TIMEOUT (1100 * CLOCK_SECOND)

static struct agent *agent;

/* Asks the user's process; -1: it had gone before it took the question. */
static int ask_deliver(const struct user *u, struct agent_task *t, size_t i,
    struct agent_outcome *out, char dsn[16], const char **why)
{
	const struct agent_job *j = &t->job;
	struct deliver_request req = {
		.file = j->file,
		.queue_id = j->queue_id,
		.dir = u->dir,
		.sender = j->sender,
		.rcpt = u->address,
		.original = i < j->originals.n ? j->originals.v[i] : STR_NONE,
	};
	int64_t deadline = clock_now() + DELIVER_TIMEOUT;
	const struct msg_schema *allowed[] = { &deliver_reply_schema }, *got;
	struct conv *c = edge_open(u->edge, clock_now() + 30 * CLOCK_SECOND);
	struct deliver_reply rep;
	enum conv_got how;

	*why = "its delivery process cannot be reached";
	if (c == NULL)
		return -1;
	if (conv_send(c, &deliver_request_schema, &req, deadline, why) < 0) {
		conv_close(&c);
		return -1;
	}
	how = conv_recv(c, allowed, 1, &got, &rep, deadline, why);
	if (how != CONV_MESSAGE) {
		conv_close(&c);
		return how == CONV_CLOSED ? -1 : 1;
	}
	out->status = rep.status >= AGENT_SENT && rep.status <= AGENT_FAILED
	    ? (enum agent_status)rep.status : AGENT_DEFERRED;
	str_to_c(rep.dsn.n < 16 ? rep.dsn : STR("4.3.0"), dsn, 16);
	out->text = arena_str(t->arena, rep.text);
	out->file_damaged = rep.file_damaged;
	conv_keep(&c);
	return 0;
}

/* The user's process may have ended this moment, or been killed: a new one is
 * there in milliseconds, and a deferral would cost minutes. */
static const useconds_t pauses[] = { 0, 0, 20000, 100000, 500000, 900000 };
#define ATTEMPTS (sizeof(pauses) / sizeof(pauses[0]))

static void deliver_one(struct agent_task *t, size_t i)
{
	struct agent_outcome out = { .status = AGENT_DEFERRED,
		.dsn = "4.3.0", .relay = t->job.transport };
	const char *why = "";
	char dsn[16] = "4.3.0";
	struct user u;

	for (size_t attempt = 0; attempt < ATTEMPTS; attempt++) {
		int rc;

		usleep(pauses[attempt]);
		switch (users_find(t->job.rcpts.v[i], attempt > 0, t->arena,
			&u, &why)) {
		case USERS_UNKNOWN:
			out.status = AGENT_FAILED;
			out.dsn = "5.1.1";
			out.text = arena_printf(t->arena,
			    "unknown user: \"" STR_FMT "\"",
			    STR_ARG(t->job.rcpts.v[i]));
			goto report;
		case USERS_TEMPFAIL:
			goto failed;
		case USERS_FOUND:
			break;
		}
		rc = ask_deliver(&u, t, i, &out, dsn, &why);
		if (rc == 0) {
			out.dsn = dsn;
			goto report;
		}
		if (rc > 0) /* it may have delivered: the next try will tell */
			break;
	}
failed:
	out.text = arena_printf(t->arena, "mail system configuration or "
	    "temporary error: %s", why);
report:
	agent_report(t, i, &out);
}

static void deliver_job(struct agent_task *t)
{
	for (size_t i = 0; i < t->job.rcpts.n; i++)
		deliver_one(t, i);
}

static int ready(struct loop *loop)
{
	static const char *const transports[] = { "local", "virtual" };

	(void)loop;
	agent = agent_start("local", transports, 2, service_session_max(),
	    deliver_job);
	return agent != NULL ? 0 : -1;
}

static bool drain(bool stopping)
{
	return agent_drain(agent, stopping);
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "local",
		.ready = ready,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
