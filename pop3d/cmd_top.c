#include "pop3d/commands.h"

/* RFC 1939 7: the header, the empty line and n lines of the body. */
void cmd_top(struct session *s, const struct str *args, size_t n)
{
	uint32_t number = session_message(s, args[0]);
	uint64_t lines;

	(void)n;
	if (number == 0)
		return;
	for (size_t i = 0; i < args[1].n; i++) {
		if (!ascii_is_digit(args[1].p[i])) {
			session_err(s, "Syntax: TOP message lines");
			return;
		}
	}
	/* More lines than can be counted are all lines. */
	if (str_to_u64(args[1], UINT64_MAX, &lines) < 0)
		lines = UINT64_MAX;
	s->top++;
	s->top_octets += session_send_message(s, number, lines, false);
}
