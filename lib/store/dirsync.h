/* dirsync.h - threads that need the same directory synced share one fsync */
#ifndef STORE_DIRSYNC_H
#define STORE_DIRSYNC_H

/*
 * fsync(2) of the directory fd: 0 or -1 with errno. What the caller did in
 * the directory before the call is covered. While one thread's fsync runs,
 * others that ask for the same directory wait, and then one of them
 * does it for all.
 */
int dirsync(int fd);
#endif
