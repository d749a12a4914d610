#include "msgs/queue.h"

static const struct msg_field list_fields[] = {
	MSG_U64(struct queue_list, where, 127),
	MSG_STRS(struct queue_list, ids, QUEUE_IDS_MAX),
};
const struct msg_schema queue_list_schema =
    MSG_SCHEMA("queue_list", 0x0e01, struct queue_list, list_fields);

static const struct msg_field item_fields[] = {
	MSG_STR(struct queue_item, queue_id, 64),
	MSG_U64(struct queue_item, where, QUEUE_IN_MAILDROP),
	MSG_I64(struct queue_item, arrival),
	MSG_I64(struct queue_item, due),
	MSG_U64(struct queue_item, size, INT64_MAX),
	MSG_BOOL(struct queue_item, expired),
	MSG_STR(struct queue_item, sender, 8192),
	MSG_STRS(struct queue_item, rcpts, 1000),
	MSG_STRS(struct queue_item, originals, 1000),
	MSG_STRS(struct queue_item, reasons, 1000),
	MSG_BOOL(struct queue_item, more),
};
const struct msg_schema queue_item_schema =
    MSG_SCHEMA("queue_item", 0x0e02, struct queue_item, item_fields);

static const struct msg_field order_fields[] = {
	MSG_U64(struct queue_order, verb, QUEUE_DO_EXPIRE),
	MSG_U64(struct queue_order, where, 63),
	MSG_STRS(struct queue_order, ids, QUEUE_IDS_MAX),
	MSG_STR(struct queue_order, site, 512),
};
const struct msg_schema queue_order_schema =
    MSG_SCHEMA("queue_order", 0x0e03, struct queue_order, order_fields);

static const struct msg_field changed_fields[] = {
	MSG_STRS(struct queue_changed, ids, QUEUE_IDS_MAX),
};
const struct msg_schema queue_changed_schema =
    MSG_SCHEMA("queue_changed", 0x0e04, struct queue_changed, changed_fields);

static const struct msg_field end_fields[] = {
	MSG_U64(struct queue_end, count, UINT64_MAX),
	MSG_U64(struct queue_end, octets, UINT64_MAX),
	MSG_STRS(struct queue_end, missing, QUEUE_IDS_MAX),
	MSG_STR(struct queue_end, error, 512),
};
const struct msg_schema queue_end_schema =
    MSG_SCHEMA("queue_end", 0x0e05, struct queue_end, end_fields);

static const struct msg_field show_fields[] = {
	MSG_STR(struct queue_show, queue_id, 64),
};
const struct msg_schema queue_show_schema =
    MSG_SCHEMA("queue_show", 0x0e06, struct queue_show, show_fields);

static const struct msg_field file_fields[] = {
	MSG_FD(struct queue_file, fd),
	MSG_U64(struct queue_file, where, QUEUE_IN_MAILDROP),
	MSG_I64(struct queue_file, due),
};
const struct msg_schema queue_file_schema =
    MSG_SCHEMA("queue_file", 0x0e07, struct queue_file, file_fields);
