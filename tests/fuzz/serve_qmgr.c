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
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "msgs/lookup.h"
#include "msgs/stock.h"
#include "qmgr/core.h"
#include "queue/commit.h"
#include "tests/fuzz/fakes/disk.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/serve.h"

#define MAILS 6
#define ACTIONS 100
#define STOLEN 8
#define TURNS 20000

static struct params params;
static struct qmgr qmgr;
static char root[64];
static struct fuzz_in *input;
static struct arena *scratch;

/* --- the messages of others ------------------------------------------- */

struct wanted {
	const char *rcpts[2], *transports[2], *nexthops[2];
	bool untold;		/* its commit is not told */
};

static const struct wanted wanted[MAILS] = {
	{ { "a@local.test" }, { "local" }, { "" }, false },
	{ { "b@smtp.test", "c@smtp.test" }, { "smtp", "smtp" },
	    { "one.test", "one.test" }, false },
	{ { "d@local.test", "e@smtp.test" }, { "local", "smtp" },
	    { "", "one.test" }, false },
	{ { "f@smtp.test" }, { "smtp" }, { "one.test" }, true },
	{ { "g@local.test" }, { "local" }, { "" }, true },
	{ { "h@smtp.test", "i@smtp.test" }, { "smtp", "smtp" },
	    { "one.test", "two.test" }, true },
};

static const char content[] = "Subject: of somebody else\r\n\r\nkept\r\n";

struct side;

struct rcpt {
	enum { OPEN, SENT, FAILED } state;
	struct side *has;	/* the honest agent that has it */
	uint64_t job;
};

static struct mail {
	uint64_t id;		/* 0: not given yet */
	int fd;			/* of cleanup; -1: closed */
	bool committed, free;	/* free: its fate is an operator's now */
	unsigned deaths;	/* of honest agents that had it */
	struct rcpt rcpts[2];
} mails[MAILS];

static size_t count_rcpts(const struct wanted *w)
{
	return w->rcpts[1] != NULL ? 2 : 1;
}

static struct mail *find_mail(struct str text)
{
	uint64_t id;

	if (queue_id_parse(text, &id) < 0)
		return NULL;
	for (size_t i = 0; i < MAILS; i++)
		if (mails[i].id == id)
			return &mails[i];
	return NULL;
}

/* --- who is hostile ---------------------------------------------------- */

static const char *hostile;

static bool is_his(const char *transport)
{
	return strcmp(hostile, transport) == 0;
}

/* It is settled by the honest alone. */
static bool is_kept(const struct mail *m, size_t i)
{
	return !m->free && !is_his(wanted[m - mails].transports[i]) &&
	    strcmp(hostile, "pickup") != 0;
}

/* --- honest agents ------------------------------------------------------ */

#define HELD_MAX 64

static struct side {
	const char *program;
	struct conv *conv;
	struct { struct mail *mail; uint32_t index; unsigned status; }
	    held[HELD_MAX];
	size_t held_count;
	/* Notices, and messages of the hostile cleanup's. */
	size_t others;
	struct { char id[QUEUE_ID_SIZE]; uint64_t job, *indexes; size_t n; }
	    other[HELD_MAX];
} sides[] = { { .program = "local" }, { .program = "smtp" },
	{ .program = "bounce" } };
#define SIDES (sizeof(sides) / sizeof(sides[0]))

static void hear_job(struct side *s, const struct agent_job *job)
{
	struct mail *m = find_mail(job->queue_id);
	const struct wanted *w;

	fuzz_check(str_eq_c(job->transport, s->program),
	    "%s is given mail of another", s->program);
	if (strcmp(s->program, "bounce") == 0 || m == NULL) {
		size_t k = s->others++;

		fuzz_check(k < HELD_MAX, "more jobs than it wants");
		str_to_c(job->queue_id, s->other[k].id, QUEUE_ID_SIZE);
		s->other[k].job = job->job;
		s->other[k].n = job->indexes.n;
		s->other[k].indexes = (uint64_t *)fuzz_exact(str_n(
		    job->indexes.v, job->indexes.n * 8)).p;
		return;
	}
	w = &wanted[m - mails];
	for (size_t i = 0; i < job->indexes.n; i++) {
		uint64_t index = job->indexes.v[i];
		struct rcpt *r;

		fuzz_check(index < count_rcpts(w), "no such recipient");
		fuzz_check(str_eq_c(job->rcpts.v[i], w->rcpts[index]),
		    "another recipient");
		r = &m->rcpts[index];
		if (is_kept(m, index)) {
			fuzz_check(r->has == NULL, "message %zu: two agents "
			    "have it", (size_t)(m - mails));
			fuzz_check(r->state == OPEN, "message %zu: it is "
			    "settled", (size_t)(m - mails));
		}
		r->has = s;
		r->job = job->job;
	}
}

static void hear_recorded(struct side *s, const struct agent_recorded *rec)
{
	for (size_t i = 0; i < rec->queue_ids.n; i++) {
		struct mail *m = find_mail(rec->queue_ids.v[i]);

		for (size_t k = 0; m != NULL && k < s->held_count; k++)
			if (s->held[k].mail == m &&
			    s->held[k].index == rec->indexes.v[i]) {
				s->held[k] = s->held[--s->held_count];
				break;
			}
	}
}

static void hear_agent(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct side *s = *fake_state(c);

	if (s == NULL)
		return;
	if (schema == &agent_job_schema)
		hear_job(s, msg);
	else if (schema == &agent_recorded_schema)
		hear_recorded(s, msg);
	else
		fuzz_check(false, "an agent is told %s", schema->name);
}

static void say_result(struct side *s, const char *id, uint64_t job,
    uint64_t index, unsigned status)
{
	struct agent_result res = { .nexthop_dead = job % 4 == 3, .job = job, .queue_id = str_of(id),
		.index = index, .status = status, .text = STR("said so"),
		.dsn = status == AGENT_SENT ? STR("2.0.0") :
		    status == AGENT_FAILED ? STR("5.0.0") : STR("4.0.0") };

	fake_say(s->conv, &agent_result_schema, &res);
}

static void say_hello(struct side *s)
{
	struct str transport = str_of(s->program);
	struct agent_hello hello = { str_of(s->program), { &transport, 1 }, 2 };

	fake_say(s->conv, &agent_hello_schema, &hello);
}

/* As lib/service/agent.c comes: what is held, what runs. */
static void come(struct side *s)
{
	char text[QUEUE_ID_SIZE];

	s->conv = fake_client(s->program, hear_agent);
	*fake_state(s->conv) = s;
	say_hello(s);
	for (size_t i = 0; i < s->held_count; i++)
		say_result(s, queue_id_text(s->held[i].mail->id, text), 0,
		    s->held[i].index, s->held[i].status);
	for (size_t i = 0; i < MAILS; i++)
		for (uint64_t k = 0; k < 2; k++) {
			struct agent_running run = { .queue_id = str_of(
			    queue_id_text(mails[i].id, text)),
				.indexes = { &k, 1 } };

			if (mails[i].rcpts[k].has == s)
				fake_say(s->conv, &agent_running_schema, &run);
		}
	s->others = 0;
	fake_say(s->conv, &agent_present_schema, NULL);
	qmgr_take(&qmgr, s->conv, s->program);
	fake_fire(conv_fd(s->conv), LOOP_READ);
}

/* What was said is heard before the end is. */
static void go(struct side *s)
{
	int fd = conv_fd(s->conv);

	fake_leave(s->conv);
	*fake_state(s->conv) = NULL;
	while (fake_wants(fd) != 0)
		fake_fire(fd, LOOP_READ);
	s->conv = NULL;
}

/* Its conversation breaks; or its process dies, and what it delivered and did
 * not tell of comes again. */
static void leave(struct side *s, bool dies)
{
	if (s->conv == NULL)
		return;
	go(s);
	if (!dies) {
		come(s);
		return;
	}
	s->held_count = 0;
	for (size_t i = 0; i < MAILS; i++)
		for (size_t k = 0; k < 2; k++)
			if (mails[i].rcpts[k].has == s) {
				mails[i].rcpts[k].has = NULL;
				mails[i].deaths++;
			}
}

static void answer(struct side *s, unsigned status)
{
	char text[QUEUE_ID_SIZE];

	if (s->conv == NULL)
		return;
	if (s->others > 0) {
		size_t k = --s->others;

		for (size_t i = 0; i < s->other[k].n; i++)
			say_result(s, s->other[k].id, s->other[k].job,
			    s->other[k].indexes[i], status);
		return;
	}
	for (size_t i = 0; i < MAILS * 2 && s->held_count < HELD_MAX; i++) {
		struct mail *m = &mails[i / 2];
		struct rcpt *r = &m->rcpts[i % 2];

		if (r->has != s)
			continue;
		r->has = NULL;
		if (status != AGENT_DEFERRED)
			r->state = status == AGENT_SENT ? SENT : FAILED;
		s->held[s->held_count].mail = m;
		s->held[s->held_count].index = i % 2;
		s->held[s->held_count++].status = status;
		say_result(s, queue_id_text(m->id, text), r->job, i % 2,
		    status);
		return;
	}
}

/* --- the honest cleanup ------------------------------------------------- */

static int cleanup_fd = -1;	/* conv_fd() of the last */

static void hear_stock(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct stock_file *f = msg;
	struct stat st;
	size_t i = 0;

	(void)c;
	fuzz_check(schema == &stock_file_schema, "cleanup is told %s",
	    schema->name);
	while (i < MAILS && mails[i].id != 0)
		i++;
	fuzz_check(i < MAILS, "more files than were wanted");
	fuzz_check(queue_id_parse(f->queue_id, &mails[i].id) == 0, "no id");
	mails[i].fd = dup(f->fd);
	/* Not empty: a spare one, whose header must be blank. */
	fuzz_check(fstat(mails[i].fd, &st) == 0 && st.st_nlink == 1,
	    "the file has no name");
}

static void want(struct conv *c, uint64_t files)
{
	struct stock_want m = { files };

	fake_say(c, &stock_want_schema, &m);
}

/* 0: what is in the file is a message. */
static int write_message(int fd, uint64_t id, const struct wanted *w)
{
	struct queue_recipient rcpts[2];
	struct queue_envelope e = { .arrival = clock_wall(),
		.sender = w->untold ? STR_NONE : STR("x@y.test"),
		.recipients = rcpts,
		.recipient_count = count_rcpts(w) };
	struct queue_commit *c;
	const char *why;
	int rc;

	for (size_t i = 0; i < e.recipient_count; i++)
		rcpts[i] = (struct queue_recipient){
			.address = str_of(w->rcpts[i]),
			.transport = str_of(w->transports[i]),
			.nexthop = str_of(w->nexthops[i]) };
	lseek(fd, 0, SEEK_SET);
	if (queue_commit_begin(&c, fd, id, 1 << 20) < 0)
		return -1;
	queue_commit_append(c, str_of(content));
	rc = queue_commit(c, &e, &why);
	queue_commit_end(&c);
	return rc;
}

static void tell_commit(struct conv *c, uint64_t id, const struct wanted *w)
{
	struct str strs[4][2];
	uint64_t notify[2] = { 0, QUEUE_NOTIFY_SUCCESS };
	char text[QUEUE_ID_SIZE];
	size_t n = count_rcpts(w);
	struct stock_commit m = { .queue_id = str_of(queue_id_text(id, text)),
		.sender = STR("x@y.test"), .arrival = clock_wall(),
		.size = sizeof(content) - 1, .rcpts = { strs[0], n },
		.transports = { strs[1], n }, .nexthops = { strs[2], n },
		.originals = { strs[3], n }, .orcpts = { strs[3], n },
		.notify = { notify, n } };

	for (size_t i = 0; i < n; i++) {
		strs[0][i] = str_of(w->rcpts[i]);
		strs[1][i] = str_of(w->transports[i]);
		strs[2][i] = str_of(w->nexthops[i]);
		strs[3][i] = STR_NONE;
	}
	fake_say(c, &stock_commit_schema, &m);
}

static void commit(struct mail *m)
{
	const struct wanted *w = &wanted[m - mails];

	if (m->id == 0 || m->committed || fake_find(cleanup_fd) == NULL)
		return;
	fuzz_check(write_message(m->fd, m->id, w) == 0, "no commit");
	m->committed = true;
	close(m->fd);
	m->fd = -1;
	if (!w->untold)
		tell_commit(fake_find(cleanup_fd), m->id, w);
}

static void leave_cleanup(void)
{
	struct conv *c = fake_find(cleanup_fd);

	if (c == NULL)
		return;
	fake_leave(c);
	while (fake_wants(cleanup_fd) != 0)
		fake_fire(cleanup_fd, LOOP_READ);
}

static void come_cleanup(void)
{
	struct conv *c = fake_client("cleanup", hear_stock);
	size_t missing = 0;

	leave_cleanup();
	cleanup_fd = conv_fd(c);
	fake_is(c, 100, 0);
	qmgr_take(&qmgr, c, "cleanup");
	for (size_t i = 0; i < MAILS; i++)
		missing += mails[i].id == 0;
	if (missing > 0)
		want(c, missing);
}

/* --- lookup ------------------------------------------------------------- */

static void hear_lookup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct resolve_request *q = msg;
	struct resolve_reply r = { .status = LOOKUP_OK, .klass = LOOKUP_LOCAL,
		.address = q->address };
	unsigned what = fuzz_octet(input);

	(void)schema;
	for (size_t i = 0; i < MAILS * 2; i++) {
		const struct wanted *w = &wanted[i / 2];

		if (w->rcpts[i % 2] == NULL ||
		    !str_eq_c(q->address, w->rcpts[i % 2]))
			continue;
		r.transport = str_of(w->transports[i % 2]);
		r.nexthop = str_of(w->nexthops[i % 2]);
	}
	if (what % 16 == 15) {
		fake_leave(c);
		return;
	}
	if (what % 16 > 12)
		r.status = LOOKUP_TEMPFAIL;
	fake_say(c, &resolve_reply_schema, &r);
}

/* --- the hostile one ---------------------------------------------------- */

static int his[2];	/* conv_fd(); qmgr may have closed it */
static struct { uint64_t id; int fd; } stolen[STOLEN];
static size_t stolen_count;

static void hear_hostile(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct stock_file *f = msg;
	const struct agent_job *job = msg;

	(void)c;
	if (schema == &stock_file_schema && stolen_count < STOLEN &&
	    queue_id_parse(f->queue_id, &stolen[stolen_count].id) == 0)
		stolen[stolen_count++].fd = dup(f->fd);
	if (schema == &agent_job_schema) {
		struct mail *m = find_mail(job->queue_id);

		fuzz_check(is_his("bounce") || m == NULL ||
		    is_his(wanted[m - mails].transports[job->indexes.v[0]]),
		    "%s is given mail of another", hostile);
		fuzz_check(str_eq_c(job->transport, hostile) ||
		    (is_his("local") && str_eq_c(job->transport, "virtual")) ||
		    (is_his("smtp") && (str_eq_c(job->transport, "relay") ||
		    str_eq_c(job->transport, "lmtp"))),
		    "%s is given another transport", hostile);
		}
}

static uint64_t some_id(void *ctx)
{
	size_t k = fuzz_number(ctx, MAILS + STOLEN - 1);

	/* Of a cleanup mostly its own. */
	if (is_his("cleanup") && stolen_count > 0 && fuzz_number(ctx, 3) > 0)
		k = MAILS + k % stolen_count;
	return k < MAILS ? mails[k].id :
	    k - MAILS < stolen_count ? stolen[k - MAILS].id : 0;
}

/* Ids that exist, recipients that exist. */
static void mend(void *ctx, const struct msg_schema *schema, void *msg)
{
	static const char *const words[] = { "local", "smtp", "virtual",
		"bounce", "retry", "error", "discard", "" };

	for (size_t i = 0; i < schema->nfields; i++) {
		const struct msg_field *f = &schema->fields[i];
		void *p = (char *)msg + f->offset;
		struct nums *nums = p;
		struct strs *strs = p;
		char text[QUEUE_ID_SIZE];

		if (fuzz_number(ctx, 7) == 7)
			continue;
		if (strcmp(f->name, "queue_id") == 0)
			*(struct str *)p = fuzz_exact(str_of(queue_id_text(
			    some_id(ctx), text)));
		else if (strcmp(f->name, "ids") == 0)
			for (size_t k = 0; k < strs->n && k < 4; k++)
				strs->v[k] = fuzz_exact(str_of(queue_id_text(
				    some_id(ctx), text)));
		else if (strcmp(f->name, "arrival") == 0)
			*(int64_t *)p = fuzz_bool(ctx) ? clock_wall() :
			    fuzz_bool(ctx) ? INT64_MIN : INT64_MAX;
		else if (strcmp(f->name, "index") == 0)
			*(uint64_t *)p = fuzz_number(ctx, 3);
		else if (strcmp(f->name, "indexes") == 0)
			for (size_t k = 0; k < nums->n && k < 4; k++)
				nums->v[k] = fuzz_number(ctx, 3);
		else if (strcmp(f->name, "transports") == 0)
			for (size_t k = 0; k < strs->n && k < 4; k++)
				strs->v[k] = str_of(words[fuzz_number(ctx,
				    7)]);
	}
}

static const struct msg_schema *const stock_kinds[] = {
	&stock_want_schema, &stock_commit_schema, &stock_commit_schema,
	&stock_return_schema, &stock_return_schema, &agent_result_schema,
	NULL };
static const struct msg_schema *const agent_kinds[] = {
	&agent_hello_schema, &agent_hello_schema, &agent_result_schema,
	&agent_result_schema, &agent_result_schema, &agent_running_schema,
	&agent_running_schema, &agent_present_schema, &stock_want_schema,
	NULL };
static const struct msg_schema *const operator_kinds[] = {
	&queue_list_schema, &queue_order_schema, &queue_order_schema,
	&queue_show_schema, &stock_return_schema, NULL };

static void say_hostile(struct conv *c)
{
	const struct serve s = { .client = hostile, .mend = mend,
		.kinds = is_his("cleanup") ? stock_kinds : is_his("pickup")
		    ? operator_kinds : agent_kinds };

	serve_say(&s, input, c, scratch);
}

static bool settle_disk(void);

int __wrap_nanosleep(const struct timespec *, struct timespec *);

/*
 * An operator's thread waits: the others go on. It looks again and again; as
 * long as there is nothing to do for the others, all it would see is what it
 * saw, so that time may go on to when there is.
 */
int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	int64_t us = t->tv_sec * CLOCK_SECOND + t->tv_nsec / 1000, idle;

	(void)left;
	if (!settle_disk() && (idle = fake_until_timer(CLOCK_SECOND)) > us)
		us = idle;
	fake_pass(us);
	return 0;
}

static int run_thread(void (*fn)(void *), void *arg)
{
	fn(arg);
	return 0;
}

/* pickup's conversation is over when it was served: a thread has it. */
static void come_hostile(size_t i)
{
	struct conv *c;

	if (is_his("pickup")) {
		c = fake_client(hostile, hear_hostile);
		for (size_t k = fuzz_number(input, 3); k > 0; k--)
			say_hostile(c);
		fake_leave_last(c);
		qmgr_take(&qmgr, c, hostile);
		return;
	}
	if (fake_find(his[i]) != NULL)
		return;
	c = fake_client(hostile, hear_hostile);
	his[i] = conv_fd(c);
	fake_is(c, 200 + (pid_t)fuzz_number(input, 1), 0);
	say_hostile(c);
	qmgr_take(&qmgr, c, hostile);
}

/* As an honest one begins; then it is his. */
static void begin_hostile(void)
{
	struct str transport = str_of(hostile);
	struct agent_hello hello = { transport, { &transport, 1 }, 2 };
	struct conv *c;

	if (is_his("pickup") || fuzz_number(input, 3) == 0)
		return;
	c = fake_client(hostile, hear_hostile);
	his[0] = conv_fd(c);
	fake_is(c, 200, 0);
	qmgr_take(&qmgr, c, hostile);
	if (is_his("cleanup"))
		want(c, 4);
	else
		fake_say(c, &agent_hello_schema, &hello);
	fake_fire(his[0], LOOP_READ);
	settle_disk();
}

/* Into a file of his: a message, a header alone, anything, nothing. */
static void write_file(void)
{
	size_t k = fuzz_number(input, STOLEN - 1);
	uint64_t id;
	struct str raw;
	int fd;

	if (k >= stolen_count || stolen[k].fd < 0)
		return;
	fd = stolen[k].fd;
	id = fuzz_bool(input) ? stolen[k].id : some_id(input);
	switch (fuzz_number(input, 4)) {
	case 0: case 1:
		(void)!write_message(fd, id,
		    &wanted[fuzz_number(input, MAILS - 1)]);
		break;
	case 2:
		raw = fuzz_take(input, fuzz_number(input, 255));
		(void)!pwrite(fd, raw.p, raw.n,
		    (off_t)fuzz_number(input, 600));
		break;
	case 3:
		(void)!ftruncate(fd, (off_t)fuzz_number(input, 20000));
		break;
	default:
		close(fd);
		stolen[k].fd = -1;
	}
}

/* --- spares: 32 younger ones, which are nothing ------------------------- */

static bool ages;

static void age_spares(void)
{
	size_t n = 0;

	for (size_t i = 0; i < qmgr.spare_count; i++)
		if (qmgr.spares[i].fd >= 0)
			qmgr.spares[n++] = qmgr.spares[i];
	for (size_t i = 0; ages && i < 32 && n < QMGR_SPARES; i++)
		qmgr.spares[n++] = (struct queue_spare){ 0, -1 };
	qmgr.spare_count = n;
}

static void drop_spares(void)
{
	ages = false;
	age_spares();
	for (size_t i = 0; i < qmgr.spare_count; i++) {
		struct queue_name name = { qmgr.spares[i].id, QUEUE_INCOMING,
			0 };

		close(qmgr.spares[i].fd);
		fuzz_check(queue_spool_release(&qmgr.spool, &name) == 0,
		    "a spare file has no name");
		recorder_forget(&qmgr, qmgr.spares[i].id);
	}
	qmgr.spare_count = 0;
}

/* --- turns ------------------------------------------------------------- */

static bool collect(void)
{
	bool did = fake_disk_collect();

	age_spares();
	return did;
}

/* False: it had nothing to do. */
static bool settle_disk(void)
{
	for (unsigned i = 0; i < TURNS; i++)
		if (!fake_disk_run(0) && !collect())
			return i > 0;
	fuzz_check(false, "the disk is never idle");
	return true;
}

static void fire_honest(void)
{
	fake_fire(cleanup_fd, LOOP_READ);
	for (size_t i = 0; i < SIDES; i++)
		if (sides[i].conv != NULL)
			fake_fire(conv_fd(sides[i].conv), LOOP_READ);
}

/* --- what must be on the disk ------------------------------------------- */

static int see_file(const struct queue_name *name, const char *file, void *ctx)
{
	struct queue_name *found = ctx;

	(void)file;
	if (name->id != found->id)
		return 0;
	*found = *name;
	return 1;
}

/* In any place; false: nowhere. */
static bool find_file(uint64_t id, struct queue_name *name)
{
	*name = (struct queue_name){ .id = id };
	for (int place = 0; place < QUEUE_PLACE_COUNT; place++)
		if (queue_spool_scan(&qmgr.spool, (enum queue_place)place,
		    INT64_MAX, see_file, name) == 1)
			return true;
	return false;
}

static void check_file(struct mail *m)
{
	struct queue_name name;
	struct queue_reader r;
	const char *why = "";
	char text[200];
	ssize_t n;
	int fd;

	fuzz_check(find_file(m->id, &name), "message %zu is lost",
	    (size_t)(m - mails));
	fd = queue_spool_open_file(&qmgr.spool, &name, false);
	fuzz_check(fd >= 0, "message %zu cannot be opened",
	    (size_t)(m - mails));
	if (m->committed) {
		fuzz_check(queue_reader_open(&r, fd, m->id, scratch,
		    &why) == 0, "message %zu: %s", (size_t)(m - mails), why);
		n = queue_reader_read(&r, text, sizeof(text));
		fuzz_check(n == (ssize_t)strlen(content) &&
		    memcmp(text, content, (size_t)n) == 0,
		    "message %zu is another's", (size_t)(m - mails));
	}
	close(fd);
	arena_reset(scratch);
}

static bool is_open(const struct mail *m)
{
	bool open = false;

	for (size_t i = 0; i < count_rcpts(&wanted[m - mails]); i++)
		open |= is_kept(m, i) && m->rcpts[i].state == OPEN;
	return open;
}

static void check_files(void)
{
	for (size_t i = 0; i < MAILS; i++)
		if (mails[i].id != 0 && is_open(&mails[i]))
			check_file(&mails[i]);
}

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
			say_hostile(c);
		break;
	case 3:
		come_hostile(k);
		break;
	case 4:
		if (c == NULL)
			break;
		fake_full(c, what & 128);
		if (!(what & 128))
			fake_fire(his[k], LOOP_READ | LOOP_WRITE);
		break;
	case 5:
		write_file();
		break;
	case 6:
		fire_honest();
		break;
	case 7: case 8:
		fake_fire(his[k], LOOP_READ);
		break;
	case 9:
		fake_disk_run(what / 16);
		break;
	case 10:
		collect();
		break;
	case 11:
		settle_disk();
		break;
	case 12:
		fake_pass(times[what / 16 % 6]);
		break;
	case 13:
		if (s->conv == NULL)
			come(s);
		else if (what & 128)
			answer(s, AGENT_SENT + fuzz_octet(input) % 3);
		else
			leave(s, what & 64);
		break;
	case 14:
		if (what & 128)
			come_cleanup();
		else
			commit(&mails[what / 16 % MAILS]);
		break;
	default:
		if (what & 128)
			order_something();
		else
			answer(s, AGENT_SENT);
	}
}

/* --- the end: the hostile one is gone ---------------------------------- */

static void end_hostile(void)
{
	for (size_t i = 0; i < 2; i++) {
		struct conv *c = fake_find(his[i]);

		if (c != NULL) {
			fake_full(c, false);
			fake_leave(c);
		}
		for (unsigned k = 0; k < 100 && fake_find(his[i]) != NULL; k++)
			if (fake_wants(his[i]) != 0)
				fake_fire(his[i], LOOP_READ | LOOP_WRITE);
			else
				settle_disk();
		fuzz_check(fake_find(his[i]) == NULL,
		    "who left is not closed");
	}
	for (size_t i = 0; i < stolen_count; i++)
		if (stolen[i].fd >= 0)
			close(stolen[i].fd);
}

static void turn(int64_t us)
{
	fire_honest();
	settle_disk();
	fake_pass(us);
	settle_disk();
}

/* Whose agents died of it, or who had some of it, may have condemned it. */
static bool may_be_corrupt(const struct mail *m)
{
	bool shared = is_his("bounce");

	for (size_t i = 0; i < count_rcpts(&wanted[m - mails]); i++)
		shared |= is_his(wanted[m - mails].transports[i]);
	return shared || m->deaths > 0;
}

static size_t count_open(void)
{
	size_t n = 0;

	for (size_t i = 0; i < MAILS; i++) {
		struct queue_name name;

		if (!is_open(&mails[i]))
			continue;
		check_file(&mails[i]);
		if (find_file(mails[i].id, &name) &&
		    name.place == QUEUE_CORRUPT && may_be_corrupt(&mails[i]))
			mails[i].free = true;
		else
			n++;
	}
	return n;
}

static void deliver_rest(void)
{
	come_cleanup();
	turn(CLOCK_SECOND);
	for (size_t i = 0; i < MAILS; i++) {
		fuzz_check(mails[i].id != 0, "cleanup gets no files");
		commit(&mails[i]);
	}
	for (size_t i = 0; i < SIDES; i++)
		if (sides[i].conv == NULL)
			come(&sides[i]);
	for (unsigned round = 0; round < 60 && count_open() > 0; round++) {
		for (unsigned k = 0; k < 4; k++) {
			turn(k == 3 ? 90 * CLOCK_SECOND : 3 * CLOCK_SECOND);
			for (size_t i = 0; i < SIDES * 4; i++)
				answer(&sides[i % SIDES], AGENT_SENT);
		}
		order(QUEUE_DO_RELEASE, 0, 0);
		order(QUEUE_DO_FLUSH, 0, 0);
	}
	for (size_t i = 0; i < MAILS; i++)
		fuzz_check(!is_open(&mails[i]), "message %zu is never "
		    "delivered", i);
}

static int see_any(const struct queue_name *name, const char *file, void *ctx)
{
	(void)ctx;
	fuzz_check(false, "%s/%s is left", queue_place_name(name->place),
	    file);
	return 1;
}

static void leave_nothing(void)
{
	struct transport *t;
	size_t n = 0;

	for (size_t i = 0; i < SIDES; i++)
		leave(&sides[i], true);
	leave_cleanup();
	for (size_t i = 0; i < 100 && (i < 4 || qmgr.message_count > 0 ||
	    qmgr.held_count > 0 || qmgr.incoming_left); i++) {
		turn(12 * CLOCK_SECOND);
		/* What reads incoming/ finds them held, by us. */
		drop_spares();
		order(QUEUE_DO_DELETE, QUEUE_WHERE_ALL |
		    QUEUE_WHERE_BIT(QUEUE_IN_CORRUPT), 0);
	}
	settle_disk();
	schedule_forget_dead(&qmgr);
	drop_spares();
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
	for (int place = 0; place < QUEUE_PLACE_COUNT; place++)
		queue_spool_scan(&qmgr.spool, (enum queue_place)place,
		    INT64_MAX, see_any, NULL);
}

static int free_number(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* The last qmgr handed some of them out, and their agents run them still. */
static void begin_after_start(void)
{
	leave_cleanup();
	settle_disk();
	for (size_t i = 0; i < MAILS; i++)
		for (size_t k = 0; k < count_rcpts(&wanted[i]); k++) {
			struct side *s = &sides[strcmp(wanted[i].transports[k],
			    "smtp") == 0];

			if (mails[i].committed && wanted[i].untold &&
			    fuzz_bool(input))
				mails[i].rcpts[k].has = s;
		}
	come(&sides[0]);
	come(&sides[1]);
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
	settle_disk();
	hostile = who[fuzz_number(input, 4)];
	params.qmgr_message_active_limit = fuzz_bool(input) ? 20000 : 3;
	ages = fuzz_bool(input);
	/* As after a start: what is found waits for agents. */
	qmgr.grace = fuzz_bool(input) ? fake_time + QMGR_AGENT_GRACE : 0;
	memset(mails, 0, sizeof(mails));
	stolen_count = 0;
	his[0] = his[1] = -1;
	for (size_t i = 0; i < SIDES; i++) {
		sides[i].held_count = sides[i].others = 0;
		sides[i].conv = NULL;
	}
	come_cleanup();
	fake_fire(cleanup_fd, LOOP_READ);
	settle_disk();
	begin_hostile();
	for (size_t i = 0; i < MAILS; i++)
		if (fuzz_bool(input))
			commit(&mails[i]);
	if (qmgr.grace != 0)
		begin_after_start();
	for (size_t i = 0; i < SIDES; i++)
		if (sides[i].conv == NULL && fuzz_bool(input))
			come(&sides[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const ask[] = {
		&resolve_request_schema, NULL };
	struct fuzz_in in = fuzz_in(p, n);
	int before = free_number();

	input = &in;
	fuzz_budget_start();
	fake_edge("lookup", hear_lookup, ask);
	begin();
	for (unsigned i = 0; i < ACTIONS && in.rest.n > 0; i++)
		act();
	check_files();
	end_hostile();
	check_files();
	deliver_rest();
	leave_nothing();
	fuzz_check_heap(48 << 20);
	fuzz_check(free_number() == before, "a descriptor is left open");
	fake_forget();
	arena_reset(scratch);
	fuzz_end();
	return 0;
}

static int remove_it(const char *name, const struct stat *st, int type,
    struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void clean(void)
{
	nftw(root, remove_it, 16, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *why;

	(void)argc;
	(void)argv;
	fuzz_mute_log();
	signal(SIGIO, SIG_IGN);
	fake_arena = arena_new(1 << 20);
	scratch = arena_new(8 << 20);
	fuzz_check(params_load(&params, NULL, 0, fake_arena, &why) == 0, "%s",
	    why);
	params.maximal_queue_lifetime = 1000 * 86400;
	params.bounce_queue_lifetime = 1000 * 86400;
	params.delay_warning_time = 600;
	params.notify_classes = "bounce delay 2bounce resource";
	params.defer_transports = "relay";
	fake_params = &params;
	fake_spawn = run_thread;
	snprintf(root, sizeof(root), "%s/postern-fuzz-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	fuzz_check(mkdtemp(root) != NULL, "no directory");
	atexit(clean);
	fake_dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_check(qmgr_start(&qmgr, NULL, &params) == 0, "no start");
	settle_disk();
	fake_pass(3 * CLOCK_SECOND);
	settle_disk();
	fuzz_check(qmgr.ready && qmgr.grace == 0, "it is not ready");
	return 0;
}
