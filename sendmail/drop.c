/*
 * drop.c - the message left in maildrop/ while the suite is down
 *
 * Anybody may make a file there and nobody but `pickup` may list or read
 * them. Exit code 0 comes after: content on stable storage, the mark, the
 * mark on stable storage, and (the directory cannot be opened by us) the
 * whole filesystem for the name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "msgs/maildrop.h"
#include "sendmail/sendmail.h"

/* Readable by pickup's group, and marked: whole. */
#define MODE_READY (0640 | MAILDROP_MARK)

struct drop {
	int dir, fd;
	char name[80];
	int64_t octets;	/* of content */
	struct message *message;
};

static int create(struct drop *d)
{
	uint64_t random[2];

	for (int i = 0; i < 100; i++) {
		if (getrandom(random, sizeof(random), 0) != sizeof(random))
			return -1;
		snprintf(d->name, sizeof(d->name), "%llx.%lx.%016llx%016llx",
		    (unsigned long long)clock_wall(), (unsigned long)getpid(),
		    (unsigned long long)random[0],
		    (unsigned long long)random[1]);
		d->fd = sys_openat(d->dir, d->name, O_WRONLY | O_CREAT |
		    O_EXCL | O_NOFOLLOW, 0600);
		if (d->fd >= 0 || errno != EEXIST)
			break;
	}
	return d->fd < 0 ? -1 : 0;
}

static int put(struct drop *d, const struct msg_schema *schema,
    const void *msg)
{
	unsigned char len[4];
	int fds[MSG_FD_MAX], rc;
	const char *why;
	struct buf b;
	size_t nfds;

	buf_init(&b, MSG_MAX);
	rc = msg_encode(schema, msg, &b, fds, &nfds, &why);
	if (rc < 0)
		errno = ENOMEM;
	for (int i = 0; i < 4; i++)
		len[i] = (unsigned char)(b.n >> 8 * i);
	if (rc == 0 && (sys_write_all(d->fd, len, 4) < 0 ||
		sys_write_all(d->fd, b.p, b.n) < 0))
		rc = -1;
	buf_fini(&b);
	return rc;
}

static int put_content(struct drop *d, struct str content, bool last)
{
	struct pickup_data m;
	int rc;

	d->octets += (int64_t)content.n;
	if (d->message->size_limit > 0 &&
	    d->octets > d->message->size_limit) {
		errno = EMSGSIZE;
		return -1;
	}
	do {
		m.content = str_sub(content, 0, PICKUP_CHUNK);
		content = str_from(content, m.content.n);
		m.last = last && content.n == 0;
		rc = put(d, &pickup_data_schema, &m);
	} while (rc == 0 && content.n > 0);
	return rc;
}

static int write_message(struct drop *d)
{
	struct message *m = d->message;
	struct pickup_submit s;
	struct pickup_rcpts more;
	struct buf b;
	size_t next;
	int rc;

	message_envelope(m, &s, &next);
	rc = put(d, &pickup_submit_schema, &s);
	while (rc == 0 && message_more_rcpts(m, &next, &more.rcpts))
		rc = put(d, &pickup_rcpts_schema, &more);
	if (rc == 0)
		rc = put_content(d, buf_str(&m->content), m->input.ended);
	buf_init(&b, PICKUP_CHUNK);
	while (rc == 0 && !m->input.ended) {
		buf_reset(&b);
		rc = input_read(&m->input, &b, PICKUP_CHUNK - 16);
		if (rc == 0)
			rc = put_content(d, buf_str(&b), m->input.ended);
	}
	buf_fini(&b);
	return rc;
}

int drop_message(const char *queue_directory, struct message *m)
{
	struct drop d = { .fd = -1, .message = m };
	char path[4200];
	int rc = 0, err;

	snprintf(path, sizeof(path), "%s/maildrop", queue_directory);
	d.dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d.dir < 0 || create(&d) < 0)
		return complain(EX_TEMPFAIL, "%s: %s", path, strerror(errno));
	if (write_message(&d) < 0 || sys_fsync(d.fd) < 0 ||
	    sys_fchmod(d.fd, MODE_READY) < 0 || sys_fsync(d.fd) < 0 ||
	    sys_syncfs(d.fd) < 0) {
		err = errno;
		sys_unlinkat(d.dir, d.name);
		rc = m->input.failed
		    ? complain(EX_TEMPFAIL, "standard input: %s",
			strerror(err))
		    : err == EMSGSIZE ? complain(EX_UNAVAILABLE, "message file "
			"too big")
		    : complain(EX_TEMPFAIL, "%s: %s", path, strerror(err));
	}
	sys_close(d.fd);
	close(d.dir);
	return rc;
}
