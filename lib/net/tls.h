/*
 * tls.h - TLS 1.2 and 1.3 over a stream (OpenSSL 3); library `tls`
 *
 * tls_init() and all contexts come before a program confines itself: after
 * that nothing here opens a file. Private keys are in another process: a
 * chain is given with a function that has something signed there.
 */
#ifndef NET_TLS_H
#define NET_TLS_H
#include "base/buf.h"
#include "net/stream.h"

/* Once, before other threads. 0 or -1 with why. */
int tls_init(const char **why_r);

/*
 * What is signed in a handshake, whole (`keys` recognises it): the
 * CertificateVerify input of RFC 8446 4.4.3, or the ServerKeyExchange input of
 * RFC 8422 5.4 with the two randoms.
 */
struct tls_sign_request {
	uint8_t key_id[32];	/* SHA-256 of the SubjectPublicKeyInfo (DER) */
	uint16_t scheme;	/* SignatureScheme, RFC 8446 4.2.3 */
	struct str input;
};

#define TLS_SIGNATURE_MAX 1024
#define TLS_SIGN_INPUT_MAX 1024

/* Appends the signature. 0, or -1: the handshake fails with an alert. Called
 * by the connection's thread; several at the same time. */
typedef int tls_sign_fn(void *ctx, const struct tls_sign_request *,
    struct buf *signature_r);

struct tls_server;

struct tls_server_options {
	const char *service;	/* "smtp", "imap": session id context; tickets
				 * of one service are no use at another */
	const char *const *alpn; /* ids accepted, NULL-terminated; NULL: any
				 * offer is refused (RFC 7301 3.2, alert 120) */
	int min_version;	/* 0x0303 (TLS 1.2, also when 0) or 0x0304 */
	const char *ciphers;	/* TLS 1.2 list; NULL: ECDHE with AEAD */
	/* >= 32 octets that the processes of a service share; empty: a random
	 * one of this process */
	struct str ticket_secret;
};

/* NULL with why. */
struct tls_server *tls_server_new(const struct tls_server_options *,
    const char **why_r);
void tls_server_free(struct tls_server **);
/*
 * A certificate chain (PEM, leaf first; other blocks are skipped) whose key
 * signs through `sign`. The first is the default; a later one of
 * another key type serves clients that want that; of the same type those who
 * name it by SNI. 0 or -1 with why.
 */
int tls_server_add_chain(struct tls_server *, struct str pem,
    tls_sign_fn *sign, void *sign_ctx, const char **why_r);
/* As above from a descriptor, which stays the caller's (read from offset 0;
 * at most TLS_PEM_MAX octets). */
#define TLS_PEM_MAX (1024 * 1024)
int tls_server_add_chain_fd(struct tls_server *, int fd,
    tls_sign_fn *sign, void *sign_ctx, const char **why_r);

struct tls_client;

struct tls_client_options {
	struct str ca_pem;	/* trust anchors; empty: nothing verifies */
	int min_version;	/* 0: TLS 1.2 */
	const char *ciphers;	/* NULL: OpenSSL's HIGH without anonymous */
};

struct tls_client *tls_client_new(const struct tls_client_options *,
    const char **why_r);
void tls_client_free(struct tls_client **);

/*
 * Handshakes as server / client over the stream by the deadline (and the
 * stream's own). 0; -1 with why (for the log, valid until the stream is
 * freed): the connection can only be closed then. Refused when plaintext
 * input is buffered.
 */
int tls_accept(struct tls_server *, struct stream *, int64_t deadline,
    const char **why_r);
/* host: SNI and, with verify, the name that the certificate must have (RFC
 * 6125). Without verify any certificate will do, and tls_info says what it
 * would have been. */
int tls_connect(struct tls_client *, struct stream *, const char *host,
    bool verify, int64_t deadline, const char **why_r);

struct tls_info {
	const char *protocol;	/* "TLSv1.3" */
	const char *cipher;	/* "TLS_AES_256_GCM_SHA384" */
	int bits;		/* 256 */
	const char *group;	/* "X25519", or NULL */
	const char *key_type;	/* server's: "ECDSA (P-256)", "RSA (2048 bits)"
				 * written into text; "" when resumed */
	bool resumed;
	bool verified;		/* client side: chain and name are good */
	const char *verify_why;	/* client side, not verified: why */
	char text[48];
};
/* False when the stream is plain. Pointers live as long as the stream. */
bool tls_info(struct stream *, struct tls_info *info_r);

/* From here on tls_try_* are used (an event loop), the stream's own reading
 * and writing no longer. */
void tls_set_nonblocking(struct stream *);
enum { TLS_WANT_READ = 1, TLS_WANT_WRITE = 2 };
/* >0 octets, 0 at the end, -1: *want_r is TLS_WANT_* when the descriptor is
 * not ready, 0 when the connection failed. */
ssize_t tls_try_read(struct stream *, void *p, size_t n, int *want_r);
ssize_t tls_try_write(struct stream *, const void *p, size_t n, int *want_r);
/* Sends close_notify if that does not block. */
void tls_try_shutdown(struct stream *);
#endif
