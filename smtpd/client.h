/* client.h - the session's beginning: who is it, and is there room */
#ifndef SMTPD_CLIENT_H
#define SMTPD_CLIENT_H
#include "msgs/limits.h"
#include "smtpd/session.h"

/* The verified name of the peer's address into s->name ("unknown"). */
void client_find_name(struct session *);
/* Counts the connection, begins TLS where it comes first, sends the
 * greeting. False: the session is over, the client was told. */
bool client_greet(struct session *);
/* Gives back what client_greet() counted. */
void client_leave(struct session *);
/*
 * Counts an event (enum limits_event) against a rate limit; 0 is none, and
 * then nobody is asked. False: over it, the client was told `complaint`.
 */
bool client_may(struct session *, uint64_t event, const char *what,
    int64_t limit, const char *complaint);
#endif
