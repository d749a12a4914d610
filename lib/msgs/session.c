#include "msgs/session.h"

static const struct msg_field start_fields[] = {
	MSG_FD(struct session_start, connection),
	MSG_STR(struct session_start, user, 512),
	MSG_STR(struct session_start, client_addr, 64),
	MSG_STR(struct session_start, local_addr, 64),
	MSG_BOOL(struct session_start, tls),
	MSG_STR(struct session_start, tag, 256),
	MSG_STR(struct session_start, input, 65536),
	MSG_STR(struct session_start, session_id, 64),
};
const struct msg_schema session_start_schema = MSG_SCHEMA("session_start",
    0x0801, struct session_start, start_fields);

static const struct msg_field reply_fields[] = {
	MSG_BOOL(struct session_reply, accepted),
	MSG_STR(struct session_reply, text, 512),
};
const struct msg_schema session_reply_schema = MSG_SCHEMA("session_reply",
    0x0802, struct session_reply, reply_fields);
