/*
 * wire.h - a stored message (LF line ends) as it goes on the wire (CR LF)
 *
 * A LF without CR before it becomes CR LF; all else stays as it is. So a
 * file of n octets with k bare LFs has n + k on the wire, which is what W=
 * in a file's name says.
 */
#ifndef STORE_WIRE_H
#define STORE_WIRE_H
#include "base/buf.h"

uint64_t wire_size(struct str raw);

struct wire {
	struct str rest;	/* what is not converted yet */
	bool after_cr;		/* the octet before `rest` was CR */
	bool owe_lf;		/* CR went out, its LF did not */
};

void wire_init(struct wire *, struct str raw);
/* Next wire octets, at most room, into out. 0 at the end. */
size_t wire_read(struct wire *, char *out, size_t room);
/* Passes over n wire octets (less at the end); gives how many. */
uint64_t wire_skip(struct wire *, uint64_t n);
#endif
