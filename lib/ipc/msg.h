/*
 * msg.h - one table describes an internal message; the rest follows from it
 *
 * A message is a struct and a schema. The schema encodes it, decodes it
 * strictly (every field, once, in order, bounded, nothing after; the error
 * names the field) and prints it. A new field costs two lines: a member and
 * a row.
 *
 * Wire form: u16 id, then each field in the order of the table, integers
 * little-endian: U64 and I64 8 octets, BOOL one octet (0 or 1), STR u32
 * length and octets, STRS u32 count and that many STR, NUMS u32 count and
 * that many U64, FD nothing (it travels beside the octets; a field that is
 * -1 is one octet 0, else 1). Both ends are of one build and one machine.
 */
#ifndef IPC_MSG_H
#define IPC_MSG_H
#include "base/arena.h"
#include "base/buf.h"

#define MSG_MAX (128 * 1024) /* octets of one message on the wire */
#define MSG_FD_MAX 8         /* descriptors beside it */

enum msg_type {
	MSG_T_U64,  /* uint64_t */
	MSG_T_I64,  /* int64_t */
	MSG_T_BOOL, /* bool */
	MSG_T_STR,  /* struct str */
	MSG_T_STRS, /* struct strs */
	MSG_T_NUMS, /* struct nums */
	MSG_T_FD,   /* int; -1: none */
};

struct strs {
	struct str *v;
	size_t n;
};

struct nums {
	uint64_t *v;
	size_t n;
};

struct msg_field {
	const char *name;
	enum msg_type type;
	size_t offset;
	uint64_t max; /* U64: value; STR: octets; STRS, NUMS: elements */
};

struct msg_schema {
	const char *name; /* for the log */
	uint16_t id;      /* first on the wire; one in the whole suite */
	size_t size;      /* of the C struct */
	const struct msg_field *fields;
	size_t nfields;
};

#define MSG_U64(type, member, max) \
	{ #member, MSG_T_U64, offsetof(type, member), (max) }
#define MSG_I64(type, member) \
	{ #member, MSG_T_I64, offsetof(type, member), 0 }
#define MSG_BOOL(type, member) \
	{ #member, MSG_T_BOOL, offsetof(type, member), 1 }
#define MSG_STR(type, member, max) \
	{ #member, MSG_T_STR, offsetof(type, member), (max) }
#define MSG_STRS(type, member, max) \
	{ #member, MSG_T_STRS, offsetof(type, member), (max) }
#define MSG_NUMS(type, member, max) \
	{ #member, MSG_T_NUMS, offsetof(type, member), (max) }
#define MSG_FD(type, member) \
	{ #member, MSG_T_FD, offsetof(type, member), 0 }
#define MSG_SCHEMA(label, number, type, table) \
	{ label, number, sizeof(type), table, sizeof(table) / sizeof((table)[0]) }
/* A message without fields. */
#define MSG_SCHEMA_EMPTY(label, number) { label, number, 0, NULL, 0 }

/*
 * Appends the wire form to out; descriptors (not dup'ed) to fds[*nfds_r].
 * -1: longer than MSG_MAX, over a field's bound, or no memory; why_r names
 * the field.
 */
int msg_encode(const struct msg_schema *, const void *msg, struct buf *out,
    int fds[MSG_FD_MAX], size_t *nfds_r, const char **why_r);
/* The id in front, or 0 when there is none. */
uint16_t msg_id(struct str wire);
/*
 * Decodes into *msg. Strings are views into `wire`; arrays come from the
 * arena. On success the descriptors in fds belong to *msg. On failure -1,
 * why_r names the field, and the descriptors are still the caller's.
 */
int msg_decode(const struct msg_schema *, struct str wire, const int *fds,
    size_t nfds, struct arena *, void *msg, const char **why_r);
/* Closes the descriptors in msg and sets them to -1. */
void msg_close_fds(const struct msg_schema *, void *msg);
/* "name field=value ..." for a debug log; long strings are cut. */
void msg_print(const struct msg_schema *, const void *msg, struct buf *out);
#endif
