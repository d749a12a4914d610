#include "pop3d/commands.h"

/* RFC 1939 6: the UPDATE state answers. */
void cmd_quit(struct session *s, const struct str *args, size_t n)
{
	(void)args;
	(void)n;
	session_enter(s, SESSION_UPDATE, "QUIT");
}
