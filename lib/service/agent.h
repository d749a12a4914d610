/*
 * agent.h - works for `qmgr` (msgs/agent.h): jobs in, results out
 *
 * A delivery agent is a handler that runs in a thread of a pool and reports
 * each recipient of its job once. What it reports is held until qmgr has
 * recorded it, so the death of qmgr repeats nothing.
 */
#ifndef SERVICE_AGENT_H
#define SERVICE_AGENT_H
#include "base/arena.h"
#include "ipc/conv.h"
#include "msgs/agent.h"

struct agent;

/* A job and what belongs to it; it dies when the handler returned. */
struct agent_task {
	struct agent_job job;	/* strings and arrays live in the arena */
	struct arena *arena;	/* the handler may use it too */
	int64_t started;	/* clock_wall() */
};

/* What became of one recipient. Strings are copied. */
struct agent_outcome {
	enum agent_status status;
	const char *dsn;	/* "2.0.0" */
	struct str text;
	struct str relay;	/* for the log and for qmgr; empty: "none" */
	struct str diagnostic;
	bool nexthop_dead;
	bool file_damaged;	/* a checksum of the queue file is wrong */
	bool quiet;		/* no log line: it is no delivery */
	int64_t ready;		/* clock_wall() when it could begin to send;
				   0: at once */
};

/* Recipients that the handler did not report are deferred (4.3.0). */
typedef void agent_deliver_fn(struct agent_task *);

/*
 * Registers at qmgr over the edge as soon as that is there, and again
 * whenever the conversation breaks. Strings are kept. NULL: no memory, no
 * thread, no edge.
 */
struct agent *agent_start(const char *program, const char *const *transports,
    size_t count, size_t capacity, agent_deliver_fn *);
/* The position is that in the job's arrays. Logs the line that readers of
 * Postfix logs know. Called in any thread, once a recipient. */
void agent_report(struct agent_task *, size_t position,
    const struct agent_outcome *);
/*
 * For struct service.drain: takes no more jobs. True when nothing is in
 * hand; else service_done() is called when the last result was recorded, or
 * after 5 s when stopping.
 */
bool agent_drain(struct agent *, bool stopping);
#endif
