/*
 * message.h - one message on its way into a queue file
 *
 *   state     what is there                   what a crash costs
 *   ENVELOPE  sender, some recipients         nothing: nobody was told
 *   HEADER    the header, not all of it       nothing
 *   BODY      header written, body streams    a torn file, which qmgr unlinks
 *   DONE      committed or refused            committed: nothing, the message
 *                                             is in incoming/; the client may
 *                                             not have heard and send it again
 *
 * A refusal can come in any state; what follows it is not looked at.
 */
#ifndef CLEANUP_MESSAGE_H
#define CLEANUP_MESSAGE_H
#include "cleanup/recipients.h"
#include "cleanup/stock.h"
#include "config/params.h"

struct message;

/* A message cannot have waited longer: the clock was wrong then. */
#define MESSAGE_WAIT_MAX (30 * 24 * 3600 * INT64_C(1000000)) /* microseconds */

/*
 * Takes a file from the stock and what came first (strings are copied).
 * client: the program that sends it, as the edge says; only of `pickup` it is
 * believed since when a message waits. NULL without memory. A refusal shows
 * in message_reply().
 */
struct message *message_new(const struct params *, const char *client,
    const struct submit_begin *);
/* Gives the file back if it was not committed. */
void message_free(struct message **);
/* More recipients; before any content. */
void message_rcpts(struct message *, const struct submit_rcpts *);
/* Content in wire form; last: commits. */
void message_content(struct message *, struct str, bool last);
/* The answer, once there is one; its strings live as long as the message. */
const struct submit_reply *message_reply(const struct message *);
/* Logs the message and tells qmgr of a commit, after the client was
 * answered. */
void message_announce(struct message *);
#endif
