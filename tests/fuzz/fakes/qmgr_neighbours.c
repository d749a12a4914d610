/* qmgr_neighbours.c - see qmgr.h: those that are honest */
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "msgs/agent.h"
#include "msgs/lookup.h"
#include "msgs/stock.h"
#include "qmgr/core.h"
#include "queue/commit.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/qmgr.h"

struct fuzz_in *input;

/* --- the messages of others ------------------------------------------- */

const struct wanted wanted[MAILS] = {
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

struct mail mails[MAILS];

size_t mail_rcpts(const struct wanted *w)
{
	return w->rcpts[1] != NULL ? 2 : 1;
}

struct mail *mail_find(struct str text)
{
	uint64_t id;

	if (queue_id_parse(text, &id) < 0)
		return NULL;
	for (size_t i = 0; i < MAILS; i++)
		if (mails[i].id == id)
			return &mails[i];
	return NULL;
}

bool mail_is_kept(const struct mail *m, size_t i)
{
	return !m->free && !hostile_is(wanted[m - mails].transports[i]) &&
	    strcmp(hostile, "pickup") != 0;
}

bool mail_is_open(const struct mail *m)
{
	bool open = false;

	for (size_t i = 0; i < mail_rcpts(&wanted[m - mails]); i++)
		open |= mail_is_kept(m, i) && m->rcpts[i].state == OPEN;
	return open;
}

/* --- honest agents ------------------------------------------------------ */

struct side sides[SIDES] = { { .program = "local" }, { .program = "smtp" },
	{ .program = "bounce" } };

static void hear_job(struct side *s, const struct agent_job *job)
{
	struct mail *m = mail_find(job->queue_id);
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

		fuzz_check(index < mail_rcpts(w), "no such recipient");
		fuzz_check(str_eq_c(job->rcpts.v[i], w->rcpts[index]),
		    "another recipient");
		r = &m->rcpts[index];
		if (mail_is_kept(m, index)) {
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
		struct mail *m = mail_find(rec->queue_ids.v[i]);

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
	struct agent_result res = { .nexthop_dead = job % 4 == 3, .job = job,
		.queue_id = str_of(id), .index = index, .status = status,
		.text = STR("said so"),
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

void side_come(struct side *s)
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

void side_leave(struct side *s, bool dies)
{
	if (s->conv == NULL)
		return;
	go(s);
	if (!dies) {
		side_come(s);
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

void side_answer(struct side *s, unsigned status)
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

int cleanup_fd = -1;

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

void cleanup_want(struct conv *c, uint64_t files)
{
	struct stock_want m = { files };

	fake_say(c, &stock_want_schema, &m);
}

int mail_write(int fd, uint64_t id, const struct wanted *w)
{
	struct queue_recipient rcpts[2];
	struct queue_envelope e = { .arrival = clock_wall(),
		.sender = w->untold ? STR_NONE : STR("x@y.test"),
		.recipients = rcpts,
		.recipient_count = mail_rcpts(w) };
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
	queue_commit_append(c, STR(MAIL_CONTENT));
	rc = queue_commit(c, &e, &why);
	queue_commit_end(&c);
	return rc;
}

static void tell_commit(struct conv *c, uint64_t id, const struct wanted *w)
{
	struct str strs[4][2];
	uint64_t notify[2] = { 0, QUEUE_NOTIFY_SUCCESS };
	char text[QUEUE_ID_SIZE];
	size_t n = mail_rcpts(w);
	struct stock_commit m = { .queue_id = str_of(queue_id_text(id, text)),
		.sender = STR("x@y.test"), .arrival = clock_wall(),
		.size = strlen(MAIL_CONTENT), .rcpts = { strs[0], n },
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

void cleanup_commit(struct mail *m)
{
	const struct wanted *w = &wanted[m - mails];

	if (m->id == 0 || m->committed || fake_find(cleanup_fd) == NULL)
		return;
	fuzz_check(mail_write(m->fd, m->id, w) == 0, "no commit");
	m->committed = true;
	close(m->fd);
	m->fd = -1;
	if (!w->untold)
		tell_commit(fake_find(cleanup_fd), m->id, w);
}

void cleanup_leave(void)
{
	struct conv *c = fake_find(cleanup_fd);

	if (c == NULL)
		return;
	fake_leave(c);
	while (fake_wants(cleanup_fd) != 0)
		fake_fire(cleanup_fd, LOOP_READ);
}

void cleanup_come(void)
{
	struct conv *c = fake_client("cleanup", hear_stock);
	size_t missing = 0;

	cleanup_leave();
	cleanup_fd = conv_fd(c);
	fake_is(c, 100, 0);
	qmgr_take(&qmgr, c, "cleanup");
	for (size_t i = 0; i < MAILS; i++)
		missing += mails[i].id == 0;
	if (missing > 0)
		cleanup_want(c, missing);
}

/* --- lookup ------------------------------------------------------------- */

void lookup_hear(struct conv *c, const struct msg_schema *schema,
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

/* --- all of them --- */

void honest_fire(void)
{
	fake_fire(cleanup_fd, LOOP_READ);
	for (size_t i = 0; i < SIDES; i++)
		if (sides[i].conv != NULL)
			fake_fire(conv_fd(sides[i].conv), LOOP_READ);
}

void honest_forget(void)
{
	memset(mails, 0, sizeof(mails));
	for (size_t i = 0; i < SIDES; i++) {
		sides[i].held_count = sides[i].others = 0;
		sides[i].conv = NULL;
	}
}
