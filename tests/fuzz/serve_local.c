/*
 * serve_local.c - local, among neighbours of which one was taken over
 *
 * qmgr, lookup, auth, cleanup, a user's deliver or a deliver_command says what
 * it likes; the others are honest, and have their failures. A recipient is
 * sent when each step for it was said to be done, and never otherwise; what a
 * user's file names is done with that user's rights alone, and what root's
 * aliases name with those of default_privs; whose own programs are honest has
 * his mail whatever another's do; and a process that ends again and again
 * costs no more than one that lives.
 */
int local_main(int, char **);
#define main local_main
#include "local/main.c"
#undef main
#include "local/users.c"
#include <fcntl.h>
#include <stdio.h>
#include "msgs/deliver.h"
#include "msgs/lookup.h"
#include "tests/fuzz/fakes/agent.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/queue_file.h"
#include "tests/fuzz/fakes/submit.h"

#define ID UINT64_C(0x6925B1F30001)
#define JOBS 3
#define CONTENT "Subject: x\r\n\r\nof somebody\r\n"
#define FILTER "/usr/bin/filter -d"	/* mailbox_command */
#define RELAY "lost@elsewhere.test"	/* luser_relay */
#define EXPANSION 60

static struct params params;
static struct fuzz_in *input;

/* --- the world as it is ------------------------------------------------ */

static const struct account {
	const char *name, *dir;
	uint64_t uid;
	bool is_virtual;
	const char *forward;
} accounts[] = {
	{ "anna", "/home/anna", 1000, false,
	    "|/home/anna/sort, \\anna, anna@elsewhere.test\n" },
	{ "berta", "/home/berta", 1001, false, "" },
	{ "carla", "/home/carla", 1002, false,
	    "/home/carla/box\n:include:/home/carla/list, team\n" },
	{ "nobody", "/", 65534, false, "" },
	{ "vera@our.test", "our.test/vera", 5000, true, "" },
	{ "will@our.test", "our.test/will", 5000, true, "" },
};
#define ACCOUNTS (sizeof(accounts) / sizeof(accounts[0]))
#define ANNA 0
#define BERTA 1
#define NOBODY 3
#define VERA 4

static const struct { const char *name, *value; } aliases[] = {
	{ "team", "anna, berta, \"|/usr/bin/team\", d@elsewhere.test" },
	{ "owner-team", "berta" },
	{ "files", "/var/archive, |/usr/bin/count, :include:/etc/list" },
	{ "chain", "files@our.test, \\berta" },
	{ "berta", "berta, carla" },
	{ "broken", "\"|" },
};

/* What those files and the aliases name; as whom. */
static const struct { size_t account; const char *text; } named[] = {
	{ ANNA, "/home/anna/sort" }, { 2, "/home/carla/box" },
	{ 2, "/home/carla/list" }, { NOBODY, "/usr/bin/team" },
	{ NOBODY, "/var/archive" }, { NOBODY, "/usr/bin/count" },
	{ NOBODY, "/etc/list" },
};

static const struct included { const char *path, *text; } files[] = {
	{ "/home/carla/list", "# friends\nberta, e@elsewhere.test\n" },
	{ "/etc/list", "will@our.test\n\\anna\n" },
};

static const char *const rcpts[] = { "berta@our.test", "anna@our.test",
	"carla@our.test", "team@our.test", "files@our.test",
	"chain@our.test", "broken@our.test", "unknown@our.test",
	"berta+ext@our.test", "anna+ext@our.test", "nobody@our.test" };
static const char *const virtual_rcpts[] = { "vera@our.test",
	"vera+ext@our.test", "unknown@our.test", "will@our.test" };

/* --- who is hostile ---------------------------------------------------- */

enum who { NONE, QMGR, LOOKUP, AUTH, CLEANUP, ANNAS, ANNAS_COMMANDS,
	NOBODYS_COMMANDS, VERAS, WHO_END };

static enum who hostile;

struct place {
	const struct account *account;
	bool command;
};
/* An account's `deliver`, and its `deliver_command`. */
static struct place places[ACCOUNTS][2];

static bool is_hostile(const struct place *p)
{
	return (hostile == ANNAS && p == &places[ANNA][0]) ||
	    (hostile == ANNAS_COMMANDS && p == &places[ANNA][1]) ||
	    (hostile == NOBODYS_COMMANDS && p == &places[NOBODY][1]) ||
	    (hostile == VERAS && !p->command && p->account->uid == 5000);
}

/* What it is told to do is the account's own, or root's. */
static bool is_its_own(const struct place *p)
{
	size_t i = (size_t)(p->account - accounts);

	return hostile != AUTH &&
	    (i != ANNA || (hostile != ANNAS && hostile != ANNAS_COMMANDS)) &&
	    (i != NOBODY || (hostile != LOOKUP &&
	    hostile != NOBODYS_COMMANDS));
}

/* Now and then an honest one fails. */
static bool failures;

static unsigned draw_failure(void)
{
	return failures ? fuzz_octet(input) % 16 : 0;
}

/* --- what is done for a recipient -------------------------------------- */

static struct {
	unsigned done;		/* somebody has it */
	unsigned refused;	/* something failed */
	unsigned asked;
	/* A question had no answer: the same is asked again, or none. */
	bool open;
	uint64_t what;
	struct str mailbox, command;
} steps;

static void forget_steps(void)
{
	memset(&steps, 0, sizeof(steps));
}

static void take_question(const struct deliver_request *q)
{
	fuzz_check(++steps.asked < 40 * EXPANSION, "questions without end");
	fuzz_check(!steps.open || (steps.what == q->what &&
	    str_eq(steps.mailbox, q->mailbox) &&
	    str_eq(steps.command, q->command)),
	    "it goes on without an answer");
	steps.open = true;
	steps.what = q->what;
	steps.mailbox = fuzz_exact(q->mailbox);
	steps.command = fuzz_exact(q->command);
}

static void take_answer(const struct deliver_request *q,
    const struct deliver_reply *r)
{
	steps.open = false;
	if (r->status != AGENT_SENT)
		steps.refused++;
	else if (q->what != DELIVER_FORWARD && q->what != DELIVER_INCLUDE)
		steps.done++;
}

/* A file of which there is nothing wrong, and programs that did their work. */
static bool can_fail(const struct agent_task *t, size_t i);

static void check_outcome(const struct agent_task *t, size_t i,
    const struct agent_outcome *o)
{
	static const char classes[] = { [AGENT_SENT] = '2',
		[AGENT_DEFERRED] = '4', [AGENT_FAILED] = '5' };
	size_t n = strlen(o->dsn);

	fuzz_check(n >= 5 && n < 12 && o->dsn[0] == classes[o->status] &&
	    strspn(o->dsn, "0123456789.") == n, "status %d, code \"%s\"",
	    o->status, o->dsn);
	if (o->status == AGENT_SENT) {
		fuzz_check(steps.done > 0, "sent, and nobody has it");
		fuzz_check(!steps.open, "sent without an answer");
		/* luser_relay has it in the place of who says that he is
		 * unknown */
		fuzz_check(steps.refused == 0 || params.luser_relay[0] != '\0',
		    "sent, and %u steps failed", steps.refused);
	} else {
		fuzz_check(can_fail(t, i), STR_FMT " has no mail",
		    STR_ARG(t->job.rcpts.v[i]));
	}
	forget_steps();
}

/* --- the hostile one --------------------------------------------------- */

static void mend(void *ctx, const struct msg_schema *schema, void *msg);
static int give_descriptor(void *ctx);

/* Says nothing, the answer, something else, or two things. */
static void say_anything(struct conv *c, const struct msg_schema *answer)
{
	const struct msg_schema *const kinds[] = { answer, answer, answer,
		answer, answer, &submit_data_schema, &agent_job_schema, NULL };
	const struct serve s = { .kinds = kinds, .mend = mend,
		.descriptor = give_descriptor };
	unsigned how = fuzz_octet(input) % 16;

	if (how < 14)
		serve_say(&s, input, c, serve_scratch);
	if (how == 13)
		serve_say(&s, input, c, serve_scratch);
	if (how == 15)
		fake_leave(c);
	else if (how % 2 == 1)
		fake_leave_last(c);
}

/* --- deliver, deliver_command ------------------------------------------ */

static bool is_named(const struct place *p, struct str text)
{
	size_t i = (size_t)(p->account - accounts);

	for (size_t k = 0; k < sizeof(named) / sizeof(named[0]); k++)
		if (named[k].account == i && str_eq_c(text, named[k].text))
			return true;
	return false;
}

static bool has_pair(const struct deliver_request *q, const char *name,
    struct str value)
{
	char room[1100];
	struct str s;

	snprintf(room, sizeof(room), "%s=" STR_FMT, name, STR_ARG(value));
	s = str_of(room);
	for (size_t i = 0; i < q->environment.n; i++)
		if (str_eq(q->environment.v[i], s))
			return true;
	return false;
}

static void check_question(const struct place *p,
    const struct deliver_request *q)
{
	const struct account *a = p->account;

	fuzz_check(q->file >= 0 || hostile == QMGR, "no message");
	if (!is_its_own(p))
		return;
	fuzz_check(p->command == (q->what >= DELIVER_COMMAND),
	    "the wrong program is asked");
	fuzz_check(a->is_virtual || str_eq_c(q->dir, a->dir), "its home");
	switch (q->what) {
	case DELIVER_COMMAND:
		fuzz_check(is_named(p, q->command) ||
		    str_eq_c(q->command, params.mailbox_command),
		    "%s is to run \"" STR_FMT "\"", a->name,
		    STR_ARG(q->command));
		break;
	case DELIVER_FILE: case DELIVER_INCLUDE:
		fuzz_check(is_named(p, q->mailbox), "%s is to use \"" STR_FMT
		    "\"", a->name, STR_ARG(q->mailbox));
		break;
	case DELIVER_MAILBOX:
		fuzz_check(a->is_virtual ? q->mailbox.n == 0 :
		    str_eq_c(q->mailbox, params.home_mailbox) ||
		    str_eq_c(str_from(q->mailbox, 1), a->name),
		    "another mailbox: " STR_FMT, STR_ARG(q->mailbox));
		return;
	default:
		break;
	}
	fuzz_check(has_pair(q, "HOME", str_of(a->dir)) &&
	    has_pair(q, "USER", str_of(a->name)) &&
	    has_pair(q, "QUEUE_ID", q->queue_id) &&
	    has_pair(q, "SENDER", q->sender) &&
	    has_pair(q, "RECIPIENT", q->rcpt), "its environment");
}

static void serve_question(const struct place *p,
    const struct deliver_request *q, struct deliver_reply *r)
{
	*r = (struct deliver_reply){ .status = AGENT_SENT,
		.dsn = STR("2.0.0"), .text = STR("done") };
	if (q->what == DELIVER_FORWARD && p->account->forward[0] != '\0') {
		r->found = true;
		r->content = str_of(p->account->forward);
	}
	for (size_t i = 0; q->what == DELIVER_INCLUDE &&
	    i < sizeof(files) / sizeof(files[0]); i++)
		if (str_eq_c(q->mailbox, files[i].path)) {
			r->found = true;
			r->content = str_of(files[i].text);
		}
	switch (draw_failure()) {
	case 15:
		r->status = AGENT_DEFERRED;
		r->dsn = STR("4.2.2");
		break;
	case 14:
		r->status = AGENT_FAILED;
		r->dsn = STR("5.7.0");
		break;
	}
}

static void play_deliver(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct place *p = *fake_state(c);
	const struct deliver_request *q = msg;
	struct deliver_reply r;

	(void)schema;
	take_question(q);
	check_question(p, q);
	if (is_hostile(p)) {
		say_anything(c, &deliver_reply_schema);
		if (fake_first(c, &deliver_reply_schema, serve_scratch, &r))
			take_answer(q, &r);
		arena_reset(serve_scratch);
		return;
	}
	/* It ends before it took the question, or with it. */
	if (draw_failure() == 15) {
		fake_leave(c);
		return;
	}
	serve_question(p, q, &r);
	fake_say(c, &deliver_reply_schema, &r);
	take_answer(q, &r);
}

static int lead_to(struct place *p)
{
	static const struct msg_schema *const ask[] = {
		&deliver_request_schema, NULL };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	fake_lead(fd, play_deliver, ask, p);
	return fd;
}

static int give_descriptor(void *ctx)
{
	(void)ctx;
	return lead_to(&places[fuzz_number(input, ACCOUNTS - 1)]
	    [fuzz_number(input, 1)]);
}

/* --- auth -------------------------------------------------------------- */

static void play_auth(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct mailbox_request *q = msg;
	struct mailbox_reply r = { .status = AUTH_NO, .deliver = -1 };
	unsigned how;

	(void)schema;
	if (hostile == AUTH) {
		say_anything(c, &mailbox_reply_schema);
		return;
	}
	how = draw_failure();
	steps.refused += how > 13;
	if (how == 15) {
		fake_leave(c);
		return;
	}
	for (size_t i = 0; how < 14 && i < ACCOUNTS; i++) {
		const struct account *a = &accounts[i];

		if (!str_eq_c(q->address, a->name))
			continue;
		r = (struct mailbox_reply){ .status = AUTH_OK,
			.user = q->address, .uid = a->uid, .gid = a->uid,
			.is_virtual = a->is_virtual, .dir = str_of(a->dir),
			.deliver = lead_to(&places[i][q->command]) };
	}
	if (how == 14)
		r.status = AUTH_TEMPFAIL;
	fake_say(c, &mailbox_reply_schema, &r);
}

/* --- lookup ------------------------------------------------------------ */

static void play_lookup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct alias_request *q = msg;
	struct alias_reply r = { .status = LOOKUP_NO_USER };
	unsigned how;

	(void)schema;
	if (hostile == LOOKUP) {
		say_anything(c, &alias_reply_schema);
		return;
	}
	how = draw_failure();
	steps.refused += how > 13;
	if (how == 15) {
		fake_leave(c);
		return;
	}
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (str_eq_c(q->name, aliases[i].name))
			r = (struct alias_reply){ .status = LOOKUP_OK,
				.value = str_of(aliases[i].value),
				.by_root = true };
	if (how == 14)
		r.status = LOOKUP_TEMPFAIL;
	fake_say(c, &alias_reply_schema, &r);
}

/* --- cleanup ----------------------------------------------------------- */

static unsigned answer_submit(const struct fake_message *m, bool whole)
{
	unsigned how = draw_failure(), code;
	struct str content = buf_str(&m->content), line;

	if (!whole && how < 14)
		return 1;
	code = how == 15 ? 451 : how == 14 ? 550 : how == 13 ? 0 : 250;
	fuzz_check(m->flags & SUBMIT_INTERNAL, "as a user's message");
	if (code != 250) {
		steps.refused++;
		return code;
	}
	steps.done++;
	fuzz_check(m->rcpt_count > 0, "nobody's message");
	fuzz_check(str_split(&content, '\n', &line) &&
	    str_starts(line, STR("Delivered-To: ")), "no Delivered-To:");
	fuzz_check(hostile == QMGR || str_ends(content, STR(CONTENT)),
	    "another message");
	return code;
}

static void play_cleanup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct submit_reply r;
	bool *said = *fake_state(c);
	static bool yes;

	(void)schema;
	(void)msg;
	if (fuzz_octet(input) % 2 == 0 || said != NULL)
		return;
	*fake_state(c) = &yes;
	say_anything(c, &submit_reply_schema);
	if (!fake_first(c, &submit_reply_schema, serve_scratch, &r) ||
	    r.code != 250)
		steps.refused++;
	else
		steps.done++;
	arena_reset(serve_scratch);
}

/* --- what a hostile one says may be true ------------------------------- */

static struct str some_forward(void *ctx)
{
	static const char *const texts[] = { "\\anna", "berta", "\\berta",
		"|/home/anna/other", "/home/anna/other", "anna, carla, team",
		":include:/home/anna/self", "carla+x@our.test, ,", "\"|a b\"",
		"vera@our.test", "\\nobody, \\anna, nobody", "files",
		"a@b.test, c@d.test, \\e, \\f, \\g, \\h" };
	size_t k = fuzz_number(ctx, 15);
	struct str raw;

	if (k < sizeof(texts) / sizeof(texts[0]))
		return str_of(texts[k]);
	raw = fuzz_take(ctx, fuzz_number(ctx, 200));
	return fuzz_exact(raw);
}

static void mend_mailbox(void *ctx, struct mailbox_reply *r)
{
	const struct account *a = &accounts[fuzz_number(ctx, ACCOUNTS - 1)];

	if (fuzz_number(ctx, 7) > 0)
		r->status = AUTH_OK;
	if (fuzz_number(ctx, 7) == 0)
		return;
	r->user = str_of(a->name);
	r->uid = a->uid;
	r->is_virtual = a->is_virtual;
	r->dir = str_of(a->dir);
}

static void mend_job(void *ctx, struct agent_job *job)
{
	if (fuzz_number(ctx, 7) > 0)
		job->queue_id = STR("6925B1F30001");
	if (fuzz_number(ctx, 7) > 0)
		job->transport = fuzz_number(ctx, 3) == 0 ? STR("virtual")
		    : STR("local");
	for (size_t i = 0; i < job->rcpts.n && i < 4; i++)
		if (fuzz_number(ctx, 7) > 0)
			job->rcpts.v[i] = str_of(rcpts[fuzz_number(ctx,
			    sizeof(rcpts) / sizeof(rcpts[0]) - 1)]);
}

static void mend(void *ctx, const struct msg_schema *schema, void *msg)
{
	static const uint64_t codes[] = { 250, 250, 250, 451, 550, 0, 300,
		999 };

	if (schema == &deliver_reply_schema) {
		struct deliver_reply *r = msg;

		if (fuzz_number(ctx, 7) > 0)
			r->status = AGENT_SENT;
		if (fuzz_number(ctx, 3) > 0)
			r->content = some_forward(ctx);
	} else if (schema == &mailbox_reply_schema) {
		mend_mailbox(ctx, msg);
	} else if (schema == &alias_reply_schema) {
		struct alias_reply *r = msg;

		if (fuzz_number(ctx, 3) > 0)
			r->value = some_forward(ctx);
		r->status = 1 + fuzz_number(ctx, 2);
	} else if (schema == &submit_reply_schema) {
		struct submit_reply *r = msg;

		r->code = codes[fuzz_number(ctx, 7)];
	} else if (schema == &agent_job_schema) {
		mend_job(ctx, msg);
	} else if (schema == &agent_recorded_schema) {
		struct agent_recorded *r = msg;

		for (size_t i = 0; i < r->queue_ids.n && i < 4; i++)
			r->queue_ids.v[i] = STR("6925B1F30001");
		for (size_t i = 0; i < r->indexes.n && i < 4; i++)
			r->indexes.v[i] = fuzz_number(ctx, 3);
	}
}

/* --- qmgr -------------------------------------------------------------- */

/* Whole, a loop, damaged, cut, nothing. */
static int queue_files[5];

static int give_file(void *ctx)
{
	unsigned what = fuzz_number(ctx, 15);

	return dup(queue_files[what < 5 ? what : 0]);
}

static void say_honest_job(struct conv *c)
{
	static uint64_t number;
	bool is_virtual = fuzz_octet(input) % 4 == 3;
	struct str to[3], from[3], none[3] = { STR_NONE, STR_NONE, STR_NONE };
	uint64_t indexes[3] = { 0, 1, 2 }, notify[3] = { 0, 4, 1 };
	struct agent_job job = { .job = ++number,
		.queue_id = STR("6925B1F30001"),
		.transport = is_virtual ? STR("virtual") : STR("local"),
		.sender = STR("x@y.test"), .file = dup(queue_files[0]),
		.rcpts = { to, 1 + fuzz_number(input, 2) } };

	for (size_t i = 0; i < job.rcpts.n; i++) {
		to[i] = is_virtual ? str_of(virtual_rcpts[fuzz_number(input,
		    3)]) : str_of(rcpts[fuzz_number(input, 10)]);
		from[i] = to[i];
	}
	job.indexes = (struct nums){ indexes, job.rcpts.n };
	job.originals = (struct strs){ from, job.rcpts.n };
	job.orcpts = (struct strs){ none, job.rcpts.n };
	job.notify = (struct nums){ notify, job.rcpts.n };
	fake_say(c, &agent_job_schema, &job);
}

static void say_jobs(struct conv *c)
{
	for (size_t i = 1 + fuzz_number(input, JOBS - 1); i > 0; i--)
		if (hostile == QMGR)
			fake_agent_garble(input, c, serve_scratch, mend, give_file);
		else
			say_honest_job(c);
}

/* Who has only to do with honest programs that did not fail has his mail. */
static bool can_fail(const struct agent_task *t, size_t i)
{
	struct str to = t->job.rcpts.v[i];
	bool is_virtual = str_eq_c(t->job.transport, "virtual");

	if (hostile == QMGR || hostile == LOOKUP || hostile == AUTH ||
	    hostile == CLEANUP || steps.refused > 0 || steps.open ||
	    str_starts(to, STR("unknown")) || str_starts(to, STR("broken")))
		return true;
	if (hostile == NONE)
		return false;
	if (is_virtual)
		return hostile == VERAS;
	return hostile == VERAS ? str_starts(to, STR("files")) :
	    !str_eq_c(to, "carla@our.test");
}

/* --- one input --------------------------------------------------------- */

static void choose_params(void)
{
	unsigned how = fuzz_octet(input);

	params.home_mailbox = how & 1 ? "Maildir/" : "";
	params.mailbox_command = how & 2 ? FILTER : "";
	params.luser_relay = how & 4 ? RELAY : "";
	params.allow_mail_to_commands = params.allow_mail_to_files =
	    how & 8 ? "alias, forward, include" : "alias, forward";
	failures = how & 16;
}

static void forget_users(void)
{
	fuzz_check(fake_edges() <= process_count, "%zu edges for %zu "
	    "processes", fake_edges(), process_count);
	for (; process_count > 0; process_count--) {
		fuzz_check(processes[process_count - 1].way == NULL ||
		    processes[process_count - 1].way->uses == 1,
		    "a conversation that nobody ended");
		leave_way(&processes[process_count - 1].way);
		free(processes[process_count - 1].home);
	}
	free(processes);
	processes = NULL;
	map_free(&entries, free);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, local_main);
	params.recipient_delimiter = "+";
	params.alias_expansion_limit = EXPANSION;
	fake_submit_answer = answer_submit;
	for (size_t i = 0; i < ACCOUNTS; i++)
		for (size_t k = 0; k < 2; k++)
			places[i][k] = (struct place){ &accounts[i], k == 1 };
	queue_files[0] = fake_queue_file("whole", ID, STR(CONTENT));
	queue_files[1] = fake_queue_file("loop", ID,
	    STR("Delivered-To: berta@our.test\r\n" CONTENT));
	queue_files[2] = fake_queue_file("damaged", ID, STR(CONTENT));
	fuzz_check(pwrite(queue_files[2], "?", 1, (off_t)(lseek(
	    queue_files[2], 0, SEEK_END) - 3)) == 1, "no damage");
	queue_files[3] = fake_queue_file("cut", ID, STR(CONTENT));
	fuzz_check(ftruncate(queue_files[3], 100) == 0, "no cut");
	queue_files[4] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const transports[] = { "local", "virtual", NULL };
	static const struct msg_schema *const ask_lookup[] = {
		&alias_request_schema, NULL };
	static const struct msg_schema *const ask_auth[] = {
		&mailbox_request_schema, NULL };
	static const struct msg_schema *const ask_cleanup[] = {
		&submit_begin_schema, &submit_rcpts_schema,
		&submit_data_schema, NULL };
	struct fake_qmgr qmgr = { .transports = transports, .say = say_jobs,
		.outcome = check_outcome };
	struct fuzz_in in = fuzz_in(p, n);

	input = &in;
	fake_time = 1000 * CLOCK_SECOND;
	hostile = (enum who)fuzz_number(&in, WHO_END - 1);
	choose_params();
	qmgr.conversations = 1 + (unsigned)fuzz_number(&in, 2);
	fake_submit_handed_on = hostile == QMGR;
	forget_steps();
	serve_begin();
	fake_edge("lookup", play_lookup, ask_lookup);
	fake_edge("auth", play_auth, ask_auth);
	if (hostile == CLEANUP)
		fake_edge("cleanup", play_cleanup, ask_cleanup);
	else
		fake_submit_start();
	fake_agent_run(&qmgr);
	forget_users();
	fake_submit_end();
	serve_end(32 << 20);
	return 0;
}
