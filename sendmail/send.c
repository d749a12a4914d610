/* send.c - the message over the socket to `pickup` */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "sendmail/sendmail.h"

#define SEND_TIMEOUT (300 * CLOCK_SECOND)
#define REPLY_TIMEOUT (600 * CLOCK_SECOND)

struct conv *send_connect(const char *queue_directory)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[4200];
	int dir, fd;

	/* the path may be longer than sun_path: by the directory's descriptor */
	snprintf(path, sizeof(path), "%s/public", queue_directory);
	if ((dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return NULL;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/pickup",
	    dir);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		fd = -1;
	}
	close(dir);
	return fd < 0 ? NULL : conv_new("pickup", fd);
}

/* 1: *r is the answer, 0: none yet, -1: it is gone. */
static int receive(struct conv *c, bool wait, struct pickup_reply *r)
{
	const struct msg_schema *allowed[] = { &pickup_reply_schema }, *got;
	const char *why;
	enum conv_got how = wait ? conv_recv(c, allowed, 1, &got, r,
	    clock_now() + REPLY_TIMEOUT, &why)
	    : conv_try_recv(c, allowed, 1, &got, r, &why);

	/* an answer given before all was read comes behind a reset */
	if (how == CONV_BROKEN || how == CONV_CLOSED)
		how = conv_try_recv(c, allowed, 1, &got, r, &why);
	return how == CONV_MESSAGE ? 1 : how == CONV_TIMEOUT && !wait ? 0 : -1;
}

/* 1 an early answer, 0 go on, -1 gone. */
static int tell(struct conv *c, const struct msg_schema *schema,
    const void *msg, struct pickup_reply *r)
{
	const char *why;
	int rc = receive(c, false, r);

	if (rc != 0)
		return rc;
	if (conv_send(c, schema, msg, clock_now() + SEND_TIMEOUT, &why) == 0)
		return 0;
	return receive(c, false, r) > 0 ? 1 : -1;
}

/* As tell(); with `last` set it waits for the answer. */
static int send_content(struct conv *c, struct str content, bool last,
    struct pickup_reply *r)
{
	struct pickup_data d;
	int rc;

	do {
		d.content = str_sub(content, 0, PICKUP_CHUNK);
		content = str_from(content, d.content.n);
		d.last = last && content.n == 0;
		rc = tell(c, &pickup_data_schema, &d, r);
	} while (rc == 0 && content.n > 0);
	return rc != 0 || !last ? rc : receive(c, true, r);
}

static int send_envelope(struct conv *c, const struct message *m,
    struct pickup_reply *r)
{
	struct pickup_submit s;
	struct pickup_rcpts more;
	size_t next;
	int rc;

	message_envelope(m, &s, &next);
	rc = tell(c, &pickup_submit_schema, &s, r);
	while (rc == 0 && message_more_rcpts(m, &next, &more.rcpts))
		rc = tell(c, &pickup_rcpts_schema, &more, r);
	return rc;
}

/* What is on standard input behind that which is in memory. */
static int stream_rest(struct conv *c, struct message *m,
    struct pickup_reply *r)
{
	struct buf b;
	int rc = 0;

	buf_init(&b, PICKUP_CHUNK);
	do {
		buf_reset(&b);
		if (input_read(&m->input, &b, PICKUP_CHUNK - 16) < 0) {
			rc = -2;
			break;
		}
		rc = send_content(c, buf_str(&b), m->input.ended, r);
	} while (rc == 0);
	buf_fini(&b);
	return rc;
}

static int exit_code(const struct pickup_reply *r)
{
	if (r->code == 250)
		return 0;
	complain(0, "%u " STR_FMT " " STR_FMT, (unsigned)r->code,
	    STR_ARG(r->dsn), STR_ARG(r->text));
	return r->code < 500 ? EX_TEMPFAIL : r->code == 501 ? EX_DATAERR
	    : EX_UNAVAILABLE;
}

int send_message(struct conv *c, struct message *m)
{
	bool whole = m->input.ended;
	struct pickup_reply r;
	int rc = send_envelope(c, m, &r);

	if (rc == 0)
		rc = send_content(c, buf_str(&m->content), whole, &r);
	if (rc == 0)
		rc = stream_rest(c, m, &r);
	if (rc == -2)
		return complain(EX_TEMPFAIL, "standard input: %s",
		    strerror(errno));
	/* a suite that is ending or busy: there is the other way */
	if (whole && (rc < 0 || (r.code >= 400 && r.code < 500)))
		return -1;
	if (rc < 0)
		return complain(EX_TEMPFAIL, "the mail system went away; "
		    "the message was not sent");
	return exit_code(&r);
}
