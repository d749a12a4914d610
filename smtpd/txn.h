/*
 * txn.h - a mail transaction: from MAIL to its end, whatever that is
 *
 * There is no reset: every path that ends a transaction frees it, and the
 * next MAIL makes a new one. So no field of one message can reach another.
 */
#ifndef SMTPD_TXN_H
#define SMTPD_TXN_H
#include "ipc/conv.h"
#include "msgs/submit.h"
#include "smtpd/access.h"
#include "smtpd/esmtp.h"

struct session;

struct txn_rcpt {
	struct str address;   /* as lookup rewrote it */
	struct str original;  /* as the client gave it */
	struct str transport, nexthop;
	struct str orcpt;
	unsigned notify;
};

/* What became of the content. */
struct txn_result {
	unsigned code;
	struct str dsn, text; /* in the transaction's arena */
	struct str queue_id;  /* with code 250 */
};

struct txn {
	struct arena *arena;
	struct access_address sender;
	struct esmtp_mail mail;
	struct txn_rcpt *rcpts;
	size_t nrcpts, rcpts_cap;
	unsigned overshoot; /* recipients refused beyond the limit */
	bool early; /* the client did not wait for DATA's reply */

	/* the content on its way to cleanup */
	struct buf content; /* what was not sent yet */
	uint64_t size;	    /* octets so far */
	char tail[2];	    /* the last two */
	unsigned bare_crs;  /* CRs that nothing followed yet */
	bool after_cr;	    /* BDAT: a chunk ended between CR and LF */
	struct conv *conv;  /* NULL: nothing was sent yet */
	bool failed;	    /* `result` is final; content is swallowed */
	struct txn_result result;
};

/* Memory of one transaction's envelope, octets. */
#define TXN_ARENA_MAX (8 * 1024 * 1024)

/* NULL: no memory. */
struct txn *txn_new(void);
/* Cancels what cleanup was not yet told to keep. */
void txn_free(struct txn **);
/* 0, or -1 without memory. Strings are the arena's. */
int txn_add_rcpt(struct txn *, const struct txn_rcpt *);

/*
 * Content, in wire form (CR LF line ends, no dots). Never fails: what goes
 * wrong is remembered, the rest is swallowed, and txn_finish() tells.
 */
void txn_content(struct session *, struct str piece);
/*
 * A CR or LF that was no part of CR LF stood here. It becomes a line end; a
 * CR that stands before a CR LF goes (RFC 5321 2.3.8: neither can be stored).
 */
void txn_bare_cr(struct txn *);
void txn_bare_lf(struct session *);
/* The content is complete: has cleanup commit it and waits for its word. */
const struct txn_result *txn_finish(struct session *);
/* The transaction is refused with this result unless it was already. */
void txn_fail(struct txn *, unsigned code, const char *dsn,
    const char *text);
/* cleanup had no room a moment ago: better refuse at MAIL (RFC 1870 6.1). */
bool txn_storage_is_low(void);
#endif
