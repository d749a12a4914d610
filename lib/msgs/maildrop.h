/*
 * maildrop.h - a file of maildrop/: what is believed of it, and its list
 *
 * The packets in it are those of msgs/pickup.h, each behind its length. For
 * `pickup`, and for the queue commands while it is down. Anybody may make
 * anything there, under any name: a file is judged by what the kernel says,
 * its content decoded as strictly as what comes over a socket.
 */
#ifndef MSGS_MAILDROP_H
#define MSGS_MAILDROP_H
#include <limits.h>
#include <sys/stat.h>
#include "msgs/queue.h"

/* The mark of a message that is whole and durable. */
#define MAILDROP_MARK S_IXUSR

/* NULL, or why this is not a message that is ready. gid: of the directory,
 * which what is made there inherits. */
const char *maildrop_judge(const struct stat *, gid_t gid);
/* When it was written, microseconds since the epoch: what its owner says. */
int64_t maildrop_since(const struct stat *);
/* The next packet as a view into `room` (MSG_MAX octets); -1: none that is
 * whole. */
int maildrop_read(int fd, char *room, struct str *wire_r);

/* Strings are valid during the call. Not 0 ends. */
typedef int maildrop_item_fn(const struct queue_item *, void *ctx);
/*
 * Each message that is ready, in no order, as msgs/queue.h lists it: the
 * arrival is when the file was written, the size is that of the file. What
 * cannot be read is left out, and so are recipients behind the first
 * MAILDROP_LISTED octets: whoever made the file made it as large as he liked.
 * The queue id is made from the file's number and time, since a name that is
 * not known cannot be linked to; no message in the queue has one like it. The
 * rights of the caller have to be those of `pickup`. 0, -1 (errno), or what fn
 * returned.
 */
#define MAILDROP_LISTED (16 * 1024 * 1024)
int maildrop_list(int dir, maildrop_item_fn *, void *ctx, uint64_t *count_r,
    uint64_t *octets_r);
/*
 * The message that is ready and has that id in the list: its descriptor and,
 * in name, what it is called there. -1 with errno, ENOENT: there is none.
 */
int maildrop_open(int dir, struct str id, char name[NAME_MAX + 1]);
/* Removes it, unless somebody takes it this moment (EWOULDBLOCK). 0, or -1
 * with errno. */
int maildrop_remove(int dir, struct str id);
#endif
