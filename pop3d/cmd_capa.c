#include "pop3d/commands.h"

/* RFC 2449 5 and 6. USER and SASL are announced in both states. */
void cmd_capa(struct session *s, const struct str *args, size_t n)
{
	static const char *const capabilities[] = {
		"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING",
		"USER", "SASL PLAIN LOGIN", "EXPIRE NEVER",
		"IMPLEMENTATION Postern",
	};

	(void)args;
	(void)n;
	session_ok(s, "Capabilities follow");
	for (size_t i = 0; i < sizeof(capabilities) /
	    sizeof(capabilities[0]); i++)
		session_line(s, "%s", capabilities[i]);
	session_dot(s);
}
