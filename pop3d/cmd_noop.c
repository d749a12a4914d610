#include "pop3d/commands.h"

void cmd_noop(struct session *s, const struct str *args, size_t n)
{
	(void)args;
	(void)n;
	session_ok(s, "Nothing done");
}
