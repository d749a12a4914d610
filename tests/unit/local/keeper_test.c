#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "local/keeper.h"

#define BOUND (clock_now() + 60 * CLOCK_SECOND)

static void exit_with_7(void *arg)
{
	(void)arg;
	_exit(7);
}

static void die(void *arg)
{
	(void)arg;
	kill(getpid(), SIGKILL);
	_exit(0);
}

static void how_it_ended_is_told(void **state)
{
	struct keeper k;
	int status;

	(void)state;
	assert_int_equal(keeper_start(&k, exit_with_7, NULL), 0);
	assert_true(keeper_wait(&k, BOUND));
	status = keeper_end(&k);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(keeper_start(&k, die, NULL), 0);
	assert_true(keeper_wait(&k, BOUND));
	status = keeper_end(&k);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* Each is in a session of its own, and of no use for a polite signal. */
static void spread(int depth)
{
	pid_t pid;

	for (; depth > 0; depth--) {
		pid = fork();
		if (pid < 0)
			_exit(EX_OSERR);
		if (pid > 0)
			break;
		setsid();
	}
	for (;;)
		pause();
}

static void leave_some(void *arg)
{
	int *pipe_fds = arg;
	pid_t pid = fork();

	if (pid == 0)
		spread(5);
	close(pipe_fds[1]);
	_exit(pid < 0 ? EX_OSERR : 0);
}

static void stay(void *arg)
{
	(void)arg;
	spread(5);
}

/* All that had the writing end are gone. */
static void assert_end(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char c;

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(read(fd, &c, 1), 0);
}

static void what_it_started_ends_with_it(void **state)
{
	keeper_fn *const rows[] = { leave_some, stay };
	struct keeper k;
	int pair[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pipe(pair), 0);
		assert_int_equal(keeper_start(&k, rows[i], pair), 0);
		close(pair[1]);
		assert_int_equal(keeper_wait(&k, i == 0 ? BOUND
		    : clock_now()), i == 0);
		assert_int_equal(keeper_end(&k), i == 0 ? 0
		    : W_EXITCODE(EX_TEMPFAIL, 0));
		assert_end(pair[0]);
		close(pair[0]);
	}
}

static void kill_keeper(void *arg)
{
	(void)arg;
	kill(getppid(), SIGKILL);
	_exit(0);
}

static void without_a_word_it_is_done_again(void **state)
{
	struct keeper k;
	int status;

	(void)state;
	assert_int_equal(keeper_start(&k, kill_keeper, NULL), 0);
	assert_true(keeper_wait(&k, BOUND));
	status = keeper_end(&k);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_TEMPFAIL);
}

/* As deliver_command, when it is killed. */
static void without_its_master_it_ends(void **state)
{
	struct keeper k;
	int pair[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		keeper_start(&k, stay, NULL);
		_exit(0);
	}
	close(pair[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_end(pair[0]);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(how_it_ended_is_told),
		cmocka_unit_test(what_it_started_ends_with_it),
		cmocka_unit_test(without_a_word_it_is_done_again),
		cmocka_unit_test(without_its_master_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
