/* address.h - address lists of header fields (RFC 5322 3.4 and 4.4) */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H
#include "base/arena.h"
#include "base/buf.h"

/* Entries of one field; comments in comments. What is beyond is left out. */
#define MAIL_ADDRESS_MAX 10240
#define MAIL_COMMENT_DEPTH 100

enum mail_address_kind {
	MAIL_ADDRESS_MAILBOX,
	MAIL_ADDRESS_GROUP,	/* name is the group's; members follow */
	MAIL_ADDRESS_GROUP_END
};

struct mail_address {
	enum mail_address_kind kind;
	/*
	 * Display name without quoting, words parted by one space; encoded
	 * words as they are. For "user@host (Joe)" the comment's text. p is
	 * NULL: none. No line ends, no NUL.
	 */
	struct str name;
	struct str route;	/* "@a,@b"; p is NULL: none */
	struct str local;	/* without quoting */
	struct str domain;	/* without white space and comments; p is
				 * NULL: the mailbox had none */
	bool invalid;		/* could not be read as an address */
};

struct mail_address_list {
	struct mail_address *items;
	unsigned count;
	bool truncated;		/* by MAIL_ADDRESS_MAX or MAIL_COMMENT_DEPTH */
	bool invalid;		/* any entry is */
};

/*
 * Parses a field body (folds allowed) and never fails for its contents:
 * what is not an address becomes an `invalid` entry with what could be
 * read, and parsing goes on at the next comma. Everything lives in the
 * arena. -1: the arena is full.
 */
int mail_address_parse(struct str body, struct arena *,
    struct mail_address_list *);

/*
 * Every mailbox of the fields To, Cc, Bcc (or Resent-To, Resent-Cc,
 * Resent-Bcc when `resent`), as `sendmail -t` sends to; groups are opened,
 * invalid entries stay marked. -1: the arena is full.
 */
int mail_address_recipients(struct str header, bool resent, struct arena *,
    struct mail_address_list *);

/* Appends "Name <local@domain>" with the quoting RFC 5322 needs. The name
 * is US-ASCII or, under RFC 6532, UTF-8; p NULL or empty: address alone. */
int mail_address_append(struct buf *, struct str name, struct str local,
    struct str domain);
#endif
