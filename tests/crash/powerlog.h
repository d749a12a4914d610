/*
 * powerlog.h - the log of recorder.c: what two disks were told, in order
 *
 * Records of one struct each; a write is followed by its octets. What a disk
 * answered before a flush began is on stable storage when the flush was
 * answered; later writes may be there, in part, or not (replay.c).
 */
#ifndef CRASH_POWERLOG_H
#define CRASH_POWERLOG_H
#include <stdint.h>

#define POWERLOG_DISKS 2
#define POWERLOG_SECTOR 512u	/* what a disk writes whole or not at all */

enum powerlog_what {
	POWERLOG_WRITE = 1,
	POWERLOG_ZERO,		/* a discarded or zeroed range */
	POWERLOG_FLUSH,
	POWERLOG_MARK,		/* a client's moment: number in `at` */
	POWERLOG_WHAT_END
};

struct powerlog_record {
	uint32_t what;		/* enum powerlog_what */
	uint32_t disk;
	uint64_t at;		/* octets from the disk's start */
	uint64_t octets;	/* of the range */
};
#endif
