/* base64.h - RFC 4648 section 4, strict: no white space, padding required */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H
#include "base/buf.h"

int base64_encode(struct str in, struct buf *out);
/* -1: not base64 (or out's limit). Appends. */
int base64_decode(struct str in, struct buf *out);
#endif
