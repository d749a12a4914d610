#include "pop3d/commands.h"

/* RFC 1939 5: only marks; the UPDATE state removes. */
void cmd_dele(struct session *s, const struct str *args, size_t n)
{
	uint32_t number = session_message(s, args[0]);

	(void)n;
	if (number == 0)
		return;
	s->deleted[number / 8] |= (unsigned char)(1 << (number % 8));
	s->deleted_count++;
	session_ok(s, "Message %u deleted", number);
}
