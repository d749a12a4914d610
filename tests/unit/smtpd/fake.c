#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "msgs/auth.h"
#include "msgs/limits.h"
#include "msgs/lookup.h"
#include "service/service.h"
#include "tests/unit/smtpd/fake.h"

static struct {
	struct arena *arena;
	struct params params;
	struct smtpd smtpd;
	struct edge *cleanup;
	int cleanup_fd;
	pthread_t thread;
	struct fake_message message;
	struct fake_message seen; /* what the test was shown of it */
	struct submit_reply refusal;
	struct buf output;
	pthread_mutex_t lock; /* message, refusal */
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

const struct params *service_params(void)
{
	return &fake.params;
}

const char *service_name(void)
{
	return "smtp";
}

struct edge *service_edge(const char *server)
{
	return strcmp(server, "cleanup") == 0 ? fake.cleanup : NULL;
}

int service_file(const char *param)
{
	(void)param;
	return -1;
}

bool service_stopping(void)
{
	return false;
}

/* --- lookup and auth --- */

static void resolve(const struct resolve_request *q, struct resolve_reply *r)
{
	ssize_t at = str_rchr(q->address, '@');
	struct str domain = at < 0 ? STR("local.test")
				   : str_from(q->address, (size_t)at + 1);
	struct str local =
	    at < 0 ? q->address : str_sub(q->address, 0, (size_t)at);

	*r = (struct resolve_reply){ .status = LOOKUP_OK,
		.address = q->address, .klass = LOOKUP_LOCAL,
		.transport = STR("local"), .nexthop = domain };
	if (!str_eq_nocase_c(domain, "local.test")) {
		r->klass = LOOKUP_DEFAULT;
		r->transport = STR("smtp");
	} else if (str_eq_nocase_c(local, "broken")) {
		r->status = LOOKUP_TEMPFAIL;
	} else if (!str_starts_nocase(local, STR("user")) &&
	    !str_eq_nocase_c(local, "alias-of-user") &&
	    !str_eq_nocase_c(local, "postmaster")) {
		r->status = LOOKUP_NO_USER;
	}
	r->has_alias = str_eq_nocase_c(local, "user-alias");
}

static void expand(const struct expand_request *q, struct expand_reply *r)
{
	static struct str one;
	static struct strs list = { &one, 1 };

	*r = (struct expand_reply){ .status = LOOKUP_OK, .addresses = list };
	one = str_starts(q->address, STR("alias-of-user"))
	    ? STR("user@local.test")
	    : STR("user2@local.test");
	if (!str_ends(q->address, STR("@local.test")))
		r->addresses.n = 0;
}

static void verify(const struct verify_request *q, struct verify_reply *r)
{
	bool good = str_eq_c(q->user, "user@local.test") &&
	    str_eq_c(q->password, "pass");

	*r = (struct verify_reply){ .status = good ? AUTH_OK : AUTH_NO,
		.user = q->user, .session = -1 };
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	int pair[2];

	(void)server;
	(void)reply;
	(void)timeout_us;
	*why_r = "";
	if (request == &resolve_request_schema)
		resolve(req, rep);
	else if (request == &expand_request_schema)
		expand(req, rep);
	else if (request == &verify_request_schema)
		verify(req, rep);
	else
		return -1;
	/* The caller gives a conversation back. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		abort();
	close(pair[1]);
	*conv_r = conv_new("fake", pair[0]);
	return 0;
}

/* --- cleanup --- */

static void note_rcpts(const struct strs *rcpts, const struct strs *transports)
{
	for (size_t i = 0; i < rcpts->n; i++)
		buf_printf(&fake.message.envelope, " to=" STR_FMT "/" STR_FMT,
		    STR_ARG(rcpts->v[i]), STR_ARG(transports->v[i]));
}

static void begin(const struct submit_begin *b)
{
	buf_reset(&fake.message.envelope);
	buf_reset(&fake.message.content);
	buf_printf(&fake.message.envelope,
	    "from=" STR_FMT " proto=" STR_FMT " login=" STR_FMT
	    " flags=%llu ret=%llu envid=" STR_FMT,
	    STR_ARG(b->sender), STR_ARG(b->protocol), STR_ARG(b->login),
	    (unsigned long long)b->flags, (unsigned long long)b->ret,
	    STR_ARG(b->envid));
	note_rcpts(&b->rcpts, &b->transports);
	buf_append(&fake.message.content, b->content);
}

static void answer(struct conv *c)
{
	struct submit_reply r = { .code = 250, .dsn = STR("2.0.0"),
		.text = STR("Ok"), .queue_id = STR("ABC123") };
	const char *why;

	if (fake.refusal.code != 0)
		r = fake.refusal;
	else
		fake.message.count++;
	conv_send(c, &submit_reply_schema, &r, clock_now() + CLOCK_SECOND,
	    &why);
}

static void play_cleanup(int fd)
{
	static const struct msg_schema *const any[] = { &submit_begin_schema,
		&submit_rcpts_schema, &submit_data_schema };
	struct conv *c = conv_new("smtpd", fd);
	union {
		struct submit_begin begin;
		struct submit_rcpts rcpts;
		struct submit_data data;
	} m;
	const struct msg_schema *got;
	const char *why;

	while (conv_recv(c, any, 3, &got, &m, CLOCK_NEVER, &why) ==
	    CONV_MESSAGE) {
		bool last = false;

		pthread_mutex_lock(&fake.lock);
		if (got == &submit_begin_schema) {
			begin(&m.begin);
			last = m.begin.last;
		} else if (got == &submit_rcpts_schema) {
			note_rcpts(&m.rcpts.rcpts, &m.rcpts.transports);
		} else {
			buf_append(&fake.message.content, m.data.content);
			last = m.data.last;
		}
		if (last)
			answer(c);
		pthread_mutex_unlock(&fake.lock);
	}
	conv_close(&c);
}

static void *serve_cleanup(void *arg)
{
	(void)arg;
	for (;;) {
		struct pollfd p = { fake.cleanup_fd, POLLIN, 0 };
		int fd;

		poll(&p, 1, -1);
		fd = edge_accept(fake.cleanup_fd);
		if (fd >= 0)
			play_cleanup(fd);
		else if (p.revents & (POLLHUP | POLLERR))
			return NULL;
	}
}

/* --- the test's side --- */

const struct smtpd *fake_start(const char *const *pairs, const char *service)
{
	struct str values[32];
	size_t n = 0;
	const char *why;
	struct buf text;
	int pair[2];

	fake.arena = arena_new(8 * 1024 * 1024);
	for (; pairs[n] != NULL; n++)
		values[n] = str_of(pairs[n]);
	values[n++] = STR("smtpd_error_sleep_time=0");
	if (params_load(&fake.params, values, n, fake.arena, &why) < 0)
		abort();
	buf_init(&text, 4096);
	memset(&fake.smtpd, 0, sizeof(fake.smtpd));
	if (smtpd_configure(&fake.smtpd, &fake.params, service, fake.arena,
		&text) < 0)
		abort();
	buf_fini(&text);
	buf_init(&fake.message.envelope, 1 << 20);
	buf_init(&fake.message.content, 1 << 26);
	buf_init(&fake.seen.envelope, 1 << 20);
	buf_init(&fake.seen.content, 1 << 26);
	buf_init(&fake.output, 1 << 24);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	fake.cleanup = edge_new("cleanup", pair[0]);
	fake.cleanup_fd = pair[1];
	pthread_create(&fake.thread, NULL, serve_cleanup, NULL);
	return &fake.smtpd;
}

void fake_stop(void)
{
	edge_free(&fake.cleanup);
	pthread_join(fake.thread, NULL);
	close(fake.cleanup_fd);
	net_cidr_list_free(&fake.smtpd.mynetworks);
	net_cidr_list_free(&fake.smtpd.bare_newline_exclusions);
	net_cidr_list_free(&fake.smtpd.plaintext_login);
	net_cidr_list_free(&fake.smtpd.event_exceptions);
	limits_client_free(&fake.smtpd.limits);
	buf_fini(&fake.message.envelope);
	buf_fini(&fake.message.content);
	buf_fini(&fake.seen.envelope);
	buf_fini(&fake.seen.content);
	buf_fini(&fake.output);
	arena_free(&fake.arena);
	fake.refusal.code = 0;
	memset(&fake.message, 0, sizeof(fake.message));
}

const struct fake_message *fake_message(void)
{
	struct fake_message *m = &fake.seen;

	pthread_mutex_lock(&fake.lock); /* after cleanup's last word */
	m->count = fake.message.count;
	buf_reset(&m->envelope);
	buf_append(&m->envelope, buf_str(&fake.message.envelope));
	buf_reset(&m->content);
	buf_append(&m->content, buf_str(&fake.message.content));
	pthread_mutex_unlock(&fake.lock);
	return m;
}

void fake_refuse(unsigned code, const char *dsn, const char *text)
{
	pthread_mutex_lock(&fake.lock);
	fake.refusal = (struct submit_reply){ .code = code,
		.dsn = str_of(dsn), .text = str_of(text) };
	pthread_mutex_unlock(&fake.lock);
}

struct talk {
	int fd;
	struct net_addr peer;
};

static void *run_session(void *arg)
{
	struct talk *t = arg;
	struct net_addr none = { 0 };

	session_serve(&fake.smtpd, t->fd, &t->peer, &none);
	return NULL;
}

/* Does the output end with a whole reply, whose code begins with `first`
 * (0: any)? */
static bool has_reply(size_t start, char first)
{
	struct str out = str_from(buf_str(&fake.output), start);
	ssize_t nl;

	if (out.n == 0 || out.p[out.n - 1] != '\n')
		return false;
	nl = str_rchr(str_sub(out, 0, out.n - 1), '\n');
	return out.p[nl + 4] == ' ' && (first == 0 || out.p[nl + 1] == first);
}

/* Reads until such a reply came; true at the end of the connection. */
static bool drain(int fd, char first)
{
	size_t start = fake.output.n;

	for (;;) {
		struct pollfd p = { fd, POLLIN, 0 };
		char chunk[4096];
		ssize_t n;

		if (poll(&p, 1, 10000) == 0)
			abort(); /* the session hangs */
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			return true;
		buf_append_n(&fake.output, chunk, (size_t)n);
		if (has_reply(start, first))
			return false;
	}
}

/* The first \001 or \002 in the input, or -1. */
static ssize_t find_stop(struct str input)
{
	ssize_t one = str_chr(input, '\001'), two = str_chr(input, '\002');

	return one < 0 || (two >= 0 && two < one) ? two : one;
}

const char *fake_talk(const struct smtpd *smtpd, const char *address,
    struct str input)
{
	struct talk t = { 0 };
	pthread_t thread;
	int pair[2];

	(void)smtpd;
	buf_reset(&fake.output);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	t.fd = pair[0];
	net_addr_parse(str_of(address), &t.peer);
	pthread_create(&thread, NULL, run_session, &t);
	drain(pair[1], '2'); /* the greeting */
	while (input.n > 0) {
		ssize_t stop = find_stop(input);
		char first = stop >= 0 && input.p[stop] == '\002' ? '3' : 0;
		struct str part =
		    stop < 0 ? input : str_sub(input, 0, (size_t)stop);

		while (part.n > 0) {
			ssize_t n = send(pair[1], part.p, part.n,
			    MSG_NOSIGNAL);

			if (n <= 0)
				break;
			part = str_from(part, (size_t)n);
		}
		input = stop < 0 ? STR_NONE : str_from(input, (size_t)stop + 1);
		if (stop >= 0 && drain(pair[1], first))
			break;
	}
	shutdown(pair[1], SHUT_WR);
	while (!drain(pair[1], 0))
		;
	close(pair[1]);
	pthread_join(thread, NULL);
	return buf_cstr(&fake.output);
}
