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
#include "base/log.h"
#include "service/service.h"
#include "smtp/agent.h"

/* A stopping suite does not wait longer for servers that are slow. */
#define STOP_GRACE (5 * CLOCK_SECOND)
/* After a reload running deliveries come to their end. */
#define RELOAD_GRACE (3600 * CLOCK_SECOND)

static struct smtp_config config;
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

static int ready(struct loop *loop)
{
	struct deliver deliver = { .config = &config, .ask = ask_dns };

	(void)loop;
	if ((deliver.cache = cache_new()) == NULL ||
	    service_edge("qmgr") == NULL)
		return -1;
	agent = agent_start(&deliver, service_edge("qmgr"),
	    service_session_max(), service_thread);
	return agent == NULL ? -1 : 0;
}

static bool drain(bool stopping)
{
	agent_drain(agent, stopping ? STOP_GRACE : RELOAD_GRACE,
	    service_done);
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
