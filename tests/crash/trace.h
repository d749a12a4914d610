/*
 * trace.h - follow a suite's processes; spoil one system call of one program
 *
 * crash-trace is told what to do line by line on standard input and says what
 * happened on standard output. A command is answered by its last line, "ok"
 * or "error TEXT"; lines of events may come at any time between.
 *
 *	run IN OUT PROGRAM ARG...	starts it under the tracer, standard
 *					input and output from and to files;
 *					answered by "ok PID"
 *	watch PROGRAM,...|*|-		whose system calls stop (the others run
 *					at their full speed)
 *	rule PROGRAM CALLS N ACTION [ERRNO]
 *					in force from now on; see below
 *	off				no rule
 *	record PATH|-			a line a call of those that are watched
 *	alive PROGRAM			answered by "ok N"
 *	killall				SIGKILL to all
 *	quiet MS			answered when no call of a watched
 *					program stopped for so long
 *	settled PROGRAM N MS		answered when N processes of it wait
 *					in epoll_wait() (they must be watched)
 *					or, "error", after so long
 *
 *	fired PROGRAM PID CALL N PATH	the rule has done it
 *	exec PROGRAM PID
 *	killed PROGRAM PID		by us
 *	died PROGRAM PID SIGNAL		by somebody else
 *	ended PROGRAM PID STATUS
 *
 * A rule's CALLS is `*` or names with commas between, optionally followed by
 * @TEXT: only those whose descriptor (or path argument) contains TEXT. N
 * counts from the moment the rule was given, over all processes of that
 * program; `N+` means that one and all after it. ACTION:
 *
 *	kill-before	SIGKILL instead of the call
 *	kill-after	SIGKILL when it returned
 *	suite-before, suite-after	the same to every process at once
 *	fail ERRNO	not done; returns that
 *	fail-after ERRNO	done; returns that all the same (close)
 *	short		half of the octets
 *	pretend		not done; returns what success would have returned
 */
#ifndef CRASH_TRACE_H
#define CRASH_TRACE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TRACE_CALLS 512

enum action {
	KILL_BEFORE, KILL_AFTER, SUITE_BEFORE, SUITE_AFTER, FAIL, FAIL_AFTER,
	SHORT, PRETEND, ACTION_COUNT
};

struct rule {
	bool armed;
	char program[32];
	bool calls[TRACE_CALLS];
	char text[64];		/* empty: any descriptor */
	unsigned long nth;	/* from 1 */
	bool onward;		/* that one and all after it */
	enum action action;
	int error;
	unsigned long seen;
};

/* A call at its entry, and what has to be done at its exit. */
struct call {
	long number;
	uint64_t args[6];
	char path[256];		/* what it is about; empty when unknown */
	bool entered;
	/* at the exit */
	bool set_result;
	long result;
	bool restore_first;	/* args[0] was changed */
	bool restore_count;	/* args[2] was changed */
	bool restore_length;	/* the first iovec's length was changed */
	uint64_t length_at, length;
	enum { NO_KILL, KILL_ONE, KILL_SUITE } kill;
};

/* Reads "PROGRAM CALLS N ACTION [ERRNO]". 0 or -1 with *why_r. */
int rule_parse(struct rule *, char *text, const char **why_r);
/* Whether the rule's moment is now: counts the call. */
bool rule_matches(struct rule *, const char *program, const struct call *);
/*
 * Spoils a call that stopped at its entry. Returns whom to kill at once
 * (`kill` as in struct call).
 */
int rule_spoil(const struct rule *, pid_t tid, struct call *);
/* Sets what the call returns, puts back what rule_spoil() changed. */
void call_finish(pid_t tid, struct call *);
/* Fills in path: the descriptor's or, for calls with one, the argument. */
void call_describe(pid_t tid, struct call *);
/* A name for its number, valid until the next call of this function. */
const char *call_name(long number);
#endif
