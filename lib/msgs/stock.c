#include "msgs/stock.h"

#define RCPT_MAX 4096

static const struct msg_field want_fields[] = {
	MSG_U64(struct stock_want, files, 1024),
};
const struct msg_schema stock_want_schema =
    MSG_SCHEMA("stock_want", 0x0301, struct stock_want, want_fields);

static const struct msg_field file_fields[] = {
	MSG_STR(struct stock_file, queue_id, 64),
	MSG_FD(struct stock_file, fd),
};
const struct msg_schema stock_file_schema =
    MSG_SCHEMA("stock_file", 0x0302, struct stock_file, file_fields);

static const struct msg_field commit_fields[] = {
	MSG_STR(struct stock_commit, queue_id, 64),
	MSG_STR(struct stock_commit, sender, 512),
	MSG_I64(struct stock_commit, arrival),
	MSG_U64(struct stock_commit, size, INT64_MAX),
	MSG_U64(struct stock_commit, flags, 63),
	MSG_U64(struct stock_commit, ret, 2),
	MSG_STR(struct stock_commit, envid, 512),
	MSG_STRS(struct stock_commit, rcpts, RCPT_MAX),
	MSG_STRS(struct stock_commit, originals, RCPT_MAX),
	MSG_STRS(struct stock_commit, transports, RCPT_MAX),
	MSG_STRS(struct stock_commit, nexthops, RCPT_MAX),
	MSG_STRS(struct stock_commit, orcpts, RCPT_MAX),
	MSG_NUMS(struct stock_commit, notify, RCPT_MAX),
	MSG_BOOL(struct stock_commit, more),
};
const struct msg_schema stock_commit_schema =
    MSG_SCHEMA("stock_commit", 0x0303, struct stock_commit, commit_fields);

static const struct msg_field return_fields[] = {
	MSG_STR(struct stock_return, queue_id, 64),
};
const struct msg_schema stock_return_schema =
    MSG_SCHEMA("stock_return", 0x0304, struct stock_return, return_fields);
