/*
 * sessions.h - the threads that serve clients and conversations, and who gets
 * one (inside lib/service)
 *
 * A client whom all sessions being taken keeps out gets the place of one who
 * hardly moves (overload.h), or waits here; then in the kernel's backlog.
 * service_thread() and service_recv() of service.h stand in sessions.c, too.
 */
#ifndef SERVICE_SESSIONS_H
#define SERVICE_SESSIONS_H
#include "service/service.h"

/* Before the first thread. wake: called by each thread of a session at its
 * end, so that the loop's thread calls sessions_went(). */
void sessions_init(const struct service *, void (*wake)(void));
/* max: clients at a time. changed: after a wait for room ended without
 * sessions_admit() or sessions_went(). */
void sessions_begin(struct loop *, size_t max, void (*changed)(void));

/* What follows is for the loop's thread. Descriptors and conversations are
 * taken in any case. */

/* A thread for a conversation of this client's name, which stays. */
void sessions_converse(int fd, const char *from, struct conv *);
/* A thread for this client: now, later, or never. */
void sessions_admit(int fd, const struct service_client *);
/* Is there room for one more, or for one more who waits for it? He may come
 * from another place than those who take all the room. */
bool sessions_want_more(void);
/* Some have ended: others begin, and memory is given back. */
void sessions_went(void);
/* Threads that serve. */
size_t sessions_count(void);
/* Who waits begins, or with `stopping` goes; conversations between two
 * exchanges end, with `stopping` clients hear no more. service_draining() is
 * true by now. */
void sessions_drain(bool stopping);
#endif
