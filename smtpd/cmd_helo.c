#include <stdio.h>
#include "smtpd/command.h"
#include "smtpd/policy.h"

/* RFC 5321 4.5.3.1.2: longer names than 255 octets are none. */
#define HELO_MAX 255

/*
 * One word that can stand in a Received: field and a log line. Nonsense is
 * tolerated (RFC 5321 4.1.4), what could break out of a line is not; what
 * else there is to say about the name is smtpd_helo_restrictions' business.
 */
static bool is_tolerable(struct str name)
{
	if (name.n == 0 || name.n > HELO_MAX || !str_is_utf8(name))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == ' ' || name.p[i] == '\t' ||
		    (unsigned char)name.p[i] < 32 || name.p[i] == 127)
			return false;
	return true;
}

/* What HELO and EHLO have in common; false: refused. */
static bool hello(struct session *s, struct str arg, const char *verb)
{
	if (!is_tolerable(arg)) {
		session_reply(s, "501 5.5.4 Syntax: %s hostname", verb);
		return false;
	}
	/* RFC 2920 3.1, and nothing may be pipelined after HELO at all. */
	if (!session_is_in_step(s))
		return false;
	/* RFC 5321 4.1.4: as if RSET had come, even when it is refused. */
	session_enter(s, SESSION_GREETED);
	if (!str_eq(s->helo, arg))
		s->helo = arena_str(s->arena, arg);
	if (arena_failed(s->arena)) {
		session_reply(s, "421 4.3.0 %s Error: out of memory",
		    s->smtpd->params->myhostname);
		session_enter(s, SESSION_CLOSING);
		return false;
	}
	if (!policy_permits(s, ACCESS_HELO, NULL))
		return false;
	session_enter(s, SESSION_READY);
	return true;
}

/* RFC 5321 4.1.1.1 */
void cmd_helo(struct session *s, struct str arg)
{
	if (!hello(s, arg, "HELO"))
		return;
	s->esmtp = false;
	session_reply(s, "250 %s", s->smtpd->params->myhostname);
}

static bool is_discarded(const struct session *s, const char *keyword)
{
	struct str list =
	    str_of(s->smtpd->params->smtpd_discard_ehlo_keywords);
	struct str word;

	while (str_word(&list, ", \t", &word))
		if (str_eq_nocase_c(word, keyword))
			return true;
	return false;
}

/*
 * Lines of the answer to EHLO: the last has a space where the others have a
 * hyphen, so each is held back until the next is known.
 */
struct offer {
	struct session *s;
	const char *held;
};

static void offer(struct offer *o, const char *line)
{
	char keyword[32];
	struct str word, rest = str_of(line);

	if (!str_word(&rest, " ", &word) ||
	    str_to_c(word, keyword, sizeof(keyword)) < 0 ||
	    is_discarded(o->s, keyword))
		return;
	session_line(o->s, "250-%s", o->held);
	o->held = line;
}

/* RFC 5321 4.1.1.1, RFC 2033 4.1 */
void cmd_ehlo(struct session *s, struct str arg)
{
	const struct params *p = s->smtpd->params;
	struct offer o = { s, p->myhostname };
	char size[32] = "SIZE"; /* RFC 1870 3: a limit that is not told */

	if (!hello(s, arg, session_is_lmtp(s) ? "LHLO" : "EHLO"))
		return;
	s->esmtp = true;
	if (p->message_size_limit > 0)
		snprintf(size, sizeof(size), "SIZE %lld",
		    (long long)p->message_size_limit);
	offer(&o, "PIPELINING"); /* RFC 2920 2 */
	offer(&o, size);	 /* RFC 1870 3 */
	/* RFC 3207 4.2: not once TLS is there. */
	if (s->smtpd->tls != NULL && s->tls.n == 0 && !s->is_stdio)
		offer(&o, "STARTTLS");
	if (session_may_login(s)) {
		offer(&o, "AUTH PLAIN LOGIN"); /* RFC 4954 3 */
		if (p->broken_sasl_auth_clients)
			offer(&o, "AUTH=PLAIN LOGIN");
	}
	offer(&o, "ENHANCEDSTATUSCODES"); /* RFC 2034 3 */
	offer(&o, "8BITMIME");		  /* RFC 6152 2 */
	offer(&o, "DSN");		  /* RFC 3461 3 */
	offer(&o, "SMTPUTF8");		  /* RFC 6531 3.1 */
	offer(&o, "CHUNKING");		  /* RFC 3030 2 */
	session_reply(s, "250 %s", o.held);
}
