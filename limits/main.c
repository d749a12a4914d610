/*
 * limits - counts connections, rates and failed logins for all processes
 *
 * Hears from:  smtpd, login, auth (msgs/limits.h)
 * Talks to:    nobody
 * Runs as:     postern-limits, in an empty root, without files
 * Owns:        counters in memory; when it dies they start from nothing,
 *              and who asks meanwhile is not limited
 * Start at:    on_request()
 * RFCs:        none
 */
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "limits/counts.h"
#include "msgs/limits.h"
#include "net/addr.h"
#include "service/service.h"

struct client {
	struct conv *conv;
	const char *name;
	struct watch *watch;
	struct holder *holder;
};

static struct {
	struct loop *loop;
	struct counts *counts;
} self;

static void drop(struct client *cl)
{
	watch_free(&cl->watch);
	counts_holder_free(self.counts, &cl->holder, clock_now());
	conv_close(&cl->conv);
	free(cl);
}

/* The network that a client is counted as; what is no address stays. */
static struct str network_of(struct str addr, int64_t bits4, int64_t bits6,
    char out[NET_ADDR_TEXT])
{
	struct net_addr a;

	if (net_addr_parse(addr, &a) != 0)
		return addr;
	return str_of(net_addr_text_network(&a, (unsigned)bits4,
	    (unsigned)bits6, out));
}

static void judge(struct client *cl, const struct limits_request *q,
    struct limits_reply *reply)
{
	const struct params *p = service_params();
	char text[2][NET_ADDR_TEXT];
	/* Who has one IPv6 address has as many as he likes. */
	struct str client = network_of(q->client_addr,
	    p->smtpd_client_ipv4_prefix_length,
	    p->smtpd_client_ipv6_prefix_length, text[0]);
	struct counts_origin from = { q->client_addr,
		network_of(q->client_addr, p->auth_failure_ipv4_prefix_length,
		    p->auth_failure_ipv6_prefix_length, text[1]) };
	static const enum counts_rate kinds[] = {
		[LIMITS_MESSAGE] = COUNTS_MESSAGES,
		[LIMITS_RECIPIENTS] = COUNTS_RECIPIENTS,
		[LIMITS_AUTH] = COUNTS_AUTHS,
		[LIMITS_TLS] = COUNTS_HANDSHAKES,
	};
	struct counts *c = self.counts;
	int64_t now = loop_now(self.loop), delay = 0;

	switch ((enum limits_event)q->event) {
	case LIMITS_CONNECT:
		counts_connect(c, cl->holder, q->service, client, now,
		    &reply->count, &reply->rate);
		break;
	case LIMITS_DISCONNECT:
		counts_disconnect(c, cl->holder, q->service, client, now);
		break;
	case LIMITS_MESSAGE:
	case LIMITS_RECIPIENTS:
	case LIMITS_AUTH:
	case LIMITS_TLS:
		reply->rate = counts_add(c, kinds[q->event], q->service,
		    client, q->event == LIMITS_RECIPIENTS ?
		    q->number : 1, now);
		break;
	case LIMITS_LOGIN_ASK:
		reply->count = counts_login_ask(c, &from, q->user, now,
		    &delay);
		break;
	case LIMITS_LOGIN_FAILED:
		delay = counts_login_failed(c, &from, q->user, now);
		break;
	case LIMITS_LOGIN_GOOD:
		counts_login_good(c, &from, q->user, now);
		break;
	}
	reply->delay_us = (uint64_t)delay;
}

static void on_request(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&limits_request_schema };
	struct limits_reply reply = { .count = 0 };
	struct client *cl = ctx;
	struct limits_request q;
	const struct msg_schema *got;
	const char *why;

	(void)fd;
	(void)ready;
	switch (conv_try_recv(cl->conv, allowed, 1, &got, &q, &why)) {
	case CONV_TIMEOUT:
		return;
	case CONV_BROKEN:
		log_warn("conversation with %s: %s", cl->name, why);
		drop(cl);
		return;
	case CONV_CLOSED:
		drop(cl);
		return;
	case CONV_MESSAGE:
		break;
	}
	judge(cl, &q, &reply);
	/* Who does not take its answers is not waited for: there is room for
	 * several, and a client has one at a time. */
	if (conv_try_send(cl->conv, &limits_reply_schema, &reply, &why) != 0)
		drop(cl);
}

static void conv_arrived(struct conv *c, const char *name)
{
	struct client *cl = calloc(1, sizeof(*cl));

	if (cl == NULL || (cl->holder = counts_holder_new()) == NULL) {
		free(cl);
		conv_close(&c);
		return;
	}
	cl->conv = c;
	cl->name = name;
	cl->watch = watch_new(self.loop, conv_fd(c), LOOP_READ, on_request,
	    cl);
	if (cl->watch == NULL)
		drop(cl);
}

static int ready(struct loop *loop)
{
	const struct params *p = service_params();
	struct counts_options options = {
		.span_us = p->anvil_rate_time_unit * CLOCK_SECOND,
		.delay_us = p->auth_failure_delay * CLOCK_SECOND,
		.delay_max_us = p->auth_failure_delay_limit * CLOCK_SECOND,
		.memory_us = p->auth_failure_memory * CLOCK_SECOND,
		.patience = (uint64_t)p->auth_failure_soft_limit,
	};

	self.loop = loop;
	self.counts = counts_new(&options);
	return self.counts != NULL ? 0 : -1;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "limits",
		.ready = ready,
		.conv_arrived = conv_arrived,
	};

	return service_main(argc, argv, &service);
}
