#include <stdio.h>
#include "base/log.h"
#include "login/client.h"
#include "login/main.h"
#include "net/tls.h"

bool client_may_login(const struct client *c)
{
	return c->may_plain || stream_is_tls(c->stream);
}

bool client_may_start_tls(const struct client *c)
{
	return login_tls() != NULL && !stream_is_tls(c->stream);
}

int client_start_tls(struct client *c)
{
	const char *why;

	if (tls_accept(login_tls(), c->stream, clock_now() +
	    LOGIN_HANDSHAKE_TIME, &why) == 0)
		return 0;
	c->end = why;
	return -1;
}

void client_describe(const struct client *c, struct buf *b)
{
	buf_append_c(b, "user=<");
	/* who reads the log looks for the bracket that ends it */
	for (const char *p = c->user; *p != '\0'; p++)
		buf_append_char(b, *p == '<' || *p == '>' ? '?' : *p);
	buf_append_c(b, ">, ");
	if (c->method != NULL)
		buf_printf(b, "method=%s, ", c->method);
	buf_printf(b, "rip=%s, lip=%s, ", c->remote, c->local);
	if (c->stream != NULL && stream_is_tls(c->stream))
		buf_append_c(b, "TLS, ");
	buf_printf(b, "session=<%s>", c->session_id);
}

void client_note(struct client *c, enum stream_result result)
{
	switch (result) {
	case STREAM_EOF:
		c->end = "Connection closed";
		break;
	case STREAM_TIMEOUT:
		c->end = "Inactivity";
		break;
	case STREAM_FLOOD:
		c->end = "Line too long";
		break;
	default:
		c->end = stream_why(c->stream);
	}
}

bool client_count_bad(struct client *c)
{
	if (++c->bad < (unsigned)c->params->login_error_limit)
		return false;
	c->end = "Too many invalid commands";
	return true;
}

bool client_is_http(struct str line)
{
	static const char *const verbs[] = { "GET ", "HEAD ", "POST ", "PUT ",
		"OPTIONS ", "DELETE ", "CONNECT ", "TRACE ", "PATCH " };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		struct str verb = str_of(verbs[i]), rest;

		if (!str_starts(line, verb))
			continue;
		/* "GET" might be an IMAP tag; no command begins so. */
		rest = str_from(line, verb.n);
		return rest.n > 0 && (rest.p[0] == '/' || rest.p[0] == '*' ||
		    str_find_nocase(rest, STR("HTTP/")) >= 0);
	}
	return false;
}
