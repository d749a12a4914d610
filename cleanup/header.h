/*
 * header.h - what cleanup reads in a header, and what it makes of it
 *
 * Counts the hops, finds out which fields are missing, and writes the header
 * that is stored: unchanged for relayed mail, completed and without Bcc for
 * mail that is submitted here (RFC 6409 8).
 */
#ifndef CLEANUP_HEADER_H
#define CLEANUP_HEADER_H
#include "base/buf.h"

/* Header sections above this are refused (MAIL_HEADER_SIZE_MAX). */
#define HEADER_MAX (1024 * 1024)

/* Where a section ends, if that can be told. */
struct header_end {
	size_t fields;	/* octets up to the last field's end */
	size_t body;	/* where the body starts: behind the empty line */
	bool has_blank; /* false: a line that is no field ended it */
	size_t start;	/* octets of a "From " line in front; left out */
};

/*
 * Looks for the end of the section that content begins with. complete: there
 * is no more to come. 1: found; 0: more content is needed; -1: too long.
 */
int header_find_end(struct str content, bool complete,
    struct header_end *end_r);

struct header_facts {
	unsigned hops; /* Received: fields, RFC 5321 6.3 */
	bool has_date, has_message_id, has_from;
	bool is_resent; /* any Resent- field: those are what counts */
	bool has_resent_date, has_resent_message_id, has_resent_from;
	bool has_dropped;	      /* one that the rules leave out */
	bool has_short; /* addresses that lack (part of) a domain */
	bool has_forged;      /* Authentication-Results: in our own name */
	bool has_long;	      /* a field over header_size_limit */
	struct str message_id; /* "<x@y>", a view into the fields; or empty */
};

/* fields: the section without "From " line and empty line. */
/* What is done to a header on its way. */
struct header_rules {
	bool drop;	  /* leave out Bcc:, Resent-Bcc:, Content-Length:
			   * (Return-Path: always is) */
	size_t field_max; /* octets; longer fields are cut */
	/* Submitted mail: the domain of addresses without one; empty: they
	 * stay. And what is put behind a domain without a dot. */
	struct str origin, dot_domain;
	/* Leave out Authentication-Results: of this name (RFC 8601 5): only
	 * we may write it. Empty: none. */
	struct str authserv_id;
};

/* 0, or -1 without memory. */
int header_examine(struct str fields, const struct header_rules *,
    struct header_facts *facts_r);
/* Appends the fields as they are stored; a field is cut at the end of a line
 * if it has one. -1: out's limit. */
int header_write(struct str fields, const struct header_rules *,
    struct buf *out);

/* For the fields that are added. */
struct header_origin {
	struct str sender; /* address, empty: null */
	struct str id;	   /* queue id */
	struct str host;   /* myhostname */
	int64_t time;	   /* seconds */
	int zone;	   /* minutes */
};

/*
 * Appends Date:, Message-ID: and From: as far as they are missing, with
 * Resent- before them when the message is resent (RFC 5322 3.6.6). The
 * message id made is left in facts when one was. -1: out's limit.
 */
int header_complete(const struct header_facts *,
    const struct header_origin *, struct buf *out);
#endif
