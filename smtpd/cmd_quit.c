#include "smtpd/command.h"

/* RFC 5321 4.1.1.10 */
void cmd_quit(struct session *s, struct str arg)
{
	if (arg.n > 0) {
		session_reply(s, "501 5.5.4 Syntax: QUIT");
		return;
	}
	/* RFC 2920 3.1: QUIT is the last of its group. */
	if (!session_is_in_step(s))
		return;
	session_reply(s, "221 2.0.0 Bye");
	s->has_quit = true;
	session_enter(s, SESSION_CLOSING);
}
