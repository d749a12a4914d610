#include "imapd/search.h"
#include "mail/header.h"

static void prepare_list(struct session *s, struct key *list)
{
	uint32_t count = mailbox_count(s->mailbox);
	int bit;

	for (struct key *k = list; k != NULL; k = k->next) {
		switch (k->kind) {
		case KEY_NUMBERS:
			set_resolve(&k->set, count);
			break;
		case KEY_UIDS:
			set_resolve(&k->set, count == 0 ? 0 :
			    mailbox_get(s->mailbox, count).uid);
			break;
		case KEY_KEYWORD:
			bit = mailbox_keyword_find(s->mailbox, k->name);
			k->mask = bit < 0 ? 0 : 1u << bit;
			break;
		default:
			prepare_list(s, k->child);
			break;
		}
	}
}

void search_prepare(struct session *s, struct search *q)
{
	prepare_list(s, q->keys);
}

static bool open_message(struct search_message *x)
{
	if (x->is_open)
		return true;
	if (x->failed || mailbox_text_open(x->s->mailbox, x->seq, &x->text,
	    NULL) < 0) {
		x->failed = true;
		return false;
	}
	return x->is_open = true;
}

static bool parse_message(struct search_message *x)
{
	if (!open_message(x))
		return false;
	if (x->is_parsed)
		return true;
	arena_reset(x->arena);
	if (mime_parse(x->text.raw, x->arena, &x->mime) < 0) {
		x->failed = true;
		return false;
	}
	return x->is_parsed = true;
}

static int64_t floor_days(int64_t seconds)
{
	return seconds >= 0 ? seconds / 86400 : -((86399 - seconds) / 86400);
}

/* RFC 3501 6.4.4: disregarding time and timezone, as INTERNALDATE shows. */
static bool match_internaldate(const struct key *k, struct search_message *x)
{
	int64_t date, day;

	if (mailbox_date(x->s->mailbox, x->seq, &date) < 0) {
		x->failed = true;
		return false;
	}
	if (k->kind == KEY_OLDER)	/* RFC 5032 section 2 */
		return date <= x->now - k->number;
	if (k->kind == KEY_YOUNGER)
		return date >= x->now - k->number;
	day = floor_days(date + mail_date_local_zone(date) * 60);
	return k->kind == KEY_BEFORE ? day < k->number :
	    k->kind == KEY_ON ? day == k->number : day >= k->number;
}

static bool match_sent(const struct key *k, struct search_message *x)
{
	struct mail_date date;
	int64_t day;

	if (!open_message(x) || mail_date_parse(mail_header_get(x->text.raw,
	    "Date", 0), &date) < 0)
		return false;
	day = mail_date_day(&date);
	return k->kind == KEY_SENTBEFORE ? day < k->number :
	    k->kind == KEY_SENTON ? day == k->number : day >= k->number;
}

static bool match_size(const struct key *k, struct search_message *x)
{
	uint64_t size;

	if (mailbox_size(x->s->mailbox, x->seq, &size) < 0) {
		x->failed = true;
		return false;
	}
	return k->kind == KEY_LARGER ? size > (uint64_t)k->number :
	    size < (uint64_t)k->number;
}

static bool match_text(const struct key *k, struct search_message *x)
{
	int rc;

	if (k->kind == KEY_HEADER || k->kind == KEY_ADDRESS) {
		if (!open_message(x))
			return false;
		rc = k->kind == KEY_HEADER ?
		    search_text_header(k->text, x->text.raw, k->name) :
		    search_text_addresses(k->text, x->text.raw, k->name);
	} else {
		if (!parse_message(x))
			return false;
		rc = search_text_message(k->text, &x->mime,
		    k->kind == KEY_TEXT);
	}
	x->failed |= rc < 0;
	return rc > 0;
}

static bool match_list(const struct key *, struct search_message *);

static bool match_key(const struct key *k, struct search_message *x)
{
	switch (k->kind) {
	case KEY_ALL:
		return true;
	case KEY_FLAGS:
		return (x->m.flags & k->mask) == k->value;
	case KEY_KEYWORD:
		return ((x->m.keywords & k->mask) != 0) == (k->value != 0);
	case KEY_NUMBERS:
		return set_has(&k->set, x->seq);
	case KEY_UIDS:
		return set_has(&k->set, x->m.uid);
	case KEY_BEFORE: case KEY_ON: case KEY_SINCE:
	case KEY_OLDER: case KEY_YOUNGER:
		return match_internaldate(k, x);
	case KEY_LARGER: case KEY_SMALLER:
		return match_size(k, x);
	case KEY_SENTBEFORE: case KEY_SENTON: case KEY_SENTSINCE:
		return match_sent(k, x);
	case KEY_HEADER: case KEY_ADDRESS: case KEY_BODY: case KEY_TEXT:
		return match_text(k, x);
	case KEY_NOT:
		return !match_key(k->child, x);
	case KEY_OR:
		return match_key(k->child, x) || match_key(k->child->next, x);
	case KEY_AND:
		return match_list(k->child, x);
	}
	return false;
}

static bool match_list(const struct key *list, struct search_message *x)
{
	for (; list != NULL; list = list->next)
		if (!match_key(list, x))
			return false;
	return true;
}

bool search_matches(const struct search *q, struct search_message *x)
{
	bool found;

	x->is_open = x->is_parsed = x->failed = false;
	found = match_list(q->keys, x);
	if (x->is_open) {
		x->failed |= !mailbox_text_is_whole(&x->text);
		mailbox_text_close(x->s->mailbox, &x->text);
	}
	x->is_open = false;
	return found && !x->failed;
}
