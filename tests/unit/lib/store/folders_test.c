#include <sys/stat.h>
#include "fixture.h"

static int create(struct fixture *f, const char *name)
{
	return store_create(f->store, str_of(name), NULL);
}

static int rename_to(struct fixture *f, const char *from, const char *to)
{
	return store_rename(f->store, str_of(from), str_of(to), NULL);
}

static struct store_status status(struct fixture *f, const char *name)
{
	struct store_status st;

	assert_int_equal(store_status(f->store, str_of(name), &st, NULL), 0);
	return st;
}

/* "INBOX a! a.b+" : ! no mailbox itself, + has children. */
static void check_list(struct fixture *f, const char *expected)
{
	struct arena *arena = arena_new(100000);
	struct store_entry *list;
	size_t n;
	struct buf b;

	buf_init(&b, 10000);
	assert_int_equal(store_list(f->store, arena, &list, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s" STR_FMT "%s%s", i > 0 ? " " : "",
		    STR_ARG(list[i].name), list[i].exists ? "" : "!",
		    list[i].has_children ? "+" : "");
	assert_string_equal(buf_cstr(&b), expected);
	buf_fini(&b);
	arena_free(&arena);
}

static void what_was_created_is_listed(void **state)
{
	struct fixture *f = *state;

	check_list(f, "INBOX");
	assert_int_equal(create(f, "b"), 0);
	assert_int_equal(create(f, "a.b.c"), 0);
	assert_int_equal(create(f, "Ab."), 0);
	assert_int_equal(create(f, "inbox.x"), 0);
	assert_int_equal(create(f, "b"), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(create(f, "iNBOX"), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(create(f, "../x"), -1);
	assert_int_equal(errno, EINVAL);
	assert_true(is_there(f, ".a.b.c/maildirfolder"));
	assert_true(is_there(f, ".a.b.c/new"));
	/* What is no mailbox of ours is not listed. */
	mkdirat(f->root, ".INBOX", 0700);
	mkdirat(f->root, ".x..y", 0700);
	other_writes(f, ".file", "");
	assert_int_equal(symlinkat(".b", f->root, ".link"), 0);
	check_list(f, "INBOX+ Ab INBOX.x a!+ a.b!+ a.b.c b");
	assert_int_equal(store_exists(f->store, STR("a.b"), NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(store_exists(f->store, STR("a.b.c"), NULL), 0);
	assert_int_equal(store_exists(f->store, STR("file"), NULL), -1);
	assert_int_equal(entries(f, "tmp"), 0);
}

static void delete_leaves_children_and_inbox(void **state)
{
	struct fixture *f = *state;

	create(f, "a");
	create(f, "a.b");
	append(f, "a", "x\r\n", MAILBOX_SEEN);
	assert_int_equal(store_delete(f->store, STR("a"), NULL), 0);
	check_list(f, "INBOX a!+ a.b");
	assert_int_equal(store_delete(f->store, STR("a"), NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(store_delete(f->store, STR("INBOX"), NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(entries(f, "tmp"), 0);
	assert_int_equal(store_delete(f->store, STR("a.b"), NULL), 0);
	check_list(f, "INBOX");
}

static void uidvalidity_never_repeats_for_a_name(void **state)
{
	struct fixture *f = *state;
	uint32_t last = 0, v;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(create(f, "a"), 0);
		v = status(f, "a").uidvalidity;
		assert_true(v > last);
		last = v;
		assert_int_equal(store_delete(f->store, STR("a"), NULL), 0);
	}
	/* b is older than the a that was deleted, and then takes its name. */
	create(f, "b");
	status(f, "b");
	create(f, "a");
	v = status(f, "a").uidvalidity;
	assert_true(v > status(f, "b").uidvalidity);
	append(f, "b", "x\r\n", MAILBOX_SEEN);
	store_delete(f->store, STR("a"), NULL);
	assert_int_equal(rename_to(f, "b", "a"), 0);
	assert_true(status(f, "a").uidvalidity > v);
	assert_int_equal(status(f, "a").messages, 1);
	/* A plain rename keeps it: clients keep their caches. */
	v = status(f, "a").uidvalidity;
	assert_int_equal(rename_to(f, "a", "new"), 0);
	assert_int_equal(status(f, "new").uidvalidity, v);
}

static void a_fifo_instead_of_a_file_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct arena *arena = arena_new(1 << 20);
	struct str *names;
	size_t count;

	assert_int_equal(mkfifoat(f->root, "subscriptions", 0600), 0);
	alarm(30);
	assert_int_equal(store_subscribe(f->store, STR("a"), true, NULL), -1);
	assert_int_equal(store_subscriptions(f->store, arena, &names, &count,
	    NULL), -1);
	alarm(0);
	arena_free(&arena);
}

static void rename_takes_the_children_along(void **state)
{
	struct fixture *f = *state;

	create(f, "a");
	create(f, "a.b");
	create(f, "a.b.c");
	create(f, "ab");
	append(f, "a.b", "x\r\n", 0);
	assert_int_equal(rename_to(f, "a", "x.y"), 0);
	check_list(f, "INBOX ab x!+ x.y+ x.y.b+ x.y.b.c");
	assert_int_equal(status(f, "x.y.b").messages, 1);
	/* Also of a parent that is no mailbox. */
	assert_int_equal(rename_to(f, "x", "z"), 0);
	check_list(f, "INBOX ab z!+ z.y+ z.y.b+ z.y.b.c");
}

static void a_rename_that_cannot_be_changes_nothing(void **state)
{
	static const struct { const char *from, *to; int err; } rows[] = {
		{ "a", "a.x", EINVAL },
		{ "a", "a", EINVAL },
		{ "a", "b", EEXIST },
		{ "a", "INBOX", EEXIST },
		{ "a", "../x", EINVAL },
		{ "none", "x", ENOENT },
		{ "a", "c", EEXIST },	/* a.k would become c.k */
	};
	struct fixture *f = *state;

	create(f, "a");
	create(f, "a.k");
	create(f, "b");
	create(f, "c.k");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(rename_to(f, rows[i].from, rows[i].to), -1);
		assert_int_equal(errno, rows[i].err);
		check_list(f, "INBOX a+ a.k b c!+ c.k");
	}
}

static void renaming_inbox_moves_its_messages(void **state)
{
	struct fixture *f = *state;
	struct store_status st;

	append(f, "INBOX", "x\r\n", MAILBOX_FLAGGED);
	deliver(f, "INBOX", "y\r\n");
	create(f, "INBOX.child");
	st = status(f, "INBOX");
	assert_int_equal(rename_to(f, "inbox", "old.mail"), 0);
	check_list(f, "INBOX+ INBOX.child old!+ old.mail");
	assert_int_equal(status(f, "old.mail").messages, 2);
	assert_int_equal(status(f, "INBOX").messages, 0);
	assert_int_equal(status(f, "INBOX").uidvalidity, st.uidvalidity);
	assert_true(status(f, "INBOX").uidnext >= st.uidnext);
	assert_true(status(f, "old.mail").uidvalidity != st.uidvalidity);
	assert_int_equal(rename_to(f, "INBOX", "old.mail"), -1);
	assert_int_equal(errno, EEXIST);
}

static void subscriptions_last(void **state)
{
	struct fixture *f = *state;
	struct arena *arena = arena_new(100000);
	struct str *names;
	size_t n;

	assert_int_equal(store_subscriptions(f->store, arena, &names, &n,
	    NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(store_subscribe(f->store, STR("a.b"), true, NULL), 0);
	assert_int_equal(store_subscribe(f->store, STR("inbox"), true, NULL),
	    0);
	assert_int_equal(store_subscribe(f->store, STR("a.b"), true, NULL), 0);
	assert_int_equal(store_subscribe(f->store, STR("a\nb"), true, NULL),
	    -1);
	assert_int_equal(store_subscriptions(f->store, arena, &names, &n,
	    NULL), 0);
	assert_int_equal(n, 2);
	assert_true(str_eq_c(names[0], "a.b"));
	assert_true(str_eq_c(names[1], "INBOX"));
	assert_int_equal(store_subscribe(f->store, STR("a.b"), false, NULL),
	    0);
	assert_int_equal(store_subscribe(f->store, STR("c"), false, NULL), 0);
	assert_int_equal(store_subscriptions(f->store, arena, &names, &n,
	    NULL), 0);
	assert_int_equal(n, 1);
	/* A failed write keeps the old ones. */
	fault_on(SYS_FSYNC, 1, EIO, true);
	assert_int_equal(store_subscribe(f->store, STR("d"), true, NULL), -1);
	fault_off();
	assert_int_equal(store_subscriptions(f->store, arena, &names, &n,
	    NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(entries(f, "tmp"), 0);
	arena_free(&arena);
}

static void a_failed_create_leaves_nothing(void **state)
{
	static const enum sys_op ops[] = { SYS_MKDIR, SYS_OPEN, SYS_RENAME,
		SYS_FSYNC };
	struct fixture *f = *state;

	status(f, "INBOX");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		for (int n = 1; n <= 3; n++) {
			int rc;

			fault_on(ops[i], n, EDQUOT, false);
			rc = create(f, "a");
			fault_off();
			assert_int_equal(entries(f, "tmp"), 0);
			if (is_there(f, ".a"))
				store_delete(f->store, STR("a"), NULL);
			else
				assert_int_equal(rc, -1);
		}
	}
}

static void one_session_at_a_time_has_the_maildrop(void **state)
{
	struct fixture *f = *state;
	int a = store_lock_maildrop(f->store, 0), b;

	assert_true(a >= 0);
	assert_int_equal(store_lock_maildrop(f->store, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(a);
	b = store_lock_maildrop(f->store, 0);
	assert_true(b >= 0);
	close(b);
}

static void old_files_in_tmp_are_removed(void **state)
{
	struct fixture *f = *state;
	struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	struct mailbox *mb;

	/* Its change time is new, so it is not old: times can be set. */
	other_writes(f, "tmp/fresh", "x");
	assert_int_equal(utimensat(f->root, "tmp/fresh", old, 0), 0);
	assert_int_equal(utimensat(f->root, "tmp", old, 0), 0);
	mb = select_mailbox(f, "INBOX");
	mailbox_close(&mb);
	assert_true(is_there(f, "tmp/fresh"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
    fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_created_is_listed),
		TEST(delete_leaves_children_and_inbox),
		TEST(uidvalidity_never_repeats_for_a_name),
		TEST(a_fifo_instead_of_a_file_holds_nobody_up),
		TEST(rename_takes_the_children_along),
		TEST(a_rename_that_cannot_be_changes_nothing),
		TEST(renaming_inbox_moves_its_messages),
		TEST(subscriptions_last),
		TEST(a_failed_create_leaves_nothing),
		TEST(one_session_at_a_time_has_the_maildrop),
		TEST(old_files_in_tmp_are_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
