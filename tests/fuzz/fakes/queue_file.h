/* queue_file.h - a message that cleanup committed (queue/commit.h) */
#ifndef FUZZ_FAKES_QUEUE_FILE_H
#define FUZZ_FAKES_QUEUE_FILE_H
#include "queue/envelope.h"

/* In the directory of fuzz_directory(), for anna@our.test, from nobody. The
 * descriptor is open for reading and writing. */
int fake_queue_file(const char *name, uint64_t id, struct str content);
#endif
