#include "msgs/lookup.h"

static const struct msg_field resolve_request_fields[] = {
	MSG_STR(struct resolve_request, address, 1024),
	MSG_STR(struct resolve_request, sender, 1024),
	MSG_BOOL(struct resolve_request, is_sender),
};
const struct msg_schema resolve_request_schema = MSG_SCHEMA("resolve_request",
    0x0501, struct resolve_request, resolve_request_fields);

static const struct msg_field resolve_reply_fields[] = {
	MSG_U64(struct resolve_reply, status, LOOKUP_TEMPFAIL),
	MSG_U64(struct resolve_reply, klass, LOOKUP_DEFAULT),
	MSG_STR(struct resolve_reply, address, 1024),
	MSG_STR(struct resolve_reply, transport, 64),
	MSG_STR(struct resolve_reply, nexthop, 512),
	MSG_STR(struct resolve_reply, text, 512),
	MSG_BOOL(struct resolve_reply, has_alias),
};
const struct msg_schema resolve_reply_schema = MSG_SCHEMA("resolve_reply",
    0x0502, struct resolve_reply, resolve_reply_fields);

static const struct msg_field expand_request_fields[] = {
	MSG_STR(struct expand_request, address, 1024),
};
const struct msg_schema expand_request_schema = MSG_SCHEMA("expand_request",
    0x0503, struct expand_request, expand_request_fields);

static const struct msg_field expand_reply_fields[] = {
	MSG_U64(struct expand_reply, status, LOOKUP_TEMPFAIL),
	MSG_STRS(struct expand_reply, addresses, 1000),
	MSG_STRS(struct expand_reply, transports, 1000),
	MSG_STRS(struct expand_reply, nexthops, 1000),
	MSG_STR(struct expand_reply, text, 512),
};
const struct msg_schema expand_reply_schema = MSG_SCHEMA("expand_reply",
    0x0504, struct expand_reply, expand_reply_fields);

static const struct msg_field alias_request_fields[] = {
	MSG_STR(struct alias_request, name, 512),
};
const struct msg_schema alias_request_schema = MSG_SCHEMA("alias_request",
    0x0505, struct alias_request, alias_request_fields);

static const struct msg_field alias_reply_fields[] = {
	MSG_U64(struct alias_reply, status, LOOKUP_TEMPFAIL),
	MSG_STR(struct alias_reply, value, 65536),
	MSG_BOOL(struct alias_reply, by_root),
};
const struct msg_schema alias_reply_schema = MSG_SCHEMA("alias_reply",
    0x0506, struct alias_reply, alias_reply_fields);
