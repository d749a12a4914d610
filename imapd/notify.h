/*
 * notify.h - is there anything new in the selected mailbox?
 *
 * inotify on its new/ and cur/ where the system lets us; else notify_fd() is
 * -1 and the caller looks by the clock.
 */
#ifndef IMAPD_NOTIFY_H
#define IMAPD_NOTIFY_H
#include "imapd/commands.h"

struct notify {
	int fd;
};

/* Never fails; watches nothing when no mailbox is selected. */
void notify_open(struct notify *, const struct session *);
void notify_close(struct notify *);
bool notify_works(const struct notify *);
/* Readable when something happened; -1: none. */
int notify_fd(const struct notify *);
/* Forgets what happened so far. */
void notify_clear(const struct notify *);
#endif
