#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "smtp/session.h"

/* A server that says nothing while it works; a write that gets nowhere. */
#define WRITE_TIMEOUT (180 * CLOCK_SECOND)

static const char *name_of(const struct session *s)
{
	return s->peer;
}

static void name_peer(struct session *s, const struct target *t)
{
	char ip[NET_ADDR_TEXT];

	s->addr = t->addr;
	if (t->path != NULL) {
		snprintf(s->host, sizeof(s->host), "%s",
		    s->config->params->myhostname);
		snprintf(s->peer, sizeof(s->peer), "%s[%s]", s->host,
		    t->path);
		snprintf(s->relay, sizeof(s->relay), "%s", s->peer);
		return;
	}
	snprintf(s->host, sizeof(s->host), "%s", t->host);
	snprintf(s->peer, sizeof(s->peer), "%s[%s]", s->host,
	    net_addr_text(&t->addr, ip));
	snprintf(s->relay, sizeof(s->relay), "%s:%u", s->peer,
	    (unsigned)t->addr.port);
}

int session_reply(struct session *s, int64_t seconds, const char *doing,
    struct reply *reply, struct why *why, size_t *octets_r)
{
	enum reply_result got;

	stream_set_deadline(s->stream, clock_now() + seconds * CLOCK_SECOND);
	got = reply_read(s->stream, reply, NULL, NULL, octets_r);
	if (got == REPLY_OK)
		return 0;
	s->dead = true;
	switch (got) {
	case REPLY_TIMEOUT:
		why_set(why, MAIL_STATUS(4, 4, 2),
		    "conversation with %s timed out while %s", name_of(s),
		    doing);
		break;
	case REPLY_FLOOD:
		why_set(why, MAIL_STATUS(4, 4, 2),
		    "host %s sent an endless reply while %s", name_of(s),
		    doing);
		break;
	case REPLY_GARBAGE:
		why_set(why, MAIL_STATUS(4, 5, 0),
		    "host %s sent what is no reply while %s: %s", name_of(s),
		    doing, reply->text);
		break;
	default:
		why_set(why, MAIL_STATUS(4, 4, 2),
		    "lost connection with %s while %s", name_of(s), doing);
	}
	return -1;
}

void session_said(struct session *s, const struct reply *reply,
    const char *command, struct why *why)
{
	why_reply(why, s->host, s->peer, reply, command);
	/* RFC 5321 3.8: 421 closes the channel. A reply that cannot answer
	 * this command means that we have lost step. */
	if (reply->code == 421 || (reply_class(reply) != 4 &&
	    reply_class(reply) != 5))
		s->dead = true;
}

/* The server does not want to talk to us at all. Others may: never final. */
static void refused(struct session *s, const struct reply *reply,
    struct why *why)
{
	why_set(why, mail_status_with_class(reply->status, 4),
	    "host %s refused to talk to me: %s", name_of(s), reply->text);
	snprintf(why->remote, sizeof(why->remote), "%s", s->host);
	snprintf(why->diagnostic, sizeof(why->diagnostic), "%s", reply->text);
	why->nexthop_dead = true;
	s->dead = true;
}

static const struct params *params_of(const struct session *s)
{
	return s->config->params;
}

/* --- EHLO --- */

static bool keyword_is(struct str text, const char *keyword,
    struct str *args)
{
	struct str word;

	if (!str_word(&text, " \t", &word) ||
	    !str_eq_nocase_c(word, keyword))
		return false;
	*args = str_trim(text);
	return true;
}

static void take_keyword(void *ctx, unsigned number, struct str text)
{
	static const struct { const char *word; unsigned feature; } known[] = {
		{ "PIPELINING", SESSION_PIPELINING },
		{ "SIZE", SESSION_SIZE },
		{ "8BITMIME", SESSION_8BITMIME },
		{ "SMTPUTF8", SESSION_SMTPUTF8 },
		{ "DSN", SESSION_DSN },
		{ "STARTTLS", SESSION_STARTTLS },
	};
	struct session *s = ctx;
	struct str args;

	if (number == 0) /* the domain and a greeting */
		return;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (keyword_is(text, known[i].word, &args)) {
			s->features |= known[i].feature;
			if (known[i].feature == SESSION_SIZE &&
			    str_to_u64(args, UINT64_MAX, &s->size_max) < 0)
				s->size_max = 0;
		}
}

static int read_hello(struct session *s, struct reply *reply,
    struct why *why)
{
	enum reply_result got;

	s->features = 0;
	s->size_max = 0;
	stream_set_deadline(s->stream, clock_now() +
	    params_of(s)->smtp_helo_timeout * CLOCK_SECOND);
	got = reply_read(s->stream, reply, take_keyword, s, NULL);
	if (got == REPLY_OK) {
		s->features |= SESSION_EHLO;
		return 0;
	}
	s->dead = true;
	if (got == REPLY_TIMEOUT)
		why_set(why, MAIL_STATUS(4, 4, 2), "conversation with %s "
		    "timed out while performing the EHLO handshake",
		    name_of(s));
	else
		why_set(why, got == REPLY_GARBAGE ? MAIL_STATUS(4, 5, 0)
		    : MAIL_STATUS(4, 4, 2), "%s %s while performing the EHLO "
		    "handshake", got == REPLY_EOF ? "lost connection with"
		    : "no usable reply from", name_of(s));
	why->nexthop_dead = true;
	return -1;
}

static int say_hello(struct session *s, struct why *why)
{
	const char *name = s->lmtp ? params_of(s)->lmtp_lhlo_name
	    : params_of(s)->smtp_helo_name;
	struct reply reply;

	stream_printf(s->stream, "%s %s\r\n", s->lmtp ? "LHLO" : "EHLO",
	    name);
	if (read_hello(s, &reply, why) < 0)
		return -1;
	if (reply_class(&reply) == 2)
		return 0;
	s->features = 0;
	s->size_max = 0;
	if (s->lmtp || reply.code == 421) {
		refused(s, &reply, why);
		return -1;
	}
	/* RFC 5321 3.2: one that does not know EHLO may know HELO */
	stream_printf(s->stream, "HELO %s\r\n", name);
	if (session_reply(s, params_of(s)->smtp_helo_timeout,
		"performing the HELO handshake", &reply, why, NULL) < 0) {
		why->nexthop_dead = true;
		return -1;
	}
	if (reply_class(&reply) == 2)
		return 0;
	refused(s, &reply, why);
	return -1;
}

/* --- TLS --- */

static enum tls_level level_of(const struct session *s)
{
	return s->lmtp ? s->config->lmtp_tls_level : s->config->tls_level;
}

static void describe_tls(struct session *s)
{
	struct tls_info info;

	if (!tls_info(s->stream, &info))
		return;
	snprintf(s->tls, sizeof(s->tls), "%s with cipher %s (%d/%d bits)",
	    info.protocol, info.cipher, info.bits, info.bits);
	if (params_of(s)->smtp_tls_loglevel > 0)
		log_info("%s TLS connection established to %s: %s",
		    info.verified ? "Verified" : "Untrusted", s->relay,
		    s->tls);
}

static int handshake(struct session *s, struct str domain, struct why *why)
{
	enum tls_level level = level_of(s);
	bool verify = level >= TLS_VERIFY;
	struct tls_client *client = level >= TLS_ENCRYPT
	    ? s->config->tls_mandatory : s->config->tls_optional;
	char name[256];
	const char *text;

	/* secure: the name that was asked for, not what DNS said of it */
	if (level != TLS_SECURE || str_to_c(domain, name, sizeof(name)) < 0)
		snprintf(name, sizeof(name), "%s", s->host);
	if (tls_connect(client, s->stream, name, verify, clock_now() +
		params_of(s)->smtp_starttls_timeout * CLOCK_SECOND,
		&text) == 0)
		return 0;
	why_set(why, MAIL_STATUS(4, 7, 5), "Cannot start TLS with %s: %s",
	    name_of(s), text);
	s->dead = true;
	return -1;
}

/* RFC 3207. -1 with why; *failure_r says whether plain may do. */
static int start_tls(struct session *s, struct str domain, struct why *why,
    enum session_failure *failure_r)
{
	struct reply reply;
	enum tls_level level = level_of(s);

	stream_write_c(s->stream, "STARTTLS\r\n");
	if (session_reply(s, params_of(s)->smtp_starttls_timeout,
		"sending STARTTLS", &reply, why, NULL) < 0)
		return -1;
	if (reply.code != 220) {
		if (level == TLS_MAY && reply.code != 421)
			return 0; /* offered and not given: go on plain */
		why_set(why, MAIL_STATUS(4, 7, 4), "TLS is required, but "
		    "host %s refused to start TLS: %s", name_of(s),
		    reply.text);
		s->dead = true;
		return -1;
	}
	/* What came before the handshake would be read as if protected
	 * (CVE-2021-38371): no plain second attempt with such a host. */
	if (stream_buffered(s->stream) > 0 ||
	    stream_input_pending(s->stream)) {
		why_set(why, MAIL_STATUS(4, 7, 5), "host %s sent data behind "
		    "its answer to STARTTLS", name_of(s));
		log_warn("%s: data behind the answer to STARTTLS: possible "
		    "attack, connection dropped", s->relay);
		s->dead = true;
		return -1;
	}
	if (handshake(s, domain, why) < 0) {
		if (level == TLS_MAY)
			*failure_r = SESSION_NO_TLS;
		return -1;
	}
	describe_tls(s);
	/* RFC 3207 4.2: what was said before is forgotten */
	return say_hello(s, why);
}

static int agree_on_tls(struct session *s, struct str domain, bool plain,
    struct why *why, enum session_failure *failure_r)
{
	enum tls_level level = level_of(s);

	if (level == TLS_NONE || (plain && level == TLS_MAY))
		return 0;
	if (s->features & SESSION_STARTTLS)
		return start_tls(s, domain, why, failure_r);
	if (level == TLS_MAY)
		return 0;
	why_set(why, MAIL_STATUS(4, 7, 4),
	    "TLS is required, but was not offered by host %s", name_of(s));
	return -1;
}

/* --- the whole --- */

static int dial(const struct smtp_config *c, const struct target *t,
    struct why *why)
{
	const struct net_addr *from = t->addr.family == AF_INET ? &c->bind4
	    : &c->bind6;
	int64_t seconds = c->params->smtp_connect_timeout, deadline;
	char where[NET_ADDR_TEXT];
	int fd, on = 1;

	/* 0: as long as the system tries */
	deadline = seconds ? clock_now() + seconds * CLOCK_SECOND
	    : clock_now() + 3600 * CLOCK_SECOND;
	if (t->path != NULL) {
		fd = net_connect_unix(t->path, deadline);
		if (fd < 0)
			why_set(why, MAIL_STATUS(4, 4, 1),
			    "connect to %s[%s]: %s", c->params->myhostname,
			    t->path, strerrordesc_np(errno));
		return fd;
	}
	fd = net_connect(&t->addr, from->family != AF_UNSPEC ? from : NULL,
	    deadline);
	if (fd < 0)
		why_set(why, MAIL_STATUS(4, 4, 1), "connect to %s[%s]:%u: %s",
		    t->host, net_addr_text(&t->addr, where),
		    (unsigned)t->addr.port, strerrordesc_np(errno));
	else
		/* every write here is whole: nothing is gained by waiting */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int greet(struct session *s, struct why *why)
{
	struct reply reply;

	/* RFC 5321 4.5.3.2.1 */
	if (session_reply(s, params_of(s)->smtp_helo_timeout,
		"receiving the initial server greeting", &reply, why,
		NULL) < 0) {
		why->nexthop_dead = true;
		return -1;
	}
	if (reply_class(&reply) == 2)
		return say_hello(s, why);
	refused(s, &reply, why);
	return -1;
}

struct session *session_open(const struct smtp_config *c, bool lmtp,
    const struct target *t, struct str domain, bool plain, struct why *why,
    enum session_failure *failure_r)
{
	int fd = dial(c, t, why);
	struct session *s;

	*failure_r = SESSION_NO_CONNECTION;
	if (fd < 0) {
		why->nexthop_dead = true;
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL || (s->stream = stream_new(fd)) == NULL) {
		why_set(why, MAIL_STATUS(4, 3, 0), "no memory");
		free(s);
		close(fd);
		return NULL;
	}
	s->config = c;
	s->lmtp = lmtp;
	s->opened = clock_now();
	name_peer(s, t);
	stream_set_timeout(s->stream, CLOCK_NEVER, WRITE_TIMEOUT);
	*failure_r = SESSION_REFUSED;
	if (greet(s, why) < 0 ||
	    agree_on_tls(s, domain, plain, why, failure_r) < 0)
		session_close(&s);
	return s;
}

void session_close(struct session **sp)
{
	struct session *s = *sp;

	if (s == NULL)
		return;
	if (!s->dead) {
		/* The answer is not worth waiting for. */
		stream_set_deadline(s->stream, clock_now() + CLOCK_SECOND);
		stream_write_c(s->stream, "QUIT\r\n");
	}
	stream_free(&s->stream);
	free(s);
	*sp = NULL;
}

int session_reset(struct session *s)
{
	struct reply reply;
	struct why why;

	if (s->dead)
		return -1;
	if (!s->dirty)
		return 0;
	stream_write_c(s->stream, "RSET\r\n");
	if (session_reply(s, params_of(s)->smtp_rset_timeout, "sending RSET",
		&reply, &why, NULL) < 0)
		return -1;
	if (reply_class(&reply) != 2) {
		s->dead = reply.code == 421;
		return -1;
	}
	s->dirty = false;
	return 0;
}

bool session_is_fresh(struct session *s)
{
	char octet;

	if (s->dead || s->dirty || stream_buffered(s->stream) > 0)
		return false;
	/* Anything there is a farewell (421, the end) or out of step. Only
	 * looked at: TLS may have put a session ticket there. */
	if (stream_is_tls(s->stream))
		return recv(stream_fd(s->stream), &octet, 1,
		    MSG_PEEK | MSG_DONTWAIT) != 0;
	return recv(stream_fd(s->stream), &octet, 1,
	    MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}
