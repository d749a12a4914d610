/*
 * sessions.h - the users' processes: found while they run, else ordered from
 * `launch`
 */
#ifndef AUTH_SESSIONS_H
#define AUTH_SESSIONS_H
#include "auth/users.h"
#include "msgs/launch.h"

/*
 * A descriptor of the client's end of the edge to the process that serves
 * this user (imapd, pop3d) or this uid (deliver); the caller closes it. With
 * `again` a running one is not trusted: the caller was refused by it. 0, or
 * -1 with why.
 */
int sessions_edge(enum launch_program, const struct user *, bool again,
    int *fd_r, const char **why_r);
#endif
