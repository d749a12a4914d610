/* maildir.h - a user's mail of a few messages, the same for every input */
#ifndef FUZZ_FAKES_MAILDIR_H
#define FUZZ_FAKES_MAILDIR_H
#include "store/store.h"

#define MAILDIR_MESSAGES 5

/* Makes it anew (in memory, where the machine has /dev/shm) and opens it. */
struct store *fuzz_maildir_open(void);
/* Closes it; a descriptor that is left open is a finding. */
void fuzz_maildir_close(struct store **);
/* The text of message i, as it was at first. */
struct str fuzz_maildir_text(size_t i);
#endif
