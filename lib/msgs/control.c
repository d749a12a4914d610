#include <stdio.h>
#include "msgs/control.h"

void control_nth_name(char out[CONTROL_NAME_MAX], const char *param,
    size_t nth)
{
	if (nth == 0)
		snprintf(out, CONTROL_NAME_MAX, "%s", param);
	else
		snprintf(out, CONTROL_NAME_MAX, "%s %zu", param, nth);
}

static const struct msg_field start_fields[] = {
	MSG_STR(struct control_start, program, 64),
	MSG_STR(struct control_start, service, 64),
	MSG_STR(struct control_start, arg, 512),
	MSG_STR(struct control_start, dir, 4096),
	MSG_STRS(struct control_start, params, 4096),
	MSG_U64(struct control_start, uid, UINT32_MAX),
	MSG_U64(struct control_start, gid, UINT32_MAX),
	MSG_U64(struct control_start, session_max, 1000000),
	MSG_U64(struct control_start, idle_max, UINT32_MAX),
	MSG_BOOL(struct control_start, confine_dir),
};
const struct msg_schema control_start_schema =
    MSG_SCHEMA("control_start", 0x0101, struct control_start, start_fields);

static const struct msg_field give_fields[] = {
	MSG_U64(struct control_give, kind, CONTROL_ROOT),
	MSG_STR(struct control_give, name, 256),
	MSG_FD(struct control_give, fd),
	MSG_U64(struct control_give, most, SIZE_MAX),
};
const struct msg_schema control_give_schema =
    MSG_SCHEMA("control_give", 0x0102, struct control_give, give_fields);

const struct msg_schema control_go_schema =
    MSG_SCHEMA_EMPTY("control_go", 0x0103);
const struct msg_schema control_ready_schema =
    MSG_SCHEMA_EMPTY("control_ready", 0x0104);
const struct msg_schema control_drain_schema =
    MSG_SCHEMA_EMPTY("control_drain", 0x0105);
const struct msg_schema control_idle_schema =
    MSG_SCHEMA_EMPTY("control_idle", 0x0106);
const struct msg_schema control_stop_schema =
    MSG_SCHEMA_EMPTY("control_stop", 0x0107);
