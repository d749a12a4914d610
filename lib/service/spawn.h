/*
 * spawn.h - starting a program of the suite: for `master` and `launch` only
 *
 * The child gets a control socket as descriptor 3, /dev/null as standard
 * input, standard output and error of the parent, an environment of a few
 * allowed names, default signals, and nothing else.
 */
#ifndef SERVICE_SPAWN_H
#define SERVICE_SPAWN_H
#include <sys/types.h>
#include "msgs/control.h"
#include "ipc/conv.h"

#define SPAWN_CONTROL_FD 3

struct spawn_identity {
	uid_t uid;	/* (uid_t)-1: stay. Changed before the exec. */
	gid_t gid;
};

/*
 * Executes the open file exec_fd as `name`. The pid, or -1 with errno; the
 * parent's end of the control socket goes to *control_r.
 */
pid_t spawn_program(int exec_fd, const char *name,
    const struct spawn_identity *, struct conv **control_r);

/* control_give with the schema; 0 or -1. */
int spawn_give(struct conv *control, enum control_kind, const char *name,
    int fd);
/* CONTROL_SERVE: an edge's server's end, over which at most so many
 * conversations may be open at a time. */
int spawn_give_served(struct conv *control, const char *client, int fd,
    size_t most);
#endif
