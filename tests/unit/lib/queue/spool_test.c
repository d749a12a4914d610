#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/sys.h"
#include "queue/commit.h"
#include "queue/done.h"
#include "queue/spool.h"

struct place {
	char path[64];
	int dir;
	struct queue_spool spool;
};

static struct place begin(void)
{
	struct place p = { .path = "/tmp/postern-spool-XXXXXX" };
	const char *why;

	assert_non_null(mkdtemp(p.path));
	p.dir = open(p.path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(queue_spool_open(&p.spool, p.dir, true, false, &why),
	    0);
	return p;
}

static void end(struct place *p)
{
	char *argv[] = { "rm", "-rf", p->path, NULL };
	pid_t pid;

	queue_spool_close(&p->spool);
	close(p->dir);
	pid = fork();
	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static void an_id_is_never_given_twice(void **state)
{
	struct place p = begin();
	uint64_t ids[3], before = 0;
	int fds[3];
	const char *why;

	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(queue_spool_stock(&p.spool, 3, NULL, 0, ids, fds), 0);
		for (int k = 0; k < 3; k++) {
			struct queue_name name = { .id = ids[k] };

			assert_true(ids[k] > before);
			before = ids[k];
			close(fds[k]);
			assert_int_equal(queue_spool_release(&p.spool, &name),
			    0);
		}
		queue_spool_close(&p.spool);
		assert_int_equal(queue_spool_open(&p.spool, p.dir, true,
		    false, &why), 0);
	}
	end(&p);
}

static void without_the_id_file_the_names_tell(void **state)
{
	struct place p = begin();
	uint64_t high = UINT64_C(0xFF0000000000) + 5, id;
	const char *why;
	int fd;

	(void)state;
	fd = openat(p.spool.place[QUEUE_HOLD], "FF0000000005",
	    O_CREAT | O_RDWR, 0600);
	close(fd);
	queue_spool_close(&p.spool);
	assert_int_equal(queue_spool_open(&p.spool, p.dir, true, false, &why),
	    0);
	assert_int_equal(queue_spool_stock(&p.spool, 1, NULL, 0, &id, &fd), 0);
	assert_true(id > high);
	close(fd);
	end(&p);
}

static void a_second_owner_is_turned_away(void **state)
{
	struct place p = begin();
	struct queue_spool other;
	const char *why;

	(void)state;
	assert_int_equal(queue_spool_open(&other, p.dir, true, false, &why),
	    -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_int_equal(queue_spool_open(&other, p.dir, false, false, &why),
	    0);
	queue_spool_close(&other);
	end(&p);
}

static void a_file_that_somebody_holds_is_seen(void **state)
{
	struct place p = begin();
	struct queue_name name = { .place = QUEUE_INCOMING };
	int fd, mine;

	(void)state;
	assert_int_equal(queue_spool_stock(&p.spool, 1, NULL, 0, &name.id, &fd), 0);
	mine = queue_spool_open_file(&p.spool, &name, true);
	assert_true(mine >= 0);
	assert_false(queue_is_unheld(mine));
	assert_int_equal(errno, EAGAIN);
	close(fd);
	assert_true(queue_is_unheld(mine));
	close(mine);
	end(&p);
}

static int count_names(const struct queue_name *name, const char *file,
    void *ctx)
{
	(void)file;
	if (name->id != 0)
		++*(int *)ctx;
	return 0;
}

static void a_queue_run_reads_only_what_is_due(void **state)
{
	struct place p = begin();
	struct queue_name names[3];
	int64_t dues[8];
	int fd, n = 0;

	(void)state;
	for (int i = 0; i < 3; i++) {
		names[i] = (struct queue_name){ .place = QUEUE_INCOMING };
		assert_int_equal(queue_spool_stock(&p.spool, 1, NULL, 0, &names[i].id,
		    &fd), 0);
		close(fd);
		assert_int_equal(queue_spool_move(&p.spool, &names[i],
		    QUEUE_DEFERRED, queue_due_bucket(1000 * (i + 1), 64)), 0);
		assert_int_equal(queue_spool_sync(&p.spool, &names[i]), 0);
	}
	assert_int_equal(queue_spool_dues(&p.spool, dues, 8), 3);
	assert_int_equal(queue_spool_scan(&p.spool, QUEUE_DEFERRED, 2100,
	    count_names, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(queue_spool_release(&p.spool, &names[0]), 0);
	queue_spool_drop_due(&p.spool, names[0].due);
	queue_spool_drop_due(&p.spool, names[1].due); /* not empty: stays */
	assert_int_equal(queue_spool_dues(&p.spool, dues, 8), 2);
	end(&p);
}

/* QF-011, QF-012, QF-013, QF-014 */
static void what_is_no_plain_file_is_left_alone(void **state)
{
	struct place p = begin();
	struct queue_name name = { .place = QUEUE_INCOMING };
	int in = p.spool.place[QUEUE_INCOMING], n = 0;

	(void)state;
	assert_int_equal(mkfifoat(in, "A1", 0600), 0);
	assert_int_equal(symlinkat("/etc/passwd", in, "A2"), 0);
	close(openat(in, "A3", O_CREAT | O_RDWR, 0600));
	assert_int_equal(linkat(in, "A3", in, "A4", 0), 0);
	assert_int_equal(mkdirat(in, "A5", 0700), 0);
	close(openat(in, "a6", O_CREAT | O_RDWR, 0600));
	close(openat(in, "A7\n", O_CREAT | O_RDWR, 0600));
	for (uint64_t id = 0xA1; id <= 0xA5; id++) {
		name.id = id;
		assert_int_equal(queue_spool_open_file(&p.spool, &name,
		    false), -1);
		assert_int_equal(errno, EBADMSG);
	}
	assert_int_equal(queue_spool_scan(&p.spool, QUEUE_INCOMING, 0,
	    count_names, &n), 0);
	assert_int_equal(n, 5);
	end(&p);
}

/* As btrfs leaves them when the power goes after a rename. */
static void of_two_names_of_a_message_one_goes(void **state)
{
	static const struct row {
		struct queue_name stays, goes;
	} rows[] = {
		{ { 0, QUEUE_DEFERRED, 640 }, { 0, QUEUE_INCOMING, 0 } },
		{ { 0, QUEUE_DEFERRED, 0 }, { 0, QUEUE_DEFERRED, 640 } },
		{ { 0, QUEUE_DEFERRED, 640 }, { 0, QUEUE_DEFERRED, 704 } },
		{ { 0, QUEUE_HOLD, 0 }, { 0, QUEUE_DEFERRED, 0 } },
		{ { 0, QUEUE_CORRUPT, 0 }, { 0, QUEUE_HOLD, 0 } },
	};
	struct place p = begin();

	(void)state;
	assert_int_equal(queue_spool_settle(&p.spool), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct queue_name at = { .place = QUEUE_INCOMING };
		struct queue_name stays = rows[i].stays, goes = rows[i].goes;
		int in = p.spool.place[QUEUE_INCOMING], fd;
		char text[QUEUE_ID_SIZE];
		struct stat st;

		assert_int_equal(queue_spool_stock(&p.spool, 1, NULL, 0,
		    &at.id, &fd), 0);
		close(fd);
		stays.id = goes.id = at.id;
		queue_id_text(at.id, text);
		assert_int_equal(linkat(in, text, p.dir, "other", 0), 0);
		assert_int_equal(queue_spool_move(&p.spool, &at, stays.place,
		    stays.due), 0);
		/* back in incoming/, and on to where it is to go */
		assert_int_equal(renameat(p.dir, "other", in, text), 0);
		at.place = QUEUE_INCOMING;
		if (goes.place != QUEUE_INCOMING)
			assert_int_equal(queue_spool_move(&p.spool, &at,
			    goes.place, goes.due), 0);
		assert_int_equal(queue_spool_settle(&p.spool), 1);
		assert_int_equal(queue_spool_settle(&p.spool), 0);
		assert_int_equal(queue_spool_stat(&p.spool, &goes, &st), -1);
		fd = queue_spool_open_file(&p.spool, &stays, true);
		assert_true(fd >= 0);
		close(fd);
	}
	end(&p);
}

/* Two files, or two messages: nobody's business. */
static void other_links_are_left_alone(void **state)
{
	struct place p = begin();
	int in = p.spool.place[QUEUE_INCOMING];
	int hold = p.spool.place[QUEUE_HOLD];

	(void)state;
	close(openat(in, "A1", O_CREAT | O_RDWR, 0600));
	close(openat(hold, "A1", O_CREAT | O_RDWR, 0600));
	assert_int_equal(linkat(in, "A1", in, "A2", 0), 0);
	assert_int_equal(queue_spool_settle(&p.spool), 0);
	end(&p);
}

static void ids_are_read_as_they_are_written(void **state)
{
	static const struct { const char *text; int ok; } rows[] = {
		{ "6925B1F30001", 1 }, { "1", 1 }, { "FFFFFFFFFFFFFFFF", 1 },
		{ "", 0 }, { "0", 0 }, { "01", 0 }, { "6925b1", 0 },
		{ "6925B1F3000G", 0 }, { "../x", 0 }, { "A\n", 0 },
		{ "10000000000000000", 0 }, { "-1", 0 }, { " 1", 0 },
	};
	char out[QUEUE_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t id = 0;
		int rc = queue_id_parse(str_of(rows[i].text), &id);

		assert_int_equal(rc, rows[i].ok ? 0 : -1);
		if (rows[i].ok)
			assert_string_equal(queue_id_text(id, out),
			    rows[i].text);
	}
}

struct sum {
	size_t count;
	uint64_t ids, recipients;
};

static void add_up(uint64_t id, uint32_t recipient, enum queue_log_what what,
    int64_t when, void *ctx)
{
	struct sum *s = ctx;

	(void)when;
	assert_int_equal(what, QUEUE_LOG_SENT);
	s->count++;
	s->ids += id;
	s->recipients += recipient;
}

static int settle(void *ctx)
{
	++*(int *)ctx;
	return 0;
}

static void the_done_log_keeps_what_was_synced(void **state)
{
	struct place p = begin();
	struct queue_done *d = queue_done_open(p.dir, 4096);
	struct sum s = { 0 };

	(void)state;
	assert_non_null(d);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(queue_done_add(d, 100 + i, i, QUEUE_LOG_SENT,
		    7), 0);
	assert_int_equal(queue_done_sync(d, NULL, NULL), 0);
	queue_done_add(d, 999, 1, QUEUE_LOG_SENT, 7); /* never synced */
	queue_done_close(&d);
	d = queue_done_open(p.dir, 1 << 20);
	assert_non_null(d);
	queue_done_read(d, add_up, &s);
	assert_int_equal(s.count, 10);
	assert_int_equal(s.ids, 1045);
	assert_int_equal(s.recipients, 45);
	queue_done_close(&d);
	end(&p);
}

static void a_full_area_carries_over_only_the_living(void **state)
{
	struct place p = begin();
	struct queue_done *d = queue_done_open(p.dir, 4096);
	int settled = 0;

	(void)state;
	queue_done_add(d, 1, 3, QUEUE_LOG_SENT, 7);
	for (uint64_t id = 2; id < 2000; id++) {
		struct sum s = { 0 };

		assert_int_equal(queue_done_add(d, id, 0, QUEUE_LOG_SENT, 7),
		    0);
		assert_int_equal(queue_done_sync(d, settle, &settled), 0);
		queue_done_forget(d, id);
		if (id % 97 != 0)
			continue;
		queue_done_close(&d);
		d = queue_done_open(p.dir, 4096);
		assert_non_null(d);
		queue_done_read(d, add_up, &s);
		assert_int_equal(s.recipients, 3);
		for (uint64_t k = 2; k <= id; k++)
			queue_done_forget(d, k);
	}
	assert_true(settled > 10);
	queue_done_close(&d);
	end(&p);
}

/* Refuses every operation from the nth on, as a disk that went away. */
static int refuse_from(const struct sys_event *e, void *ctx)
{
	return !e->after && e->op != SYS_CLOSE && (*(int *)ctx)-- <= 0 ? EIO :
	    0;
}

/* 300 results of messages that are not over, eight a sync, in areas of 32;
 * gives how many were synced. */
static uint32_t record_many(struct queue_done *d)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < 300; i++) {
		assert_int_equal(queue_done_add(d, 1 + i % 3, i,
		    QUEUE_LOG_SENT, 7), 0);
		if (i % 8 == 7) {
			if (queue_done_sync(d, NULL, NULL) < 0)
				return n;
			n = i + 1;
		}
	}
	return n;
}

static void a_done_log_of_many_living_results_grows(void **state)
{
	int at = 0, countdown;
	uint32_t synced = 0;

	(void)state;
	/* Whole, and cut short at each operation: nothing that was synced is
	 * lost, and the file that was being made does not stay. */
	do {
		struct place p = begin();
		struct queue_done *d = queue_done_open(p.dir, 1024);
		struct sum s = { 0 };

		assert_non_null(d);
		countdown = at++;
		sys_set_hook(refuse_from, &countdown);
		synced = record_many(d);
		sys_set_hook(NULL, NULL);
		queue_done_close(&d);
		d = queue_done_open(p.dir, 1024);
		assert_non_null(d);
		queue_done_read(d, add_up, &s);
		assert_true(s.count >= synced && s.count <= synced + 8);
		assert_true(s.recipients >= synced * (synced - 1) / 2);
		assert_int_equal(faccessat(p.dir, "done.new", F_OK, 0), -1);
		/* And it goes on. */
		assert_int_equal(queue_done_add(d, 9, 1, QUEUE_LOG_SENT, 7),
		    0);
		assert_int_equal(queue_done_sync(d, NULL, NULL), 0);
		queue_done_close(&d);
		end(&p);
	} while (synced < 296);
	assert_true(at > 80);
}

static void a_torn_record_ends_the_done_log(void **state)
{
	struct place p = begin();
	struct queue_done *d = queue_done_open(p.dir, 4096);
	struct sum s = { 0 };
	int fd = openat(p.dir, "done", O_RDWR);

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		queue_done_add(d, 10, i, QUEUE_LOG_SENT, 7);
	queue_done_sync(d, NULL, NULL);
	queue_done_close(&d);
	/* record 0 of the area is its own, so this is recipient 2 */
	assert_int_equal(pwrite(fd, "?", 1, 32 * 3 + 9), 1);
	d = queue_done_open(p.dir, 4096);
	queue_done_read(d, add_up, &s);
	assert_int_equal(s.count, 2);
	queue_done_close(&d);
	close(fd);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_never_given_twice),
		cmocka_unit_test(without_the_id_file_the_names_tell),
		cmocka_unit_test(a_second_owner_is_turned_away),
		cmocka_unit_test(a_file_that_somebody_holds_is_seen),
		cmocka_unit_test(a_queue_run_reads_only_what_is_due),
		cmocka_unit_test(what_is_no_plain_file_is_left_alone),
		cmocka_unit_test(of_two_names_of_a_message_one_goes),
		cmocka_unit_test(other_links_are_left_alone),
		cmocka_unit_test(ids_are_read_as_they_are_written),
		cmocka_unit_test(the_done_log_keeps_what_was_synced),
		cmocka_unit_test(a_full_area_carries_over_only_the_living),
		cmocka_unit_test(a_done_log_of_many_living_results_grows),
		cmocka_unit_test(a_torn_record_ends_the_done_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
