/* SELECT (RFC 3501 6.3.1), EXAMINE (6.3.2), CLOSE (6.4.2), UNSELECT (3691) */
#include <errno.h>
#include "imapd/commands.h"

static void say_state(struct session *s)
{
	struct mailbox *m = s->mailbox;
	uint32_t unseen = mailbox_first_unseen(m);

	session_say_flags(s);
	s->shown_count = mailbox_count(m);
	s->shown_recent = mailbox_recent(m);
	session_say(s, "* %u EXISTS", s->shown_count);
	session_say(s, "* %u RECENT", s->shown_recent);
	if (unseen != 0)
		session_say(s, "* OK [UNSEEN %u] First unseen message",
		    unseen);
	session_say(s, "* OK [UIDVALIDITY %u] UIDs are valid",
	    mailbox_uidvalidity(m));
	session_say(s, "* OK [UIDNEXT %u] Predicted next UID",
	    mailbox_uidnext(m));
}

static int open_mailbox(struct session *s, enum mailbox_mode mode)
{
	struct str name;
	const char *why = NULL;

	if (parse_space(&s->parse) < 0 ||
	    parse_mailbox(&s->parse, &name) < 0 || parse_end(&s->parse) < 0)
		return -1;
	/* RFC 3501 6.3.1: the old one is deselected in any case. */
	session_unselect(s);
	if (mailbox_open(s->server->store, name, mode, &s->mailbox,
	    &why) < 0) {
		s->mailbox = NULL;
		session_no_store(s, errno, why);
		return 0;
	}
	session_enter(s, SESSION_SELECTED, "mailbox opened");
	say_state(s);
	session_ok(s, "[READ-%s] %s completed", mailbox_is_readonly(
	    s->mailbox) ? "ONLY" : "WRITE",
	    mode == MAILBOX_READONLY ? "Examine" : "Select");
	return 0;
}

int cmd_select(struct session *s)
{
	return open_mailbox(s, MAILBOX_READWRITE);
}

int cmd_examine(struct session *s)
{
	return open_mailbox(s, MAILBOX_READONLY);
}

/* Removes what is \Deleted, without telling (RFC 3501 6.4.2). */
int cmd_close(struct session *s)
{
	struct mailbox *m = s->mailbox;
	const char *why = NULL;
	uint32_t *seqs;
	size_t n = 0;

	if (parse_end(&s->parse) < 0)
		return -1;
	if (!mailbox_is_readonly(m)) {
		mailbox_refresh(m, NULL);
		seqs = arena_array(s->arena, mailbox_count(m) + 1,
		    sizeof(*seqs));
		if (seqs == NULL) {
			session_no(s, "[LIMIT] Out of memory");
			return 0;
		}
		for (uint32_t i = 1; i <= mailbox_count(m); i++)
			if ((mailbox_get(m, i).flags & MAILBOX_DELETED) != 0)
				seqs[n++] = i;
		if (n > 0 && mailbox_expunge(m, seqs, n, true, &why) < 0) {
			session_no_store(s, errno, why);
			return 0;
		}
	}
	session_unselect(s);
	session_ok(s, "Close completed");
	return 0;
}

int cmd_unselect(struct session *s)
{
	if (parse_end(&s->parse) < 0)
		return -1;
	session_unselect(s);
	session_ok(s, "Unselect completed");
	return 0;
}
