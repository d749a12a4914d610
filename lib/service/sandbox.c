#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "service/sandbox.h"

#define EMPTY SANDBOX_EMPTY
#define HOST SANDBOX_HOST
#define FILES SANDBOX_FILES
#define NET SANDBOX_NET
#define DIAL SANDBOX_DIAL
#define SPAWN SANDBOX_SPAWN
#define NOTIFY SANDBOX_NOTIFY
#define LEASE SANDBOX_LEASE
#define CAP(name) (UINT64_C(1) << CAP_##name)
#define PROGRAM(name, no, n, caps, root, dirs, calls) \
	{ #name, no, n, caps, root, dirs, calls },
const struct sandbox sandbox_programs[] = {
#include "service/sandbox.def"
	{ 0 },
};
#undef PROGRAM
#undef EMPTY
#undef HOST
#undef FILES
#undef NET
#undef DIAL
#undef SPAWN
#undef NOTIFY
#undef LEASE

#define EDGE(client, server, what) { #client, #server, what },
const struct sandbox_edge sandbox_edges[] = {
#include "service/edges.def"
	{ 0 },
};
#undef EDGE

const struct sandbox *sandbox_find(const char *program)
{
	for (const struct sandbox *s = sandbox_programs; s->name; s++)
		if (strcmp(s->name, program) == 0)
			return s;
	return NULL;
}

const char *sandbox_rights(const struct sandbox *s, const char *role,
    char out[8])
{
	size_t n = strlen(role);
	const char *p = s->directories;

	while (*p != '\0') {
		size_t len = strcspn(p, " ");

		if (len > n && strncmp(p, role, n) == 0 && p[n] == ':' &&
		    len - n - 1 < 8) {
			memcpy(out, p + n + 1, len - n - 1);
			out[len - n - 1] = '\0';
			return out;
		}
		p += len + (p[len] == ' ');
	}
	return NULL;
}

/* --- identity --- */

/* Needs CAP_SETPCAP, which a change of user takes away: so this is first. */
static int drop_bounding(uint64_t keep)
{
	if (geteuid() != 0)
		return 0;
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if ((keep >> c & 1) == 0 &&
		    prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return -1;
	return 0;
}

static int drop_capabilities(uint64_t keep)
{
	cap_t caps = cap_init();
	int rc;

	if (caps == NULL)
		return -1;
	for (cap_value_t c = 0; c < 64; c++)
		if (keep >> c & 1) {
			cap_set_flag(caps, CAP_PERMITTED, 1, &c, CAP_SET);
			cap_set_flag(caps, CAP_EFFECTIVE, 1, &c, CAP_SET);
		}
	rc = cap_set_proc(caps);
	cap_free(caps);
	return rc;
}

static int become(const struct sandbox *row, const struct sandbox_identity *id,
    const char **why)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (row->root == SANDBOX_EMPTY && id->root_fd >= 0 && geteuid() == 0) {
		*why = "cannot enter the empty root directory";
		if (fchdir(id->root_fd) < 0 || chroot(".") < 0 ||
		    chdir("/") < 0)
			return -1;
	}
	if (id->uid == (uid_t)-1)
		return 0;
	*why = "cannot change user";
	if (geteuid() == 0) {
		if (setgroups(1, &id->gid) < 0 ||
		    setresgid(id->gid, id->gid, id->gid) < 0 ||
		    setresuid(id->uid, id->uid, id->uid) < 0)
			return -1;
	}
	if (getresuid(&r, &e, &s) < 0 || getresgid(&rg, &eg, &sg) < 0 ||
	    r != id->uid || e != id->uid || s != id->uid ||
	    rg != id->gid || eg != id->gid || sg != id->gid)
		return -1;
	if (id->uid != 0 && setresuid(0, 0, 0) == 0)
		return -1; /* it must not be possible to go back */
	return 0;
}

/* --- Landlock; Debian 12's header stops at ABI 2, so ours --- */

#define LL_CREATE_RULESET 444
#define LL_ADD_RULE 445
#define LL_RESTRICT_SELF 446
#define LL_VERSION 1u
#define LL_PATH_BENEATH 1

#define LL_EXECUTE (1ull << 0)
#define LL_WRITE_FILE (1ull << 1)
#define LL_READ_FILE (1ull << 2)
#define LL_READ_DIR (1ull << 3)
#define LL_REMOVE_DIR (1ull << 4)
#define LL_REMOVE_FILE (1ull << 5)
#define LL_MAKE_CHAR (1ull << 6)
#define LL_MAKE_DIR (1ull << 7)
#define LL_MAKE_REG (1ull << 8)
#define LL_MAKE_SOCK (1ull << 9)
#define LL_MAKE_FIFO (1ull << 10)
#define LL_MAKE_BLOCK (1ull << 11)
#define LL_MAKE_SYM (1ull << 12)
#define LL_REFER (1ull << 13)    /* ABI 2 */
#define LL_TRUNCATE (1ull << 14) /* ABI 3 */
#define LL_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define LL_NET_BIND (1ull << 0)  /* ABI 4 */
#define LL_NET_CONNECT (1ull << 1)
#define LL_SCOPE_ABSTRACT (1ull << 0) /* ABI 6 */
#define LL_SCOPE_SIGNAL (1ull << 1)

struct ll_ruleset {
	uint64_t fs, net, scoped;
};

struct ll_path {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static uint64_t rights_of(const char *text)
{
	uint64_t r = 0;

	for (; *text; text++) {
		if (*text == 'r')
			r |= LL_READ_FILE | LL_READ_DIR;
		if (*text == 'w')
			r |= LL_READ_FILE | LL_READ_DIR | LL_WRITE_FILE |
			    LL_REMOVE_DIR | LL_REMOVE_FILE | LL_MAKE_DIR |
			    LL_MAKE_REG | LL_MAKE_SOCK | LL_REFER |
			    LL_TRUNCATE;
		if (*text == 'x')
			r |= LL_READ_FILE | LL_EXECUTE;
	}
	return r;
}

static int confine_files(const struct sandbox *row,
    const struct sandbox_path *paths, size_t count, const char **why)
{
	struct ll_ruleset attr = { .fs = (1ull << 13) - 1 };
	int abi = (int)syscall(LL_CREATE_RULESET, NULL, 0, LL_VERSION), fd;
	size_t size = 8;

	if (abi < 1)
		return 1; /* this kernel lacks it */
	if (abi >= 2)
		attr.fs |= LL_REFER;
	if (abi >= 3)
		attr.fs |= LL_TRUNCATE;
	if (abi >= 4) {
		size = 16;
		if ((row->calls & SANDBOX_DIAL) == 0)
			attr.net = LL_NET_BIND | LL_NET_CONNECT;
	}
	if (abi >= 5)
		attr.fs |= LL_IOCTL_DEV;
	if (abi >= 6) {
		size = 24;
		attr.scoped = LL_SCOPE_ABSTRACT | LL_SCOPE_SIGNAL;
	}
	*why = "Landlock";
	if ((fd = (int)syscall(LL_CREATE_RULESET, &attr, size, 0)) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct ll_path rule = {
			.allowed = rights_of(paths[i].rights) & attr.fs,
			.fd = paths[i].fd,
		};
		struct stat st;

		/* a file has no rights of a directory */
		if (fstat(paths[i].fd, &st) == 0 && !S_ISDIR(st.st_mode))
			rule.allowed &= LL_READ_FILE | LL_WRITE_FILE |
			    LL_EXECUTE | LL_TRUNCATE;
		if (syscall(LL_ADD_RULE, fd, LL_PATH_BENEATH, &rule, 0) < 0)
			goto fail;
	}
	if (syscall(LL_RESTRICT_SELF, fd, 0) < 0)
		goto fail;
	close(fd);
	return 0;
fail:
	close(fd);
	return -1;
}

/* --- system calls --- */

#define CALL(name) SCMP_SYS(name)

static const int calls_everybody[] = {
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64),
	CALL(pwrite64), CALL(pwritev), CALL(preadv), CALL(close), CALL(lseek),
	CALL(recvmsg), CALL(recvfrom), CALL(sendmsg), CALL(sendto),
	CALL(socketpair), CALL(shutdown), CALL(getsockopt), CALL(setsockopt),
	CALL(poll), CALL(ppoll), CALL(epoll_create1), CALL(epoll_ctl),
	CALL(epoll_wait), CALL(epoll_pwait), CALL(eventfd2), CALL(pipe2),
	CALL(futex), CALL(munmap), CALL(mremap), CALL(madvise), CALL(brk),
	CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep),
	CALL(nanosleep), CALL(gettimeofday), CALL(time), CALL(getrandom),
	CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid),
	CALL(getgid), CALL(getegid), CALL(getresuid), CALL(getresgid),
	CALL(exit), CALL(exit_group), CALL(rt_sigaction), CALL(rt_sigprocmask),
	CALL(rt_sigreturn), CALL(sigaltstack), CALL(set_robust_list),
	CALL(rseq), CALL(sched_yield), CALL(sched_getaffinity), CALL(fstat),
	CALL(newfstatat), CALL(statx), CALL(restart_syscall), CALL(uname),
	CALL(sysinfo), CALL(getrlimit), CALL(getcpu), CALL(dup), CALL(dup2),
	CALL(dup3), CALL(getpeername), CALL(getsockname), CALL(sendfile),
	CALL(fadvise64), CALL(membarrier), CALL(timerfd_create),
	CALL(timerfd_settime), CALL(ioctl), CALL(close_range),
};

static const int calls_files[] = {
	CALL(open), CALL(openat), CALL(openat2), CALL(fsync), CALL(fdatasync),
	CALL(fremovexattr), /* base/sys.c: of none, to see that it can */
	CALL(syncfs), CALL(ftruncate), CALL(rename), CALL(renameat),
	CALL(renameat2), CALL(link), CALL(linkat), CALL(unlink),
	CALL(unlinkat), CALL(mkdir), CALL(mkdirat), CALL(rmdir),
	CALL(getdents64), CALL(fchmod), CALL(flock), CALL(fallocate),
	CALL(utimensat), CALL(fstatfs), CALL(statfs), CALL(access),
	CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat),
	CALL(copy_file_range), CALL(fchdir), CALL(chdir), CALL(getcwd),
	CALL(stat), CALL(lstat), CALL(umask),
};

static const int calls_net[] = {
	CALL(accept4), CALL(accept), CALL(listen), CALL(recvmmsg),
	CALL(sendmmsg),
};

static const int calls_dial[] = {
	CALL(socket), CALL(connect), CALL(bind), CALL(sendmmsg),
	CALL(recvmmsg),
};

static const int calls_notify[] = {
	CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch),
};

/* What no program of ours has a reason to try: the process is killed. */
static const int calls_deadly[] = {
	CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev),
	CALL(bpf), CALL(io_uring_setup), CALL(io_uring_enter),
	CALL(io_uring_register), CALL(userfaultfd), CALL(perf_event_open),
	CALL(keyctl), CALL(add_key), CALL(request_key), CALL(mount),
	CALL(umount2), CALL(pivot_root), CALL(open_tree), CALL(move_mount),
	CALL(fsopen), CALL(fsconfig), CALL(fsmount), CALL(fspick),
	CALL(unshare), CALL(setns), CALL(open_by_handle_at),
	CALL(name_to_handle_at), CALL(init_module), CALL(finit_module),
	CALL(delete_module), CALL(kexec_load), CALL(kexec_file_load),
	CALL(reboot), CALL(swapon), CALL(swapoff), CALL(acct), CALL(quotactl),
	CALL(iopl), CALL(ioperm), CALL(lookup_dcookie),
#ifndef POSTERN_SAN
	CALL(personality),
#endif
	CALL(kcmp), CALL(pidfd_getfd), CALL(mknod), CALL(mknodat),
	CALL(settimeofday), CALL(clock_settime),
	CALL(adjtimex), CALL(clock_adjtime), CALL(sethostname),
	CALL(setdomainname), CALL(syslog), CALL(vhangup),
};

/* And these beside them in a program that starts no other. */
static const int calls_deadly_leaf[] = {
	CALL(execve), CALL(execveat), CALL(fork), CALL(vfork), CALL(kill),
	CALL(tkill), CALL(setuid), CALL(setgid), CALL(setresuid),
	CALL(setresgid), CALL(setgroups), CALL(capset), CALL(chown),
	CALL(fchown), CALL(lchown), CALL(fchownat), CALL(chroot),
};

#ifdef POSTERN_SAN
/*
 * Behind the walls no signal stack may be changed while a thread ends, and the
 * search for leaks at exit would trace the process: unit tests look for them.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:use_sigaltstack=0";
}

static const int calls_sanitizer[] = {
	CALL(openat), CALL(open), CALL(readlink), CALL(readlinkat), CALL(stat),
	CALL(lstat), CALL(getdents64), CALL(prctl), CALL(access), CALL(getcwd),
	CALL(sched_setaffinity), CALL(mincore), CALL(prlimit64),
	CALL(setrlimit), CALL(msync), CALL(unlink), CALL(ftruncate),
};
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int add_all(scmp_filter_ctx f, uint32_t action, const int *calls,
    size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc;

		if (calls[i] < 0) /* not on this architecture */
			continue;
		rc = seccomp_rule_add(f, action, calls[i], 0);
		if (rc < 0 && rc != -EEXIST && rc != -EDOM && rc != -EINVAL)
			return -1;
	}
	return 0;
}

/* Calls that are allowed only with certain arguments. */
static int add_guarded(scmp_filter_ctx f, const struct sandbox *row)
{
	const uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES |
	    CLONE_SIGHAND | CLONE_THREAD;
	int rc = 0;

	/* no code that was written by this process ever runs */
#ifndef POSTERN_SAN
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mmap), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mprotect), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
#else
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mmap), 0);
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mprotect), 0);
#endif
	/* threads, not processes */
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
	/* abort() */
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(tgkill), 1,
	    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	/* reading limits, also in pthread_create(); never setting */
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(prlimit64), 1,
	    SCMP_A2(SCMP_CMP_EQ, 0));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(prctl), 1,
	    SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	/* F_SETLEASE, F_NOTIFY, F_SETOWN...: 1024 and up and signals' owner */
	for (int cmd = F_DUPFD; cmd <= F_SETLKW; cmd++)
		rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(fcntl), 1,
		    SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)cmd));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(fcntl), 1,
	    SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC));
	for (int cmd = F_OFD_GETLK; cmd <= F_OFD_SETLKW; cmd++)
		rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(fcntl), 1,
		    SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)cmd));
	if (row->calls & SANDBOX_LEASE) {
		rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(fcntl), 1,
		    SCMP_A1(SCMP_CMP_EQ, F_SETLEASE));
		rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(fcntl), 1,
		    SCMP_A1(SCMP_CMP_EQ, F_GETLEASE));
	}
	return rc;
}

/*
 * Calls that add_guarded() allows with some arguments: a rule without
 * arguments would replace theirs. (clone3 has to stay ENOSYS, so that the C
 * library uses clone, whose flags can be looked at.)
 */
static bool is_guarded(const char *name)
{
	static const char *const names[] = { "clone3", "clone", "mmap",
		"mprotect", "tgkill", "prlimit64", "prctl", "fcntl" };

	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int confine_calls(const struct sandbox *row, const char **why)
{
	const bool leaf = (row->calls & SANDBOX_SPAWN) == 0;
	scmp_filter_ctx f = seccomp_init(leaf ? SCMP_ACT_ERRNO(ENOSYS)
	    : SCMP_ACT_ALLOW);
	int rc = -1;

	*why = "seccomp";
	if (f == NULL)
		return -1;
	seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (add_all(f, SCMP_ACT_KILL_PROCESS, calls_deadly,
		COUNT(calls_deadly)) < 0)
		goto out;
	if (!leaf)
		goto load;
	if (add_all(f, SCMP_ACT_KILL_PROCESS, calls_deadly_leaf,
		COUNT(calls_deadly_leaf)) < 0 ||
	    add_all(f, SCMP_ACT_ALLOW, calls_everybody,
		COUNT(calls_everybody)) < 0 ||
	    add_guarded(f, row) < 0)
		goto out;
#ifdef POSTERN_SAN
	if (add_all(f, SCMP_ACT_ALLOW, calls_sanitizer,
		COUNT(calls_sanitizer)) < 0)
		goto out;
#endif
	if ((row->calls & SANDBOX_FILES && add_all(f, SCMP_ACT_ALLOW,
		calls_files, COUNT(calls_files)) < 0) ||
	    (row->calls & SANDBOX_NET && add_all(f, SCMP_ACT_ALLOW,
		calls_net, COUNT(calls_net)) < 0) ||
	    (row->calls & SANDBOX_DIAL && add_all(f, SCMP_ACT_ALLOW,
		calls_dial, COUNT(calls_dial)) < 0) ||
	    (row->calls & SANDBOX_NOTIFY && add_all(f, SCMP_ACT_ALLOW,
		calls_notify, COUNT(calls_notify)) < 0))
		goto out;
	/* what libseccomp knows by name and we did not allow: EPERM; what it
	 * does not know stays ENOSYS, for which the C library has fallbacks */
	for (int nr = 0; nr < 500; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE,
		    nr);
		if (name == NULL)
			continue;
		if (!is_guarded(name))
			seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), nr, 0);
		free(name);
	}
load:
	rc = seccomp_load(f);
out:
	seccomp_release(f);
	return rc;
}

int sandbox_enter(const struct sandbox *row, const struct sandbox_identity *id,
    const struct sandbox_path *paths, size_t count, char missing[64],
    const char **why)
{
	const struct rlimit none = { 0, 0 };
	int rc;

	missing[0] = '\0';
	*why = "cannot set process attributes";
	if (setrlimit(RLIMIT_CORE, &none) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -1;
	*why = "cannot drop capabilities";
	/* only what master executes starts with rights */
	if (drop_bounding(strcmp(row->name, "master") == 0
		? row->capabilities : 0) < 0)
		return -1;
	if (become(row, id, why) < 0)
		return -1;
	*why = "cannot drop capabilities";
	if (drop_capabilities(geteuid() == 0 ? row->capabilities : 0) < 0)
		return -1;
	/* setuid() makes the process undumpable only by a system setting */
	*why = "cannot set process attributes";
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	if (strcmp(row->directories, "*") != 0) {
		if ((rc = confine_files(row, paths, count, why)) < 0)
			return -1;
		if (rc == 1)
			strncpy(missing, "Landlock", 63);
	}
	return confine_calls(row, why);
}
