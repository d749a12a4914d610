/*
 * serve_qmgr.c - qmgr, between honest neighbours and one that was taken over
 *
 * The spool is real, in memory; its disk threads and the clock move as the
 * input says. An honest cleanup commits messages, honest agents deliver them,
 * and one of cleanup, local, smtp, bounce and pickup says what it likes, of
 * the others' messages too.
 *
 * What is not the hostile program's to deliver stays: its file is whole until
 * its own agent has settled it, no two agents have it at a time, none that is
 * not its own, and when the hostile one is gone all of it is delivered, once.
 * At the end nothing is left in memory.
 */
#include <signal.h>
#include "base/clock.h"
#include "msgs/agent.h"
#include "msgs/lookup.h"
#include "msgs/queue.h"
#include "qmgr/core.h"
#include "tests/fuzz/fakes/disk.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/qmgr.h"
#include "tests/fuzz/fakes/serve.h"

#define ACTIONS 100

static struct params params;
struct qmgr qmgr;

/* --- an honest operator ------------------------------------------------ */

static void hear_operator(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	(void)c;
	(void)schema;
	(void)msg;
}

static void order(uint64_t verb, uint64_t where, uint64_t id)
{
	char text[QUEUE_ID_SIZE];
	struct str one = str_of(queue_id_text(id, text));
	struct queue_order m = { .verb = verb, .where = where,
		.ids = { &one, id != 0 } };
	struct conv *c = fake_client("pickup", hear_operator);

	fake_say(c, &queue_order_schema, &m);
	fake_leave_last(c);
	qmgr_take(&qmgr, c, "pickup");
}

static void order_something(void)
{
	static const uint64_t verbs[] = { QUEUE_DO_FLUSH, QUEUE_DO_HOLD,
		QUEUE_DO_RELEASE, QUEUE_DO_REQUEUE, QUEUE_DO_DELETE,
		QUEUE_DO_EXPIRE };
	uint64_t verb = verbs[fuzz_number(input, 5)];
	struct mail *m = &mails[fuzz_number(input, MAILS - 1)];

	if (m->id == 0)
		return;
	if (verb == QUEUE_DO_DELETE || verb == QUEUE_DO_EXPIRE)
		m->free = true;
	order(verb, 0, m->id);
}

/* --- one input --------------------------------------------------------- */

static void act(void)
{
	static const int64_t times[] = { 4 * CLOCK_MS, CLOCK_SECOND,
		3 * CLOCK_SECOND, 70 * CLOCK_SECOND, 400 * CLOCK_SECOND,
		3600 * CLOCK_SECOND };
	unsigned what = fuzz_octet(input);
	size_t k = what / 16 % 2;
	struct conv *c = fake_find(his[k]);
	struct side *s = &sides[what / 16 % SIDES];

	switch (what % 16) {
	case 0: case 1: case 2:
		if (c != NULL)
			hostile_say(c);
		break;
	case 3:
		hostile_come(k);
		break;
	case 4:
		if (c == NULL)
			break;
		fake_full(c, what & 128);
		if (!(what & 128))
			fake_fire(his[k], LOOP_READ | LOOP_WRITE);
		break;
	case 5:
		hostile_write();
		break;
	case 6:
		honest_fire();
		break;
	case 7: case 8:
		fake_fire(his[k], LOOP_READ);
		break;
	case 9:
		fake_disk_run(what / 16);
		break;
	case 10:
		spool_collect();
		break;
	case 11:
		spool_settle();
		break;
	case 12:
		fake_pass(times[what / 16 % 6]);
		break;
	case 13:
		if (s->conv == NULL)
			side_come(s);
		else if (what & 128)
			side_answer(s, AGENT_SENT + fuzz_octet(input) % 3);
		else
			side_leave(s, what & 64);
		break;
	case 14:
		if (what & 128)
			cleanup_come();
		else
			cleanup_commit(&mails[what / 16 % MAILS]);
		break;
	default:
		if (what & 128)
			order_something();
		else
			side_answer(s, AGENT_SENT);
	}
}

/* --- the end: the hostile one is gone ---------------------------------- */

static void turn(int64_t us)
{
	honest_fire();
	spool_settle();
	fake_pass(us);
	spool_settle();
}

/* Whose agents died of it, or who had some of it, may have condemned it. */
static bool may_be_corrupt(const struct mail *m)
{
	bool shared = hostile_is("bounce");

	for (size_t i = 0; i < mail_rcpts(&wanted[m - mails]); i++)
		shared |= hostile_is(wanted[m - mails].transports[i]);
	return shared || m->deaths > 0;
}

static size_t count_open(void)
{
	size_t n = 0;

	for (size_t i = 0; i < MAILS; i++) {
		struct queue_name name;

		if (!mail_is_open(&mails[i]))
			continue;
		spool_check(&mails[i]);
		if (spool_find(mails[i].id, &name) &&
		    name.place == QUEUE_CORRUPT && may_be_corrupt(&mails[i]))
			mails[i].free = true;
		else
			n++;
	}
	return n;
}

static void deliver_rest(void)
{
	cleanup_come();
	turn(CLOCK_SECOND);
	for (size_t i = 0; i < MAILS; i++) {
		fuzz_check(mails[i].id != 0, "cleanup gets no files");
		cleanup_commit(&mails[i]);
	}
	for (size_t i = 0; i < SIDES; i++)
		if (sides[i].conv == NULL)
			side_come(&sides[i]);
	for (unsigned round = 0; round < 60 && count_open() > 0; round++) {
		for (unsigned k = 0; k < 4; k++) {
			turn(k == 3 ? 90 * CLOCK_SECOND : 3 * CLOCK_SECOND);
			for (size_t i = 0; i < SIDES * 4; i++)
				side_answer(&sides[i % SIDES], AGENT_SENT);
		}
		order(QUEUE_DO_RELEASE, 0, 0);
		order(QUEUE_DO_FLUSH, 0, 0);
	}
	for (size_t i = 0; i < MAILS; i++)
		fuzz_check(!mail_is_open(&mails[i]), "message %zu is never "
		    "delivered", i);
}

static void leave_nothing(void)
{
	struct transport *t;
	size_t n = 0;

	for (size_t i = 0; i < SIDES; i++)
		side_leave(&sides[i], true);
	cleanup_leave();
	for (size_t i = 0; i < 100 && (i < 4 || qmgr.message_count > 0 ||
	    qmgr.held_count > 0 || qmgr.incoming_left); i++) {
		turn(12 * CLOCK_SECOND);
		/* What reads incoming/ finds them held, by us. */
		spool_drop_spares();
		order(QUEUE_DO_DELETE, QUEUE_WHERE_ALL |
		    QUEUE_WHERE_BIT(QUEUE_IN_CORRUPT), 0);
	}
	spool_settle();
	schedule_forget_dead(&qmgr);
	spool_drop_spares();
	turn(CLOCK_SECOND);
	fuzz_check(qmgr.message_count == 0 && qmgr.recipient_count == 0 &&
	    qmgr.octets == 0 && TAILQ_EMPTY(&qmgr.messages),
	    "%zu messages are left", qmgr.message_count);
	fuzz_check(map_count(qmgr.registry.entries) == 0,
	    "%zu claims are left", map_count(qmgr.registry.entries));
	fuzz_check(qmgr.held_count == 0 && map_count(qmgr.held_ids) == 0,
	    "%zu files are watched", qmgr.held_count);
	fuzz_check(qmgr.running == 0 && TAILQ_EMPTY(&qmgr.lost),
	    "%zu jobs are left", qmgr.running);
	fuzz_check(LIST_EMPTY(&qmgr.agents) && TAILQ_EMPTY(&qmgr.cleanups),
	    "a conversation is left");
	fuzz_check(map_count(qmgr.destinations) == 0 && qmgr.dead_count == 0,
	    "%zu destinations are left", map_count(qmgr.destinations));
	LIST_FOREACH(t, &qmgr.transports, link) {
		fuzz_check(t->waiting == 0 && TAILQ_EMPTY(&t->ready),
		    "jobs wait for " STR_FMT, STR_ARG(t->name));
		n++;
	}
	fuzz_check(n <= 6, "%zu transports", n);
	spool_check_empty();
}

/* The last qmgr handed some of them out, and their agents run them still. */
static void begin_after_start(void)
{
	cleanup_leave();
	spool_settle();
	for (size_t i = 0; i < MAILS; i++)
		for (size_t k = 0; k < mail_rcpts(&wanted[i]); k++) {
			struct side *s = &sides[strcmp(wanted[i].transports[k],
			    "smtp") == 0];

			if (mails[i].committed && wanted[i].untold &&
			    fuzz_bool(input))
				mails[i].rcpts[k].has = s;
		}
	side_come(&sides[0]);
	side_come(&sides[1]);
}

static void begin(void)
{
	static const char *const who[] = { "cleanup", "local", "smtp",
		"bounce", "pickup" };
	struct transport *t;

	fake_time = 100000 * CLOCK_SECOND;
	LIST_FOREACH(t, &qmgr.transports, link)
		t->lonely_since = fake_time;
	load_flushed(&qmgr); /* its timer knows another time */
	spool_settle();
	hostile = who[fuzz_number(input, 4)];
	params.qmgr_message_active_limit = fuzz_bool(input) ? 20000 : 3;
	spool_ages = fuzz_bool(input);
	/* As after a start: what is found waits for agents. */
	qmgr.grace = fuzz_bool(input) ? fake_time + QMGR_AGENT_GRACE : 0;
	honest_forget();
	cleanup_come();
	fake_fire(cleanup_fd, LOOP_READ);
	spool_settle();
	hostile_begin();
	for (size_t i = 0; i < MAILS; i++)
		if (fuzz_bool(input))
			cleanup_commit(&mails[i]);
	if (qmgr.grace != 0)
		begin_after_start();
	for (size_t i = 0; i < SIDES; i++)
		if (sides[i].conv == NULL && fuzz_bool(input))
			side_come(&sides[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const ask[] = {
		&resolve_request_schema, NULL };
	struct fuzz_in in = fuzz_in(p, n);

	input = &in;
	serve_begin();
	fake_edge("lookup", lookup_hear, ask);
	begin();
	for (unsigned i = 0; i < ACTIONS && in.rest.n > 0; i++)
		act();
	spool_check_all();
	hostile_end();
	spool_check_all();
	deliver_rest();
	leave_nothing();
	serve_end(48 << 20);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, NULL);
	signal(SIGIO, SIG_IGN);
	params.maximal_queue_lifetime = 1000 * 86400;
	params.bounce_queue_lifetime = 1000 * 86400;
	params.delay_warning_time = 600;
	params.notify_classes = "bounce delay 2bounce resource";
	params.defer_transports = "relay";
	spool_start(&params);
	return 0;
}
