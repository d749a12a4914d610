/*
 * msgs.c - every message of the internal protocol, as a hostile peer sends it
 *
 * Any octets: decoded, or an error that names a field. What was decoded
 * encodes to the same octets, so nothing is lost or read twice; bounds of
 * the schema hold. The list of schemas is made from the headers (msgs.mk).
 */
#include <fcntl.h>
#include <unistd.h>
#include "fuzz.h"
#include "msgs/agent.h"
#include "msgs/auth.h"
#include "msgs/control.h"
#include "msgs/deliver.h"
#include "msgs/dns.h"
#include "msgs/keys.h"
#include "msgs/launch.h"
#include "msgs/limits.h"
#include "msgs/lookup.h"
#include "msgs/pickup.h"
#include "msgs/queue.h"
#include "msgs/session.h"
#include "msgs/stdio.h"
#include "msgs/stock.h"
#include "msgs/submit.h"

#define X(name) &name,
static const struct msg_schema *const schemas[] = { SCHEMAS };
#undef X
#define COUNT (sizeof(schemas) / sizeof(schemas[0]))

static void check_bounds(const struct msg_schema *m, const void *msg)
{
	for (size_t i = 0; i < m->nfields; i++) {
		const struct msg_field *f = &m->fields[i];
		const void *p = (const char *)msg + f->offset;
		size_t n = f->type == MSG_T_STR ? ((const struct str *)p)->n :
		    f->type == MSG_T_STRS ? ((const struct strs *)p)->n :
		    f->type == MSG_T_NUMS ? ((const struct nums *)p)->n :
		    f->type == MSG_T_U64 ? *(const uint64_t *)p : 0;

		fuzz_check(n <= f->max || f->type == MSG_T_I64 ||
		    f->type == MSG_T_FD, "%s.%s over its bound", m->name,
		    f->name);
	}
}

static void check(const struct msg_schema *m, struct str wire, size_t nfds,
    struct arena *arena)
{
	max_align_t msg[4096 / sizeof(max_align_t)];
	int fds[MSG_FD_MAX], out[MSG_FD_MAX];
	const char *why = NULL;
	struct buf again, text;
	size_t n;

	fuzz_check(m->size <= sizeof(msg), "%s is larger than msg", m->name);
	for (size_t i = 0; i < nfds; i++)
		fds[i] = fcntl(0, F_DUPFD_CLOEXEC, 100);
	if (msg_decode(m, wire, fds, nfds, arena, msg, &why) < 0) {
		fuzz_check(why != NULL && *why != '\0', "no reason");
		for (size_t i = 0; i < nfds; i++)
			close(fds[i]);
		return;
	}
	check_bounds(m, msg);
	buf_init(&again, MSG_MAX + 16);
	buf_init(&text, 16 * MSG_MAX);
	fuzz_check(msg_encode(m, msg, &again, out, &n, &why) == 0,
	    "%s is not encoded: %s", m->name, why);
	fuzz_check_same(m->name, wire, buf_str(&again));
	fuzz_check(n == nfds && memcmp(fds, out, n * sizeof(int)) == 0,
	    "%s: the descriptors", m->name);
	msg_print(m, msg, &text);
	msg_close_fds(m, msg);
	for (size_t i = 0; i < nfds; i++)
		fuzz_check(fcntl(fds[i], F_GETFD) < 0, "left open");
	buf_fini(&again);
	buf_fini(&text);
}

/* Each schema by its id; and any octets against one of them. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	unsigned choice = fuzz_octet(&in);
	struct arena *arena = arena_new(8 << 20);
	size_t nfds = choice & 128 ? choice >> 5 & 3 : 0;
	uint16_t id;

	fuzz_budget_start();
	id = msg_id(in.rest);
	for (size_t i = 0; i < COUNT; i++)
		if (schemas[i]->id == id)
			check(schemas[i], fuzz_exact(in.rest), nfds, arena);
	/* With the id put in: what a peer says in the wrong place. */
	if (n > 2) {
		const struct msg_schema *m = schemas[choice % COUNT];
		struct buf b;

		buf_init(&b, SIZE_MAX);
		buf_append_char(&b, (char)m->id);
		buf_append_char(&b, (char)(m->id >> 8));
		buf_append(&b, in.rest);
		check(m, fuzz_exact(buf_str(&b)), nfds, arena);
		buf_fini(&b);
	}
	fuzz_check_steps(300, n, 20000);
	fuzz_check_heap(40 * n + 400000);
	arena_free(&arena);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	for (size_t i = 0; i < COUNT; i++)
		for (size_t k = 0; k < i; k++)
			fuzz_check(schemas[i]->id != schemas[k]->id,
			    "%s and %s have one id", schemas[i]->name,
			    schemas[k]->name);
	return 0;
}
