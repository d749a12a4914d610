/* fake.h - the processes around smtpd, for its unit tests */
#ifndef TESTS_SMTPD_FAKE_H
#define TESTS_SMTPD_FAKE_H
#include "smtpd/session.h"

/* What the last message was, as cleanup got it. */
struct fake_message {
	unsigned count;	     /* messages taken */
	struct buf envelope; /* "from=a to=b,c flags=0 ..." */
	struct buf content;
};

/* Starts the fake cleanup and loads parameters ("name=value", ends with a
 * NULL). The result lives until fake_stop(). */
const struct smtpd *fake_start(const char *const *params,
    const char *service);
void fake_stop(void);
const struct fake_message *fake_message(void);
/* What cleanup answers instead of 250 (0: 250). */
void fake_refuse(unsigned code, const char *dsn, const char *text);
/*
 * A session with a client at `address`: writes `input`, in which
 * \001 waits for a reply and \002 for one of 3yz, and gives all that came
 * back until the end of the connection (after `input` the client closes its
 * side).
 */
const char *fake_talk(const struct smtpd *, const char *address,
    struct str input);
#endif
