/* forward.h - a message sent on, through cleanup, as a new one */
#ifndef LOCAL_FORWARD_H
#define LOCAL_FORWARD_H
#include "base/arena.h"
#include "service/agent.h"

/* What to send on, of a task's recipient. */
struct forward {
	const struct agent_job *job;
	size_t position;	/* of the recipient */
	struct str sender;
	struct str *rcpts;
	size_t count;
	bool is_list;		/* an owner- stands in for the sender: what
				   he asked to be told ends here (RFC 3461
				   5.2.7.3) */
};

/*
 * 0: committed, outcome says so ("forwarded as ..."). -1: outcome says why
 * not. Its strings are in the arena or constant.
 */
int forward_send(const struct forward *, struct arena *,
    struct agent_outcome *);
/* A Delivered-To: of the message names the address already (RFC 5321
 * 6.3). 1, 0, or -1: the file cannot be read. */
int forward_is_loop(const struct agent_job *, struct str address,
    struct arena *);
#endif
