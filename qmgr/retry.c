#include "base/clock.h"
#include "qmgr/qmgr.h"

static int64_t age(const struct message *m, int64_t now)
{
	int64_t arrival = m->arrival / CLOCK_SECOND;

	return now > arrival ? now - arrival : 0;
}

/*
 * The older a message is, the longer it waits: about as long as it is old
 * (RFC 5321 4.5.4.1 asks for 30 minutes at least in the long run, and more
 * tries in the first hours).
 */
int64_t retry_next(const struct qmgr *q, const struct message *m, int64_t now)
{
	int64_t wait = age(m, now);

	if (wait > q->params->maximal_backoff_time)
		wait = q->params->maximal_backoff_time;
	if (wait < q->params->minimal_backoff_time)
		wait = q->params->minimal_backoff_time;
	return queue_due_bucket(now + wait, q->bucket);
}

bool retry_is_expired(const struct qmgr *q, const struct message *m,
    int64_t now)
{
	int64_t most = m->sender.n == 0 ? q->params->bounce_queue_lifetime
	    : q->params->maximal_queue_lifetime;

	return m->expire || age(m, now) >= most;
}
