#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "mail/compose.h"
#include "mail/crlf.h"
#include "msgs/lookup.h"
#include "msgs/submit.h"
#include "sendmail/submission.h"
#include "service/service.h"

#define ARENA_MAX (32 * 1024 * 1024)	/* envelope of one message */
#define LOOKUP_TIMEOUT (30 * CLOCK_SECOND)
#define OPEN_TIMEOUT (30 * CLOCK_SECOND)
#define SEND_TIMEOUT (60 * CLOCK_SECOND)
/* From the last octet to the commit: a disk that is slow, not dead. */
#define COMMIT_TIMEOUT (300 * CLOCK_SECOND)
#define ADDRESS_MAX 512			/* octets */
/* Of recipients in one packet: beside a chunk of content there is room for
 * them, and for the rest of what begins a message (MSG_MAX). */
#define PART_OCTETS 49152
#define RCPT_OCTETS 28			/* of one, beside its address twice */

struct submission {
	uid_t uid;
	int64_t since;
	struct arena *arena;
	struct conv *conv;		/* to cleanup, once begun */
	struct submit_begin begin;	/* until it was sent */
	struct submit_rcpts rcpts;	/* that were not sent yet */
	uint64_t notify;
	bool has_begun;			/* pickup_submit was taken */
	struct crlf_emitter emitter;
	struct buf content;		/* in wire form, not yet sent */
	bool has_reply;
	struct pickup_reply reply;
};

struct submission *submission_new(uid_t uid, int64_t since)
{
	struct submission *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->arena = arena_new(ARENA_MAX)) == NULL) {
		free(s);
		return NULL;
	}
	s->uid = uid;
	s->since = since;
	crlf_emitter_init(&s->emitter, false, 0);
	buf_init(&s->content, SUBMIT_CHUNK + 3 * PICKUP_CHUNK + 16);
	return s;
}

void submission_free(struct submission **sp)
{
	struct submission *s = *sp;

	if (s == NULL)
		return;
	/* Closing before `last` cancels (msgs/submit.h). */
	conv_close(&s->conv);
	buf_fini(&s->content);
	arena_free(&s->arena);
	free(s);
	*sp = NULL;
}

const struct pickup_reply *submission_reply(const struct submission *s)
{
	return s->has_reply ? &s->reply : NULL;
}

void submission_refuse(struct submission *s, unsigned code, const char *dsn,
    const char *text)
{
	if (s->has_reply)
		return;
	s->has_reply = true;
	s->reply = (struct pickup_reply){ .code = code, .dsn = str_of(dsn),
		.text = str_of(text) };
	conv_close(&s->conv);
}

/* --- the envelope --- */

static bool is_good_address(struct str a)
{
	return a.n <= ADDRESS_MAX && !str_has_ctl(a) && str_is_utf8(a);
}

/* The sender completed as every address is: only lookup knows how. */
static void complete_sender(struct submission *s, struct str sender)
{
	struct resolve_request ask = { .address = sender, .is_sender = true };
	struct resolve_reply reply;
	struct conv *c;
	const char *why;

	s->begin.sender = STR_NONE;
	if (sender.n == 0)
		return;
	if (service_ask("lookup", &resolve_request_schema, &ask,
		&resolve_reply_schema, &reply, LOOKUP_TIMEOUT, &c, &why) < 0) {
		log_warn("lookup of " STR_FMT ": %s", STR_ARG(sender), why);
		submission_refuse(s, 451, "4.3.0",
		    "temporary lookup failure");
		return;
	}
	if (reply.status == LOOKUP_BAD)
		submission_refuse(s, 501, "5.1.7", "bad sender address");
	else if (reply.status == LOOKUP_TEMPFAIL)
		submission_refuse(s, 451, "4.3.0",
		    "temporary lookup failure");
	else /* an unknown sender is a sender all the same */
		s->begin.sender = arena_str(s->arena, reply.address.n > 0
		    ? reply.address : sender);
	conv_keep(&c);
	if (s->begin.sender.n > ADDRESS_MAX)
		submission_refuse(s, 501, "5.1.7", "sender is too long");
}

/* The recipients as cleanup wants them: it asks lookup for the rest. */
static int fill_rcpts(struct submission *s, const struct strs *rcpts,
    struct submit_rcpts *r)
{
	size_t n = rcpts->n;
	struct strs copy = { arena_array(s->arena, n + 1, sizeof(struct str)),
		n };
	struct strs none = { arena_array(s->arena, n + 1, sizeof(struct str)),
		n };
	struct nums notify = { arena_array(s->arena, n + 1,
		sizeof(uint64_t)), n };

	if (copy.v == NULL || none.v == NULL || notify.v == NULL)
		goto memory;
	for (size_t i = 0; i < n; i++) {
		if (rcpts->v[i].n == 0 || !is_good_address(rcpts->v[i])) {
			submission_refuse(s, 501, "5.1.3",
			    "bad recipient address");
			return -1;
		}
		copy.v[i] = arena_str(s->arena, rcpts->v[i]);
		none.v[i] = STR_NONE;
		notify.v[i] = s->notify;
	}
	if (arena_failed(s->arena))
		goto memory;
	*r = (struct submit_rcpts){ copy, copy, none, none, none, notify };
	return 0;
memory:
	submission_refuse(s, 452, "4.3.0", "too many recipients");
	return -1;
}

void submission_begin(struct submission *s, const struct pickup_submit *m)
{
	struct submit_rcpts r;
	uint64_t flags = m->flags & PICKUP_GATEWAY ? 0 : SUBMIT_FIX;

	if (s->has_reply)
		return;
	s->has_begun = true;
	s->notify = m->notify;
	if (!is_good_address(m->sender)) {
		submission_refuse(s, 501, "5.1.7", "bad sender address");
		return;
	}
	if (str_has_ctl(m->envid) || !str_is_ascii(m->envid)) {
		submission_refuse(s, 501, "5.5.4", "bad envelope id");
		return;
	}
	if (m->flags & PICKUP_8BITMIME)
		flags |= SUBMIT_8BITMIME;
	if (m->flags & PICKUP_SMTPUTF8)
		flags |= SUBMIT_SMTPUTF8;
	s->begin = (struct submit_begin){ .service = str_of(service_name()),
		.envid = arena_str(s->arena, m->envid), .ret = m->ret,
		.flags = flags, .local_uid = s->uid,
		.since = s->since };
	complete_sender(s, m->sender);
	if (s->has_reply || fill_rcpts(s, &m->rcpts, &r) < 0)
		return;
	s->rcpts = r;
}

/* --- to cleanup --- */

static void take_reply(struct submission *s, const struct submit_reply *m)
{
	if (s->has_reply)
		return;
	s->has_reply = true;
	s->reply = (struct pickup_reply){ .code = m->code,
		.dsn = arena_str(s->arena, m->dsn),
		.text = arena_str(s->arena, m->text),
		.queue_id = arena_str(s->arena, m->queue_id) };
	if (m->code == 250)
		log_info(STR_FMT ": uid=%u from=<" STR_FMT ">",
		    STR_ARG(m->queue_id), (unsigned)s->uid,
		    STR_ARG(s->begin.sender));
}

/* Looks for an answer, or waits for it. */
static void receive(struct submission *s, bool wait)
{
	const struct msg_schema *allowed[] = { &submit_reply_schema }, *got;
	struct submit_reply reply;
	const char *why = "it left without an answer";
	enum conv_got how;

	if (s->has_reply)
		return;
	how = wait ? conv_recv(s->conv, allowed, 1, &got, &reply,
	    clock_now() + COMMIT_TIMEOUT, &why)
	    : conv_try_recv(s->conv, allowed, 1, &got, &reply, &why);
	/* an answer given before all was read comes behind a reset */
	if (how == CONV_BROKEN || how == CONV_CLOSED)
		how = conv_try_recv(s->conv, allowed, 1, &got, &reply, &why);
	if (how == CONV_MESSAGE) {
		take_reply(s, &reply);
		return;
	}
	if (how == CONV_TIMEOUT && !wait)
		return;
	log_warn("cleanup: %s", how == CONV_TIMEOUT ? "timed out" : why);
	submission_refuse(s, 451, "4.3.0", "mail system is not ready");
}

static void pass(struct submission *s, const struct msg_schema *schema,
    const void *msg)
{
	const char *why;

	if (s->has_reply)
		return;
	receive(s, false);
	if (s->has_reply)
		return;
	if (conv_send(s->conv, schema, msg, clock_now() + SEND_TIMEOUT,
		&why) == 0)
		return;
	receive(s, false); /* it may have said why before it left */
	if (!s->has_reply)
		log_warn("cleanup: %s", why);
	submission_refuse(s, 451, "4.3.0", "mail system is not ready");
}

static void advance(struct strs *s, size_t n)
{
	s->v += n;
	s->n -= n;
}

/* Takes from the front what goes into one packet. */
static struct submit_rcpts take_part(struct submit_rcpts *r)
{
	struct submit_rcpts part = *r;
	size_t n = 0, octets = 0;

	while (n < r->rcpts.n && (octets += RCPT_OCTETS +
	    2 * r->rcpts.v[n].n) <= PART_OCTETS)
		n++;
	part.rcpts.n = part.originals.n = part.transports.n =
	    part.nexthops.n = part.orcpts.n = part.notify.n = n;
	advance(&r->rcpts, n);
	advance(&r->originals, n);
	advance(&r->transports, n);
	advance(&r->nexthops, n);
	advance(&r->orcpts, n);
	r->notify.v += n;
	r->notify.n -= n;
	return part;
}

static void send_rcpts(struct submission *s, struct submit_rcpts *r)
{
	while (r->rcpts.n > 0 && !s->has_reply) {
		struct submit_rcpts part = take_part(r);

		pass(s, &submit_rcpts_schema, &part);
	}
}

/* What was begun goes with the first octets of the content, unless more
 * recipients have to come before it: then false. */
static bool send_begin(struct submission *s, struct str content, bool last)
{
	struct edge *edge = service_edge("cleanup");
	struct submit_rcpts part;
	bool is_all;

	if (edge == NULL || (s->conv = edge_open(edge,
		clock_now() + OPEN_TIMEOUT)) == NULL) {
		submission_refuse(s, 451, "4.3.0", "mail system is busy");
		return true;
	}
	part = take_part(&s->rcpts);
	is_all = s->rcpts.rcpts.n == 0;
	s->begin.rcpts = part.rcpts;
	s->begin.originals = part.originals;
	s->begin.transports = part.transports;
	s->begin.nexthops = part.nexthops;
	s->begin.orcpts = part.orcpts;
	s->begin.notify = part.notify;
	s->begin.content = is_all ? content : STR_NONE;
	s->begin.last = is_all && last;
	pass(s, &submit_begin_schema, &s->begin);
	send_rcpts(s, &s->rcpts);
	return is_all;
}

static void send_content(struct submission *s, struct str piece, bool last)
{
	struct submit_data m = { piece, last };

	if (s->has_reply || (s->conv == NULL && send_begin(s, piece, last)))
		return;
	pass(s, &submit_data_schema, &m);
}

void submission_rcpts(struct submission *s, const struct strs *rcpts)
{
	struct submit_rcpts r;

	if (s->has_reply || fill_rcpts(s, rcpts, &r) < 0)
		return;
	if (s->conv == NULL)
		send_begin(s, STR_NONE, false);
	send_rcpts(s, &r);
}

void submission_data(struct submission *s, struct str content, bool last)
{
	size_t at = 0;

	if (s->has_reply)
		return;
	if (crlf_emit(&s->emitter, content, &s->content) < 0 ||
	    (last && crlf_emit_end(&s->emitter, &s->content) < 0)) {
		submission_refuse(s, 452, "4.3.0", "insufficient memory");
		return;
	}
	while (!s->has_reply && s->content.n - at > SUBMIT_CHUNK) {
		send_content(s, str_sub(buf_str(&s->content), at,
		    SUBMIT_CHUNK), false);
		at += SUBMIT_CHUNK;
	}
	if (s->has_reply)
		return;
	if (last) {
		send_content(s, str_from(buf_str(&s->content), at), true);
		receive(s, true);
		if (s->reply.code == 250)
			conv_keep(&s->conv);
		else
			conv_close(&s->conv);
		return;
	}
	buf_consume(&s->content, at);
}

/* --- a message that waited was refused --- */

static void compose(struct buf *b, struct str sender,
    const struct strs *rcpts, const struct pickup_reply *why,
    struct str header)
{
	const char *host = service_params()->myhostname;
	struct crlf_emitter e;

	buf_printf(b, "From: MAILER-DAEMON@%s (Mail Delivery System)\r\n"
	    "To: ", host);
	mail_text_append(b, sender, true);
	buf_append_c(b, "\r\nSubject: Your message could not be sent\r\n"
	    "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\n"
	    "A message that you left with the sendmail command while the mail "
	    "system was\r\nnot running could not be accepted when it came "
	    "back.\r\n\r\nReason: ");
	buf_printf(b, "%u ", (unsigned)why->code);
	mail_text_append(b, why->dsn, true);
	buf_append_char(b, ' ');
	mail_text_append(b, why->text, true);
	buf_append_c(b, "\r\n\r\nRecipients:\r\n");
	for (size_t i = 0; i < rcpts->n && i < 100; i++) {
		buf_append_c(b, "    ");
		mail_text_append(b, rcpts->v[i], true);
		buf_append_c(b, "\r\n");
	}
	buf_append_c(b, "\r\nIt began:\r\n\r\n");
	crlf_emitter_init(&e, false, 900);
	crlf_emit(&e, str_sub(header, 0, 4096), b);
	crlf_emit_end(&e, b);
}

int submission_tell(uid_t uid, struct str sender, const struct strs *rcpts,
    const struct pickup_reply *why, struct str header)
{
	struct submission *s = submission_new(uid, 0);
	struct pickup_submit m = { .rcpts = { &sender, 1 } };
	struct buf text;
	int rc = -1;

	if (s == NULL)
		return -1;
	if (sender.n == 0 || !is_good_address(sender)) {
		submission_free(&s);
		return 0;
	}
	buf_init(&text, PICKUP_CHUNK);
	compose(&text, sender, rcpts, why, header);
	if (!text.failed) {
		submission_begin(s, &m);
		s->begin.flags |= SUBMIT_INTERNAL;
		submission_data(s, buf_str(&text), true);
		/* refused for good as well: nobody is left to be told */
		rc = s->has_reply && (s->reply.code == 250 ||
		    s->reply.code >= 500) ? 0 : -1;
	}
	buf_fini(&text);
	submission_free(&s);
	return rc;
}
