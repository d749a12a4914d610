/*
 * deliver.h - `local` has a message put into a mailbox by that uid's `deliver`
 *
 * Each is one request and one reply; a conversation may hold many.
 */
#ifndef MSGS_DELIVER_H
#define MSGS_DELIVER_H
#include "ipc/msg.h"

struct deliver_request {
	int file;            /* queue file, read-only */
	struct str queue_id; /* checked against the file before it starts */
	struct str dir;      /* virtual: below the root; system: the home */
	struct str mailbox;  /* below dir: "" Maildir itself, "Maildir/", a
				file name for mbox */
	struct str sender;
	struct str rcpt;     /* Delivered-To: */
	struct str original; /* X-Original-To:, "" when the same */
	struct str command;  /* "" or what to run instead (system users) */
	struct strs environment; /* for the command: NAME=value */
};

struct deliver_reply {
	uint64_t status;  /* enum agent_status */
	struct str dsn;
	struct str text;  /* "delivered to maildir" */
};

extern const struct msg_schema deliver_request_schema;
extern const struct msg_schema deliver_reply_schema;
#endif
