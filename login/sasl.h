/* sasl.h - PLAIN (RFC 4616) and LOGIN, for both protocols */
#ifndef LOGIN_SASL_H
#define LOGIN_SASL_H
#include "base/buf.h"
#include "net/stream.h"

#define SASL_MECHANISMS "PLAIN LOGIN"
#define SASL_LINE_MAX 8192

enum sasl_result {
	SASL_DONE,
	SASL_UNKNOWN,		/* not a mechanism of ours */
	SASL_CANCELLED,		/* the client sent "*" (RFC 4422 3.5) */
	SASL_MALFORMED,		/* base64 or message */
	SASL_DENIED,		/* wants to act for somebody else */
	SASL_CLOSED		/* *result_r says why */
};

struct sasl {
	struct buf decoded;	/* what user and password point into */
	const char *method;
	struct str user, password;
};

void sasl_init(struct sasl *);
/* Wipes. */
void sasl_fini(struct sasl *);
/* The exchange, with challenges as "+ base64". initial.p NULL: the client
 * sent no initial response; "=" is an empty one (RFC 4959 3, RFC 5034 4). */
enum sasl_result sasl_run(struct sasl *, struct stream *,
    struct str mechanism, struct str initial, enum stream_result *result_r);
#endif
