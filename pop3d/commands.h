/* commands.h - the command table */
#ifndef POP3D_COMMANDS_H
#define POP3D_COMMANDS_H
#include "pop3d/session.h"

#define POP3_ARGS_MAX 2

struct command {
	const char *verb;
	size_t least, most;	/* arguments */
	const char *syntax;
	void (*run)(struct session *, const struct str *args, size_t n);
};

/* Case does not matter (RFC 1939 3). NULL: not a command here. */
const struct command *command_find(struct str verb);

void cmd_capa(struct session *, const struct str *, size_t);
void cmd_dele(struct session *, const struct str *, size_t);
void cmd_list(struct session *, const struct str *, size_t);
void cmd_noop(struct session *, const struct str *, size_t);
void cmd_quit(struct session *, const struct str *, size_t);
void cmd_retr(struct session *, const struct str *, size_t);
void cmd_rset(struct session *, const struct str *, size_t);
void cmd_stat(struct session *, const struct str *, size_t);
void cmd_top(struct session *, const struct str *, size_t);
void cmd_uidl(struct session *, const struct str *, size_t);
#endif
