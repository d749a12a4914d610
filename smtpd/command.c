/*
 * command.c - the command language as a table
 *
 * A row says in which states its command is refused, and how; where there
 * is no refusal the command runs. So no handler asks whose turn it is. (BDAT
 * alone runs in every state: its octets have to be swallowed even when it is
 * refused.)
 */
#include <stdio.h>
#include "base/log.h"
#include "smtpd/command.h"

enum {
	SMTP = 1, /* also submission */
	LMTP = 2,
	BOTH = SMTP | LMTP,
};

enum {
	PRE_TLS = 1, /* legal before STARTTLS where TLS is required */
	JUNK = 2,    /* moves no mail: only so many between messages */
	LOGIN = 4,   /* submission: only after AUTH, RFC 6409 4.3 */
};

struct command {
	const char *verb;
	unsigned protocols, flags;
	void (*run)(struct session *, struct str arg);
	const char *refusal[SESSION_STATE_COUNT];
};

#define HELLO_FIRST "503 5.5.1 Error: send HELO/EHLO first"
#define IN_TRANSACTION "503 5.5.1 Error: MAIL transaction in progress"
#define NESTED "503 5.5.1 Error: nested MAIL command"
#define MAIL_FIRST "503 5.5.1 Error: need MAIL command"
#define RCPT_FIRST "503 5.5.1 Error: need RCPT command"
#define NO_RCPT_SMTP "554 5.5.1 Error: no valid recipients"
#define NO_RCPT_LMTP "503 5.5.1 Error: no valid recipients" /* RFC 2033 4.2 */

#define DATA_REFUSALS(no_recipients) \
	{ [SESSION_GREETED] = HELLO_FIRST, [SESSION_READY] = RCPT_FIRST, \
	  [SESSION_MAIL] = (no_recipients), \
	  [SESSION_BDAT] = "503 5.5.1 Error: DATA after BDAT" }
#define OUTSIDE_TRANSACTION \
	{ [SESSION_MAIL] = IN_TRANSACTION, [SESSION_RCPT] = IN_TRANSACTION, \
	  [SESSION_BDAT] = IN_TRANSACTION }

/* In the order in which the log counts them. */
static const struct command commands[] = {
	/* RFC 5321 4.1.1.1 */
	{ "HELO", SMTP, PRE_TLS, cmd_helo, { NULL } },
	{ "EHLO", SMTP, PRE_TLS, cmd_ehlo, { NULL } },
	/* RFC 2033 4.1 */
	{ "LHLO", LMTP, PRE_TLS, cmd_ehlo, { NULL } },
	/* RFC 3207 4 */
	{ "STARTTLS", BOTH, PRE_TLS, cmd_starttls, OUTSIDE_TRANSACTION },
	/* RFC 4954 4 */
	{ "AUTH", BOTH, 0, cmd_auth,
	    { [SESSION_GREETED] = HELLO_FIRST,
	      [SESSION_MAIL] = IN_TRANSACTION,
	      [SESSION_RCPT] = IN_TRANSACTION,
	      [SESSION_BDAT] = IN_TRANSACTION } },
	/* RFC 5321 4.1.1.2 */
	{ "MAIL", BOTH, LOGIN, cmd_mail,
	    { [SESSION_GREETED] = HELLO_FIRST, [SESSION_MAIL] = NESTED,
	      [SESSION_RCPT] = NESTED, [SESSION_BDAT] = NESTED } },
	/* RFC 5321 4.1.1.3; RFC 3030 2: no RCPT once chunks came */
	{ "RCPT", BOTH, 0, cmd_rcpt,
	    { [SESSION_GREETED] = HELLO_FIRST, [SESSION_READY] = MAIL_FIRST,
	      [SESSION_BDAT] = "503 5.5.1 Error: RCPT after BDAT" } },
	/* RFC 5321 4.1.1.4, RFC 2033 4.2 */
	{ "DATA", SMTP, 0, cmd_data, DATA_REFUSALS(NO_RCPT_SMTP) },
	{ "DATA", LMTP, 0, cmd_data, DATA_REFUSALS(NO_RCPT_LMTP) },
	/* RFC 3030 2 */
	{ "BDAT", BOTH, 0, cmd_bdat, { NULL } },
	/* RFC 5321 4.1.1.5 */
	{ "RSET", BOTH, JUNK, cmd_rset, { NULL } },
	/* RFC 5321 4.1.1.9 */
	{ "NOOP", BOTH, PRE_TLS | JUNK, cmd_noop, { NULL } },
	/* RFC 5321 4.1.1.6, 3.5 */
	{ "VRFY", BOTH, JUNK | LOGIN, cmd_vrfy, { NULL } },
	/* RFC 5321 4.1.1.10 */
	{ "QUIT", BOTH, PRE_TLS, cmd_quit, { NULL } },
	/* RFC 5321 4.2.4: known, not done */
	{ "ETRN", BOTH, JUNK, cmd_not_done, { NULL } },
	{ "EXPN", BOTH, JUNK, cmd_not_done, { NULL } },
	{ "HELP", BOTH, JUNK, cmd_not_done, { NULL } },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))
#define UNKNOWN COMMAND_COUNT /* the slot that counts all others */

_Static_assert(COMMAND_COUNT < SESSION_COMMAND_MAX, "counters");

static size_t find(const struct session *s, struct str verb, bool *other_r)
{
	unsigned protocol = session_is_lmtp(s) ? LMTP : SMTP;

	*other_r = false;
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (!str_eq_nocase_c(verb, commands[i].verb))
			continue;
		if (commands[i].protocols & protocol)
			return i;
		*other_r = true;
	}
	return UNKNOWN;
}

/* Browsers and others that were led here (ALPACA): no conversation. */
static bool is_forbidden(const struct session *s, struct str verb)
{
	struct str list = str_of(s->smtpd->params->smtpd_forbidden_commands);
	struct str word;

	while (str_word(&list, ", \t", &word))
		if (str_eq_nocase(word, verb))
			return true;
	return false;
}

/*
 * The state whose refusals count: with smtpd_helo_required = no a client may
 * begin with MAIL (not RFC 5321 4.1.4, but what Postfix takes).
 */
static enum session_state state_for_refusal(const struct session *s)
{
	return s->state == SESSION_GREETED &&
		    s->protocol == SMTPD_SMTP &&
		    !s->smtpd->params->smtpd_helo_required
	    ? SESSION_READY
	    : s->state;
}

/* The refusal that the rows' flags ask for, or NULL. */
static const char *flags_refuse(const struct session *s,
    const struct command *c)
{
	/* RFC 3207 4 */
	if (s->smtpd->tls_required && s->tls.n == 0 && !s->is_stdio &&
	    !(c->flags & PRE_TLS))
		return "530 5.7.0 Must issue a STARTTLS command first";
	if (s->protocol == SMTPD_SUBMISSION && (c->flags & LOGIN) &&
	    s->login.p == NULL && !s->is_stdio &&
	    s->smtpd->params->smtpd_sasl_auth_enable)
		return "530 5.7.0 Authentication required";
	return NULL;
}

static void run_known(struct session *s, const struct command *c,
    struct str arg)
{
	const char *refusal = c->refusal[state_for_refusal(s)];

	if (c->flags & JUNK && !s->is_stdio &&
	    ++s->junk > (uint64_t)s->smtpd->params->smtpd_junk_command_limit) {
		log_info("too many errors after %s from " STR_FMT, s->where,
		    STR_ARG(s->client));
		session_reply(s, "421 4.7.0 %s Error: too many errors",
		    s->smtpd->params->myhostname);
		session_enter(s, SESSION_CLOSING);
		return;
	}
	if (refusal == NULL || flags_refuse(s, c) != NULL)
		refusal = flags_refuse(s, c);
	if (refusal != NULL)
		session_reply(s, "%s", refusal);
	else
		c->run(s, arg);
}

static void run_unknown(struct session *s, struct str verb, struct str line,
    bool other_protocol)
{
	s->where = "UNKNOWN";
	if (is_forbidden(s, verb)) {
		log_warn("non-SMTP command from " STR_FMT ": %.*s",
		    STR_ARG(s->client), line.n > 100 ? 100 : (int)line.n,
		    line.p);
		session_reply(s,
		    "221 2.7.0 Error: I can break rules, too. Goodbye.");
		session_enter(s, SESSION_CLOSING);
	} else if (other_protocol) {
		session_reply(s, "500 5.5.1 Error: not a command of %s",
		    session_is_lmtp(s) ? "LMTP" : "SMTP");
	} else {
		session_reply(s, "500 5.5.2 Error: command not recognized");
	}
}

void command_run(struct session *s, struct str line)
{
	struct str text = str_trim(line), verb, rest;
	bool other;
	size_t i;

	rest = text;
	if (!str_word(&rest, " \t", &verb)) {
		session_reply(s, "500 5.5.2 Error: bad syntax");
		return;
	}
	i = find(s, verb, &other);
	s->total[i]++;
	if (i == UNKNOWN) {
		run_unknown(s, verb, line, other);
		return;
	}
	s->where = commands[i].verb;
	s->was_refused = false;
	run_known(s, &commands[i], str_trim(rest));
	s->good[i] += !s->was_refused;
}

static void append_count(struct buf *out, const char *name, unsigned good,
    unsigned total)
{
	buf_append_char(out, ' ');
	for (; *name != '\0'; name++)
		buf_append_char(out, ascii_lower(*name));
	buf_printf(out, "=%u", good);
	if (good != total)
		buf_printf(out, "/%u", total);
}

void command_append_counts(const struct session *s, struct buf *out)
{
	unsigned good = 0, total = 0;

	for (size_t i = 0; i <= UNKNOWN; i++) {
		if (s->total[i] == 0)
			continue;
		append_count(out, i == UNKNOWN ? "unknown" : commands[i].verb,
		    s->good[i], s->total[i]);
		good += s->good[i];
		total += s->total[i];
	}
	append_count(out, "commands", good, total);
}
