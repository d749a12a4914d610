#include <pthread.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "fixture.h"
#include "store/dirsync.h"

static void line_ends_become_lf_at_any_cut(void **state)
{
	static const struct { const char *in, *file, *sizes; } rows[] = {
		{ "a\r\nb\r\n", "a\nb\n", ",S=4,W=6" },
		{ "a\nb\n", "a\nb\n", ",S=4,W=6" },
		{ "a\r\n\r\n.\r\nb", "a\n\n.\nb\n", ",S=7,W=11" },
		{ "a\rb\r\r\nc\r", "a\rb\r\nc\n", ",S=7,W=8" },
		{ "", "", ",S=0,W=0" },
	};
	struct fixture *f = *state;
	char path[300], got[100];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t cut = 1; cut <= 8; cut++) {
			struct delivery *d;
			struct str in = str_of(rows[i].in);
			ssize_t n;
			int fd;

			assert_int_equal(delivery_open(f->store,
			    STR("INBOX"), &d, NULL), 0);
			for (; in.n > 0; in = str_from(in, cut))
				assert_int_equal(delivery_write(d,
				    str_sub(in, 0, cut)), 0);
			assert_int_equal(delivery_commit(&d, NULL), 0);
			first_entry(f, "new", path, sizeof(path));
			assert_non_null(strstr(path, rows[i].sizes));
			fd = openat(f->root, path, O_RDONLY);
			n = read(fd, got, sizeof(got));
			close(fd);
			assert_int_equal(n, strlen(rows[i].file));
			assert_memory_equal(got, rows[i].file, (size_t)n);
			other_removes(f, path);
		}
	}
	assert_int_equal(entries(f, "tmp"), 0);
}

static void a_large_message_is_whole(void **state)
{
	struct fixture *f = *state;
	struct delivery *d;
	struct stat st;
	char path[300];

	assert_int_equal(delivery_open(f->store, STR("INBOX"), &d, NULL), 0);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(delivery_write(d,
		    STR("0123456789012345678901234567890\r\n")), 0);
	assert_int_equal(delivery_wire_size(d), 20000 * 33);
	assert_int_equal(delivery_commit(&d, NULL), 0);
	first_entry(f, "new", path, sizeof(path));
	assert_int_equal(fstatat(f->root, path, &st, 0), 0);
	assert_int_equal(st.st_size, 20000 * 32);
}

static void every_failed_step_leaves_nothing(void **state)
{
	static const struct { enum sys_op op; int err; } rows[] = {
		{ SYS_OPEN, EMFILE }, { SYS_WRITE, ENOSPC },
		{ SYS_WRITE, EDQUOT }, { SYS_FSYNC, EIO },
		{ SYS_RENAME, EIO }, { SYS_RENAME, EDQUOT },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int n = 1; n <= 6; n++) {
			struct delivery *d = NULL;
			const char *why = NULL;
			int rc;

			fault_on(rows[i].op, n, rows[i].err, true);
			rc = delivery_open(f->store, STR("INBOX"), &d, &why);
			if (rc == 0)
				rc = delivery_write(d, STR("x\r\n"));
			if (rc == 0)
				rc = delivery_commit(&d, &why);
			else
				delivery_abort(&d);
			fault_off();
			assert_int_equal(entries(f, "tmp"), 0);
			if (rc < 0)
				assert_int_equal(entries(f, "new"), 0);
			else
				while (entries(f, "new") > 0) {
					char path[300];

					first_entry(f, "new", path,
					    sizeof(path));
					other_removes(f, path);
				}
		}
	}
}

static void a_full_disk_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	char path[300];
	struct store *s = NULL;
	struct delivery *d = NULL;
	int root, rc = 0;

	snprintf(path, sizeof(path), "%s/small", f->path);
	assert_int_equal(mkdir(path, 0700), 0);
	if (mount("none", path, "tmpfs", 0, "size=256k") < 0) {
		skip();		/* not root */
		return;
	}
	root = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(store_open(root, STR("h"), true, &s, NULL), 0);
	assert_int_equal(delivery_open(s, STR("INBOX"), &d, NULL), 0);
	for (int i = 0; i < 20000 && rc == 0; i++)
		rc = delivery_write(d, STR("0123456789012345678901234\r\n"));
	if (rc == 0)
		rc = delivery_commit(&d, NULL);
	assert_int_equal(rc, -1);
	assert_int_equal(errno, ENOSPC);
	delivery_abort(&d);
	assert_int_equal(entries(f, "small/tmp"), 0);
	assert_int_equal(entries(f, "small/new"), 0);
	/* And there is room for a small one. */
	assert_int_equal(delivery_open(s, STR("INBOX"), &d, NULL), 0);
	assert_int_equal(delivery_write(d, STR("small\r\n")), 0);
	assert_int_equal(delivery_commit(&d, NULL), 0);
	assert_int_equal(entries(f, "small/new"), 1);
	store_close(&s);
	close(root);
	umount2(path, MNT_DETACH);
}

static atomic_int dir_syncs;
static atomic_bool slow;

static int count_syncs(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	if (ev->op == SYS_FSYNC && !ev->after) {
		atomic_fetch_add(&dir_syncs, 1);
		/* The first one goes on until the others wait for it. */
		if (atomic_exchange(&slow, false))
			usleep(100 * 1000);
	}
	return 0;
}

static void *sync_dir(void *arg)
{
	struct fixture *f = arg;

	return (void *)(intptr_t)dirsync(f->root);
}

static void threads_share_a_directory_sync(void **state)
{
	struct fixture *f = *state;
	pthread_t t[32];
	void *rc;

	atomic_store(&dir_syncs, 0);
	atomic_store(&slow, true);
	sys_set_hook(count_syncs, NULL);
	for (int i = 0; i < 32; i++)
		assert_int_equal(pthread_create(&t[i], NULL, sync_dir, f), 0);
	for (int i = 0; i < 32; i++) {
		pthread_join(t[i], &rc);
		assert_int_equal((intptr_t)rc, 0);
	}
	fault_off();
	assert_true(atomic_load(&dir_syncs) >= 1);
	assert_true(atomic_load(&dir_syncs) < 32);
}

static void *deliver_many(void *arg)
{
	for (int i = 0; i < 25; i++)
		deliver(arg, "INBOX", "Subject: x\r\n\r\nbody\r\n");
	return NULL;
}

static void threads_deliver_at_once_and_none_is_lost(void **state)
{
	struct fixture *f = *state;
	pthread_t t[8];

	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, deliver_many, f),
		    0);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(entries(f, "new"), 200);
	assert_int_equal(entries(f, "tmp"), 0);
}

static void a_missing_mailbox_is_told(void **state)
{
	struct fixture *f = *state;
	struct delivery *d = NULL;
	const char *why = NULL;

	assert_int_equal(delivery_open(f->store, STR("Nope"), &d, &why), -1);
	assert_int_equal(errno, ENOENT);
	assert_non_null(why);
	assert_null(d);
}

static void a_symbolic_link_is_not_followed(void **state)
{
	struct fixture *f = *state;
	struct delivery *d = NULL;

	assert_int_equal(symlinkat("/tmp", f->root, ".Evil"), 0);
	assert_int_equal(delivery_open(f->store, STR("Evil"), &d, NULL), -1);
	assert_int_equal(errno, ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
    fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(line_ends_become_lf_at_any_cut),
		TEST(a_large_message_is_whole),
		TEST(every_failed_step_leaves_nothing),
		TEST(a_full_disk_leaves_nothing),
		TEST(threads_share_a_directory_sync),
		TEST(threads_deliver_at_once_and_none_is_lost),
		TEST(a_missing_mailbox_is_told),
		TEST(a_symbolic_link_is_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
