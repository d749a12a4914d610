/*
 * search.h - SEARCH as a tree (RFC 3501 6.4.4; RFC 4731, RFC 5032)
 *
 * A list is joined by "and"; its members are tried in the order of what they
 * cost, and a message is opened only when what needs no opening left it in
 * question.
 */
#ifndef IMAPD_SEARCH_H
#define IMAPD_SEARCH_H
#include "imapd/commands.h"
#include "mail/search_text.h"

#define SEARCH_KEYS_MAX 10000	/* in one command */

enum key_kind {
	KEY_ALL, KEY_FLAGS, KEY_KEYWORD, KEY_NUMBERS, KEY_UIDS, KEY_BEFORE,
	KEY_ON, KEY_SINCE, KEY_OLDER, KEY_YOUNGER, KEY_LARGER, KEY_SMALLER,
	KEY_SENTBEFORE, KEY_SENTON, KEY_SENTSINCE, KEY_HEADER, KEY_ADDRESS,
	KEY_BODY, KEY_TEXT, KEY_NOT, KEY_OR, KEY_AND
};

/* What it takes to know: a list is sorted by it. */
enum key_cost { COST_LIST, COST_STAT, COST_HEADER, COST_BODY };

struct key {
	enum key_kind kind;
	enum key_cost cost;
	struct key *next;	/* in the list it stands in */
	struct key *child;	/* NOT, OR, AND: its list */
	uint32_t mask, value;	/* FLAGS: flags & mask == value */
	struct str name;	/* KEYWORD, HEADER, ADDRESS */
	struct set set;
	int64_t number;		/* days, octets, seconds */
	struct search_key *text;
	struct key *freed_next;	/* all that have `text` */
};

enum search_return { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4,
	RETURN_COUNT = 8 };

struct search {
	struct key *keys;	/* a list */
	struct key *to_free;
	unsigned key_count;
	bool extended;		/* RETURN was said */
	unsigned back;		/* enum search_return */
	const struct mail_charset *charset;	/* NULL: UTF-8 */
	bool bad_charset;
};

/* All behind the verb. The caller frees, also after -1. */
int search_parse(struct session *, struct search *);
void search_free(struct search *);

/* Resolves sets and keywords against the selected mailbox; once, before
 * search_matches(). A number that is not there matches nothing. */
void search_prepare(struct session *, struct search *);

/* The message that is looked at. */
struct search_message {
	struct session *s;
	uint32_t seq;
	struct mailbox_message m;
	int64_t now;		/* seconds */
	bool is_open, is_parsed, failed;
	struct mailbox_text text;
	struct mime mime;
	struct arena *arena;
};

/* Does the message match? What could not be read does not match and sets
 * `failed`. */
bool search_matches(const struct search *, struct search_message *);
#endif
