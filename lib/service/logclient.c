#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "service/logclient.h"

static int log_fd = -1;
static const char *log_name = "postern", *log_own_program = "";
static bool is_tagged;
static int log_pid;
static atomic_uint lost;

static int begin_line(enum log_level level, char *out, size_t room)
{
	const char *program = log_program();

	if (program == NULL)
		program = log_own_program;
	if (!is_tagged)
		return snprintf(out, room, "%d%s/%s[%d]: ", (int)level,
		    log_name, program, log_pid);
	return snprintf(out, room, "%d%s[%d]: %s%s", (int)level, log_name,
	    log_pid, program, program[0] != '\0' ? ": " : "");
}

static int send_line(enum log_level level, struct str line)
{
	char out[LOG_LINE_MAX + 256];
	int n = begin_line(level, out, 256);

	if (n < 0)
		return 0;
	if (n >= 256)
		n = 255;
	line = str_sub(line, 0, LOG_LINE_MAX);
	memcpy(out + n, line.p, line.n);
	/* What ends the process must not get lost: it may wait a little. */
	return send(log_fd, out, (size_t)n + line.n, MSG_NOSIGNAL |
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

void logclient_start_tagged(int fd, const char *name, const char *tag)
{
	is_tagged = true;
	logclient_start(fd, name, tag);
}
