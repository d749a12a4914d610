/* submission.h - a message of ours on its way through cleanup */
#ifndef BOUNCE_SUBMISSION_H
#define BOUNCE_SUBMISSION_H
#include "base/buf.h"
#include "queue/id.h"

struct submission;

/* Begins a message with one recipient; flags: enum submit_flags beside
 * SUBMIT_INTERNAL. NULL: no memory, or cleanup is away (logged). */
struct submission *submission_open(struct str sender, struct str recipient,
    uint64_t flags);
/* Content in wire form. After a failure the rest is swallowed. */
void submission_write(struct submission *, struct str);
void submission_printf(struct submission *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Nothing of it may be kept: submission_close() says why (a constant), and
 * cleanup, which is not told the end, forgets it. */
void submission_fail(struct submission *, const char *why);
/*
 * The end: 0 when it is on stable storage, with its queue id. -1 with why_r.
 * Frees in any case.
 */
int submission_close(struct submission **, char id_r[QUEUE_ID_SIZE],
    const char **why_r);
#endif
