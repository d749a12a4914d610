#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "master/master.h"

#define BACKLOG 1024

static TAILQ_HEAD(, listener) listeners = TAILQ_HEAD_INITIALIZER(listeners);

/* "host:port" with the host numeric, IPv6 without brackets before the last
 * colon. */
static int bind_inet(const char *text)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV |
		AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *ai = NULL;
	const char *colon = strrchr(text, ':');
	char host[128];
	int fd = -1, rc, on = 1, err;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	rc = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &ai);
	if (rc != 0) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (ai->ai_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on,
			    sizeof(on));
		/* replies are whole writes: nothing to wait for. Accepted
		 * sockets inherit it. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
		    listen(fd, BACKLOG) < 0) {
			err = errno;
			close(fd);
			errno = err;
			fd = -1;
		}
	}
	err = errno;
	freeaddrinfo(ai);
	errno = err;
	return fd;
}

int socket_public(int spool, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = -1, dir, err;

	/* the path may be longer than sun_path: by the directory's descriptor,
	 * in a place that is short */
	dir = openat(spool, "public", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", dir,
	    name);
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		goto out;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    fchmodat(dir, name, 0666, 0) < 0 || listen(fd, BACKLOG) < 0)) {
		err = errno;
		close(fd);
		errno = err;
		fd = -1;
	}
out:
	err = errno;
	close(dir);
	errno = err;
	return fd;
}

static int bind_address(const char *address)
{
	const char *slash = strrchr(address, '/');
	char dir[4200];
	int spool, fd, err;

	if (strncmp(address, "inet:", 5) == 0)
		return bind_inet(address + 5);
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - address - 5),
	    address + 5);
	spool = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (spool < 0)
		return -1;
	fd = socket_public(spool, slash + 1);
	err = errno;
	close(spool);
	errno = err;
	return fd;
}

struct listener *socket_listen(const char *address)
{
	struct listener *l;

	TAILQ_FOREACH(l, &listeners, link)
		if (strcmp(l->address, address) == 0) {
			l->wanted = true;
			return l;
		}
	if ((l = calloc(1, sizeof(*l))) == NULL ||
	    (l->address = strdup(address)) == NULL)
		log_fatal("no memory");
	if ((l->fd = bind_address(address)) < 0) {
		int err = errno;

		free(l->address);
		free(l);
		errno = err;
		return NULL;
	}
	l->wanted = true;
	TAILQ_INSERT_TAIL(&listeners, l, link);
	return l;
}

void socket_unwant_all(void)
{
	struct listener *l;

	TAILQ_FOREACH(l, &listeners, link)
		l->wanted = false;
}

void socket_close_unwanted(void)
{
	struct listener *l, *next;

	for (l = TAILQ_FIRST(&listeners); l != NULL; l = next) {
		next = TAILQ_NEXT(l, link);
		if (l->wanted)
			continue;
		TAILQ_REMOVE(&listeners, l, link);
		close(l->fd);
		free(l->address);
		free(l);
	}
}
