#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "local/keeper.h"

/* Who makes processes faster than they can be killed, or waits for a disk
 * that never answers, is not waited for. */
#define END_PATIENCE (5 * CLOCK_SECOND)
#define KEEPER_PATIENCE (END_PATIENCE + 2 * CLOCK_SECOND)
#define ROUND (CLOCK_SECOND / 50)

/* --- in the keeper: system calls only --- */

enum { LINK = 0, CHILDREN = 1 };	/* its descriptors */

/*
 * The list needs the kernel's CONFIG_PROC_CHILDREN, which distributions set;
 * it may lack some while they change, and whoever calls looks again.
 */
static void kill_children(void)
{
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	char piece[1024];
	pid_t pid = 0;
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (piece[i] >= '0' && piece[i] <= '9') {
				pid = 10 * pid + piece[i] - '0';
				continue;
			}
			/* it stays ours, dead or not, until we wait for it */
			if (pid > 1)
				kill(pid, SIGKILL);
			pid = 0;
		}
	close(fd);
}

static void pause_for_child(int64_t deadline)
{
	struct pollfd p = { CHILDREN, POLLIN, 0 };
	struct signalfd_siginfo info;

	poll(&p, 1, clock_poll_ms(deadline));
	while (read(CHILDREN, &info, sizeof(info)) > 0)
		;
}

/*
 * Each death hands us what it had started, so that without children there are
 * no descendants. Exit 0; 1: some are left.
 */
static void end_all(pid_t command)
{
	int64_t now = clock_now(), deadline = now + END_PATIENCE;
	pid_t pid;

	if (command > 0)
		kill(-command, SIGKILL); /* its process group, at one stroke */
	for (; now < deadline; now = clock_now()) {
		kill_children();
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			_exit(0);
		pause_for_child(now + ROUND);
	}
	_exit(1);
}

static void keep(pid_t command)
{
	struct pollfd p[] = { { LINK, POLLIN, 0 }, { CHILDREN, POLLIN, 0 } };
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	for (;;) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == command) {
				send(LINK, &status, sizeof(status),
				    MSG_NOSIGNAL);
				command = -1;
			}
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		/* nothing is ever said to us: it is the end of the link */
		if (p[0].revents)
			break;
		while (read(CHILDREN, &info, sizeof(info)) > 0)
			;
	}
	end_all(command);
}

static void be_keeper(const int pair[2], keeper_fn *fn, void *arg)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t set;
	pid_t command;

	close(pair[0]);
	setsid();
	sigaction(SIGCHLD, &dfl, NULL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		_exit(EX_TEMPFAIL);
	command = fork();
	if (command < 0)
		_exit(EX_TEMPFAIL);
	if (command == 0) {
		close(pair[1]); /* our death is to be seen */
		fn(arg);
		_exit(EX_TEMPFAIL);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	/* its pipes must end with it, and so must the conversations of the
	 * process that we are a copy of */
	if (dup2(pair[1], LINK) != LINK)
		end_all(command);
	closefrom(LINK + 1);
	if (signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC) != CHILDREN)
		end_all(command);
	keep(command);
}

/* --- in deliver_command --- */

int keeper_start(struct keeper *k, keeper_fn *fn, void *arg)
{
	sigset_t all, before;
	int pair[2], err;

	*k = (struct keeper){ .link = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	k->pid = fork();
	if (k->pid == 0)
		be_keeper(pair, fn, arg);
	err = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	if (k->pid < 0) {
		close(pair[0]);
		errno = err;
		return -1;
	}
	k->link = pair[0];
	return 0;
}

/* False: the deadline is over. *ended_r: the keeper is no more. */
static bool hear(struct keeper *k, int64_t deadline, bool *ended_r)
{
	struct pollfd p = { k->link, POLLIN, 0 };
	int rc = poll(&p, 1, clock_poll_ms(deadline)), status;
	ssize_t n;

	*ended_r = false;
	if (rc == 0)
		return false;
	if (rc < 0)
		return true;
	n = read(k->link, &status, sizeof(status));
	if (n == (ssize_t)sizeof(status)) {
		k->has_status = true;
		k->status = status;
	} else if (n >= 0 || errno != EINTR) {
		*ended_r = true;
	}
	return true;
}

bool keeper_wait(struct keeper *k, int64_t deadline)
{
	bool ended = false;

	while (!k->has_status && !ended)
		if (!hear(k, deadline, &ended))
			return false;
	return true;
}

int keeper_end(struct keeper *k)
{
	int64_t deadline = clock_now() + KEEPER_PATIENCE;
	bool had_status = k->has_status, ended = false, in_time = true;
	int status = 0, command = k->status;

	shutdown(k->link, SHUT_WR);
	while (in_time && !ended)
		in_time = hear(k, deadline, &ended);
	if (!in_time)
		kill(k->pid, SIGKILL); /* what it kept may have stopped it */
	close(k->link);
	k->link = -1;
	while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!in_time || (WIFEXITED(status) && WEXITSTATUS(status) == 1))
		log_warn("uid=%u: a command's processes cannot be ended",
		    (unsigned)geteuid());
	/* without a word of it nobody knows: it is to be done again */
	return had_status ? command : W_EXITCODE(EX_TEMPFAIL, 0);
}
