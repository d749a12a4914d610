#include "pop3d/commands.h"

/* RFC 1939 5: two numbers and nothing else; marked messages do not count. */
void cmd_stat(struct session *s, const struct str *args, size_t n)
{
	uint64_t octets = 0;

	(void)args;
	(void)n;
	if (session_need_sizes(s) < 0)
		return;
	for (uint32_t i = 1; i <= s->count; i++)
		if (!session_is_deleted(s, i))
			octets += s->sizes[i];
	session_ok(s, "%u %llu", s->count - s->deleted_count,
	    (unsigned long long)octets);
}
