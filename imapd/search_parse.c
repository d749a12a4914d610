#include "imapd/search.h"

enum argument { NOTHING, ASTRING, NAME_ASTRING, DATE, NUMBER, KEYWORD, UIDS,
	ONE_KEY, TWO_KEYS };

/* RFC 3501 6.4.4, in its order; RFC 5032. */
static const struct word {
	const char *word;
	enum key_kind kind;
	enum key_cost cost;
	enum argument argument;
	uint32_t mask, value;		/* FLAGS; KEYWORD: value is wanted */
	const char *field;		/* HEADER, ADDRESS */
} words[] = {
#define FLAG(word, mask, value) \
	{ word, KEY_FLAGS, COST_LIST, NOTHING, mask, value, NULL }
#define PLAIN(word, kind, cost, argument) \
	{ word, kind, cost, argument, 0, 0, NULL }
#define FIELD(word, kind, field) \
	{ word, kind, COST_HEADER, ASTRING, 0, 0, field }
	PLAIN("ALL", KEY_ALL, COST_LIST, NOTHING),
	FLAG("ANSWERED", MAILBOX_ANSWERED, MAILBOX_ANSWERED),
	FIELD("BCC", KEY_ADDRESS, "Bcc"),
	PLAIN("BEFORE", KEY_BEFORE, COST_STAT, DATE),
	PLAIN("BODY", KEY_BODY, COST_BODY, ASTRING),
	FIELD("CC", KEY_ADDRESS, "Cc"),
	FLAG("DELETED", MAILBOX_DELETED, MAILBOX_DELETED),
	FLAG("DRAFT", MAILBOX_DRAFT, MAILBOX_DRAFT),
	FLAG("FLAGGED", MAILBOX_FLAGGED, MAILBOX_FLAGGED),
	FIELD("FROM", KEY_ADDRESS, "From"),
	PLAIN("HEADER", KEY_HEADER, COST_HEADER, NAME_ASTRING),
	{ "KEYWORD", KEY_KEYWORD, COST_LIST, KEYWORD, 0, 1, NULL },
	PLAIN("LARGER", KEY_LARGER, COST_STAT, NUMBER),
	FLAG("NEW", MAILBOX_RECENT | MAILBOX_SEEN, MAILBOX_RECENT),
	PLAIN("NOT", KEY_NOT, COST_LIST, ONE_KEY),
	FLAG("OLD", MAILBOX_RECENT, 0),
	PLAIN("ON", KEY_ON, COST_STAT, DATE),
	PLAIN("OR", KEY_OR, COST_LIST, TWO_KEYS),
	FLAG("RECENT", MAILBOX_RECENT, MAILBOX_RECENT),
	FLAG("SEEN", MAILBOX_SEEN, MAILBOX_SEEN),
	PLAIN("SENTBEFORE", KEY_SENTBEFORE, COST_HEADER, DATE),
	PLAIN("SENTON", KEY_SENTON, COST_HEADER, DATE),
	PLAIN("SENTSINCE", KEY_SENTSINCE, COST_HEADER, DATE),
	PLAIN("SINCE", KEY_SINCE, COST_STAT, DATE),
	PLAIN("SMALLER", KEY_SMALLER, COST_STAT, NUMBER),
	FIELD("SUBJECT", KEY_HEADER, "Subject"),
	PLAIN("TEXT", KEY_TEXT, COST_BODY, ASTRING),
	FIELD("TO", KEY_ADDRESS, "To"),
	PLAIN("UID", KEY_UIDS, COST_LIST, UIDS),
	FLAG("UNANSWERED", MAILBOX_ANSWERED, 0),
	FLAG("UNDELETED", MAILBOX_DELETED, 0),
	FLAG("UNDRAFT", MAILBOX_DRAFT, 0),
	FLAG("UNFLAGGED", MAILBOX_FLAGGED, 0),
	{ "UNKEYWORD", KEY_KEYWORD, COST_LIST, KEYWORD, 0, 0, NULL },
	FLAG("UNSEEN", MAILBOX_SEEN, 0),
	PLAIN("OLDER", KEY_OLDER, COST_STAT, NUMBER),
	PLAIN("YOUNGER", KEY_YOUNGER, COST_STAT, NUMBER),
};

static int no_memory(struct session *s)
{
	return parse_fail(&s->parse, "Command needs too much memory");
}

static int parse_text(struct session *s, struct search *q, struct key *key)
{
	struct str octets;

	if (parse_astring(&s->parse, &octets) < 0)
		return -1;
	if (q->bad_charset)
		return 0;
	key->text = search_key_new(octets, q->charset);
	if (key->text == NULL)
		return parse_fail(&s->parse, "Search text is too long");
	key->freed_next = q->to_free;
	q->to_free = key;
	return 0;
}

static int parse_key(struct session *, struct search *, struct key **);

static int parse_children(struct session *s, struct search *q,
    struct key *key, unsigned count)
{
	struct key **next = &key->child;

	if (parse_enter(&s->parse) < 0)
		return -1;
	for (; count > 0; count--) {
		if (parse_space(&s->parse) < 0 || parse_key(s, q, next) < 0)
			return -1;
		if ((*next)->cost > key->cost)
			key->cost = (*next)->cost;
		next = &(*next)->next;
	}
	parse_leave(&s->parse);
	return 0;
}

static int parse_argument(struct session *s, struct search *q,
    struct key *key, enum argument argument)
{
	struct parse *p = &s->parse;
	uint64_t number;

	if (argument == ONE_KEY || argument == TWO_KEYS)
		return parse_children(s, q, key, argument == TWO_KEYS ? 2 : 1);
	if (argument != NOTHING && parse_space(p) < 0)
		return -1;
	switch (argument) {
	case ASTRING:
		return parse_text(s, q, key);
	case NAME_ASTRING:
		if (parse_astring(p, &key->name) < 0 || parse_space(p) < 0)
			return -1;
		return parse_text(s, q, key);
	case DATE:
		return parse_date(p, &key->number);
	case NUMBER:
		if (parse_number(p, UINT32_MAX, &number) < 0)
			return -1;
		/* RFC 5032 section 3: an interval is a nz-number. */
		if (number == 0 && (key->kind == KEY_OLDER ||
		    key->kind == KEY_YOUNGER))
			return parse_fail(p, "An interval cannot be zero");
		key->number = (int64_t)number;
		return 0;
	case KEYWORD:
		return parse_atom(p, &key->name);
	case UIDS:
		return parse_set(p, &key->set);
	default:
		return 0;
	}
}

static int parse_word_key(struct session *s, struct search *q,
    struct key *key)
{
	struct str word;

	if (parse_atom(&s->parse, &word) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const struct word *w = &words[i];

		if (!str_eq_nocase_c(word, w->word))
			continue;
		key->kind = w->kind;
		key->cost = w->cost;
		key->mask = w->mask;
		key->value = w->value;
		key->name = str_of(w->field);
		return parse_argument(s, q, key, w->argument);
	}
	return parse_fail(&s->parse, "Unknown search key");
}

/* Cheapest first; the order in which equals were said stays. */
static void insert(struct key **list, struct key *key)
{
	while (*list != NULL && (*list)->cost <= key->cost)
		list = &(*list)->next;
	key->next = *list;
	*list = key;
}

static int parse_list(struct session *s, struct search *q, struct key **list)
{
	struct key *key;

	do {
		if (parse_key(s, q, &key) < 0)
			return -1;
		insert(list, key);
	} while (parse_try(&s->parse, ' '));
	return 0;
}

static int parse_group(struct session *s, struct search *q, struct key *key)
{
	key->kind = KEY_AND;
	if (parse_enter(&s->parse) < 0 ||
	    parse_list(s, q, &key->child) < 0)
		return -1;
	for (const struct key *k = key->child; k != NULL; k = k->next)
		if (k->cost > key->cost)
			key->cost = k->cost;
	parse_leave(&s->parse);
	return parse_char(&s->parse, ')');
}

static int parse_key(struct session *s, struct search *q, struct key **key_r)
{
	struct parse *p = &s->parse;
	struct key *key;

	if (++q->key_count > SEARCH_KEYS_MAX)
		return parse_fail(p, "Too many search keys");
	if ((key = ARENA_NEW(s->arena, struct key)) == NULL)
		return no_memory(s);
	*key_r = key;
	if (parse_try(p, '('))
		return parse_group(s, q, key);
	if (parse_at_set(p)) {
		key->kind = KEY_NUMBERS;
		return parse_set(p, &key->set);
	}
	return parse_word_key(s, q, key);
}

/* RFC 4731 section 3.1: RETURN () is RETURN (ALL). */
static int parse_return(struct parse *p, struct search *q)
{
	static const struct { const char *word; unsigned bit; } options[] = {
		{ "MIN", RETURN_MIN }, { "MAX", RETURN_MAX },
		{ "ALL", RETURN_ALL }, { "COUNT", RETURN_COUNT },
	};
	size_t i;

	q->extended = true;
	if (parse_space(p) < 0 || parse_char(p, '(') < 0)
		return -1;
	if (parse_try(p, ')')) {
		q->back = RETURN_ALL;
		return parse_space(p);
	}
	do {
		for (i = 0; i < 4; i++)
			if (parse_try_word(p, options[i].word))
				break;
		if (i == 4)
			return parse_fail(p, "Unknown RETURN option");
		q->back |= options[i].bit;
	} while (parse_try(p, ' '));
	return parse_char(p, ')') < 0 ? -1 : parse_space(p);
}

static int parse_charset(struct parse *p, struct search *q)
{
	struct str name;

	if (parse_space(p) < 0 || parse_astring(p, &name) < 0)
		return -1;
	q->charset = mail_charset_find(name);
	q->bad_charset = q->charset == NULL;
	return parse_space(p);
}

int search_parse(struct session *s, struct search *q)
{
	struct parse *p = &s->parse;

	*q = (struct search){ .keys = NULL };
	if (parse_space(p) < 0 ||
	    (parse_try_word(p, "RETURN") && parse_return(p, q) < 0) ||
	    (parse_try_word(p, "CHARSET") && parse_charset(p, q) < 0) ||
	    parse_list(s, q, &q->keys) < 0)
		return -1;
	return parse_end(p);
}

void search_free(struct search *q)
{
	for (struct key *k = q->to_free; k != NULL; k = k->freed_next)
		search_key_free(&k->text);
	q->to_free = NULL;
}
