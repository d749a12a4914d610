/*
 * Ten thousand messages: not a gate on time (machines differ), but on what
 * is done: how often directories are read and names changed.
 */
#include <sys/stat.h>
#include "base/clock.h"
#include "fixture.h"

#define MANY 10000

static int reads;

static int count_reads(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	reads += ev->op == SYS_OPEN && !ev->after && ev->path != NULL &&
	    strcmp(ev->path, ".") == 0;
	return 0;
}

static void say(const char *what, int64_t since)
{
	print_message("%-40s %6lld us\n", what,
	    (long long)(clock_now() - since));
}

static void a_large_mailbox_is_read_once(void **state)
{
	struct fixture *f = *state;
	static uint32_t seqs[MANY];
	struct mailbox *mb;
	struct store_status st;
	int64_t t;
	uint64_t size;
	char name[80];

	assert_int_equal(store_create(f->store, STR("Big"), NULL), 0);
	for (int i = 0; i < MANY; i++) {
		seqs[i] = (uint32_t)i + 1;
		snprintf(name, sizeof(name),
		    ".Big/cur/%d.M%dP1Q1.host.example,S=2,W=3:2,S",
		    1000000 + i, i);
		other_writes(f, name, "x\n");
	}
	t = clock_now();
	mb = select_mailbox(f, "Big");
	say("select, first time", t);
	mailbox_close(&mb);
	settle();
	mb = select_mailbox(f, "Big");
	mailbox_close(&mb);
	reads = 0;
	sys_set_hook(count_reads, NULL);
	t = clock_now();
	mb = select_mailbox(f, "Big");
	say("select, warm", t);
	assert_int_equal(mailbox_count(mb), MANY);
	assert_int_equal(reads, 0);
	t = clock_now();
	for (uint32_t i = 1; i <= MANY; i++)
		assert_int_equal(mailbox_size(mb, i, &size), 0);
	say("sizes", t);
	t = clock_now();
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	say("refresh, nothing new", t);
	assert_int_equal(reads, 0);
	deliver(f, "Big", "y\r\n");
	t = clock_now();
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	say("refresh, one new", t);
	assert_int_equal(mailbox_count(mb), MANY + 1);
	assert_int_equal(reads, 1);	/* new/ only */
	t = clock_now();
	assert_int_equal(mailbox_store(mb, seqs, MANY, MAILBOX_ADD,
	    MAILBOX_FLAGGED, 0, NULL), 0);
	say("store +FLAGS", t);
	t = clock_now();
	assert_int_equal(store_status(f->store, STR("Big"), &st, NULL), 0);
	say("status", t);
	t = clock_now();
	append(f, "Big", "z\r\n", MAILBOX_SEEN);
	say("append, with what was not synced", t);
	t = clock_now();
	append(f, "Big", "z\r\n", MAILBOX_SEEN);
	say("append", t);
	t = clock_now();
	assert_int_equal(mailbox_expunge(mb, seqs, MANY, false, NULL), 0);
	say("expunge", t);
	t = clock_now();
	mailbox_take_expunged(mb, NULL, NULL);
	say("take expunged", t);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 3);
	fault_off();
	mailbox_close(&mb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_large_mailbox_is_read_once,
		    fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
