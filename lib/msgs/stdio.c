#include "msgs/stdio.h"

static const struct msg_field session_fields[] = {
	MSG_FD(struct stdio_session, input),
	MSG_FD(struct stdio_session, output),
	MSG_U64(struct stdio_session, uid, UINT32_MAX),
};
const struct msg_schema stdio_session_schema =
    MSG_SCHEMA("stdio_session", 0x0f01, struct stdio_session, session_fields);

static const struct msg_field done_fields[] = {
	MSG_U64(struct stdio_done, messages, UINT32_MAX),
};
const struct msg_schema stdio_done_schema =
    MSG_SCHEMA("stdio_done", 0x0f02, struct stdio_done, done_fields);
