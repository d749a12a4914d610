/* serve.c - see serve.h */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/serve.h"
#include "tests/tools/garble.h"

#define CONVERSATIONS 3
#define PACKETS 12

const struct service *serve_program;
struct arena *serve_scratch;
static int next_descriptor;

int service_main(int argc, char **argv, const struct service *program)
{
	(void)argc;
	(void)argv;
	serve_program = program;
	return 0;
}

void serve_init(struct params *params, int (*program)(int, char **))
{
	const char *why;

	fuzz_mute_log();
	fake_arena = arena_new(1 << 20);
	serve_scratch = arena_new(8 << 20);
	fuzz_check(params_load(params, NULL, 0, fake_arena, &why) == 0, "%s",
	    why);
	fake_params = params;
	if (program != NULL)
		program(0, NULL);
}

void serve_begin(void)
{
	next_descriptor = fuzz_next_descriptor();
	fuzz_budget_start();
}

void serve_end(size_t heap)
{
	fuzz_check_heap(heap);
	fuzz_check(fuzz_next_descriptor() == next_descriptor,
	    "a descriptor is left open");
	fake_forget();
	arena_reset(serve_scratch);
	fuzz_end();
}

/* --- the client --- */

static uint64_t draw(void *ctx, uint64_t max)
{
	return max == 0 ? 0 : fuzz_number(ctx, max);
}

/* Those made for this packet; not all find a place in it. */
static int made[64];
static size_t made_count;

static int make_descriptor(void *ctx)
{
	int pair[2] = { -1, -1 };

	switch (draw(ctx, 3)) {
	case 0:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 1:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 2:
		if (pipe2(pair, O_CLOEXEC) < 0)
			return -1;
		break;
	default:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
		    pair) < 0)
			return -1;
	}
	close(pair[1]);
	return pair[0];
}

static int (*choose_descriptor)(void *ctx);

static int descriptor(void *ctx)
{
	int fd = made_count < 64 ? choose_descriptor(ctx) : -1;

	if (fd >= 0)
		made[made_count++] = fd;
	return fd;
}

static void close_unused(const int *fds, size_t nfds)
{
	for (size_t i = 0; i < made_count; i++) {
		size_t k = 0;

		while (k < nfds && fds[k] != made[i])
			k++;
		if (k == nfds)
			close(made[i]);
	}
	made_count = 0;
}

void serve_say(const struct serve *s, struct fuzz_in *in, struct conv *c,
    struct arena *arena)
{
	struct garble g = { .draw = draw, .ctx = in,
		.descriptor = descriptor, .arena = arena,
		.mend = s->mend };
	size_t kinds = 0, nfds = 0;
	int fds[MSG_FD_MAX];
	struct buf out;

	choose_descriptor = s->descriptor != NULL ? s->descriptor
	    : make_descriptor;
	while (s->kinds[kinds] != NULL)
		kinds++;
	buf_init(&out, 2 * MSG_MAX);
	if (draw(in, 7) == 7) {
		struct str raw = fuzz_take(in, draw(in, 255));

		buf_append(&out, raw);
		for (size_t k = draw(in, 3); k > 0; k--)
			if ((fds[nfds] = descriptor(in)) >= 0)
				nfds++;
	} else if (garble_packet(&g, s->kinds[draw(in, kinds - 1)], &out, fds,
	    &nfds) < 0) {
		close_unused(NULL, 0);
		buf_fini(&out);
		return;
	}
	close_unused(fds, nfds);
	fake_say_raw(c, buf_str(&out), fds, nfds);
	buf_fini(&out);
	arena_reset(arena);
}

static bool answered;

static void hear_answer(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	(void)c;
	(void)schema;
	(void)msg;
	answered = true;
}

static void serve(struct conv *c, const char *client)
{
	if (serve_program->converse != NULL)
		serve_program->converse(c, client);
	else
		serve_program->conv_arrived(c, client);
}

/* Each watched conversation is ready until it is closed. */
static void turn_loop(void)
{
	for (size_t i = 0; fake_watches() > 0 && i < 100000; i++)
		fake_fire_nth(i % fake_watches());
	fuzz_check(fake_watches() == 0, "a conversation is never closed");
}

void serve_input(const struct serve *s, const uint8_t *p, size_t n)
{
	struct arena *arena = arena_new(8 << 20);
	struct fuzz_in in = fuzz_in(p, n);
	int before = fuzz_next_descriptor();

	fuzz_budget_start();
	for (size_t i = draw(&in, CONVERSATIONS - 1) + 1; i > 0; i--) {
		struct conv *c = fake_client(s->client, s->hear);

		for (size_t k = draw(&in, PACKETS); k > 0; k--)
			serve_say(s, &in, c, arena);
		fake_leave_last(c);
		serve(c, s->client);
	}
	turn_loop();
	fuzz_check_heap(s->heap);
	if (s->kind != NULL) {
		struct conv *c = fake_client(s->client, hear_answer);

		answered = false;
		fake_say(c, s->kind, s->question);
		fake_leave_last(c);
		serve(c, s->client);
		turn_loop();
		fuzz_check(answered, "others are not answered");
	}
	fuzz_check(fuzz_next_descriptor() == before, "a descriptor is left open");
	arena_free(&arena);
	fuzz_end();
}
