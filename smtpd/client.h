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
/* Tells `limits`; -1 when this client is not counted, or nobody counts. */
int client_count(struct session *, uint64_t event, uint64_t number,
    struct limits_reply *reply_r);
/* Is value over the limit (0: none)? Then it is logged. */
bool client_exceeds(struct session *, const char *what, uint64_t value,
    int64_t limit);
#endif
