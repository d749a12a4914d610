/* agent.c - see agent.h */
#include "service/agent.h"

/* What the code under test calls is below; it goes on to these. */
struct agent *real_agent_start(const struct agent_config *);
void real_agent_report(struct agent_task *, size_t,
    const struct agent_outcome *);
#define agent_start real_agent_start
#define agent_report real_agent_report
#include "service/agent.c"
#undef agent_start
#undef agent_report
#include <setjmp.h>
#include "tests/fuzz/fakes/agent.h"
#include "tests/fuzz/fakes/loop.h"

static const struct fake_qmgr *qmgr;
static struct agent *the;
static agent_deliver_fn *deliver;
static unsigned conversations;
static jmp_buf out;

/* Of the conversation: recipients that it was given, results that it said. */
static size_t owed, told;
/* What is reported just now. */
static struct {
	const struct agent_task *task;
	size_t i;
	const struct agent_outcome *outcome;
} now;
/* What is said again after the hello comes in the order of `held`. */
static const struct held *again;
static bool present;

/* --- its threads, one after the other ---------------------------------- */

static struct { void (*fn)(void *); void *arg; } receiver;

int __wrap_usleep(useconds_t);
int __wrap_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *,
    const struct timespec *);

/* Between two conversations; or in the middle of a delivery. */
int __wrap_usleep(useconds_t us)
{
	if (the->conv != NULL) {
		fake_pass(us);
		return 0;
	}
	fuzz_check(owed == told, "%zu results for %zu recipients", told,
	    owed);
	owed = told = 0;
	if (conversations-- <= 1)
		longjmp(out, 1);
	return 0;
}

/* No job comes any more: the thread ends. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond,
    pthread_mutex_t *mutex, const struct timespec *until)
{
	(void)cond;
	(void)mutex;
	(void)until;
	return ETIMEDOUT;
}

/* The first is the one that receives; a worker does what is there. */
static int run_thread(void (*fn)(void *), void *arg)
{
	if (receiver.fn != NULL) {
		fn(arg);
		return 0;
	}
	receiver.fn = fn;
	receiver.arg = arg;
	return 0;
}

/* --- between the program and service/agent.c --------------------------- */

static void run_task(struct agent_task *t)
{
	owed += t->job.rcpts.n;
	deliver(t);
}

struct agent *agent_start(const struct agent_config *config)
{
	struct agent_config mine = *config;

	deliver = config->deliver;
	mine.deliver = run_task;
	return the = real_agent_start(&mine);
}

void agent_report(struct agent_task *t, size_t i,
    const struct agent_outcome *o)
{
	size_t before = told;

	fuzz_check(o->status >= AGENT_SENT && o->status <= AGENT_FAILED,
	    "status %d", o->status);
	if (qmgr->outcome != NULL)
		qmgr->outcome(t, i, o);
	now.task = t;
	now.i = i;
	now.outcome = o;
	real_agent_report(t, i, o);
	now.task = NULL;
	fuzz_check(told == before + 1, "a result is not told");
}

/* --- qmgr -------------------------------------------------------------- */

static void check_result(const struct agent_result *r)
{
	const struct agent_job *j;

	if (now.task == NULL) { /* service/agent.c speaks for the program */
		fuzz_check(r->status == AGENT_DEFERRED, "nobody said that");
		return;
	}
	j = &now.task->job;
	fuzz_check(r->job == j->job && r->index == j->indexes.v[now.i] &&
	    str_eq(r->queue_id, j->queue_id), "the result of another");
	fuzz_check(r->status == now.outcome->status &&
	    str_eq_c(r->dsn, now.outcome->dsn), "another result");
}

static void check_again(const struct agent_result *r)
{
	fuzz_check(again != NULL, "more results than it holds");
	fuzz_check(r->job == 0 && r->index == again->result.index &&
	    r->status == again->result.status &&
	    str_eq(r->queue_id, again->result.queue_id) &&
	    str_eq(r->dsn, again->result.dsn) &&
	    str_eq(r->text, again->result.text), "it is said otherwise");
	again = TAILQ_NEXT(again, link);
}

static void hear_hello(const struct agent_hello *hello)
{
	size_t n = 0;

	while (qmgr->transports[n] != NULL)
		n++;
	fuzz_check(hello->transports.n == n, "%zu transports",
	    hello->transports.n);
	for (size_t i = 0; i < n; i++)
		fuzz_check(str_eq_c(hello->transports.v[i],
		    qmgr->transports[i]), "another transport");
	present = false;
	again = TAILQ_FIRST(&the->held);
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	if (schema == &agent_hello_schema) {
		hear_hello(msg);
	} else if (schema == &agent_result_schema && present) {
		told++;
		check_result(msg);
	} else if (schema == &agent_result_schema) {
		check_again(msg);
	} else if (schema == &agent_present_schema) {
		fuzz_check(again == NULL, "a result is forgotten");
		present = true;
		qmgr->say(c);
		fake_leave_last(c);
	} else {
		fuzz_check(false, "%s, and nothing runs", schema->name);
	}
}

void fake_agent_garble(struct fuzz_in *in, struct conv *c,
    struct arena *arena, garble_mend_fn *mend, int (*file)(void *ctx))
{
	static const struct msg_schema *const kinds[] = { &agent_job_schema,
		&agent_job_schema, &agent_job_schema, &agent_job_schema,
		&agent_recorded_schema, &agent_hello_schema, NULL };
	const struct serve s = { .kinds = kinds, .mend = mend,
		.descriptor = file };

	serve_say(&s, in, c, arena);
}

void fake_agent_run(const struct fake_qmgr *q)
{
	static const struct msg_schema *const say[] = { &agent_hello_schema,
		&agent_result_schema, &agent_running_schema,
		&agent_present_schema, NULL };
	struct held *h;

	qmgr = q;
	conversations = q->conversations;
	receiver.fn = NULL;
	owed = told = 0;
	fake_spawn = run_thread;
	fake_edge("qmgr", hear, say);
	fuzz_check(serve_program->ready(NULL) == 0, "no start");
	if (setjmp(out) == 0)
		receiver.fn(receiver.arg);
	fuzz_check(LIST_EMPTY(&the->all) && the->queued == 0 &&
	    the->threads == 0, "a job is left");
	while ((h = TAILQ_FIRST(&the->held)) != NULL) {
		TAILQ_REMOVE(&the->held, h, link);
		free(h);
	}
	free(the);
	the = NULL;
}
