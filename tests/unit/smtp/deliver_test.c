/*
 * Whole deliveries against scripted servers on loopback. A script is lines:
 *
 *   S text    send text and CRLF          P text    send, "~" is CRLF
 *   C prefix  a line must come that begins with prefix
 *   D         read content up to the dot  X         close
 *   T         say nothing more until the client has gone
 *   R         close with a reset          - text    a comment
 *
 * One script serves one connection, in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "msgs/submit.h"
#include "queue/commit.h"
#include "smtp/deliver.h"

#define SCRIPTS_MAX 8

struct server {
	int fd, port;
	const char *scripts[SCRIPTS_MAX];
	size_t n;
	pthread_t thread;
	char wrong[512];	/* the first mismatch */
	char data[16384];	/* contents received, one after the other */
	size_t data_n, connections, scripts_done;
};

static void send_text(int fd, struct str s)
{
	while (s.n > 0) {
		ssize_t k = send(fd, s.p, s.n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		s = str_from(s, (size_t)k);
	}
}

static int read_line(FILE *f, char *line, size_t size)
{
	size_t n = 0;
	int c;

	while ((c = getc(f)) != EOF && n + 1 < size) {
		line[n++] = (char)c;
		if (c == '\n')
			break;
	}
	line[n] = '\0';
	return n > 0 ? 0 : -1;
}

static bool play(struct server *s, int fd, FILE *f, struct str step)
{
	struct str arg = str_from(step, 2);
	char line[8192];
	size_t n;

	switch (step.n ? step.p[0] : '-') {
	case 'S':
		n = (size_t)snprintf(line, sizeof(line), STR_FMT "\r\n",
		    STR_ARG(arg));
		send_text(fd, str_n(line, n));
		return true;
	case 'P':
		n = 0;
		for (size_t i = 0; i < arg.n && n + 2 < sizeof(line); i++) {
			if (arg.p[i] == '~')
				line[n++] = '\r';
			line[n++] = arg.p[i] == '~' ? '\n' : arg.p[i];
		}
		send_text(fd, str_n(line, n));
		return true;
	case 'C':
		if (read_line(f, line, sizeof(line)) < 0)
			snprintf(line, sizeof(line), "(end of input)");
		if (!str_starts(str_of(line), arg) && s->wrong[0] == '\0')
			snprintf(s->wrong, sizeof(s->wrong), "wanted \""
			    STR_FMT "\", got \"%.200s\"", STR_ARG(arg), line);
		return s->wrong[0] == '\0';
	case 'D':
		while (read_line(f, line, sizeof(line)) == 0 &&
		    strcmp(line, ".\r\n") != 0 &&
		    s->data_n + strlen(line) < sizeof(s->data)) {
			memcpy(s->data + s->data_n, line, strlen(line) + 1);
			s->data_n += strlen(line);
		}
		return true;
	case 'T':
		while (getc(f) != EOF)
			;
		return false;
	case 'R':
		setsockopt(fd, SOL_SOCKET, SO_LINGER,
		    &(struct linger){ 1, 0 }, sizeof(struct linger));
		return false;
	case 'X':
		return false;
	default:
		return true;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;

	for (size_t i = 0; i < s->n; i++) {
		int fd = accept(s->fd, NULL, NULL), on = 1;
		struct str rest = str_of(s->scripts[i]), step;
		FILE *f;

		if (fd < 0)
			break;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		s->connections++;
		f = fdopen(fd, "r");
		while (str_split(&rest, '\n', &step) &&
		    play(s, fd, f, step))
			;
		s->scripts_done += s->wrong[0] == '\0';
		fclose(f);
	}
	return NULL;
}

/* Scripts end with NULL. */
static void start_server(struct server *s, ...)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	va_list ap;

	memset(s, 0, sizeof(*s));
	va_start(ap, s);
	while (s->n < SCRIPTS_MAX && (s->scripts[s->n] =
		va_arg(ap, const char *)) != NULL)
		s->n++;
	va_end(ap);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sin, sizeof(sin)),
	    0);
	assert_int_equal(listen(s->fd, 16), 0);
	getsockname(s->fd, (struct sockaddr *)&sin, &len);
	s->port = ntohs(sin.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop_server(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	if (s->wrong[0] != '\0')
		fail_msg("%s", s->wrong);
}

/* --- a delivery --- */

static struct arena *arena;
static struct params params;
static struct smtp_config config;
static struct cache *cache;
static char results[8192];
static char log_text[16384];
static unsigned last_uses;
static char last_relay[600];

static void keep_log(enum log_level level, struct str line, void *ctx)
{
	size_t n = strlen(log_text);

	(void)level;
	(void)ctx;
	snprintf(log_text + n, sizeof(log_text) - n, STR_FMT "\n",
	    STR_ARG(line));
}

static void report(const struct job *j, const struct rcpt *r,
    enum agent_status status, const struct outcome *o)
{
	static const char *const words[] = { [AGENT_SENT] = "sent",
		[AGENT_DEFERRED] = "deferred", [AGENT_FAILED] = "failed" };
	char dsn[MAIL_STATUS_SIZE];
	size_t n = strlen(results);

	(void)j;
	snprintf(results + n, sizeof(results) - n, STR_FMT " %s %s " STR_FMT
	    "%s\n", STR_ARG(r->address), words[status],
	    mail_status_print(o->status, dsn), STR_ARG(o->text),
	    o->nexthop_dead ? " DEAD" : "");
	last_uses = o->uses;
	snprintf(last_relay, sizeof(last_relay), STR_FMT, STR_ARG(o->relay));
}

static void resolve(void *ctx, struct dns_question *q, size_t n,
    struct arena *a, struct dns_reply *r)
{
	(void)ctx;
	(void)a;
	for (size_t i = 0; i < n; i++) {
		static struct str hosts[2] = { { "one.test", 8 },
			{ "two.test", 8 } }, v4 = { "\177\0\0\1", 4 };
		static uint64_t numbers[2] = { 1, 2 };

		r[i] = (struct dns_reply){ .status = DNS_NXDOMAIN };
		if (q[i].type == DNS_MX && str_eq_c(q[i].name, "two-mx.test"))
			r[i] = (struct dns_reply){ .data = { hosts, 2 },
				.numbers = { numbers, 2 } };
		else if (q[i].type == DNS_A)
			r[i] = (struct dns_reply){ .data = { &v4, 1 },
				.numbers = { numbers, 1 } };
	}
}

static void set_params(const char *const *pairs)
{
	struct str list[32];
	const char *why;
	size_t n = 0;

	list[n++] = STR("inet_protocols=ipv4");
	list[n++] = STR("myhostname=me.test");
	list[n++] = STR("smtp_tls_security_level=none");
	for (; pairs != NULL && *pairs != NULL; pairs++)
		list[n++] = str_of(*pairs);
	if (params_load(&params, list, n, arena, &why) < 0)
		fail_msg("%s", why);
	if (smtp_config_load(&config, &params) < 0)
		fail_msg("config: %s", log_text);
}

static int make_file(const char *content, size_t n)
{
	struct queue_recipient rcpt = { .address = STR("r@x.test") };
	struct queue_envelope env = { .arrival = 1, .recipients = &rcpt,
		.recipient_count = 1 };
	struct queue_commit *c;
	const char *why;
	char path[] = "/tmp/postern-deliver.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_int_equal(queue_commit_begin(&c, fd, 0xABC, 1 << 30), 0);
	assert_int_equal(queue_commit_append(c, str_n(content, n)), 0);
	if (queue_commit(c, &env, &why) < 0)
		fail_msg("commit: %s", why);
	queue_commit_end(&c);
	unlink(path);
	return fd;
}

struct message_text {
	const char *sender, *content;
	size_t n;
	uint64_t flags;
};

static const struct message_text plain = { "s@me.test",
	"Subject: x\r\n\r\nHello\r\n.dot\r\n", 27, 0 };

/* rcpts are separated by spaces. */
static const char *run_job(const char *transport, const char *nexthop,
    const char *rcpts, const struct message_text *text)
{
	struct deliver d = { .config = &config, .cache = cache,
		.ask = resolve };
	struct str list[200], rest = str_of(rcpts);
	uint64_t numbers[200];
	struct agent_job m = {
		.job = 1, .queue_id = STR("ABC"),
		.transport = str_of(transport), .nexthop = str_of(nexthop),
		.sender = str_of(text->sender), .flags = text->flags,
		.arrival = clock_wall(), .active = clock_wall(),
		.rcpts = { list, 0 }, .indexes = { numbers, 0 },
	};
	struct arena *job_arena = arena_new(2 * 1024 * 1024);
	struct job *j;

	while (str_word(&rest, " ", &list[m.rcpts.n])) {
		numbers[m.rcpts.n] = m.rcpts.n;
		m.rcpts.n++;
	}
	m.indexes.n = m.rcpts.n;
	m.file = make_file(text->content, text->n ? text->n
	    : strlen(text->content));
	results[0] = '\0';
	j = job_new(&m, job_arena, report, NULL);
	assert_non_null(j);
	deliver(&d, j);
	assert_int_equal(j->left, 0);
	job_free(&j);
	arena_free(&job_arena);
	close(m.file);
	return results;
}

static const char *hop_of(const struct server *s)
{
	static char text[64];

	snprintf(text, sizeof(text), "[127.0.0.1]:%d", s->port);
	return text;
}

static void check(const char *got, const char *want, const char *what)
{
	if (strcmp(got, want) != 0)
		fail_msg("%s:\ngot  %swant %s", what, got, want);
}

#define HELLO "S 220 hi ESMTP\nC EHLO me.test\r\n" \
	"S 250-hi\nS 250-PIPELINING\nS 250-SIZE 10000\nS 250 8BITMIME\n"
#define HELLO_PLAIN "S 220 hi ESMTP\nC EHLO me.test\r\nS 250 hi\n"

static int each_set_up(void **state)
{
	(void)state;
	log_text[0] = '\0';
	cache = cache_new();
	set_params(NULL);
	return cache == NULL;
}

static int each_tear_down(void **state)
{
	(void)state;
	cache_free(&cache);
	smtp_config_fini(&config);
	arena_reset(arena);
	return 0;
}

static void whole_conversations(void **state)
{
	static const struct {
		const char *name, *script, *rcpts, *want;
		struct message_text text;
	} rows[] = {
		{ "pipelining", HELLO
		  "C MAIL FROM:<s@me.test> SIZE=27\r\n"
		  "C RCPT TO:<r@x.test>\r\nC RCPT TO:<q@x.test>\r\n"
		  "C DATA\r\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\n"
		  "S 250 2.0.0 Ok: queued as 42\n", "r@x.test q@x.test",
		  "r@x.test sent 2.0.0 250 2.0.0 Ok: queued as 42\n"
		  "q@x.test sent 2.0.0 250 2.0.0 Ok: queued as 42\n",
		  { NULL } },
		{ "one by one", HELLO_PLAIN
		  "C MAIL FROM:<s@me.test>\r\nS 250 ok\n"
		  "C RCPT TO:<r@x.test>\r\nS 250 ok\n"
		  "C DATA\r\nS 354 go\nD\nS 250 ok\n", "r@x.test",
		  "r@x.test sent 2.0.0 250 ok\n", { NULL } },
		{ "HELO for those without EHLO",
		  "S 220 hi\nC EHLO me.test\r\nS 502 what\n"
		  "C HELO me.test\r\nS 250 hi\n"
		  "C MAIL FROM:<s@me.test>\r\nS 250 ok\n"
		  "C RCPT TO:<r@x.test>\r\nS 250 ok\n"
		  "C DATA\r\nS 354 go\nD\nS 250 ok\n", "r@x.test",
		  "r@x.test sent 2.0.0 250 ok\n", { NULL } },
		{ "each recipient has its answer", HELLO
		  "C MAIL\nC RCPT TO:<a\nC RCPT TO:<b\nC RCPT TO:<c\nC DATA\n"
		  "S 250 ok\nS 550 5.1.1 no b\nS 250 ok\nS 450 4.2.1 busy\n"
		  "S 354 go\nD\nS 250 ok\n", "a@x b@x c@x",
		  "a@x failed 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 "
		  "no b (in reply to RCPT TO command)\n"
		  "b@x sent 2.0.0 250 ok\n"
		  "c@x deferred 4.2.1 host 127.0.0.1[127.0.0.1] said: 450 "
		  "4.2.1 busy (in reply to RCPT TO command)\n", { NULL } },
		{ "all refused, DATA answered 354", HELLO
		  "C MAIL\nC RCPT TO:<a\nC DATA\n"
		  "S 250 ok\nS 550 5.1.1 no\nS 354 go\nC .\r\nS 554 none\n"
		  "C QUIT\n", "a@x",
		  "a@x failed 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 "
		  "no (in reply to RCPT TO command)\n", { NULL } },
		{ "MAIL refused", HELLO
		  "C MAIL\nC RCPT TO:<a\nC DATA\n"
		  "S 553 5.1.8 you\nS 503 mail\nS 503 mail\nC RSET\nS 250 ok\n"
		  "C QUIT\n", "a@x",
		  "a@x failed 5.1.8 host 127.0.0.1[127.0.0.1] said: 553 5.1.8 "
		  "you (in reply to MAIL FROM command)\n", { NULL } },
		{ "the content refused", HELLO
		  "C MAIL\nC RCPT TO:<a\nC DATA\n"
		  "S 250 ok\nS 250 ok\nS 354 go\nD\nS 554 5.7.1 spam\n"
		  "C QUIT\n", "a@x",
		  "a@x failed 5.7.1 host 127.0.0.1[127.0.0.1] said: 554 5.7.1 "
		  "spam (in reply to end of DATA command)\n", { NULL } },
		{ "too many recipients get their turn", HELLO
		  "C MAIL\nC RCPT TO:<a\nC RCPT TO:<b\nC RCPT TO:<c\nC DATA\n"
		  "S 250 ok\nS 250 ok\nS 452 4.5.3 many\nS 552 many\n"
		  "S 354 go\nD\nS 250 one\n"
		  "C MAIL\nC RCPT TO:<b\nC RCPT TO:<c\nC DATA\n"
		  "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 two\n"
		  "C QUIT\n", "a@x b@x c@x",
		  "a@x sent 2.0.0 250 one\nb@x sent 2.0.0 250 two\n"
		  "c@x sent 2.0.0 250 two\n", { NULL } },
		{ "CL-005: 250 to DATA", HELLO_PLAIN
		  "C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 250 ok\nT\n",
		  "a@x", "a@x deferred 4.5.0 host 127.0.0.1[127.0.0.1] said: "
		  "250 ok (in reply to DATA command)\n", { NULL } },
		{ "CL-006: 354 to RCPT", HELLO_PLAIN
		  "C MAIL\nS 250 ok\nC RCPT\nS 354 go\nT\n",
		  "a@x", "a@x deferred 4.5.0 host 127.0.0.1[127.0.0.1] said: "
		  "354 go (in reply to RCPT TO command)\n", { NULL } },
		{ "CL-007: empty lines", "P ~~\nT\n", "a@x",
		  "a@x deferred 4.5.0 host 127.0.0.1[127.0.0.1] sent what is "
		  "no reply while receiving the initial server greeting:  "
		  "DEAD\n", { NULL } },
		{ "421 in the greeting", "S 421 4.7.0 later\nT\n", "a@x",
		  "a@x deferred 4.7.0 host 127.0.0.1[127.0.0.1] refused to "
		  "talk to me: 421 4.7.0 later DEAD\n", { NULL } },
		{ "554 in the greeting is not final", "S 554 5.7.1 no\nT\n",
		  "a@x", "a@x deferred 4.7.1 host 127.0.0.1[127.0.0.1] "
		  "refused to talk to me: 554 5.7.1 no DEAD\n", { NULL } },
		{ "421 to EHLO", "S 220 hi\nC EHLO\nS 421 4.3.2 down\nT\n",
		  "a@x", "a@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] "
		  "refused to talk to me: 421 4.3.2 down DEAD\n", { NULL } },
		{ "421 to MAIL", HELLO_PLAIN "C MAIL\nS 421 4.3.2 down\nT\n",
		  "a@x", "a@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] said: "
		  "421 4.3.2 down (in reply to MAIL FROM command)\n",
		  { NULL } },
		{ "421 to the second of three recipients", HELLO
		  "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\n"
		  "S 421 4.3.2 down\nX\n", "a@x b@x c@x",
		  "a@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] said: 421 "
		  "4.3.2 down (in reply to RCPT TO command)\n"
		  "b@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] said: 421 "
		  "4.3.2 down (in reply to RCPT TO command)\n"
		  "c@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] said: 421 "
		  "4.3.2 down (in reply to RCPT TO command)\n", { NULL } },
		{ "421 to DATA", HELLO_PLAIN "C MAIL\nS 250 ok\nC RCPT\n"
		  "S 250 ok\nC DATA\nS 421 4.3.2 down\nT\n",
		  "a@x", "a@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] said: "
		  "421 4.3.2 down (in reply to DATA command)\n", { NULL } },
		{ "421 to the content", HELLO_PLAIN "C MAIL\nS 250 ok\nC RCPT\n"
		  "S 250 ok\nC DATA\nS 354 go\nD\nS 421 4.3.2 down\nT\n",
		  "a@x", "a@x deferred 4.3.2 host 127.0.0.1[127.0.0.1] said: "
		  "421 4.3.2 down (in reply to end of DATA command)\n",
		  { NULL } },
		{ "lost after the dot", HELLO_PLAIN "C MAIL\nS 250 ok\nC RCPT\n"
		  "S 250 ok\nC DATA\nS 354 go\nD\nX\n",
		  "a@x", "a@x deferred 4.4.2 lost connection with "
		  "127.0.0.1[127.0.0.1] while sending end of data -- message "
		  "may be sent more than once\n", { NULL } },
		{ "CL-009: silent after the dot", HELLO_PLAIN
		  "C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\n"
		  "S 354 go\nD\nT\n",
		  "a@x", "a@x deferred 4.4.2 conversation with "
		  "127.0.0.1[127.0.0.1] timed out while sending end of data -- "
		  "message may be sent more than once\n", { NULL } },
		{ "CL-008: 250 to the dot and a reset", HELLO_PLAIN
		  "C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\nD\n"
		  "S 250 taken\nX\n", "a@x", "a@x sent 2.0.0 250 taken\n",
		  { NULL } },
		{ "lost before MAIL is answered", HELLO_PLAIN "C MAIL\nX\n",
		  "a@x", "a@x deferred 4.4.2 lost connection with "
		  "127.0.0.1[127.0.0.1] while sending MAIL FROM\n", { NULL } },
		{ "too large for the server", HELLO "C QUIT\n", "a@x",
		  "a@x failed 5.3.4 message size 12000 exceeds size limit "
		  "10000 of server 127.0.0.1[127.0.0.1]\n",
		  { "s@x", NULL, 12000, 0 } },
		{ "8-bit content to a server without it", HELLO_PLAIN
		  "C MAIL FROM:<s@x>\r\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\n"
		  "S 354 go\nC A: b\r\nC MIME-Version: 1.0\r\n"
		  "C Content-Type: text/plain; charset=unknown-8bit\r\n"
		  "C Content-Transfer-Encoding: quoted-printable\r\nC \r\n"
		  "C =C3=A9\r\nC .\r\nS 250 ok\n", "a@x",
		  "a@x sent 2.0.0 250 ok\n",
		  { "s@x", "A: b\r\n\r\n\303\251\r\n", 0,
		  SUBMIT_8BITMIME } },
		{ "8BITMIME declared and not used", HELLO_PLAIN
		  "C MAIL FROM:<s@x>\r\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\n"
		  "S 354 go\nD\nS 250 ok\n", "a@x", "a@x sent 2.0.0 250 ok\n",
		  { "s@x", "A: b\r\n\r\ne\r\n", 0,
		  SUBMIT_8BITMIME } },
		{ "8BITMIME", HELLO
		  "C MAIL FROM:<> SIZE=12 BODY=8BITMIME\r\nC RCPT\nC DATA\n"
		  "S 250 ok\nS 250 ok\nS 354 go\nD\nS 250 ok\n", "a@x",
		  "a@x sent 2.0.0 250 ok\n",
		  { "", "A: b\r\n\r\n\303\251\r\n", 0,
		  SUBMIT_8BITMIME } },
		{ "SMTPUTF8 is needed by an address", HELLO "C QUIT\n",
		  "\303\251@x", "\303\251@x failed 5.6.7 SMTPUTF8 is required, "
		  "but was not offered by host 127.0.0.1[127.0.0.1]\n",
		  { NULL } },
		{ "SMTPUTF8 is needed by the header", HELLO "C QUIT\n", "a@x",
		  "a@x failed 5.6.7 SMTPUTF8 is required, but was not offered "
		  "by host 127.0.0.1[127.0.0.1]\n",
		  { "s@x", "A: \303\251\r\n\r\n", 0,
		  SUBMIT_SMTPUTF8 } },
		{ "SMTPUTF8 offered", "S 220 hi\nC EHLO\nS 250-hi\n"
		  "S 250-8BITMIME\nS 250-DSN\nS 250 SMTPUTF8\n"
		  "C MAIL FROM:<s@x> BODY=8BITMIME SMTPUTF8\r\nS 250 ok\n"
		  "C RCPT TO:<\303\251@x>\r\nS 250 ok\nC DATA\nS 354 go\nD\n"
		  "S 250 ok\n", "\303\251@x", "\303\251@x sent 2.0.0 250 ok\n",
		  { "s@x", "A: \303\251\r\n\r\n", 0,
		  SUBMIT_SMTPUTF8 } },
	};
	static const char *const quick[] = { "smtp_data_done_timeout=1",
		"smtp_helo_timeout=1", NULL };
	static char big[12000];

	(void)state;
	memset(big, 'x', sizeof(big));
	memcpy(big, "A: b\r\n\r\n", 8);
	memcpy(big + sizeof(big) - 2, "\r\n", 2);
	set_params(quick);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct message_text text = rows[i].text.sender != NULL
		    ? rows[i].text : plain;
		struct server s;

		if (text.content == NULL)
			text.content = big;
		start_server(&s, rows[i].script, NULL);
		check(run_job("smtp", hop_of(&s), rows[i].rcpts, &text),
		    rows[i].want, rows[i].name);
		cache_free(&cache);
		cache = cache_new();
		if (s.wrong[0] != '\0')
			fail_msg("%s: %s", rows[i].name, s.wrong);
		stop_server(&s);
	}
}

static void content_leaves_in_wire_form_only(void **state)
{
	static const struct { const char *content, *want; } rows[] = {
		{ "A: b\r\n\r\n.\r\n..\r\nx\r\n",
		  "A: b\r\n\r\n..\r\n...\r\nx\r\n" },
		/* what no queue file should hold */
		{ "A: b\r\n\r\nx\n.\r\ny", "A: b\r\n\r\nx\r\n..\r\ny\r\n" },
		{ "A: b\r\n\r\nx\r.\r\n", "A: b\r\n\r\nx\r\n..\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct message_text text = { "s@x", rows[i].content, 0, 0 };
		struct server s;

		start_server(&s, HELLO "C MAIL\nC RCPT\nC DATA\nS 250 ok\n"
		    "S 250 ok\nS 354 go\nD\nS 250 ok\n", NULL);
		check(run_job("smtp", hop_of(&s), "a@x", &text),
		    "a@x sent 2.0.0 250 ok\n", rows[i].content);
		cache_free(&cache);
		cache = cache_new();
		stop_server(&s);
		check(s.data, rows[i].want, "content");
	}
}

static void lmtp_has_an_answer_for_each(void **state)
{
	struct server s;

	(void)state;
	start_server(&s, "S 220 hi LMTP\nC LHLO me.test\r\nS 250-hi\n"
	    "S 250 PIPELINING\nC MAIL\nC RCPT TO:<a\nC RCPT TO:<b\n"
	    "C RCPT TO:<c\nC DATA\nS 250 ok\nS 250 ok\nS 550 5.1.1 no\n"
	    "S 250 ok\nS 354 go\nD\nS 250 2.1.5 first\n"
	    "S 452 4.2.2 full\nC QUIT\n", NULL);
	check(run_job("lmtp", hop_of(&s), "a@x b@x c@x", &plain),
	    "b@x failed 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no "
	    "(in reply to RCPT TO command)\n"
	    "a@x sent 2.1.5 250 2.1.5 first\n"
	    "c@x deferred 4.2.2 host 127.0.0.1[127.0.0.1] said: 452 4.2.2 "
	    "full (in reply to end of DATA command)\n", "lmtp");
	cache_expire(cache, true);
	stop_server(&s);
}

#define TXN(n) "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nD\n" \
	"S 250 " n "\n"

static void a_session_is_used_again(void **state)
{
	struct server s;

	(void)state;
	start_server(&s, HELLO TXN("one") TXN("two") TXN("three") "C QUIT\n",
	    NULL);
	for (int i = 0; i < 3; i++)
		run_job("smtp", hop_of(&s), "a@x", &plain);
	check(results, "a@x sent 2.0.0 250 three\n", "third");
	assert_int_equal(last_uses, 3);
	cache_expire(cache, true);
	stop_server(&s);
	assert_int_equal(s.connections, 1);
}

static void a_kept_session_that_died_costs_nothing(void **state)
{
	struct server s;

	(void)state;
	/* gone at once; gone with a farewell; gone when asked */
	start_server(&s, HELLO TXN("one") "X\n",
	    HELLO TXN("two") "S 421 idle\nX\n",
	    HELLO TXN("three") "C MAIL\nX\n",
	    HELLO TXN("four") "C MAIL\nS 421 too many\nX\n",
	    HELLO TXN("five") "C QUIT\n", NULL);
	for (int i = 0; i < 5; i++) {
		run_job("smtp", hop_of(&s), "a@x", &plain);
		assert_non_null(strstr(results, "a@x sent 2.0.0 250 "));
	}
	check(results, "a@x sent 2.0.0 250 five\n", "fifth");
	cache_expire(cache, true);
	stop_server(&s);
}

static void rset_cleans_up_before_the_next(void **state)
{
	struct server s;

	(void)state;
	start_server(&s, HELLO "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 no\n"
	    "S 554 none\nC RSET\nS 250 ok\n" TXN("two") "C QUIT\n", NULL);
	run_job("smtp", hop_of(&s), "a@x", &plain);
	assert_non_null(strstr(results, "failed"));
	check(run_job("smtp", hop_of(&s), "b@x", &plain),
	    "b@x sent 2.0.0 250 two\n", "second");
	cache_expire(cache, true);
	stop_server(&s);
}

/* Two hosts have one address here: the second is told by its port. */
static void the_next_server_is_tried(void **state)
{
	struct server s;
	char hop[64];

	(void)state;
	start_server(&s, "S 421 no\nX\n", HELLO TXN("second") "C QUIT\n",
	    NULL);
	snprintf(hop, sizeof(hop), "[127.0.0.1]:%d, [localhost]:%d", s.port,
	    s.port);
	check(run_job("smtp", hop, "a@x", &plain),
	    "a@x sent 2.0.0 250 second\n", "two hops");
	cache_expire(cache, true);
	stop_server(&s);
}

static void soft_failures_go_to_the_next_server(void **state)
{
	struct server s;
	char hop[64];

	(void)state;
	cache_expire(cache, true);
	start_server(&s, HELLO "C MAIL\nC RCPT TO:<a\nC RCPT TO:<b\nC RCPT "
	    "TO:<c\nC DATA\nS 250 ok\nS 250 ok\nS 450 4.2.1 later\n"
	    "S 550 5.1.1 never\nS 354 go\nD\nS 250 one\n"
	    "C QUIT\n",
	    HELLO "C MAIL\nC RCPT TO:<b\nC DATA\nS 250 ok\nS 250 ok\n"
	    "S 354 go\nD\nS 250 two\n", NULL);
	snprintf(hop, sizeof(hop), "[127.0.0.1]:%d, [localhost]:%d", s.port,
	    s.port);
	check(run_job("smtp", hop, "a@x b@x c@x", &plain),
	    "c@x failed 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 "
	    "never (in reply to RCPT TO command)\n"
	    "a@x sent 2.0.0 250 one\nb@x sent 2.0.0 250 two\n", "soft");
	cache_expire(cache, true);
	stop_server(&s);
}

static void what_cannot_be_reached_is_deferred(void **state)
{
	struct server s;
	char want[256], hop[64];

	(void)state;
	start_server(&s, NULL);
	snprintf(hop, sizeof(hop), "[127.0.0.1]:%d", s.port);
	snprintf(want, sizeof(want), "a@x deferred 4.4.1 connect to "
	    "127.0.0.1[127.0.0.1]:%d: Connection refused DEAD\n", s.port);
	stop_server(&s);
	check(run_job("smtp", hop, "a@x", &plain), want, "refused");
	assert_string_equal(last_relay, "");
	check(run_job("smtp", "nowhere.test", "a@x", &plain),
	    "a@x failed 5.4.4 Host or domain name not found. Name service "
	    "error for name=nowhere.test type=MX: Host not found\n", "mx");
	check(run_job("smtp", "[", "a@x", &plain),
	    "a@x deferred 4.3.5 bad next hop: \"[\"\n", "hop");
}

static void tls_that_is_required_and_not_offered_defers(void **state)
{
	static const char *const encrypt[] = {
		"smtp_tls_security_level=encrypt", NULL };
	struct server s;

	(void)state;
	smtp_config_fini(&config);
	set_params(encrypt);
	/* CL-012: no MAIL in plain text */
	start_server(&s, HELLO "C QUIT\n", NULL);
	check(run_job("smtp", hop_of(&s), "a@x", &plain),
	    "a@x deferred 4.7.4 TLS is required, but was not offered by host "
	    "127.0.0.1[127.0.0.1]\n", "encrypt");
	stop_server(&s);
}

static void data_behind_the_answer_to_starttls_ends_it(void **state)
{
	static const char *const may[] = { "smtp_tls_security_level=may",
		NULL };
	struct server s;

	(void)state;
	smtp_config_fini(&config);
	set_params(may);
	/* CL-001; and no second attempt without TLS */
	start_server(&s, "S 220 hi\nC EHLO\nS 250-hi\nS 250 STARTTLS\n"
	    "C STARTTLS\r\nP 220 ok~250-x~250 AUTH PLAIN~\nT\n", NULL);
	check(run_job("smtp", hop_of(&s), "a@x", &plain),
	    "a@x deferred 4.7.5 host 127.0.0.1[127.0.0.1] sent data behind "
	    "its answer to STARTTLS\n", "injection");
	stop_server(&s);
	assert_int_equal(s.connections, 1);
	/* a handshake that fails: may connects again without */
	start_server(&s, "S 220 hi\nC EHLO\nS 250-hi\nS 250 STARTTLS\n"
	    "C STARTTLS\r\nS 220 ok\nC \026\nS nonsense\nX\n",
	    "S 220 hi\nC EHLO\nS 250-hi\nS 250 STARTTLS\n"
	    "C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\nD\n"
	    "S 250 plain\nC QUIT\n", NULL);
	check(run_job("smtp", hop_of(&s), "a@x", &plain),
	    "a@x sent 2.0.0 250 plain\n", "handshake");
	cache_expire(cache, true);
	stop_server(&s);
	cache_free(&cache);
	cache = cache_new();
	/* refused politely: may goes on without */
	start_server(&s, "S 220 hi\nC EHLO\nS 250-hi\nS 250 STARTTLS\n"
	    "C STARTTLS\r\nS 454 4.7.0 not now\n"
	    "C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\nD\n"
	    "S 250 ok\nC QUIT\n", NULL);
	check(run_job("smtp", hop_of(&s), "a@x", &plain),
	    "a@x sent 2.0.0 250 ok\n", "454");
	cache_expire(cache, true);
	stop_server(&s);
}

static void an_address_is_never_two_commands(void **state)
{
	static const struct message_text bad = { "s@x>\r\nRCPT TO:<v@x",
		"A: b\r\n\r\n", 0, 0 };
	struct server s;

	(void)state;
	check(run_job("smtp", "[127.0.0.1]:1", "a@x", &bad),
	    "a@x failed 5.1.7 bad sender address syntax\n", "sender");
	start_server(&s, HELLO "C MAIL\nC RCPT TO:<a@x>\r\nC DATA\nS 250 ok\n"
	    "S 250 ok\nS 354 go\nD\nS 250 ok\nC QUIT\n", NULL);
	check(run_job("smtp", hop_of(&s), "b@x>\001DATA a@x", &plain),
	    "b@x>\001DATA failed 5.1.3 bad recipient address syntax\n"
	    "a@x sent 2.0.0 250 ok\n", "recipient");
	cache_expire(cache, true);
	stop_server(&s);
}

static void a_damaged_queue_file_sends_nothing(void **state)
{
	struct deliver d = { .config = &config, .cache = cache,
		.ask = resolve };
	struct str rcpt = STR("a@x");
	uint64_t index = 0;
	struct agent_job m = { .job = 1, .queue_id = STR("ABC"),
		.transport = STR("smtp"), .nexthop = STR("[127.0.0.1]:1"),
		.rcpts = { &rcpt, 1 }, .indexes = { &index, 1 } };
	static const off_t places[] = { 20, 60, 1100 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct arena *job_arena = arena_new(2 * 1024 * 1024);
		struct job *j;
		char octet;

		m.file = make_file(plain.content, plain.n);
		assert_int_equal(pread(m.file, &octet, 1, places[i]), 1);
		octet ^= 1;
		assert_int_equal(pwrite(m.file, &octet, 1, places[i]), 1);
		results[0] = '\0';
		j = job_new(&m, job_arena, report, NULL);
		assert_non_null(j);
		deliver(&d, j);
		job_free(&j);
		arena_free(&job_arena);
		close(m.file);
		assert_int_equal(strncmp(results,
			"a@x deferred 4.3.0 queue file error: ", 37), 0);
	}
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_sink(keep_log, NULL);
	arena = arena_new(8 * 1024 * 1024);
	return arena == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, each_set_up, each_tear_down)
	const struct CMUnitTest tests[] = {
		T(whole_conversations),
		T(content_leaves_in_wire_form_only),
		T(lmtp_has_an_answer_for_each),
		T(a_session_is_used_again),
		T(a_kept_session_that_died_costs_nothing),
		T(rset_cleans_up_before_the_next),
		T(the_next_server_is_tried),
		T(soft_failures_go_to_the_next_server),
		T(what_cannot_be_reached_is_deferred),
		T(tls_that_is_required_and_not_offered_defers),
		T(data_behind_the_answer_to_starttls_ends_it),
		T(an_address_is_never_two_commands),
		T(a_damaged_queue_file_sends_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
