#include "base/log.h"
#include "service/service.h"
#include "smtpd/client.h"
#include "smtpd/command.h"

static void log_handshake(struct session *s, const struct tls_info *i)
{
	if (s->smtpd->params->smtpd_tls_loglevel > 0)
		log_info("Anonymous TLS connection established from " STR_FMT
			 ": %s with cipher %s (%d/%d bits)%s%s%s%s",
		    STR_ARG(s->client), i->protocol, i->cipher, i->bits,
		    i->bits, i->group != NULL ? " key-exchange " : "",
		    i->group != NULL ? i->group : "",
		    i->key_type != NULL && *i->key_type != '\0'
			? " server-signature "
			: "",
		    i->key_type != NULL ? i->key_type : "");
}

int session_start_tls(struct session *s)
{
	int64_t deadline = clock_now() +
	    s->smtpd->params->smtpd_starttls_timeout * CLOCK_SECOND;
	const char *why = "TLS is not configured";
	struct tls_info info;

	if (s->smtpd->tls == NULL ||
	    tls_accept(s->smtpd->tls, s->stream, deadline, &why) < 0) {
		log_info("SSL_accept error from " STR_FMT ": %s",
		    STR_ARG(s->client), why);
		log_info("lost connection after %s from " STR_FMT, s->where,
		    STR_ARG(s->client));
		return -1;
	}
	/* RFC 3207 4.2: nothing that was said before TLS counts. */
	session_enter(s, SESSION_GREETED);
	s->helo = STR_NONE;
	s->esmtp = false;
	s->login = s->login_method = STR_NONE;
	if (!tls_info(s->stream, &info))
		return -1;
	s->tls = arena_printf(s->arena, "%s with cipher %s (%d/%d bits)",
	    info.protocol, info.cipher, info.bits, info.bits);
	log_handshake(s, &info);
	return s->tls.n > 0 ? 0 : -1;
}

/* RFC 3207 4 */
void cmd_starttls(struct session *s, struct str arg)
{
	if (arg.n > 0) {
		session_reply(s, "501 5.5.4 Syntax: STARTTLS");
		return;
	}
	if (s->is_stdio || s->smtpd->tls == NULL) {
		session_reply(s, "502 5.5.1 Error: command not implemented");
		return;
	}
	if (s->tls.n > 0) {
		session_reply(s, "554 5.5.1 Error: TLS already active");
		return;
	}
	/* Plaintext behind the command must never be run under TLS
	 * (CVE-2011-0411). */
	if (!session_is_in_step(s))
		return;
	session_line(s, "220 2.0.0 Ready to start TLS");
	if (stream_flush(s->stream) != STREAM_OK || session_start_tls(s) < 0)
		session_enter(s, SESSION_CLOSING);
}
