/*
 * qmgr - owns the queue: schedules deliveries, and lists and steers them
 *
 * Hears from:  cleanup (msgs/stock.h), local, smtp and bounce (msgs/agent.h),
 *              pickup for operators (msgs/queue.h)
 * Asks:        lookup, where deferred mail leads now
 * Runs as:     postern-qmgr, in an empty root, with the spool
 * Owns:        the spool: incoming/ deferred/ hold/ corrupt/ done
 * Start at:    message.c, the states of a message
 * RFCs:        5321 (4.5.4 retry, 6.1), 3461 (4.1, 4.3: when a notice is
 *              due)
 */
#include <signal.h>
#include "qmgr/core.h"
#include "service/service.h"

static struct qmgr qmgr;

static int start(void)
{
	/* Somebody opens a file in the moment in which we prove that nobody
	 * has it: the kernel says so by this signal. */
	signal(SIGIO, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int ready(struct loop *loop)
{
	return qmgr_start(&qmgr, loop, service_params());
}

static void conv_arrived(struct conv *conv, const char *client)
{
	qmgr_take(&qmgr, conv, client);
}

static bool drain(bool stopping)
{
	return qmgr_drain(&qmgr, stopping);
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "qmgr",
		.start = start,
		.ready = ready,
		.conv_arrived = conv_arrived,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
