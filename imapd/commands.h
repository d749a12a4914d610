/* commands.h - the verbs of IMAP: where each is legal and who answers it */
#ifndef IMAPD_COMMANDS_H
#define IMAPD_COMMANDS_H
#include "imapd/session.h"

/*
 * Parses the rest of its command from s->parse, acts, and sets the tagged
 * answer. -1: the command was not understood; parse.why becomes the BAD.
 */
typedef int command_fn(struct session *);

enum command_flags {
	/* May be said as UID verb. */
	COMMAND_UID = 1,
	/* RFC 3501 7.4.1: no EXPUNGE while this is answered (unless UID). */
	COMMAND_NO_EXPUNGE = 2,
	/* Looks for no changes of the mailbox before its answer. */
	COMMAND_NO_SYNC = 4,
};

struct command {
	const char *verb;
	unsigned states;	/* IN() bits */
	unsigned flags;
	command_fn *run;
	const char *rfc;	/* for the reader */
};

/* NULL: no such verb. */
const struct command *command_find(struct str verb);
const struct command *command_find_uid(struct str verb);

command_fn cmd_append, cmd_capability, cmd_check, cmd_close, cmd_copy,
    cmd_create, cmd_delete, cmd_enable, cmd_examine, cmd_expunge,
    cmd_fetch, cmd_id, cmd_idle, cmd_list, cmd_login, cmd_logout, cmd_lsub,
    cmd_move, cmd_namespace, cmd_noop, cmd_rename, cmd_search, cmd_select,
    cmd_status, cmd_store, cmd_subscribe, cmd_uid, cmd_unselect,
    cmd_unsubscribe;
#endif
