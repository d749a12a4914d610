/* What a look into incoming/ makes of a file that somebody is writing. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/sys.h"
#include "queue/commit.h"
#include "queue/recover.h"

struct place {
	char path[64];
	int dir;
	struct queue_spool spool;
	uint64_t id;
	int writer;		/* what cleanup has of the file, or -1 */
	bool commits;		/* when it is asked whether it has it */
	enum queue_found found;
};

static struct place *asked;

static void commit(struct place *p)
{
	struct queue_recipient r = { .address = STR("r@x.test"),
		.nexthop = STR("[x.test]") };
	struct queue_envelope e = { .arrival = 7, .sender = STR("s@x.test"),
		.recipients = &r, .recipient_count = 1 };
	struct queue_commit *c;
	const char *why;

	assert_int_equal(queue_commit_begin(&c, p->writer, p->id, 1000), 0);
	assert_int_equal(queue_commit_append(c, STR("text\r\n")), 0);
	assert_int_equal(queue_commit(c, &e, &why), 0);
	queue_commit_end(&c);
	sys_close(p->writer);
	p->writer = -1;
}

/* In place of the C library's: between the first look at the file and the
 * question whether somebody has it, its writer commits it and lets go. */
int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (cmd == F_SETLEASE && asked != NULL && asked->commits) {
		asked->commits = false;
		commit(asked);
	}
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

static void begin(struct place *p)
{
	const char *why;

	*p = (struct place){ .path = "/tmp/postern-recover-XXXXXX" };
	assert_non_null(mkdtemp(p->path));
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(queue_spool_open(&p->spool, p->dir, true, false,
	    &why), 0);
	assert_int_equal(queue_spool_stock(&p->spool, 1, NULL, 0, &p->id,
	    &p->writer), 0);
}

static void end(struct place *p)
{
	char *argv[] = { "rm", "-rf", p->path, NULL };
	pid_t pid;

	if (p->writer >= 0)
		sys_close(p->writer);
	queue_spool_close(&p->spool);
	close(p->dir);
	pid = fork();
	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static int note(enum queue_found what, const struct queue_name *name,
    const char *file, int fd, const char *why, void *ctx)
{
	struct place *p = ctx;

	(void)name, (void)file, (void)fd, (void)why;
	p->found = what;
	return 0;
}

static void a_half_written_file_is_judged_again(void **state)
{
	static const struct {
		bool commits, held;
		enum queue_found found;
		enum queue_place place;
	} rows[] = {
		{ true, true, QUEUE_FOUND_MESSAGE, QUEUE_INCOMING },
		{ false, true, QUEUE_FOUND_HELD, QUEUE_INCOMING },
		{ false, false, QUEUE_FOUND_CORRUPT, QUEUE_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[QUEUE_ID_SIZE], half[4096];
		struct queue_name name;
		struct place p;
		int fd;

		begin(&p);
		name = (struct queue_name){ p.id, QUEUE_INCOMING, 0 };
		/* as two looks can see it, between which it is written */
		memset(half, 'x', sizeof(half));
		assert_int_equal(pwrite(p.writer, half, sizeof(half), 0),
		    sizeof(half));
		p.commits = rows[i].commits;
		if (!rows[i].held) {
			sys_close(p.writer);
			p.writer = -1;
		}
		asked = &p;
		assert_int_equal(queue_recover_file(&p.spool, &name,
		    queue_id_text(p.id, text), note, &p), 0);
		asked = NULL;
		assert_int_equal(p.found, rows[i].found);
		name.place = rows[i].place;
		fd = queue_spool_open_file(&p.spool, &name, false);
		assert_true(fd >= 0);
		sys_close(fd);
		end(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_half_written_file_is_judged_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
