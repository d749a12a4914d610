#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include "base/clock.h"
#include "local/deliver.h"
#include "local/keeper.h"
#include "service/service.h"

#define PIECE 32768
#define OUTPUT_MAX 1000		/* octets of what it says, for the bounce */
#define WORDS_MAX 100
#define NOT_STARTED 127		/* the shell's word for it, and ours */

/* What a shell is not needed for. */
static bool is_plain(struct str command)
{
	static const char ok[] = "1234567890!@%-_=+:,./"
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t";

	for (size_t i = 0; i < command.n; i++)
		if (command.p[i] == '\0' || strchr(ok, command.p[i]) == NULL)
			return false;
	return true;
}

static const char **split(struct delivery_job *j, char *command)
{
	const char **argv = arena_array(j->arena, WORDS_MAX + 1,
	    sizeof(*argv));
	char *p = command;
	size_t n = 0;

	while (argv != NULL && n < WORDS_MAX) {
		p += strspn(p, " \t");
		if (*p == '\0')
			break;
		argv[n++] = p;
		p += strcspn(p, " \t");
		if (*p != '\0')
			*p++ = '\0';
	}
	return n == WORDS_MAX || n == 0 ? NULL : argv;
}

/* Of our own environment only what says how to write dates and texts. */
static const char **environment(struct delivery_job *j)
{
	static const char *const kept[] = { "TZ", "LANG", "LC_ALL" };
	const struct strs *given = &j->request->environment;
	const char **env = arena_array(j->arena, given->n + 6, sizeof(*env));
	size_t n = 0;

	if (env == NULL)
		return NULL;
	env[n++] = "PATH=/usr/local/bin:/usr/bin:/bin";
	env[n++] = "SHELL=/bin/sh";
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);

		if (value != NULL)
			env[n++] = arena_printf(j->arena, "%s=%s", kept[i],
			    value).p;
	}
	for (size_t i = 0; i < given->n; i++)
		if (!str_has_nul(given->v[i]))
			env[n++] = arena_cstr(j->arena, given->v[i]);
	return env;
}

struct child {
	struct keeper keeper;
	int in, out;	/* our ends: what it reads, what it says */
	char said[OUTPUT_MAX + 1];
	size_t nsaid;
	bool timed_out;
};

/* What it executes, and its ends of the pipes. */
struct image {
	const char *const *argv, *const *shell, *const *env;
	const char *home;
	int in, out;
};

/* In the child (keeper_fn). */
static void become(void *arg)
{
	const struct image *m = arg;
	char *const *env = (char *const *)(uintptr_t)m->env;
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	setsid();
	for (int s = 1; s < 32; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(m->in, 0) < 0 || dup2(m->out, 1) < 0 || dup2(m->out, 2) < 0)
		_exit(EX_TEMPFAIL);
	closefrom(3);
	if (chdir(m->home) < 0 && chdir("/") < 0)
		_exit(EX_TEMPFAIL);
	execvpe(m->argv[0], (char *const *)(uintptr_t)m->argv, env);
	/* a plain word may be one of the shell's own */
	if (errno == ENOENT && strchr(m->argv[0], '/') == NULL)
		execve(m->shell[0], (char *const *)(uintptr_t)m->shell, env);
	_exit(NOT_STARTED);
}

static int start(struct child *c, struct image *m)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    fcntl(in[1], F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(out[0], F_SETFL, O_NONBLOCK) < 0)
		goto fail;
	m->in = in[0];
	m->out = out[1];
	if (keeper_start(&c->keeper, become, m) < 0)
		goto fail;
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
	return 0;
fail:
	err = errno;
	for (int i = 0; i < 2; i++) {
		if (in[i] >= 0)
			close(in[i]);
		if (out[i] >= 0)
			close(out[i]);
	}
	errno = err;
	return -1;
}

static void listen_to(struct child *c)
{
	char more[1000];
	ssize_t n = read(c->out, more, sizeof(more));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(c->out);
		c->out = -1;
		return;
	}
	for (ssize_t i = 0; i < n && c->nsaid < OUTPUT_MAX; i++)
		c->said[c->nsaid++] = more[i];
}

/* Waits until the child can take more or says something. False: the time is
 * over, also for one that is never silent. */
static bool wait_for(struct child *c, int64_t deadline)
{
	struct pollfd p[2] = { { c->in, POLLOUT, 0 }, { c->out, POLLIN, 0 } };
	int rc = poll(p, 2, clock_poll_ms(deadline));

	if (rc == 0 || clock_now() >= deadline)
		return false;
	if (rc > 0 && p[1].revents)
		listen_to(c);
	return true;
}

/* A command need not read all of it, nor any. */
static void feed(struct child *c, struct str s, int64_t deadline)
{
	while (s.n > 0 && c->in >= 0 && !c->timed_out) {
		ssize_t n = write(c->in, s.p, s.n);

		if (n > 0) {
			s = str_from(s, (size_t)n);
		} else if (errno == EAGAIN) {
			c->timed_out = !wait_for(c, deadline);
		} else if (errno != EINTR) {
			close(c->in);
			c->in = -1;
		}
	}
}

/* The message with the line ends of this system. 0, or -1: errno. */
static int feed_message(struct delivery_job *j, struct child *c,
    int64_t deadline)
{
	char *piece = arena_alloc(j->arena, PIECE);
	bool after_cr = false;
	struct buf b;
	ssize_t n = -1;

	buf_init(&b, 2 * PIECE);
	if (piece != NULL && deliver_from_line(j->request, &b) == 0 &&
	    deliver_fields(j->request, &b) == 0)
		n = 1;
	feed(c, buf_str(&b), deadline);
	while (n > 0 && c->in >= 0 && !c->timed_out &&
	    (n = queue_reader_read(&j->reader, piece, PIECE)) > 0) {
		buf_reset(&b);
		for (ssize_t i = 0; i < n; i++) {
			if (after_cr && piece[i] != '\n')
				buf_append_char(&b, '\r');
			after_cr = piece[i] == '\r';
			if (!after_cr)
				buf_append_char(&b, piece[i]);
		}
		feed(c, buf_str(&b), deadline);
	}
	buf_fini(&b);
	return n < 0 ? -1 : 0;
}

static void close_input(struct child *c)
{
	if (c->in >= 0)
		close(c->in);
	c->in = -1;
}

/*
 * Hears it out, waits for its end and ends what it left behind. The wait
 * status. `cut`: it must not take a part of the message for the whole, so
 * that it does not live to see the end of its input.
 */
static int reap(struct child *c, bool cut, int64_t deadline)
{
	int status;

	cut |= c->timed_out;
	if (!cut)
		close_input(c);
	while (!cut && c->out >= 0 && !c->timed_out)
		c->timed_out = !wait_for(c, deadline);
	/* it may have closed its output and gone on */
	if (!cut && !c->timed_out)
		c->timed_out = !keeper_wait(&c->keeper, deadline);
	status = keeper_end(&c->keeper);
	close_input(c);
	if (c->out >= 0)
		close(c->out);
	return status;
}

struct exit_row {
	int code;
	const char *dsn, *text;
};

/* sysexits(3), as Postfix's sys_exits(3) reads it */
static const struct exit_row exits[] = {
	{ EX_USAGE, "5.3.0", "command line usage error" },
	{ EX_DATAERR, "5.6.0", "data format error" },
	{ EX_NOINPUT, "5.3.0", "cannot open input" },
	{ EX_NOUSER, "5.1.1", "user unknown" },
	{ EX_NOHOST, "5.1.2", "host name unknown" },
	{ EX_UNAVAILABLE, "5.3.0", "service unavailable" },
	{ EX_SOFTWARE, "5.3.0", "internal software error" },
	{ EX_OSERR, "4.3.0", "system resource problem" },
	{ EX_OSFILE, "5.3.0", "critical OS file missing" },
	{ EX_CANTCREAT, "5.2.0", "can't create user output file" },
	{ EX_IOERR, "5.3.0", "input/output error" },
	{ EX_TEMPFAIL, "4.3.0", "temporary failure" },
	{ EX_PROTOCOL, "5.5.0", "remote error in protocol" },
	{ EX_NOPERM, "5.7.0", "permission denied" },
	{ EX_CONFIG, "5.3.5", "local configuration error" },
	/* not the sender's fault, and soon mended */
	{ NOT_STARTED, "4.3.0", "the command cannot be started" },
	{ 126, "4.3.0", "the command cannot be started" },
};

static void judge(struct delivery_job *j, struct child *c, int status,
    struct deliver_reply *r)
{
	struct str command = str_sub(j->request->command, 0, 200);
	const char *dsn = "5.3.0", *text = "unknown status";
	char reason[200];

	if (!c->timed_out && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		deliver_outcome(r, AGENT_SENT, "2.0.0", arena_printf(j->arena,
		    "delivered to command: " STR_FMT, STR_ARG(command)));
		return;
	}
	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
		if (WIFEXITED(status) &&
		    WEXITSTATUS(status) == exits[i].code) {
			dsn = exits[i].dsn;
			text = exits[i].text;
		}
	if (c->timed_out)
		snprintf(reason, sizeof(reason), "Command time limit "
		    "exceeded");
	else if (WIFSIGNALED(status))
		snprintf(reason, sizeof(reason), "Command died with signal "
		    "%d", WTERMSIG(status));
	else if (strcmp(text, "unknown status") == 0)
		snprintf(reason, sizeof(reason), "Command died with status "
		    "%d", WEXITSTATUS(status));
	else
		snprintf(reason, sizeof(reason), "%s", text);
	if (c->timed_out)
		dsn = "5.3.0";
	while (c->nsaid > 0 && c->said[c->nsaid - 1] == '\n')
		c->nsaid--;
	for (size_t i = 0; i < c->nsaid; i++)
		if ((unsigned char)c->said[i] < 32)
			c->said[i] = ' ';
	deliver_outcome(r, dsn[0] == '4' ? AGENT_DEFERRED : AGENT_FAILED,
	    dsn, c->nsaid > 0 ? arena_printf(j->arena, "%s: \"" STR_FMT
		"\". Command output: %.*s", reason, STR_ARG(command),
		(int)c->nsaid, c->said)
	    : arena_printf(j->arena, "%s: \"" STR_FMT "\"", reason,
		STR_ARG(command)));
}

void deliver_command(struct delivery_job *j, struct deliver_reply *r)
{
	const char *shell[] = { "/bin/sh", "-c", NULL, NULL };
	char *command = arena_cstr(j->arena, j->request->command);
	char *words = arena_cstr(j->arena, j->request->command);
	char *home = arena_cstr(j->arena, j->request->dir);
	struct image m = { .argv = shell, .shell = shell,
		.env = environment(j), .home = home };
	struct child c = { .in = -1, .out = -1 };
	int64_t deadline = clock_now() +
	    service_params()->command_time_limit * CLOCK_SECOND;
	int status, err = 0;

	if (command == NULL || words == NULL || home == NULL || m.env == NULL ||
	    str_has_nul(j->request->command)) {
		deliver_failure(j, r, EINVAL, "command");
		return;
	}
	shell[2] = command;
	if (is_plain(j->request->command) &&
	    (m.argv = split(j, words)) == NULL) {
		deliver_failure(j, r, EINVAL, "command");
		return;
	}
	if (start(&c, &m) < 0) {
		deliver_failure(j, r, errno, "command");
		return;
	}
	if (feed_message(j, &c, deadline) < 0)
		err = errno;
	status = reap(&c, err != 0, deadline);
	if (err != 0) {
		deliver_failure(j, r, err, "queue file");
		r->file_damaged = err == EBADMSG;
		return;
	}
	judge(j, &c, status, r);
}
