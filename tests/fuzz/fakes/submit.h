/*
 * submit.h - `cleanup`, to whom the code under test hands messages
 *
 * What it hears follows msgs/submit.h, or it is a finding: the order, arrays
 * that run in parallel, lines that end with CRLF, nothing after `last`.
 */
#ifndef FUZZ_FAKES_SUBMIT_H
#define FUZZ_FAKES_SUBMIT_H
#include "base/buf.h"
#include "msgs/submit.h"
#include "tests/fuzz/fakes/conv.h"

struct fake_message {
	struct str sender, envid;	/* live until fake_submit_end() */
	uint64_t flags, local_uid;
	struct buf rcpts;	/* an address a line */
	size_t rcpt_count;
	struct buf content;
	bool begun, whole;	/* `last` was heard */
	uint64_t code;		/* its answer; 0: none */
	void *state;		/* the target's */
};

/* How the answer is chosen: 0 none and it leaves; else a code. whole: false
 * when it is asked before the end, where only a failure may come (or 1: go
 * on). */
extern unsigned (*fake_submit_answer)(const struct fake_message *, bool whole);
/* Envelopes are those of a hostile neighbour, handed on: octets in them are
 * not looked at. */
extern bool fake_submit_handed_on;
/* The edge "cleanup". */
void fake_submit_start(void);
/* Messages that were begun, in their order. */
size_t fake_submit_count(void);
const struct fake_message *fake_submit_nth(size_t);
void fake_submit_end(void);
#endif
