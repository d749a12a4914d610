/*
 * wire.h - a connection in memory, below lib/net/stream.c
 *
 * A target links wire.c and wraps recv, send, poll and sendfile (WIRE_WRAP in
 * wire.mk). Nothing waits: whenever the code under test would wait for input,
 * the next piece is asked for, so what it wrote until then is known.
 */
#ifndef FUZZ_FAKES_WIRE_H
#define FUZZ_FAKES_WIRE_H
#include "base/buf.h"
#include "tests/fuzz/fuzz.h"

/* The next piece (not empty; valid until the next call), or false: the peer
 * closes its side. */
typedef bool wire_more_fn(void *ctx, struct str *piece_r);

/* A client whose packets \001 separates in `rest`; each comes cut as `way`
 * says (fuzz_cuts()). Zeroed but for these two. */
struct wire_client {
	struct str rest;
	unsigned way;
	struct fuzz_cuts cuts;
	bool cutting;
};
/* A wire_more_fn; ctx is a struct wire_client. */
bool wire_client_more(void *ctx, struct str *piece_r);

/* A descriptor that stream_new() takes; out gets what is written. Both have to
 * outlive the descriptor. */
int wire_open(wire_more_fn *, void *ctx, struct buf *out);
/* Every wire is forgotten (its descriptor was closed by the code). A wire that
 * is still open is a finding: a leak. */
void wire_end(void);
#endif
