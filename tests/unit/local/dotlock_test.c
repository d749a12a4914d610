#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/sys.h"
#include "local/dotlock.h"

#define LONG (clock_now() + 60 * CLOCK_SECOND)
#define SHORT (clock_now() + CLOCK_SECOND / 4)

static char top[] = "/tmp/dotlock-test.XXXXXX";
static int dir;

static int enter(void **state)
{
	(void)state;
	return mkdtemp(top) == NULL ||
	    (dir = open(top, O_RDONLY | O_DIRECTORY)) < 0 ? -1 : 0;
}

static int leave(void **state)
{
	(void)state;
	return rmdir(top);
}

static bool is_there(void)
{
	return faccessat(dir, "mbox.lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make_foreign(int64_t age)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_NOW },
		{ .tv_sec = (time_t)(clock_wall() / CLOCK_SECOND - age) } };
	int fd = openat(dir, "mbox.lock", O_WRONLY | O_CREAT | O_EXCL, 0444);

	assert_true(fd >= 0);
	assert_int_equal(futimens(fd, t), 0);
	close(fd);
}

/* As the kernel does for a process that dies. */
static void die_with(struct dotlock *l)
{
	close(l->fd);
}

static void one_has_it_and_then_the_next(void **state)
{
	struct dotlock a, b;

	(void)state;
	assert_int_equal(dotlock_take(&a, dir, "mbox", LONG), 0);
	assert_true(is_there());
	assert_int_equal(dotlock_take(&b, dir, "mbox", SHORT), -1);
	assert_int_equal(errno, EAGAIN);
	dotlock_release(&b);
	assert_true(is_there());
	dotlock_release(&a);
	assert_false(is_there());
	assert_int_equal(dotlock_take(&b, dir, "mbox", LONG), 0);
	dotlock_release(&b);
	assert_false(is_there());
}

static void that_of_the_dead_is_taken_over_at_once(void **state)
{
	struct dotlock a, b, c;

	(void)state;
	assert_int_equal(dotlock_take(&a, dir, "mbox", LONG), 0);
	die_with(&a);
	assert_true(is_there());
	assert_int_equal(dotlock_take(&b, dir, "mbox", SHORT), 0);
	assert_int_equal(dotlock_take(&c, dir, "mbox", SHORT), -1);
	dotlock_release(&b);
	assert_false(is_there());
}

/* Nobody knows whose it is, nor whether he lives. */
static void that_of_another_program_stays_until_it_is_old(void **state)
{
	struct dotlock l;

	(void)state;
	make_foreign(500);
	assert_int_equal(dotlock_take(&l, dir, "mbox", SHORT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(is_there());
	unlinkat(dir, "mbox.lock", 0);
	make_foreign(700);
	assert_int_equal(dotlock_take(&l, dir, "mbox", SHORT), 0);
	dotlock_release(&l);
	assert_false(is_there());
	assert_int_equal(symlinkat("/nowhere", dir, "mbox.lock"), 0);
	assert_int_equal(dotlock_take(&l, dir, "mbox", SHORT), -1);
	unlinkat(dir, "mbox.lock", 0);
}

/* Other programs' locks may be read by everybody, who may hold them then. */
static void who_holds_that_of_another_program_delays_it_no_more(void **state)
{
	static const struct { int64_t age; int rc; } rows[] = {
		{ 700, -1 }, { 1300, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dotlock l;
		int fd;

		make_foreign(rows[i].age);
		fd = openat(dir, "mbox.lock", O_RDONLY);
		assert_int_equal(flock(fd, LOCK_SH), 0);
		assert_int_equal(dotlock_take(&l, dir, "mbox", SHORT),
		    rows[i].rc);
		if (rows[i].rc == 0)
			dotlock_release(&l);
		else
			unlinkat(dir, "mbox.lock", 0);
		close(fd);
		assert_false(is_there());
	}
}

/* Each time that one is removed. */
static int make_another(const struct sys_event *ev, void *ctx)
{
	int *made = ctx;

	if (ev->op == SYS_UNLINK && ev->after) {
		make_foreign(700);
		if (++*made == 1000)
			sys_set_hook(NULL, NULL);
	}
	return 0;
}

static void who_makes_old_ones_again_and_again_ends_the_wait(void **state)
{
	struct dotlock l;
	int made = 0;

	(void)state;
	make_foreign(700);
	sys_set_hook(make_another, &made);
	assert_int_equal(dotlock_take(&l, dir, "mbox", SHORT), -1);
	sys_set_hook(NULL, NULL);
	assert_int_equal(errno, EAGAIN);
	assert_true(made < 100);
	unlinkat(dir, "mbox.lock", 0);
}

/* However old: whoever holds it writes a long message, or the disk is slow. */
static void that_of_the_living_is_never_old(void **state)
{
	struct timespec t[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct dotlock a, b;

	(void)state;
	assert_int_equal(dotlock_take(&a, dir, "mbox", LONG), 0);
	assert_int_equal(futimens(a.fd, t), 0);
	assert_int_equal(dotlock_take(&b, dir, "mbox", SHORT), -1);
	dotlock_release(&a);
}

static void what_cannot_be_taken_away_is_waited_for(void **state)
{
	struct timespec t[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct dotlock l;

	(void)state;
	assert_int_equal(mkdirat(dir, "mbox.lock", 0700), 0);
	assert_int_equal(utimensat(dir, "mbox.lock", t, 0), 0);
	alarm(30);
	assert_int_equal(dotlock_take(&l, dir, "mbox", SHORT), -1);
	alarm(0);
	assert_int_equal(errno, EAGAIN);
	unlinkat(dir, "mbox.lock", AT_REMOVEDIR);
}

/* Another program took it away and has it now. */
static void what_is_not_ours_any_more_is_left_alone(void **state)
{
	struct dotlock l;

	(void)state;
	assert_int_equal(dotlock_take(&l, dir, "mbox", LONG), 0);
	unlinkat(dir, "mbox.lock", 0);
	make_foreign(0);
	dotlock_release(&l);
	assert_true(is_there());
	unlinkat(dir, "mbox.lock", 0);
}

/* Another is quicker, before or after the nth operation of the first; once, or
 * with one more between them who has let go already. */
struct overtaking {
	int n, at;
	struct dotlock other;
	bool twice, came, has_it;
};

static int overtake(const struct sys_event *ev, void *ctx)
{
	struct overtaking *o = ctx;

	(void)ev;
	if (o->came || o->n++ < o->at)
		return 0;
	o->came = true;
	o->has_it = dotlock_take(&o->other, dir, "mbox", clock_now()) == 0;
	if (o->has_it && o->twice) {
		dotlock_release(&o->other);
		assert_int_equal(dotlock_take(&o->other, dir, "mbox",
		    clock_now()), 0);
	}
	return 0;
}

static void who_was_overtaken_waits(void **state)
{
	struct overtaking o;
	struct dotlock l;
	int both = 0;

	(void)state;
	for (int left = 0; left < 6; left++) {
		for (int at = 0;; at++) {
			int rc;

			o = (struct overtaking){ .at = at,
				.twice = left >= 3 };
			if (left % 3 == 1) {
				dotlock_take(&l, dir, "mbox", LONG);
				die_with(&l);
			} else if (left % 3 == 2) {
				make_foreign(700);
			}
			sys_set_hook(overtake, &o);
			rc = dotlock_take(&l, dir, "mbox", clock_now());
			sys_set_hook(NULL, NULL);
			assert_int_equal(rc == 0, !o.has_it);
			both += o.has_it;
			dotlock_release(rc == 0 ? &l : &o.other);
			assert_false(is_there());
			if (!o.came)
				break;
		}
	}
	assert_true(both > 12);
}

#define PROCESSES 6
#define ROUNDS 40

static struct shared {
	atomic_int inside, met, rounds;
} *shared;

/* Leaves it as it should, or as the dead do, or as other programs do. */
static void leave_lock(struct dotlock *l, int how)
{
	struct timespec t[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	atomic_fetch_sub(&shared->inside, 1);
	if (how == 0) {
		dotlock_release(l);
		return;
	}
	if (how == 1 && (fchmod(l->fd, 0600) < 0 || futimens(l->fd, t) < 0))
		_exit(3);
	die_with(l);
}

static void contend(unsigned n)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct dotlock l;

		if (dotlock_take(&l, dir, "mbox", LONG) < 0)
			_exit(2);
		if (atomic_fetch_add(&shared->inside, 1) != 0)
			atomic_fetch_add(&shared->met, 1);
		n = n * 1103515245u + 12345u;
		usleep((n >> 16) % 300);
		atomic_fetch_add(&shared->rounds, 1);
		leave_lock(&l, (int)((n >> 8) % 3));
	}
	_exit(0);
}

static void two_never_have_it(void **state)
{
	struct dotlock l;
	int status;

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			contend(i);
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(shared->rounds, PROCESSES * ROUNDS);
	assert_int_equal(shared->met, 0);
	assert_int_equal(dotlock_take(&l, dir, "mbox", LONG), 0);
	dotlock_release(&l);
	munmap(shared, sizeof(*shared));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_has_it_and_then_the_next),
		cmocka_unit_test(that_of_the_dead_is_taken_over_at_once),
		cmocka_unit_test(
		    that_of_another_program_stays_until_it_is_old),
		cmocka_unit_test(
		    who_holds_that_of_another_program_delays_it_no_more),
		cmocka_unit_test(
		    who_makes_old_ones_again_and_again_ends_the_wait),
		cmocka_unit_test(that_of_the_living_is_never_old),
		cmocka_unit_test(what_cannot_be_taken_away_is_waited_for),
		cmocka_unit_test(what_is_not_ours_any_more_is_left_alone),
		cmocka_unit_test(who_was_overtaken_waits),
		cmocka_unit_test(two_never_have_it),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
