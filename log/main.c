/*
 * log - writes the log
 *
 * Hears from:  every program (datagrams, one line each)
 * Talks to:    nobody
 * Runs as:     postern-log, empty root, the log's directory
 * Owns:        maillog_file, or the way to syslog
 * Start at:    ready()
 * RFCs:        none (line format: what readers of Postfix logs parse)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "service/service.h"

#define BATCH 256
#define LINE_MAX_OCTETS 2600
/* Lines that come close together are written together: a wake-up for each
 * would cost more than all the rest of it. */
#define GATHER (3 * CLOCK_MS)

static struct {
	int in;			/* datagrams */
	int out;		/* file, or -1 */
	int dir;		/* of the file, to open it again */
	char name[256];		/* of the file, in dir */
	char host[65];
	dev_t dev;
	ino_t ino;
	struct buf batch, text;
	struct watch *watch;
	struct timer *gather;
	int64_t checked;
} self = { .in = -1, .out = -1, .dir = -1 };

static int open_file(void)
{
	struct stat st;
	int fd = openat(self.dir, self.name, O_WRONLY | O_CREAT | O_APPEND |
	    O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);

	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	self.dev = st.st_dev;
	self.ino = st.st_ino;
	return fd;
}

/* After a rotation (rename) the lines go to a new file of that name. */
static void follow_rotation(void)
{
	int64_t now = clock_wall() / CLOCK_SECOND;
	struct stat st;
	int fd;

	if (self.dir < 0 || now == self.checked)
		return;
	self.checked = now;
	if (fstatat(self.dir, self.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == self.dev && st.st_ino == self.ino)
		return;
	if ((fd = open_file()) < 0)
		return;
	if (self.out >= 0)
		close(self.out);
	self.out = fd;
}

static int facility(void)
{
	static const struct {
		const char *name;
		int value;
	} rows[] = { { "mail", LOG_MAIL }, { "daemon", LOG_DAEMON },
		{ "user", LOG_USER }, { "auth", LOG_AUTH },
		{ "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },
		{ "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },
		{ "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 },
		{ "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, service_params()->syslog_facility) ==
		    0)
			return rows[i].value;
	return LOG_MAIL;
}

static int start(void)
{
	const char *path = service_params()->maillog_file;
	const char *slash;
	struct str name;

	/* an octet that is not shown as it is takes four */
	buf_init(&self.text, 4 * LINE_MAX_OCTETS + 1);
	buf_init(&self.batch, BATCH * (4 * LINE_MAX_OCTETS + 512));
	if (gethostname(self.host, sizeof(self.host)) < 0)
		snprintf(self.host, sizeof(self.host), "localhost");
	self.host[sizeof(self.host) - 1] = '\0';
	self.host[strcspn(self.host, ".")] = '\0';
	if (strcmp(path, "/dev/stdout") == 0 ||
	    strcmp(path, "/dev/stderr") == 0) {
		/* the daemon's own: container images */
		self.out = dup(strcmp(path, "/dev/stdout") == 0 ? 1 : 2);
		return 0;
	}
	if (path[0] != '/') {
		/* the C library keeps the socket open behind the walls */
		openlog("postern", LOG_NDELAY, facility());
		return 0;
	}
	self.dir = service_dir("log");
	slash = strrchr(path, '/');
	name = str_of(slash + 1);
	if (self.dir < 0 || str_to_c(name, self.name, sizeof(self.name)) < 0)
		return -1;
	return 0;
}

static int priority_of(int level)
{
	static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING,
		LOG_CRIT, LOG_CRIT };

	return level >= 0 && level < 5 ? priorities[level] : LOG_INFO;
}

static void flush_batch(void)
{
	if (self.batch.n == 0)
		return;
	/* a full disk must not stop the mail: the lines are lost, and the
	 * next one that can be written tells nothing of them but the gap */
	if (self.out >= 0 &&
	    sys_write_all(self.out, self.batch.p, self.batch.n) < 0)
		fprintf(stderr, "log: %s\n", strerror(errno));
	buf_reset(&self.batch);
}

static void take_line(struct str line)
{
	static time_t last;
	static char stamp[32];
	int level = line.n > 0 && ascii_is_digit(line.p[0])
	    ? line.p[0] - '0' : LOG_LEVEL_INFO;
	time_t now = (time_t)(clock_wall() / CLOCK_SECOND);
	struct str text;

	/* who sent it escaped it: unless somebody took that program over */
	buf_reset(&self.text);
	log_append_shown(&self.text, str_from(line, 1));
	text = buf_str(&self.text);
	if (text.n == 0)
		return;
	if (self.out < 0 && self.dir < 0) {
		syslog(priority_of(level), STR_FMT, STR_ARG(text));
		return;
	}
	if (now != last) {
		struct tm tm;

		localtime_r(&now, &tm);
		strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
		last = now;
	}
	buf_printf(&self.batch, "%s %s ", stamp, self.host);
	buf_append(&self.batch, text);
	buf_append_char(&self.batch, '\n');
}

/* Takes what is there; false when that was all of it. */
static bool take_batch(void)
{
	static char space[BATCH][LINE_MAX_OCTETS];
	struct mmsghdr mh[BATCH];
	struct iovec iov[BATCH];
	int n;

	memset(mh, 0, sizeof(mh));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ space[i], LINE_MAX_OCTETS };
		mh[i].msg_hdr.msg_iov = &iov[i];
		mh[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(self.in, mh, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		take_line(str_n(space[i], mh[i].msg_len));
	flush_batch();
	return n == BATCH;
}

static void on_gathered(void *ctx)
{
	(void)ctx;
	follow_rotation();
	while (take_batch())
		continue;
	watch_want(self.watch, LOOP_READ);
}

static void on_lines(int fd, unsigned ready, void *ctx)
{
	(void)fd;
	(void)ready;
	(void)ctx;
	watch_want(self.watch, 0);
	timer_in(self.gather, GATHER);
}

static int ready(struct loop *loop)
{
	tzset();
	if (self.dir >= 0 && (self.out = open_file()) < 0) {
		fprintf(stderr, "log: %s: %s\n", self.name, strerror(errno));
		return -1;
	}
	self.in = service_file("log");
	self.gather = timer_new(loop, on_gathered, NULL);
	self.watch = self.in >= 0 ? watch_new(loop, self.in, LOOP_READ,
	    on_lines, NULL) : NULL;
	return self.watch != NULL && self.gather != NULL ? 0 : -1;
}

/* The last lines of the others are in the socket before they ended. */
static bool drain(bool stopping)
{
	(void)stopping;
	while (take_batch())
		continue;
	return true;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "log",
		.start = start,
		.ready = ready,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
