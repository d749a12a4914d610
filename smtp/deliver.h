/* deliver.h - one job from its next hop to a result for every recipient */
#ifndef SMTP_DELIVER_H
#define SMTP_DELIVER_H
#include "smtp/cache.h"
#include "smtp/job.h"

struct deliver {
	const struct smtp_config *config;
	struct cache *cache;
	target_ask_fn *ask;	/* DNS */
	void *ask_ctx;
};

/*
 * Tries the next hop's targets in order, as long as recipients are pending:
 * a kept session first, then at most smtp_mx_address_limit addresses and
 * smtp_mx_session_limit sessions, then smtp_fallback_relay. When it returns
 * every recipient was reported.
 */
void deliver(const struct deliver *, struct job *);
#endif
