/*
 * stock.h - `cleanup` gets queue files from `qmgr` and reports commits
 *
 * One long conversation for each cleanup process.
 *
 *   cleanup                        qmgr
 *     stock_want     ------------->
 *                    <-------------  stock_file     as many as wanted, as
 *                                    they are made; their names are durable
 *     stock_commit   ------------->          the file is on stable storage;
 *                                            never answered
 *     stock_return   ------------->          unused or failed: unlink it
 *
 * stock_commit is news, not a promise: when it is lost, the next qmgr finds
 * the message in incoming/. A message with more recipients than fit has
 * `more` set and qmgr reads the envelope from the file.
 */
#ifndef MSGS_STOCK_H
#define MSGS_STOCK_H
#include "ipc/msg.h"

struct stock_want {
	uint64_t files;
};

struct stock_file {
	struct str queue_id;
	int fd; /* open for reading and writing, empty */
};

struct stock_commit {
	struct str queue_id;
	struct str sender;
	int64_t arrival;   /* microseconds since the epoch */
	uint64_t size;     /* octets of content */
	uint64_t flags;    /* enum submit_flags */
	uint64_t ret;
	struct str envid;
	struct strs rcpts;
	struct strs originals;
	struct strs transports;
	struct strs nexthops;
	struct strs orcpts;
	struct nums notify;
	bool more;         /* arrays are empty: read the file */
};

struct stock_return {
	struct str queue_id;
};

extern const struct msg_schema stock_want_schema;
extern const struct msg_schema stock_file_schema;
extern const struct msg_schema stock_commit_schema;
extern const struct msg_schema stock_return_schema;
#endif
