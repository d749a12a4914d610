#include "base/clock.h"
#include "base/log.h"
#include "local/forward.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/status.h"
#include "msgs/submit.h"
#include "queue/id.h"
#include "queue/read.h"
#include "service/service.h"

#define OPEN_TIMEOUT (30 * CLOCK_SECOND)
#define SEND_TIMEOUT (60 * CLOCK_SECOND)
#define COMMIT_TIMEOUT (300 * CLOCK_SECOND)
#define SCAN_MAX (256 * 1024)	/* octets of header looked at for a loop */
#define PIECE 32768
#define BATCH 100		/* recipients in one packet */

static int open_file(struct queue_reader *r, const struct agent_job *j)
{
	uint64_t id;
	const char *why = "no queue id";

	if (queue_id_parse(j->queue_id, &id) == 0 &&
	    queue_reader_open_header(r, j->file, id, &why) == 0)
		return 0;
	log_warn(STR_FMT ": queue file: %s", STR_ARG(j->queue_id), why);
	return -1;
}

int forward_is_loop(const struct agent_job *j, struct str address,
    struct arena *a)
{
	struct queue_reader r;
	struct mail_fields walk;
	struct mail_field f;
	size_t most;
	ssize_t n;
	char *p;

	if (open_file(&r, j) < 0)
		return -1;
	most = r.header.content_octets < SCAN_MAX
	    ? (size_t)r.header.content_octets : SCAN_MAX;
	if ((p = arena_alloc(a, most + 1)) == NULL)
		return -1;
	n = queue_reader_pread(&r, p, most, 0);
	if (n < 0)
		return -1;
	mail_fields_init(&walk, str_n(p, (size_t)n));
	while (mail_fields_next(&walk, &f))
		if (str_eq_nocase_c(f.name, "Delivered-To") &&
		    str_eq_nocase(str_trim(f.body), address))
			return 1;
	return 0;
}

/* RFC 5321 4.4: our stamp; the new message's id is not known yet. */
static struct str received(struct arena *a)
{
	const struct params *p = service_params();
	int64_t now = clock_wall() / CLOCK_SECOND;
	struct str text = STR_NONE;
	struct buf date;

	buf_init(&date, 200);
	if (mail_date_append(&date, now, mail_date_local_zone(now)) == 0)
		text = arena_printf(a, "Received: by %s (%s); " STR_FMT
		    "\r\n", p->myhostname, p->mail_name,
		    STR_ARG(buf_str(&date)));
	buf_fini(&date);
	return text;
}

struct columns {
	struct strs rcpts, none, orcpts;
	struct nums notify;
};

static int make_columns(const struct forward *f, struct arena *a,
    struct columns *c)
{
	const struct agent_job *j = f->job;
	size_t n = f->count, at = f->position;
	struct str orcpt = at < j->orcpts.n ? j->orcpts.v[at] : STR_NONE;

	c->rcpts = (struct strs){ f->rcpts, n };
	c->none = (struct strs){ arena_array(a, n, sizeof(struct str)), n };
	c->orcpts = (struct strs){ arena_array(a, n, sizeof(struct str)), n };
	c->notify = (struct nums){ arena_array(a, n, sizeof(uint64_t)), n };
	if (c->none.v == NULL || c->orcpts.v == NULL || c->notify.v == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		c->orcpts.v[i] = f->is_list ? STR_NONE : orcpt;
		c->notify.v[i] = f->is_list || at >= j->notify.n ? 0
		    : j->notify.v[at];
	}
	return 0;
}

static struct submit_rcpts part_of(const struct columns *c, size_t from)
{
	size_t n = c->rcpts.n - from < BATCH ? c->rcpts.n - from : BATCH;
	struct strs none = { c->none.v + from, n };

	return (struct submit_rcpts){ { c->rcpts.v + from, n },
		{ c->rcpts.v + from, n }, none, none,
		{ c->orcpts.v + from, n }, { c->notify.v + from, n } };
}

static int send_envelope(struct conv *c, const struct forward *f,
    const struct columns *columns, struct arena *a, const char **why)
{
	const struct agent_job *j = f->job;
	struct submit_rcpts r = part_of(columns, 0);
	struct submit_begin b = {
		.service = str_of(service_name()), .received = received(a),
		.sender = f->sender,
		.envid = f->is_list ? STR_NONE : j->envid,
		.ret = f->is_list ? 0 : j->ret,
		.flags = SUBMIT_INTERNAL | (j->flags & (SUBMIT_8BITMIME |
		    SUBMIT_SMTPUTF8 | SUBMIT_BINARYMIME)),
		.local_uid = UINT32_MAX, .rcpts = r.rcpts,
		.originals = r.originals, .transports = r.transports,
		.nexthops = r.nexthops, .orcpts = r.orcpts,
		.notify = r.notify,
	};
	int64_t deadline = clock_now() + SEND_TIMEOUT;
	int rc = conv_send(c, &submit_begin_schema, &b, deadline, why);

	for (size_t i = BATCH; rc == 0 && i < f->count; i += BATCH) {
		r = part_of(columns, i);
		rc = conv_send(c, &submit_rcpts_schema, &r, deadline, why);
	}
	return rc;
}

static int send_content(struct conv *c, const struct forward *f,
    struct arena *a, const char **why)
{
	struct submit_data d;
	struct queue_reader r;
	char *piece = arena_alloc(a, PIECE);
	ssize_t n;

	*why = "queue file cannot be read";
	if (piece == NULL || open_file(&r, f->job) < 0)
		return -1;
	d.last = false;
	d.content = arena_printf(a, "Delivered-To: " STR_FMT "\r\n",
	    STR_ARG(f->job->rcpts.v[f->position]));
	if (d.content.n == 0)
		return -1;
	do {
		if (conv_send(c, &submit_data_schema, &d,
			clock_now() + SEND_TIMEOUT, why) < 0)
			return -1;
		*why = "queue file cannot be read";
		if ((n = queue_reader_read(&r, piece, PIECE)) < 0)
			return -1;
		d.content = str_n(piece, (size_t)n);
	} while (n > 0);
	/* the end is only told when the checksum was right */
	d.last = true;
	return conv_send(c, &submit_data_schema, &d,
	    clock_now() + SEND_TIMEOUT, why);
}

static void take_reply(const struct submit_reply *r, struct arena *a,
    struct agent_outcome *out)
{
	bool failed = r->code >= 500;
	char *dsn = mail_status_has_class(r->dsn, failed ? 5 : 4)
	    ? arena_cstr(a, r->dsn) : NULL;

	if (r->code == 250) {
		out->status = AGENT_SENT;
		out->dsn = "2.0.0";
		out->text = arena_printf(a, "forwarded as " STR_FMT,
		    STR_ARG(r->queue_id));
		return;
	}
	out->status = failed ? AGENT_FAILED : AGENT_DEFERRED;
	out->dsn = dsn != NULL ? dsn : failed ? "5.3.0" : "4.3.0";
	out->text = arena_printf(a, "forwarding: %u " STR_FMT,
	    (unsigned)r->code, STR_ARG(r->text));
}

int forward_send(const struct forward *f, struct arena *a,
    struct agent_outcome *out)
{
	const struct msg_schema *allowed[] = { &submit_reply_schema }, *got;
	struct edge *edge = service_edge("cleanup");
	struct columns columns;
	struct submit_reply r;
	const char *why = "no memory";
	struct conv *c;
	enum conv_got how;

	out->status = AGENT_DEFERRED;
	out->dsn = "4.3.0";
	if (make_columns(f, a, &columns) < 0)
		goto fail;
	why = "cleanup cannot be reached";
	if (edge == NULL || (c = edge_open(edge,
		clock_now() + OPEN_TIMEOUT)) == NULL)
		goto fail;
	/* after a failure there may be an answer that says why */
	if (send_envelope(c, f, &columns, a, &why) == 0 &&
	    send_content(c, f, a, &why) == 0)
		how = conv_recv(c, allowed, 1, &got, &r,
		    clock_now() + COMMIT_TIMEOUT, &why);
	else if ((how = conv_try_recv(c, allowed, 1, &got, &r, &why)) ==
	    CONV_CLOSED)
		how = conv_try_recv(c, allowed, 1, &got, &r, &why);
	if (how == CONV_MESSAGE) {
		take_reply(&r, a, out);
		if (r.code == 250)
			conv_keep(&c);
		else
			conv_close(&c);
		return out->status == AGENT_SENT ? 0 : -1;
	}
	conv_close(&c);
fail:
	out->text = arena_printf(a, "forwarding failed: %s", why);
	return -1;
}
