/* list.h - patterns of mailbox names, and STATUS items, for LIST and others */
#ifndef IMAPD_LIST_H
#define IMAPD_LIST_H
#include "imapd/commands.h"

#define LIST_PATTERNS_MAX 100
#define LIST_PATTERN_MAX 1024	/* octets, after "**" became "*" */

/*
 * RFC 3501 6.3.8: "*" matches anything, "%" anything without the separator.
 * Time is linear in pattern times name, whatever they hold. A leading INBOX
 * of the name matches in any case.
 */
bool list_match(struct str pattern, struct str name);
/* Runs of wildcards as one: in place. */
struct str list_simplify(char *pattern, size_t n);

enum status_item { STATUS_MESSAGES = 1, STATUS_RECENT = 2,
	STATUS_UIDNEXT = 4, STATUS_UIDVALIDITY = 8, STATUS_UNSEEN = 16,
	STATUS_APPENDLIMIT = 32 };

int status_parse_items(struct parse *, unsigned *items_r);
void status_say(struct session *, struct str name, unsigned items,
    const struct store_status *);
#endif
