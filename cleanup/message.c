#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "base/clock.h"
#include "base/log.h"
#include "cleanup/header.h"
#include "cleanup/message.h"
#include "mail/compose.h"
#include "mail/date.h"
#include "mail/path.h"
#include "queue/commit.h"
#include "queue/format.h"
#include "service/service.h"

/* Envelope of one message in memory, octets. */
#define ARENA_MAX (32 * 1024 * 1024)
/* What we may add to a message over message_size_limit. */
#define OWN_FIELDS_MAX (64 * 1024)
#define STOCK_TIMEOUT (10 * CLOCK_SECOND)
_Static_assert(QUEUE_HEADER_SIZE + QUEUE_ENVELOPE_MAX + OWN_FIELDS_MAX <=
    SERVICE_FILE_ROOM, "cleanup must be able to write the largest message");
/* How often the filesystem is asked how full it is. */
#define SPACE_INTERVAL CLOCK_SECOND
/* Recipients that one word to qmgr carries; more are read from the file. */
#define ANNOUNCE_OCTETS (96 * 1024)

enum state { ENVELOPE, HEADER, BODY, DONE };

struct message {
	const struct params *params;
	struct arena *arena;
	enum state state;
	struct submit_begin begin; /* strings in the arena, arrays unused */
	struct recipients rcpts;
	int64_t arrival;

	struct stock_entry file;
	bool has_file, is_written;
	struct queue_commit *commit;

	struct buf head; /* content until the header is whole */
	uint64_t received; /* octets of content so far */
	bool has_8bit;
	struct queue_envelope envelope;
	struct submit_reply reply;
	struct str message_id; /* for the log */
};

static void refuse(struct message *m, unsigned code, const char *dsn,
    const char *text)
{
	if (m->state == DONE)
		return;
	m->state = DONE;
	m->reply = (struct submit_reply){ .code = code, .dsn = str_of(dsn),
		.text = str_of(text), .queue_id = STR_NONE };
}

/* The file cannot be written, and why (errno). */
static void refuse_write(struct message *m, int err, const char *why)
{
	if (m->state == DONE)
		return;
	log_warn("%s: %s", m->file.text, why);
	if (err == ENOSPC || err == EDQUOT)
		refuse(m, 452, "4.3.1", "Error: insufficient system storage");
	else if (err == EFBIG)
		refuse(m, 552, "5.3.4", "Error: message file too big");
	else
		refuse(m, 451, "4.3.0", "Error: queue file write error");
}

static void refuse_memory(struct message *m)
{
	refuse(m, 452, "4.3.0", "Error: insufficient memory");
}

/* --- the envelope --- */

static void copy_begin(struct message *m, const struct submit_begin *b)
{
	struct arena *a = m->arena;

	m->begin = (struct submit_begin){
		.service = arena_str(a, b->service),
		.client_name = arena_str(a, b->client_name),
		.client_addr = arena_str(a, b->client_addr),
		.helo = arena_str(a, b->helo),
		.protocol = arena_str(a, b->protocol),
		.tls = arena_str(a, b->tls),
		.login = arena_str(a, b->login),
		.login_method = arena_str(a, b->login_method),
		.received = arena_str(a, b->received),
		.sender = arena_str(a, b->sender),
		.envid = arena_str(a, b->envid),
		.ret = b->ret,
		.flags = b->flags,
		.local_uid = b->local_uid,
	};
}

static bool is_internal(const struct message *m)
{
	return m->begin.flags & SUBMIT_INTERNAL;
}

/*
 * queue_minfree; 0 means 1.5 times the largest message. The answer of a
 * second ago is good enough, for all messages.
 */
static bool has_space(const struct message *m)
{
	static _Atomic int64_t asked_at;
	static _Atomic bool was_enough = true;
	uint64_t least = (uint64_t)m->params->queue_minfree;
	int64_t now = clock_now();
	struct statvfs vfs;

	if (now - atomic_load(&asked_at) < SPACE_INTERVAL)
		return atomic_load(&was_enough);
	if (least == 0)
		least = (uint64_t)m->params->message_size_limit / 2 * 3;
	atomic_store(&asked_at, now);
	if (fstatvfs(m->file.fd, &vfs) == 0)
		atomic_store(&was_enough,
		    (uint64_t)vfs.f_bavail * vfs.f_frsize >= least);
	return atomic_load(&was_enough);
}

void message_rcpts(struct message *m, const struct submit_rcpts *r)
{
	bool expand = !(m->begin.flags & SUBMIT_NO_EXPAND);

	if (m->state != ENVELOPE)
		return;
	switch (recipients_add(&m->rcpts, r, expand)) {
	case RECIPIENTS_OK:
		return;
	case RECIPIENTS_TEMPFAIL:
		refuse(m, 451, "4.3.0", "Error: temporary lookup failure");
		return;
	case RECIPIENTS_TOO_MANY:
		refuse(m, 554, "5.5.3", "Error: too many recipients");
		return;
	case RECIPIENTS_NO_MEMORY:
		refuse_memory(m);
		return;
	}
}

static void add_always_bcc(struct message *m)
{
	struct str address = str_of(m->params->always_bcc), none = STR_NONE;
	uint64_t notify = NOTIFY_NEVER; /* nobody hears of the copy */
	struct submit_rcpts r = {
		.rcpts = { &address, 1 },
		.originals = { &address, 1 },
		.transports = { &none, 1 },
		.nexthops = { &none, 1 },
		.orcpts = { &none, 1 },
		.notify = { &notify, 1 },
	};

	if (address.n > 0 && !is_internal(m))
		message_rcpts(m, &r);
}

/*
 * When it came: expiry, delay= and the dates that are added count from then.
 * What says it is the time of a file that is a user's, so that it may be
 * anything; who writes 1970 there had no clock.
 */
static int64_t find_arrival(const char *client, int64_t since)
{
	int64_t now = clock_wall();

	return strcmp(client, "pickup") == 0 && since <= now &&
	    since >= now - MESSAGE_WAIT_MAX ? since : now;
}

struct message *message_new(const struct params *params, const char *client,
    const struct submit_begin *b)
{
	struct message *m = calloc(1, sizeof(*m));
	uint64_t limit = (uint64_t)params->message_size_limit;
	struct submit_rcpts r = { b->rcpts, b->originals, b->transports,
		b->nexthops, b->orcpts, b->notify };

	if (m == NULL)
		return NULL;
	m->params = params;
	m->arrival = find_arrival(client, b->since);
	buf_init(&m->head, HEADER_MAX + SUBMIT_CHUNK);
	if ((m->arena = arena_new(ARENA_MAX)) == NULL) {
		free(m);
		return NULL;
	}
	recipients_init(&m->rcpts, m->arena);
	copy_begin(m, b);
	if (stock_take(&m->file, clock_now() + STOCK_TIMEOUT) < 0) {
		log_warn("no queue file: qmgr is away");
		refuse(m, 451, "4.3.0", "Error: queue file write error");
		return m;
	}
	m->has_file = true;
	if (!is_internal(m) && !has_space(m))
		refuse(m, 452, "4.3.1", "Error: insufficient system storage");
	limit = limit == 0 ? INT64_MAX : limit + OWN_FIELDS_MAX;
	if (queue_commit_begin(&m->commit, m->file.fd, m->file.id, limit) < 0)
		refuse_memory(m);
	message_rcpts(m, &r);
	return m;
}

void message_free(struct message **mp)
{
	struct message *m = *mp;

	if (m == NULL)
		return;
	queue_commit_end(&m->commit);
	if (m->has_file && m->is_written)
		stock_give_back(&m->file);
	else if (m->has_file)
		stock_put_back(&m->file);
	recipients_fini(&m->rcpts);
	buf_fini(&m->head);
	arena_free(&m->arena);
	free(m);
	*mp = NULL;
}

const struct submit_reply *message_reply(const struct message *m)
{
	return m->state == DONE ? &m->reply : NULL;
}

/* --- the header --- */

static void append(struct message *m, struct str s)
{
	if (m->state == DONE || s.n == 0)
		return;
	m->is_written = true;
	if (queue_commit_append(m->commit, s) < 0)
		refuse_write(m, errno, strerror(errno));
}

/* "ESMTPSA", "UTF8LMTP", ... as the parts that it is made of. */
static void read_protocol(struct str name, struct mail_received *r)
{
	ssize_t mtp = str_find(name, STR("MTP"));
	struct str suffix =
	    mtp < 0 ? STR_NONE : str_from(name, (size_t)mtp + 3);

	if (name.n == 0) {
		r->protocol = MAIL_PROTOCOL_LOCAL;
		return;
	}
	r->protocol = str_find(name, STR("LMTP")) >= 0 ? MAIL_PROTOCOL_LMTP
						       : MAIL_PROTOCOL_SMTP;
	r->esmtp = name.n > 0 && !str_eq_c(name, "SMTP");
	r->with_utf8 = str_starts(name, STR("UTF8"));
	r->with_tls = str_chr(suffix, 'S') >= 0;
	r->with_auth = str_chr(suffix, 'A') >= 0;
}

/* RFC 5321 4.4 */
static void append_received(struct message *m)
{
	const struct submit_begin *b = &m->begin;
	int64_t now = m->arrival / CLOCK_SECOND;
	struct mail_received r = {
		.helo = b->helo,
		.client_name = b->client_name,
		.client_address = b->client_addr,
		.tls = b->tls,
		.by = str_of(m->params->myhostname),
		.by_comment = str_of(m->params->mail_name),
		.id = str_of(m->file.text),
		.uid = (unsigned)b->local_uid,
		.time = now,
		.zone = mail_date_local_zone(now),
	};
	struct buf out;

	if (b->received.n > 0) {
		append(m, b->received);
		return;
	}
	read_protocol(b->protocol, &r);
	if (m->params->smtpd_sasl_authenticated_header)
		r.login = b->login;
	/* With more than one, "for" would tell one of the others. */
	if (m->rcpts.n == 1) {
		const struct queue_recipient *q = &m->rcpts.v[0];

		mail_path_split(q->original.n > 0 ? q->original : q->address,
		    &r.rcpt_local, &r.rcpt_domain);
	}
	buf_init(&out, 8192);
	if (mail_received_append(&out, &r, "\r\n") < 0)
		refuse_memory(m);
	append(m, buf_str(&out));
	buf_fini(&out);
}

static struct header_rules rules_of(const struct message *m)
{
	const struct params *p = m->params;
	bool fix = m->begin.flags & SUBMIT_FIX;

	return (struct header_rules){
		.drop = fix,
		.origin = fix ? str_of(p->myorigin) : STR_NONE,
		.dot_domain = fix && p->append_dot_mydomain
		    ? str_of(p->mydomain)
		    : STR_NONE,
		.field_max = (size_t)m->params->header_size_limit,
		.authserv_id = str_of(m->params->myhostname),
	};
}

static void append_fields(struct message *m, struct str fields,
    const struct header_facts *facts)
{
	struct header_rules rules = rules_of(m);
	struct buf out;

	if (facts->has_long)
		log_warn("%s: header field is longer than %zu octets, cut",
		    m->file.text, rules.field_max);
	if (!facts->has_dropped && !facts->has_long && !facts->has_forged &&
	    !facts->has_short) {
		/* as it came, without a copy */
		append(m, fields);
		return;
	}
	buf_init(&out, fields.n * 2 + OWN_FIELDS_MAX);
	if (header_write(fields, &rules, &out) < 0)
		refuse_memory(m);
	append(m, buf_str(&out));
	buf_fini(&out);
}

/* What submitted mail lacks (RFC 6409 8); made an entry in the log too. */
static void append_missing(struct message *m, struct header_facts *facts)
{
	struct header_origin o = {
		.sender = m->begin.sender,
		.id = str_of(m->file.text),
		.host = str_of(m->params->myhostname),
		.time = m->arrival / CLOCK_SECOND,
	};
	struct header_rules rules = rules_of(m);
	struct buf out;

	if (!(m->begin.flags & SUBMIT_FIX))
		return;
	o.zone = mail_date_local_zone(o.time);
	buf_init(&out, 8192);
	if (header_complete(facts, &o, &out) < 0)
		refuse_memory(m);
	if (facts->message_id.n == 0) {
		struct header_facts made;

		if (header_examine(buf_str(&out), &rules, &made) == 0)
			facts->message_id =
			    arena_str(m->arena, made.message_id);
	}
	append(m, buf_str(&out));
	buf_fini(&out);
}

/* Received:, then the header as it is stored, up to the empty line. */
static void write_header(struct message *m, struct str content,
    const struct header_end *end)
{
	struct str fields =
	    str_sub(content, end->start, end->fields - end->start);
	struct header_rules rules = rules_of(m);
	struct header_facts facts;

	if (header_examine(fields, &rules, &facts) < 0) {
		refuse_memory(m);
		return;
	}
	m->message_id = arena_str(m->arena, facts.message_id);
	/* RFC 5321 6.3 */
	if (facts.hops > (unsigned)m->params->hopcount_limit) {
		refuse(m, 554, "5.4.0", "Error: too many hops");
		return;
	}
	append_received(m);
	append_fields(m, fields, &facts);
	append_missing(m, &facts);
	append(m, STR("\r\n"));
	m->message_id = arena_str(m->arena, facts.message_id);
}

/* Content until the header's end is seen; then the rest is body. */
static void take_header(struct message *m, struct str piece, bool last)
{
	struct header_end end;
	struct str all = piece;

	if (m->head.n > 0 || !last) {
		/* Usually the first piece holds all of it: look before
		 * copying. */
		int rc = m->head.n == 0
		    ? header_find_end(piece, last, &end)
		    : 0;

		if (rc == 0 && buf_append(&m->head, piece) < 0)
			rc = -1;
		if (rc == 0) {
			all = buf_str(&m->head);
			rc = header_find_end(all, last, &end);
		}
		if (rc == 0)
			return;
		if (rc < 0)
			goto too_long;
	} else if (header_find_end(all, last, &end) < 0) {
		goto too_long;
	}
	write_header(m, all, &end);
	if (m->state == DONE)
		return;
	m->state = BODY;
	append(m, str_from(all, end.body));
	buf_fini(&m->head);
	return;
too_long:
	refuse(m, 552, "5.3.4", "Error: message header too big");
}

/* --- the content --- */

/* An octet above 127? Eight at a time: every octet of mail passes here. */
static bool is_8bit(struct str s)
{
	uint64_t any = 0, word;
	size_t i = 0;

	for (; i + sizeof(word) <= s.n; i += sizeof(word)) {
		memcpy(&word, s.p + i, sizeof(word));
		any |= word;
	}
	for (; i < s.n; i++)
		any |= (unsigned char)s.p[i];
	return any & UINT64_C(0x8080808080808080);
}

static unsigned queue_flags(const struct message *m)
{
	/* The two sets share their numbers (queue/envelope.h). */
	unsigned flags = (unsigned)m->begin.flags &
	    (QUEUE_8BITMIME | QUEUE_SMTPUTF8 | QUEUE_INTERNAL |
		QUEUE_NO_EXPAND | QUEUE_BINARYMIME);

	if (m->has_8bit)
		flags |= QUEUE_8BITMIME;
	if (m->begin.local_uid != UINT32_MAX)
		flags |= QUEUE_LOCAL;
	return flags;
}

/* The promise: after this the message is on stable storage, or refused. */
static void commit(struct message *m)
{
	const struct submit_begin *b = &m->begin;
	const char *why;

	if (m->rcpts.n == 0) {
		refuse(m, 554, "5.5.1", "Error: no valid recipients");
		return;
	}
	m->envelope = (struct queue_envelope){
		.arrival = m->arrival,
		.flags = queue_flags(m),
		.sender = b->sender,
		.client_name = b->client_name,
		.client_addr = b->client_addr,
		.helo = b->helo,
		.protocol = b->protocol,
		.login = b->login,
		.login_method = b->login_method,
		.envid = b->envid,
		.ret = (enum queue_ret)b->ret,
		.recipients = m->rcpts.v,
		.recipient_count = m->rcpts.n,
	};
	m->is_written = true;
	if (queue_commit(m->commit, &m->envelope, &why) < 0) {
		refuse_write(m, errno, why);
		return;
	}
	m->state = DONE;
	m->reply = (struct submit_reply){ .code = 250, .dsn = STR("2.0.0"),
		.text = STR("Ok"), .queue_id = str_of(m->file.text) };
}

void message_content(struct message *m, struct str piece, bool last)
{
	int64_t limit = m->params->message_size_limit;

	if (m->state == ENVELOPE) {
		add_always_bcc(m);
		if (m->state != DONE)
			m->state = HEADER;
	}
	m->received += piece.n;
	if (limit > 0 && m->received > (uint64_t)limit && !is_internal(m))
		refuse(m, 552, "5.3.4", "Error: message file too big");
	if (m->state == DONE)
		return;
	m->has_8bit = m->has_8bit || is_8bit(piece);
	if (m->state == HEADER)
		take_header(m, piece, last);
	else
		append(m, piece);
	if (last && m->state != DONE)
		commit(m);
}

/* --- the word to qmgr --- */

static int fill_rcpts(struct message *m, struct stock_commit *c)
{
	size_t n = m->rcpts.n;
	struct strs *columns[] = { &c->rcpts, &c->originals, &c->transports,
		&c->nexthops, &c->orcpts };

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		columns[i]->n = n;
		columns[i]->v = arena_array(m->arena, n, sizeof(struct str));
		if (columns[i]->v == NULL)
			return -1;
	}
	c->notify.n = n;
	if ((c->notify.v = arena_array(m->arena, n, sizeof(uint64_t))) == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct queue_recipient *q = &m->rcpts.v[i];

		c->rcpts.v[i] = q->address;
		c->originals.v[i] = q->original;
		c->transports.v[i] = q->transport;
		c->nexthops.v[i] = q->nexthop;
		c->orcpts.v[i] = q->orcpt;
		c->notify.v[i] = q->notify;
	}
	return 0;
}

static bool fits(const struct message *m)
{
	size_t octets = 0;

	for (size_t i = 0; i < m->rcpts.n; i++) {
		const struct queue_recipient *q = &m->rcpts.v[i];

		octets += q->address.n + q->original.n + q->transport.n +
		    q->nexthop.n + q->orcpt.n + 32;
	}
	return octets <= ANNOUNCE_OCTETS && m->rcpts.n <= 1000;
}

void message_announce(struct message *m)
{
	struct stock_commit c = {
		.queue_id = str_of(m->file.text),
		.sender = m->begin.sender,
		.arrival = m->arrival,
		.size = m->envelope.size,
		.flags = m->begin.flags |
		    (m->has_8bit ? (uint64_t)SUBMIT_8BITMIME : 0),
		.ret = m->begin.ret,
		.envid = m->begin.envid,
	};

	if (m->state != DONE || !m->has_file)
		return;
	log_info("%s: message-id=" STR_FMT, m->file.text,
	    STR_ARG(m->message_id.n > 0 ? m->message_id : STR("<>")));
	if (m->reply.code != 250)
		return;
	c.more = !fits(m) || fill_rcpts(m, &c) < 0;
	if (c.more)
		c.rcpts.n = c.originals.n = c.transports.n = c.nexthops.n =
		    c.orcpts.n = c.notify.n = 0;
	stock_committed(&m->file, &c);
	m->has_file = false;
}
