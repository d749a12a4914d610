/* deliver.h - between the files of the program `deliver` */
#ifndef LOCAL_DELIVER_H
#define LOCAL_DELIVER_H
#include "msgs/agent.h"
#include "msgs/deliver.h"
#include "queue/read.h"

struct delivery_job {
	const struct deliver_request *request;
	struct queue_reader reader;	/* at the first octet */
	struct arena *arena;
	int root;			/* the directory it is confined to */
};

/* status, dsn and text (in the job's arena or constant) of the reply. */
void deliver_outcome(struct deliver_reply *, enum agent_status,
    const char *dsn, struct str text);

/* Into the Maildir at request.dir (made when missing), through lib/store. */
void deliver_maildir(struct delivery_job *, struct deliver_reply *);

/*
 * The fields in front of every delivered message (postconf(5): as Postfix's
 * local(8) and virtual(8)): Return-Path:, X-Original-To:, Delivered-To:, with
 * LF line ends.
 */
int deliver_fields(const struct deliver_request *, struct buf *out);
/* A Delivered-To: field of the message names this recipient already
 * (RFC 5321 6.3). 1 yes, 0 no, -1 the file cannot be read. */
int deliver_is_loop(struct delivery_job *);
#endif
