/* sign.h - the keys in memory, and signatures with them */
#ifndef KEYS_SIGN_H
#define KEYS_SIGN_H
#include "base/buf.h"

#define KEYS_MAX 64

/* All private keys (RSA, EC) of a PEM text; other blocks are skipped.
 * Number, 0 or -1 with why. Not thread-safe: at start. */
int keys_load(struct str pem, const char **why_r);
size_t keys_count(void);
/*
 * Signs `input`, which keys_recognise() knew, with the key of that id
 * (SHA-256 of the SubjectPublicKeyInfo). 0, or -1 with why. Thread-safe.
 */
int keys_sign_input(struct str key_id, unsigned scheme, struct str input,
    struct buf *signature_r, const char **why_r);
/* Wipes them. */
void keys_forget(void);
#endif
