/* qmgr_hostile.c - see qmgr.h: the one that was taken over */
#include <unistd.h>
#include "base/clock.h"
#include "msgs/agent.h"
#include "msgs/queue.h"
#include "msgs/stock.h"
#include "qmgr/core.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/qmgr.h"
#include "tests/fuzz/fakes/serve.h"

#define STOLEN 8

const char *hostile;

bool hostile_is(const char *program)
{
	return strcmp(hostile, program) == 0;
}

int his[2];
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
		struct mail *m = mail_find(job->queue_id);

		fuzz_check(hostile_is("bounce") || m == NULL ||
		    hostile_is(wanted[m - mails].transports[job->indexes.v[0]]),
		    "%s is given mail of another", hostile);
		fuzz_check(str_eq_c(job->transport, hostile) ||
		    (hostile_is("local") &&
		    str_eq_c(job->transport, "virtual")) ||
		    (hostile_is("smtp") && (str_eq_c(job->transport, "relay") ||
		    str_eq_c(job->transport, "lmtp"))),
		    "%s is given another transport", hostile);
	}
}

static uint64_t some_id(void *ctx)
{
	size_t k = fuzz_number(ctx, MAILS + STOLEN - 1);

	/* Of a cleanup mostly its own. */
	if (hostile_is("cleanup") && stolen_count > 0 &&
	    fuzz_number(ctx, 3) > 0)
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

void hostile_say(struct conv *c)
{
	const struct serve s = { .client = hostile, .mend = mend,
		.kinds = hostile_is("cleanup") ? stock_kinds :
		    hostile_is("pickup") ? operator_kinds : agent_kinds };

	serve_say(&s, input, c, serve_scratch);
}

/* pickup's conversation is over when it was served: a thread has it. */
void hostile_come(size_t i)
{
	struct conv *c;

	if (hostile_is("pickup")) {
		c = fake_client(hostile, hear_hostile);
		for (size_t k = fuzz_number(input, 3); k > 0; k--)
			hostile_say(c);
		fake_leave_last(c);
		qmgr_take(&qmgr, c, hostile);
		return;
	}
	if (fake_find(his[i]) != NULL)
		return;
	c = fake_client(hostile, hear_hostile);
	his[i] = conv_fd(c);
	fake_is(c, 200 + (pid_t)fuzz_number(input, 1), 0);
	hostile_say(c);
	qmgr_take(&qmgr, c, hostile);
}

void hostile_begin(void)
{
	struct str transport = str_of(hostile);
	struct agent_hello hello = { transport, { &transport, 1 }, 2 };
	struct conv *c;

	stolen_count = 0;
	his[0] = his[1] = -1;
	if (hostile_is("pickup") || fuzz_number(input, 3) == 0)
		return;
	c = fake_client(hostile, hear_hostile);
	his[0] = conv_fd(c);
	fake_is(c, 200, 0);
	qmgr_take(&qmgr, c, hostile);
	if (hostile_is("cleanup"))
		cleanup_want(c, 4);
	else
		fake_say(c, &agent_hello_schema, &hello);
	fake_fire(his[0], LOOP_READ);
	spool_settle();
}

void hostile_write(void)
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
		(void)!mail_write(fd, id,
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

void hostile_end(void)
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
				spool_settle();
		fuzz_check(fake_find(his[i]) == NULL,
		    "who left is not closed");
	}
	for (size_t i = 0; i < stolen_count; i++)
		if (stolen[i].fd >= 0)
			close(stolen[i].fd);
}
