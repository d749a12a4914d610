#include "msgs/auth.h"

static const struct msg_field verify_request_fields[] = {
	MSG_STR(struct verify_request, user, 512),
	MSG_STR(struct verify_request, password, 1024),
	MSG_STR(struct verify_request, service, 16),
	MSG_STR(struct verify_request, client_addr, 64),
	MSG_BOOL(struct verify_request, tls),
	MSG_BOOL(struct verify_request, want_session),
	MSG_BOOL(struct verify_request, again),
};
const struct msg_schema verify_request_schema = MSG_SCHEMA("verify_request",
    0x0601, struct verify_request, verify_request_fields);

static const struct msg_field verify_reply_fields[] = {
	MSG_U64(struct verify_reply, status, AUTH_TEMPFAIL),
	MSG_STR(struct verify_reply, user, 512),
	MSG_FD(struct verify_reply, session),
	MSG_STR(struct verify_reply, text, 512),
};
const struct msg_schema verify_reply_schema = MSG_SCHEMA("verify_reply",
    0x0602, struct verify_reply, verify_reply_fields);

static const struct msg_field user_request_fields[] = {
	MSG_STR(struct user_request, address, 512),
};
const struct msg_schema user_request_schema = MSG_SCHEMA("user_request",
    0x0603, struct user_request, user_request_fields);

static const struct msg_field user_reply_fields[] = {
	MSG_U64(struct user_reply, status, AUTH_TEMPFAIL),
};
const struct msg_schema user_reply_schema = MSG_SCHEMA("user_reply", 0x0604,
    struct user_reply, user_reply_fields);

static const struct msg_field mailbox_request_fields[] = {
	MSG_STR(struct mailbox_request, address, 512),
	MSG_BOOL(struct mailbox_request, command),
};
const struct msg_schema mailbox_request_schema = MSG_SCHEMA("mailbox_request",
    0x0605, struct mailbox_request, mailbox_request_fields);

static const struct msg_field mailbox_reply_fields[] = {
	MSG_U64(struct mailbox_reply, status, AUTH_TEMPFAIL),
	MSG_STR(struct mailbox_reply, user, 512),
	MSG_U64(struct mailbox_reply, uid, UINT32_MAX),
	MSG_U64(struct mailbox_reply, gid, UINT32_MAX),
	MSG_BOOL(struct mailbox_reply, is_virtual),
	MSG_STR(struct mailbox_reply, dir, 4096),
	MSG_FD(struct mailbox_reply, deliver),
};
const struct msg_schema mailbox_reply_schema = MSG_SCHEMA("mailbox_reply",
    0x0606, struct mailbox_reply, mailbox_reply_fields);
