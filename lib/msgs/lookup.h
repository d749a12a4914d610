/*
 * lookup.h - questions to `lookup`: where an address leads
 *
 * Each is one request and one reply; a conversation may hold many.
 */
#ifndef MSGS_LOOKUP_H
#define MSGS_LOOKUP_H
#include "ipc/msg.h"

enum lookup_status {
	LOOKUP_OK = 1,
	LOOKUP_NO_USER,  /* the domain is ours, the user is not: 550 5.1.1 */
	LOOKUP_BAD,      /* no valid address */
	LOOKUP_TEMPFAIL, /* a table or auth cannot be asked: 451 4.3.0 */
};

/* Address class, as Postfix's ADDRESS_CLASS_README names them. */
enum lookup_class {
	LOOKUP_LOCAL = 1,
	LOOKUP_VIRTUAL_ALIAS,
	LOOKUP_VIRTUAL_MAILBOX,
	LOOKUP_RELAY,
	LOOKUP_DEFAULT, /* not ours */
};

/* At RCPT, and for each final recipient: one question. */
struct resolve_request {
	struct str address; /* user@domain, "user", or "" (null sender) */
	struct str sender;
	bool is_sender;     /* "" is the null reverse-path then, and fine */
};

struct resolve_reply {
	uint64_t status;
	uint64_t klass;
	struct str address;   /* completed with myorigin, domain lower case */
	struct str transport; /* "local", "virtual", "smtp", "error" ... */
	struct str nexthop;
	struct str text;      /* reason when not OK */
	bool has_alias;       /* virtual_alias_maps changes it: cleanup expands */
};

/* cleanup: the full expansion through virtual_alias_maps. */
struct expand_request {
	struct str address;
};

struct expand_reply {
	uint64_t status;
	struct strs addresses;
	struct strs transports;
	struct strs nexthops;
	struct str text;
};

/* local: the right-hand side of an alias (alias_maps). */
struct alias_request {
	struct str name; /* local part, lower case, with extension or without */
};

struct alias_reply {
	uint64_t status; /* LOOKUP_NO_USER: no such alias */
	struct str value;
	bool by_root;    /* the table is root's own: commands are allowed */
};

extern const struct msg_schema resolve_request_schema;
extern const struct msg_schema resolve_reply_schema;
extern const struct msg_schema expand_request_schema;
extern const struct msg_schema expand_reply_schema;
extern const struct msg_schema alias_request_schema;
extern const struct msg_schema alias_reply_schema;
#endif
