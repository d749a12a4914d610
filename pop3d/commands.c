/*
 * commands.c - what may be said in the TRANSACTION state
 *
 * USER, PASS, APOP, AUTH and STLS belong to the state before (`login`); LAST
 * went with RFC 1460. All of them are unknown here.
 */
#include "pop3d/commands.h"

static const struct command commands[] = {
	/* verb   args   syntax                     handler       RFC */
	{ "CAPA", 0, 0, "CAPA",                     cmd_capa },	/* 2449 5 */
	{ "DELE", 1, 1, "DELE message",             cmd_dele },	/* 1939 5 */
	{ "LIST", 0, 1, "LIST [message]",           cmd_list },	/* 1939 5 */
	{ "NOOP", 0, 0, "NOOP",                     cmd_noop },	/* 1939 5 */
	{ "QUIT", 0, 0, "QUIT",                     cmd_quit },	/* 1939 6 */
	{ "RETR", 1, 1, "RETR message",             cmd_retr },	/* 1939 5 */
	{ "RSET", 0, 0, "RSET",                     cmd_rset },	/* 1939 5 */
	{ "STAT", 0, 0, "STAT",                     cmd_stat },	/* 1939 5 */
	{ "TOP",  2, 2, "TOP message lines",        cmd_top },	/* 1939 7 */
	{ "UIDL", 0, 1, "UIDL [message]",           cmd_uidl },	/* 1939 7 */
};

const struct command *command_find(struct str verb)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (str_eq_nocase_c(verb, commands[i].verb))
			return &commands[i];
	return NULL;
}
