/*
 * stock.h - queue files that qmgr made ahead, held as descriptors
 *
 * Their names are durable and their ids taken; one is used for one message.
 * While qmgr is away the stock lasts, and commits need no word to it.
 */
#ifndef CLEANUP_STOCK_H
#define CLEANUP_STOCK_H
#include "msgs/stock.h"
#include "queue/id.h"

struct stock_entry {
	uint64_t id;
	char text[QUEUE_ID_SIZE];
	int fd;
};

/* Starts the thread that speaks to qmgr. 0 or -1. */
int stock_start(void);
/* Waits for a file until the deadline. 0, or -1: none came. */
int stock_take(struct stock_entry *, int64_t deadline);
/* Nothing was written: the next message may have it. */
void stock_put_back(const struct stock_entry *);
/* It was written and is no message: closed, and qmgr unlinks it. */
void stock_give_back(const struct stock_entry *);
/* The message is on stable storage: closed, and qmgr told. */
void stock_committed(const struct stock_entry *, const struct stock_commit *);
#endif
