/* An operator's orders, at the moment when what they are about moves. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/sys.h"
#include "qmgr/qmgr.h"
#include "queue/commit.h"
#include "queue/operate.h"
#include "service/service.h"

#define MESSAGES 3

/* --- what the service skeleton would give ----------------------------- */

int service_dir(const char *role)
{
	(void)role;
	return -1;
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	(void)server, (void)request, (void)req, (void)reply, (void)rep;
	(void)timeout_us, (void)conv_r, (void)why_r;
	return -1;
}

/* At once: the client has said all, and shut its side down. */
int service_thread(void (*fn)(void *), void *arg)
{
	fn(arg);
	return 0;
}

void service_done(void)
{
}

/* --- a spool ---------------------------------------------------------- */

struct place {
	char path[64];
	struct qmgr qmgr;
	uint64_t *ids;
	size_t count;
	/* the next operation on that message finds it elsewhere */
	size_t moves;		/* that are to come, and one a time */
	bool moving;
	int64_t due;
	size_t renamed, durable; /* by the order, and how many are */
	size_t slips;		/* times that it goes where was looked */
	int fails;		/* the sync of that directory does, or -1 */
	bool refused;		/* the answer's end was an error */
};

static void write_message(int fd, uint64_t id)
{
	struct queue_recipient r = { .address = STR("r@x.test"),
		.nexthop = STR("[x.test]") };
	struct queue_envelope e = { .arrival = 7, .sender = STR("s@x.test"),
		.recipients = &r, .recipient_count = 1 };
	struct queue_commit *c;
	const char *why;

	assert_int_equal(queue_commit_begin(&c, fd, id, 1000), 0);
	assert_int_equal(queue_commit_append(c, STR("text\r\n")), 0);
	assert_int_equal(queue_commit(c, &e, &why), 0);
	queue_commit_end(&c);
}

static struct disk *disk;

/* Nothing here is given to the disk's threads. */
static int no_thread(void (*fn)(void *), void *arg)
{
	(void)fn, (void)arg;
	return 0;
}

static void begin(struct place *p, size_t count)
{
	const char *why;
	int *fds, dir;

	*p = (struct place){ .path = "/tmp/postern-operator-XXXXXX",
		.due = 1000, .count = count, .fails = -1 };
	p->ids = calloc(count, sizeof(*p->ids));
	fds = calloc(count, sizeof(*fds));
	assert_true(p->ids != NULL && fds != NULL);
	assert_non_null(mkdtemp(p->path));
	dir = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(queue_spool_open(&p->qmgr.spool, dir, true, false,
	    &why), 0);
	assert_int_equal(queue_spool_stock(&p->qmgr.spool, count, NULL, 0,
	    p->ids, fds), 0);
	for (size_t i = 0; i < count; i++) {
		write_message(fds[i], p->ids[i]);
		sys_close(fds[i]);
	}
	free(fds);
	assert_int_equal(registry_init(&p->qmgr.registry), 0);
	/* one for all: it lives as long as its process */
	if (disk == NULL)
		disk = disk_new(loop_new(), 1, no_thread);
	assert_non_null(disk);
	p->qmgr.disk = disk;
}

static void end(struct place *p)
{
	char *argv[] = { "rm", "-rf", p->path, NULL };
	int dir = p->qmgr.spool.dir;
	pid_t pid;

	free(p->ids);
	map_free(&p->qmgr.registry.entries, NULL);
	queue_spool_close(&p->qmgr.spool);
	close(dir);
	pid = fork();
	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static bool find(struct place *p, uint64_t id, struct queue_name *name_r)
{
	struct queue_names l = { 0 };
	const struct queue_name *name;
	char text[QUEUE_ID_SIZE];
	enum queue_place place;

	assert_int_equal(queue_names_read(&l, &p->qmgr.spool, UINT32_MAX,
	    &place), 0);
	name = queue_names_find(&l, str_of(queue_id_text(id, text)));
	if (name != NULL)
		*name_r = *name;
	queue_names_free(&l);
	return name != NULL;
}

/* As the loop does with a message whose recipients were deferred: before the
 * operator's thread opens it, it has moved. */
static int move_it(const struct sys_event *ev, void *ctx)
{
	struct place *p = ctx;
	struct queue_name name;
	char text[QUEUE_ID_SIZE];

	if (ev->after && ev->op == SYS_RENAME)
		p->renamed++;
	if (ev->after && ev->op == SYS_FSYNC &&
	    ev->fd == p->qmgr.spool.place[QUEUE_HOLD])
		p->durable = p->renamed;
	if (p->moving || p->moves == 0 || ev->after || ev->path == NULL ||
	    strstr(ev->path, queue_id_text(p->ids[1], text)) == NULL)
		return 0;
	p->moving = true;
	p->moves--;
	assert_true(find(p, p->ids[1], &name));
	assert_int_equal(queue_spool_move(&p->qmgr.spool, &name,
	    QUEUE_DEFERRED, p->due++), 0);
	p->moving = false;
	return 0;
}

/* Gives the order; how many were changed, as it is answered. */
static uint64_t give(struct place *p, const struct queue_order *ask,
    sys_hook_fn *hook)
{
	const struct msg_schema *allowed[] = { &queue_changed_schema,
		&queue_end_schema }, *got;
	union {
		struct queue_changed changed;
		struct queue_end end;
	} m;
	struct conv *client;
	const char *why;
	int pair[2];
	uint64_t said = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	client = conv_new("test", pair[0]);
	assert_int_equal(conv_send(client, &queue_order_schema, ask,
	    clock_now() + CLOCK_SECOND, &why), 0);
	assert_int_equal(shutdown(pair[0], SHUT_WR), 0);
	sys_set_hook(hook, p);
	operator_add(&p->qmgr, conv_new("operator", pair[1]));
	sys_set_hook(NULL, NULL);
	for (;;) {
		assert_int_equal(conv_recv(client, allowed, 2, &got, &m,
		    clock_now() + CLOCK_SECOND, &why), CONV_MESSAGE);
		if (got == &queue_end_schema)
			break;
		said += m.changed.ids.n;
	}
	p->refused = m.end.error.n > 0;
	if (!p->refused)
		assert_int_equal(m.end.count, said);
	assert_int_equal(m.end.missing.n, 0);
	conv_close(&client);
	return said;
}

static void what_moves_meanwhile_is_changed_where_it_stands(void **state)
{
	static const struct {
		uint64_t verb;
		size_t moves;
		bool by_id, by_site;
	} rows[] = {
		{ QUEUE_DO_HOLD, 0, false, false },
		{ QUEUE_DO_HOLD, 1, false, false },
		{ QUEUE_DO_HOLD, 1, true, false },
		{ QUEUE_DO_HOLD, 1, false, true },
		{ QUEUE_DO_HOLD, 3, false, false },
		{ QUEUE_DO_DELETE, 1, false, false },
		{ QUEUE_DO_REQUEUE, 2, true, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char texts[MESSAGES][QUEUE_ID_SIZE];
		struct str ids[MESSAGES];
		struct queue_order ask = { .verb = rows[i].verb };
		struct queue_name name;
		struct place p;

		begin(&p, MESSAGES);
		p.moves = rows[i].moves;
		for (int k = 0; k < MESSAGES; k++)
			ids[k] = str_of(queue_id_text(p.ids[k], texts[k]));
		if (rows[i].by_id)
			ask.ids = (struct strs){ ids, MESSAGES };
		if (rows[i].by_site)
			ask.site = STR("[x.test]");
		assert_int_equal(give(&p, &ask, move_it), MESSAGES);
		assert_int_equal(p.moves, 0);
		for (int k = 0; k < MESSAGES; k++) {
			bool is_there = find(&p, p.ids[k], &name);

			assert_int_equal(is_there,
			    rows[i].verb != QUEUE_DO_DELETE);
			if (is_there)
				assert_int_equal(name.place,
				    rows[i].verb == QUEUE_DO_HOLD
				    ? QUEUE_HOLD : QUEUE_DEFERRED);
		}
		end(&p);
	}
}

/* A client that asks after each packet what is durable of what it says. */
static int on_packet(const struct sys_event *ev, void *ctx)
{
	struct place *p = ctx;
	size_t before = p->renamed;

	move_it(ev, ctx);
	/* The first packet is full: it was said, and more are to come. */
	if (before == QUEUE_IDS_MAX && p->renamed == QUEUE_IDS_MAX + 1)
		assert_int_equal(p->durable, QUEUE_IDS_MAX);
	return 0;
}

static void what_is_said_is_durable(void **state)
{
	struct queue_order ask = { .verb = QUEUE_DO_HOLD };
	struct place p;

	(void)state;
	begin(&p, QUEUE_IDS_MAX + 5);
	assert_int_equal(give(&p, &ask, on_packet), QUEUE_IDS_MAX + 5);
	assert_int_equal(p.renamed, QUEUE_IDS_MAX + 5);
	assert_int_equal(p.durable, p.renamed);
	end(&p);
}

static int fail_sync(const struct sys_event *ev, void *ctx)
{
	struct place *p = ctx;

	if (!ev->after && ev->op == SYS_FSYNC && p->fails >= 0 &&
	    ev->fd == p->qmgr.spool.place[p->fails])
		return EIO;
	return move_it(ev, ctx);
}

static void what_is_not_durable_is_not_said(void **state)
{
	static const struct {
		uint64_t verb;
		int fails;
		size_t count;
	} rows[] = {
		{ QUEUE_DO_HOLD, QUEUE_HOLD, 1 },
		{ QUEUE_DO_HOLD, QUEUE_INCOMING, MESSAGES },
		{ QUEUE_DO_HOLD, QUEUE_HOLD, QUEUE_IDS_MAX + 5 },
		{ QUEUE_DO_DELETE, QUEUE_INCOMING, 1 },
		{ QUEUE_DO_REQUEUE, QUEUE_DEFERRED, MESSAGES },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct queue_order ask = { .verb = rows[i].verb };
		struct place p;

		begin(&p, rows[i].count);
		p.fails = rows[i].fails;
		assert_int_equal(give(&p, &ask, fail_sync), 0);
		assert_true(p.refused);
		end(&p);
	}
}

/* When the last directories are read, a message of theirs goes to one that
 * was read before. */
static int slip_past(const struct sys_event *ev, void *ctx)
{
	struct place *p = ctx;
	struct queue_name name;
	int hold = p->qmgr.spool.place[QUEUE_HOLD];

	if (p->slips == 0 || p->moving || ev->after || ev->op != SYS_OPEN ||
	    ev->fd != hold || strcmp(ev->path, ".") != 0)
		return 0;
	p->moving = true;
	p->slips--;
	sys_set_hook(NULL, NULL);
	assert_true(find(p, p->ids[0], &name));
	assert_int_equal(queue_spool_move(&p->qmgr.spool, &name,
	    QUEUE_DEFERRED, p->due++), 0);
	sys_set_hook(slip_past, p);
	p->moving = false;
	return 0;
}

static void what_slips_past_a_look_is_found_by_the_next(void **state)
{
	static const uint64_t verbs[] = { QUEUE_DO_DELETE, QUEUE_DO_REQUEUE,
		QUEUE_DO_EXPIRE };

	(void)state;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		char text[QUEUE_ID_SIZE];
		struct queue_order ask = { .verb = verbs[i] };
		struct queue_name name;
		struct str id;
		struct place p;

		begin(&p, 1);
		id = str_of(queue_id_text(p.ids[0], text));
		ask.ids = (struct strs){ &id, 1 };
		assert_true(find(&p, p.ids[0], &name));
		assert_int_equal(queue_spool_move(&p.qmgr.spool, &name,
		    QUEUE_HOLD, 0), 0);
		p.slips = 1;
		assert_int_equal(give(&p, &ask, slip_past), 1);
		assert_int_equal(p.slips, 0);
		end(&p);
	}
}

/* Anybody may ask for it, and those that are being read are many. */
static void a_flush_waits_for_nothing_that_is_busy(void **state)
{
	struct queue_order ask = { .verb = QUEUE_DO_FLUSH };
	int64_t began;
	struct place p;

	(void)state;
	begin(&p, MESSAGES);
	for (int k = 0; k < MESSAGES; k++) {
		struct queue_name name;

		assert_true(find(&p, p.ids[k], &name));
		assert_int_equal(queue_spool_move(&p.qmgr.spool, &name,
		    QUEUE_DEFERRED, 1000), 0);
		if (k > 0)
			assert_true(registry_claim(&p.qmgr.registry,
			    p.ids[k]));
	}
	began = clock_now();
	assert_int_equal(give(&p, &ask, move_it), 1);
	assert_true(clock_now() - began < 4 * CLOCK_SECOND);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_is_durable),
		cmocka_unit_test(what_is_not_durable_is_not_said),
		cmocka_unit_test(what_slips_past_a_look_is_found_by_the_next),
		cmocka_unit_test(a_flush_waits_for_nothing_that_is_busy),
		cmocka_unit_test(
		    what_moves_meanwhile_is_changed_where_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
