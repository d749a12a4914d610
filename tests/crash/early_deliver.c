/*
 * early_deliver.c - a `deliver` that is known to lose: H3's control
 *
 * The real program, linked so that delivery_commit() comes here (the linker's
 * --wrap). It says at once that the message is in the mailbox, and commits a
 * little later: qmgr records the delivery and unlinks the queue file before.
 * As long as no process dies nothing is missing.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "store/delivery.h"

#define LATER_NS 50000000

int __real_delivery_commit(struct delivery **, const char **why_r);
int __wrap_delivery_commit(struct delivery **, const char **why_r);

static void *commit_later(void *ctx)
{
	struct timespec later = { 0, LATER_NS };
	struct delivery *d = ctx;
	const char *why;

	nanosleep(&later, NULL);
	__real_delivery_commit(&d, &why);
	return NULL;
}

int __wrap_delivery_commit(struct delivery **d, const char **why_r)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, commit_later, *d) != 0)
		return __real_delivery_commit(d, why_r);
	pthread_detach(thread);
	*d = NULL;
	return 0;
}
