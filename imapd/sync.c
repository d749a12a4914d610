/*
 * sync.c - what the client is told of the selected mailbox, and what it means
 * by numbers and flags
 */
#include <errno.h>
#include "imapd/session.h"

static const struct { uint32_t flag; const char *name; } system_flags[] = {
	{ MAILBOX_ANSWERED, "\\Answered" }, { MAILBOX_FLAGGED, "\\Flagged" },
	{ MAILBOX_DELETED, "\\Deleted" }, { MAILBOX_SEEN, "\\Seen" },
	{ MAILBOX_DRAFT, "\\Draft" }, { MAILBOX_RECENT, "\\Recent" },
};
#define STORED_COUNT 5	/* of them; \Recent is no flag to be kept */

/* A digest of which keyword stands where: a bit may get another name. */
static uint64_t keywords_digest(const struct session *s)
{
	uint64_t digest = 0;

	for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++) {
		struct str name = mailbox_keyword(s->mailbox, k);

		if (name.n > 0)
			digest = digest * 31 + str_hash(name) + k;
	}
	return digest;
}

void session_say_new_keywords(struct session *s)
{
	if (keywords_digest(s) != s->shown_keywords)
		session_say_flags(s);
}

static void append_all_flags(struct session *s)
{
	for (size_t i = 0; i < STORED_COUNT; i++)
		buf_printf(&s->out, "%s%s", i ? " " : "",
		    system_flags[i].name);
	for (unsigned k = 0; k < MAILBOX_KEYWORDS_MAX; k++) {
		struct str name = mailbox_keyword(s->mailbox, k);

		if (name.n > 0)
			buf_printf(&s->out, " " STR_FMT, STR_ARG(name));
	}
}

void session_say_flags(struct session *s)
{
	buf_append_c(&s->out, "* FLAGS (");
	append_all_flags(s);
	buf_append_c(&s->out, ")\r\n* OK [PERMANENTFLAGS (");
	if (!mailbox_is_readonly(s->mailbox)) {
		append_all_flags(s);
		if (mailbox_keyword_room(s->mailbox))
			buf_append_c(&s->out, " \\*");
	}
	buf_append_c(&s->out, ")] Flags that are kept\r\n");
	session_write_out(s);
	s->shown_keywords = keywords_digest(s);
}

void session_append_flags(const struct session *s, struct buf *out,
    struct mailbox_message m)
{
	bool first = true;

	buf_append_char(out, '(');
	for (size_t i = 0; i <= STORED_COUNT; i++)
		if ((m.flags & system_flags[i].flag) != 0) {
			if (!first)
				buf_append_char(out, ' ');
			buf_append_c(out, system_flags[i].name);
			first = false;
		}
	for (uint32_t left = m.keywords; left != 0; left &= left - 1) {
		unsigned k = (unsigned)__builtin_ctz(left);
		struct str name = mailbox_keyword(s->mailbox, k);

		if (name.n == 0)
			continue;
		if (!first)
			buf_append_char(out, ' ');
		buf_append(out, name);
		first = false;
	}
	buf_append_char(out, ')');
}

/* RFC 3501 7.4.1: the number shrinks with every EXPUNGE before it. */
static void tell_expunged(uint32_t seq, uint32_t uid, void *ctx)
{
	struct session *s = ctx;

	(void)uid;
	s->shown_count--;
	session_say(s, "* %u EXPUNGE", seq);
}

static void tell_changed(struct session *s)
{
	uint32_t seq = 0;

	session_say_new_keywords(s);
	while (mailbox_next_changed(s->mailbox, &seq)) {
		struct mailbox_message m = mailbox_get(s->mailbox, seq);

		/* RFC 3501 6.4.8: during a UID command with the UID;
		 * it never hurts. */
		buf_printf(&s->out, "* %u FETCH (UID %u FLAGS ", seq, m.uid);
		session_append_flags(s, &s->out, m);
		buf_append_c(&s->out, ")\r\n");
		session_write_out(s);
	}
}

void session_sync(struct session *s, bool may_expunge)
{
	uint32_t count, recent;

	if (s->mailbox == NULL || session_gone(s))
		return;
	if (mailbox_refresh(s->mailbox, NULL) < 0 && errno == ENOENT &&
	    !s->deleted_told) {
		session_say(s, "* NO [ALERT] The selected mailbox was "
		    "deleted");
		s->deleted_told = true;
	}
	/* RFC 3501 7.3.1. Before EXPUNGE, which counts the new ones too. */
	count = mailbox_count(s->mailbox);
	if (count != s->shown_count)
		session_say(s, "* %u EXISTS", count);
	s->shown_count = count;
	if (may_expunge && mailbox_has_gone(s->mailbox))
		mailbox_take_expunged(s->mailbox, tell_expunged, s);
	recent = mailbox_recent(s->mailbox);
	if (recent != s->shown_recent)	/* 7.3.2 */
		session_say(s, "* %u RECENT", recent);
	s->shown_recent = recent;
	tell_changed(s);
}

void session_unselect(struct session *s)
{
	if (s->mailbox == NULL)
		return;
	mailbox_close(&s->mailbox);
	s->shown_count = s->shown_recent = 0;
	s->shown_keywords = 0;
	s->deleted_told = false;
	session_enter(s, SESSION_AUTHENTICATED, "mailbox closed");
}

/* Ranges of uids to ranges of message numbers. */
static void uids_to_numbers(const struct session *s, struct set *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct range r = set->r[i];

		r.lo = mailbox_seq_from(s->mailbox, r.lo);
		r.hi = r.hi == UINT32_MAX ? mailbox_count(s->mailbox) :
		    mailbox_seq_from(s->mailbox, r.hi + 1) - 1;
		if (r.lo <= r.hi)
			set->r[n++] = r;
	}
	set->n = n;
}

int session_find(struct session *s, struct set *set, uint32_t **seqs_r,
    size_t *count_r)
{
	uint32_t count = mailbox_count(s->mailbox);
	size_t total = 0, n = 0;

	if (s->uid) {
		/* RFC 3501 6.4.8: "*" is the largest uid in use, so that
		 * n:* always names at least the last message. */
		set_resolve(set, count == 0 ? 0 :
		    mailbox_get(s->mailbox, count).uid);
		uids_to_numbers(s, set);
	} else {
		/* RFC 3501 9, seq-number: BAD beyond the mailbox. */
		if (count == 0)
			return parse_fail(&s->parse, "No messages in mailbox");
		set_resolve(set, count);
		for (size_t i = 0; i < set->n; i++) {
			if (set->r[i].lo > count)
				return parse_fail(&s->parse,
				    "No such message");
			if (set->r[i].hi > count)
				set->r[i].hi = count;
		}
	}
	for (size_t i = 0; i < set->n; i++)
		total += set->r[i].hi - set->r[i].lo + 1;
	*seqs_r = arena_array(s->arena, total + 1, sizeof(**seqs_r));
	if (*seqs_r == NULL)
		return parse_fail(&s->parse, "Command needs too much memory");
	for (size_t i = 0; i < set->n; i++)
		for (uint32_t k = set->r[i].lo; k <= set->r[i].hi; k++) {
			/* RFC 3501 6.4.8: a uid that is gone is passed
			 * over; for a number the client is told. */
			if (s->uid && (mailbox_get(s->mailbox, k).flags &
			    MAILBOX_GONE) != 0)
				continue;
			(*seqs_r)[n++] = k;
		}
	*count_r = n;
	return 0;
}

static int add_flag(struct session *s, struct flag_list *list,
    struct str flag)
{
	for (size_t i = 0; i < STORED_COUNT; i++)
		if (str_eq_nocase_c(flag, system_flags[i].name)) {
			list->flags |= system_flags[i].flag;
			return 0;
		}
	if (list->keyword_count == SESSION_KEYWORDS_MAX)
		return parse_fail(&s->parse, "Too many keywords");
	if (list->keywords == NULL)
		list->keywords = arena_array(s->arena, SESSION_KEYWORDS_MAX,
		    sizeof(*list->keywords));
	if (list->keywords == NULL)
		return parse_fail(&s->parse, "Command needs too much memory");
	list->keywords[list->keyword_count++] = flag;
	return 0;
}

int session_parse_flags(struct session *s, bool bare, struct flag_list *list)
{
	struct parse *p = &s->parse;
	struct str flag;
	bool open;

	*list = (struct flag_list){ .flags = 0 };
	open = parse_try(p, '(');
	if (!open && !bare)
		return parse_char(p, '(');
	if (open && parse_try(p, ')'))
		return 0;
	do {
		if (parse_flag(p, &flag) < 0 || add_flag(s, list, flag) < 0)
			return -1;
		/* Some clients put a space in front of the ")". */
	} while (parse_try(p, ' ') && !(open && parse_peek(p) == ')'));
	return open ? parse_char(p, ')') : 0;
}
