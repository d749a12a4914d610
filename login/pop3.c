/*
 * pop3.c - POP3 before login (RFC 1939 4, the AUTHORIZATION state)
 */
#include "login/client.h"
#include "login/handover.h"
#include "login/sasl.h"

/* RFC 2449 4: 255 octets with the end of the line. */
#define COMMAND_MAX 253

struct session {
	struct client *client;
	struct stream *out;
	char user[256];		/* of USER, "" : none */
};

static void reply(struct session *s, const char *text)
{
	stream_printf(s->out, "%s\r\n", text);
}

static void reply_bad(struct session *s, const char *why)
{
	bool last = client_count_bad(s->client);

	stream_printf(s->out, "-ERR %s%s\r\n", why,
	    last ? "; too many bad commands" : "");
}

/* RFC 2449 5; what pop3d says after login is its affair. */
static void cmd_capa(struct session *s, struct str arg)
{
	(void)arg;
	stream_write_c(s->out, "+OK Capability list follows\r\n"
	    "TOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n");
	if (client_may_start_tls(s->client))
		stream_write_c(s->out, "STLS\r\n");
	if (client_may_login(s->client))
		stream_write_c(s->out, "USER\r\nSASL " SASL_MECHANISMS "\r\n");
	stream_write_c(s->out, "IMPLEMENTATION Postern\r\n.\r\n");
}

static void cmd_quit(struct session *s, struct str arg)
{
	(void)arg;
	reply(s, "+OK Bye");
	s->client->end = "Logged out";
	s->client->has_quit = true;
}

/* RFC 2595 4 */
static void cmd_stls(struct session *s, struct str arg)
{
	(void)arg;
	if (!client_may_start_tls(s->client)) {
		reply_bad(s, stream_is_tls(s->out) ? "TLS is on already" :
		    "TLS is not available");
		return;
	}
	if (stream_input_pending(s->out)) {
		reply_bad(s, "Nothing may follow STLS before TLS");
		s->client->end = "input behind STLS";
		return;
	}
	reply(s, "+OK Begin TLS negotiation now");
	s->user[0] = '\0';
	(void)client_start_tls(s->client);
}

static bool refuse_plaintext(struct session *s)
{
	if (client_may_login(s->client))
		return false;
	reply_bad(s, "Log in under TLS only");
	return true;
}

static void try_login(struct session *s, struct str user, struct str password,
    const char *method)
{
	struct client *c = s->client;

	c->method = method;
	switch (handover(c, user, password, STR(""))) {
	case HANDOVER_DONE:
		return;
	case HANDOVER_NO:
		/* RFC 3206 4 */
		reply(s, "-ERR [AUTH] Authentication failed");
		break;
	case HANDOVER_TEMPFAIL:
		reply(s, "-ERR [SYS/TEMP] Try again later");
		break;
	}
	if (c->attempts >= (unsigned)c->params->login_failure_limit)
		c->end = "Too many failed logins";
}

/* RFC 1939 7: the answer does not tell whether the user exists. */
static void cmd_user(struct session *s, struct str arg)
{
	if (refuse_plaintext(s))
		return;
	if (arg.n == 0 || str_to_c(arg, s->user, sizeof(s->user)) != 0) {
		s->user[0] = '\0';
		reply_bad(s, "Bad name");
		return;
	}
	reply(s, "+OK Password, please");
}

static void cmd_pass(struct session *s, struct str arg)
{
	char user[sizeof(s->user)];

	if (s->user[0] == '\0') {
		reply_bad(s, "USER first");
		return;
	}
	memcpy(user, s->user, sizeof(user));
	s->user[0] = '\0';
	try_login(s, str_of(user), arg, "PLAIN");
}

/* RFC 5034 4 */
static void cmd_auth(struct session *s, struct str arg)
{
	enum stream_result result;
	struct str mechanism, initial = STR_NONE;
	struct sasl sasl;

	if (refuse_plaintext(s))
		return;
	if (!str_word(&arg, " ", &mechanism)) {
		/* As clients of RFC 1734's time ask. */
		reply(s, "+OK\r\nPLAIN\r\nLOGIN\r\n.");
		return;
	}
	if (!str_word(&arg, " ", &initial))
		initial = STR_NONE;
	sasl_init(&sasl);
	switch (sasl_run(&sasl, s->out, mechanism, initial, &result)) {
	case SASL_DONE:
		try_login(s, sasl.user, sasl.password, sasl.method);
		break;
	case SASL_UNKNOWN:
		reply_bad(s, "Mechanism not supported");
		break;
	case SASL_CANCELLED:
		reply_bad(s, "Authentication cancelled");
		break;
	case SASL_MALFORMED:
		reply_bad(s, "Bad response");
		break;
	case SASL_DENIED:
		reply(s, "-ERR [AUTH] Not as another user");
		s->client->attempts++;
		break;
	case SASL_CLOSED:
		client_note(s->client, result);
		break;
	}
	sasl_fini(&sasl);
}

enum args { NONE, OPTIONAL, NEEDED };

static const struct pop3_verb {
	const char *name;
	enum args args;
	void (*run)(struct session *, struct str arg);
} verbs[] = {
	{ "CAPA", NONE, cmd_capa },	/* RFC 2449 5 */
	{ "STLS", NONE, cmd_stls },	/* RFC 2595 4 */
	{ "USER", NEEDED, cmd_user },	/* RFC 1939 7 */
	{ "PASS", OPTIONAL, cmd_pass },	/* RFC 1939 7; may have spaces */
	{ "AUTH", OPTIONAL, cmd_auth },	/* RFC 5034 4 */
	{ "QUIT", NONE, cmd_quit },	/* RFC 1939 4 */
};

static void run_command(struct session *s, struct str line)
{
	ssize_t space = str_chr(line, ' ');
	struct str name = space < 0 ? line : str_sub(line, 0, (size_t)space);
	struct str arg = space < 0 ? STR("") :
	    str_from(line, (size_t)space + 1);

	if (str_has_nul(line)) {
		reply_bad(s, "Bad octet in the command");
		return;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const struct pop3_verb *v = &verbs[i];

		if (!str_eq_nocase_c(name, v->name))
			continue;
		if ((v->args == NONE && arg.n > 0) ||
		    (v->args == NEEDED && arg.n == 0))
			reply_bad(s, v->args == NONE ? "No arguments, please" :
			    "Argument missing");
		else if (line.n > COMMAND_MAX && v->run != cmd_auth)
			reply_bad(s, "Command line too long");
		else
			v->run(s, arg);
		return;
	}
	/* RFC 1939 3: also what belongs to the TRANSACTION state, NOOP too. */
	reply_bad(s, "Unknown command, or log in first");
}

void pop3_refuse(struct client *c, const char *why)
{
	stream_printf(c->stream, "-ERR [SYS/TEMP] %s\r\n", why);
}

static void next_command(struct session *s)
{
	struct client *c = s->client;
	struct stream_line line;
	enum stream_result result = stream_read_line(s->out, LOGIN_LINE_MAX,
	    &line);

	if (result == STREAM_OK && client_is_http(line.text)) {
		stream_write_c(s->out, "-ERR This is a POP3 server\r\n");
		c->end = "HTTP";
	} else if (result == STREAM_OK) {
		run_command(s, line.text);
	} else if (result == STREAM_TOO_LONG) {
		reply_bad(s, "Command line too long");
	} else if (!service_stopping()) {
		client_note(c, result);
		if (result == STREAM_FLOOD)
			reply(s, "-ERR Command line too long");
	}
}

void pop3_run(struct client *c)
{
	struct session s = { .client = c, .out = c->stream };

	/* No <...>: there is no APOP (RFC 1939 7). */
	stream_printf(s.out, "+OK %s\r\n", c->params->pop3_banner);
	while (c->end == NULL && !c->handed_over) {
		if (service_stopping()) {
			pop3_refuse(c, "Server is shutting down");
			c->end = "shutting down";
			break;
		}
		next_command(&s);
	}
}
