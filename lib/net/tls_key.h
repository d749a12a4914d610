/* tls_key.h - a private key that is elsewhere, as OpenSSL sees it */
#ifndef NET_TLS_KEY_H
#define NET_TLS_KEY_H
#include <openssl/evp.h>
#include "net/tls.h"

/* Adds our provider to the default library context. 0 or -1. */
int tls_key_init(void);
/* SHA-256 of the DER form of the public key. 0 or -1. */
int tls_key_id(EVP_PKEY *public_key, uint8_t id_r[32]);
/*
 * A key whose public half is known (RSA or EC) and whose signatures `sign`
 * brings. The caller frees it; NULL when there is no memory or another
 * kind of key.
 */
EVP_PKEY *tls_key_new(EVP_PKEY *public_key, tls_sign_fn *sign, void *ctx);
#endif
