/*
 * imap.c - IMAP before login (RFC 3501 3.1), as one table
 */
#include <stdlib.h>
#include "base/arena.h"
#include "base/log.h"
#include "login/handover.h"
#include "login/imap_command.h"
#include "login/sasl.h"

#define ARENA_MAX (96 * 1024)
#define ID_PAIRS_MAX 30

struct session {
	struct client *client;
	struct stream *out;
	struct imap_command *command;
};

static void capabilities(const struct client *c, struct buf *b)
{
	/* RFC 3501 6.2.3, RFC 4959, RFC 7888 5 (literals are small here) */
	buf_append_c(b, "IMAP4rev1 SASL-IR ID LITERAL- IDLE ENABLE");
	if (client_may_start_tls(c))
		buf_append_c(b, " STARTTLS");
	if (client_may_login(c))
		buf_append_c(b, " AUTH=PLAIN AUTH=LOGIN");
	else
		buf_append_c(b, " LOGINDISABLED");
}

static void say_capabilities(struct session *s, const char *before,
    const char *after, const char *banner)
{
	struct buf b;

	buf_init(&b, 512);
	capabilities(s->client, &b);
	stream_printf(s->out, "%s%s%s%s\r\n", before, buf_cstr(&b), after,
	    banner);
	buf_fini(&b);
}

static void reply(struct session *s, const char *text)
{
	stream_printf(s->out, STR_FMT " %s\r\n", STR_ARG(s->command->tag),
	    text);
}

/* BAD, and at the third one BYE. */
static void reply_bad(struct session *s, const char *why)
{
	stream_printf(s->out, STR_FMT " BAD %s\r\n", STR_ARG(s->command->tag),
	    why);
	if (client_count_bad(s->client))
		stream_write_c(s->out, "* BYE Too many bad commands\r\n");
}

static void cmd_capability(struct session *s)
{
	say_capabilities(s, "* CAPABILITY ", "", "");
	reply(s, "OK Capability completed");
}

static void cmd_noop(struct session *s)
{
	reply(s, "OK Noop completed");
}

static void cmd_logout(struct session *s)
{
	stream_write_c(s->out, "* BYE Logging out\r\n");
	reply(s, "OK Logout completed");
	s->client->end = "Logged out";
	s->client->has_quit = true;
}

/* RFC 2971 3.1: what the client says of itself is not used; so much of it is
 * taken and no more. */
static void cmd_id(struct session *s)
{
	const struct imap_command *c = s->command;

	if (c->count == 1 ? c->args[0].kind != IMAP_ATOM ||
	    !str_eq_nocase_c(c->args[0].text, "NIL") :
	    c->count < 2 || c->args[0].kind != IMAP_OPEN ||
	    c->args[c->count - 1].kind != IMAP_CLOSE ||
	    c->count % 2 != 0) {
		reply_bad(s, "Syntax: ID NIL or ID (\"field\" \"value\" ...)");
		return;
	}
	if (c->count > 2 + 2 * ID_PAIRS_MAX) {
		reply_bad(s, "At most 30 fields");
		return;
	}
	stream_write_c(s->out, "* ID (\"name\" \"Postern\")\r\n");
	reply(s, "OK ID completed");
}

/* RFC 3501 6.2.1 */
static void cmd_starttls(struct session *s)
{
	if (!client_may_start_tls(s->client)) {
		reply_bad(s, stream_is_tls(s->out) ? "TLS is on already" :
		    "TLS is not available");
		return;
	}
	if (stream_input_pending(s->out)) {
		/* An injection, or a client that will not understand what
		 * follows: either way the end. */
		reply_bad(s, "Nothing may follow STARTTLS before TLS");
		s->client->end = "input behind STARTTLS";
		return;
	}
	reply(s, "OK Begin TLS negotiation now");
	(void)client_start_tls(s->client);
}

static void try_login(struct session *s, struct str user, struct str password,
    const char *method)
{
	struct client *c = s->client;

	c->method = method;
	switch (handover(c, user, password, s->command->tag)) {
	case HANDOVER_DONE:
		return;
	case HANDOVER_NO:
		/* RFC 5530 3: one text for all reasons */
		reply(s, "NO [AUTHENTICATIONFAILED] Authentication failed");
		break;
	case HANDOVER_TEMPFAIL:
		reply(s, "NO [UNAVAILABLE] Try again later");
		break;
	}
	if (c->attempts >= (unsigned)c->params->login_failure_limit) {
		stream_write_c(s->out, "* BYE Too many failed logins\r\n");
		c->end = "Too many failed logins";
	}
}

static bool refuse_plaintext(struct session *s)
{
	if (client_may_login(s->client))
		return false;
	/* RFC 3501 6.2.3, RFC 5530 3 */
	reply(s, "NO [PRIVACYREQUIRED] Log in under TLS only");
	return true;
}

/* RFC 3501 6.2.3 */
static void cmd_login(struct session *s)
{
	const struct imap_command *c = s->command;

	if (c->count != 2 || c->args[0].kind > IMAP_STRING ||
	    c->args[1].kind > IMAP_STRING) {
		reply_bad(s, "Syntax: LOGIN user password");
		return;
	}
	if (!refuse_plaintext(s))
		try_login(s, c->args[0].text, c->args[1].text, "PLAIN");
}

/* RFC 3501 6.2.2, RFC 4959 */
static void cmd_authenticate(struct session *s)
{
	const struct imap_command *c = s->command;
	enum stream_result result;
	struct sasl sasl;

	if (c->count < 1 || c->count > 2 || c->args[0].kind != IMAP_ATOM ||
	    (c->count == 2 && c->args[1].kind != IMAP_ATOM)) {
		reply_bad(s, "Syntax: AUTHENTICATE mechanism");
		return;
	}
	if (refuse_plaintext(s))
		return;
	sasl_init(&sasl);
	switch (sasl_run(&sasl, s->out, c->args[0].text, c->count == 2 ?
	    c->args[1].text : STR_NONE, &result)) {
	case SASL_DONE:
		try_login(s, sasl.user, sasl.password, sasl.method);
		break;
	case SASL_UNKNOWN:
		reply(s, "NO Mechanism not supported");
		if (client_count_bad(s->client))
			stream_write_c(s->out,
			    "* BYE Too many bad commands\r\n");
		break;
	case SASL_CANCELLED:
		reply_bad(s, "Authentication cancelled");
		break;
	case SASL_MALFORMED:
		reply_bad(s, "Bad response");
		break;
	case SASL_DENIED:
		reply(s, "NO [AUTHORIZATIONFAILED] Not as another user");
		s->client->attempts++;
		break;
	case SASL_CLOSED:
		client_note(s->client, result);
		break;
	}
	sasl_fini(&sasl);
}

static const struct imap_verb {
	const char *name;
	bool has_args;
	void (*run)(struct session *);
} verbs[] = {
	/* RFC 3501: 6.1.1, 6.1.2, 6.1.3, 6.2.1, 6.2.2, 6.2.3; RFC 2971 */
	{ "CAPABILITY", false, cmd_capability },
	{ "NOOP", false, cmd_noop },
	{ "LOGOUT", false, cmd_logout },
	{ "STARTTLS", false, cmd_starttls },
	{ "AUTHENTICATE", true, cmd_authenticate },
	{ "LOGIN", true, cmd_login },
	{ "ID", true, cmd_id },
};

static void run_command(struct session *s)
{
	const struct imap_command *c = s->command;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!str_eq_nocase_c(c->name, verbs[i].name))
			continue;
		if (!verbs[i].has_args && c->count > 0)
			reply_bad(s, "No arguments, please");
		else
			verbs[i].run(s);
		return;
	}
	reply_bad(s, "Unknown command, or log in first");
}

void imap_refuse(struct client *c, const char *why)
{
	stream_printf(c->stream, "* BYE [UNAVAILABLE] %s\r\n", why);
}

static void next_command(struct session *s, struct arena *arena)
{
	const struct imap_limits limits = { LOGIN_LINE_MAX,
		LOGIN_LITERAL_MAX };
	struct client *c = s->client;
	enum stream_result result;
	const char *why = NULL;
	enum imap_read got = imap_command_read(s->out, arena, &limits,
	    s->command, &why, &result);

	if (got != IMAP_READ_CLOSED && client_is_http(s->command->line)) {
		stream_write_c(s->out, "* BYE This is an IMAP server\r\n");
		c->end = "HTTP";
		return;
	}
	switch (got) {
	case IMAP_READ_OK:
		run_command(s);
		break;
	case IMAP_READ_BAD:
		reply_bad(s, why);
		break;
	case IMAP_READ_BYE:
		stream_printf(s->out, "* BYE %s\r\n", why);
		c->end = why;
		break;
	case IMAP_READ_CLOSED:
		if (service_stopping())
			break;	/* imap_run() says so */
		client_note(c, result);
		/* RFC 3501 5.4 */
		if (result == STREAM_TIMEOUT)
			stream_write_c(s->out,
			    "* BYE [UNAVAILABLE] Login timeout\r\n");
		break;
	}
}

void imap_run(struct client *c)
{
	/* Too large for the stack of many threads that only wait. */
	struct imap_command *command = malloc(sizeof(*command));
	struct arena *arena = arena_new(ARENA_MAX);
	struct session s = { .client = c, .out = c->stream,
		.command = command };

	if (command == NULL || arena == NULL) {
		imap_refuse(c, "No memory");
		c->end = "no memory";
		goto out;
	}
	say_capabilities(&s, "* OK [CAPABILITY ", "] ",
	    c->params->imap_banner);
	while (c->end == NULL && !c->handed_over) {
		if (service_stopping()) {
			imap_refuse(c, "Server is shutting down");
			c->end = "shutting down";
			break;
		}
		next_command(&s, arena);
		/* A password was in it. */
		arena_reset(arena);
	}
out:
	arena_free(&arena);
	free(command);
}
