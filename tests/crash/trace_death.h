/* trace_death.h - where a traced program was when a signal ended it */
#ifndef CRASH_TRACE_DEATH_H
#define CRASH_TRACE_DEATH_H
#include <stddef.h>
#include <sys/types.h>

/*
 * For a thread that stopped with such a signal: "file+0xoffset", first of
 * the instruction, then of what on its stack looks like return addresses
 * (some are of calls long over); offsets in the file, as addr2line -e takes
 * them. Empty when it cannot be found out.
 */
void death_place(pid_t tid, char *out, size_t size);
#endif
