/*
 * cleanup - turns a received message into a queue file
 *
 * Hears:    smtpd, pickup, bounce, local (msgs/submit.h)
 * Asks:     lookup (aliases), qmgr (queue files)
 * Runs as:  postern-cleanup, in an empty directory; writes only into files
 *           that it was given
 * Owns:     the file between the first octet and the commit
 * Start at: message.c
 * Obeys:    RFC 5321 4.4, 6.3; 5322 3.6; 6409 8
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "cleanup/message.h"
#include "cleanup/stock.h"
#include "service/service.h"

/* Longest silence inside a message: that of the slowest client. */
#define INPUT_TIMEOUT (3600 * CLOCK_SECOND)
#define REPLY_TIMEOUT (60 * CLOCK_SECOND)
#define STACK (128 * 1024)

/* Receives one more part; false: the message is given up. */
static bool receive(struct conv *c, struct message *m, bool *has_content,
    bool *last)
{
	static const struct msg_schema *const any[] = { &submit_data_schema,
		&submit_rcpts_schema };
	union {
		struct submit_data data;
		struct submit_rcpts rcpts;
	} msg;
	const struct msg_schema *got;
	const char *why;

	/* Recipients come before the content, never after. */
	switch (conv_recv(c, any, *has_content ? 1 : 2, &got, &msg,
	    clock_now() + INPUT_TIMEOUT, &why)) {
	case CONV_MESSAGE:
		break;
	case CONV_BROKEN:
		log_warn("%s: %s", conv_name(c), why);
		return false;
	default:
		return false; /* cancelled */
	}
	if (got == &submit_rcpts_schema) {
		message_rcpts(m, &msg.rcpts);
		return true;
	}
	*has_content = true;
	*last = msg.data.last;
	message_content(m, msg.data.content, *last);
	return true;
}

/* One message; true when the conversation may hold another. */
static bool serve_message(struct conv *c, const char *client,
    const struct submit_begin *b)
{
	struct message *m = message_new(service_params(), client, b);
	bool has_content = b->content.n > 0 || b->last, last = b->last;
	const struct submit_reply *reply;
	const char *why;
	bool ok;

	if (m == NULL)
		return false;
	if (has_content)
		message_content(m, b->content, last);
	while ((reply = message_reply(m)) == NULL)
		if (!receive(c, m, &has_content, &last)) {
			message_free(&m);
			return false;
		}
	ok = conv_send(c, &submit_reply_schema, reply,
		 clock_now() + REPLY_TIMEOUT, &why) == 0;
	/* Committed is committed, whether the client heard or not. */
	message_announce(m);
	message_free(&m);
	return ok && last;
}

static void converse(struct conv *c, const char *client)
{
	static const struct msg_schema *const allowed[] = {
		&submit_begin_schema
	};

	for (;;) {
		const struct msg_schema *got;
		struct submit_begin b;
		const char *why;
		enum conv_got how =
		    service_recv(c, allowed, 1, &got, &b, &why);

		if (how == CONV_BROKEN)
			log_warn("%s: %s", client, why);
		if (how != CONV_MESSAGE || !serve_message(c, client, &b))
			break;
	}
	conv_close(&c);
}

static int start(void)
{
	/* The zone of Date: and Received: is read while there are files. */
	tzset();
	return 0;
}

static int ready(struct loop *loop)
{
	(void)loop;
	if (stock_start() == 0)
		return 0;
	log_warn("cannot start a thread: %s", strerror(errno));
	return -1;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "cleanup",
		.start = start,
		.ready = ready,
		.converse = converse,
		.stack = STACK,
	};

	return service_main(argc, argv, &service);
}
