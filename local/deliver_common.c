#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
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
}

/* RFC 3463 3.3, 3.4: whose fault a full disk is. */
void deliver_failure(struct delivery_job *j, struct deliver_reply *r, int err,
    const char *what)
{
	const char *dsn = err == ENOSPC ? "4.3.1"
	    : err == EDQUOT || err == EFBIG ? "4.2.2" : "4.3.0";

	deliver_outcome(r, AGENT_DEFERRED, dsn, arena_printf(j->arena,
	    "%s: %s", what, strerror(err)));
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

int deliver_from_line(const struct deliver_request *q, struct buf *out)
{
	time_t now = (time_t)(clock_wall() / CLOCK_SECOND);
	char when[64] = "";
	struct tm tm;

	if (localtime_r(&now, &tm) != NULL)
		strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", &tm);
	return buf_printf(out, "From " STR_FMT "  %s\n",
	    STR_ARG(q->sender.n > 0 ? q->sender : STR("MAILER-DAEMON")),
	    when);
}

int deliver_is_loop(struct delivery_job *j)
{
	const struct str name = STR("Delivered-To:");
	size_t most = j->reader.header.content_octets < SCAN_MAX
	    ? (size_t)j->reader.header.content_octets : SCAN_MAX;
	char *p = arena_alloc(j->arena, most + 1);
	struct str rest, line;
	ssize_t n;

	if (p == NULL)
		return -1;
	n = queue_reader_pread(&j->reader, p, most, 0);
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

void deliver_give_text(struct delivery_job *j, int fd, const char *name,
    struct deliver_reply *r)
{
	char *text = arena_alloc(j->arena, DELIVER_TEXT_MAX + 1);
	size_t n = 0;
	ssize_t k = -1;

	while (text != NULL && n <= DELIVER_TEXT_MAX &&
	    (k = read(fd, text + n, DELIVER_TEXT_MAX + 1 - n)) > 0)
		n += (size_t)k;
	if (text == NULL)
		deliver_failure(j, r, ENOMEM, name);
	else if (k < 0)
		deliver_failure(j, r, errno, name);
	else if (n > DELIVER_TEXT_MAX)
		deliver_outcome(r, AGENT_DEFERRED, "4.2.4",
		    arena_printf(j->arena, "%s is too large", name));
	else {
		deliver_outcome(r, AGENT_SENT, "2.0.0", STR_NONE);
		r->found = true;
		r->content = str_n(text, n);
	}
	close(fd);
}

/* False: there is no reply. */
static bool serve(const struct deliver_request *q, struct deliver_reply *r,
    struct arena *a, deliver_fn *fn)
{
	struct delivery_job job = { .request = q, .arena = a,
		.root = service_dir("mail") };
	uint64_t id;
	const char *why;

	*r = (struct deliver_reply){ 0 };
	deliver_outcome(r, AGENT_DEFERRED, "4.3.0", STR("queue file"));
	if (q->file < 0 || queue_id_parse(q->queue_id, &id) < 0)
		return true;
	if (queue_reader_open_header(&job.reader, q->file, id, &why) < 0) {
		r->file_damaged = errno == EBADMSG;
		r->text = arena_printf(a, "queue file: %s", why);
		return true;
	}
	fn(&job, r);
	return !job.passed_on;
}

void deliver_converse(struct conv *c, deliver_fn *fn)
{
	static const struct msg_schema *const allowed[] = {
		&deliver_request_schema };
	struct arena *a = arena_new(ARENA_LIMIT);
	const struct msg_schema *got;
	struct deliver_request q;
	struct deliver_reply r;
	const char *why;
	bool replies;

	while (a != NULL && service_recv(c, allowed, 1, &got, &q, &why) ==
	    CONV_MESSAGE) {
		replies = serve(&q, &r, a, fn);
		if (q.file >= 0)
			close(q.file);
		if (!replies || conv_send(c, &deliver_reply_schema, &r,
			clock_now() + 30 * CLOCK_SECOND, &why) < 0)
			break;
		arena_reset(a);
	}
	arena_free(&a);
	conv_close(&c);
}
