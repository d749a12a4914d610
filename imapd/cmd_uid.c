/* UID (RFC 3501 6.4.8): the same verbs, with unique identifiers */
#include "imapd/commands.h"

int cmd_uid(struct session *s)
{
	const struct command *c;
	struct str verb;

	if (parse_space(&s->parse) < 0 || parse_atom(&s->parse, &verb) < 0)
		return -1;
	c = command_find_uid(verb);
	if (c == NULL)
		return parse_fail(&s->parse, "Unknown UID command");
	s->uid = true;
	return c->run(s);
}
