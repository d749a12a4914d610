/*
 * submit.h - smtpd, pickup, bounce and local hand a message to `cleanup`
 *
 *   client                         cleanup
 *     submit_begin   ------------->
 *     submit_rcpts   ------------->          none or more, before any data
 *     submit_data    ------------->          none or more
 *                    <-------------  submit_reply   after `last`, or at any
 *                                    time when it failed early
 *     (the next submit_begin, or the end)
 *
 * Closing the conversation before `last` cancels the message. After an early
 * reply with a failure the client closes. Content is in wire form: lines end
 * with CRLF, no dot-stuffing, no final dot.
 */
#ifndef MSGS_SUBMIT_H
#define MSGS_SUBMIT_H
#include "ipc/msg.h"

/* Most content octets in one message; with a small envelope a message of
 * that size is one packet. */
#define SUBMIT_CHUNK 65536

enum submit_flags {
	SUBMIT_FIX = 1,       /* add missing Date, Message-ID, From; drop Bcc */
	SUBMIT_8BITMIME = 2,  /* BODY=8BITMIME */
	SUBMIT_SMTPUTF8 = 4,  /* RFC 6531 */
	SUBMIT_INTERNAL = 8,  /* made here: never refused for load */
	SUBMIT_NO_EXPAND = 16, /* no virtual aliases (notifications) */
	SUBMIT_BINARYMIME = 32,
};

/* Arrays run in parallel, one element a recipient. */
struct submit_rcpts {
	struct strs rcpts;      /* final address as lookup rewrote it */
	struct strs originals;  /* as the client gave it */
	struct strs transports; /* "" : cleanup asks lookup */
	struct strs nexthops;
	struct strs orcpts;     /* RFC 3461 ORCPT, decoded, or "" */
	struct nums notify;     /* RFC 3461 NOTIFY bits, 0: not given */
};
enum submit_notify { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

struct submit_begin {
	struct str service;      /* for the log: "smtpd", "pickup" ... */
	struct str client_name;  /* "unknown" or verified host name, "" local */
	struct str client_addr;  /* "192.0.2.1", "2001:db8::1", "" local */
	struct str helo;
	struct str protocol;     /* RFC 3848 "ESMTPSA" ..., "" local */
	struct str tls;          /* "TLSv1.3 with cipher X (n/n bits)" or "" */
	struct str login;        /* authenticated user or "" */
	struct str login_method;
	struct str received;     /* whole Received: field(s) to put on top, CRLF
				    line ends, "" : cleanup composes one */
	struct str sender;       /* reverse-path without <>, "" is null */
	struct str envid;        /* RFC 3461, decoded, or "" */
	uint64_t ret;            /* 0 none, 1 FULL, 2 HDRS */
	uint64_t flags;
	uint64_t local_uid;      /* pickup: submitter; else UINT32_MAX */
	int64_t since;           /* pickup: when it was left in maildrop/,
				    clock_wall(); 0: it came just now. Of
				    others cleanup believes none */
	struct strs rcpts;       /* as in submit_rcpts, may be empty */
	struct strs originals;
	struct strs transports;
	struct strs nexthops;
	struct strs orcpts;
	struct nums notify;
	struct str content;      /* the first octets, may be all or none */
	bool last;               /* content is complete */
};

struct submit_data {
	struct str content;
	bool last;
};

struct submit_reply {
	uint64_t code;       /* 250, 4yz or 5yz (RFC 5321 4.2) */
	struct str dsn;      /* "2.0.0" */
	struct str text;     /* behind the code and dsn */
	struct str queue_id; /* when code is 250 */
};

extern const struct msg_schema submit_begin_schema;
extern const struct msg_schema submit_rcpts_schema;
extern const struct msg_schema submit_data_schema;
extern const struct msg_schema submit_reply_schema;
#endif
