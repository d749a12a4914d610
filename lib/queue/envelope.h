/*
 * envelope.h - what a queue file knows of its message besides the content
 *
 * The encoded form is the same in the file and in the word that `cleanup`
 * gives to `qmgr`. Strings are without NUL, CR and LF: an encoder refuses
 * them, a decoder calls the envelope damaged.
 */
#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H
#include "base/arena.h"
#include "base/buf.h"

#define QUEUE_ENVELOPE_MAX (16u << 20)	/* octets, encoded */
#define QUEUE_RECIPIENT_MAX 50000u	/* recipients a message */
#define QUEUE_STRING_MAX 8192u		/* octets of one string */

enum {	/* queue_envelope.flags; the first six are enum submit_flags */
	QUEUE_8BITMIME = 2,	/* BODY=8BITMIME, or octets above 127 */
	QUEUE_SMTPUTF8 = 4,	/* RFC 6531: asked for, or needed */
	QUEUE_INTERNAL = 8,	/* made here: a notice, a forward */
	QUEUE_NO_EXPAND = 16,
	QUEUE_BINARYMIME = 32,	/* RFC 3030: leaves only by BDAT */
	QUEUE_REQUIRETLS = 256,	/* RFC 8689 */
	QUEUE_LOCAL = 512,	/* came by sendmail, not by the network */
	QUEUE_ON_HOLD = 1024,	/* goes to hold/ when committed */
	QUEUE_VERIFY = 2048	/* sendmail -bv: report, do not deliver */
};

enum {	/* queue_recipient.notify, RFC 3461 4.1; 0: not given */
	QUEUE_NOTIFY_NEVER = 1,
	QUEUE_NOTIFY_SUCCESS = 2,
	QUEUE_NOTIFY_FAILURE = 4,
	QUEUE_NOTIFY_DELAY = 8
};

enum queue_ret { QUEUE_RET_NONE, QUEUE_RET_FULL, QUEUE_RET_HDRS };

struct queue_recipient {
	struct str address;	/* where it goes, after all rewriting */
	struct str original;	/* as the client said it; empty: same */
	struct str orcpt;	/* RFC 3461 4.2, decoded: "rfc822;x@y" */
	struct str transport;	/* as lookup said at RCPT; empty: ask it */
	struct str nexthop;
	unsigned notify;
};

struct queue_envelope {
	int64_t arrival;	/* clock_wall() */
	uint64_t size;		/* octets of content; queue_commit() sets it */
	unsigned flags;
	struct str sender;	/* reverse-path; empty: null */
	struct str client_name;	/* empty: unknown */
	struct str client_addr;	/* "192.0.2.1", "2001:db8::1" */
	unsigned client_port;
	struct str helo;
	struct str protocol;	/* "ESMTPSA", ... */
	struct str login;	/* who authenticated, or the local user */
	struct str login_method;
	struct str envid;	/* RFC 3461 4.4, decoded */
	enum queue_ret ret;
	struct str original_id;	/* queue id of the message this came from */
	struct queue_recipient *recipients;
	size_t recipient_count;
};

/* Appends to out. 0, or -1 with a reason (a limit, an octet). */
int queue_envelope_encode(const struct queue_envelope *, struct buf *out,
    const char **why_r);
/*
 * Strict: every field once and in order, nothing after. Strings point into
 * `in`; the recipients are in the arena. -1 with a reason.
 */
int queue_envelope_decode(struct str in, struct arena *,
    struct queue_envelope *env_r, const char **why_r);
#endif
