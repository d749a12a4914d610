/* job.h - one delivery: a message and some of its recipients */
#ifndef SMTP_JOB_H
#define SMTP_JOB_H
#include "msgs/agent.h"
#include "smtp/message.h"
#include "smtp/session.h"

/* Why a recipient is still without result: the last soft failure. */
struct outcome {
	struct mail_status status;
	struct str text, relay, remote, diagnostic;
	bool nexthop_dead, file_damaged;
	enum agent_onward onward;
	unsigned uses;
};

enum rcpt_state {
	RCPT_PENDING,	/* to be tried */
	RCPT_ACCEPTED,	/* the server took it in this transaction */
	RCPT_DONE,	/* its result was reported */
};

struct rcpt {
	uint64_t index;		/* in the queue file */
	struct str address, original, orcpt;
	uint64_t notify;
	enum rcpt_state state;
	bool tried;		/* was refused in this session */
	bool too_many;		/* ... with 452: the next transaction may do */
	const struct outcome *last; /* NULL: none yet */
};

struct job;
/* A recipient's result. Called once each, in the job's thread. */
typedef void job_report_fn(const struct job *, const struct rcpt *,
    enum agent_status, const struct outcome *);

struct job {
	struct arena *arena;
	struct str queue_id, transport, nexthop, sender, envid;
	int file;		/* lent */
	uint64_t size, flags, ret;
	struct rcpt *rcpts;
	size_t count, left;	/* left: not DONE */
	bool lmtp;
	int64_t ready;		/* clock_wall() */
	struct message message;
	job_report_fn *report;
	void *ctx;
};

/* In the arena, where what it finds out goes as well. Strings are not copied
 * and the descriptor is lent: all have to outlive it. NULL: no memory. */
struct job *job_new(const struct agent_job *, struct arena *,
    job_report_fn *, void *ctx);
/* Frees what is not in the arena; *job becomes NULL. */
void job_free(struct job **);

/* Reports and marks the recipient DONE. */
void job_report(struct job *, struct rcpt *, enum agent_status,
    const struct outcome *);
/* The server took responsibility: `said` is its reply. */
void job_sent(struct job *, struct rcpt *, const struct session *,
    const struct reply *said);
/* It did not. Reported at once when permanent; else kept until the recipient
 * was tried elsewhere (job_give_up()). session may be NULL. */
void job_failed(struct job *, struct rcpt *, const struct session *,
    const struct why *);
/* The same for all recipients in that state that were not refused in this
 * session already; the state becomes PENDING. */
void job_failed_all(struct job *, enum rcpt_state, const struct session *,
    const struct why *);
/* Reports what is pending as deferred, with its last failure, or with this
 * one where there is none. */
void job_give_up(struct job *, const struct why *);
#endif
