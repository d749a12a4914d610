/*
 * master.h - between the files of master
 *
 * A plan is what one reading of the configuration asks for: groups of
 * processes with their parameters, listeners and directories. A reload makes
 * a new plan, starts its processes, and lets those of the old one run dry.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/loop.h"
#include "config/config.h"
#include "config/params.h"
#include "ipc/conv.h"
#include "service/sandbox.h"

/* A listening socket; kept over reloads while its address is wanted. */
struct listener {
	TAILQ_ENTRY(listener) link;
	char *address;		/* "inet:127.0.0.1:25", "unix:public/pickup" */
	int fd;
	bool wanted;
};

struct group_listener {
	const char *name;	/* of the service in master.cf */
	struct listener *listener;
};

/* The processes that carry one service. */
struct group {
	TAILQ_ENTRY(group) link;
	const struct sandbox *row;
	const char *service;	/* for the log */
	struct str *pairs;	/* parameters: "name=value" */
	size_t npairs;
	size_t session_max;	/* of one process */
	unsigned processes;
	struct group_listener listeners[64];
	size_t nlisteners;
	bool first;		/* of its program: it serves the edges */
	bool on_tcp;		/* clients of the network: first to stop */
	/* Started when a first client comes: until then master watches the
	 * listeners itself. Only groups that no other program talks to. */
	bool on_demand;
	struct watch *waits[64];
};

struct plan {
	struct arena *arena;
	struct config *config;
	struct params params;
	TAILQ_HEAD(, group) groups;
	size_t sessions;	/* that all its processes may serve at once */
};

/* Rows of edges.def. */
#define EDGES_MAX 64

/* A process that runs. */
struct child {
	LIST_ENTRY(child) link;
	pid_t pid;
	struct plan *plan;	/* NULL: of an old plan, it runs dry */
	struct group *group;
	const struct sandbox *row;
	char *service;
	bool on_tcp;
	unsigned slot;
	struct conv *control;
	struct watch *watch;
	bool ready, stopping;
	bool serves;		/* others have edges to it */
	/* Its edges, by their row: the servers' end, for servers that start
	 * later. -1: it has none. */
	int edges[EDGES_MAX];
	size_t most;		/* conversations over each at a time */
	int64_t started;	/* clock_now() */
};

/* --- main.c --- */
extern struct master {
	struct loop *loop;
	const char *config_dir;
	int config_fd, bin_fd;
	struct plan *plan;
	bool privileged, stopping;
	int log_pair[2];	/* [0]: everybody's end, [1]: log's */
} master;

/* --- plan.c --- */

/* NULL when the configuration must not be used; problems are logged (or
 * printed to stderr when `print`). */
struct plan *plan_read(bool print);
/* Binds the sockets below the spool, whose directories must be there. */
int plan_bind_public(struct plan *);
void plan_free(struct plan **);
/* The uid that a program of this instance gets, (uid_t)-1 when it was not
 * root who started it; -2: no such user (logged). */
uid_t plan_uid(const struct plan *, const struct sandbox *, gid_t *gid_r);

/* --- sockets.c --- */

/* The listener for a line of master.cf, bound now or kept from before; NULL
 * with a logged reason. */
struct listener *socket_listen(const char *address);
void socket_unwant_all(void);
void socket_close_unwanted(void);
/* A listening unix socket below the spool: "public/NAME". */
int socket_public(int spool, const char *name);

/* --- spool.c --- */

/* Makes the directories of the instance with owner and mode, before master
 * gives its rights up. 0 or -1 (logged). */
int spool_prepare(const struct plan *);
/* Opens a directory that a program may reach by its role; -1: there is none
 * in this instance. Roles with several directories: nth from 0. */
int spool_open_role(const struct plan *, const char *role, unsigned nth);

/* --- files.c --- */

/* Gives a program the files that the parameters of its service name. 0, or
 * -1: it must not start without them now. */
int files_give(struct conv *control, const struct plan *,
    const struct group *);
/* Whether what failed with that errno may succeed soon. */
bool files_is_passing(int err);

/* --- children.c --- */

/* Starts the plan's processes, and lets older ones run dry. */
void children_start(struct plan *);
/* All processes are ready, or some died meanwhile. */
bool children_ready(void);
/* Asks everybody to stop, in an order that loses nothing; ends the loop when
 * all are gone. */
void children_stop(void);
void children_reap(void);
#endif
