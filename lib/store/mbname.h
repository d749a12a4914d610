/*
 * mbname.h - mailbox names: IMAP's form, the directory's form
 *
 * A name is components joined by '.', each of printable US-ASCII without
 * '/', '*', '%' and '.', not empty, in canonical modified UTF-7 (RFC 3501
 * 5.1.3). Its directory is '.' and the name, INBOX's is the root. So no name
 * can lead outside: it is one path component that starts with '.' and is
 * neither "." nor "..".
 */
#ifndef STORE_MBNAME_H
#define STORE_MBNAME_H
#include "base/buf.h"

#define MBNAME_MAX 240		/* octets of a whole name */
#define MBNAME_DEPTH_MAX 25	/* components */

/* A checked name in its canonical form ("INBOX" for any case of it, also as
 * the first component), and its directory below the root ("." for INBOX). */
struct mbname {
	char name[MBNAME_MAX + 1];
	char dir[MBNAME_MAX + 2];
	size_t n;		/* octets of name */
	bool inbox;
};

/* 0, or -1 (errno EINVAL or ENAMETOOLONG) with what is wrong. */
int mbname_parse(struct str wire, struct mbname *, const char **why_r);
/* From a directory entry ".A.B"; -1 when it is no mailbox's. */
int mbname_from_dir(const char *entry, struct mbname *);
/* child is below parent ("A.B.C" and "A"). */
bool mbname_is_below(struct str child, struct str parent);

/* Modified UTF-7 in its one canonical form? */
bool mutf7_is_canonical(struct str);
/* UTF-8 to modified UTF-7 and back; -1 when the input is not valid. */
int mutf7_from_utf8(struct str, struct buf *out);
int mutf7_to_utf8(struct str, struct buf *out);
#endif
