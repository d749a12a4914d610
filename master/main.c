/*
 * master - starts, watches and replaces all the others
 *
 * Hears from:  the operator (signals), its children (msgs/control.h)
 * Talks to:    its children
 * Runs as:     root with SETUID SETGID SETPCAP SYS_CHROOT NET_BIND_SERVICE
 *              KILL, or as whoever made the instance
 * Owns:        the listening sockets, the edges, master.pid
 * Start at:    main(), then children_start() in children.c
 * RFCs:        none
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "master/master.h"
#include "service/logclient.h"

struct master master;

static int ready_pipe = -1; /* towards `postern start` */
static int pid_fd = -1;

/* sd_notify(3) without its library: one datagram. */
static void tell_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n == 0 || n >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@')
		sa.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		(struct sockaddr *)&sa, (socklen_t)(offsetof(struct
		sockaddr_un, sun_path) + n)) < 0)
		log_warn("systemd notification: %s", strerror(errno));
	close(fd);
}

static void report_ready(void *ctx)
{
	struct timer **again = ctx;

	if (!children_ready()) {
		timer_in(*again, 5 * CLOCK_MS);
		return;
	}
	if (ready_pipe >= 0) {
		if (write(ready_pipe, "ok", 2) != 2)
			log_warn("nobody waits for the start any more");
		close(ready_pipe);
		ready_pipe = -1;
	}
	tell_systemd("READY=1");
}

/*
 * One master an instance: the lock is the truth, the number in the file is
 * for people and scripts.
 */
static int take_pid_lock(const char *data_directory)
{
	char path[4200], text[32];
	int fd, n;

	snprintf(path, sizeof(path), "%s/master.pid", data_directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		fprintf(stderr, "master: %s: %s\n", path, strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		ssize_t k = read(fd, text, sizeof(text) - 1);

		text[k > 0 ? k : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		fprintf(stderr, "master: it runs already, process %s\n", text);
		close(fd);
		return -1;
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n) {
		fprintf(stderr, "master: %s: %s\n", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static void reload(void)
{
	struct plan *plan = plan_read(false);

	if (plan != NULL && plan_bind_public(plan) < 0)
		plan_free(&plan);
	if (plan == NULL) {
		log_warn("reload: the configuration has errors; "
		    "the old one stays in force");
		return;
	}
	log_info("reload -- version %s, configuration %s", POSTERN_VERSION,
	    master.config_dir);
	tell_systemd("RELOADING=1");
	children_start(plan);
	socket_close_unwanted();
	tell_systemd("READY=1");
}

static void on_signal(int fd, unsigned ready, void *ctx)
{
	struct signalfd_siginfo si;

	(void)ready;
	(void)ctx;
	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGCHLD:
			children_reap();
			break;
		case SIGHUP:
			if (!master.stopping)
				reload();
			break;
		case SIGTERM:
		case SIGINT:
			if (!master.stopping) {
				log_info("stopping");
				tell_systemd("STOPPING=1");
				master.stopping = true;
				children_stop();
			}
			break;
		}
	}
}

static void watch_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || watch_new(master.loop, fd, LOOP_READ, on_signal,
		NULL) == NULL)
		log_fatal("signalfd: %s", strerror(errno));
}

static void raise_descriptors(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

/* Leaves the terminal; standard error goes on to a file, for sanitizers'
 * reports and the loader's errors. */
static void detach(const char *data_directory)
{
	char path[4200];
	int null, err;

	snprintf(path, sizeof(path), "%s/stderr", data_directory);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	err = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
	    O_NOFOLLOW, 0600);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	dup2(err >= 0 ? err : null, 2);
	setsid();
}

static void give_up_rights(void)
{
	const struct sandbox *row = sandbox_find("master");
	struct sandbox_identity id = { .uid = (uid_t)-1, .root_fd = -1 };
	char missing[64];
	const char *why;

	if (sandbox_enter(row, &id, NULL, 0, missing, &why) < 0)
		log_fatal("%s: %s", why, strerror(errno));
}

/* Nobody waits for `log`: there has to be room for what all say while it
 * writes. Past the system's limit as root. */
static void widen_log_socket(void)
{
	int octets = 4 * 1024 * 1024;

	if (setsockopt(master.log_pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &octets,
		sizeof(octets)) < 0)
		setsockopt(master.log_pair[0], SOL_SOCKET, SO_SNDBUF, &octets,
		    sizeof(octets));
}

static int open_bin_dir(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		return -1;
	path[n] = '\0';
	return open(dirname(path), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void usage(void)
{
	fprintf(stderr, "usage: master -c DIRECTORY [-f] [-r FD]\n"
	    "  -c  configuration directory\n"
	    "  -f  stay in the foreground\n"
	    "  -r  descriptor to which \"ok\" is written when all is ready\n"
	    "see master(8)\n");
	exit(64);
}

int main(int argc, char **argv)
{
	bool foreground = false;
	struct timer *again;
	int c;

	log_set_name("master");
	while ((c = getopt(argc, argv, "c:fr:")) != -1) {
		switch (c) {
		case 'c':
			master.config_dir = optarg;
			break;
		case 'f':
			foreground = true;
			break;
		case 'r':
			ready_pipe = atoi(optarg);
			fcntl(ready_pipe, F_SETFD, FD_CLOEXEC);
			break;
		default:
			usage();
		}
	}
	if (optind != argc || master.config_dir == NULL)
		usage();
	umask(022);
	master.privileged = geteuid() == 0;
	master.config_fd = open(master.config_dir,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (master.config_fd < 0) {
		fprintf(stderr, "master: %s: %s\n", master.config_dir,
		    strerror(errno));
		return 1;
	}
	master.bin_fd = open_bin_dir();
	master.loop = loop_new();
	if (master.bin_fd < 0 || master.loop == NULL)
		log_fatal("cannot start: %s", strerror(errno));
	raise_descriptors();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
		master.log_pair) < 0)
		log_fatal("socketpair: %s", strerror(errno));
	widen_log_socket();
	if ((master.plan = plan_read(true)) == NULL ||
	    spool_prepare(master.plan) < 0 ||
	    (pid_fd = take_pid_lock(master.plan->params.data_directory)) < 0)
		return 1;
	if (!foreground)
		detach(master.plan->params.data_directory);
	give_up_rights();
	watch_signals();
	logclient_start(master.log_pair[0],
	    arena_str(master.plan->arena,
		str_of(master.plan->params.syslog_name)).p, "master");
	log_info("daemon started -- version %s, configuration %s",
	    POSTERN_VERSION, master.config_dir);
	children_start(master.plan);
	again = timer_new(master.loop, report_ready, &again);
	timer_in(again, 0);
	loop_run(master.loop);
	return 0;
}
