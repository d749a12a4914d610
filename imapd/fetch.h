/* fetch.h - what a FETCH asks for (RFC 3501 6.4.5) */
#ifndef IMAPD_FETCH_H
#define IMAPD_FETCH_H
#include "imapd/commands.h"
#include "mail/imap_format.h"

#define FETCH_SECTIONS_MAX 1000		/* in one command */
/* Memory for the structure of one message. */
#define FETCH_ARENA_MAX (32 << 20)

enum fetch_item {
	FETCH_UID = 1, FETCH_FLAGS = 2, FETCH_INTERNALDATE = 4,
	FETCH_SIZE = 8, FETCH_ENVELOPE = 16, FETCH_BODY = 32,
	FETCH_BODYSTRUCTURE = 64
};
/* Those that need the message's text. */
#define FETCH_TEXT_ITEMS (FETCH_ENVELOPE | FETCH_BODY | FETCH_BODYSTRUCTURE)

/* BODY[section]<partial>, RFC822 and its kin. */
struct fetch_section {
	struct imap_section section;
	struct str label;	/* as answered: "BODY[1]<0>" */
	bool partial;
	uint64_t offset, limit;
};

struct fetch {
	struct set set;
	unsigned items;			/* enum fetch_item */
	struct fetch_section *sections;
	size_t section_count, section_room;
	bool sets_seen;
	bool needs_mime;	/* the structure, not only the header */
};

/* All behind the verb. */
int fetch_parse(struct session *, struct fetch *);
#endif
