#include "pop3d/commands.h"

/* RFC 1939 5: the exact size in octets, as RETR sends it. */
void cmd_list(struct session *s, const struct str *args, size_t n)
{
	uint32_t number;
	uint64_t octets = 0;

	if (n == 1 && (number = session_message(s, args[0])) == 0)
		return;
	if (session_need_sizes(s) < 0)
		return;
	if (n == 1) {
		session_ok(s, "%u %llu", number,
		    (unsigned long long)s->sizes[number]);
		return;
	}
	for (uint32_t i = 1; i <= s->count; i++)
		if (!session_is_deleted(s, i))
			octets += s->sizes[i];
	session_ok(s, "%u messages (%llu octets)", s->count -
	    s->deleted_count, (unsigned long long)octets);
	for (uint32_t i = 1; i <= s->count; i++)
		if (!session_is_deleted(s, i))
			session_line(s, "%u %llu", i,
			    (unsigned long long)s->sizes[i]);
	session_dot(s);
}
