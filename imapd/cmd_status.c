/* STATUS (RFC 3501 6.3.10, RFC 7889 3.1) */
#include <errno.h>
#include "imapd/list.h"

static const struct { const char *word; enum status_item item; } items[] = {
	{ "MESSAGES", STATUS_MESSAGES }, { "RECENT", STATUS_RECENT },
	{ "UIDNEXT", STATUS_UIDNEXT }, { "UIDVALIDITY", STATUS_UIDVALIDITY },
	{ "UNSEEN", STATUS_UNSEEN },
	{ "APPENDLIMIT", STATUS_APPENDLIMIT },
};

int status_parse_items(struct parse *p, unsigned *items_r)
{
	struct str word;
	size_t i;

	*items_r = 0;
	if (parse_char(p, '(') < 0)
		return -1;
	do {
		if (parse_atom(p, &word) < 0)
			return -1;
		for (i = 0; i < sizeof(items) / sizeof(items[0]); i++)
			if (str_eq_nocase_c(word, items[i].word))
				break;
		if (i == sizeof(items) / sizeof(items[0]))
			return parse_fail(p, "Unknown status item");
		*items_r |= items[i].item;
	} while (parse_try(p, ' '));
	return parse_char(p, ')');
}

/* RFC 3501 7.2.4; RFC 7889 3.1: APPENDLIMIT NIL is no limit. */
void status_say(struct session *s, struct str name, unsigned wanted,
    const struct store_status *st)
{
	const uint64_t values[] = { st->messages, st->recent, st->uidnext,
		st->uidvalidity, st->unseen, s->server->append_limit };
	const char *sep = "";

	buf_append_c(&s->out, "* STATUS ");
	session_append_name(&s->out, name);
	buf_append_c(&s->out, " (");
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if ((wanted & items[i].item) != 0) {
			buf_printf(&s->out, "%s%s ", sep, items[i].word);
			if (items[i].item == STATUS_APPENDLIMIT &&
			    values[i] == 0)
				buf_append_c(&s->out, "NIL");
			else
				buf_printf(&s->out, "%llu",
				    (unsigned long long)values[i]);
			sep = " ";
		}
	buf_append_c(&s->out, ")\r\n");
	session_write_out(s);
}

int cmd_status(struct session *s)
{
	struct parse *p = &s->parse;
	struct store_status st;
	const char *why = NULL;
	unsigned wanted;
	struct str name;

	if (parse_space(p) < 0 || parse_mailbox(p, &name) < 0 ||
	    parse_space(p) < 0 || status_parse_items(p, &wanted) < 0 ||
	    parse_end(p) < 0)
		return -1;
	if (store_status(s->server->store, name, &st, &why) < 0) {
		session_no_store(s, errno, why);
		return 0;
	}
	status_say(s, name, wanted, &st);
	session_ok(s, "Status completed");
	return 0;
}
