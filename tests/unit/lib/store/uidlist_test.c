#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "fixture.h"
#include "store/uidlist.h"
#include "store/validity.h"

static size_t list_size(struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstatat(f->root, UIDLIST_FILE, &st, 0), 0);
	return (size_t)st.st_size;
}

static void cut_list(struct fixture *f, size_t size)
{
	int fd = openat(f->root, UIDLIST_FILE, O_RDWR);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static void add_to_list(struct fixture *f, const char *octets)
{
	int fd = openat(f->root, UIDLIST_FILE, O_WRONLY | O_APPEND);

	assert_int_equal(write(fd, octets, strlen(octets)), strlen(octets));
	close(fd);
}

/* Messages named so that their order and number is known. */
static void fill(struct fixture *f, int n)
{
	char name[60];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "cur/%d.M1P1Q1.x:2,S", 1000 + i);
		other_writes(f, name, "x\n");
	}
}

static void a_torn_tail_is_cut_and_its_uids_are_skipped(void **state)
{
	static const char *const torn[] = { "12345678 A 4 c- - - 2", "0",
		"00000000 A 4 c- - - 2000.x\n", "\n\n\n", "garbage\nmore" };
	struct fixture *f = *state;
	struct mailbox *mb;
	uint32_t validity;
	size_t size;

	fill(f, 3);
	mb = select_mailbox(f, "INBOX");
	validity = mailbox_uidvalidity(mb);
	mailbox_close(&mb);
	for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
		uint32_t next;

		add_to_list(f, torn[i]);
		mb = select_mailbox(f, "INBOX");
		assert_int_equal(mailbox_count(mb), 3);
		assert_int_equal(mailbox_uidvalidity(mb), validity);
		assert_int_equal(mailbox_get(mb, 3).uid, 3);
		next = mailbox_uidnext(mb);
		assert_true(next > 4);
		mailbox_close(&mb);
		size = list_size(f);
		mb = select_mailbox(f, "INBOX");
		assert_int_equal(mailbox_uidnext(mb), next);
		mailbox_close(&mb);
		assert_true(list_size(f) - size < 200);
	}
}

/* A hard link may lead to somebody else's file. */
static void what_has_a_second_name_is_not_written(void **state)
{
	static const char *const files[] = { UIDLIST_FILE, VALIDITY_FILE };
	struct fixture *f = *state;
	struct mailbox *mb;
	struct stat before[2], after, now;
	uint32_t validity;

	fill(f, 3);
	mb = select_mailbox(f, "INBOX");
	validity = mailbox_uidvalidity(mb);
	for (int i = 0; i < 2; i++) {
		char other[64];

		snprintf(other, sizeof(other), "other-%s", files[i]);
		assert_int_equal(linkat(f->root, files[i], f->root, other, 0),
		    0);
		assert_int_equal(fstatat(f->root, other, &before[i], 0), 0);
	}
	/* an open mailbox, one that is opened, and one that is made */
	deliver(f, "INBOX", "x\n");
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	append(f, "INBOX", "y\r\n", MAILBOX_SEEN);
	assert_int_equal(store_create(f->store, STR("a"), NULL), 0);
	append(f, "a", "y\r\n", MAILBOX_SEEN);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 5);
	assert_int_equal(mailbox_uidvalidity(mb), validity);
	mailbox_close(&mb);
	for (int i = 0; i < 2; i++) {
		char other[64];

		snprintf(other, sizeof(other), "other-%s", files[i]);
		assert_int_equal(fstatat(f->root, other, &after, 0), 0);
		assert_int_equal(after.st_ino, before[i].st_ino);
		assert_int_equal(after.st_nlink, 1);
		assert_int_equal(after.st_size, before[i].st_size);
		assert_memory_equal(&after.st_mtim, &before[i].st_mtim,
		    sizeof(after.st_mtim));
		assert_int_equal(fstatat(f->root, files[i], &now, 0), 0);
		assert_true(now.st_ino != after.st_ino);
	}
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_uidvalidity(mb), validity);
	assert_int_equal(mailbox_get(mb, 5).uid, 5);
	mailbox_close(&mb);
}

static void a_list_cut_anywhere_keeps_what_is_whole(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;
	size_t whole;
	uint32_t validity;

	fill(f, 5);
	mb = select_mailbox(f, "INBOX");
	validity = mailbox_uidvalidity(mb);
	mailbox_close(&mb);
	whole = list_size(f);
	for (size_t size = whole; size > 0; size -= size > 7 ? 7 : size) {
		uint32_t last = 0;

		cut_list(f, size);
		mb = select_mailbox(f, "INBOX");
		assert_int_equal(mailbox_count(mb), 5);
		for (uint32_t i = 1; i <= 5; i++) {
			assert_true(mailbox_get(mb, i).uid > last);
			last = mailbox_get(mb, i).uid;
		}
		assert_true(mailbox_uidnext(mb) > last);
		assert_true(mailbox_uidvalidity(mb) >= validity);
		validity = mailbox_uidvalidity(mb);
		mailbox_close(&mb);
	}
}

static void a_flipped_octet_costs_one_line(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;
	char *p;
	int fd;

	fill(f, 5);
	mb = select_mailbox(f, "INBOX");
	mailbox_close(&mb);
	fd = openat(f->root, UIDLIST_FILE, O_RDWR);
	p = calloc(1, list_size(f) + 1);
	assert_true(pread(fd, p, list_size(f), 0) > 0);
	/* Message 3's line. */
	assert_int_equal(pwrite(fd, "9", 1,
	    strstr(p, "1002.M1P1Q1") - p), 1);
	close(fd);
	free(p);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_count(mb), 5);
	assert_int_equal(mailbox_get(mb, 1).uid, 1);
	assert_int_equal(mailbox_get(mb, 3).uid, 4);
	assert_true(mailbox_get(mb, 5).uid > 5);
	mailbox_close(&mb);
}

static void a_deleted_or_wrecked_list_is_begun_with_a_higher_validity(
    void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;
	uint32_t validity = 0;

	fill(f, 2);
	for (int i = 0; i < 3; i++) {
		mb = select_mailbox(f, "INBOX");
		assert_true(mailbox_uidvalidity(mb) > validity);
		assert_int_equal(mailbox_count(mb), 2);
		validity = mailbox_uidvalidity(mb);
		mailbox_close(&mb);
		if (i == 0)
			other_removes(f, UIDLIST_FILE);
		else
			other_writes(f, UIDLIST_FILE, "nonsense\n");
	}
	assert_true(is_there(f, UIDLIST_FILE ".damaged"));
}

static void validity_survives_a_torn_slot(void **state)
{
	struct fixture *f = *state;
	struct validity v;
	uint32_t last = 0;
	int fd;

	for (int i = 0; i < 6; i++) {
		uint32_t next;

		assert_int_equal(validity_lock(f->store, &v, NULL), 0);
		next = validity_next(&v);
		assert_true(next > last);
		last = next;
		if (i % 2 == 0) {
			/* The slot that comes next is torn. */
			fd = openat(f->root, VALIDITY_FILE, O_WRONLY);
			assert_int_equal(pwrite(fd, "zzz", 3,
			    (off_t)((v.turn + 1) % 2) * 64), 3);
			close(fd);
		}
		validity_unlock(&v);
	}
}

static void a_long_list_is_compacted_under_open_sessions(void **state)
{
	struct fixture *f = *state;
	struct mailbox *a, *b;
	struct stat before, after;
	uint32_t seq = 0, changed = 0;

	fill(f, 200);
	a = select_mailbox(f, "INBOX");
	b = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_expunge(a, seqs_to(3), 3, false, NULL), 0);
	fstatat(f->root, UIDLIST_FILE, &before, 0);
	for (int i = 0; i < 12; i++)
		assert_int_equal(mailbox_store(a, seqs_to(200), 200,
		    i % 2 == 0 ? MAILBOX_ADD : MAILBOX_REMOVE,
		    MAILBOX_FLAGGED, 0, NULL), 0);
	assert_int_equal(mailbox_store(a, seqs_to(10), 10, MAILBOX_ADD,
	    MAILBOX_DRAFT, 0, NULL), 0);
	fstatat(f->root, UIDLIST_FILE, &after, 0);
	assert_true(before.st_ino != after.st_ino);
	assert_true(after.st_size < 100 * 1024);
	assert_int_equal(mailbox_refresh(b, NULL), 0);
	assert_int_equal(mailbox_count(b), 200);
	assert_true(mailbox_get(b, 1).flags & MAILBOX_GONE);
	while (mailbox_next_changed(b, &seq)) {
		assert_true(mailbox_get(b, seq).flags & MAILBOX_DRAFT);
		changed++;
	}
	assert_int_equal(changed, 7);
	mailbox_take_expunged(b, NULL, NULL);
	assert_int_equal(mailbox_count(b), 197);
	/* The old list's messages still have their files. */
	assert_int_equal(mailbox_store(b, seqs_to(5), 5, MAILBOX_ADD,
	    MAILBOX_ANSWERED, 0, NULL), 0);
	mailbox_close(&a);
	mailbox_close(&b);
	a = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_count(a), 197);
	assert_int_equal(mailbox_get(a, 1).uid, 4);
	assert_int_equal(mailbox_get(a, 1).flags & MAILBOX_STORED_FLAGS,
	    MAILBOX_SEEN | MAILBOX_DRAFT | MAILBOX_ANSWERED);
	assert_int_equal(entries(f, "tmp"), 0);
	mailbox_close(&a);
}

static void a_long_list_is_added_to_by_its_end(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;
	uint32_t uid = 0;

	for (int i = 0; i < 3500; i++) {
		char name[80];

		snprintf(name, sizeof(name), "cur/%d.M1P1Q1.host:2,S",
		    100000 + i);
		other_writes(f, name, "x\n");
	}
	mb = select_mailbox(f, "INBOX");
	assert_true(list_size(f) > 128 * 1024);
	for (int i = 1; i <= 20; i++) {
		uid = append(f, "INBOX", "new\r\n",
		    i % 2 == 0 ? MAILBOX_SEEN : 0);
		assert_int_equal(uid, 3500 + i);
		if (i == 10)
			assert_int_equal(mailbox_expunge(mb, seqs_to(10), 10,
			    false, NULL), 0);
	}
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	mailbox_take_expunged(mb, NULL, NULL);
	assert_int_equal(mailbox_count(mb), 3510);
	mailbox_close(&mb);
	/* A torn end is mended by whoever comes. */
	add_to_list(f, "12345678 A 9999 c- - - torn");
	assert_true(append(f, "INBOX", "new\r\n", 0) > uid + 1);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_count(mb), 3511);
	mailbox_close(&mb);
}

struct worker {
	struct fixture *f;
	unsigned seed;
};

/* A session of everything, in its own thread. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct mailbox *mb = select_mailbox(w->f, "INBOX");
	unsigned r = w->seed;

	for (int i = 0; i < 60; i++) {
		uint32_t n, seq;

		r = r * 1103515245 + 12345;
		assert_int_equal(mailbox_refresh(mb, NULL), 0);
		n = mailbox_count(mb);
		seq = n > 0 ? (r >> 8) % n + 1 : 0;
		switch ((r >> 24) % 6) {
		case 0:
			append(w->f, "INBOX", "x\r\n", MAILBOX_SEEN);
			break;
		case 1:
			deliver(w->f, "INBOX", "y\r\n");
			break;
		case 2:
		case 3:
			if (seq > 0)
				mailbox_store(mb, &seq, 1, MAILBOX_ADD,
				    1u << (r >> 16) % 5, 0, NULL);
			break;
		case 4:
			if (seq > 0 && n > 5)
				mailbox_expunge(mb, &seq, 1, false, NULL);
			break;
		case 5:
			mailbox_take_expunged(mb, NULL, NULL);
			break;
		}
	}
	mailbox_close(&mb);
	return NULL;
}

static void check_consistent(struct fixture *f)
{
	struct mailbox *mb = select_mailbox(f, "INBOX");
	struct mailbox_text t;
	uint32_t last = 0;

	assert_int_equal(mailbox_count(mb),
	    entries(f, "cur") + entries(f, "new"));
	for (uint32_t i = 1; i <= mailbox_count(mb); i++) {
		assert_true(mailbox_get(mb, i).uid > last);
		last = mailbox_get(mb, i).uid;
		assert_int_equal(mailbox_text_open(mb, i, &t, NULL), 0);
		mailbox_text_close(mb, &t);
	}
	assert_true(mailbox_uidnext(mb) > last);
	mailbox_close(&mb);
}

static void threads_and_processes_at_once_agree(void **state)
{
	struct fixture *f = *state;
	struct worker w[6];
	pthread_t t[3];
	pid_t pids[3];

	for (int i = 0; i < 6; i++)
		w[i] = (struct worker){ f, 1000u + (unsigned)i * 77 };
	for (int i = 0; i < 3; i++) {
		if ((pids[i] = fork()) == 0) {
			work(&w[3 + i]);
			_exit(0);
		}
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 3; i++) {
		int st;

		assert_int_equal(waitpid(pids[i], &st, 0), pids[i]);
		assert_int_equal(st, 0);
	}
	check_consistent(f);
	assert_int_equal(entries(f, "tmp"), 0);
}

static int fail_in, fail_errno;
static enum sys_op failed_op;

static int fail_at(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	if (ev->after || ev->op == SYS_CLOSE)
		return 0;
	if (--fail_in != 0)
		return 0;
	failed_op = ev->op;
	return fail_errno;
}

/* Everything a client can do; what it gets told does not matter here. */
static void do_everything(struct fixture *f)
{
	struct delivery_append a = { .flags = MAILBOX_SEEN,
		.date = DELIVERY_DATE_NOW };
	const struct str word = STR("word");
	struct mailbox_copied c;
	struct mailbox *mb = NULL;
	struct store_status st;
	struct delivery *d = NULL;
	uint32_t validity, uid;

	for (int i = 0; i < 2; i++) {
		if (delivery_open(f->store, STR("INBOX"), &d, NULL) < 0)
			continue;
		a.keywords = &word;
		a.keyword_count = (size_t)i;
		if (delivery_write(d, STR("x\r\n")) == 0)
			delivery_commit_append(&d, &a, &validity, &uid, NULL);
		delivery_abort(&d);
	}
	if (mailbox_open(f->store, STR("INBOX"), MAILBOX_READWRITE, &mb,
	    NULL) == 0 && mailbox_count(mb) >= 2) {
		struct mailbox_text t;
		uint32_t n = mailbox_count(mb);

		if (mailbox_text_open(mb, 1, &t, NULL) == 0)
			mailbox_text_close(mb, &t);
		mailbox_keyword_make(mb, STR("other"), NULL);
		mailbox_store(mb, seqs_to(n), n, MAILBOX_ADD, MAILBOX_DRAFT,
		    1, NULL);
		mailbox_store(mb, seqs_to(n), n, MAILBOX_REMOVE,
		    MAILBOX_DRAFT, 0, NULL);
		mailbox_copy(mb, seqs_to(2), 2, STR("Box"), &c, NULL);
		mailbox_expunge(mb, seqs_to(1), 1, false, NULL);
		mailbox_refresh(mb, NULL);
		mailbox_take_expunged(mb, NULL, NULL);
	}
	mailbox_close(&mb);
	store_rename(f->store, STR("Box"), STR("Tmp"), NULL);
	store_rename(f->store, STR("Tmp"), STR("Box"), NULL);
	store_delete(f->store, STR("Gone"), NULL);
	store_create(f->store, STR("Gone"), NULL);
	store_status(f->store, STR("Box"), &st, NULL);
}

static uint32_t status_of(struct fixture *f, const char *name)
{
	struct store_status st;

	assert_int_equal(store_status(f->store, str_of(name), &st, NULL), 0);
	return st.messages;
}

/* So that the next round starts as small as this one. */
static void empty(struct fixture *f, const char *name)
{
	struct mailbox *mb = select_mailbox(f, name);
	uint32_t n = mailbox_count(mb);

	assert_int_equal(mailbox_expunge(mb, seqs_to(n), n, false, NULL), 0);
	mailbox_close(&mb);
}

/* Clearing up failed as well: it waits for its 36 hours. */
static void empty_tmp(struct fixture *f)
{
	static const char *const dirs[] = { "tmp", ".Box/tmp" };
	char path[300];

	for (int i = 0; i < 2; i++) {
		while (entries(f, dirs[i]) > 0) {
			first_entry(f, dirs[i], path, sizeof(path));
			if (unlinkat(f->root, path, 0) < 0)
				assert_int_equal(maildir_remove_tree(f->root,
				    path), 0);
		}
	}
}

static void a_fault_at_any_step_leaves_it_whole(void **state)
{
	static const int errors[] = { EIO, ENOSPC };
	struct fixture *f = *state;

	store_create(f->store, STR("Box"), NULL);
	for (int e = 0; e < 2; e++) {
		for (int at = 1; at < 1000; at++) {
			fail_in = at;
			fail_errno = errors[e];
			sys_set_hook(fail_at, NULL);
			do_everything(f);
			fault_off();
			if (!is_there(f, ".Box"))
				assert_int_equal(store_rename(f->store,
				    STR("Tmp"), STR("Box"), NULL), 0);
			check_consistent(f);
			assert_int_equal(status_of(f, "Box"),
			    entries(f, ".Box/cur") + entries(f, ".Box/new"));
			if (failed_op == SYS_UNLINK ||
			    failed_op == SYS_RMDIR || failed_op == SYS_OPEN)
				empty_tmp(f);
			assert_int_equal(entries(f, ".Box/tmp"), 0);
			assert_int_equal(entries(f, "tmp"), 0);
			empty(f, "INBOX");
			empty(f, "Box");
			if (fail_in > 0)
				break;
		}
	}
}

static int steps;

static int die_at(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	if (--steps == 0) {
		/* Half a write is what a killed or unlucky process leaves. */
		if (ev->op == SYS_WRITE && !ev->after && ev->fd >= 0 &&
		    ev->octets > 20)
			(void)!pwrite(ev->fd, "deadbeef A 77 c- - -", 20,
			    lseek(ev->fd, 0, SEEK_END));
		_exit(9);
	}
	return 0;
}

/* What was told to a client before a death holds after it. */
static void a_death_at_any_step_keeps_the_promises(void **state)
{
	struct fixture *f = *state;
	uint32_t uidnext = 1, validity = 0;

	store_create(f->store, STR("Box"), NULL);
	for (int at = 1; at < 120; at++) {
		pid_t pid = fork();
		struct mailbox *mb;
		struct store_status st;
		int status;

		if (pid == 0) {
			struct mailbox_copied c;

			steps = at;
			sys_set_hook(die_at, NULL);
			mb = select_mailbox(f, "INBOX");
			append(f, "INBOX", "x\r\n", MAILBOX_SEEN);
			append(f, "INBOX", "y\r\n", 0);
			mailbox_refresh(mb, NULL);
			mailbox_store(mb, seqs_to(2), 2, MAILBOX_ADD,
			    MAILBOX_DRAFT, 0, NULL);
			mailbox_keyword_make(mb, STR("k"), NULL);
			mailbox_copy(mb, seqs_to(2), 2, STR("Box"), &c, NULL);
			mailbox_expunge(mb, seqs_to(1), 1, false, NULL);
			mailbox_close(&mb);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(store_status(f->store, STR("INBOX"), &st,
		    NULL), 0);
		assert_true(st.uidnext >= uidnext);
		assert_true(validity == 0 || st.uidvalidity == validity);
		uidnext = st.uidnext;
		validity = st.uidvalidity;
		mb = select_mailbox(f, "INBOX");
		assert_int_equal(mailbox_count(mb),
		    entries(f, "cur") + entries(f, "new"));
		mailbox_close(&mb);
		assert_int_equal(store_status(f->store, STR("Box"), &st,
		    NULL), 0);
		assert_int_equal(st.messages,
		    entries(f, ".Box/cur") + entries(f, ".Box/new"));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
    fixture_teardown)
#define FAST(name) cmocka_unit_test_setup_teardown(name, \
    fixture_setup_in_memory, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_torn_tail_is_cut_and_its_uids_are_skipped),
		TEST(what_has_a_second_name_is_not_written),
		TEST(a_list_cut_anywhere_keeps_what_is_whole),
		TEST(a_flipped_octet_costs_one_line),
		TEST(a_deleted_or_wrecked_list_is_begun_with_a_higher_validity),
		TEST(validity_survives_a_torn_slot),
		TEST(a_long_list_is_compacted_under_open_sessions),
		FAST(a_long_list_is_added_to_by_its_end),
		TEST(threads_and_processes_at_once_agree),
		FAST(a_fault_at_any_step_leaves_it_whole),
		FAST(a_death_at_any_step_keeps_the_promises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
