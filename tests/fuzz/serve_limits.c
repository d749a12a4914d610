/* serve_limits.c - limits, asked by a process that was taken over */
int limits_main(int, char **);
#define main limits_main
#include "limits/main.c"
#undef main
#include "tests/fuzz/fakes/serve.h"
#include "msgs/lookup.h"

static struct params params;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, limits_main);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const kinds[] = {
		&limits_request_schema, &limits_request_schema,
		&limits_request_schema, &limits_reply_schema,
		&resolve_request_schema, NULL };
	static const struct limits_request question = {
		.event = LIMITS_CONNECT, .service = STR("smtp"),
		.client_addr = STR("192.0.2.1") };
	const struct serve s = { .client = "smtpd", .kinds = kinds,
		.kind = &limits_request_schema, .question = &question,
		.heap = 8 << 20 };

	/* A fresh start each time: counts would go on. */
	fuzz_check(serve_program->ready(NULL) == 0, "no start");
	serve_input(&s, p, n);
	counts_free(&self.counts);
	fake_forget();
	return 0;
}
