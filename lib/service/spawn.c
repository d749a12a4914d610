#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"
#include "service/spawn.h"

#define GIVE_TIMEOUT (10 * CLOCK_SECOND)

/* What a program may need of the environment; nothing else passes. */
static size_t make_environment(char *env[], size_t max)
{
	static const char *const names[] = { "TZ", "ASAN_OPTIONS",
		"UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS" };
	static char path[] = "PATH=/usr/bin:/bin", lang[] = "LANG=C";
	size_t n = 0;

	env[n++] = path;
	env[n++] = lang;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);

		for (char **e = environ; e != NULL && *e != NULL; e++)
			if (strncmp(*e, names[i], len) == 0 &&
			    (*e)[len] == '=' && n + 1 < max)
				env[n++] = *e;
	}
	env[n] = NULL;
	return n;
}

static void in_child(int exec_fd, const char *name, int control,
    const struct spawn_identity *id, char *env[])
{
	char *argv[] = { (char *)(uintptr_t)name, NULL };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	umask(077);
	if (id != NULL && id->uid != (uid_t)-1 && geteuid() == 0) {
		if (setgroups(1, &id->gid) < 0 ||
		    setresgid(id->gid, id->gid, id->gid) < 0 ||
		    setresuid(id->uid, id->uid, id->uid) < 0 ||
		    setresuid(0, 0, 0) == 0)
			_exit(111);
	}
	/* execveat needs the file open; keep it clear of what we arrange */
	if (exec_fd <= SPAWN_CONTROL_FD)
		exec_fd = fcntl(exec_fd, F_DUPFD_CLOEXEC, 10);
	if (control != SPAWN_CONTROL_FD) {
		if (dup2(control, SPAWN_CONTROL_FD) < 0)
			_exit(111);
	} else
		fcntl(control, F_SETFD, 0);
	if ((null = open("/dev/null", O_RDWR)) >= 0 && null != 0)
		dup2(null, 0);
	syscall(SYS_close_range, SPAWN_CONTROL_FD + 1, ~0u,
	    CLOSE_RANGE_CLOEXEC);
	syscall(SYS_execveat, exec_fd, "", argv, env, AT_EMPTY_PATH);
	_exit(111);
}

pid_t spawn_program(int exec_fd, const char *name,
    const struct spawn_identity *id, struct conv **control_r)
{
	char *env[16];
	int pair[2];
	pid_t pid;

	make_environment(env, sizeof(env) / sizeof(env[0]));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if ((pid = fork()) == 0)
		in_child(exec_fd, name, pair[1], id, env);
	close(pair[1]);
	if (pid < 0) {
		int err = errno;

		close(pair[0]);
		errno = err;
		return -1;
	}
	if ((*control_r = conv_new(name, pair[0])) == NULL) {
		errno = ENOMEM; /* the child sees the end of file and goes */
		return -1;
	}
	return pid;
}

static int send_give(struct conv *control, const struct control_give *give)
{
	const char *why;

	return conv_send(control, &control_give_schema, give,
	    clock_now() + GIVE_TIMEOUT, &why);
}

int spawn_give(struct conv *control, enum control_kind kind, const char *name,
    int fd)
{
	struct control_give give = { .kind = kind, .name = str_of(name),
		.fd = fd };

	return send_give(control, &give);
}

int spawn_give_served(struct conv *control, const char *client, int fd,
    size_t most)
{
	struct control_give give = { .kind = CONTROL_SERVE,
		.name = str_of(client), .fd = fd, .most = most };

	return send_give(control, &give);
}
