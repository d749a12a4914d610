/*
 * submission.h - one message from the command line on its way to `cleanup`
 *
 * The same for what comes over the socket and what waits in maildrop/. The
 * calls come in the order begin, rcpts, data; each may bring the answer.
 */
#ifndef SENDMAIL_SUBMISSION_H
#define SENDMAIL_SUBMISSION_H
#include "msgs/pickup.h"

struct submission;

/* since: when the message was left, clock_wall(); 0: now. NULL: no memory. */
struct submission *submission_new(uid_t, int64_t since);
void submission_free(struct submission **);
/* Nothing of the messages is kept by reference. */
void submission_begin(struct submission *, const struct pickup_submit *);
void submission_rcpts(struct submission *, const struct strs *);
void submission_data(struct submission *, struct str content, bool last);
/* Gives up with a reply of our own, unless there is one. */
void submission_refuse(struct submission *, unsigned code, const char *dsn,
    const char *text);
/* The answer, once there is one; lives as long as the submission. */
const struct pickup_reply *submission_reply(const struct submission *);

/*
 * Tells the submitter, by mail to his sender address (`sender`; nobody when
 * it is empty), that a message that waited was refused. 0, or -1: try later.
 */
int submission_tell(uid_t, struct str sender, const struct strs *rcpts,
    const struct pickup_reply *, struct str header);
#endif
