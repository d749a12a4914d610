/*
 * smtp - sends mail to other hosts, by SMTP and LMTP
 *
 * Hears from:  qmgr (msgs/agent.h): transports smtp, relay, lmtp
 * Talks to:    dns (msgs/dns.h), mail servers
 * Runs as:     postern-smtp, in an empty root, with the right to connect
 * Owns:        the messages it carries, as read-only descriptors
 * Start at:    deliver.c; session.c and transact.c speak the protocol
 * RFCs:        5321, 1870, 2033, 2920, 3207, 3461, 3463, 6152, 6531, 7505
 */
#include <sys/resource.h>
#include <unistd.h>
#include "base/log.h"
#include "service/agent.h"
#include "service/service.h"
#include "smtp/deliver.h"

/* After a reload running deliveries come to their end. */
#define RELOAD_GRACE (3600 * CLOCK_SECOND)

static struct smtp_config config;
static struct deliver how;
static struct agent *agent;

static int start(void)
{
	struct rlimit files;

	/* a delivery has two descriptors, a kept session one */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
	    files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return smtp_config_load(&config, service_params());
}

static void ask_dns(void *ctx, struct dns_question *q, size_t n,
    struct arena *arena, struct dns_reply *replies)
{
	int64_t wait = (service_params()->dns_timeout + 5) * CLOCK_SECOND;

	(void)ctx;
	dns_ask_many(service_edge("dns"), q, n, clock_now() + wait, arena,
	    replies);
}

static void report(const struct job *j, const struct rcpt *r,
    enum agent_status status, const struct outcome *o)
{
	char dsn[MAIL_STATUS_SIZE];
	struct agent_outcome out = {
		.status = status, .dsn = mail_status_print(o->status, dsn),
		.text = o->text, .relay = o->relay, .uses = o->uses,
		.remote = o->remote, .diagnostic = o->diagnostic,
		.nexthop_dead = o->nexthop_dead,
		.file_damaged = o->file_damaged,
		.onward = o->onward, .ready = j->ready,
	};

	agent_report(j->ctx, (size_t)(r - j->rcpts), &out);
}

static void deliver_job(struct agent_task *t)
{
	struct job *j = job_new(&t->job, t->arena, report, t);

	/* without memory they stay unreported, that is, deferred */
	if (j == NULL) {
		log_warn("no memory for a delivery");
		return;
	}
	deliver(&how, j);
	job_free(&j);
}

/* Closes sessions that are idle too long. */
static void tidy(void *arg)
{
	struct cache *cache = arg;

	for (;;) {
		cache_wait(cache);
		while (cache_expire(cache, false) > 0)
			usleep(500000);
		usleep(500000);
	}
}

static void done(void)
{
	cache_expire(how.cache, true);
	service_done();
}

static int ready(struct loop *loop)
{
	static const char *const transports[] = { "smtp", "relay", "lmtp" };
	struct agent_config work = {
		.program = "smtp",
		.transports = transports, .count = 3,
		.capacity = service_session_max(),
		.deliver = deliver_job,
		.edge = service_edge("qmgr"),
		.spawn = service_thread,
		.done = done,
	};

	(void)loop;
	how = (struct deliver){ .config = &config, .cache = cache_new(),
		.ask = ask_dns };
	if (how.cache == NULL || service_thread(tidy, how.cache) < 0)
		return -1;
	agent = agent_start(&work);
	return agent == NULL ? -1 : 0;
}

static bool drain(bool stopping)
{
	agent_drain(agent, stopping ? AGENT_STOP_GRACE : RELOAD_GRACE);
	return false;
}

int main(int argc, char **argv)
{
	static const struct service smtp = {
		.name = "smtp",
		.start = start,
		.ready = ready,
		.drain = drain,
		/* handshakes and addresses of a destination */
		.stack = 512 * 1024,
	};

	return service_main(argc, argv, &smtp);
}
