/* recipient.h - what is done for one recipient of a job */
#ifndef LOCAL_RECIPIENT_H
#define LOCAL_RECIPIENT_H
#include "service/agent.h"

/* Reports it. Thread-safe with an arena of the caller's own. */
void recipient_deliver(struct agent_task *, size_t position, struct arena *);
#endif
