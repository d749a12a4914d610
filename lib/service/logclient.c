#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "service/logclient.h"

static int log_fd = -1;
static const char *log_name = "postern", *log_own_program = "";
static int log_pid;
static atomic_uint lost;

static int send_line(enum log_level level, struct str line)
{
	char out[LOG_LINE_MAX + 256];
	const char *as = log_program();
	int n = snprintf(out, sizeof(out), "%d%s/%s[%d]: " STR_FMT,
	    (int)level, log_name, as != NULL ? as : log_own_program, log_pid,
	    STR_ARG(line));

	if (n < 0)
		return 0;
	if ((size_t)n >= sizeof(out))
		n = sizeof(out) - 1;
	/* What ends the process must not get lost: it may wait a little. */
	return send(log_fd, out, (size_t)n, MSG_NOSIGNAL |
	    (level >= LOG_LEVEL_FATAL ? 0 : MSG_DONTWAIT)) < 0 ? -1 : 0;
}

static void to_log(enum log_level level, struct str line, void *ctx)
{
	char note[64];
	unsigned count;

	(void)ctx;
	if (send_line(level, line) < 0) {
		atomic_fetch_add(&lost, 1);
		return;
	}
	if (atomic_load(&lost) == 0)
		return;
	count = atomic_exchange(&lost, 0);
	if (count > 0 && snprintf(note, sizeof(note),
		"warning: %u log lines were lost", count) > 0 &&
	    send_line(LOG_LEVEL_WARN, str_of(note)) < 0)
		atomic_fetch_add(&lost, count);
}

void logclient_start(int fd, const char *name, const char *program)
{
	struct timeval second = { .tv_sec = 1 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
	log_fd = fd;
	log_name = name;
	log_own_program = program;
	log_pid = (int)getpid();
	log_set_sink(to_log, NULL);
}
