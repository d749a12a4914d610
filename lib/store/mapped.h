/*
 * mapped.h - a file in memory that somebody else may cut meanwhile
 *
 * What a user cuts while we have it mapped is no memory any more: who reads
 * there gets SIGBUS. Here he reads zeros instead, and can ask afterwards.
 */
#ifndef STORE_MAPPED_H
#define STORE_MAPPED_H
#include "base/str.h"

struct mapped;

/* The first n octets (not 0) of fd, which becomes the mapping's when it
 * works. For the calling thread alone, which also closes it. NULL: errno. */
struct mapped *mapped_open(int fd, size_t n);
struct str mapped_str(const struct mapped *);
/* False: not all that was read, or will be, was in the file. */
bool mapped_is_whole(const struct mapped *);
void mapped_close(struct mapped **);
#endif
