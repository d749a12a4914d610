#include <pthread.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/limits.h"

/*
 * A client waits this long for an answer, and this long before it asks again
 * after none came. Giving up costs what was counted for this process: so a
 * crowd that keeps the processors busy must not bring it about.
 */
#define ANSWER_TIME (5 * CLOCK_SECOND)
#define AWAY_TIME (10 * CLOCK_SECOND)

static const struct msg_field request_fields[] = {
	MSG_U64(struct limits_request, event, LIMITS_LOGIN_GOOD),
	MSG_STR(struct limits_request, service, 32),
	MSG_STR(struct limits_request, client_addr, 72),
	MSG_STR(struct limits_request, user, 512),
	MSG_U64(struct limits_request, number, UINT32_MAX),
};
const struct msg_schema limits_request_schema = MSG_SCHEMA("limits_request",
    0x0c01, struct limits_request, request_fields);

static const struct msg_field reply_fields[] = {
	MSG_U64(struct limits_reply, count, UINT64_MAX),
	MSG_U64(struct limits_reply, rate, UINT64_MAX),
	MSG_U64(struct limits_reply, delay_us, UINT64_MAX),
};
const struct msg_schema limits_reply_schema = MSG_SCHEMA("limits_reply",
    0x0c02, struct limits_reply, reply_fields);

struct limits_client {
	struct edge *edge;
	pthread_mutex_t lock;	/* guards what follows */
	struct conv *conv;
	int64_t away_until;
};

struct limits_client *limits_client_new(struct edge *edge)
{
	struct limits_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->edge = edge;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

void limits_client_free(struct limits_client **cp)
{
	struct limits_client *c = *cp;

	if (c == NULL)
		return;
	if (c->conv != NULL)
		conv_close(&c->conv);
	pthread_mutex_destroy(&c->lock);
	free(c);
	*cp = NULL;
}

static int ask(struct limits_client *c, const struct limits_request *request,
    struct limits_reply *reply_r)
{
	int64_t now = clock_now();
	const char *why = "no answer";

	if (c->edge == NULL || now < c->away_until)
		return -1;
	/* Twice: the conversation may be one of a process that ended. */
	for (int attempt = 0; attempt < 2; attempt++) {
		bool fresh = c->conv == NULL;

		if (fresh)
			c->conv = edge_open_fresh(c->edge, now + ANSWER_TIME);
		if (c->conv == NULL)
			break;
		if (conv_call(c->conv, &limits_request_schema, request,
		    &limits_reply_schema, reply_r, now + ANSWER_TIME,
		    &why) == 0)
			return 0;
		conv_close(&c->conv);
		if (fresh)
			break;
	}
	c->away_until = clock_now() + AWAY_TIME;
	log_warn("limits is away (%s): clients are not limited", why);
	return -1;
}

int limits_tell(struct limits_client *c, const struct limits_request *request,
    struct limits_reply *reply_r)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = ask(c, request, reply_r);
	pthread_mutex_unlock(&c->lock);
	if (r != 0)
		*reply_r = (struct limits_reply){ .count = 0 };
	return r;
}
