#include "smtpd/command.h"

/* RFC 5321 4.1.1.5 */
void cmd_rset(struct session *s, struct str arg)
{
	if (arg.n > 0) {
		session_reply(s, "501 5.5.4 Syntax: RSET");
		return;
	}
	if (s->state != SESSION_GREETED)
		session_enter(s, SESSION_READY);
	session_reply(s, "250 2.0.0 Ok");
}
