#include "msgs/agent.h"

static const struct msg_field hello_fields[] = {
	MSG_STR(struct agent_hello, program, 64),
	MSG_STRS(struct agent_hello, transports, 64),
	MSG_U64(struct agent_hello, capacity, 100000),
};
const struct msg_schema agent_hello_schema =
    MSG_SCHEMA("agent_hello", 0x0401, struct agent_hello, hello_fields);

static const struct msg_field job_fields[] = {
	MSG_U64(struct agent_job, job, UINT64_MAX),
	MSG_STR(struct agent_job, queue_id, 64),
	MSG_STR(struct agent_job, transport, 64),
	MSG_STR(struct agent_job, nexthop, 512),
	MSG_STR(struct agent_job, sender, 512),
	MSG_FD(struct agent_job, file),
	MSG_I64(struct agent_job, arrival),
	MSG_I64(struct agent_job, active),
	MSG_U64(struct agent_job, size, INT64_MAX),
	MSG_U64(struct agent_job, flags, 63),
	MSG_U64(struct agent_job, ret, 2),
	MSG_STR(struct agent_job, envid, 512),
	MSG_NUMS(struct agent_job, indexes, AGENT_RCPT_MAX),
	MSG_STRS(struct agent_job, rcpts, AGENT_RCPT_MAX),
	MSG_STRS(struct agent_job, originals, AGENT_RCPT_MAX),
	MSG_STRS(struct agent_job, orcpts, AGENT_RCPT_MAX),
	MSG_NUMS(struct agent_job, notify, AGENT_RCPT_MAX),
	MSG_U64(struct agent_job, why, 2),
};
const struct msg_schema agent_job_schema =
    MSG_SCHEMA("agent_job", 0x0402, struct agent_job, job_fields);

static const struct msg_field result_fields[] = {
	MSG_U64(struct agent_result, job, UINT64_MAX),
	MSG_STR(struct agent_result, queue_id, 64),
	MSG_U64(struct agent_result, index, UINT32_MAX),
	MSG_U64(struct agent_result, status, AGENT_FAILED),
	MSG_STR(struct agent_result, dsn, 16),
	MSG_STR(struct agent_result, text, 4096),
	MSG_STR(struct agent_result, relay, 512),
	MSG_STR(struct agent_result, diagnostic, 4096),
	MSG_BOOL(struct agent_result, nexthop_dead),
	MSG_U64(struct agent_result, onward, AGENT_PASSED_ON),
	MSG_BOOL(struct agent_result, file_damaged),
};
const struct msg_schema agent_result_schema =
    MSG_SCHEMA("agent_result", 0x0403, struct agent_result, result_fields);

static const struct msg_field running_fields[] = {
	MSG_STR(struct agent_running, queue_id, 64),
	MSG_NUMS(struct agent_running, indexes, AGENT_RCPT_MAX),
};
const struct msg_schema agent_running_schema =
    MSG_SCHEMA("agent_running", 0x0404, struct agent_running, running_fields);

const struct msg_schema agent_present_schema =
    MSG_SCHEMA_EMPTY("agent_present", 0x0405);

static const struct msg_field recorded_fields[] = {
	MSG_STRS(struct agent_recorded, queue_ids, 2048),
	MSG_NUMS(struct agent_recorded, indexes, 2048),
};
const struct msg_schema agent_recorded_schema = MSG_SCHEMA("agent_recorded",
    0x0406, struct agent_recorded, recorded_fields);
