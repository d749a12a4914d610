/*
 * garble.h - messages that follow their schema and nothing else
 *
 * What a process that was taken over would say: every field within its
 * bounds (or not), none of it true. Used by the fuzz targets of the internal
 * protocol, which draw from their input, and by hostile.c, which draws from
 * a generator.
 */
#ifndef TESTS_TOOLS_GARBLE_H
#define TESTS_TOOLS_GARBLE_H
#include "ipc/msg.h"

/* Puts what is true (an id that exists) into a message that was drawn. */
typedef void garble_mend_fn(void *ctx, const struct msg_schema *, void *msg);

struct garble {
	/* A number from 0 to max. */
	uint64_t (*draw)(void *ctx, uint64_t max);
	void *ctx;
	/* A descriptor for a field that wants one, or -1; it stays the
	 * function's. NULL: always -1. */
	int (*descriptor)(void *ctx);
	struct arena *arena;	/* strings; the caller resets it */
	garble_mend_fn *mend;	/* of garble_packet(); may be NULL */
};

#define GARBLE_SIZE 1024	/* octets of the largest struct of lib/msgs */

/* Fills *msg (GARBLE_SIZE octets). */
void garble_fill(struct garble *, const struct msg_schema *, void *msg);
/*
 * The wire form of such a message, now and then damaged: octets changed, cut
 * off, added, or another id. fds as of msg_encode(). 0; -1: what was drawn
 * cannot be a message.
 */
int garble_packet(struct garble *, const struct msg_schema *,
    struct buf *out, int fds[MSG_FD_MAX], size_t *nfds_r);
#endif
