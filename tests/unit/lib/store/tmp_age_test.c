#include <sys/stat.h>
#include <time.h>
#include "base/clock.h"
#include "fixture.h"

/* The clock is this test's (instead of lib/base/clock.c): files get their
 * times from the kernel's. */
static int64_t ahead;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * CLOCK_SECOND + ts.tv_nsec / 1000;
}

int64_t clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall(void)
{
	return read_clock(CLOCK_REALTIME) + ahead;
}

int clock_poll_ms(int64_t deadline)
{
	return deadline == CLOCK_NEVER ? -1 : 1;
}

static const struct {
	int hours_ahead;
	int64_t date;		/* of the file, as APPEND gives it */
	bool stays;
} rows[] = {
	{ 0, 0, true },
	{ 35, 0, true },	/* old mail is appended now */
	{ 37, 0, false },
	{ 37, 4000000000, false }, /* mail of the year 2096 */
};

static void what_a_crash_left_in_tmp_goes_whatever_its_date(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct timespec times[2] = { { .tv_nsec = UTIME_NOW },
			{ .tv_sec = (time_t)rows[i].date } };
		struct mailbox *mb;

		other_writes(f, "tmp/left", "half a mess");
		assert_int_equal(utimensat(f->root, "tmp/left", times, 0), 0);
		ahead = rows[i].hours_ahead * 3600 * CLOCK_SECOND;
		mb = select_mailbox(f, "INBOX");
		mailbox_close(&mb);
		ahead = 0;
		assert_int_equal(is_there(f, "tmp/left"), rows[i].stays);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_a_crash_left_in_tmp_goes_whatever_its_date,
		    fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
