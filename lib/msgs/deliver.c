#include "msgs/agent.h"
#include "msgs/deliver.h"

static const struct msg_field request_fields[] = {
	MSG_U64(struct deliver_request, what, DELIVER_INCLUDE),
	MSG_FD(struct deliver_request, file),
	MSG_STR(struct deliver_request, queue_id, 64),
	MSG_STR(struct deliver_request, dir, 4096),
	MSG_STR(struct deliver_request, mailbox, 4096),
	MSG_STR(struct deliver_request, sender, 512),
	MSG_STR(struct deliver_request, rcpt, 1024),
	MSG_STR(struct deliver_request, original, 1024),
	MSG_STR(struct deliver_request, command, 8192),
	MSG_STRS(struct deliver_request, environment, 64),
};
const struct msg_schema deliver_request_schema = MSG_SCHEMA("deliver_request",
    0x0901, struct deliver_request, request_fields);

static const struct msg_field reply_fields[] = {
	MSG_U64(struct deliver_reply, status, AGENT_FAILED),
	MSG_STR(struct deliver_reply, dsn, 16),
	MSG_STR(struct deliver_reply, text, 4096),
	MSG_BOOL(struct deliver_reply, file_damaged),
	MSG_BOOL(struct deliver_reply, found),
	MSG_STR(struct deliver_reply, content, DELIVER_TEXT_MAX),
};
const struct msg_schema deliver_reply_schema = MSG_SCHEMA("deliver_reply",
    0x0902, struct deliver_reply, reply_fields);
