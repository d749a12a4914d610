/*
 * imapd_bare.c - imapd's sessions on a port of loopback, for tests
 *
 *   imapd-bare PORT MAILDIR [IDLE-SECONDS [APPEND-LIMIT]]
 *
 * Any LOGIN is let in; what else comes before it is answered as far as the
 * tests need it. End of file on standard input drains: sessions get their
 * BYE, then the process ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "imapd/session.h"
#include "mail/charset.h"

#ifdef POSTERN_SAN
#define STACK (192 * 1024 * 8)
#else
#define STACK (192 * 1024)
#endif

static struct session_list session_list = {
	.lock = PTHREAD_MUTEX_INITIALIZER };
static struct imapd_server server = { .user = "test@example.test",
	.sessions = &session_list };
static atomic_uint running;

/* Reads octet by octet up to "TAG LOGIN ...": only that belongs to us. */
static int meet(int fd, char *tag, size_t size)
{
	char line[512];
	size_t n = 0;

	if (write(fd, "* OK ready\r\n", 12) != 12)
		return -1;
	while (n + 1 < sizeof(line)) {
		if (read(fd, line + n, 1) != 1)
			return -1;
		if (line[n++] != '\n')
			continue;
		struct str all = str_n(line, n), word;

		if (!str_word(&all, " \r\n", &word) ||
		    str_to_c(word, tag, size) < 0)
			return -1;
		if (str_word(&all, " \r\n", &word) &&
		    str_eq_nocase_c(word, "LOGIN"))
			return 0;
		dprintf(fd, "* CAPABILITY IMAP4rev1\r\n%s OK done\r\n", tag);
		n = 0;
	}
	return -1;
}

static void *serve(void *p)
{
	int fd = (int)(intptr_t)p;
	char tag[128];
	struct session *s = NULL;

	if (meet(fd, tag, sizeof(tag)) == 0)
		s = session_new(&server, fd, str_of(tag), STR_NONE,
		    STR("test"));
	else
		close(fd);
	if (s != NULL)
		session_run(s);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static int listen_on(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 512) < 0)
		log_fatal("port %d: %s", port, strerror(errno));
	return fd;
}

static void accept_all(int listener)
{
	pthread_attr_t attr;
	pthread_t t;
	int one = 1;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		struct pollfd fds[2] = { { .fd = listener, .events = POLLIN },
			{ .fd = STDIN_FILENO, .events = POLLIN } };
		char c;
		int fd;

		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents != 0 && read(STDIN_FILENO, &c, 1) <= 0)
			return;
		if (fds[0].revents == 0 ||
		    (fd = accept(listener, NULL, NULL)) < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		atomic_fetch_add(&running, 1);
		if (pthread_create(&t, &attr, serve, (void *)(intptr_t)fd) !=
		    0) {
			atomic_fetch_sub(&running, 1);
			close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	const char *why = NULL;
	int root;

	if (argc < 3)
		log_fatal("usage: imapd-bare PORT MAILDIR [IDLE [APPEND]]");
	signal(SIGPIPE, SIG_IGN);
	tzset();
	mail_charset_open_all();
	root = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || store_open(root, STR("test"), true, &server.store,
	    &why) < 0)
		log_fatal("%s: %s %s", argv[2], strerror(errno),
		    why != NULL ? why : "");
	if (fchdir(root) < 0)
		log_fatal("%s", strerror(errno));
	server.idle_timeout = (argc > 3 ? atol(argv[3]) : 1800) *
	    CLOCK_SECOND;
	server.append_limit = argc > 4 ? (uint64_t)atol(argv[4]) : 52428800;
	server.stop_fd = eventfd(0, EFD_CLOEXEC);
	accept_all(listen_on(atoi(argv[1])));
	if (session_stop_all(&server) < 0)
		return 1;
	while (atomic_load(&running) > 0)
		usleep(10000);
	return 0;
}
