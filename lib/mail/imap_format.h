/*
 * imap_format.h - messages as IMAP shows them (RFC 3501 7.4.2, RFC 9051
 * 7.5.2): ENVELOPE, BODY, BODYSTRUCTURE, and the sections of BODY[...]
 */
#ifndef MAIL_IMAP_FORMAT_H
#define MAIL_IMAP_FORMAT_H
#include "mail/mime.h"
#include "mail/crlf.h"

/*
 * Appends s as an IMAP nstring/string: NIL when s.p is NULL, quoted when it
 * is short printable US-ASCII, else a literal. NUL cannot be sent and becomes
 * "?"; CR and LF stay only in literals.
 */
int imap_format_nstring(struct buf *, struct str s);

/*
 * Appends "(" date subject from ... message-id ")" for the message whose
 * header section starts at `message`. Encoded words stay as they are; 8-bit
 * text goes as a literal, valid for IMAP4rev1, rev2 and UTF8=ACCEPT alike.
 * -1: out's limit, or no memory.
 */
int imap_format_envelope(struct str message, struct buf *out);
/*
 * Appends BODYSTRUCTURE, or BODY (without extension data) when !extended.
 * Iterative over parts, bounded by MIME_*_MAX and out's limit.
 */
int imap_format_bodystructure(const struct mime *, bool extended,
    struct buf *out);

enum imap_section_kind {
	IMAP_SECTION_ALL,	/* BODY[] or BODY[1.2] */
	IMAP_SECTION_HEADER,
	IMAP_SECTION_FIELDS,
	IMAP_SECTION_FIELDS_NOT,
	IMAP_SECTION_TEXT,
	IMAP_SECTION_MIME
};

struct imap_section {
	enum imap_section_kind kind;
	uint32_t numbers[MIME_DEPTH_MAX];
	unsigned depth;		/* of numbers */
	struct str *fields;	/* FIELDS and FIELDS_NOT: names */
	unsigned field_count;
};

#define IMAP_SECTION_FIELDS_MAX 1000

/*
 * Parses what stands between the brackets: "", "1.2.MIME",
 * "HEADER.FIELDS (From To)" (atoms or quoted strings; the caller replaced
 * literals: see imap_section fields, which it may also fill itself). In the
 * arena. 0 or -1: BAD.
 */
int imap_section_parse(struct str, struct arena *, struct imap_section *);
/* Appends the section as FETCH answers it, in upper case: "1.2.MIME". */
int imap_section_append(const struct imap_section *, struct buf *);

/* What a section consists of: pieces of the message, and a literal tail. */
struct imap_ranges {
	struct str *pieces;
	unsigned count;
	struct str tail;	/* CRLF behind selected fields, or empty */
	uint64_t size;		/* octets with CRLF line ends */
	bool exists;		/* false: NIL (no such part) */
};

/*
 * Finds the section. A part number that does not exist, HEADER or TEXT of
 * what is no message, give exists = false. -1: the arena is full.
 */
int imap_section_find(const struct mime *, const struct imap_section *,
    struct arena *, struct imap_ranges *);
/*
 * The same without structure, for what needs only the header: kinds ALL,
 * HEADER, FIELDS*, TEXT at depth 0. -1: the arena is full, or needs it.
 */
int imap_section_find_simple(struct str message, const struct imap_section *,
    struct arena *, struct imap_ranges *);
/* Octets that a partial <offset.limit> of ranges gives (RFC 3501 6.4.5). */
uint64_t imap_ranges_partial_size(const struct imap_ranges *, uint64_t offset,
    uint64_t limit);

/* A reader of the octets, piece by piece. */
struct imap_ranges_reader {
	const struct imap_ranges *ranges;
	struct crlf_window window;
	unsigned piece;
	struct str rest;
};

void imap_ranges_reader_init(struct imap_ranges_reader *,
    const struct imap_ranges *, uint64_t offset, uint64_t limit);
/* Appends at most `room` octets. 1: that was all, 0: more, -1: no memory. */
int imap_ranges_read(struct imap_ranges_reader *, size_t room, struct buf *);

/* RFC 5256 2.1: the base subject, in UTF-8 and case-folded; *reply_r (may be
 * NULL) tells a reply or forward. -1: out's limit. */
int imap_base_subject(struct str subject_body, struct buf *out, bool *reply_r);
#endif
