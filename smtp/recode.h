/* recode.h - 8-bit content for a server that takes 7 bits (RFC 6152 3) */
#ifndef SMTP_RECODE_H
#define SMTP_RECODE_H
#include "base/arena.h"
#include "base/buf.h"

/* A message above this size is not recoded; parts with 8-bit octets become
 * up to three times as long. */
#define RECODE_MAX (32u * 1024 * 1024)

/*
 * Appends the message with every leaf part that holds octets above 127 in
 * quoted-printable, and the transfer encoding of what contains parts set to
 * 7bit. A part without declared character set becomes unknown-8bit (RFC
 * 1428). Octets above 127 that stand outside of bodies (headers, between
 * parts) stay. 0, or -1: no memory.
 */
int recode_to_7bit(struct str message, struct arena *, struct buf *out);
#endif
