#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include "base/log.h"
#include "mail/path.h"
#include "msgs/submit.h"
#include "net/smtp_data.h"
#include "smtp/transact.h"

/* RFC 2920 3.1: replies to so many commands fit into any socket buffer, so
 * that we never write while the server waits for us to read. */
#define PIPELINE_MAX 100
#define COMMAND_MAX 4096
/* A reader slower than this is cut off: octets a second. */
#define SLOWEST 1024

struct transaction {
	struct session *s;
	struct job *j;
	bool pipelining;
	bool data_sent;		/* DATA went out with the last recipients */
	bool mail_ok, stale;
	size_t accepted;
	struct why why;
};

static const struct params *params_of(const struct transaction *t)
{
	return t->s->config->params;
}

/* --- what the message needs --- */

static bool address_is_ascii(const struct job *j)
{
	bool ascii = str_is_ascii(j->sender);

	for (size_t i = 0; i < j->count; i++)
		if (j->rcpts[i].state == RCPT_PENDING)
			ascii &= str_is_ascii(j->rcpts[i].address);
	return ascii;
}

static void damaged(struct transaction *t, const char *what)
{
	log_warn("queue file " STR_FMT ": %s", STR_ARG(t->j->queue_id), what);
	why_set(&t->why, MAIL_STATUS(4, 3, 0), "queue file error: %s", what);
	t->why.file_damaged = true;
}

/* RFC 6152 3: content in 8 bits is recoded for who does not take it. */
static int fit_content(struct transaction *t)
{
	struct message *m = &t->j->message;
	bool narrow = !(t->s->features & SESSION_8BITMIME) && m->has_8bit;
	const char *why;

	if (t->j->flags & SUBMIT_BINARYMIME) { /* RFC 3030 3 */
		why_set(&t->why, MAIL_STATUS(5, 6, 3), "the message has "
		    "binary content, which host %s does not take",
		    t->s->peer);
		return -1;
	}
	if (message_as_7bit(m, narrow, &why) == 0)
		return 0;
	if (errno == EFBIG)
		why_set(&t->why, MAIL_STATUS(5, 6, 3), "the message has "
		    "8-bit content, which host %s does not take: %s",
		    t->s->peer, why);
	else if (errno == EBADMSG)
		damaged(t, why);
	else
		why_set(&t->why, MAIL_STATUS(4, 3, 0), "%s", why);
	return -1;
}

/* Whether the server can take this message at all. -1 with why. */
static int check_needs(struct transaction *t)
{
	struct session *s = t->s;
	struct job *j = t->j;
	bool ascii = address_is_ascii(j);
	unsigned wide = SESSION_8BITMIME | SESSION_SMTPUTF8;

	if ((j->flags & (SUBMIT_8BITMIME | SUBMIT_SMTPUTF8)) &&
	    (s->features & wide) != wide && message_scan(&j->message) < 0) {
		damaged(t, "wrong checksum of the content");
		return -1;
	}
	/* RFC 6531 3.4: never to a server that did not say so */
	if (!(s->features & SESSION_SMTPUTF8) && (!ascii ||
		((j->flags & SUBMIT_SMTPUTF8) && j->message.header_8bit))) {
		why_set(&t->why, MAIL_STATUS(5, 6, 7), "SMTPUTF8 is required, "
		    "but was not offered by host %s", s->peer);
		return -1;
	}
	if (fit_content(t) < 0)
		return -1;
	/* RFC 1870 6.3 */
	if (s->size_max > 0 && message_size(&j->message) > s->size_max) {
		why_set(&t->why, MAIL_STATUS(5, 3, 4), "message size %llu "
		    "exceeds size limit %llu of server %s",
		    (unsigned long long)message_size(&j->message),
		    (unsigned long long)s->size_max, s->peer);
		return -1;
	}
	return 0;
}

/* --- commands --- */

static void add_path(struct buf *out, struct str address)
{
	struct str local, domain;

	mail_path_split(address, &local, &domain);
	mail_path_append_angle(out, local, domain);
}

static int put(struct transaction *t, struct buf *command)
{
	int rc = -1;

	buf_append_c(command, "\r\n");
	if (!command->failed)
		rc = stream_write(t->s->stream, buf_str(command));
	buf_fini(command);
	return rc;
}

static int put_mail(struct transaction *t)
{
	const struct session *s = t->s;
	const struct job *j = t->j;
	struct buf c;

	buf_init(&c, COMMAND_MAX);
	buf_append_c(&c, "MAIL FROM:");
	add_path(&c, j->sender);
	if (s->features & SESSION_SIZE)
		buf_printf(&c, " SIZE=%llu",
		    (unsigned long long)message_size(&j->message));
	if ((s->features & SESSION_8BITMIME) &&
	    (j->flags & (SUBMIT_8BITMIME | SUBMIT_SMTPUTF8)))
		buf_append_c(&c, " BODY=8BITMIME");
	if ((s->features & SESSION_SMTPUTF8) &&
	    ((j->flags & SUBMIT_SMTPUTF8) || !address_is_ascii(j)))
		buf_append_c(&c, " SMTPUTF8");
	if (s->features & SESSION_DSN) { /* RFC 3461 4.3, 4.4 */
		if (j->ret == 1 || j->ret == 2)
			buf_append_c(&c, j->ret == 1 ? " RET=FULL"
			    : " RET=HDRS");
		if (j->envid.n > 0) {
			buf_append_c(&c, " ENVID=");
			mail_xtext_encode(j->envid, &c);
		}
	}
	return put(t, &c);
}

static void add_notify(struct buf *c, uint64_t notify)
{
	static const struct { uint64_t bit; const char *word; } words[] = {
		{ NOTIFY_NEVER, "NEVER" }, { NOTIFY_SUCCESS, "SUCCESS" },
		{ NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" },
	};
	const char *lead = " NOTIFY=";

	for (size_t i = 0; i < 4; i++)
		if (notify & words[i].bit) {
			buf_append_c(c, lead);
			buf_append_c(c, words[i].word);
			lead = ",";
		}
}

static int put_rcpt(struct transaction *t, const struct rcpt *r)
{
	struct buf c;

	buf_init(&c, COMMAND_MAX);
	buf_append_c(&c, "RCPT TO:");
	add_path(&c, r->address);
	if (t->s->features & SESSION_DSN) {
		ssize_t semi = str_chr(r->orcpt, ';');

		add_notify(&c, r->notify);
		if (semi > 0 && str_is_ascii(r->orcpt)) {
			buf_append_c(&c, " ORCPT=");
			buf_append(&c, str_sub(r->orcpt, 0, (size_t)semi + 1));
			mail_xtext_encode(str_from(r->orcpt,
				(size_t)semi + 1), &c);
		}
	}
	return put(t, &c);
}

/* --- replies --- */

/* The answer to one recipient. RCPT_PENDING before, and after a failure. */
static void rcpt_answered(struct transaction *t, struct rcpt *r,
    struct reply *reply)
{
	/* RFC 5321 4.5.3.1.10: 552 here means too many recipients, 452 */
	if (reply->code == 552) {
		reply->code = 452;
		reply->status = mail_status_with_class(reply->status, 4);
	}
	if (reply_class(reply) == 2) {
		r->state = RCPT_ACCEPTED;
		t->accepted++;
		return;
	}
	r->tried = true;
	r->too_many = reply->code == 452;
	session_said(t->s, reply, "RCPT TO command", &t->why);
	job_failed(t->j, r, t->s, &t->why);
}

/* Reads the answer to MAIL. -1: this transaction is over. */
static int read_mail(struct transaction *t)
{
	struct session *s = t->s;
	struct reply reply;
	size_t octets;

	if (session_reply(s, params_of(t)->smtp_mail_timeout,
		"sending MAIL FROM", &reply, &t->why, &octets) < 0) {
		/* a kept connection whose server has left meanwhile */
		t->stale = s->uses > 1 && octets == 0;
		return -1;
	}
	if (reply_class(&reply) == 2) {
		t->mail_ok = true;
		return 0;
	}
	session_said(s, &reply, "MAIL FROM command", &t->why);
	t->stale = s->uses > 1 && reply.code == 421;
	return s->dead ? -1 : 0;
}

/* Recipients that were sent, answered in their order. */
static int read_rcpts(struct transaction *t, struct rcpt **sent, size_t n)
{
	struct reply reply;

	for (size_t i = 0; i < n; i++) {
		if (session_reply(t->s, params_of(t)->smtp_rcpt_timeout,
			"sending RCPT TO", &reply, &t->why, NULL) < 0)
			return -1;
		if (!t->mail_ok) /* t->why is what MAIL was told */
			continue;
		rcpt_answered(t, sent[i], &reply);
		if (t->s->dead)
			return -1;
	}
	return 0;
}

/*
 * MAIL, RCPT and DATA: each in its turn, or with pipelining in one write as
 * far as PIPELINE_MAX allows. -1: the session is dead, t->why.
 */
static int send_envelope(struct transaction *t)
{
	struct job *j = t->j;
	struct rcpt *sent[PIPELINE_MAX];
	size_t batch = t->pipelining ? PIPELINE_MAX : 1, i = 0;
	bool mail_read = false;

	put_mail(t);
	if (!t->pipelining) {
		if (read_mail(t) < 0)
			return -1;
		if (!t->mail_ok)
			return 0;
		mail_read = true;
	}
	while (i < j->count) {
		size_t n = 0;

		for (; i < j->count && n < batch; i++)
			if (j->rcpts[i].state == RCPT_PENDING &&
			    !j->rcpts[i].tried) {
				put_rcpt(t, &j->rcpts[i]);
				sent[n++] = &j->rcpts[i];
			}
		if (t->pipelining && i == j->count) {
			stream_write_c(t->s->stream, "DATA\r\n");
			t->data_sent = true;
		}
		if (!mail_read && read_mail(t) < 0)
			return -1;
		mail_read = true;
		if (read_rcpts(t, sent, n) < 0)
			return -1;
		if (!t->mail_ok && !t->data_sent)
			return 0;
	}
	return 0;
}

/* 1: send the content; 0: not wanted; -1: the session is dead. */
static int begin_data(struct transaction *t)
{
	struct session *s = t->s;
	struct reply reply;
	struct why why;

	if (!t->data_sent) {
		if (t->accepted == 0)
			return 0;
		stream_write_c(s->stream, "DATA\r\n");
	}
	if (session_reply(s, params_of(t)->smtp_data_init_timeout,
		"sending DATA command", &reply, &why, NULL) < 0) {
		t->why = why;
		return -1;
	}
	if (reply.code == 354 && t->accepted > 0)
		return 1;
	if (reply.code == 354) {
		/* RFC 2920 3.1: it waits for content although it took nobody.
		 * One dot, and whatever it says is of no interest. */
		stream_write_c(s->stream, ".\r\n");
		if (session_reply(s, params_of(t)->smtp_data_done_timeout,
			"sending DATA command", &reply, &why, NULL) < 0)
			return 0;
		s->dirty = false;
		return 0;
	}
	if (t->accepted == 0) {
		s->dead |= reply.code == 421 || reply_class(&reply) < 4;
		return 0;
	}
	session_said(s, &reply, "DATA command", &t->why);
	return s->dead ? -1 : 0;
}

/* The server may have said no and closed while we were writing. */
static bool read_early_no(struct transaction *t)
{
	char text[4096];
	struct reply reply;
	ssize_t n;

	if (stream_is_tls(t->s->stream))
		return false;
	n = recv(stream_fd(t->s->stream), text, sizeof(text), MSG_DONTWAIT);
	if (n <= 0 || reply_parse(str_n(text, (size_t)n), &reply) != REPLY_OK)
		return false;
	if (reply_class(&reply) != 4 && reply_class(&reply) != 5)
		return false;
	session_said(t->s, &reply, "end of DATA command", &t->why);
	return true;
}

/* Content and the final dot. -1: the session is dead, t->why. */
static int send_content(struct transaction *t)
{
	struct session *s = t->s;
	struct message *m = &t->j->message;
	int64_t xfer = params_of(t)->smtp_data_xfer_timeout;
	struct smtp_data_out out;
	char buf[16384];
	struct str piece;
	int rc;

	message_rewind(m);
	smtp_data_out_init(&out);
	stream_set_timeout(s->stream, CLOCK_NEVER, xfer * CLOCK_SECOND);
	stream_set_deadline(s->stream, clock_now() +
	    (xfer + (int64_t)(message_size(m) / SLOWEST)) * CLOCK_SECOND);
	while ((rc = message_next(m, buf, sizeof(buf), &piece)) > 0)
		if (smtp_data_write(&out, s->stream, piece) < 0)
			break;
	if (rc < 0) {
		/* No dot: the server forgets what it has. */
		damaged(t, "wrong checksum of the content");
		s->dead = true;
		return -1;
	}
	if (rc == 0 && smtp_data_finish(&out, s->stream) == 0 &&
	    stream_flush(s->stream) == STREAM_OK)
		return 0;
	s->dead = true;
	if (read_early_no(t))
		return -1;
	if (stream_flush(s->stream) == STREAM_TIMEOUT)
		why_set(&t->why, MAIL_STATUS(4, 4, 2), "conversation with %s "
		    "timed out while sending message body", s->peer);
	else
		why_set(&t->why, MAIL_STATUS(4, 4, 2), "lost connection with "
		    "%s while sending message body", s->peer);
	return -1;
}

static void content_answered(struct transaction *t, struct rcpt *r,
    const struct reply *reply)
{
	if (reply_class(reply) == 2) {
		job_sent(t->j, r, t->s, reply);
		return;
	}
	session_said(t->s, reply, "end of DATA command", &t->why);
	job_failed(t->j, r, t->s, &t->why);
}

/*
 * The connection was lost between the final dot and its answer: nobody knows
 * whether the message was taken (RFC 1047). To try another host at once
 * would make a second copy likely: the recipient is deferred.
 */
static void unanswered(struct transaction *t, struct rcpt *r)
{
	job_failed(t->j, r, t->s, &t->why);
	if (r->state != RCPT_DONE)
		job_report(t->j, r, AGENT_DEFERRED, r->last);
}

/* One answer for all, or in LMTP (RFC 2033 4.2) one for each recipient that
 * was accepted, in the order of the RCPT commands. */
static void end_data(struct transaction *t)
{
	struct session *s = t->s;
	struct job *j = t->j;
	struct reply reply;
	bool have = false, lost = false;

	for (size_t i = 0; i < j->count; i++) {
		struct rcpt *r = &j->rcpts[i];

		if (r->state != RCPT_ACCEPTED)
			continue;
		if (!lost && (!have || s->lmtp)) {
			lost = session_reply(s,
			    params_of(t)->smtp_data_done_timeout,
			    "sending end of data -- message may be sent more "
			    "than once", &reply, &t->why, NULL) < 0;
			have = !lost;
		}
		if (lost)
			unanswered(t, r);
		else
			content_answered(t, r, &reply);
	}
	s->dirty = false;
}

/* One transaction over all pending recipients. Returns whether anybody was
 * accepted, or -1: stale. */
static int run_once(struct transaction *t)
{
	struct session *s = t->s;
	int go;

	t->mail_ok = t->stale = t->data_sent = false;
	t->accepted = 0;
	s->uses++;
	if (check_needs(t) < 0) {
		job_failed_all(t->j, RCPT_PENDING, s, &t->why);
		return 0;
	}
	s->dirty = true;
	go = send_envelope(t);
	if (t->stale)
		return -1;
	if (go == 0 && !t->mail_ok)
		job_failed_all(t->j, RCPT_PENDING, s, &t->why);
	if (go == 0)
		go = begin_data(t);
	if (go > 0 && send_content(t) == 0) {
		end_data(t);
		return 1;
	}
	/* DATA was refused, or the connection is gone. */
	job_failed_all(t->j, RCPT_ACCEPTED, s, &t->why);
	if (s->dead && go < 0)
		job_failed_all(t->j, RCPT_PENDING, s, &t->why);
	return 0;
}

/* Those whom the server found too many are for the next transaction. */
static size_t take_again(struct job *j)
{
	size_t n = 0;

	for (size_t i = 0; i < j->count; i++) {
		struct rcpt *r = &j->rcpts[i];

		if (r->state == RCPT_PENDING && r->too_many) {
			r->tried = false;
			n++;
		}
		r->too_many = false;
	}
	return n;
}

enum transact_result transact(struct session *s, struct job *j)
{
	struct transaction t = { .s = s, .j = j,
		.pipelining = s->features & SESSION_PIPELINING };

	for (size_t i = 0; i < j->count; i++)
		j->rcpts[i].tried = j->rcpts[i].too_many = false;
	for (;;) {
		int got = run_once(&t);

		if (got < 0)
			return TRANSACT_STALE;
		/* nobody was taken: to ask again would be asked for ever */
		if (got == 0 || s->dead || take_again(j) == 0)
			return TRANSACT_DONE;
	}
}
