#include "msgs/submit.h"

#define RCPT_MAX 4096

#define RCPT_FIELDS(type) \
	MSG_STRS(type, rcpts, RCPT_MAX), \
	MSG_STRS(type, originals, RCPT_MAX), \
	MSG_STRS(type, transports, RCPT_MAX), \
	MSG_STRS(type, nexthops, RCPT_MAX), \
	MSG_STRS(type, orcpts, RCPT_MAX), \
	MSG_NUMS(type, notify, RCPT_MAX)

static const struct msg_field begin_fields[] = {
	MSG_STR(struct submit_begin, service, 64),
	MSG_STR(struct submit_begin, client_name, 256),
	MSG_STR(struct submit_begin, client_addr, 64),
	MSG_STR(struct submit_begin, helo, 512),
	MSG_STR(struct submit_begin, protocol, 32),
	MSG_STR(struct submit_begin, tls, 256),
	MSG_STR(struct submit_begin, login, 512),
	MSG_STR(struct submit_begin, login_method, 64),
	MSG_STR(struct submit_begin, received, 4096),
	MSG_STR(struct submit_begin, sender, 512),
	MSG_STR(struct submit_begin, envid, 512),
	MSG_U64(struct submit_begin, ret, 2),
	MSG_U64(struct submit_begin, flags, 63),
	MSG_U64(struct submit_begin, local_uid, UINT32_MAX),
	MSG_I64(struct submit_begin, since),
	RCPT_FIELDS(struct submit_begin),
	MSG_STR(struct submit_begin, content, SUBMIT_CHUNK),
	MSG_BOOL(struct submit_begin, last),
};
const struct msg_schema submit_begin_schema =
    MSG_SCHEMA("submit_begin", 0x0201, struct submit_begin, begin_fields);

static const struct msg_field rcpts_fields[] = {
	RCPT_FIELDS(struct submit_rcpts),
};
const struct msg_schema submit_rcpts_schema =
    MSG_SCHEMA("submit_rcpts", 0x0202, struct submit_rcpts, rcpts_fields);

static const struct msg_field data_fields[] = {
	MSG_STR(struct submit_data, content, SUBMIT_CHUNK),
	MSG_BOOL(struct submit_data, last),
};
const struct msg_schema submit_data_schema =
    MSG_SCHEMA("submit_data", 0x0203, struct submit_data, data_fields);

static const struct msg_field reply_fields[] = {
	MSG_U64(struct submit_reply, code, 599),
	MSG_STR(struct submit_reply, dsn, 16),
	MSG_STR(struct submit_reply, text, 1024),
	MSG_STR(struct submit_reply, queue_id, 64),
};
const struct msg_schema submit_reply_schema =
    MSG_SCHEMA("submit_reply", 0x0204, struct submit_reply, reply_fields);
