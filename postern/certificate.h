/* certificate.h - a certificate authority and one certificate for a private
 * instance */
#ifndef POSTERN_CERTIFICATE_H
#define POSTERN_CERTIFICATE_H
#include "base/buf.h"

struct certificate_pems {
	struct buf ca, ca_key, cert, key; /* PEM */
};

/*
 * A new authority (ECDSA P-256, 10 years) and a certificate signed by it for
 * localhost, 127.0.0.1, ::1 and the host (825 days). 0 or -1.
 */
int certificate_make(const char *host, struct certificate_pems *);
/* Overwrites and frees. */
void certificate_wipe(struct certificate_pems *);
#endif
