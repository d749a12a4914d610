/* policy.h - the restriction lists, asked by a session */
#ifndef SMTPD_POLICY_H
#define SMTPD_POLICY_H
#include "msgs/lookup.h"
#include "smtpd/session.h"

/* Evaluates the lists of a stage for the transaction as it is; false: the
 * refusal was sent and logged. rcpt may be NULL. */
bool policy_permits(struct session *, enum access_stage,
    const struct access_address *rcpt);
/* What lookup said of an address, for the lists. */
void policy_classify(const struct session *, const struct resolve_reply *,
    struct access_address *);
/* Asks lookup of the sender if a list or a parameter wants to know its
 * class, or if it lacks a domain, which it gets. */
void policy_ask_sender(struct session *, struct txn *);
/* "NOQUEUE: reject: RCPT from x[y]: 550 ...; from=<> to=<> proto= helo=<>",
 * the form that log readers know. rcpt.p may be NULL. */
void policy_log_reject(struct session *, const char *what, struct str reply,
    struct str rcpt);
/* The same for a message that was not taken at the end of its content. */
void policy_log_result(struct session *, const struct txn_result *);
#endif
