/*
 * agent.h - delivery agents (local, smtp, bounce) work for `qmgr`
 *
 * One long conversation for each agent process, opened by the agent.
 *
 *   agent                          qmgr
 *     agent_hello    ------------->          transports, capacity
 *     agent_result   ------------->          each result it still holds from
 *                                            before (job 0)
 *     agent_running  ------------->          each delivery it still runs
 *     agent_present  ------------->          that was all
 *                    <-------------  agent_job       up to capacity at once
 *     agent_result   ------------->          one a recipient, as it happens
 *                    <-------------  agent_recorded  results are durable
 *
 * agent_hello may come again: the capacity changed; 0 asks for no more jobs
 * (the agent runs dry before it ends).
 *
 * A job ends when every recipient has its result. The agent keeps a result
 * until it was recorded; when the conversation breaks it opens a new one.
 */
#ifndef MSGS_AGENT_H
#define MSGS_AGENT_H
#include "ipc/msg.h"

#define AGENT_RCPT_MAX 1000

struct agent_hello {
	struct str program;     /* "local", "smtp", "bounce"; qmgr goes by
				   the edge, not by this */
	struct strs transports; /* what it serves; others' are refused */
	uint64_t capacity;      /* jobs at once */
};

struct agent_job {
	uint64_t job;         /* of this conversation, not 0 */
	struct str queue_id;
	struct str transport;
	struct str nexthop;
	struct str sender;
	int file;             /* queue file, read-only */
	int64_t arrival;      /* microseconds since the epoch */
	int64_t active;       /* when qmgr took it up, for delays= */
	uint64_t size;        /* octets of content */
	uint64_t flags;       /* enum submit_flags */
	uint64_t ret;
	struct str envid;
	struct nums indexes;  /* recipient numbers in the queue file */
	struct strs rcpts;
	struct strs originals;
	struct strs orcpts;
	struct nums notify;
	uint64_t why;         /* bounce: 0 failed, 1 delayed, 2 success */
};

/* Who answers for a recipient that was sent (RFC 3461 5.2.2, 5.3.1). */
enum agent_onward {
	AGENT_DELIVERED,  /* it is in its mailbox */
	AGENT_RELAYED,    /* a host has it that sends no notifications */
	AGENT_PASSED_ON,  /* a host has it, and was told what to notify of */
};

enum agent_status { AGENT_SENT = 1, AGENT_DEFERRED, AGENT_FAILED };

struct agent_result {
	uint64_t job;        /* 0: of an earlier conversation */
	struct str queue_id;
	uint64_t index;      /* recipient number in the queue file */
	uint64_t status;     /* enum agent_status */
	struct str dsn;      /* enhanced status code, RFC 3463 */
	struct str text;     /* what the log says in parentheses */
	struct str relay;    /* remote host that said it, or "" */
	struct str diagnostic; /* remote reply, RFC 3464 2.3.6, or "" */
	/* status AGENT_DEFERRED for the whole next hop, not this message: qmgr
	 * tries nothing else there for a while */
	bool nexthop_dead;
	uint64_t onward;   /* enum agent_onward, with AGENT_SENT */
	bool file_damaged; /* with AGENT_DEFERRED: nobody can deliver it */
};

struct agent_running {
	struct str queue_id;
	struct nums indexes;
};

struct agent_recorded {
	struct strs queue_ids; /* parallel arrays */
	struct nums indexes;
};

extern const struct msg_schema agent_hello_schema;
extern const struct msg_schema agent_job_schema;
extern const struct msg_schema agent_result_schema;
extern const struct msg_schema agent_running_schema;
extern const struct msg_schema agent_present_schema; /* empty */
extern const struct msg_schema agent_recorded_schema;
#endif
