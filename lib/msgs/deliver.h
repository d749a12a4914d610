/*
 * deliver.h - `local` has a message put into a mailbox by that uid's
 * `deliver`, or given to a command by that uid's `deliver_command`
 *
 * Each is one request and one reply; a conversation may hold many.
 */
#ifndef MSGS_DELIVER_H
#define MSGS_DELIVER_H
#include "ipc/msg.h"

enum deliver_what {
	DELIVER_MAILBOX = 1, /* into `mailbox` below dir */
	DELIVER_FORWARD,     /* nothing: give the user's .forward */
	/* these only to `deliver_command` */
	DELIVER_COMMAND,     /* run `command`, the message on its input */
	DELIVER_FILE,        /* append to the file `mailbox`, absolute; with
				a / at its end: into that Maildir */
	DELIVER_INCLUDE,     /* nothing: give the file `mailbox`, absolute */
};

#define DELIVER_TEXT_MAX 65536 /* octets of a .forward, of an :include: */

struct deliver_request {
	uint64_t what;       /* enum deliver_what */
	int file;            /* queue file, read-only */
	struct str queue_id; /* checked against the file before it starts */
	struct str dir;      /* virtual: below the root; system: the home */
	struct str mailbox;  /* below dir: "" Maildir itself, "Maildir/", a
				file name for mbox; "/name", "/name/": the
				same in mail_spool_directory */
	struct str sender;
	struct str rcpt;     /* Delivered-To: */
	struct str original; /* X-Original-To:, "" when the same */
	struct str command;  /* "" or what to run instead (system users) */
	struct strs environment; /* NAME=value: for the command; what
				forward_path may name */
};

struct deliver_reply {
	uint64_t status;  /* enum agent_status */
	struct str dsn;
	struct str text;  /* "delivered to maildir" */
	bool file_damaged; /* as in agent_result */
	bool found;       /* FORWARD, INCLUDE: there is such a file */
	struct str content; /* and this is in it */
};

extern const struct msg_schema deliver_request_schema;
extern const struct msg_schema deliver_reply_schema;
#endif
