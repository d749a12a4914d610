#include "msgs/pickup.h"

static const struct msg_field submit_fields[] = {
	MSG_STR(struct pickup_submit, sender, PICKUP_ADDRESS_MAX),
	MSG_U64(struct pickup_submit, flags, 7),
	MSG_U64(struct pickup_submit, notify, 15),
	MSG_U64(struct pickup_submit, ret, 2),
	MSG_STR(struct pickup_submit, envid, 100),
	MSG_STRS(struct pickup_submit, rcpts, PICKUP_RCPTS_MAX),
};
const struct msg_schema pickup_submit_schema =
    MSG_SCHEMA("pickup_submit", 0x1001, struct pickup_submit, submit_fields);

static const struct msg_field rcpts_fields[] = {
	MSG_STRS(struct pickup_rcpts, rcpts, PICKUP_RCPTS_MAX),
};
const struct msg_schema pickup_rcpts_schema =
    MSG_SCHEMA("pickup_rcpts", 0x1002, struct pickup_rcpts, rcpts_fields);

static const struct msg_field data_fields[] = {
	MSG_STR(struct pickup_data, content, PICKUP_CHUNK),
	MSG_BOOL(struct pickup_data, last),
};
const struct msg_schema pickup_data_schema =
    MSG_SCHEMA("pickup_data", 0x1003, struct pickup_data, data_fields);

static const struct msg_field reply_fields[] = {
	MSG_U64(struct pickup_reply, code, 599),
	MSG_STR(struct pickup_reply, dsn, 16),
	MSG_STR(struct pickup_reply, text, 1024),
	MSG_STR(struct pickup_reply, queue_id, 32),
};
const struct msg_schema pickup_reply_schema =
    MSG_SCHEMA("pickup_reply", 0x1004, struct pickup_reply, reply_fields);

static const struct msg_field stdio_fields[] = {
	MSG_FD(struct pickup_stdio, input),
	MSG_FD(struct pickup_stdio, output),
};
const struct msg_schema pickup_stdio_schema =
    MSG_SCHEMA("pickup_stdio", 0x1005, struct pickup_stdio, stdio_fields);

static const struct msg_field stdio_done_fields[] = {
	MSG_BOOL(struct pickup_stdio_done, served),
};
const struct msg_schema pickup_stdio_done_schema =
    MSG_SCHEMA("pickup_stdio_done", 0x1006, struct pickup_stdio_done,
	stdio_done_fields);

static const struct msg_field verify_fields[] = {
	MSG_STR(struct pickup_verify, address, PICKUP_ADDRESS_MAX),
};
const struct msg_schema pickup_verify_schema =
    MSG_SCHEMA("pickup_verify", 0x1007, struct pickup_verify, verify_fields);

static const struct msg_field verified_fields[] = {
	MSG_U64(struct pickup_verified, status, 16),
	MSG_STR(struct pickup_verified, address, 4096),
	MSG_STR(struct pickup_verified, transport, 4096),
	MSG_STR(struct pickup_verified, nexthop, 4096),
	MSG_STR(struct pickup_verified, text, 4096),
};
const struct msg_schema pickup_verified_schema =
    MSG_SCHEMA("pickup_verified", 0x1008, struct pickup_verified,
	verified_fields);
