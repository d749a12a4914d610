/*
 * recipients.h - the recipients of one message, from what the client gave to
 * what the queue file says
 */
#ifndef CLEANUP_RECIPIENTS_H
#define CLEANUP_RECIPIENTS_H
#include "base/map.h"
#include "msgs/submit.h"
#include "queue/envelope.h"

struct recipients {
	struct arena *arena;
	struct queue_recipient *v;
	size_t n, cap;
	struct map *seen; /* final addresses; NULL until there are two */
};

enum recipients_status {
	RECIPIENTS_OK,
	RECIPIENTS_TEMPFAIL, /* lookup cannot say what an address becomes */
	RECIPIENTS_TOO_MANY,
	RECIPIENTS_NO_MEMORY,
};

void recipients_init(struct recipients *, struct arena *);
void recipients_fini(struct recipients *);
/*
 * Adds what the client sent. An address without a transport is put through
 * virtual_alias_maps (expand) or resolved as it is. Each final address is
 * taken once.
 */
enum recipients_status recipients_add(struct recipients *,
    const struct submit_rcpts *, bool expand);
#endif
