/* recognise.h - what `keys` is willing to sign */
#ifndef KEYS_RECOGNISE_H
#define KEYS_RECOGNISE_H
#include "base/str.h"

/*
 * Is it the whole input of a server's signature in a TLS handshake, and may
 * that scheme (RFC 8446 4.2.3) sign it? Either
 *   RFC 8446 4.4.3: 64 spaces, "TLS 1.3, server CertificateVerify", NUL, a
 *     transcript hash of 32 or 48 octets; or
 *   RFC 8422 5.4: two randoms of 32 octets, ServerECDHParams with a named
 *     curve and a point of that curve's length.
 * NULL when it is; else why not.
 */
const char *keys_recognise(unsigned scheme, struct str input);
#endif
