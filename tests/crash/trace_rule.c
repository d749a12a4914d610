/*
 * trace_rule.c - which call a rule means, and how it is spoilt
 *
 * Registers are those of x86-64.
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>
#include "trace.h"

static const char *const action_names[ACTION_COUNT] = {
	"kill-before", "kill-after", "suite-before", "suite-after", "fail",
	"fail-after", "short", "pretend",
};

static const struct {
	const char *name;
	int value;
} errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT },
	{ "EMFILE", EMFILE }, { "ENFILE", ENFILE }, { "ENOMEM", ENOMEM },
	{ "EINTR", EINTR }, { "EAGAIN", EAGAIN }, { "EROFS", EROFS },
	{ "EACCES", EACCES }, { "EPIPE", EPIPE },
	{ "ECONNRESET", ECONNRESET }, { "ENOBUFS", ENOBUFS },
};

const char *call_name(long number)
{
	static char *name;
	static char digits[24];

	free(name);
	name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)number);
	if (name != NULL)
		return name;
	snprintf(digits, sizeof(digits), "%ld", number);
	return digits;
}

static int parse_calls(struct rule *r, char *list)
{
	char *text = strchr(list, '@'), *save, *name;

	if (text != NULL) {
		*text++ = '\0';
		snprintf(r->text, sizeof(r->text), "%s", text);
	}
	if (strcmp(list, "*") == 0) {
		memset(r->calls, true, sizeof(r->calls));
		return 0;
	}
	for (name = strtok_r(list, ",", &save); name != NULL;
	    name = strtok_r(NULL, ",", &save)) {
		int nr = seccomp_syscall_resolve_name(name);

		if (nr == __NR_SCMP_ERROR)
			return -1;
		if (nr >= 0 && nr < TRACE_CALLS)
			r->calls[nr] = true;
	}
	return 0;
}

static int parse_action(struct rule *r, const char *action,
    const char *error)
{
	int i;

	for (i = 0; i < ACTION_COUNT; i++)
		if (strcmp(action, action_names[i]) == 0)
			break;
	if (i == ACTION_COUNT)
		return -1;
	r->action = (enum action)i;
	if (r->action != FAIL && r->action != FAIL_AFTER)
		return error == NULL ? 0 : -1;
	for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++)
		if (error != NULL && strcmp(error, errors[k].name) == 0) {
			r->error = errors[k].value;
			return 0;
		}
	return -1;
}

int rule_parse(struct rule *r, char *text, const char **why_r)
{
	char *save, *program, *calls, *nth, *action, *end;

	memset(r, 0, sizeof(*r));
	program = strtok_r(text, " ", &save);
	calls = strtok_r(NULL, " ", &save);
	nth = strtok_r(NULL, " ", &save);
	action = strtok_r(NULL, " ", &save);
	*why_r = "PROGRAM CALLS N ACTION [ERRNO]";
	if (action == NULL)
		return -1;
	snprintf(r->program, sizeof(r->program), "%s", program);
	r->nth = strtoul(nth, &end, 10);
	r->onward = *end == '+';
	if (r->nth == 0 || end[r->onward] != '\0')
		return -1;
	*why_r = "no such call";
	if (parse_calls(r, calls) < 0)
		return -1;
	*why_r = "no such action or errno";
	if (parse_action(r, action, strtok_r(NULL, " ", &save)) < 0)
		return -1;
	r->armed = true;
	return 0;
}

bool rule_matches(struct rule *r, const char *program, const struct call *c)
{
	if (!r->armed || strcmp(program, r->program) != 0 || c->number < 0 ||
	    c->number >= TRACE_CALLS || !r->calls[c->number])
		return false;
	if (r->text[0] != '\0' && strstr(c->path, r->text) == NULL)
		return false;
	r->seen++;
	return r->seen == r->nth || (r->onward && r->seen > r->nth);
}

/* --- the tracee's memory and registers --- */

static void set_register(pid_t tid, size_t offset, uint64_t value)
{
	/* it may have been killed meanwhile: then nothing matters any more */
	ptrace(PTRACE_POKEUSER, tid, offset, value);
}

#define SET(tid, reg, value) \
	set_register(tid, offsetof(struct user_regs_struct, reg), \
	    (uint64_t)(value))

/* (Not process_vm_readv(): that asks anew whether we may.) */
static uint64_t peek(pid_t tid, uint64_t at)
{
	long word = ptrace(PTRACE_PEEKDATA, tid, at, NULL);

	return (uint64_t)word;
}

static void poke(pid_t tid, uint64_t at, uint64_t value)
{
	ptrace(PTRACE_POKEDATA, tid, at, value);
}

static void read_text(pid_t tid, uint64_t at, char *out, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		uint64_t word = peek(tid, at + n);

		for (int i = 0; i < 8 && n + 1 < size; i++, word >>= 8) {
			char ch = (char)(word & 0xff);

			if (ch == '\0' || at == 0) {
				out[n] = '\0';
				return;
			}
			out[n++] = ch > ' ' && ch < 127 ? ch : '?';
		}
	}
	out[n] = '\0';
}

static void describe_fd(pid_t tid, int fd, char *out, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)tid, fd);
	n = readlink(link, out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	for (char *p = out; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 127)
			*p = '?';
}

/* Which argument of a call is a path (after a directory), by number. */
static int path_argument(long number)
{
	switch (number) {
	case SYS_open: case SYS_stat: case SYS_lstat: case SYS_access:
	case SYS_unlink: case SYS_rename: case SYS_mkdir: case SYS_rmdir:
	case SYS_link: case SYS_readlink: case SYS_chdir:
		return 0;
	case SYS_openat: case SYS_openat2: case SYS_newfstatat:
	case SYS_unlinkat: case SYS_renameat: case SYS_renameat2:
	case SYS_mkdirat: case SYS_linkat: case SYS_readlinkat:
	case SYS_faccessat: case SYS_faccessat2: case SYS_utimensat:
	case SYS_statx:
		return 1;
	default:
		return -1;
	}
}

static bool has_no_fd(long number)
{
	switch (number) {
	case SYS_brk: case SYS_mmap: case SYS_munmap: case SYS_mremap:
	case SYS_futex: case SYS_madvise: case SYS_mprotect:
	case SYS_rt_sigprocmask: case SYS_rt_sigaction: case SYS_exit:
	case SYS_exit_group: case SYS_clone: case SYS_clone3: case SYS_poll:
	case SYS_getpid: case SYS_gettid: case SYS_clock_nanosleep:
	case SYS_nanosleep: case SYS_set_robust_list: case SYS_rseq:
	case SYS_socketpair: case SYS_socket: case SYS_pipe2: case SYS_prctl:
	case SYS_getrandom: case SYS_wait4: case SYS_kill: case SYS_tgkill:
	case SYS_epoll_create1: case SYS_eventfd2: case SYS_sigaltstack:
		return true;
	default:
		return false;
	}
}

static bool opens_to_read(pid_t tid, const struct call *c)
{
	uint64_t flags = c->number == SYS_openat2 ? peek(tid, c->args[2])
	    : c->args[2];

	return (c->number == SYS_openat || c->number == SYS_openat2) &&
	    (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY;
}

void call_describe(pid_t tid, struct call *c)
{
	int at = path_argument(c->number);
	size_t n = 0;

	c->path[0] = '\0';
	if (has_no_fd(c->number))
		return;
	if (at == 0) {
		read_text(tid, c->args[0], c->path, sizeof(c->path));
		return;
	}
	describe_fd(tid, (int)c->args[0], c->path, sizeof(c->path) / 2);
	if (c->number == SYS_epoll_ctl && c->args[1] == EPOLL_CTL_ADD)
		snprintf(c->path, sizeof(c->path), "add");
	if (at != 1)
		return;
	n = strlen(c->path);
	c->path[n++] = '/';
	read_text(tid, c->args[1], c->path + n, sizeof(c->path) - n);
	n = strlen(c->path);
	if (opens_to_read(tid, c))
		snprintf(c->path + n, sizeof(c->path) - n, " (read)");
}

/* --- the deed --- */

static bool is_vector(long number)
{
	return number == SYS_writev || number == SYS_pwritev ||
	    number == SYS_readv || number == SYS_preadv;
}

static bool is_message(long number)
{
	return number == SYS_sendmsg || number == SYS_recvmsg;
}

static bool is_plain(long number)
{
	return number == SYS_write || number == SYS_pwrite64 ||
	    number == SYS_read || number == SYS_pread64 ||
	    number == SYS_sendto || number == SYS_recvfrom;
}

static uint64_t vector_length(pid_t tid, uint64_t at, uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < count && i < 1024; i++)
		sum += peek(tid, at + i * sizeof(struct iovec) +
		    offsetof(struct iovec, iov_len));
	return sum;
}

/* What success would return. */
static long successful(pid_t tid, const struct call *c)
{
	if (is_plain(c->number))
		return (long)c->args[2];
	if (is_vector(c->number))
		return (long)vector_length(tid, c->args[1], c->args[2]);
	if (is_message(c->number))
		return (long)vector_length(tid,
		    peek(tid, c->args[1] + offsetof(struct msghdr, msg_iov)),
		    peek(tid, c->args[1] +
			offsetof(struct msghdr, msg_iovlen)));
	return 0;
}

static void shorten(pid_t tid, struct call *c)
{
	if (is_plain(c->number)) {
		if (c->args[2] < 2)
			return;
		SET(tid, rdx, c->args[2] / 2);
		c->restore_count = true;
	} else if (is_vector(c->number) && c->args[2] > 1) {
		SET(tid, rdx, c->args[2] / 2);
		c->restore_count = true;
	} else if (is_vector(c->number) && c->args[2] == 1) {
		c->length_at = c->args[1] + offsetof(struct iovec, iov_len);
		c->length = peek(tid, c->length_at);
		if (c->length < 2)
			return;
		poke(tid, c->length_at, c->length / 2);
		c->restore_length = true;
	}
}

static void skip(pid_t tid, struct call *c, long result)
{
	SET(tid, orig_rax, -1);
	c->set_result = true;
	c->result = result;
}

int rule_spoil(const struct rule *r, pid_t tid, struct call *c)
{
	switch (r->action) {
	case KILL_BEFORE:
	case SUITE_BEFORE:
		skip(tid, c, -EINTR);
		return r->action == KILL_BEFORE ? KILL_ONE : KILL_SUITE;
	case KILL_AFTER:
		c->kill = KILL_ONE;
		break;
	case SUITE_AFTER:
		c->kill = KILL_SUITE;
		break;
	case FAIL:
		if (c->number == SYS_brk) {
			/* It tells a failure by an unmoved break; the C
			 * library would take an errno for an address. */
			SET(tid, rdi, 0);
			c->restore_first = true;
		} else {
			skip(tid, c, -r->error);
		}
		break;
	case FAIL_AFTER:
		c->set_result = true;
		c->result = -r->error;
		break;
	case SHORT:
		shorten(tid, c);
		break;
	case PRETEND:
		skip(tid, c, successful(tid, c));
		break;
	case ACTION_COUNT:
		break;
	}
	return NO_KILL;
}

void call_finish(pid_t tid, struct call *c)
{
	if (c->set_result)
		SET(tid, rax, c->result);
	/* the C library relies on it that a call keeps its arguments */
	if (c->restore_first)
		SET(tid, rdi, c->args[0]);
	if (c->restore_count)
		SET(tid, rdx, c->args[2]);
	if (c->restore_length)
		poke(tid, c->length_at, c->length);
	c->set_result = c->restore_first = false;
	c->restore_count = c->restore_length = false;
}
