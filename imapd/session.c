#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "imapd/commands.h"

/* A client that is in the middle of a command may be silent this long, and
 * one that does not read ours (both microseconds). */
#define COMMAND_TIMEOUT (300 * CLOCK_SECOND)
#define WRITE_TIMEOUT (300 * CLOCK_SECOND)

static const char *const state_names[SESSION_STATE_COUNT] = {
	[SESSION_AUTHENTICATED] = "AUTHENTICATED",
	[SESSION_SELECTED] = "SELECTED",
	[SESSION_ENDED] = "ENDED",
};

void session_enter(struct session *s, enum session_state state,
    const char *why)
{
	if (s->state == SESSION_ENDED)
		return;
	log_debug("user=<%s>, state %s -> %s (%s)", s->server->user,
	    state_names[s->state], state_names[state], why);
	s->state = state;
	if (state == SESSION_ENDED)
		s->ended_why = why;
}

bool session_gone(const struct session *s)
{
	return s->state == SESSION_ENDED;
}

static void lost(struct session *s)
{
	session_enter(s, SESSION_ENDED, stream_why(s->stream));
}

/* --- answers --- */

void session_say(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
	buf_append_c(&s->out, "\r\n");
	session_write_out(s);
}

void session_write_out(struct session *s)
{
	if (s->out.failed)
		session_enter(s, SESSION_ENDED, "an answer is too large");
	else if (stream_write(s->stream, buf_str(&s->out)) < 0)
		lost(s);
	buf_reset(&s->out);
}

static void __attribute__((format(printf, 3, 0)))
set_answer(struct session *s, const char *status, const char *fmt, va_list ap)
{
	struct buf text;

	buf_init(&text, PARSE_ARENA_MAX);
	buf_vprintf(&text, fmt, ap);
	s->status = status;
	s->answer = arena_str(s->arena, buf_str(&text));
	buf_fini(&text);
	if (s->answer.n == 0)
		s->answer = STR("Done, but out of memory to tell more");
}

void session_ok(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_answer(s, "OK", fmt, ap);
	va_end(ap);
}

void session_no(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_answer(s, "NO", fmt, ap);
	va_end(ap);
}

void session_bad(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_answer(s, "BAD", fmt, ap);
	va_end(ap);
}

/* RFC 5530 section 3 */
static const char *code_of(int error)
{
	switch (error) {
	case EINVAL: case ENAMETOOLONG:
		return "CANNOT";
	case ENOENT:
		return "NONEXISTENT";
	case EEXIST:
		return "ALREADYEXISTS";
	case ENOSPC: case EDQUOT: case EFBIG:
		return "OVERQUOTA";
	case E2BIG:
		return "LIMIT";
	case ESTALE:
		return "EXPUNGEISSUED";
	case EACCES: case EPERM: case EROFS:
		return "NOPERM";
	default:
		return "UNAVAILABLE";
	}
}

void session_no_store(struct session *s, int error, const char *why)
{
	const char *code = code_of(error);

	if (strcmp(code, "UNAVAILABLE") == 0)
		log_warn("user=<%s>: %s: %s", s->server->user,
		    why != NULL ? why : "mailbox", strerror(error));
	session_no(s, "[%s] %s", code, why != NULL ? why : strerror(error));
}

void session_bye(struct session *s, const char *text)
{
	if (session_gone(s))
		return;
	session_say(s, "* BYE %s", text);
	session_enter(s, SESSION_ENDED, text);
}

void session_append_name(struct buf *out, struct str name)
{
	/* What the store accepts needs at most quoting: quotes and
	 * backslashes are printable and so may be part of a name. */
	buf_append_char(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_append_char(out, '\\');
		buf_append_char(out, name.p[i]);
	}
	buf_append_char(out, '"');
}

/* --- input --- */

enum session_wait session_wait(struct session *s, int fd, int64_t deadline)
{
	struct pollfd fds[3] = {
		{ .fd = stream_fd(s->stream), .events = POLLIN },
		{ .fd = s->server->stop_fd, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};

	buf_shrink(&s->out, 1024);
	if (stream_flush(s->stream) != STREAM_OK) {
		lost(s);
		return SESSION_INPUT;
	}
	if (stream_buffered(s->stream) > 0)
		return SESSION_INPUT;
	stream_release(s->stream);
	for (;;) {
		int n = poll(fds, 3, clock_poll_ms(deadline));

		if (n < 0 && errno == EINTR)
			continue;
		/* A stop ends the input too: it would look like a client
		 * that went away. */
		if (fds[1].revents != 0)
			return SESSION_STOP;
		if (n < 0 || fds[0].revents != 0)
			return SESSION_INPUT;
		if (fds[2].revents != 0)
			return SESSION_CHANGE;
		if (n == 0 && clock_now() >= deadline)
			return SESSION_TICK;
	}
}

static enum parse_read read_line(void *ctx, size_t max, struct str *line_r)
{
	struct session *s = ctx;
	struct stream_line line;

	switch (stream_read_line(s->stream, max, &line)) {
	case STREAM_OK:
		*line_r = line.text;
		return PARSE_READ_OK;
	case STREAM_TOO_LONG: case STREAM_FLOOD:
		return PARSE_READ_LONG;
	case STREAM_EOF:
		/* Who only closed his half still listens; so does `login`,
		 * which ends the input when everything stops. */
		session_say(s, "* BYE End of input");
		session_enter(s, SESSION_ENDED, "Connection closed");
		return PARSE_READ_GONE;
	case STREAM_TIMEOUT:
		session_bye(s, "Timeout in the middle of a command");
		return PARSE_READ_GONE;
	case STREAM_ERROR:
		break;
	}
	lost(s);
	return PARSE_READ_GONE;
}

static int read_octets(void *ctx, char *p, uint64_t n)
{
	struct session *s = ctx;
	enum stream_result rc;

	rc = p != NULL ? stream_read_full(s->stream, p, (size_t)n) :
	    stream_skip(s->stream, n);
	if (rc == STREAM_OK)
		return 0;
	if (rc == STREAM_TIMEOUT)
		session_bye(s, "Timeout in the middle of a literal");
	lost(s);
	return -1;
}

/* RFC 3501 7.5 */
static int go_ahead(void *ctx)
{
	struct session *s = ctx;

	session_say(s, "+ OK");
	if (!session_gone(s) && stream_flush(s->stream) != STREAM_OK)
		lost(s);
	return session_gone(s) ? -1 : 0;
}

static const struct parse_source source = { read_line, read_octets,
	go_ahead };

/* --- commands --- */

static void refuse(struct session *s)
{
	s->bad_count++;
	if (s->tag.n > 0)
		session_say(s, STR_FMT " BAD %s", STR_ARG(s->tag),
		    s->parse.why);
	else
		session_say(s, "* BAD %s", s->parse.why);
	if (s->bad_count >= SESSION_BAD_MAX)
		session_bye(s, "Too many invalid commands");
}

/* A command that was not understood: its rest is dropped, then BAD. */
static void drop_command(struct session *s)
{
	const char *why = s->parse.why;

	if (parse_skip(&s->parse) < 0) {
		/* What follows could be anything: RFC 7888 section 4 leaves
		 * to close the connection. */
		if (!s->parse.gone)
			session_bye(s, s->parse.why);
		return;
	}
	s->parse.why = why;
	refuse(s);
}

static const struct command *read_verb(struct session *s)
{
	const struct command *c;
	struct str verb;

	if (parse_tag(&s->parse, &s->tag) < 0) {
		s->tag = STR_NONE;
		return NULL;
	}
	if (parse_space(&s->parse) < 0 || parse_atom(&s->parse, &verb) < 0)
		return NULL;
	if ((c = command_find(verb)) == NULL) {
		parse_fail(&s->parse, "Unknown command");
		return NULL;
	}
	if (c->states != 0 && (c->states & (1u << s->state)) == 0) {
		parse_fail(&s->parse, "No mailbox is selected");
		return NULL;
	}
	return c;
}

/* The first line. When it is refused as a whole, its tag may still be good
 * for the answer. */
static int begin(struct session *s)
{
	const char *why;

	s->tag = STR_NONE;
	s->uid = false;
	s->status = NULL;
	if (parse_begin(&s->parse) == 0)
		return 0;
	why = s->parse.why;
	if (parse_tag(&s->parse, &s->tag) < 0)
		s->tag = STR_NONE;
	s->parse.why = why;
	return -1;
}

static void run_command(struct session *s)
{
	const struct command *c;

	if (begin(s) < 0 || (c = read_verb(s)) == NULL || c->run(s) < 0) {
		if (!session_gone(s))
			drop_command(s);
		return;
	}
	if (s->status == NULL)	/* the session went away underneath */
		return;
	if (s->state == SESSION_SELECTED && (c->flags & COMMAND_NO_SYNC) == 0)
		session_sync(s, s->uid || (c->flags & COMMAND_NO_EXPUNGE) == 0);
	buf_append(&s->out, s->tag);
	buf_append_char(&s->out, ' ');
	buf_append_c(&s->out, s->status);
	buf_append_char(&s->out, ' ');
	buf_append(&s->out, s->answer);
	buf_append_c(&s->out, "\r\n");
	session_write_out(s);
	if (s->status[0] == 'O')
		s->bad_count = 0;
}

static void serve(struct session *s)
{
	while (!session_gone(s)) {
		int64_t deadline = clock_now() + s->server->idle_timeout;

		switch (session_wait(s, -1, deadline)) {
		case SESSION_INPUT:
			if (!session_gone(s))
				run_command(s);
			break;
		case SESSION_TICK:
			/* RFC 3501 5.4 */
			session_bye(s, "Autologout, idle for too long");
			break;
		case SESSION_STOP:
			session_bye(s, "[UNAVAILABLE] Server is shutting "
			    "down");
			break;
		case SESSION_CHANGE:
			break;
		}
	}
}

static void greet(struct session *s, struct str tag)
{
	buf_append(&s->out, tag);
	buf_append_c(&s->out, " OK [CAPABILITY ");
	session_capabilities(s, &s->out);
	buf_append_c(&s->out, "] Logged in\r\n");
	session_write_out(s);
}

static void enlist(struct session *s)
{
	struct session_list *list = s->server->sessions;

	pthread_mutex_lock(&list->lock);
	s->next = list->first;
	s->back = &list->first;
	if (s->next != NULL)
		s->next->back = &s->next;
	list->first = s;
	pthread_mutex_unlock(&list->lock);
}

static void delist(struct session *s)
{
	pthread_mutex_lock(&s->server->sessions->lock);
	if (s->back != NULL)
		*s->back = s->next;
	if (s->next != NULL)
		s->next->back = s->back;
	pthread_mutex_unlock(&s->server->sessions->lock);
}

int session_stop_all(const struct imapd_server *server)
{
	uint64_t one = 1;
	struct session *s;

	if (write(server->stop_fd, &one, sizeof(one)) < 0)
		return -1;
	pthread_mutex_lock(&server->sessions->lock);
	for (s = server->sessions->first; s != NULL; s = s->next)
		shutdown(stream_fd(s->stream), SHUT_RD);
	pthread_mutex_unlock(&server->sessions->lock);
	return 0;
}

static void session_free(struct session *s)
{
	delist(s);
	session_unselect(s);
	stream_free(&s->stream);
	arena_free(&s->arena);
	buf_fini(&s->out);
	free(s);
}

struct session *session_new(const struct imapd_server *server,
    int connection, struct str tag, struct str input, struct str id)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->stream = stream_new(connection)) == NULL)
		sys_close(connection);
	if (s != NULL) {
		s->server = server;
		if (str_to_c(id, s->id, sizeof(s->id)) < 0)
			s->id[0] = '\0';
		buf_init(&s->out, SESSION_OUT_MAX);
		s->arena = arena_new(PARSE_ARENA_MAX);
		s->parse = (struct parse){ .source = &source, .ctx = s,
			.arena = s->arena };
		if (s->stream != NULL && s->arena != NULL &&
		    stream_push_input(s->stream, input) == 0) {
			stream_set_timeout(s->stream, COMMAND_TIMEOUT,
			    WRITE_TIMEOUT);
			stream_set_discard_max(s->stream, PARSE_SKIP_MAX);
			enlist(s);
			greet(s, tag);
			return s;
		}
		session_free(s);
	}
	log_warn("user=<%s>: out of memory for a session", server->user);
	return NULL;
}

void session_run(struct session *s)
{
	serve(s);
	stream_linger(s->stream);
	/* as Dovecot's, for readers of the log */
	log_info("imap(%s)<%d><%s>: Disconnected: %s in=%llu out=%llu",
	    s->server->user, (int)getpid(), s->id, s->ended_why,
	    (unsigned long long)stream_octets_in(s->stream),
	    (unsigned long long)stream_octets_out(s->stream));
	session_free(s);
}
