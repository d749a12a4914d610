#include "pop3d/commands.h"

/* RFC 1939 5: nothing is marked any more. */
void cmd_rset(struct session *s, const struct str *args, size_t n)
{
	(void)args;
	(void)n;
	memset(s->deleted, 0, s->count / 8 + 1);
	s->deleted_count = 0;
	session_ok(s, "%u messages", s->count);
}
