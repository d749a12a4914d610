#include "pop3d/commands.h"

/*
 * RFC 1939 7: 1 to 70 octets from 0x21 to 0x7e, the same in every session,
 * never given to another message: what UIDVALIDITY and UID promise in IMAP.
 */
static void put(struct session *s, uint32_t number, bool alone)
{
	uint32_t validity = mailbox_uidvalidity(s->mailbox);
	uint32_t uid = mailbox_get(s->mailbox, number).uid;

	if (alone)
		session_ok(s, "%u %u.%u", number, validity, uid);
	else
		session_line(s, "%u %u.%u", number, validity, uid);
}

void cmd_uidl(struct session *s, const struct str *args, size_t n)
{
	uint32_t number;

	if (n == 1) {
		if ((number = session_message(s, args[0])) != 0)
			put(s, number, true);
		return;
	}
	session_ok(s, "Unique-ids follow");
	for (uint32_t i = 1; i <= s->count; i++)
		if (!session_is_deleted(s, i))
			put(s, i, false);
	session_dot(s);
}
