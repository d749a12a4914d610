/*
 * serve_deliver_command.c - deliver_command, between a local that was taken
 * over and commands that do as they like
 *
 * The command is played: it reads and writes the pipes that it was given,
 * closes them, sleeps, exits or dies as the input says. It is what was asked
 * for, with that environment and no more; sent is what exits with 0 in time,
 * anything else is what sysexits(3) makes of its status (local(8)). It reads
 * the message from its first octet, and never the end of one that is damaged;
 * what it says is cut, and has no control octets.
 */
#include <fcntl.h>
int deliver_command_main(int, char **);
int open_played(const char *path, int flags, ...);
#define main deliver_command_main
#define open open_played
#define start start_program
#include "local/deliver_command_main.c"
#undef start
#undef open
#undef main
#include "local/deliver_command.c"
#include "mail/status.h"
#include "queue/id.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/queue_file.h"
#include "tests/fuzz/fakes/serve.h"

#define ID UINT64_C(0x6925B1F30001)
#define LIMIT 100		/* command_time_limit */
#define STEPS 400
#define TEXT_MAX (OUTPUT_MAX + 300)

static struct params params;
static struct fuzz_in *input;

/* --- messages ---------------------------------------------------------- */

#define LARGE 60000
static char large[LARGE];
static const char lines[] = "Subject: x\r\n\r\nFrom here\r\n.\r\nbare\rCR\r\n";
/* As a command is to read it: LF ends. */
static char large_read[LARGE];
static const char lines_read[] = "Subject: x\n\nFrom here\n.\nbare\rCR\n";
static struct { int fd; struct str read; } messages[4];
#define WHOLE 2			/* of them; the others are damaged */

static void make_messages(void)
{
	struct queue_reader r;
	const char *why;
	size_t n = 0;
	struct str s;

	for (size_t i = 0; i < LARGE; i++) {
		large[i] = i % 50 == 48 ? '\r' : i % 50 == 49 ? '\n' : 'x';
		if (large[i] != '\r')
			large_read[n++] = large[i];
	}
	s = str_n(large, LARGE);
	messages[0].fd = fake_queue_file("lines", ID, str_of(lines));
	messages[0].read = str_of(lines_read);
	messages[1].fd = fake_queue_file("large", ID, s);
	messages[1].read = str_n(large_read, n);
	messages[2].fd = fake_queue_file("damaged", ID, s);
	fuzz_check(pwrite(messages[2].fd, "?", 1, LARGE / 2) == 1, "damage");
	messages[3].fd = fake_queue_file("small", ID, str_of(lines));
	fuzz_check(queue_reader_open_header(&r, messages[3].fd, ID, &why) ==
	    0 && pwrite(messages[3].fd, "?", 1, (off_t)r.header.extents[0].
	    offset + 12) == 1, "damage");
}

static size_t message;		/* of the question */

static int give_file(void *ctx)
{
	message = fuzz_number(ctx, 3);
	return dup(messages[message].fd);
}

/* --- the command ------------------------------------------------------- */

static struct command {
	bool started, ended, killed;
	int in, out;		/* its ends; -1: closed */
	bool exited;
	int status;		/* as waitpid() has it */
	bool timed_out;		/* as the clock says to deliver_command */
	bool saw_end;
	struct buf read;
	size_t said;
	unsigned steps;
} command;

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void read_some(size_t n)
{
	char piece[4096];
	ssize_t k;

	while (n > 0 && command.in >= 0) {
		k = read(command.in, piece, n < sizeof(piece) ? n
		    : sizeof(piece));
		if (k < 0)
			return;
		if (k == 0) {
			command.saw_end = true;
			return;
		}
		buf_append_n(&command.read, piece, (size_t)k);
		n -= (size_t)k;
	}
}

static void write_some(struct str s)
{
	ssize_t n = command.out < 0 ? 0 : write(command.out, s.p, s.n);

	if (n > 0)
		command.said += (size_t)n;
}

/* leaves_out: something that it started has its output still. */
static void end_with(int status, bool leaves_out)
{
	command.exited = true;
	command.status = status;
	shut(&command.in);
	if (!leaves_out)
		shut(&command.out);
}

static void step(void)
{
	static const unsigned char codes[] = { 0, 0, 1, 2, 64, 65, 66, 67, 68,
		69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 126, 127, 255 };
	unsigned what = fuzz_octet(input);
	static char flood[4096];

	/* At its end it is as commands are. */
	if (command.exited || ++command.steps > STEPS) {
		fake_pass(LIMIT * CLOCK_SECOND);
		return;
	}
	switch (what % 16) {
	case 0:
		read_some(LARGE * 2);
		if (command.saw_end)
			end_with(0, false);
		break;
	case 1: case 2:
		read_some(1 + what / 16 * 300);
		break;
	case 3: case 4: case 5:
		write_some(fuzz_take(input, 1 + what / 16 * 8));
		break;
	case 6:
		memset(flood, what, sizeof(flood));
		for (unsigned i = 0; i < what / 16; i++)
			write_some(str_n(flood, sizeof(flood)));
		break;
	case 7:
		shut(&command.in);
		break;
	case 8:
		shut(&command.out);
		break;
	case 9:
		fake_pass(what / 16 * CLOCK_SECOND);
		break;
	case 10:
		fake_pass(what & 128 ? LIMIT * CLOCK_SECOND : CLOCK_MS);
		break;
	case 11: case 12: case 13:
		end_with(W_EXITCODE(codes[fuzz_octet(input) %
		    sizeof(codes)], 0), what / 16 == 15);
		break;
	case 14:
		end_with(W_EXITCODE(fuzz_octet(input), 0), false);
		break;
	default:
		end_with(1 + what / 16, false);
	}
}

int __real_poll(struct pollfd *, nfds_t, int);
int __wrap_poll(struct pollfd *, nfds_t, int);
int64_t __wrap_clock_now(void);
int __wrap_clock_poll_ms(int64_t);

int __wrap_clock_poll_ms(int64_t deadline)
{
	return deadline <= fake_time ? 0 :
	    (int)((deadline - fake_time + 999) / CLOCK_MS);
}

/* Until a pipe is ready or the time is over, the command does something. */
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout)
{
	int64_t until = fake_time + timeout * CLOCK_MS;
	int rc;

	fuzz_check(timeout >= 0, "it waits for ever");
	while ((rc = __real_poll(p, n, 0)) == 0) {
		if (fake_time >= until) {
			command.timed_out = true;
			return 0;
		}
		step();
	}
	/* It does not wait for us. */
	if (!command.exited && fuzz_octet(input) % 4 != 0)
		step();
	command.timed_out |= fake_time >= until;
	return rc;
}

/* --- local/keeper.h ---------------------------------------------------- */

static const struct deliver_request *asked;

static bool has_env(const char *const *env, const char *pair)
{
	while (*env != NULL && strcmp(*env, pair) != 0)
		env++;
	return *env != NULL;
}

static void check_words(const char *const *argv)
{
	struct str rest = asked->command, word;

	for (; *argv != NULL; argv++)
		fuzz_check(str_word(&rest, " \t", &word) &&
		    str_eq_c(word, *argv), "it is to run \"%s\"", *argv);
	fuzz_check(str_trim(rest).n == 0, "a word less");
}

static void check_image(const struct image *m)
{
	static const char safe[] = "%+,-./:=@_!"; /* and letters, digits */
	const char *const *env = m->env;
	size_t n = 0, given = 0;
	bool plain = true;

	for (size_t i = 0; i < asked->command.n; i++) {
		char c = asked->command.p[i];

		plain &= c == ' ' || c == '\t' || ascii_is_alpha(c) ||
		    ascii_is_digit(c) || (c != '\0' && strchr(safe, c));
	}
	fuzz_check(strcmp(m->shell[0], "/bin/sh") == 0 &&
	    strcmp(m->shell[1], "-c") == 0 && m->shell[3] == NULL &&
	    str_eq_c(asked->command, m->shell[2]), "another shell");
	if (m->argv == m->shell)
		fuzz_check(!plain, "a shell for plain words");
	else
		check_words(m->argv);
	fuzz_check(str_eq_c(asked->dir, m->home) || str_has_nul(asked->dir),
	    "another directory");
	for (size_t i = 0; i < asked->environment.n; i++) {
		struct str e = asked->environment.v[i];

		if (str_has_nul(e))
			continue;
		given++;
		fuzz_check(has_env(env, fuzz_cstr(e)), "\"" STR_FMT
		    "\" is missing", STR_ARG(e));
	}
	while (env[n] != NULL)
		n++;
	fuzz_check(n >= given + 2 && n <= given + 5, "%zu variables", n);
}

int keeper_start(struct keeper *k, keeper_fn *fn, void *arg)
{
	const struct image *m = arg;

	fuzz_check(fn == become, "another function");
	fuzz_check(!command.started, "a second command");
	check_image(m);
	*k = (struct keeper){ .link = -1 };
	command.started = true;
	if (fuzz_octet(input) % 16 == 15) {
		command.ended = true;
		errno = EAGAIN;
		return -1;
	}
	command.in = dup(m->in);
	command.out = dup(m->out);
	fcntl(command.in, F_SETPIPE_SZ, 4096);
	fcntl(command.in, F_SETFL, O_NONBLOCK);
	fcntl(command.out, F_SETFL, O_NONBLOCK);
	for (unsigned i = fuzz_octet(input) % 4; i > 0; i--)
		step();
	return 0;
}

bool keeper_wait(struct keeper *k, int64_t deadline)
{
	while (!command.exited) {
		if (fake_time >= deadline) {
			command.timed_out = true;
			return false;
		}
		step();
	}
	k->has_status = true;
	k->status = command.status;
	return true;
}

int keeper_end(struct keeper *k)
{
	(void)k;
	fuzz_check(command.started && !command.ended, "nothing runs");
	command.ended = true;
	command.killed = !command.exited;
	shut(&command.in);
	shut(&command.out);
	return command.exited ? command.status : W_EXITCODE(EX_TEMPFAIL, 0);
}

/* --- what it delivers elsewhere (serve_deliver.c), and what it reads --- */

void deliver_maildir(struct delivery_job *j, struct deliver_reply *r)
{
	fuzz_check(j->request->mailbox.p[0] == '/' &&
	    str_ends(j->request->mailbox, STR("/")), "no Maildir");
	deliver_outcome(r, AGENT_SENT, "2.0.0", STR("played"));
}

int deliver_maildir_start(void)
{
	return 0;
}

void deliver_mbox(struct delivery_job *j, int dir, const char *path,
    struct deliver_reply *r)
{
	fuzz_check(dir == AT_FDCWD && path[0] == '/' &&
	    str_eq_c(j->request->mailbox, path), "no file");
	deliver_outcome(r, AGENT_SENT, "2.0.0", STR("played"));
}

/* A file, one that is too large, a directory, a device, none. */
int open_played(const char *path, int flags, ...)
{
	unsigned what = fuzz_octet(input) % 8;

	fuzz_check(path[0] == '/' && flags == (O_RDONLY | O_CLOEXEC |
	    O_NONBLOCK), "%s is opened", path);
	if (what == 7) {
		errno = EACCES;
		return -1;
	}
	return what == 6 ? open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
	    : what == 5 ? open("/dev/null", O_RDONLY | O_CLOEXEC)
	    : what == 4 ? fuzz_file(str_n(large, LARGE))
	    : fuzz_file(fuzz_take(input, what * 50));
}

/* --- local ------------------------------------------------------------- */

/* sysexits(3) in the words of local(8) and Postfix's pipe(8); of the others
 * 5.3.0. */
static const char *code_of(int status)
{
	static const struct { int code; const char *dsn; } rows[] = {
		{ 0, "2.0.0" }, { 64, "5.3.0" }, { 65, "5.6.0" },
		{ 66, "5.3.0" }, { 67, "5.1.1" }, { 68, "5.1.2" },
		{ 69, "5.3.0" }, { 70, "5.3.0" }, { 71, "4.3.0" },
		{ 72, "5.3.0" }, { 73, "5.2.0" }, { 74, "5.3.0" },
		{ 75, "4.3.0" }, { 76, "5.5.0" }, { 77, "5.7.0" },
		{ 78, "5.3.5" }, { 126, "4.3.0" }, { 127, "4.3.0" } };

	for (size_t i = 0; WIFEXITED(status) &&
	    i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == WEXITSTATUS(status))
			return rows[i].dsn;
	return "5.3.0";
}

static void check_text(struct str text)
{
	const struct str mark = STR("Command output: ");
	ssize_t at = str_find_nocase(text, mark);
	struct str said;

	fuzz_check(text.n <= TEXT_MAX, "%zu octets of text", text.n);
	fuzz_check(at < 0 || command.said > 0 ||
	    str_find_nocase(asked->command, mark) >= 0, "it said nothing");
	if (at < 0 || str_find_nocase(asked->command, STR("output")) >= 0)
		return;
	said = str_from(text, (size_t)at + mark.n);
	fuzz_check(said.n > 0 && said.n <= OUTPUT_MAX, "its output");
	for (size_t i = 0; i < said.n; i++)
		fuzz_check((unsigned char)said.p[i] >= ' ',
		    "a control octet in its output");
}

static void check_read(void)
{
	struct str got = buf_str(&command.read);

	if (got.n > 4)
		fuzz_check(str_starts(got, STR("From ")), "no From line");
	if (!command.saw_end)
		return;
	fuzz_check(message < WHOLE, "it sees the end of a damaged message");
	fuzz_check(str_ends(got, messages[message].read),
	    "another message");
}

static void check_command(const struct deliver_reply *r)
{
	fuzz_check(command.ended, "a command is not ended");
	check_read();
	if (message >= WHOLE && r->status == AGENT_DEFERRED &&
	    str_starts(r->text, STR("queue file")))
		return;
	if (str_starts(r->text, STR("command: "))) { /* not started */
		fuzz_check(r->status == AGENT_DEFERRED, "it is not started");
		return;
	}
	if (command.timed_out) {
		fuzz_check(r->status == AGENT_FAILED &&
		    str_eq_c(r->dsn, "5.3.0"), "it was killed, dsn " STR_FMT,
		    STR_ARG(r->dsn));
		return;
	}
	fuzz_check(command.exited && str_eq_c(r->dsn,
	    code_of(command.status)), "status %x, dsn " STR_FMT,
	    (unsigned)command.status, STR_ARG(r->dsn));
}

static void check_reply(const struct deliver_reply *r)
{
	static const int classes[] = { [AGENT_SENT] = 2, [AGENT_DEFERRED] = 4,
		[AGENT_FAILED] = 5 };

	fuzz_check(r->status >= AGENT_SENT && r->status <= AGENT_FAILED &&
	    mail_status_has_class(r->dsn, classes[r->status]),
	    "status %llu, dsn " STR_FMT, (unsigned long long)r->status,
	    STR_ARG(r->dsn));
	fuzz_check(r->content.n == 0 || (r->found && asked->what ==
	    DELIVER_INCLUDE), "a text that nobody asked for");
	if (asked->what != DELIVER_COMMAND) {
		fuzz_check(!command.started, "a command for another question");
		return;
	}
	check_text(r->text);
	fuzz_check(r->status != AGENT_SENT || command.started,
	    "sent, and nothing ran");
	if (command.started)
		check_command(r);
}

static bool replied;

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	(void)c;
	fuzz_check(schema == &deliver_reply_schema && !replied,
	    "another answer");
	replied = true;
	check_reply(msg);
}

/* What there is, and nothing outside of here. */
static void mend(void *ctx, const struct msg_schema *schema, void *msg)
{
	static const char *const commands[] = { "/usr/bin/filter -d", "true",
		"exit 3; echo", "a  b\tc ", " ", "|", "a b c d e f g h i j k l",
		"echo $HOME", "x\ty'z'" };
	static const char *const pairs[] = { "HOME=/home/anna", "TZ=x",
		"PATH=.", "A", "=", "LD_PRELOAD=/tmp/x" };
	struct deliver_request *q = msg;
	struct str raw;

	if (schema != &deliver_request_schema)
		return;
	if (fuzz_number(ctx, 7) > 0)
		q->queue_id = STR("6925B1F30001");
	if (fuzz_number(ctx, 3) > 0)
		q->what = DELIVER_COMMAND;
	if (fuzz_number(ctx, 7) > 0) {
		q->command = str_of(commands[fuzz_number(ctx, 8)]);
	} else if (fuzz_bool(ctx)) {
		raw = fuzz_take(ctx, fuzz_number(ctx, 255));
		q->command = fuzz_exact(raw);
	}
	if (fuzz_number(ctx, 3) > 0)
		q->dir = STR("/home/anna");
	if (fuzz_bool(ctx))
		q->sender = STR("x@y.test");
	for (size_t i = 0; i < q->environment.n && i < 6; i++)
		if (fuzz_number(ctx, 3) > 0)
			q->environment.v[i] = str_of(pairs[fuzz_number(ctx,
			    5)]);
}

static void ask(void)
{
	static const struct msg_schema *const kinds[] = {
		&deliver_request_schema, &deliver_request_schema,
		&deliver_request_schema, &deliver_request_schema,
		&deliver_request_schema, &deliver_request_schema,
		&deliver_reply_schema, NULL };
	const struct serve s = { .client = "local", .kinds = kinds,
		.mend = mend, .descriptor = give_file };
	struct arena *kept = arena_new(1 << 20);
	struct conv *c = fake_client("local", hear);
	int64_t until = fake_time + 2 * LIMIT * CLOCK_SECOND;
	struct deliver_request q;
	bool is_question;

	message = 3;
	memset(&command, 0, sizeof(command));
	command.in = command.out = -1;
	buf_init(&command.read, 1 << 20);
	replied = false;
	serve_say(&s, input, c, serve_scratch);
	is_question = fake_first(c, &deliver_request_schema, kept, &q);
	asked = &q;
	fake_leave_last(c);
	serve_program->converse(c, "local");
	/* what is over its time slept as long again, at most */
	fuzz_check(fake_time <= until, "it took too long");
	fuzz_check(replied == is_question, "%s",
	    replied ? "an answer to nothing" : "no answer");
	buf_fini(&command.read);
	arena_free(&kept);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, deliver_command_main);
	signal(SIGPIPE, SIG_IGN);
	params.command_time_limit = LIMIT;
	make_messages();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);

	input = &in;
	fake_time = 1000 * CLOCK_SECOND;
	serve_begin();
	for (size_t i = 1 + fuzz_number(&in, 3); i > 0; i--)
		ask();
	serve_end(24 << 20);
	return 0;
}
