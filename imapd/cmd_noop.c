/* NOOP (RFC 3501 6.1.2), CHECK (6.4.1), and what comes too late (6.2) */
#include "imapd/commands.h"

/* The changes of the mailbox are shown before every answer. */
int cmd_noop(struct session *s)
{
	if (parse_end(&s->parse) < 0)
		return -1;
	session_ok(s, "NOOP completed");
	return 0;
}

/* What is answered OK is on disk already: there is nothing to check. */
int cmd_check(struct session *s)
{
	if (parse_end(&s->parse) < 0)
		return -1;
	session_ok(s, "Check completed");
	return 0;
}

int cmd_login(struct session *s)
{
	return parse_fail(&s->parse, "Already logged in");
}
