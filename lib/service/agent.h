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
#include "base/clock.h"
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
	struct str relay;	/* for the log; empty: "none" */
	unsigned uses;		/* of the relay's session; logged above 1 */
	struct str remote;	/* host that said it, for qmgr; or empty */
	struct str diagnostic;
	/* as in agent_result; what the status does not go with is left out */
	bool nexthop_dead;
	bool file_damaged;	/* a checksum of the queue file is wrong */
	enum agent_onward onward;
	bool quiet;		/* no log line: it is no delivery */
	int64_t ready;		/* clock_wall() when it could begin to send;
				   0: at once */
};

/* Recipients that the handler did not report are deferred (4.3.0). */
typedef void agent_deliver_fn(struct agent_task *);

#define AGENT_TRANSPORT_MAX 16

struct agent_config {
	const char *program;
	const char *const *transports;
	size_t count;		/* of them, at most AGENT_TRANSPORT_MAX */
	size_t capacity;	/* jobs at once; 0 counts as 1 */
	agent_deliver_fn *deliver;
	struct edge *edge;	/* to qmgr */
	/* starts a thread: service_thread(); 0, or -1 with errno */
	int (*spawn)(void (*fn)(void *), void *arg);
	void (*done)(void);	/* see agent_drain() */
};

/*
 * Registers at qmgr over the edge as soon as that is there, and again
 * whenever the conversation breaks. Jobs run in a pool of threads that grows
 * when it has to. What the configuration points to is kept. NULL: no memory,
 * no thread, no edge, too many transports.
 */
struct agent *agent_start(const struct agent_config *);
/* The position is that in the job's arrays. Logs the line that readers of
 * Postfix logs know. Called in any thread, once a recipient. */
void agent_report(struct agent_task *, size_t position,
    const struct agent_outcome *);
/* A stopping suite does not wait longer for what is slow. */
#define AGENT_STOP_GRACE (5 * CLOCK_SECOND)
/*
 * Takes no more jobs. done() is called, as a rule in another thread, when
 * nothing runs and each result was recorded, or when `grace` microseconds
 * (CLOCK_NEVER: no limit) have passed; once for each call of this.
 */
void agent_drain(struct agent *, int64_t grace);
#endif
