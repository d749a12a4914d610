/* emit.h - a stored message as the body of a multi-line answer */
#ifndef POP3D_EMIT_H
#define POP3D_EMIT_H
#include "net/stream.h"

/*
 * Writes the message with CR LF line ends, a line that begins with '.' with
 * another before it (RFC 1939 3); the final "." is the caller's. A CR that
 * ends no line becomes a space: one octet for one, so sizes stay, and no
 * client can take it for a line end. With `all` everything; else the header, the empty line
 * and at most `lines` lines of the body (RFC 1939 7, TOP).
 */
int emit_message(struct stream *, struct str raw, uint64_t lines, bool all);
#endif
