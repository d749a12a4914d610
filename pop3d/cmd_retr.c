#include "pop3d/commands.h"

/* RFC 1939 5 */
void cmd_retr(struct session *s, const struct str *args, size_t n)
{
	uint32_t number = session_message(s, args[0]);

	(void)n;
	if (number == 0)
		return;
	s->retr++;
	s->retr_octets += session_send_message(s, number, 0, true);
}
