/*
 * Each test in a process of its own: cmocka has handlers for faults, too, and
 * the one that comes last has the word.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "fixture.h"
#include "store/mapped.h"

#define SIZE ((size_t)1000000)

static int file_of_x(size_t n)
{
	char name[] = "/tmp/mapped-test.XXXXXX";
	int fd = mkstemp(name);
	char *text = malloc(n);

	unlink(name);
	memset(text, 'x', n);
	if (fd < 0 || sys_pwrite_all(fd, text, n, 0) < 0)
		_exit(101);
	free(text);
	return fd;
}

static void must(bool what, int line)
{
	if (!what) {
		fprintf(stderr, "line %d\n", line);
		_exit(102);
	}
}
#define MUST(what) must(what, __LINE__)

/* Its wait status. */
static int run(void (*child)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		child();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static size_t count_octets(struct str s, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

/* To a page's border, into one, in the last page, to nothing. */
static void cut_and_read(void)
{
	static const size_t rows[] = { 409600, 500000, 999999, 0 };

	for (size_t i = 0; i < 4; i++) {
		int fd = file_of_x(SIZE), same = dup(fd);
		struct mapped *a = mapped_open(fd, SIZE);
		struct mapped *b = mapped_open(same, SIZE);

		MUST(a != NULL && b != NULL);
		MUST(mapped_str(a).n == SIZE);
		MUST(count_octets(mapped_str(a), 'x') == SIZE);
		MUST(mapped_is_whole(a) && mapped_is_whole(b));
		MUST(ftruncate(fd, (off_t)rows[i]) == 0);
		MUST(!mapped_is_whole(b));
		MUST(count_octets(mapped_str(a), '\0') == SIZE - rows[i]);
		MUST(count_octets(mapped_str(a), 'x') == rows[i]);
		MUST(!mapped_is_whole(a));
		mapped_close(&a);
		MUST(a == NULL);
		/* the other is on its own */
		MUST(count_octets(mapped_str(b), '\0') == SIZE - rows[i]);
		mapped_close(&b);
	}
}

static void *in_a_thread(void *arg)
{
	(void)arg;
	cut_and_read();
	return NULL;
}

static void cut_in_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		MUST(pthread_create(&threads[i], NULL, in_a_thread, NULL) ==
		    0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void fault_elsewhere(void)
{
	int fd = file_of_x(SIZE), other = file_of_x(SIZE);
	struct mapped *m = mapped_open(fd, SIZE);
	char *p = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, other, 0);
	volatile char c;

	MUST(m != NULL && p != MAP_FAILED);
	MUST(ftruncate(other, 0) == 0);
	c = p[5000];
	(void)c;
}

static void raise_it(void)
{
	int fd = file_of_x(SIZE);

	MUST(mapped_open(fd, SIZE) != NULL);
	raise(SIGBUS);
}

static void what_was_cut_reads_as_zeros(void **state)
{
	(void)state;
	assert_int_equal(run(cut_and_read), 0);
	assert_int_equal(run(cut_in_threads), 0);
}

/* Nothing goes on behind it. */
static void any_other_fault_still_ends_the_process(void **state)
{
	static void (*const rows[])(void) = { fault_elsewhere, raise_it };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int status = run(rows[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGBUS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_cut_reads_as_zeros),
		cmocka_unit_test(any_other_fault_still_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
