/* EXPUNGE (RFC 3501 6.4.3), UID EXPUNGE (RFC 4315 2.1) */
#include <errno.h>
#include "imapd/commands.h"

static int everything(struct session *s, uint32_t **seqs_r, size_t *n_r)
{
	uint32_t count = mailbox_count(s->mailbox);

	*seqs_r = arena_array(s->arena, (size_t)count + 1, sizeof(**seqs_r));
	if (*seqs_r == NULL)
		return parse_fail(&s->parse, "Command needs too much memory");
	for (uint32_t i = 0; i < count; i++)
		(*seqs_r)[i] = i + 1;
	*n_r = count;
	return 0;
}

int cmd_expunge(struct session *s)
{
	const char *why = NULL;
	uint32_t *seqs;
	struct set set;
	size_t n;

	if (s->uid && (parse_space(&s->parse) < 0 ||
	    parse_set(&s->parse, &set) < 0))
		return -1;
	if (parse_end(&s->parse) < 0)
		return -1;
	/* Messages that others marked meanwhile are expunged as well. */
	mailbox_refresh(s->mailbox, NULL);
	if ((s->uid ? session_find(s, &set, &seqs, &n) :
	    everything(s, &seqs, &n)) < 0)
		return -1;
	if (mailbox_is_readonly(s->mailbox))
		session_no(s, "[NOPERM] Mailbox is read-only");
	else if (n > 0 &&
	    mailbox_expunge(s->mailbox, seqs, n, true, &why) < 0)
		session_no_store(s, errno, why);
	else
		session_ok(s, "Expunge completed");
	return 0;
}
