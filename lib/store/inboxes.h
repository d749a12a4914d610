/*
 * inboxes.h - Maildirs that are kept open for the next delivery
 *
 * To open a Maildir, beneath a root and without following links, costs as
 * many system calls as to deliver into it. Those that were delivered into
 * lately stay open here. Whether the path still leads to the same new/ is
 * asked before each use: a mailbox that was replaced or removed meanwhile
 * is opened anew, by the caller's rules. May be used by several threads.
 */
#ifndef STORE_INBOXES_H
#define STORE_INBOXES_H
#include <sys/types.h>
#include "base/str.h"

struct delivery;
struct inbox;
struct inboxes;

/* host: for file names. most: how many stay open (2 descriptors each).
 * NULL: no memory. */
struct inboxes *inboxes_new(struct str host, size_t most);
/* None may be in use. */
void inboxes_free(struct inboxes **);

/* The one kept for this path below this root; NULL: there is none. */
struct inbox *inboxes_find(struct inboxes *, int root, const char *path);
/*
 * Opens the Maildir that `dir` is (the caller's, and closed by him) and
 * keeps it for this path below this root. What is missing of it is made.
 * NULL with *why_r and errno.
 */
struct inbox *inboxes_open(struct inboxes *, int root, const char *path,
    int dir, const char **why_r);
/* Does uid, or root, own its tmp/ and new/? */
bool inbox_belongs_to(const struct inbox *, uid_t uid);
/* After each of the two above; kept when `keep`, else opened anew by the
 * next. NULL is allowed. */
void inbox_release(struct inbox **, bool keep);

/* delivery_open() there; the inbox is released after the delivery's end.
 * ENOENT: somebody removed its tmp/. */
int inbox_delivery_open(struct inbox *, struct delivery **delivery_r,
    const char **why_r);
#endif
