/* CAPABILITY (RFC 3501 6.1.1) and ENABLE (RFC 5161) */
#include "imapd/commands.h"

/*
 * What works once logged in. CHILDREN is RFC 3348, LITERAL+ RFC 7888,
 * APPENDLIMIT RFC 7889.
 */
void session_capabilities(const struct session *s, struct buf *out)
{
	buf_append_c(out, "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE "
	    "UIDPLUS UNSELECT MOVE CHILDREN SPECIAL-USE ESEARCH WITHIN "
	    "LIST-EXTENDED LIST-STATUS");
	if (s->server->append_limit != 0)
		buf_printf(out, " APPENDLIMIT=%llu",
		    (unsigned long long)s->server->append_limit);
}

int cmd_capability(struct session *s)
{
	struct buf text;

	if (parse_end(&s->parse) < 0)
		return -1;
	buf_init(&text, 4096);
	session_capabilities(s, &text);
	session_say(s, "* CAPABILITY %s", buf_cstr(&text));
	buf_fini(&text);
	session_ok(s, "Capability completed");
	return 0;
}

/* RFC 5161 3.1: what is not known, or not to be enabled, is ignored. */
int cmd_enable(struct session *s)
{
	struct str name;

	do {
		if (parse_space(&s->parse) < 0 ||
		    parse_atom(&s->parse, &name) < 0)
			return -1;
	} while (!parse_at_end(&s->parse));
	session_say(s, "* ENABLED");
	session_ok(s, "Enabled");
	return 0;
}
