/* COPY (RFC 3501 6.4.7), MOVE (RFC 6851), COPYUID (RFC 4315 section 3) */
#include <errno.h>
#include <stdio.h>
#include "imapd/commands.h"

/* "1:3,7" of the uids that these messages have. */
static void append_uids(const struct session *s, const uint32_t *seqs,
    size_t n, struct buf *out)
{
	for (size_t i = 0; i < n;) {
		uint32_t from = mailbox_get(s->mailbox, seqs[i]).uid;
		uint32_t to = from;

		while (++i < n &&
		    mailbox_get(s->mailbox, seqs[i]).uid == to + 1)
			to++;
		if (out->n > 0)
			buf_append_char(out, ',');
		if (from == to)
			buf_printf(out, "%u", from);
		else
			buf_printf(out, "%u:%u", from, to);
	}
}

static void refuse(struct session *s, int error, const char *why)
{
	if (error == ENOENT)	/* RFC 3501 6.4.7 */
		session_no(s, "[TRYCREATE] %s", why != NULL ? why :
		    "No such mailbox");
	else
		session_no_store(s, error, why);
}

static void answer(struct session *s, bool move,
    const struct mailbox_copied *c, const struct buf *uids)
{
	const char *verb = move ? "Move" : "Copy";
	char to[32];

	if (c->count == 1)
		snprintf(to, sizeof(to), "%u", c->first_uid);
	else
		snprintf(to, sizeof(to), "%u:%u", c->first_uid,
		    c->first_uid + c->count - 1);
	if (c->count == 0) {
		session_ok(s, "%s completed, no messages found", verb);
	} else if (move) {
		/* RFC 6851 4.3: before the EXPUNGEs. */
		session_say(s, "* OK [COPYUID %u " STR_FMT " %s] Moved",
		    c->uidvalidity, STR_ARG(buf_str(uids)), to);
		session_ok(s, "Move completed");
	} else {
		session_ok(s, "[COPYUID %u " STR_FMT " %s] Copy completed",
		    c->uidvalidity, STR_ARG(buf_str(uids)), to);
	}
}

static int copy(struct session *s, bool move)
{
	struct parse *p = &s->parse;
	struct mailbox_copied copied = { .count = 0 };
	const char *why = NULL;
	struct buf uids;
	uint32_t *seqs;
	struct str to;
	struct set set;
	size_t n;
	int rc = 0;

	if (parse_space(p) < 0 || parse_set(p, &set) < 0 ||
	    parse_space(p) < 0 || parse_mailbox(p, &to) < 0 ||
	    parse_end(p) < 0 || session_find(s, &set, &seqs, &n) < 0)
		return -1;
	if (move && mailbox_is_readonly(s->mailbox)) {
		session_no(s, "[NOPERM] Mailbox is read-only");
		return 0;
	}
	/* The uids of moved messages are asked for while they are here. */
	buf_init(&uids, PARSE_ARENA_MAX);
	append_uids(s, seqs, n, &uids);
	if (n == 0)
		rc = store_exists(s->server->store, to, &why);
	else if (move)
		rc = mailbox_move(s->mailbox, seqs, n, to, &copied, &why);
	else
		rc = mailbox_copy(s->mailbox, seqs, n, to, &copied, &why);
	if (rc < 0)
		refuse(s, errno, why);
	else
		answer(s, move, &copied, &uids);
	buf_fini(&uids);
	return 0;
}

int cmd_copy(struct session *s)
{
	return copy(s, false);
}

int cmd_move(struct session *s)
{
	return copy(s, true);
}
