/*
 * keys.h - `keys` signs a handshake for who has the edge
 *
 * One request, one reply; a conversation may hold many. The input is whole:
 * `keys` looks at what it signs and refuses what it does not know.
 */
#ifndef MSGS_KEYS_H
#define MSGS_KEYS_H
#include "ipc/conv.h"
#include "net/tls.h"

struct sign_request {
	struct str key_id;	/* 32 octets: SHA-256 of SubjectPublicKeyInfo */
	uint64_t scheme;	/* SignatureScheme, RFC 8446 4.2.3 */
	struct str input;
};

struct sign_reply {
	bool ok;
	struct str signature;
	struct str text;	/* when refused: why, for the log */
};

extern const struct msg_schema sign_request_schema;
extern const struct msg_schema sign_reply_schema;

/*
 * The tls_sign_fn (net/tls.h) of programs with an edge to `keys`; ctx is
 * that struct edge *. Waits at most KEYS_TIMEOUT; says in the log why it
 * failed, at most once a second.
 */
#define KEYS_TIMEOUT (5 * CLOCK_SECOND)
int keys_sign(void *edge, const struct tls_sign_request *,
    struct buf *signature_r);
#endif
