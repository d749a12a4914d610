/*
 * keeper.h - a command, and whatever it starts
 *
 *   deliver_command ---- keeper ---- the command ---- its children ...
 *                    link       (orphans come back to the keeper)
 *
 * The keeper is a process of ours between the two. It is the reaper of all
 * descendants (PR_SET_CHILD_SUBREAPER), so that none of them is lost to it by
 * setsid(2) or by the death of its parent, and it ends them all when
 * keeper_end() says so or when deliver_command has died.
 */
#ifndef LOCAL_KEEPER_H
#define LOCAL_KEEPER_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct keeper {
	pid_t pid;
	int link;		/* it says how the command ended */
	bool has_status;
	int status;		/* as waitpid() has it */
};

/* In the command's process, all signals blocked; system calls only (the fork
 * was in a process with threads). It does not return. */
typedef void keeper_fn(void *arg);

/* 0, or -1 with errno. */
int keeper_start(struct keeper *, keeper_fn *, void *arg);
/* Until the command has ended. False: the deadline is over. */
bool keeper_wait(struct keeper *, int64_t deadline);
/*
 * Kills what is left of the command and its descendants, waits for their end,
 * seconds at most, and forgets the keeper. How the command ended before this,
 * as waitpid() has it; EX_TEMPFAIL when that is not known. A descendant that
 * cannot be ended is in the log.
 */
int keeper_end(struct keeper *);
#endif
