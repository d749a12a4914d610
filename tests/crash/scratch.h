/*
 * scratch.h - what the harnesses that fork and kill have in common
 */
#ifndef CRASH_SCRATCH_H
#define CRASH_SCRATCH_H
#include <stddef.h>

/* Ends the process with status 3, and says why by errno, when rc < 0. */
void must(int rc, const char *what);
/* Takes away all that is below the directory. */
void wipe(int dir);
/* Makes base/name, a directory, and opens it. */
int open_dir(const char *base, const char *name);
/* Zeroed memory that children share. */
void *shared(size_t n);
/* Makes a directory in base, which is "" for one in memory if there is any;
 * its path goes into root. Then `live` and `image` in it. */
void scratch_begin(const char *base, char root[128], int *live, int *image);
void scratch_end(const char *root, int live, int image);
#endif
