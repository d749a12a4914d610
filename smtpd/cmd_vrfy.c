#include "smtpd/command.h"

/*
 * RFC 5321 3.5.3, 7.3: the same answer for those who exist and those who do
 * not. RCPT tells, and its errors are counted.
 */
void cmd_vrfy(struct session *s, struct str arg)
{
	if (s->smtpd->params->disable_vrfy_command)
		session_reply(s, "502 5.5.1 VRFY command is disabled");
	else if (arg.n == 0)
		session_reply(s, "501 5.5.4 Syntax: VRFY address");
	else
		session_reply(s, "252 2.5.2 Cannot VRFY; try RCPT to attempt "
				 "delivery");
}
