/* cmd_start.c - start, stop, reload and status of the instance */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "config/config.h"
#include "postern/check.h"
#include "postern/queue_access.h"

#define START_PATIENCE (30 * CLOCK_SECOND)
#define STOP_PATIENCE (40 * CLOCK_SECOND)

int instance_pid(const char *data_directory)
{
	char path[4200], text[32];
	int fd, pid = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/master.pid", data_directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	/* the lock is the truth: a number alone may be anybody's by now */
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 &&
	    (n = pread(fd, text, sizeof(text) - 1, 0)) > 0) {
		text[n] = '\0';
		pid = atoi(text);
	}
	close(fd);
	return pid;
}

/* The instance's data_directory, in out; 0 or -1 (complained). */
static int data_directory(const struct context *ctx, char *out, size_t size)
{
	int fd = open(ctx->config_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct config *c;

	if (fd < 0) {
		complain("%s: %s", ctx->config_dir, strerror(errno));
		return -1;
	}
	c = config_read(fd, ctx->config_dir, CONFIG_NO_MASTER |
	    CONFIG_NO_TRUST);
	close(fd);
	if (c == NULL || config_value(c, "data_directory") == NULL) {
		complain("%s: cannot read main.cf", ctx->config_dir);
		config_free(&c);
		return -1;
	}
	snprintf(out, size, "%s", config_value(c, "data_directory"));
	config_free(&c);
	return 0;
}

/* The running master's pid, or 0; -1 complained. */
static int running(const struct context *ctx)
{
	char dir[4096];
	int pid;

	if (data_directory(ctx, dir, sizeof(dir)) < 0)
		return -1;
	if ((pid = instance_pid(dir)) < 0)
		complain("%s/master.pid: %s", dir, strerror(errno));
	return pid;
}

static int wait_until_ready(int fd, pid_t pid)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t deadline = clock_now() + START_PATIENCE;
	char answer[2];
	bool ended = false;

	for (;;) {
		int rc = poll(&p, 1, clock_poll_ms(deadline));

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc > 0 && read(fd, answer, 2) == 2)
			return 0;
		ended = rc > 0; /* end of file: it has said why */
		break;
	}
	if (!ended || waitpid(pid, NULL, WNOHANG) < 0)
		complain("not everything answers after %d s; the log tells "
		    "more", (int)(START_PATIENCE / CLOCK_SECOND));
	else
		complain("it did not start");
	return 1;
}

static int run_start(const struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{ "foreground", no_argument, NULL, 'f' }, { 0 } };
	char path[4200], number[16];
	bool foreground = false;
	int pair[2], c, pid;
	pid_t child;

	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c != 'f')
			return wrong_usage(&command_start);
		foreground = true;
	}
	if (optind != argc)
		return wrong_usage(&command_start);
	if ((pid = running(ctx)) != 0) {
		if (pid > 0)
			complain("it runs already, process %d", pid);
		return 1;
	}
	if (check_before_start(ctx) < 0) {
		complain("it was not started");
		return 1;
	}
	c = find_program("master", path, sizeof(path));
	if (c < 0)
		return 1;
	close(c);
	if (foreground) {
		execl(path, "master", "-f", "-c", ctx->config_dir,
		    (char *)NULL);
		complain("%s: %s", path, strerror(errno));
		return 1;
	}
	if (pipe2(pair, O_CLOEXEC) < 0 || (child = fork()) < 0) {
		complain("%s", strerror(errno));
		return 1;
	}
	if (child == 0) {
		fcntl(pair[1], F_SETFD, 0);
		snprintf(number, sizeof(number), "%d", pair[1]);
		execl(path, "master", "-c", ctx->config_dir, "-r", number,
		    (char *)NULL);
		complain("%s: %s", path, strerror(errno));
		_exit(1);
	}
	close(pair[1]);
	return wait_until_ready(pair[0], child);
}

static int run_stop(const struct context *ctx, int argc, char **argv)
{
	int64_t deadline = clock_now() + STOP_PATIENCE;
	char dir[4096];
	int pid;

	(void)argv;
	if (argc != 1)
		return wrong_usage(&command_stop);
	if (data_directory(ctx, dir, sizeof(dir)) < 0)
		return 1;
	if ((pid = instance_pid(dir)) <= 0) {
		complain("it does not run");
		return 1;
	}
	if (kill(pid, SIGTERM) < 0) {
		complain("process %d: %s", pid, strerror(errno));
		return 1;
	}
	while (instance_pid(dir) == pid) {
		if (clock_now() > deadline) {
			complain("process %d does not end", pid);
			return 1;
		}
		poll(NULL, 0, 10);
	}
	return 0;
}

static int run_reload(const struct context *ctx, int argc, char **argv)
{
	char verb[] = "check", quiet[] = "-q", *check[] = { verb, quiet, NULL };
	int pid;

	(void)argv;
	if (argc != 1)
		return wrong_usage(&command_reload);
	/* the operator sees now what master and the programs would put into
	 * the log, and what would make mail wait */
	optind = 0;
	if (command_check.run(ctx, 2, check) != 0) {
		complain("the configuration has errors; nothing was changed");
		return 1;
	}
	if ((pid = running(ctx)) == 0)
		complain("it does not run");
	if (pid <= 0)
		return 1;
	if (kill(pid, SIGHUP) < 0) {
		complain("process %d: %s", pid, strerror(errno));
		return 1;
	}
	return 0;
}

static int run_status(const struct context *ctx, int argc, char **argv)
{
	ssize_t corrupt;
	int pid;

	(void)argv;
	if (argc != 1)
		return wrong_usage(&command_status);
	if ((pid = running(ctx)) < 0)
		return 2;
	if (pid == 0) {
		printf("stopped\n");
		return 1;
	}
	printf("running, process %d, configuration %s\n", pid,
	    ctx->config_dir);
	if ((corrupt = queue_corrupt_count(ctx)) > 0)
		printf("%zd message%s in corrupt/, which nobody delivers: see "
		    "mailq\n", corrupt, corrupt == 1 ? "" : "s");
	return 0;
}

const struct command command_start = { "start", NULL, run_start,
	"[--foreground]", "starts it; returns when every listener answers" };
const struct command command_stop = { "stop", NULL, run_stop, "",
	"stops it in good order; returns when all processes are gone" };
const struct command command_reload = { "reload", NULL, run_reload, "",
	"takes up a changed configuration; no connection is dropped" };
const struct command command_status = { "status", NULL, run_status, "",
	"tells whether it runs (exit status 0) or not (1)" };
