/* deliver.h - between the files of `deliver` and `deliver_command` */
#ifndef LOCAL_DELIVER_H
#define LOCAL_DELIVER_H
#include "ipc/conv.h"
#include "msgs/agent.h"
#include "msgs/deliver.h"
#include "queue/read.h"

struct delivery_job {
	const struct deliver_request *request;
	struct queue_reader reader;	/* at the first octet */
	struct arena *arena;
	int root;			/* the directory it is confined to;
					 * -1: the home is not there */
	bool passed_on;			/* set: another process is to be
					 * asked; the conversation ends */
};

/* status, dsn and text (in the job's arena or constant) of the reply. */
void deliver_outcome(struct deliver_reply *, enum agent_status,
    const char *dsn, struct str text);
/* The same for errno, in a sentence that begins with `what`. */
void deliver_failure(struct delivery_job *, struct deliver_reply *, int err,
    const char *what);

/* Serves the conversations of local: one request after the other. */
typedef void deliver_fn(struct delivery_job *, struct deliver_reply *);
void deliver_converse(struct conv *, deliver_fn *);

/*
 * Into the Maildir `mailbox` (made when missing; "" is dir itself) below
 * request.dir, through lib/store; or that which DELIVER_FILE names, with the
 * rights of this process. A system user's own mailbox has to belong to him or
 * to root.
 */
void deliver_maildir(struct delivery_job *, struct deliver_reply *);
/* Once, before the first. 0, or -1: no memory. */
int deliver_maildir_start(void);

/*
 * Appends to the mbox at `path` (relative to dir and then without following
 * any link, or absolute with dir AT_FDCWD), made when missing. Locked as
 * others lock it: by fcntl(2) and path.lock. A mailbox has to belong to the
 * recipient; a DELIVER_FILE need not. What fails leaves the file as it
 * was; 0 octets more or a whole, synced message.
 */
void deliver_mbox(struct delivery_job *, int dir, const char *path,
    struct deliver_reply *);

/* The user's forwarding, from the files that forward_path names; none without
 * a home. */
void deliver_forward(struct delivery_job *, struct deliver_reply *);
/* Up to DELIVER_TEXT_MAX octets of fd into the reply; fd is closed. */
void deliver_give_text(struct delivery_job *, int fd, const char *name,
    struct deliver_reply *);
/* request.command with the message on its standard input. */
void deliver_command(struct delivery_job *, struct deliver_reply *);

/*
 * The fields in front of every delivered message (postconf(5): as Postfix's
 * local(8) and virtual(8)): Return-Path:, X-Original-To:, Delivered-To:, with
 * LF line ends.
 */
int deliver_fields(const struct deliver_request *, struct buf *out);
/* "From sender  Wed Nov 25 20:46:01 2026" in front of those. */
int deliver_from_line(const struct deliver_request *, struct buf *out);
/* A Delivered-To: field of the message names this recipient already
 * (RFC 5321 6.3). 1 yes, 0 no, -1 the file cannot be read. */
int deliver_is_loop(struct delivery_job *);
#endif
