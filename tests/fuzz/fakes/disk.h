/*
 * disk.h - qmgr's disk threads, in the target's hands
 *
 * In the place of qmgr/disk.c. What threads do at the same time happens one
 * after the other here, in the order that the target takes.
 */
#ifndef FUZZ_FAKES_DISK_H
#define FUZZ_FAKES_DISK_H
#include "qmgr/qmgr.h"

/* A thread does one of the oldest works, of QMGR_DISK_THREADS the nth. False:
 * there is none. */
bool fake_disk_run(unsigned nth);
/* The loop hears of the one that was done first. False: of none. */
bool fake_disk_collect(void);
#endif
