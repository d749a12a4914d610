#include "imapd/commands.h"

#define IN(state) (1u << SESSION_##state)
#define ANY (IN(AUTHENTICATED) | IN(SELECTED))

static const struct command commands[] = {
	/* any state: RFC 3501 6.1 */
	{ "CAPABILITY", ANY, 0, cmd_capability, "3501 6.1.1" },
	{ "NOOP", ANY, 0, cmd_noop, "3501 6.1.2" },
	{ "LOGOUT", ANY, COMMAND_NO_SYNC, cmd_logout, "3501 6.1.3" },
	{ "ID", ANY, 0, cmd_id, "2971 3.1" },
	/* not authenticated: RFC 3501 6.2; too late here */
	{ "STARTTLS", 0, 0, cmd_login, "3501 6.2.1" },
	{ "AUTHENTICATE", 0, 0, cmd_login, "3501 6.2.2" },
	{ "LOGIN", 0, 0, cmd_login, "3501 6.2.3" },
	/* authenticated: RFC 3501 6.3 */
	{ "SELECT", ANY, COMMAND_NO_SYNC, cmd_select, "3501 6.3.1" },
	{ "EXAMINE", ANY, COMMAND_NO_SYNC, cmd_examine, "3501 6.3.2" },
	{ "CREATE", ANY, 0, cmd_create, "3501 6.3.3" },
	{ "DELETE", ANY, 0, cmd_delete, "3501 6.3.4" },
	{ "RENAME", ANY, 0, cmd_rename, "3501 6.3.5" },
	{ "SUBSCRIBE", ANY, 0, cmd_subscribe, "3501 6.3.6" },
	{ "UNSUBSCRIBE", ANY, 0, cmd_unsubscribe, "3501 6.3.7" },
	{ "LIST", ANY, 0, cmd_list, "3501 6.3.8, 5258, 5819" },
	{ "LSUB", ANY, 0, cmd_lsub, "3501 6.3.9" },
	{ "STATUS", ANY, 0, cmd_status, "3501 6.3.10" },
	{ "APPEND", ANY, 0, cmd_append, "3501 6.3.11, 4315 3" },
	{ "NAMESPACE", ANY, 0, cmd_namespace, "2342 5" },
	{ "ENABLE", ANY, 0, cmd_enable, "5161 3.1" },
	{ "IDLE", ANY, 0, cmd_idle, "2177 3" },
	/* selected: RFC 3501 6.4 */
	{ "CHECK", IN(SELECTED), 0, cmd_check, "3501 6.4.1" },
	{ "CLOSE", IN(SELECTED), COMMAND_NO_SYNC, cmd_close, "3501 6.4.2" },
	{ "UNSELECT", IN(SELECTED), COMMAND_NO_SYNC, cmd_unselect, "3691 2" },
	{ "EXPUNGE", IN(SELECTED), COMMAND_UID, cmd_expunge,
	    "3501 6.4.3, 4315 2.1" },
	{ "SEARCH", IN(SELECTED), COMMAND_UID | COMMAND_NO_EXPUNGE,
	    cmd_search, "3501 6.4.4, 4731" },
	{ "FETCH", IN(SELECTED), COMMAND_UID | COMMAND_NO_EXPUNGE,
	    cmd_fetch, "3501 6.4.5" },
	{ "STORE", IN(SELECTED), COMMAND_UID | COMMAND_NO_EXPUNGE,
	    cmd_store, "3501 6.4.6" },
	{ "COPY", IN(SELECTED), COMMAND_UID, cmd_copy, "3501 6.4.7" },
	{ "MOVE", IN(SELECTED), COMMAND_UID, cmd_move, "6851 3" },
	{ "UID", IN(SELECTED), 0, cmd_uid, "3501 6.4.8" },
};

const struct command *command_find(struct str verb)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (str_eq_nocase_c(verb, commands[i].verb))
			return &commands[i];
	return NULL;
}

const struct command *command_find_uid(struct str verb)
{
	const struct command *c = command_find(verb);

	return c != NULL && (c->flags & COMMAND_UID) != 0 ? c : NULL;
}
