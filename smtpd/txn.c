#include <stdatomic.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "service/service.h"
#include "smtpd/session.h"

/* How long a message may take from its last octet to its commit. RFC 5321
 * 4.5.3.2.6: the client waits ten minutes. */
#define COMMIT_TIMEOUT (300 * CLOCK_SECOND)
#define OPEN_TIMEOUT (30 * CLOCK_SECOND)
/* How long MAIL is refused after cleanup had no room. */
#define STORAGE_LOW_TIME (10 * CLOCK_SECOND)
/* Envelope octets in one packet beside a full chunk of content. */
#define ENVELOPE_ROOM (40 * 1024)

/* clock_now() until which storage counts as low; shared by all sessions. */
static _Atomic int64_t storage_low_until;

bool txn_storage_is_low(void)
{
	return atomic_load(&storage_low_until) > clock_now();
}

struct txn *txn_new(void)
{
	struct txn *t = calloc(1, sizeof(*t));

	if (t != NULL && (t->arena = arena_new(TXN_ARENA_MAX)) == NULL) {
		free(t);
		return NULL;
	}
	if (t != NULL)
		buf_init(&t->content, SUBMIT_CHUNK);
	return t;
}

void txn_free(struct txn **tp)
{
	struct txn *t = *tp;

	if (t == NULL)
		return;
	/* Closing before `last` cancels (msgs/submit.h). */
	if (t->conv != NULL)
		conv_close(&t->conv);
	buf_fini(&t->content);
	free(t->rcpts);
	arena_free(&t->arena);
	free(t);
	*tp = NULL;
}

int txn_add_rcpt(struct txn *t, const struct txn_rcpt *r)
{
	if (t->nrcpts == t->rcpts_cap) {
		size_t cap = t->rcpts_cap == 0 ? 4 : t->rcpts_cap * 2;
		struct txn_rcpt *more =
		    reallocarray(t->rcpts, cap, sizeof(*more));

		if (more == NULL)
			return -1;
		t->rcpts = more;
		t->rcpts_cap = cap;
	}
	t->rcpts[t->nrcpts++] = *r;
	return 0;
}

void txn_fail(struct txn *t, unsigned code, const char *dsn,
    const char *text)
{
	if (t->failed)
		return;
	t->failed = true;
	t->result = (struct txn_result){ .code = code, .dsn = str_of(dsn),
		.text = str_of(text) };
	buf_fini(&t->content);
	if (t->conv != NULL)
		conv_close(&t->conv);
}

/* Postfix's words for a cleanup that cannot be reached or died. */
static void fail_write(struct session *s, const char *why)
{
	if (!s->txn->failed)
		log_warn("cleanup: %s", why);
	txn_fail(s->txn, 451, "4.3.0", "Error: queue file write error");
}

/* --- the envelope --- */

/* Recipients [from, to) as the parallel arrays of submit.h. */
static int fill_rcpts(struct txn *t, struct submit_rcpts *m, size_t from,
    size_t to)
{
	size_t n = to - from;
	struct strs *columns[] = { &m->rcpts, &m->originals, &m->transports,
		&m->nexthops, &m->orcpts };

	for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
		columns[c]->v = arena_array(t->arena, n, sizeof(struct str));
		columns[c]->n = n;
		if (columns[c]->v == NULL && n > 0)
			return -1;
	}
	m->notify.v = arena_array(t->arena, n, sizeof(uint64_t));
	m->notify.n = n;
	if (m->notify.v == NULL && n > 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct txn_rcpt *r = &t->rcpts[from + i];

		m->rcpts.v[i] = r->address;
		m->originals.v[i] = r->original;
		m->transports.v[i] = r->transport;
		m->nexthops.v[i] = r->nexthop;
		m->orcpts.v[i] = r->orcpt;
		m->notify.v[i] = r->notify;
	}
	return 0;
}

/* How many recipients from `from` on fit into `room` octets; at least one. */
static size_t count_fitting(const struct txn *t, size_t from, size_t room)
{
	size_t used = 0, i = from;

	for (; i < t->nrcpts && i - from < 1000; i++) {
		const struct txn_rcpt *r = &t->rcpts[i];

		used += r->address.n + r->original.n + r->transport.n +
		    r->nexthop.n + r->orcpt.n + 32;
		if (used > room && i > from)
			break;
	}
	return i - from;
}

static uint64_t flags_of(const struct session *s)
{
	const struct esmtp_mail *m = &s->txn->mail;
	uint64_t flags = 0;

	if (m->body == ESMTP_8BITMIME)
		flags |= SUBMIT_8BITMIME;
	if (m->smtputf8)
		flags |= SUBMIT_SMTPUTF8;
	/* RFC 6409 8: only what is submitted here may be completed. */
	if (s->protocol == SMTPD_SUBMISSION || s->is_stdio)
		flags |= SUBMIT_FIX;
	return flags;
}

static void fill_begin(const struct session *s, struct submit_begin *b)
{
	*b = (struct submit_begin){
		.service = str_of(service_name()),
		.client_name = s->is_stdio ? STR_NONE : s->name,
		.client_addr = s->is_stdio ? STR_NONE : str_of(s->address),
		.helo = s->helo,
		.protocol = str_of(session_protocol(s)),
		.tls = s->smtpd->params->smtpd_tls_received_header
		    ? s->tls
		    : STR_NONE,
		.login = s->login,
		.login_method = s->login_method,
		.sender = s->txn->sender.text,
		.envid = s->txn->mail.envid,
		.ret = s->txn->mail.ret,
		.flags = flags_of(s),
		.local_uid = s->is_stdio ? s->uid : UINT32_MAX,
	};
}

/*
 * Sends submit_begin with as many recipients as fit, over a conversation that
 * takes it: a kept one may have died unseen, which shows when it is used.
 */
static int send_first(struct session *s, struct submit_begin *b,
    const char **why_r)
{
	int64_t deadline = clock_now() + OPEN_TIMEOUT;
	struct edge *edge = service_edge("cleanup");

	*why_r = "cannot be reached";
	for (int attempt = 0; edge != NULL && attempt < 2; attempt++) {
		struct conv *c = attempt == 0
		    ? edge_open(edge, deadline)
		    : edge_open_fresh(edge, deadline);

		if (c == NULL)
			return -1;
		if (conv_send(c, &submit_begin_schema, b, deadline, why_r) ==
		    0) {
			s->txn->conv = c;
			return 0;
		}
		conv_close(&c);
	}
	return -1;
}

static int send_envelope(struct session *s, struct submit_begin *b,
    const char **why_r)
{
	struct txn *t = s->txn;
	size_t n = count_fitting(t, 0, ENVELOPE_ROOM);
	bool whole = n == t->nrcpts;
	struct submit_rcpts m;

	*why_r = "no memory";
	if (fill_rcpts(t, &m, 0, n) < 0)
		return -1;
	b->rcpts = m.rcpts;
	b->originals = m.originals;
	b->transports = m.transports;
	b->nexthops = m.nexthops;
	b->orcpts = m.orcpts;
	b->notify = m.notify;
	if (!whole) { /* no content before the last recipient */
		b->content = STR_NONE;
		b->last = false;
	}
	if (send_first(s, b, why_r) < 0)
		return -1;
	while (n < t->nrcpts) {
		size_t more = count_fitting(t, n, SUBMIT_CHUNK);

		if (fill_rcpts(t, &m, n, n + more) < 0 ||
		    conv_send(t->conv, &submit_rcpts_schema, &m,
			clock_now() + COMMIT_TIMEOUT, why_r) < 0)
			return -1;
		n += more;
	}
	return whole ? 1 : 0; /* 1: the content went with it */
}

/* --- the content --- */

/* An answer before the end: cleanup refuses the message. */
static void take_reply(struct session *s, const struct submit_reply *r)
{
	struct txn *t = s->txn;

	t->result = (struct txn_result){
		.code = (unsigned)r->code,
		.dsn = arena_str(t->arena, r->dsn),
		.text = arena_str(t->arena, r->text),
		.queue_id = arena_str(t->arena, r->queue_id),
	};
	t->failed = true;
	if (r->code == 452)
		atomic_store(&storage_low_until,
		    clock_now() + STORAGE_LOW_TIME);
}

static void look_for_reply(struct session *s)
{
	static const struct msg_schema *const allowed[] = {
		&submit_reply_schema
	};
	const struct msg_schema *schema;
	struct submit_reply r;
	const char *why;

	switch (conv_try_recv(s->txn->conv, allowed, 1, &schema, &r, &why)) {
	case CONV_TIMEOUT:
		return;
	case CONV_MESSAGE:
		take_reply(s, &r);
		break;
	case CONV_CLOSED:
	case CONV_BROKEN:
		fail_write(s, why);
		return;
	}
	conv_close(&s->txn->conv);
}

/* Sends what is collected; with `last` cleanup may commit. */
static void send_content(struct session *s, bool last)
{
	struct txn *t = s->txn;
	const char *why = NULL;
	int rc = 0;

	if (t->conv == NULL) {
		struct submit_begin b;

		fill_begin(s, &b);
		b.content = buf_str(&t->content);
		b.last = last;
		rc = send_envelope(s, &b, &why);
	}
	if (rc == 0) {
		struct submit_data d = { buf_str(&t->content), last };

		rc = conv_send(t->conv, &submit_data_schema, &d,
		    clock_now() + COMMIT_TIMEOUT, &why);
	}
	if (rc < 0) {
		/* It may have refused and left: its word counts. */
		if (t->conv != NULL)
			look_for_reply(s);
		if (!t->failed)
			fail_write(s, why);
		return;
	}
	buf_reset(&t->content);
	if (!last)
		look_for_reply(s);
}

static void put(struct session *s, struct str piece)
{
	struct txn *t = s->txn;
	int64_t limit = s->smtpd->params->message_size_limit;

	if (t->failed || piece.n == 0)
		return;
	t->size += piece.n;
	if (limit > 0 && t->size > (uint64_t)limit) {
		txn_fail(t, 552, "5.3.4", "Error: message file too big");
		return;
	}
	if (str_has_nul(piece)) {
		txn_fail(t, 550, "5.6.0", "Error: message contains NUL");
		return;
	}
	t->tail[0] = piece.n > 1 ? piece.p[piece.n - 2] : t->tail[1];
	t->tail[1] = piece.p[piece.n - 1];
	while (piece.n > 0 && !t->failed) {
		size_t n = SUBMIT_CHUNK - t->content.n;

		if (n > piece.n)
			n = piece.n;
		if (buf_append(&t->content, str_sub(piece, 0, n)) < 0) {
			txn_fail(t, 452, "4.3.0", "Insufficient memory");
			return;
		}
		piece = str_from(piece, n);
		if (t->content.n == SUBMIT_CHUNK)
			send_content(s, false);
	}
}

static void put_bare_crs(struct session *s)
{
	for (; s->txn->bare_crs > 0; s->txn->bare_crs--)
		put(s, STR("\r\n"));
}

void txn_content(struct session *s, struct str piece)
{
	if (piece.n == 0)
		return;
	if (piece.p[0] == '\r')
		s->txn->bare_crs = 0;
	put_bare_crs(s);
	put(s, piece);
}

void txn_bare_cr(struct txn *t)
{
	t->bare_crs++;
}

void txn_bare_lf(struct session *s)
{
	put_bare_crs(s);
	put(s, STR("\r\n"));
}

const struct txn_result *txn_finish(struct session *s)
{
	static const struct msg_schema *const allowed[] = {
		&submit_reply_schema
	};
	struct txn *t = s->txn;
	const struct msg_schema *schema;
	struct submit_reply r;
	const char *why = "closed the conversation";

	put_bare_crs(s);
	/* RFC 5321 4.1.1.4: content is lines; BDAT may end without one. */
	if (t->size > 0 && (t->tail[0] != '\r' || t->tail[1] != '\n'))
		put(s, STR("\r\n"));
	if (!t->failed)
		send_content(s, true);
	if (t->failed)
		return &t->result;
	if (conv_recv(t->conv, allowed, 1, &schema, &r,
		clock_now() + COMMIT_TIMEOUT, &why) != CONV_MESSAGE) {
		fail_write(s, why);
		return &t->result;
	}
	take_reply(s, &r);
	if (r.code == 250)
		conv_keep(&t->conv);
	else
		conv_close(&t->conv);
	return &t->result;
}
