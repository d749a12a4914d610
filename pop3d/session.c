#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "pop3d/commands.h"
#include "pop3d/emit.h"

/* A client that does not read what it asked for (microseconds). */
#define WRITE_TIMEOUT (300 * CLOCK_SECOND)
#define LOCK_WAIT 2		/* seconds */

static const char *const state_names[SESSION_STATE_COUNT] = {
	[SESSION_TRANSACTION] = "TRANSACTION",
	[SESSION_UPDATE] = "UPDATE",
	[SESSION_ENDED] = "ENDED",
};

/* The only function that changes the state. */
void session_enter(struct session *s, enum session_state next,
    const char *why)
{
	if (s->state == SESSION_ENDED)
		return;
	log_debug("user=<%s>, state %s -> %s (%s)", s->server->user,
	    state_names[s->state], state_names[next], why);
	s->state = next;
	if (next == SESSION_ENDED)
		s->ended_why = why;
}

static void __attribute__((format(printf, 3, 0)))
say(struct session *s, const char *status, const char *fmt, va_list ap)
{
	struct buf line;

	buf_init(&line, 512);
	buf_append_c(&line, status);
	buf_vprintf(&line, fmt, ap);
	/* RFC 2449 4: 512 octets with the CR LF; ours are far shorter. */
	buf_append_c(&line, "\r\n");
	if (line.failed || stream_write(s->stream, buf_str(&line)) < 0)
		session_enter(s, SESSION_ENDED, stream_why(s->stream));
	buf_fini(&line);
}

void session_ok(struct session *s, const char *fmt, ...)
{
	va_list ap;

	s->errors = 0;
	va_start(ap, fmt);
	say(s, "+OK ", fmt, ap);
	va_end(ap);
}

void session_err(struct session *s, const char *fmt, ...)
{
	va_list ap;

	s->errors++;
	va_start(ap, fmt);
	say(s, "-ERR ", fmt, ap);
	va_end(ap);
}

void session_line(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(s, "", fmt, ap);
	va_end(ap);
}

void session_dot(struct session *s)
{
	session_line(s, ".");
}

bool session_is_deleted(const struct session *s, uint32_t number)
{
	return s->deleted[number / 8] >> (number % 8) & 1;
}

uint32_t session_message(struct session *s, struct str arg)
{
	uint64_t number;

	if (str_to_u64(arg, UINT32_MAX, &number) < 0 || number == 0 ||
	    number > s->count) {
		session_err(s, "No such message: there are %u", s->count);
		return 0;
	}
	if (session_is_deleted(s, (uint32_t)number)) {
		session_err(s, "Message %u is deleted", (uint32_t)number);
		return 0;
	}
	return (uint32_t)number;
}

int session_need_sizes(struct session *s)
{
	uint64_t *sizes, total = 0;

	if (s->sizes != NULL)
		return 0;
	if ((sizes = calloc((size_t)s->count + 1, sizeof(*sizes))) == NULL) {
		session_err(s, "[SYS/TEMP] Not enough memory");
		return -1;
	}
	/* One that vanished meanwhile has no octets; RETR will say so. */
	for (uint32_t i = 1; i <= s->count; i++)
		if (mailbox_size(s->mailbox, i, &sizes[i]) == 0)
			total += sizes[i];
	s->sizes = sizes;
	s->total = total;
	return 0;
}

uint64_t session_send_message(struct session *s, uint32_t number,
    uint64_t lines, bool all)
{
	struct mailbox_text text;
	const char *why = "The message cannot be read";
	uint64_t octets, before, sent;
	int rc;

	if (mailbox_text_open(s->mailbox, number, &text, &why) < 0) {
		if (errno == ENOENT)
			session_err(s, "Message %u was removed by another "
			    "program", number);
		else
			session_err(s, "[SYS/TEMP] %s", why);
		return 0;
	}
	/* A message without a last line end gets one (RFC 1939 3). */
	octets = text.wire + (text.raw.n > 0 &&
	    text.raw.p[text.raw.n - 1] != '\n' ? 2 : 0);
	if (all)
		session_ok(s, "%llu octets", (unsigned long long)octets);
	else
		session_ok(s, "Top of message %u follows", number);
	before = stream_octets_out(s->stream);
	rc = emit_message(s->stream, text.raw, lines, all);
	sent = stream_octets_out(s->stream) - before;
	if (rc < 0)
		session_enter(s, SESSION_ENDED, stream_why(s->stream));
	else if (mailbox_text_is_whole(&text))
		session_dot(s);
	else /* what the client has is no message: it has no end */
		session_enter(s, SESSION_ENDED,
		    "a message was cut while it was sent");
	mailbox_text_close(s->mailbox, &text);
	return sent;
}

static void end_maildrop(struct session *s)
{
	mailbox_close(&s->mailbox);
	if (s->lock >= 0)
		sys_close(s->lock);
	s->lock = -1;
}

static void session_free(struct session *s)
{
	end_maildrop(s);
	stream_free(&s->stream);
	free(s->sizes);
	free(s->deleted);
	free(s);
}

struct session *session_new(const struct pop3d_server *server, int connection,
    struct str input)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->stream = stream_new(connection)) == NULL) {
		free(s);
		sys_close(connection);
		return NULL;
	}
	s->server = server;
	s->lock = -1;
	if (stream_push_input(s->stream, input) < 0) {
		session_free(s);
		return NULL;
	}
	stream_set_timeout(s->stream, server->idle_timeout, WRITE_TIMEOUT);
	stream_set_discard_max(s->stream, 8 * POP3_LINE_MAX);
	return s;
}

int session_fd(const struct session *s)
{
	return stream_fd(s->stream);
}

/*
 * RFC 1939 4: an exclusive lock before the TRANSACTION state. A client whose
 * connection broke comes again before its old session has noticed.
 */
static int open_maildrop(struct session *s)
{
	const char *why = "The mailbox cannot be opened";

	s->lock = store_lock_maildrop(s->server->store, LOCK_WAIT);
	if (s->lock < 0) {
		/* RFC 2449 8.1.1 and RFC 3206 4 */
		if (errno == EAGAIN)
			session_err(s, "[IN-USE] Another session has the "
			    "maildrop");
		else
			session_err(s, "[SYS/TEMP] The maildrop cannot be "
			    "locked");
		return -1;
	}
	if (mailbox_open(s->server->store, STR("INBOX"), MAILBOX_MAILDROP,
	    &s->mailbox, &why) < 0) {
		log_warn("user=<%s>: %s: %s", s->server->user, why,
		    strerror(errno));
		session_err(s, "[SYS/TEMP] %s", why);
		return -1;
	}
	s->count = mailbox_count(s->mailbox);
	s->deleted = calloc(s->count / 8 + 1, 1);
	if (s->deleted == NULL) {
		session_err(s, "[SYS/TEMP] Not enough memory");
		return -1;
	}
	return 0;
}

/* Words behind the verb. More than are allowed are counted, not kept. */
static size_t take_args(struct str rest, struct str args[POP3_ARGS_MAX])
{
	struct str word;
	size_t n = 0;

	while (str_word(&rest, " ", &word)) {
		if (n < POP3_ARGS_MAX)
			args[n] = word;
		n++;
	}
	return n;
}

static void run_line(struct session *s, struct str line)
{
	struct str args[POP3_ARGS_MAX], verb;
	const struct command *c;
	size_t n;

	/* NUL, CR and the like are in no command. */
	if (str_has_ctl(line) || !str_word(&line, " ", &verb)) {
		session_err(s, "This is not a command");
		return;
	}
	if ((c = command_find(verb)) == NULL) {
		session_err(s, "Unknown command");
		return;
	}
	n = take_args(line, args);
	if (n < c->least || n > c->most) {
		session_err(s, "Syntax: %s", c->syntax);
		return;
	}
	c->run(s, args, n);
}

static void serve(struct session *s)
{
	while (s->state == SESSION_TRANSACTION) {
		struct stream_line line;

		switch (stream_read_line(s->stream, POP3_LINE_MAX - 2,
		    &line)) {
		case STREAM_OK:
			run_line(s, line.text);
			break;
		case STREAM_TOO_LONG:
			session_err(s, "The line is too long");
			break;
		case STREAM_FLOOD:
			session_err(s, "The line is too long");
			session_enter(s, SESSION_ENDED, "an endless line");
			break;
		case STREAM_EOF:
			session_enter(s, SESSION_ENDED,
			    "Connection closed");
			break;
		case STREAM_TIMEOUT:
			/* RFC 1939 3: nothing is removed, nothing is said. */
			session_enter(s, SESSION_ENDED, "Inactivity");
			break;
		case STREAM_ERROR:
			session_enter(s, SESSION_ENDED,
			    stream_why(s->stream));
			break;
		}
		if (s->errors > POP3_ERRORS_MAX &&
		    s->state == SESSION_TRANSACTION) {
			session_err(s, "Too many errors");
			session_enter(s, SESSION_ENDED, "too many errors");
		}
	}
}

static void collect_deleted(const struct session *s, uint32_t *seqs)
{
	size_t n = 0;

	for (uint32_t i = 1; i <= s->count; i++)
		if (session_is_deleted(s, i))
			seqs[n++] = i;
}

/*
 * RFC 1939 6: the UPDATE state. The lock is given back before the answer, so
 * that a client that comes again at once finds the maildrop free.
 */
static void update(struct session *s)
{
	const char *why = "Not enough memory";
	uint32_t *seqs = NULL;
	int rc = 0;

	if (s->deleted_count > 0) {
		seqs = malloc(s->deleted_count * sizeof(*seqs));
		rc = -1;
		if (seqs != NULL) {
			collect_deleted(s, seqs);
			rc = mailbox_expunge(s->mailbox, seqs,
			    s->deleted_count, false, &why);
		}
		free(seqs);
	}
	end_maildrop(s);
	if (rc == 0) {
		session_ok(s, "Logging out, %u removed", s->deleted_count);
	} else {
		log_warn("user=<%s>: %s", s->server->user, why);
		session_err(s, "[SYS/TEMP] Some messages were not removed: "
		    "%s", why);
		s->deleted_count = 0;
	}
	session_enter(s, SESSION_ENDED, "Logged out");
}

void session_run(struct session *s)
{
	bool quit = false;

	if (open_maildrop(s) == 0) {
		session_ok(s, "Logged in, %u messages", s->count);
		serve(s);
		quit = s->state == SESSION_UPDATE;
		if (quit)
			update(s);
		else
			s->deleted_count = 0;
	} else {
		session_enter(s, SESSION_ENDED, "no maildrop");
	}
	stream_flush(s->stream);
	if (!quit)
		stream_linger(s->stream);
	/* as Dovecot's, for readers of the log */
	log_info("pop3(%s)<%d><%s>: Disconnected: %s top=%u/%llu, "
	    "retr=%u/%llu, del=%u/%u, size=%llu", s->server->user,
	    (int)getpid(), s->id, s->ended_why, s->top,
	    (unsigned long long)s->top_octets, s->retr,
	    (unsigned long long)s->retr_octets, s->deleted_count, s->count,
	    (unsigned long long)s->total);
	session_free(s);
}
