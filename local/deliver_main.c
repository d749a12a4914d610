/*
 * deliver - puts messages into mailboxes, with the rights of their owner
 *
 * Hears from:  local (msgs/deliver.h)
 * Talks to:    nobody
 * Runs as:     the recipient, confined to the mail root (for a shared mail
 *              uid) or to the home directory
 * Owns:        nothing
 * Start at:    converse()
 * RFCs:        5321 (4.4 Return-Path, 6.3 loops), Maildir
 */
#include <errno.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "local/deliver.h"
#include "queue/id.h"
#include "service/service.h"

#define ARENA_LIMIT (1024 * 1024)
#define SCAN_MAX (256 * 1024) /* octets of header looked at for a loop */

void deliver_outcome(struct deliver_reply *r, enum agent_status status,
    const char *dsn, struct str text)
{
	r->status = status;
	r->dsn = str_of(dsn);
	r->text = str_sub(text, 0, 4096);
	r->file_damaged = false;
}

int deliver_fields(const struct deliver_request *q, struct buf *out)
{
	buf_printf(out, "Return-Path: <" STR_FMT ">\n", STR_ARG(q->sender));
	if (q->original.n > 0)
		buf_printf(out, "X-Original-To: " STR_FMT "\n",
		    STR_ARG(q->original));
	buf_printf(out, "Delivered-To: " STR_FMT "\n", STR_ARG(q->rcpt));
	return out->failed ? -1 : 0;
}

int deliver_is_loop(struct delivery_job *j)
{
	const struct str name = STR("Delivered-To:");
	char *p = arena_alloc(j->arena, SCAN_MAX);
	struct str rest, line;
	ssize_t n;

	if (p == NULL)
		return -1;
	n = queue_reader_pread(&j->reader, p,
	    j->reader.header.content_octets < SCAN_MAX
		? (size_t)j->reader.header.content_octets : SCAN_MAX, 0);
	if (n < 0)
		return -1;
	rest = str_n(p, (size_t)n);
	while (str_split(&rest, '\n', &line)) {
		line = str_n(line.p, line.n > 0 && line.p[line.n - 1] == '\r'
		    ? line.n - 1 : line.n);
		if (line.n == 0)
			break;
		if (str_starts_nocase(line, name) &&
		    str_eq_nocase(str_trim(str_from(line, name.n)),
			j->request->rcpt))
			return 1;
	}
	return 0;
}

static void deliver(const struct deliver_request *q, struct deliver_reply *r,
    struct arena *a)
{
	struct delivery_job job = { .request = q, .arena = a,
		.root = service_dir("mail") };
	uint64_t id;
	const char *why;

	deliver_outcome(r, AGENT_DEFERRED, "4.3.0", STR("queue file"));
	if (q->file < 0 || queue_id_parse(q->queue_id, &id) < 0)
		return;
	if (queue_reader_open_header(&job.reader, q->file, id, &why) < 0) {
		r->file_damaged = errno == EBADMSG;
		r->text = arena_printf(a, "queue file: %s", why);
		return;
	}
	switch (deliver_is_loop(&job)) {
	case 1:
		deliver_outcome(r, AGENT_FAILED, "5.4.6", arena_printf(a,
		    "mail forwarding loop for " STR_FMT, STR_ARG(q->rcpt)));
		return;
	case 0:
		deliver_maildir(&job, r);
		return;
	default:
		return;
	}
}

static void converse(struct conv *c, const char *client)
{
	static const struct msg_schema *const allowed[] = {
		&deliver_request_schema };
	struct arena *a = arena_new(ARENA_LIMIT);
	const struct msg_schema *got;
	struct deliver_request q;
	struct deliver_reply r;
	const char *why;

	(void)client;
	while (a != NULL && service_recv(c, allowed, 1, &got, &q, &why) ==
	    CONV_MESSAGE) {
		deliver(&q, &r, a);
		if (q.file >= 0)
			close(q.file);
		if (conv_send(c, &deliver_reply_schema, &r,
			clock_now() + 30 * CLOCK_SECOND, &why) < 0)
			break;
		arena_reset(a);
	}
	arena_free(&a);
	conv_close(&c);
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "deliver",
		.converse = converse,
	};

	return service_main(argc, argv, &service);
}
