/*
 * trace.c - the tracer's loop: commands in, stops of tracees, events out
 *
 * Every process and thread that a command started is traced from its first
 * instruction; a tracee that is not watched runs on without a stop at its
 * calls. Ends the tracees when it ends (PTRACE_O_EXITKILL).
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/ptrace.h>
#include "trace.h"
#include "trace_death.h"

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | \
	PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | \
	PTRACE_O_EXITKILL)
#define BUCKETS 256
#define ARGS_MAX 64

struct process {
	LIST_ENTRY(process) link;
	pid_t pid;
	int threads;
	char program[32];
	bool killed;		/* by us */
};

struct tracee {
	LIST_ENTRY(tracee) link;
	pid_t tid;
	struct process *process;
	bool stops;		/* it runs with stops at its calls */
	bool interrupted;	/* asked to stop, to be run otherwise */
	struct call call;
};

static LIST_HEAD(, process) processes = LIST_HEAD_INITIALIZER(processes);
static LIST_HEAD(, tracee) tracees[BUCKETS];
static char watched[512] = "-";
static struct rule rule;
static FILE *record;
static int64_t last_stop;
static int64_t quiet_for;	/* a `quiet` waits for so long; 0: none */
static struct {
	char program[32];
	int count;		/* 0: nobody waits for it */
	int64_t until;
} settling;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (fflush(stdout) != 0)
		exit(0); /* nobody listens any more */
}

static void die(const char *what)
{
	fprintf(stderr, "crash-trace: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* --- who is there --- */

static bool is_watched(const struct process *p)
{
	const char *at = watched;
	size_t n = strlen(p->program);

	if (strcmp(watched, "*") == 0)
		return true;
	while ((at = strstr(at, p->program)) != NULL) {
		if ((at == watched || at[-1] == ',') &&
		    (at[n] == '\0' || at[n] == ','))
			return true;
		at += n;
	}
	return false;
}

static struct process *find_process(pid_t pid)
{
	struct process *p;

	LIST_FOREACH(p, &processes, link)
		if (p->pid == pid)
			return p;
	return NULL;
}

static struct tracee *find_tracee(pid_t tid)
{
	struct tracee *t;

	LIST_FOREACH(t, &tracees[tid % BUCKETS], link)
		if (t->tid == tid)
			return t;
	return NULL;
}

static pid_t process_of(pid_t tid)
{
	char path[64], line[128];
	pid_t pid = tid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	if ((f = fopen(path, "re")) == NULL)
		return tid;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Tgid: %d", &pid) == 1)
			break;
	fclose(f);
	return pid;
}

static void name_process(struct process *p)
{
	char path[64], exe[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)p->pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	snprintf(p->program, sizeof(p->program), "%.31s", basename(exe));
}

static struct tracee *add_tracee(pid_t tid)
{
	struct tracee *t = calloc(1, sizeof(*t));
	pid_t pid = process_of(tid);
	struct process *p = find_process(pid);

	if (p == NULL) {
		if ((p = calloc(1, sizeof(*p))) == NULL)
			die("memory");
		p->pid = pid;
		name_process(p);
		LIST_INSERT_HEAD(&processes, p, link);
	}
	if (t == NULL)
		die("memory");
	p->threads++;
	t->tid = tid;
	t->process = p;
	LIST_INSERT_HEAD(&tracees[tid % BUCKETS], t, link);
	return t;
}

static void drop_tracee(struct tracee *t)
{
	struct process *p = t->process;

	LIST_REMOVE(t, link);
	if (--p->threads == 0) {
		LIST_REMOVE(p, link);
		free(p);
	}
	free(t);
}

static void end_process(struct process *p)
{
	if (p->killed)
		return;
	p->killed = true;
	kill(p->pid, SIGKILL);
	say("killed %s %d", p->program, (int)p->pid);
}

static void end_all(void)
{
	struct process *p;

	LIST_FOREACH(p, &processes, link)
		end_process(p);
}

static void run_on(struct tracee *t, int sig)
{
	t->stops = is_watched(t->process);
	t->interrupted = false;
	ptrace(t->stops ? PTRACE_SYSCALL : PTRACE_CONT, t->tid, NULL, sig);
}

/* --- stops --- */

static void kill_whom(struct tracee *t, int whom)
{
	if (whom == NO_KILL)
		return;
	end_process(t->process);
	if (whom == KILL_SUITE)
		end_all();
}

static void write_record(const struct tracee *t, long result)
{
	const struct call *c = &t->call;

	fprintf(record, "%s %d %s %ld %s\n", t->process->program,
	    (int)t->tid, call_name(c->number), result, c->path);
}

static void on_entry(struct tracee *t,
    const struct ptrace_syscall_info *info)
{
	struct call *c = &t->call;
	int whom = NO_KILL;

	memset(c, 0, sizeof(*c));
	c->entered = true;
	c->number = (long)info->entry.nr;
	for (int i = 0; i < 6; i++)
		c->args[i] = info->entry.args[i];
	if (record != NULL || (rule.armed &&
		strcmp(rule.program, t->process->program) == 0 &&
		(rule.text[0] != '\0' || rule.seen + 1 >= rule.nth)))
		call_describe(t->tid, c);
	if (rule_matches(&rule, t->process->program, c)) {
		whom = rule_spoil(&rule, t->tid, c);
		if (rule.seen == rule.nth)
			say("fired %s %d %s %lu %s", t->process->program,
			    (int)t->process->pid, call_name(c->number),
			    rule.seen, c->path);
		if (!rule.onward)
			rule.armed = false;
	}
	if (record != NULL && (c->number == SYS_exit ||
		c->number == SYS_exit_group))
		write_record(t, 0);
	kill_whom(t, whom);
}

static bool is_clocks(const struct tracee *t,
    const struct ptrace_syscall_info *info)
{
	long call = info->op == PTRACE_SYSCALL_INFO_ENTRY
	    ? (long)info->entry.nr : t->call.number;

	return call == SYS_nanosleep || call == SYS_clock_nanosleep ||
	    call == SYS_gettimeofday;
}

static void on_call(struct tracee *t)
{
	struct ptrace_syscall_info info;
	struct call *c = &t->call;

	memset(&info, 0, sizeof(info));
	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) < 0)
		return; /* killed since */
	/* (ThreadSanitizer has a thread that sleeps and looks at the clock) */
	if (!is_clocks(t, &info))
		last_stop = now_us();
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		on_entry(t, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT && c->entered) {
		if (record != NULL)
			write_record(t, c->set_result ? c->result
			    : (long)info.exit.rval);
		call_finish(t->tid, c);
		c->entered = false;
		kill_whom(t, (int)c->kill);
	}
}

static void on_exec(struct tracee *t)
{
	name_process(t->process);
	say("exec %s %d", t->process->program, (int)t->process->pid);
}

static void on_end(struct tracee *t, int status)
{
	struct process *p = t->process;

	if (t->tid == p->pid) {
		if (WIFEXITED(status) && !p->killed)
			say("ended %s %d %d", p->program, (int)p->pid,
			    WEXITSTATUS(status));
		else if (WIFSIGNALED(status) && !p->killed)
			say("died %s %d %d", p->program, (int)p->pid,
			    WTERMSIG(status));
	}
	drop_tracee(t);
}

/* It is delivered next, and mostly ends the process. */
static void on_signal(const struct tracee *t, int sig)
{
	char places[1024];

	if (sig != SIGSEGV && sig != SIGBUS && sig != SIGILL && sig != SIGFPE &&
	    sig != SIGABRT && sig != SIGSYS)
		return;
	death_place(t->tid, places, sizeof(places));
	say("hurt %s %d %d %s", t->process->program, (int)t->process->pid, sig,
	    places);
}

static void on_stop(pid_t tid, int status)
{
	struct tracee *t = find_tracee(tid);
	int event = status >> 16, sig = WSTOPSIG(status);

	if (WIFEXITED(status) || WIFSIGNALED(status)) {
		if (t != NULL)
			on_end(t, status);
		else if (WIFSIGNALED(status)) /* before its first stop */
			say("died - %d %d", (int)tid, WTERMSIG(status));
		return;
	}
	if (t == NULL)
		t = add_tracee(tid); /* before its parent told of it */
	if (sig == (SIGTRAP | 0x80)) {
		on_call(t);
		sig = 0;
	} else if (event == PTRACE_EVENT_EXEC) {
		on_exec(t);
		sig = 0;
	} else if (event == PTRACE_EVENT_STOP && sig != SIGTRAP) {
		/* a stop of the whole process: it stays stopped */
		ptrace(PTRACE_LISTEN, tid, NULL, NULL);
		return;
	} else if (event != 0)
		sig = 0;
	else
		on_signal(t, sig);
	run_on(t, sig);
}

static void reap(void)
{
	pid_t tid;
	int status;

	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
		on_stop(tid, status);
}

/* --- commands --- */

static bool is_waiting(const struct tracee *t)
{
	return t->tid == t->process->pid && !t->process->killed &&
	    t->call.entered && (t->call.number == SYS_epoll_wait ||
		t->call.number == SYS_epoll_pwait);
}

static void look_if_settled(void)
{
	struct tracee *t;
	int n = 0;

	if (settling.count == 0)
		return;
	for (int i = 0; i < BUCKETS; i++)
		LIST_FOREACH(t, &tracees[i], link)
			if (is_waiting(t) && strcmp(t->process->program,
				settling.program) == 0)
				n++;
	if (n >= settling.count)
		say("ok");
	else if (now_us() >= settling.until)
		say("error not settled");
	else
		return;
	settling.count = 0;
}

static void take_settled(const char *text)
{
	int ms;

	if (sscanf(text, "%31s %d %d", settling.program, &settling.count,
		&ms) != 3 || settling.count <= 0) {
		settling.count = 0;
		say("error settled PROGRAM N MS");
		return;
	}
	settling.until = now_us() + (int64_t)ms * 1000;
	look_if_settled();
}

static void watch(const char *whom)
{
	struct tracee *t;

	snprintf(watched, sizeof(watched), "%s", whom);
	for (int i = 0; i < BUCKETS; i++)
		LIST_FOREACH(t, &tracees[i], link)
			if (!t->stops && !t->interrupted &&
			    is_watched(t->process)) {
				t->interrupted = true;
				ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
			}
	say("ok");
}

static void in_child(int go, char **args)
{
	int in = open(args[0], O_RDONLY | O_CLOEXEC);
	int out = open(args[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
	    0600);
	sigset_t none;
	char octet;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (in < 0 || out < 0 || read(go, &octet, 1) != 1)
		_exit(127);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	execv(args[2], args + 2);
	_exit(127);
}

static void run(char *text)
{
	char *args[ARGS_MAX + 1], *save, *word;
	int pair[2], n = 0;
	pid_t pid;

	for (word = strtok_r(text, " ", &save); word && n < ARGS_MAX;
	    word = strtok_r(NULL, " ", &save))
		args[n++] = word;
	args[n] = NULL;
	if (n < 3 || pipe2(pair, O_CLOEXEC) < 0) {
		say("error run IN OUT PROGRAM ARG...");
		return;
	}
	if ((pid = fork()) == 0)
		in_child(pair[0], args);
	if (pid > 0 && ptrace(PTRACE_SEIZE, pid, NULL, OPTIONS) == 0) {
		add_tracee(pid);
		if (write(pair[1], "", 1) == 1)
			say("ok %d", (int)pid);
	} else
		say("error %s", strerror(errno));
	close(pair[0]);
	close(pair[1]);
}

static void start_record(const char *path)
{
	if (record != NULL)
		fclose(record);
	record = NULL;
	if (strcmp(path, "-") != 0 && (record = fopen(path, "we")) == NULL)
		say("error %s", strerror(errno));
	else
		say("ok");
}

static void count_alive(const char *program)
{
	struct process *p;
	int n = 0;

	LIST_FOREACH(p, &processes, link)
		if (!p->killed && (strcmp(program, "*") == 0 ||
			strcmp(p->program, program) == 0))
			n++;
	say("ok %d", n);
}

static void take_rule(char *text)
{
	const char *why;

	if (rule_parse(&rule, text, &why) < 0) {
		rule.armed = false;
		say("error %s", why);
	} else
		say("ok");
}

static void command(char *line)
{
	char *rest = strchr(line, ' ');

	if (rest != NULL)
		*rest++ = '\0';
	else
		rest = line + strlen(line);
	if (strcmp(line, "run") == 0)
		run(rest);
	else if (strcmp(line, "watch") == 0)
		watch(rest);
	else if (strcmp(line, "rule") == 0)
		take_rule(rest);
	else if (strcmp(line, "off") == 0) {
		rule.armed = false;
		say("ok");
	} else if (strcmp(line, "record") == 0)
		start_record(rest);
	else if (strcmp(line, "alive") == 0)
		count_alive(rest);
	else if (strcmp(line, "killall") == 0) {
		end_all();
		say("ok");
	} else if (strcmp(line, "settled") == 0)
		take_settled(rest);
	else if (strcmp(line, "quiet") == 0) {
		quiet_for = atol(rest) * 1000;
		last_stop = now_us();
	} else
		say("error %s?", line);
}

static void take_commands(void)
{
	static char buf[8192];
	static size_t n;
	ssize_t k = read(0, buf + n, sizeof(buf) - 1 - n);
	char *end;

	if (k <= 0)
		exit(0);
	n += (size_t)k;
	buf[n] = '\0';
	while ((end = strchr(buf, '\n')) != NULL) {
		*end++ = '\0';
		command(buf);
		n -= (size_t)(end - buf);
		memmove(buf, end, n + 1);
	}
}

static int patience(void)
{
	int64_t left;

	if (settling.count > 0)
		return (int)((settling.until - now_us()) / 1000) + 1;
	if (quiet_for == 0)
		return -1;
	left = last_stop + quiet_for - now_us();
	if (left > 0)
		return (int)((left + 999) / 1000);
	quiet_for = 0;
	say("ok");
	return -1;
}

int main(void)
{
	struct pollfd p[2] = { { .fd = 0, .events = POLLIN },
		{ .events = POLLIN } };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p[1].fd < 0)
		die("signalfd");
	for (;;) {
		struct signalfd_siginfo si;

		if (poll(p, 2, patience()) < 0 && errno != EINTR)
			die("poll");
		while (read(p[1].fd, &si, sizeof(si)) > 0)
			;
		reap();
		look_if_settled();
		if (p[0].revents != 0)
			take_commands();
	}
}
