#include "fixture.h"
#include <string.h>
#include <sys/stat.h>
#include "store/inboxes.h"

#define MOST 2

static struct inboxes *all;

static int setup(void **state)
{
	all = inboxes_new(STR("host.test"), MOST);
	return all != NULL ? fixture_setup(state) : -1;
}

static int teardown(void **state)
{
	inboxes_free(&all);
	return fixture_teardown(state);
}

static void make_user(struct fixture *f, const char *name)
{
	assert_int_equal(mkdirat(f->root, name, 0700), 0);
}

static struct inbox *opened(struct fixture *f, const char *path)
{
	int dir = openat(f->root, path, O_RDONLY | O_DIRECTORY);
	struct inbox *in;

	assert_true(dir >= 0);
	in = inboxes_open(all, f->root, path, dir, NULL);
	close(dir);
	assert_non_null(in);
	return in;
}

static void put(struct inbox *in)
{
	struct delivery *d;

	assert_int_equal(inbox_delivery_open(in, &d, NULL), 0);
	assert_int_equal(delivery_write(d, STR("a: b\n\nc\n")), 0);
	assert_int_equal(delivery_commit(&d, NULL), 0);
}

static void a_mailbox_stays_open_and_delivers(void **state)
{
	struct fixture *f = *state;
	struct inbox *in, *again;

	make_user(f, "anna");
	assert_null(inboxes_find(all, f->root, "anna"));
	in = opened(f, "anna");
	put(in);
	again = inboxes_find(all, f->root, "anna");
	assert_ptr_equal(again, in);
	put(again);
	inbox_release(&in, true);
	inbox_release(&again, true);
	assert_int_equal(entries(f, "anna/new"), 2);
	assert_int_equal(entries(f, "anna/tmp"), 0);
	in = inboxes_find(all, f->root, "anna");
	assert_non_null(in);
	inbox_release(&in, false);
	assert_null(inboxes_find(all, f->root, "anna"));
}

static void one_that_was_replaced_is_not_used(void **state)
{
	struct fixture *f = *state;
	static const char *const changes[] = { "moved", "removed", "link" };

	for (size_t i = 0; i < 3; i++) {
		char name[16], fresh[32];
		struct inbox *in;

		snprintf(name, sizeof(name), "user%zu", i);
		snprintf(fresh, sizeof(fresh), "%s/new", name);
		make_user(f, name);
		in = opened(f, name);
		inbox_release(&in, true);
		if (strcmp(changes[i], "removed") == 0)
			assert_int_equal(unlinkat(f->root, fresh,
			    AT_REMOVEDIR), 0);
		else
			assert_int_equal(renameat(f->root, fresh, f->root,
			    changes[i]), 0);
		if (strcmp(changes[i], "link") == 0)
			assert_int_equal(symlinkat("../link", f->root, fresh),
			    0);
		assert_null(inboxes_find(all, f->root, name));
		/* nor is it found when a new one stands there */
		if (strcmp(changes[i], "link") == 0)
			assert_int_equal(unlinkat(f->root, fresh, 0), 0);
		in = opened(f, name);
		put(in);
		inbox_release(&in, true);
		assert_int_equal(entries(f, fresh), 1);
	}
	assert_int_equal(entries(f, "moved"), 0);
}

static void without_its_tmp_the_delivery_says_so(void **state)
{
	struct fixture *f = *state;
	struct delivery *d = NULL;
	struct inbox *in;

	make_user(f, "anna");
	in = opened(f, "anna");
	assert_int_equal(unlinkat(f->root, "anna/tmp", AT_REMOVEDIR), 0);
	assert_int_equal(inbox_delivery_open(in, &d, NULL), -1);
	assert_int_equal(errno, ENOENT);
	inbox_release(&in, false);
	in = opened(f, "anna");	/* makes it again */
	put(in);
	inbox_release(&in, true);
}

static void the_longest_unused_gives_way(void **state)
{
	struct fixture *f = *state;
	struct inbox *a, *b, *c;

	make_user(f, "a");
	make_user(f, "b");
	make_user(f, "c");
	a = opened(f, "a");
	b = opened(f, "b");
	inbox_release(&b, true);
	b = inboxes_find(all, f->root, "a");	/* b is the oldest */
	inbox_release(&b, true);
	c = opened(f, "c");
	assert_null(inboxes_find(all, f->root, "b"));
	put(a);
	inbox_release(&a, true);
	inbox_release(&c, true);
	a = inboxes_find(all, f->root, "a");
	c = inboxes_find(all, f->root, "c");
	assert_non_null(a);
	assert_non_null(c);
	b = opened(f, "b");	/* pushes `a` out, which is in use */
	assert_null(inboxes_find(all, f->root, "a"));
	put(a);
	inbox_release(&a, true);
	inbox_release(&b, true);
	inbox_release(&c, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(a_mailbox_stays_open_and_delivers),
		T(one_that_was_replaced_is_not_used),
		T(without_its_tmp_the_delivery_says_so),
		T(the_longest_unused_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
