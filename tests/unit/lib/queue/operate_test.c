#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/sys.h"
#include "queue/commit.h"
#include "queue/operate.h"

#define RCPTS 250

struct place {
	char path[64];
	struct queue_spool spool;
	uint64_t ids[3];	/* a message, a small one, a file in stock */
};

static void write_message(int fd, uint64_t id, size_t rcpts)
{
	struct queue_recipient r[RCPTS] = { 0 };
	struct queue_envelope e = { .arrival = 7, .sender = STR("s@x.test"),
		.recipients = r, .recipient_count = rcpts };
	struct queue_commit *c;
	const char *why;

	for (size_t i = 0; i < rcpts; i++)
		r[i].address = STR("r@x.test");
	r[0].original = STR("o@x.test");
	assert_int_equal(queue_commit_begin(&c, fd, id, 1000), 0);
	assert_int_equal(queue_commit_append(c, STR("text\r\n")), 0);
	assert_int_equal(queue_commit(c, &e, &why), 0);
	queue_commit_end(&c);
}

static struct place begin(void)
{
	struct place p = { .path = "/tmp/postern-operate-XXXXXX" };
	const char *why;
	int fds[3], dir;

	assert_non_null(mkdtemp(p.path));
	dir = open(p.path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(queue_spool_open(&p.spool, dir, true, false, &why),
	    0);
	assert_int_equal(queue_spool_stock(&p.spool, 3, NULL, 0, p.ids, fds),
	    0);
	write_message(fds[0], p.ids[0], RCPTS);
	write_message(fds[1], p.ids[1], 1);
	for (int i = 0; i < 3; i++)
		sys_close(fds[i]);
	return p;
}

static void end(struct place *p)
{
	char *argv[] = { "rm", "-rf", p->path, NULL };
	int dir = p->spool.dir;
	pid_t pid;

	queue_spool_close(&p->spool);
	close(dir);
	pid = fork();
	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

/* Records about a recipient, as qmgr leaves them. */
static void note(struct place *p, const struct queue_name *name,
    uint32_t recipient, enum queue_log_what what, const char *text)
{
	struct queue_log_record rec = { .recipient = recipient, .what = what,
		.status = STR("4.0.0"), .text = str_of(text) };
	int fd = queue_spool_open_file(&p->spool, name, true);
	struct queue_reader r;
	const char *why;
	struct buf b;
	uint64_t at;

	assert_true(fd >= 0);
	buf_init(&b, 4096);
	assert_int_equal(queue_reader_open_header(&r, fd, name->id, &why), 0);
	assert_int_equal(queue_log_read(fd, &r.header, NULL, NULL, &at), 0);
	assert_int_equal(queue_log_encode(name->id, &rec, &b), 0);
	assert_int_equal(queue_log_append(fd, buf_str(&b), &at), 0);
	buf_fini(&b);
	sys_close(fd);
}

static void names_come_by_age_and_are_found(void **state)
{
	struct place p = begin();
	struct queue_name name = { .id = p.ids[0] };
	struct queue_names l = { 0 };
	char text[QUEUE_ID_SIZE];
	enum queue_place place;

	(void)state;
	/* in another directory, and still the oldest */
	assert_int_equal(queue_spool_move(&p.spool, &name, QUEUE_HOLD, 0), 0);
	assert_int_equal(queue_names_read(&l, &p.spool, UINT32_MAX, &place),
	    0);
	assert_int_equal(l.n, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(l.v[i].id, p.ids[i]);
	assert_int_equal(queue_names_find(&l, str_of(queue_id_text(p.ids[0],
	    text)))->place, QUEUE_HOLD);
	assert_null(queue_names_find(&l, STR("ABC")));
	assert_null(queue_names_find(&l, STR("no id")));
	queue_names_free(&l);
	assert_int_equal(queue_names_read(&l, &p.spool,
	    QUEUE_PLACE_BIT(QUEUE_HOLD), &place), 0);
	assert_int_equal(l.n, 1);
	queue_names_free(&l);
	end(&p);
}

static void who_is_done_is_not_shown_and_the_others_come_in_parts(void **state)
{
	struct place p = begin();
	struct queue_name name = { .id = p.ids[0] };
	struct arena *a = arena_new(1 << 20);
	struct queue_listed_part part;
	struct queue_listed l;
	size_t at = 0, sum = 0, parts = 0;

	(void)state;
	note(&p, &name, 0, QUEUE_LOG_DEFERRED, "busy");
	note(&p, &name, 1, QUEUE_LOG_SENT, "ok");
	note(&p, &name, 2, QUEUE_LOG_FAILED, "never");
	assert_int_equal(queue_listed_read(&l, &p.spool, &name, a), 0);
	assert_false(l.expired);
	assert_int_equal(l.reader.envelope.arrival, 7);
	do {
		queue_listed_next(&l, &at, &part);
		assert_true(part.n <= QUEUE_LISTED_RCPTS);
		if (parts++ == 0) {
			assert_true(str_eq_c(part.reasons[0], "busy"));
			assert_true(str_eq_c(part.originals[0], "o@x.test"));
			assert_true(str_eq_c(part.reasons[1], "never"));
		}
		sum += part.n;
	} while (part.more);
	assert_int_equal(sum, RCPTS - 1);
	assert_int_equal(parts, 3);
	arena_free(&a);
	end(&p);
}

static void a_file_in_stock_is_no_message(void **state)
{
	struct place p = begin();
	struct queue_name name = { .id = p.ids[2] };
	struct arena *a = arena_new(1 << 20);
	struct queue_listed l;
	struct stat st;

	(void)state;
	assert_int_equal(queue_listed_read(&l, &p.spool, &name, a), -1);
	assert_int_equal(queue_change(&p.spool, &name, false,
	    QUEUE_PLACE_COUNT), -1);
	assert_int_equal(queue_change(&p.spool, &name, false, QUEUE_HOLD), -1);
	assert_int_equal(queue_spool_stat(&p.spool, &name, &st), 0);
	arena_free(&a);
	end(&p);
}

static void a_message_is_moved_expired_and_deleted(void **state)
{
	struct place p = begin();
	struct queue_name name = { .id = p.ids[1] };
	struct arena *a = arena_new(1 << 20);
	struct queue_listed l;
	struct stat st;

	(void)state;
	assert_int_equal(queue_change(&p.spool, &name, false, QUEUE_HOLD), 0);
	assert_int_equal(name.place, QUEUE_HOLD);
	assert_int_equal(queue_change(&p.spool, &name, true, QUEUE_DEFERRED),
	    0);
	assert_int_equal(name.place, QUEUE_DEFERRED);
	assert_int_equal(name.due, 0);
	assert_int_equal(queue_listed_read(&l, &p.spool, &name, a), 0);
	assert_true(l.expired);
	assert_int_equal(queue_change(&p.spool, &name, false,
	    QUEUE_PLACE_COUNT), 0);
	assert_int_equal(queue_spool_stat(&p.spool, &name, &st), -1);
	assert_int_equal(queue_change(&p.spool, &name, false, QUEUE_HOLD), -1);
	arena_free(&a);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_come_by_age_and_are_found),
		cmocka_unit_test(
		    who_is_done_is_not_shown_and_the_others_come_in_parts),
		cmocka_unit_test(a_file_in_stock_is_no_message),
		cmocka_unit_test(a_message_is_moved_expired_and_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
