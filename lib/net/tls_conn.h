/*
 * tls_conn.h - TLS over a stream, once there is a context for it
 *
 * Between the files of lib/net: tls.c makes the contexts and begins, tls_conn.c
 * is the stream's transport from then on.
 */
#ifndef NET_TLS_CONN_H
#define NET_TLS_CONN_H
#include <openssl/ssl.h>
#include "net/tls.h"

struct tls_conn {
	SSL *ssl;
	struct stream *stream;
	int64_t deadline;
	bool nonblocking;
	bool broken;		/* nothing may be sent any more */
	bool eof;		/* the descriptor's end was seen */
	int err;		/* errno of the descriptor */
	unsigned key_updates;
	int64_t key_updates_since;
	const char *why;
	char why_text[200];
};

/* Once, before the first. 0, or -1: no memory. */
int tls_conn_init(void);
/* Puts TLS over the stream, which owns it; the handshake comes next. NULL with
 * why. */
struct tls_conn *tls_conn_new(SSL_CTX *, struct stream *, const char **why_r);
/* step: SSL_accept or SSL_connect. 0, or -1 with why: the connection is of no
 * use then. */
int tls_conn_handshake(struct tls_conn *, int (*step)(SSL *),
    int64_t deadline, const char **why_r);
#endif
