/* agent.h - works for `qmgr` (msgs/agent.h): jobs in, results out */
#ifndef SMTP_AGENT_H
#define SMTP_AGENT_H
#include "smtp/deliver.h"

struct agent;

/*
 * Registers at qmgr over the edge as soon as that is there, and again
 * whenever the conversation breaks; runs up to `capacity` jobs at once, each
 * in a thread of a pool that grows when it has to. spawn: starts a thread.
 * NULL: no memory or no thread.
 */
struct agent *agent_start(const struct deliver *, struct edge *,
    size_t capacity, int (*spawn)(void (*fn)(void *), void *arg));
/*
 * Takes no more jobs (it registers anew, with capacity 0). done() is called,
 * in another thread, when nothing runs and each result was recorded, or
 * when `grace` microseconds have passed.
 */
void agent_drain(struct agent *, int64_t grace, void (*done)(void));
#endif
