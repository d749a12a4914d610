/* core.h - the whole of qmgr, as its service (or a test) sees it */
#ifndef QMGR_CORE_H
#define QMGR_CORE_H
#include "qmgr/qmgr.h"

/* Begins: threads, timers, and the spool as soon as it is free. 0 or -1. */
int qmgr_start(struct qmgr *, struct loop *, const struct params *);
/* Owns the conversation. client: the program at its other end. */
void qmgr_take(struct qmgr *, struct conv *, const char *client);
/* As struct service's drain. */
bool qmgr_drain(struct qmgr *, bool stopping);
#endif
