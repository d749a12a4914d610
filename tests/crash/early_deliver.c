/*
 * early_deliver.c - a `deliver` that is known to lose: H3's control
 *
 * The real program, linked so that two calls come here (the linker's --wrap):
 * delivery_commit() says at once that the message is in the mailbox, and a
 * little later it is committed and the mailbox released. Meanwhile qmgr
 * records the delivery and unlinks the queue file. As long as no process dies
 * nothing is missing.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "store/delivery.h"
#include "store/inboxes.h"

#define LATER_NS 50000000

int __real_delivery_commit(struct delivery **, const char **why_r);
int __wrap_delivery_commit(struct delivery **, const char **why_r);
void __real_inbox_release(struct inbox **, bool keep);
void __wrap_inbox_release(struct inbox **, bool keep);

struct promise {
	struct delivery *delivery;
	struct inbox *inbox;
	bool keep;
};

/* What this thread has promised and not yet given on. */
static _Thread_local struct delivery *promised;

static void *keep_it(void *ctx)
{
	struct timespec later = { 0, LATER_NS };
	struct promise *p = ctx;
	const char *why;

	nanosleep(&later, NULL);
	__real_delivery_commit(&p->delivery, &why);
	__real_inbox_release(&p->inbox, p->keep);
	free(p);
	return NULL;
}

int __wrap_delivery_commit(struct delivery **d, const char **why_r)
{
	(void)why_r;
	promised = *d;
	*d = NULL;
	return 0;
}

void __wrap_inbox_release(struct inbox **inbox, bool keep)
{
	struct promise *p = promised == NULL ? NULL : malloc(sizeof(*p));
	pthread_t thread;

	if (p == NULL) {
		__real_inbox_release(inbox, keep);
		return;
	}
	*p = (struct promise){ promised, *inbox, keep };
	promised = NULL;
	*inbox = NULL;
	if (pthread_create(&thread, NULL, keep_it, p) == 0)
		pthread_detach(thread);
	else
		keep_it(p);
}
