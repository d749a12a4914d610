/* pickup.h - between the files of the program `pickup` */
#ifndef SENDMAIL_PICKUP_H
#define SENDMAIL_PICKUP_H
#include "ipc/conv.h"
#include "msgs/queue.h"

/* Longest silence of a command: a person may type the message. */
#define CLIENT_TIMEOUT (3600 * CLOCK_SECOND)

/*
 * Passes a question or an order about the queue on to qmgr, and the answers
 * back; what waits in maildrop/ is added to a list, and shown or deleted by its
 * id. Everybody may list and flush, as Postfix has it; the rest is for
 * root and the owner of the instance. 0, or -1: the conversation is over.
 */
union operator_message {
	struct queue_list list;
	struct queue_order order;
	struct queue_show show;
};
int operator_serve(struct conv *, uid_t, const struct msg_schema *,
    const union operator_message *);

/* Looks into maildrop/ in a thread of its own, from now on. 0 or -1. */
int maildrop_start(void);
/* For struct service.drain: true when no message is in hand. */
bool maildrop_drain(void);
#endif
