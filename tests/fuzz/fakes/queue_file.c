/* queue_file.c - see queue_file.h */
#include "queue/commit.h"
#include "tests/fuzz/fakes/queue_file.h"
#include "tests/fuzz/fuzz.h"

int fake_queue_file(const char *name, uint64_t id, struct str content)
{
	struct queue_recipient rcpt = { .address = STR("anna@our.test") };
	struct queue_envelope e = { .arrival = 1, .recipients = &rcpt,
		.recipient_count = 1 };
	int fd = fuzz_new_file(name);
	struct queue_commit *c;
	const char *why = "";

	fuzz_check(queue_commit_begin(&c, fd, id, 1 << 20) == 0, "no commit");
	queue_commit_append(c, content);
	fuzz_check(queue_commit(c, &e, &why) == 0, "%s", why);
	queue_commit_end(&c);
	return fd;
}
