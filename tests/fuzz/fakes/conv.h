/*
 * conv.h - conversations in memory, in the place of lib/ipc/conv.c
 *
 * The neighbours of the code under test are functions. What they say is
 * encoded and decoded as between processes; what was decoded before is freed
 * with the next message, and a conversation that is kept is gone, so that a
 * view that lives too long is seen.
 */
#ifndef FUZZ_FAKES_CONV_H
#define FUZZ_FAKES_CONV_H
#include "config/params.h"
#include "ipc/conv.h"

/* Hears one message that the code sent; answers with fake_say(). */
typedef void fake_peer_fn(struct conv *, const struct msg_schema *,
    const void *msg);

/* conv_fd() gives a number from here on, which no descriptor has. */
#define FAKE_FD (1 << 24)

/* For what lives as long as the process. */
extern struct arena *fake_arena;
/* What service_params() gives. */
extern const struct params *fake_params;
/* What service_is_privileged() says. */
extern bool fake_privileged;
/* What service_dir() (for "mailspool", for others) and service_file() give; -1:
 * nothing. */
extern int fake_mailspool, fake_dir, fake_descriptor;
/* In the place of service_thread(); NULL: there are no threads. */
extern int (*fake_spawn)(void (*fn)(void *), void *arg);
/* Calls of service_done() since fake_forget(). */
extern unsigned fake_done;

/* The edge to that server. kinds: what it may be asked, up to a NULL; anything
 * else is a finding. Edges are remembered until fake_forget(). */
struct edge *fake_edge(const char *server, fake_peer_fn *,
    const struct msg_schema *const *kinds);
/* What edge_new() makes of that descriptor (until it is said anew), of which
 * the state of its conversations is that; of others: an edge to nobody. */
void fake_lead(int fd, fake_peer_fn *, const struct msg_schema *const *kinds,
    void *state);
/* Of edge_new(), and not freed. */
size_t fake_edges(void);
/* Edges cannot be opened for as long as this is true. */
extern bool fake_away;
/* Forgets edges; a conversation that is still open is a finding. */
void fake_forget(void);

/* A conversation whose client we are: what the code says to it goes to the
 * function (NULL: nowhere). The code's converse() closes it. */
struct conv *fake_client(const char *client, fake_peer_fn *);
/* For either kind: the next packet that the code receives. fds are taken. */
void fake_say(struct conv *, const struct msg_schema *, const void *msg);
void fake_say_raw(struct conv *, struct str wire, const int *fds,
    size_t nfds);
/* The first packet that the code will receive is such a message, whose views
 * live until the one after it is received; its descriptors are the code's. */
bool fake_first(const struct conv *, const struct msg_schema *,
    struct arena *, void *msg);
/* Behind what was said: we are gone. Else the code's wait times out. */
void fake_leave(struct conv *);
/* The same, but what the code says is heard until it finds out. */
void fake_leave_last(struct conv *);
/* The open one with that conv_fd(); NULL: the code has closed it. */
struct conv *fake_find(int fd);
/* Who the kernel says that it is (conv_peer()); else nobody knows. */
void fake_is(struct conv *, pid_t, uid_t);
/* There is no room for what the code sends as long as this is true. */
void fake_full(struct conv *, bool);
/* Free for the neighbour's use; NULL at first. */
void **fake_state(struct conv *);
#endif
