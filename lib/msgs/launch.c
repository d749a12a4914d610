#include "msgs/launch.h"

static const struct msg_field request_fields[] = {
	MSG_U64(struct launch_request, program, LAUNCH_COMMAND),
	MSG_U64(struct launch_request, uid, UINT32_MAX),
	MSG_U64(struct launch_request, gid, UINT32_MAX),
	MSG_BOOL(struct launch_request, is_virtual),
	MSG_STR(struct launch_request, user, 512),
	MSG_STR(struct launch_request, dir, 4096),
	MSG_BOOL(struct launch_request, again),
};
const struct msg_schema launch_request_schema = MSG_SCHEMA("launch_request",
    0x0701, struct launch_request, request_fields);

static const struct msg_field reply_fields[] = {
	MSG_U64(struct launch_reply, pid, UINT32_MAX),
	MSG_FD(struct launch_reply, edge),
	MSG_STR(struct launch_reply, text, 512),
};
const struct msg_schema launch_reply_schema = MSG_SCHEMA("launch_reply",
    0x0702, struct launch_reply, reply_fields);
