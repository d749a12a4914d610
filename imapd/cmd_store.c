/* STORE (RFC 3501 6.4.6) */
#include <errno.h>
#include "imapd/commands.h"

struct request {
	struct set set;
	enum mailbox_how how;
	bool silent;
	struct flag_list flags;
};

static int parse_item(struct parse *p, struct request *q)
{
	q->how = MAILBOX_SET;
	if (parse_try(p, '+'))
		q->how = MAILBOX_ADD;
	else if (parse_try(p, '-'))
		q->how = MAILBOX_REMOVE;
	if (parse_try_word(p, "FLAGS"))
		q->silent = false;
	else if (parse_try_word(p, "FLAGS.SILENT"))
		q->silent = true;
	else
		return parse_fail(p, "Expected FLAGS or FLAGS.SILENT");
	return 0;
}

static int parse_store(struct session *s, struct request *q)
{
	struct parse *p = &s->parse;

	if (parse_space(p) < 0 || parse_set(p, &q->set) < 0 ||
	    parse_space(p) < 0 || parse_item(p, q) < 0 ||
	    parse_space(p) < 0 || session_parse_flags(s, true,
	    &q->flags) < 0)
		return -1;
	return parse_end(p);
}

/* More different keywords than a mailbox can hold? */
static bool too_many(const struct flag_list *flags)
{
	struct str seen[MAILBOX_KEYWORDS_MAX];
	size_t n = 0, k;

	for (size_t i = 0; i < flags->keyword_count; i++) {
		for (k = 0; k < n; k++)
			if (str_eq_nocase(seen[k], flags->keywords[i]))
				break;
		if (k < n)
			continue;
		if (n == MAILBOX_KEYWORDS_MAX)
			return true;
		seen[n++] = flags->keywords[i];
	}
	return false;
}

/* Keywords to bits; one that is to be removed need not be made. */
static int find_keywords(struct session *s, const struct request *q,
    uint32_t *bits_r, const char **why)
{
	const struct flag_list *flags = &q->flags;

	*bits_r = 0;
	if (q->how != MAILBOX_REMOVE && too_many(flags)) {
		*why = "Too many keywords for a mailbox";
		errno = E2BIG;
		return -1;
	}
	/* First those that are there: no new one may take their place. */
	for (size_t i = 0; i < flags->keyword_count; i++) {
		int bit = mailbox_keyword_find(s->mailbox,
		    flags->keywords[i]);

		if (bit >= 0)
			*bits_r |= 1u << bit;
	}
	for (size_t i = 0; q->how != MAILBOX_REMOVE &&
	    i < flags->keyword_count; i++) {
		int bit = mailbox_keyword_make_beside(s->mailbox,
		    flags->keywords[i], *bits_r, why);

		if (bit < 0)
			return -1;
		*bits_r |= 1u << bit;
	}
	return 0;
}

static void say_flags(struct session *s, const uint32_t *seqs, size_t n)
{
	for (size_t i = 0; i < n && !session_gone(s); i++) {
		struct mailbox_message m = mailbox_get(s->mailbox, seqs[i]);

		if ((m.flags & MAILBOX_GONE) != 0)
			continue;
		buf_printf(&s->out, "* %u FETCH (", seqs[i]);
		if (s->uid)	/* RFC 3501 6.4.8 */
			buf_printf(&s->out, "UID %u ", m.uid);
		buf_append_c(&s->out, "FLAGS ");
		session_append_flags(s, &s->out, m);
		buf_append_c(&s->out, ")\r\n");
		session_write_out(s);
	}
}

static bool any_gone(const struct session *s, const uint32_t *seqs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((mailbox_get(s->mailbox, seqs[i]).flags &
		    MAILBOX_GONE) != 0)
			return true;
	return false;
}

int cmd_store(struct session *s)
{
	struct request q = { .silent = false };
	const char *why = NULL;
	uint32_t *seqs, keywords;
	size_t n;

	if (parse_store(s, &q) < 0 || session_find(s, &q.set, &seqs, &n) < 0)
		return -1;
	if (mailbox_is_readonly(s->mailbox)) {
		session_no(s, "[NOPERM] Mailbox is read-only");
		return 0;
	}
	if (find_keywords(s, &q, &keywords, &why) < 0) {
		session_no_store(s, errno, why);
		return 0;
	}
	if (n > 0 && mailbox_store(s->mailbox, seqs, n, q.how,
	    q.flags.flags, keywords, &why) < 0) {
		session_no_store(s, errno, why);
		return 0;
	}
	/* New keywords are announced before they are used. */
	session_say_new_keywords(s);
	if (!q.silent)
		say_flags(s, seqs, n);
	/* RFC 2180 4.2, RFC 5530. The others are changed: who asked for silence
	 * would not know of it if he was told NO. */
	if (any_gone(s, seqs, n) && q.silent)
		session_ok(s, "[EXPUNGEISSUED] Store completed, but some "
		    "messages are gone");
	else if (any_gone(s, seqs, n))
		session_no(s, "[EXPUNGEISSUED] Some messages are gone");
	else
		session_ok(s, "Store completed");
	return 0;
}
