/*
 * conv.h - conversations between processes, and the edges they go over
 *
 * An edge is a socket pair that `master` made when it started a process of
 * the client: that process alone holds one end, every process of the server
 * (and master, for those that start later) the other. To open a
 * conversation the client makes a fresh SOCK_SEQPACKET pair and sends one
 * end across; whichever server process is free receives it. Having the
 * descriptor is the right. One packet is one message (ipc/msg.h).
 *
 * A struct conv is used by one thread at a time, but conv_send() may be
 * called by several threads at once (a packet is sent whole).
 */
#ifndef IPC_CONV_H
#define IPC_CONV_H
#include "ipc/msg.h"

struct edge;
struct conv;

/* --- edges --- */

/* The client's end. The edge owns fd; name is for the log and is kept. */
struct edge *edge_new(const char *name, int fd);
void edge_free(struct edge **);
const char *edge_name(const struct edge *);
/*
 * A conversation over the edge: one that was kept (conv_keep()) or a fresh
 * one. NULL when the server's side is full beyond the deadline or gone; errno
 * says which (ETIMEDOUT, EPIPE...). deadline: clock_now() value.
 */
struct conv *edge_open(struct edge *, int64_t deadline);
/* A fresh one always: for conversations that hold state at the far side. */
struct conv *edge_open_fresh(struct edge *, int64_t deadline);
/* Closes kept conversations that nobody took since the last call (all but a
 * few): each costs the other side a descriptor and mostly a thread. */
void edge_tidy(struct edge *);
/* Server's side: takes the next conversation's descriptor from an edge end.
 * -1 with EAGAIN when a sibling was quicker (fd non-blocking), EPROTO when
 * something else than a conversation was sent (it is closed), EPIPE when the
 * client is gone or closed the edge for good. */
int edge_accept(int fd);

/*
 * How many conversations of one client are open at a time, at most `most`:
 * each costs its server memory and mostly a thread. May be used by several
 * threads; conversations that joined leave when they are closed, also after
 * conv_tally_free(). NULL: no memory.
 */
struct conv_tally;
struct conv_tally *conv_tally_new(size_t most);
void conv_tally_free(struct conv_tally **);
/* 0, or -1: there are as many as may be. */
int conv_tally_join(struct conv_tally *, struct conv *);

/* --- conversations --- */

/* Takes the descriptor. name is kept. NULL: no memory (fd is closed). */
struct conv *conv_new(const char *name, int fd);
void conv_close(struct conv **);
/* Gives it back to its edge for the next one who opens; closes it when the
 * edge has enough or it was marked broken. Only between whole exchanges. */
void conv_keep(struct conv **);
int conv_fd(const struct conv *);
const char *conv_name(const struct conv *);
/* The other end's pid, uid as the kernel knows them; -1 if unknown. */
int conv_peer(const struct conv *, pid_t *pid_r, uid_t *uid_r);

/*
 * Sends one message; waits for room until the deadline. 0, or -1 with
 * why_r: the conversation is then broken (unless the message could not be
 * encoded: why_r names the field and nothing was sent).
 */
int conv_send(struct conv *, const struct msg_schema *, const void *msg,
    int64_t deadline, const char **why_r);

/*
 * For an event loop: as conv_send(), never waits. 1: no room now, nothing was
 * sent; try again when the descriptor can be written.
 */
int conv_try_send(struct conv *, const struct msg_schema *, const void *msg,
    const char **why_r);

/* What conv_recv() found. */
enum conv_got {
	CONV_MESSAGE, /* decoded into *msg, *schema_r says which */
	CONV_CLOSED,  /* the other end is gone, between two messages */
	CONV_TIMEOUT, /* deadline passed; the conversation is still whole */
	CONV_BROKEN,  /* not allowed now, damaged, too long, no memory */
};

/*
 * Receives the next message, which must be one of `allowed` (that is the
 * table of what may be asked now). msg points to room for the largest of
 * them. Strings in it are views that live until the next conv_recv() on
 * this conversation; descriptors are the caller's.
 */
enum conv_got conv_recv(struct conv *, const struct msg_schema *const *allowed,
    size_t nallowed, const struct msg_schema **schema_r, void *msg,
    int64_t deadline, const char **why_r);
/* As conv_recv(), never waits: CONV_TIMEOUT means nothing is there. */
enum conv_got conv_try_recv(struct conv *,
    const struct msg_schema *const *allowed, size_t nallowed,
    const struct msg_schema **schema_r, void *msg, const char **why_r);
/* A request and its one reply. 0 or -1 (broken; why_r). */
int conv_call(struct conv *, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t deadline, const char **why_r);
#endif
