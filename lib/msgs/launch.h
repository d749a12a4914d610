/*
 * launch.h - `auth` orders a process from `launch`
 *
 * One request, one reply: there are several processes of `auth`, and one of a
 * user, so an order for what runs already is answered with it. The reply
 * carries the client's end of an edge whose server's end the process holds: it serves conversations on it like any
 * service (ipc/conv.h). A process that has ended makes opens on that end
 * fail with EPIPE or the conversation close without an answer: order again.
 */
#ifndef MSGS_LAUNCH_H
#define MSGS_LAUNCH_H
#include "ipc/msg.h"

enum launch_program { LAUNCH_IMAPD = 1, LAUNCH_POP3D, LAUNCH_DELIVER,
	LAUNCH_COMMAND };

struct launch_request {
	uint64_t program;
	uint64_t uid, gid; /* refused when 0 or below minimum_uid */
	bool is_virtual;   /* dir is below the mail root; else absolute */
	struct str user;   /* for the log; "" for deliver */
	struct str dir;    /* the user's mail; "" (deliver): the whole root;
			      deliver_command: where it works, no wall */
	bool again;        /* not one that runs already: it refused */
};

struct launch_reply {
	uint64_t pid;    /* 0: refused */
	int edge;
	struct str text; /* reason */
};

extern const struct msg_schema launch_request_schema;
extern const struct msg_schema launch_reply_schema;
#endif
