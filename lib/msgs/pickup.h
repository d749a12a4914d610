/*
 * pickup.h - the commands of the command line speak to `pickup`
 *
 * Over the socket public/pickup, and, for the first three, in the files of
 * maildrop/ (each packet behind its length, 4 octets, little-endian). Who
 * the client is, `pickup` asks the kernel, never the client.
 *
 *   sendmail                       pickup
 *     pickup_submit  ------------->
 *     pickup_rcpts   ------------->          none or more, before any data
 *     pickup_data    ------------->          one or more, until `last`
 *                    <-------------  pickup_reply   after `last`, or at any
 *                                    time when it failed early
 *
 *     pickup_stdio   ------------->          sendmail -bs
 *                    <-------------  pickup_stdio_done   when it is over
 *
 *     pickup_verify  ------------->          sendmail -bv
 *                    <-------------  pickup_verified
 *
 *   postqueue, postsuper, ...: the messages of msgs/queue.h, which pickup
 *   passes on to qmgr and back when the client may say them.
 *
 * One thing a connection; pickup_verify and those of the queue may come
 * again. Content has lines that end with LF, CRLF or CR.
 */
#ifndef MSGS_PICKUP_H
#define MSGS_PICKUP_H
#include "ipc/msg.h"

#define PICKUP_CHUNK 65536	/* octets of content in one packet */
#define PICKUP_RCPTS_MAX 1000	/* recipients in one packet */
#define PICKUP_ADDRESS_MAX 1024	/* octets of an address */

enum pickup_flags {
	PICKUP_GATEWAY = 1,	/* sendmail -G: nothing is completed */
	PICKUP_8BITMIME = 2,
	PICKUP_SMTPUTF8 = 4,
};

struct pickup_submit {
	struct str sender;	/* may lack a domain; "" is null */
	uint64_t flags;
	uint64_t notify;	/* RFC 3461 bits for every recipient, 0: none */
	uint64_t ret;		/* 0 none, 1 FULL, 2 HDRS */
	struct str envid;
	struct strs rcpts;	/* may lack a domain */
};

struct pickup_rcpts {
	struct strs rcpts;
};

struct pickup_data {
	struct str content;
	bool last;
};

struct pickup_reply {
	uint64_t code;		/* 250, 4yz or 5yz (RFC 5321 4.2) */
	struct str dsn;
	struct str text;
	struct str queue_id;	/* when code is 250 */
};

struct pickup_stdio {
	int input, output;
};

struct pickup_stdio_done {
	bool served;
};

struct pickup_verify {
	struct str address;
};

struct pickup_verified {
	uint64_t status;	/* enum lookup_status */
	struct str address, transport, nexthop, text;
};

extern const struct msg_schema pickup_submit_schema;
extern const struct msg_schema pickup_rcpts_schema;
extern const struct msg_schema pickup_data_schema;
extern const struct msg_schema pickup_reply_schema;
extern const struct msg_schema pickup_stdio_schema;
extern const struct msg_schema pickup_stdio_done_schema;
extern const struct msg_schema pickup_verify_schema;
extern const struct msg_schema pickup_verified_schema;
#endif
