/*
 * shadow.h - what a power cut would leave of a spool
 *
 * Fed from the shim's hook, in memory shared with the parent: which names
 * and which octets were made durable, and what was done since. Stricter
 * than any filesystem: a name is durable after a sync of its directory and
 * never before (a sync of the file does not count), an octet after a sync
 * of its file; what is not durable is kept or dropped independently of
 * everything else. Only a rename is one step: both names or none.
 */
#ifndef CRASH_SHADOW_H
#define CRASH_SHADOW_H
#include "base/sys.h"

#define SHADOW_DIRS 24
#define SHADOW_FILES 128
#define SHADOW_NAMES 256
#define SHADOW_PENDING 512
#define SHADOW_POOL (2u << 20)
#define SHADOW_NAME 256

struct shadow;

/* In shared memory. NULL without it. */
struct shadow *shadow_new(void);
/* The tree below root as it is now is durable; forgets everything else. */
int shadow_reset(struct shadow *, int root);
/* The same, quicker, when only the octets of files in root itself differ
 * from what shadow_reset() saw. */
int shadow_again(struct shadow *, int root);
/* For the hook, in the child. */
void shadow_event(struct shadow *, const struct sys_event *);

enum shadow_choice { SHADOW_DROP, SHADOW_KEEP, SHADOW_RANDOM };
/*
 * Writes into `image` (an empty directory) what may be there after a cut.
 * live: the tree as it stands, for octets that were not synced. 0 or -1.
 */
int shadow_cut(struct shadow *, int live, int image, enum shadow_choice,
    unsigned *seed);
/* A table was too small: the run proves nothing. */
bool shadow_overflowed(const struct shadow *);
#endif
