/*
 * smtp.c - deliveries to a server that says anything
 *
 * The input is what the server sends: \001 between what it says when the
 * client waits, \002 where it closes the connection (and the next begins). At
 * the end: configuration, message, recipients. Two jobs one after the other,
 * the second perhaps over the first one's session. Every recipient has one
 * outcome; "sent" only when the last thing that was read is 2yz and the last
 * thing that was written is the end of the whole content.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "msgs/submit.h"
#include "net/addr.h"
#include "queue/commit.h"
#include "smtp/deliver.h"
#include "tests/fuzz/fakes/conv.h"
#include "tests/fuzz/fakes/wire.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 20000
#define RCPTS 5
#define CONNECTIONS 40

static const char *const configurations[][6] = {
	{ "smtp_tls_security_level=none" },
	{ "smtp_tls_security_level=may" },
	{ "smtp_tls_security_level=encrypt" },
	{ "smtp_tls_security_level=none", "smtp_skip_5xx_greeting=no",
	    "smtp_always_send_ehlo=no" },
};
#define NCONFIGURATIONS (sizeof(configurations) / sizeof(configurations[0]))

static const struct { const char *text; uint64_t flags; } messages[] = {
	{ "Subject: x\r\n\r\nHello\r\n.dot\r\n..\r\n.\r\nend\r\n", 0 },
	{ "\r\n", 0 },
	{ "Subject: x\r\n\r\n\xc3\xa4 eight bits\r\n", SUBMIT_8BITMIME },
	{ "Subject: \xc3\xa4\r\n\r\nx\r\n", SUBMIT_SMTPUTF8 |
	    SUBMIT_8BITMIME },
	/* what a smtpd that was taken over could have cleanup store */
	{ "Subject: x\r\n\r\na\n.\nb\r.\rc\r\n.\n\n.\r\nd\r", 0 },
};
#define NMESSAGES (sizeof(messages) / sizeof(messages[0]))

static struct params params[NCONFIGURATIONS];
static struct smtp_config configs[NCONFIGURATIONS];
static int files[NMESSAGES];

/* --- the server --- */

static struct str server_says;
static struct buf client_said[CONNECTIONS];
static size_t connections;
/* Of the reply that was read last. */
static unsigned last_code;
static size_t said_before;	/* octets of the client when it was asked for */

static bool more(void *ctx, struct str *piece_r)
{
	size_t n = 0;
	char stop = 0;

	(void)ctx;
	for (;;) {
		struct str rest = server_says;

		for (n = 0; n < rest.n && rest.p[n] != '\001' &&
		    rest.p[n] != '\002'; n++)
			continue;
		*piece_r = str_sub(rest, 0, n);
		stop = n < rest.n ? rest.p[n] : '\002';
		if (stop == '\002' && n == 0) {
			server_says = str_from(rest, 1);
			return false;
		}
		server_says = str_from(rest, n + (stop == '\001'));
		if (n > 0)
			return true;
	}
}

int __wrap_net_connect(const struct net_addr *, const struct net_addr *,
    int64_t);
int __wrap_net_connect(const struct net_addr *to, const struct net_addr *from,
    int64_t deadline)
{
	(void)to;
	(void)from;
	(void)deadline;
	if (connections == CONNECTIONS || server_says.n == 0) {
		errno = ECONNREFUSED;
		return -1;
	}
	buf_init(&client_said[connections], 1 << 20);
	return wire_open(more, NULL, &client_said[connections++]);
}

enum reply_result __real_reply_read(struct stream *, struct reply *,
    reply_line_fn *, void *, size_t *);
enum reply_result __wrap_reply_read(struct stream *, struct reply *,
    reply_line_fn *, void *, size_t *);
enum reply_result __wrap_reply_read(struct stream *s, struct reply *r,
    reply_line_fn *fn, void *ctx, size_t *octets_r)
{
	enum reply_result got;

	stream_flush(s);
	said_before = stream_is_tls(s) ? 0 :
	    client_said[connections - 1].n;
	got = __real_reply_read(s, r, fn, ctx, octets_r);
	last_code = got == REPLY_OK ? r->code : 0;
	if (got == REPLY_OK) {
		fuzz_check(r->code >= 200 && r->code <= 599, "code %u",
		    r->code);
		fuzz_check(r->n <= REPLY_TEXT_MAX && r->text[r->n] == '\0' &&
		    !str_has_ctl(str_n(r->text, r->n)), "text of a reply");
	}
	return got;
}

/* --- the job --- */

static unsigned reports[RCPTS];
static size_t which_message;

/* What stands between "DATA" and the dot at the end is the message. */
static void check_content(struct str said)
{
	struct str want = str_of(messages[which_message].text), line;
	ssize_t from = -1, at;
	struct buf got;

	for (size_t i = 0; (at = str_find(str_from(said, i),
	    STR("DATA\r\n"))) >= 0; i += (size_t)at + 6)
		from = (ssize_t)i + at + 6;
	fuzz_check(from >= 0, "sent without DATA");
	said = str_from(said, (size_t)from);
	fuzz_check(str_ends(said, STR("\r\n.\r\n")) ||
	    str_eq_c(said, ".\r\n"), "sent, and the content has no end");
	for (size_t i = 0; i < said.n; i++)
		fuzz_check((said.p[i] == '\n') == (i > 0 &&
		    said.p[i - 1] == '\r'), "a bare CR or LF goes out");
	if (!str_is_ascii(want) || !str_ends(want, STR("\r\n")))
		return; /* it may have been recoded, or mended */
	buf_init(&got, 1 << 16);
	while (str_split(&said, '\n', &line)) {
		if (str_eq_c(line, ".\r"))
			break;
		buf_append(&got, line.n > 0 && line.p[0] == '.' ?
		    str_from(line, 1) : line);
		buf_append_char(&got, '\n');
	}
	fuzz_check_same("the content", want, buf_str(&got));
	buf_fini(&got);
}

static void report(const struct job *j, const struct rcpt *r,
    enum agent_status status, const struct outcome *o)
{
	(void)j;
	fuzz_check(r->index < RCPTS && ++reports[r->index] == 1,
	    "a recipient has two outcomes");
	fuzz_check(!str_has_ctl(o->text) && !str_has_ctl(o->diagnostic),
	    "a control octet in an outcome");
	if (status != AGENT_SENT) {
		fuzz_check(o->status.class != 2, "a failure of class 2");
		return;
	}
	fuzz_check(o->status.class == 2, "sent, but not of class 2");
	fuzz_check(last_code / 100 == 2, "sent after %u", last_code);
	fuzz_check(said_before == 0 || said_before <=
	    client_said[connections - 1].n, "a reply of another time");
	check_content(str_sub(buf_str(&client_said[connections - 1]), 0,
	    said_before));
}

static void resolve(void *ctx, struct dns_question *q, size_t n,
    struct arena *a, struct dns_reply *r)
{
	(void)ctx;
	(void)q;
	(void)a;
	for (size_t i = 0; i < n; i++)
		r[i] = (struct dns_reply){ .status = DNS_NXDOMAIN };
}

static void run_job(const struct deliver *d, size_t rcpts, bool lmtp)
{
	static struct str list[RCPTS] = { { "a@x.test", 8 },
		{ "b@x.test", 8 }, { "c@x.test", 8 }, { "d@x.test", 8 },
		{ "e@x.test", 8 } };
	static uint64_t numbers[RCPTS] = { 0, 1, 2, 3, 4 };
	struct agent_job m = { .job = 1, .queue_id = STR("ABC"),
		.transport = lmtp ? STR("lmtp") : STR("smtp"),
		.nexthop = STR("[127.0.0.1]:2525"), .sender = STR("s@y.test"),
		.flags = messages[which_message].flags, .arrival = 1,
		.active = 1, .rcpts = { list, rcpts },
		.indexes = { numbers, rcpts },
		.size = strlen(messages[which_message].text),
		.file = files[which_message] };
	struct arena *a = arena_new(2 << 20);
	struct job *j = job_new(&m, a, report, NULL);

	fuzz_check(j != NULL, "no job");
	memset(reports, 0, sizeof(reports));
	deliver(d, j);
	fuzz_check(j->left == 0, "%zu recipients are left", j->left);
	for (size_t i = 0; i < rcpts; i++)
		fuzz_check(reports[i] == 1, "recipient %zu has no outcome",
		    i);
	job_free(&j);
	arena_free(&a);
}

/* --- --- */

static int make_file(const char *text)
{
	struct queue_recipient rcpt = { .address = STR("r@x.test") };
	struct queue_envelope env = { .arrival = 1, .recipients = &rcpt,
		.recipient_count = 1 };
	struct queue_commit *c;
	char path[64] = "/dev/shm/postern-fuzz-XXXXXX";
	const char *why = "";
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0) {
		snprintf(path, sizeof(path), "/tmp/postern-fuzz-XXXXXX");
		fd = mkostemp(path, O_CLOEXEC);
	}
	fuzz_check(fd >= 0 && queue_commit_begin(&c, fd, 0xABC, 1 << 20) ==
	    0 && queue_commit_append(c, str_of(text)) == 0 &&
	    queue_commit(c, &env, &why) == 0, "no file: %s", why);
	queue_commit_end(&c);
	unlink(path);
	return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_mute_log();
	fake_arena = arena_new(16 << 20);
	for (size_t i = 0; i < NCONFIGURATIONS; i++) {
		struct str values[12] = { STR("myhostname=me.test"),
			STR("inet_protocols=ipv4") };
		const char *why;
		size_t n = 2;

		for (size_t k = 0; configurations[i][k] != NULL; k++)
			values[n++] = str_of(configurations[i][k]);
		fuzz_check(params_load(&params[i], values, n, fake_arena, &why) ==
		    0, "%s", why);
		fake_params = &params[i];
		fuzz_check(smtp_config_load(&configs[i], &params[i]) == 0,
		    "configuration %zu", i);
	}
	for (size_t i = 0; i < NMESSAGES; i++)
		files[i] = make_file(messages[i].text);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	struct deliver d = { .config = &configs[fuzz_number(&in,
	    NCONFIGURATIONS - 1)], .ask = resolve };
	bool lmtp = fuzz_bool(&in);
	size_t rcpts = fuzz_number(&in, RCPTS - 1) + 1;

	which_message = fuzz_number(&in, NMESSAGES - 1);
	server_says = fuzz_rest(&in);
	if (server_says.n > INPUT_MAX)
		return 0;
	connections = 0;
	fake_params = d.config->params;
	d.cache = cache_new();
	fuzz_budget_start();
	run_job(&d, rcpts, lmtp);
	run_job(&d, 1 + rcpts / 2, lmtp);
	cache_free(&d.cache);
	fuzz_check_heap(16 << 20);
	wire_end();
	while (connections > 0)
		buf_fini(&client_said[--connections]);
	fake_forget();
	fuzz_end();
	return 0;
}
