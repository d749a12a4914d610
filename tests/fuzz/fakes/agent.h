/*
 * agent.h - an agent (service/agent.c), and the qmgr that gives it jobs
 *
 * What its threads do at the same time happens one after the other. Each
 * recipient of a job has one result, as its program reported it, in the
 * conversation of the job; what qmgr did not record is said again, the same,
 * in the next.
 */
#ifndef FUZZ_FAKES_AGENT_H
#define FUZZ_FAKES_AGENT_H
#include "service/agent.h"
#include "tests/fuzz/fakes/serve.h"

struct fake_qmgr {
	/* What the agent says that it serves; ends with NULL. */
	const char *const *transports;
	/* How often qmgr comes; 0 is once. */
	unsigned conversations;
	/* Says what it has, once the agent is there. */
	void (*say)(struct conv *);
	/* What became of a recipient; may be NULL. */
	void (*outcome)(const struct agent_task *, size_t i,
	    const struct agent_outcome *);
};

/*
 * The agent's program (serve_program) starts, and all that it is given is
 * done; then it is forgotten.
 */
void fake_agent_run(const struct fake_qmgr *);
/* A qmgr that was taken over: a job mostly, drawn from the input. A job's
 * file is what `file` gives; mend as in garble.h. */
void fake_agent_garble(struct fuzz_in *, struct conv *, struct arena *,
    garble_mend_fn *mend, int (*file)(void *ctx));
#endif
