/*
 * escape-probe - tries to break out of each program's walls, from inside
 *
 * Without descriptor 3 it is the launcher: for each row of sandbox.def and
 * each attempt below it starts itself exactly as master or launch start that
 * program (same parameters of the walls, same kinds of descriptors) and looks
 * how the attempt ended. As the program it enters the walls by
 * service_main() and makes one attempt.
 *
 * An attempt must be refused (an error, or death by SIGSYS) unless the row
 * allows it; and what the row allows must work: the page has to be the truth.
 *
 *   escape-probe DIRECTORY     an empty directory to build its targets in
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/control.h"
#include "service/sandbox.h"
#include "service/service.h"
#include "service/spawn.h"

#define UID_BASE 63100
#define UID_MAIL 63150

enum { REFUSED = 40, WORKED = 41 };

/* Directory of the targets; in the probe it comes as "arg". */
static char top[2048];

static int opens(const char *path, int flags)
{
	char full[4096];
	int fd;

	snprintf(full, sizeof(full), "%s%s", path[0] == '/' ? "" : top, path);
	if (path[0] != '/')
		snprintf(full, sizeof(full), "%s/%s", top, path);
	fd = open(full, flags, 0600);
	return fd >= 0 ? 0 : -1;
}

static int open_passwd(void)
{
	return opens("/etc/passwd", O_RDONLY);
}

static int open_queue(void)
{
	return opens("spool/incoming/1", O_RDONLY);
}

/* With the descriptor that the program has, if it has one. */
static int open_queue_by_role(void)
{
	return openat(service_dir("spool"), "incoming/1", O_RDWR);
}

static int open_key(void)
{
	return opens("keys/key.pem", O_RDONLY);
}

static int open_other_mail(void)
{
	return opens("mail/our.test/bob/new/1", O_RDONLY);
}

static int open_own_mail(void)
{
	return openat(service_dir("mail"), "new/1", O_RDONLY);
}

static int open_mail_root(void)
{
	return openat(service_dir("mail"), "our.test/anna/new/1", O_RDONLY);
}

static int climb_to_other_mail(void)
{
	return openat(service_dir("mail"), "../bob/new/1", O_RDONLY);
}

static int read_configuration(void)
{
	return openat(service_dir("etc"), "main.cf", O_RDONLY);
}

static int write_configuration(void)
{
	return openat(service_dir("etc"), "main.cf", O_WRONLY);
}

static int create_in_tmp(void)
{
	return opens("/tmp/escape-probe", O_WRONLY | O_CREAT);
}

static int open_proc_mem(void)
{
	return opens("/proc/self/mem", O_RDWR);
}

static int dial_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int dial_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int run_program(void)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL };
	char *env[] = { NULL };
	pid_t pid = vfork();
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0) {
		execve("/bin/true", argv, env);
		_exit(1);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int exec_program(void)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL };
	char *env[] = { NULL };

	return execve("/bin/true", argv, env);
}

static int make_process(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);

	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}

static int trace_parent(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int read_parent_memory(void)
{
	char c;
	struct iovec here = { &c, 1 }, there = { (void *)(uintptr_t)top, 1 };

	return (int)process_vm_readv(getppid(), &here, 1, &there, 1, 0);
}

static int signal_parent(void)
{
	return kill(getppid(), 0);
}

static int become_root(void)
{
	return setresuid(0, 0, 0);
}

static int change_root(void)
{
	return chroot("/");
}

static int mount_something(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static int new_namespace(void)
{
	return (int)syscall(SYS_unshare, 0x10000000);
}

static int load_bpf(void)
{
	return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int use_io_uring(void)
{
	char params[256] = "";

	return (int)syscall(SYS_io_uring_setup, 4, params);
}

static int open_by_handle(void)
{
	char handle[64] = "";

	return (int)syscall(SYS_open_by_handle_at, AT_FDCWD, handle, 0);
}

static int use_keyring(void)
{
	return (int)syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 1);
}

static int handle_faults(void)
{
	return (int)syscall(SYS_userfaultfd, 0);
}

static int count_events(void)
{
	char attr[128] = "";

	return (int)syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static int map_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

static int make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int become_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int adopt_orphans(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static int watch_files(void)
{
	return (int)syscall(SYS_inotify_init1, 0);
}

static int raise_limits(void)
{
	struct rlimit rl = { 10, 10 };

	return setrlimit(RLIMIT_CORE, &rl);
}

/* A file that it was given, as cleanup is given queue files. */
static int write_far_out(void)
{
	return (int)pwrite(service_file("given"), "x", 1, (off_t)1 << 40);
}

static int take_descriptor(void)
{
	return (int)syscall(SYS_pidfd_getfd, 0, 0, 0);
}

static int make_device(void)
{
	return mknod("/tmp/escape-probe-device", S_IFCHR | 0600, 0x103);
}

static int change_owner(void)
{
	return fchown(2, 0, 0);
}

static int make_socket_pair(void)
{
	int pair[2];

	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
}

static void nothing(void *arg)
{
	(void)arg;
}

static int start_thread(void)
{
	return service_thread(nothing, NULL);
}

static int allocate_memory(void)
{
	char *p = malloc(8 * 1024 * 1024);

	if (p == NULL)
		return -1;
	memset(p, 1, 8 * 1024 * 1024);
	free(p);
	return 0;
}

/* When a row allows it. */
enum need {
	NEVER, ALWAYS, IF_CALL, IF_ROLE, IF_CONFINED, IF_MAIL_ROOT,
	IF_ANY_ROLE
};

struct attempt {
	const char *name;
	int (*try)(void);
	enum need need;
	unsigned call;
	const char *role;
};

static const struct attempt attempts[] = {
	{ "make a socket pair", make_socket_pair, ALWAYS, 0, NULL },
	{ "start a thread", start_thread, ALWAYS, 0, NULL },
	{ "allocate memory", allocate_memory, ALWAYS, 0, NULL },
	{ "read /etc/passwd", open_passwd, IF_ROLE, 0, "accounts" },
	{ "open a queue file by path", open_queue, IF_ROLE, 0, "spool" },
	{ "open a queue file", open_queue_by_role, IF_ROLE, 0, "spool" },
	{ "open the private key", open_key, NEVER, 0, NULL },
	{ "open another user's mail", open_other_mail, IF_MAIL_ROOT, 0, NULL },
	{ "open the user's mail", open_own_mail, IF_CONFINED, 0, NULL },
	{ "open mail below the root", open_mail_root, IF_MAIL_ROOT, 0, NULL },
	{ "climb to another user's mail", climb_to_other_mail, NEVER, 0, NULL },
	{ "read the configuration", read_configuration, IF_ROLE, 0, "etc" },
	{ "write the configuration", write_configuration, NEVER, 0, NULL },
	{ "create a file in /tmp", create_in_tmp, NEVER, 0, NULL },
	{ "open /proc/self/mem", open_proc_mem, NEVER, 0, NULL },
	{ "make an internet socket", dial_inet, IF_CALL, SANDBOX_DIAL, NULL },
	{ "make a unix socket", dial_unix, IF_CALL, SANDBOX_DIAL, NULL },
	{ "run a program", run_program, IF_CALL, SANDBOX_SPAWN, NULL },
	{ "execute a program", exec_program, NEVER, 0, NULL },
	{ "make a process", make_process, IF_CALL, SANDBOX_SPAWN, NULL },
	{ "trace the parent", trace_parent, NEVER, 0, NULL },
	{ "read the parent's memory", read_parent_memory, NEVER, 0, NULL },
	{ "signal the parent", signal_parent, IF_CALL, SANDBOX_SPAWN, NULL },
	{ "become root", become_root, NEVER, 0, NULL },
	{ "change the root directory", change_root, NEVER, 0, NULL },
	{ "mount", mount_something, NEVER, 0, NULL },
	{ "make a namespace", new_namespace, NEVER, 0, NULL },
	{ "load BPF", load_bpf, NEVER, 0, NULL },
	{ "use io_uring", use_io_uring, NEVER, 0, NULL },
	{ "open by handle", open_by_handle, NEVER, 0, NULL },
	{ "use a keyring", use_keyring, NEVER, 0, NULL },
	{ "handle page faults", handle_faults, NEVER, 0, NULL },
	{ "count events", count_events, NEVER, 0, NULL },
	{ "map code", map_code, NEVER, 0, NULL },
	{ "make memory executable", make_code, NEVER, 0, NULL },
	{ "become dumpable", become_dumpable, NEVER, 0, NULL },
	{ "adopt orphans", adopt_orphans, IF_CALL, SANDBOX_SPAWN, NULL },
	{ "watch files", watch_files, IF_CALL, SANDBOX_NOTIFY, NULL },
	{ "raise a limit", raise_limits, NEVER, 0, NULL },
	{ "make a file huge", write_far_out, IF_ANY_ROLE, 0, NULL },
	{ "take another's descriptor", take_descriptor, NEVER, 0, NULL },
	{ "make a device", make_device, NEVER, 0, NULL },
	{ "change an owner", change_owner, NEVER, 0, NULL },
};
#define NATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

/* --- as the program --- */

static int probe(struct loop *loop)
{
	char number[16];
	struct str arg = str_of(service_arg()), word;

	(void)loop;
	str_split(&arg, ' ', &word);
	if (str_to_c(word, number, sizeof(number)) < 0 ||
	    str_to_c(arg, top, sizeof(top)) < 0)
		_exit(1);
	_exit(attempts[atoi(number)].try() >= 0 ? WORKED : REFUSED);
}

/* --- the launcher --- */

static int put_file(const char *name, mode_t mode, uid_t owner)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	if (fd < 0 || write(fd, "x\n", 2) != 2 || fchmod(fd, mode) < 0 ||
	    (geteuid() == 0 && fchown(fd, owner, owner) < 0)) {
		perror(path);
		return -1;
	}
	close(fd);
	return 0;
}

static int put_dir(const char *name, mode_t mode, uid_t owner)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	if ((mkdir(path, 0700) < 0 && errno != EEXIST) ||
	    chmod(path, mode) < 0 ||
	    (geteuid() == 0 && chown(path, owner, owner) < 0)) {
		perror(path);
		return -1;
	}
	return 0;
}

static int make_targets(void)
{
	const uid_t qmgr = UID_BASE + 5;

	return put_dir("empty", 0555, 0) < 0 || put_dir("etc", 0755, 0) < 0 ||
		put_file("etc/main.cf", 0644, 0) < 0 ||
		put_dir("keys", 0700, 0) < 0 ||
		put_file("keys/key.pem", 0600, 0) < 0 ||
		put_dir("spool", 0711, qmgr) < 0 ||
		put_dir("spool/incoming", 0700, qmgr) < 0 ||
		put_file("spool/incoming/1", 0600, qmgr) < 0 ||
		put_dir("spool/maildrop", 0733, UID_BASE + 3) < 0 ||
		put_dir("spool/public", 0755, 0) < 0 ||
		put_dir("data", 0755, 0) < 0 ||
		put_dir("log", 0755, UID_BASE + 1) < 0 ||
		put_dir("mail", 0711, UID_MAIL) < 0 ||
		put_dir("mailspool", 01777, 0) < 0 ||
		put_dir("mail/our.test", 0700, UID_MAIL) < 0 ||
		put_dir("mail/our.test/anna", 0700, UID_MAIL) < 0 ||
		put_dir("mail/our.test/anna/new", 0700, UID_MAIL) < 0 ||
		put_file("mail/our.test/anna/new/1", 0600, UID_MAIL) < 0 ||
		put_dir("mail/our.test/bob", 0700, UID_MAIL) < 0 ||
		put_dir("mail/our.test/bob/new", 0700, UID_MAIL) < 0 ||
		put_file("mail/our.test/bob/new/1", 0600, UID_MAIL) < 0
	    ? -1 : 0;
}

static int give_role(struct conv *c, const char *role)
{
	char path[4096];
	int fd, rc;

	if (strcmp(role, "tables") == 0 || strcmp(role, "accounts") == 0)
		snprintf(path, sizeof(path), "/etc");
	else if (strcmp(role, "maildrop") == 0 || strcmp(role, "public") == 0)
		snprintf(path, sizeof(path), "%s/spool/%s", top, role);
	else
		snprintf(path, sizeof(path), "%s/%s", top, role);
	if ((fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
		perror(path);
		return -1;
	}
	rc = spawn_give(c, CONTROL_DIR, role, fd);
	close(fd);
	return rc;
}

/* What launch confines to one user's directory. */
static bool is_session(const struct sandbox *row)
{
	return row->processes == 0 && row->capabilities == 0 &&
	    strcmp(row->directories, "*") != 0 &&
	    strcmp(row->name, "deliver") != 0;
}

static int give_all(struct conv *c, const struct sandbox *row, size_t attempt)
{
	bool launched = row->processes == 0 && row->capabilities == 0;
	bool root = geteuid() == 0;
	bool confined = is_session(row);
	char arg[4096];
	uid_t uid = row->capabilities ? 0 : launched ? UID_MAIL
	    : UID_BASE + row->number;
	struct control_start start = {
		.program = str_of(row->name), .service = str_of(row->name),
		.uid = root ? uid : UINT32_MAX, .gid = uid,
		.session_max = 10, .arg = str_of(arg),
		.dir = confined ? STR("our.test/anna") : STR_NONE,
		.confine_dir = confined,
	};
	const char *p = row->directories, *why;
	char role[64];
	int fd, rc = 0;

	snprintf(arg, sizeof(arg), "%zu %s", attempt, top);
	if (start.arg.p == arg)
		start.arg.n = strlen(arg);
	if (conv_send(c, &control_start_schema, &start,
		clock_now() + CLOCK_SECOND, &why) < 0)
		return -1;
	for (; strcmp(row->directories, "*") != 0 && *p && rc == 0;
	    p += strcspn(p, " "), p += *p == ' ') {
		snprintf(role, sizeof(role), "%.*s", (int)strcspn(p, ":"), p);
		rc = give_role(c, role);
	}
	if (rc == 0 && row->root == SANDBOX_EMPTY) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/empty", top);
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 ? -1 : spawn_give(c, CONTROL_ROOT, "root", fd);
		close(fd);
	}
	if (rc == 0) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/given", top);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		rc = fd < 0 ? -1 : spawn_give(c, CONTROL_FILE, "given", fd);
		close(fd);
	}
	if (rc == 0)
		rc = conv_send(c, &control_go_schema, NULL,
		    clock_now() + CLOCK_SECOND, &why);
	return rc;
}

static bool is_allowed(const struct sandbox *row, const struct attempt *a)
{
	char rights[8];

	switch (a->need) {
	case NEVER:
		return false;
	case ALWAYS:
		return true;
	case IF_CALL:
		return row->calls & a->call;
	case IF_ROLE:
		/* what has no file rules is allowed what its uid may */
		if (strcmp(a->role, "accounts") == 0 &&
		    sandbox_rights(row, "tables", rights) != NULL)
			return true;
		return sandbox_rights(row, a->role, rights) != NULL;
	case IF_CONFINED:
		return is_session(row);
	case IF_MAIL_ROOT:
		return strcmp(row->name, "deliver") == 0;
	case IF_ANY_ROLE:
		return row->directories[0] != '\0';
	}
	return false;
}

/* By path a chroot stands before it. */
static bool is_moot(const struct sandbox *row, const struct attempt *a)
{
	bool root = geteuid() == 0;

#ifdef POSTERN_SAN
	/* holes that sandbox.c makes for the sanitizer, and says so */
	if (a->try == map_code || a->try == make_code ||
	    a->try == become_dumpable || a->try == adopt_orphans)
		return true;
#endif
	/* what it is allowed by its calls, its uid still forbids */
	if (a->try == signal_parent && root && row->capabilities == 0)
		return row->calls & SANDBOX_SPAWN;
	/* no file rules at all: launch and master start others, and Landlock is
	 * inherited; what they may open is what their uid may. Root with three
	 * capabilities is another matter than root: see the page */
	if (strcmp(row->directories, "*") == 0)
		return a->need == IF_ROLE || a->try == open_key ||
		    a->try == open_other_mail || a->try == create_in_tmp ||
		    a->try == open_proc_mem || a->try == exec_program ||
		    a->try == map_code || a->try == make_code ||
		    a->try == become_dumpable || a->try == raise_limits ||
		    a->try == change_owner || a->try == watch_files ||
		    a->try == make_device || a->try == become_root ||
		    a->try == dial_inet || a->try == dial_unix ||
		    a->try == change_root;
	if (a->try == open_queue && row->root == SANDBOX_EMPTY && root)
		return true;
	/* the mail root's path may have closed directories above it */
	return a->try == open_other_mail && is_allowed(row, a);
}

static int one(const char *self, const struct sandbox *row, size_t i)
{
	const struct attempt *a = &attempts[i];
	bool allowed = is_allowed(row, a), root = geteuid() == 0, worked;
	struct spawn_identity id = { UID_MAIL, UID_MAIL };
	int fd = open(self, O_PATH | O_CLOEXEC), status;
	struct conv *c = NULL;
	pid_t pid;

	pid = spawn_program(fd, row->name,
	    root && row->processes == 0 && row->capabilities == 0 ? &id : NULL,
	    &c);
	close(fd);
	if (pid < 0 || give_all(c, row, i) < 0 ||
	    waitpid(pid, &status, 0) != pid) {
		printf("%s: %s: cannot be tried\n", row->name, a->name);
		return -1;
	}
	conv_close(&c);
	/* execve() that works never comes back to tell */
	worked = WIFEXITED(status) && (WEXITSTATUS(status) == WORKED ||
	    (a->try == exec_program && WEXITSTATUS(status) == 0));
	if (!worked && !(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED) &&
	    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)) {
		printf("%s: %s: ended with status %x\n", row->name, a->name,
		    (unsigned)status);
		return -1;
	}
	if (is_moot(row, a))
		return 0;
	if (worked && !allowed) {
		printf("%s: %s: IT WORKED\n", row->name, a->name);
		return -1;
	}
	if (!worked && allowed) {
		printf("%s: %s: refused, though sandbox.def allows it\n",
		    row->name, a->name);
		return -1;
	}
	return 0;
}

static int launch_all(const char *self)
{
	unsigned tried = 0, bad = 0;

	if (make_targets() < 0)
		return 1;
	for (const struct sandbox *row = sandbox_programs; row->name; row++)
		for (size_t i = 0; i < NATTEMPTS; i++) {
			tried++;
			bad += one(self, row, i) < 0;
		}
	printf("escape-probe: %u attempts, %u bad\n", tried, bad);
	return bad > 0;
}

int main(int argc, char **argv)
{
	struct service service = { .name = argv[0], .ready = probe };
	struct stat st;
	char self[4096], *full;
	ssize_t n;

	if (fstat(SPAWN_CONTROL_FD, &st) == 0 && S_ISSOCK(st.st_mode))
		return service_main(argc, argv, &service);
	if (argc != 2 || (full = realpath(argv[1], NULL)) == NULL ||
	    str_to_c(str_of(full), top, sizeof(top)) < 0) {
		fprintf(stderr, "usage: escape-probe DIRECTORY\n");
		return 64;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return 1;
	self[n] = '\0';
	signal(SIGPIPE, SIG_IGN);
	return launch_all(self);
}
