#include "smtpd/command.h"

/* RFC 5321 4.1.1.9: a parameter is allowed and means nothing. */
void cmd_noop(struct session *s, struct str arg)
{
	(void)arg;
	session_reply(s, "250 2.0.0 Ok");
}

/* RFC 5321 4.2.4: the command is known and not done here. */
void cmd_not_done(struct session *s, struct str arg)
{
	(void)arg;
	session_reply(s, "502 5.5.1 Error: command not implemented");
}
