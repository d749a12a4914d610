/*
 * serve.h - a program's serving code, asked by a client that was taken over
 *
 * A target includes PROGRAM/main.c with its main() renamed and calls that:
 * service_main() here takes the table of callbacks.
 */
#ifndef FUZZ_FAKES_SERVE_H
#define FUZZ_FAKES_SERVE_H
#include "tests/fuzz/fakes/conv.h"
#include "tests/fuzz/fuzz.h"
#include "service/service.h"
#include "tests/tools/garble.h"

/* What service_main() was given. */
extern const struct service *serve_program;

/* What serve_init() makes: for what an input needs, and a packet. */
extern struct arena *serve_scratch;
/*
 * Before the first input: the log is silent, *params are those of an empty
 * main.cf (the target may change them), and main() hands over the program;
 * NULL: there is none.
 */
void serve_init(struct params *, int (*main)(int, char **));
/* Around an input: afterwards no descriptor, conversation or edge is left,
 * and at no time there was more than so many octets of heap. */
void serve_begin(void);
void serve_end(size_t heap);

struct serve {
	const char *client;	/* as whom we speak */
	/* What the program may be asked, and others; ends with NULL. */
	const struct msg_schema *const *kinds;
	/* Hears what it answers; may be NULL. */
	fake_peer_fn *hear;
	/* A question that must be answered with one message afterwards: others
	 * are served. NULL: none. */
	const struct msg_schema *kind;
	const void *question;
	size_t heap;		/* octets at most */
	/* Makes some of what was drawn true (garble.h; ctx: a struct
	 * fuzz_in); may be NULL. */
	garble_mend_fn *mend;
	/* A new descriptor to go with a message (ctx as above); NULL: of
	 * something. */
	int (*descriptor)(void *ctx);
};

/* The next packet that the client says, drawn from the input. */
void serve_say(const struct serve *, struct fuzz_in *, struct conv *,
    struct arena *);

/*
 * One input: some conversations, each with packets that are drawn from the
 * end of it (garble.h), raw octets from its front, descriptors of all sorts.
 * For a program with a loop its events come in the order of the input.
 */
void serve_input(const struct serve *, const uint8_t *p, size_t n);
#endif
