/* LOGOUT (RFC 3501 6.1.3) */
#include "imapd/commands.h"

int cmd_logout(struct session *s)
{
	if (parse_end(&s->parse) < 0)
		return -1;
	session_say(s, "* BYE Logging out");
	session_ok(s, "Logout completed");
	session_enter(s, SESSION_ENDED, "Logged out");
	return 0;
}
