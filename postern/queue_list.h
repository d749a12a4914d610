/* queue_list.h - what the commands about the queue share */
#ifndef POSTERN_QUEUE_LIST_H
#define POSTERN_QUEUE_LIST_H
#include "postern/queue_access.h"

/* Each returns the exit code. */
int queue_print_list(const struct context *, bool json);
/* ids NULL: all; site NULL: any. EX_NOINPUT when one is not in the queue. */
int queue_flush(const struct context *, const struct strs *ids,
    const char *site);
/* Or it complains of the first that is none. */
bool queue_ids_valid(const struct strs *ids);
/* Orders and says of each message what was done; "ALL" as the only id means
 * every message in `where` (bits; 0: all but corrupt), "-" ids on standard
 * input. each: EX_DATAERR when one of the ids is none, EX_NOINPUT when its
 * message was not changed; else, as postsuper has it, that is no failure. */
int queue_steer(struct queue_access *, uint64_t verb, uint64_t where,
    char **ids, int count, bool each);

enum { POSTCAT_ENVELOPE = 1, POSTCAT_HEADER = 2, POSTCAT_BODY = 4 };
/* Prints a message by its id. */
int queue_print_message(struct queue_access *, const char *id,
    unsigned parts);
#endif
