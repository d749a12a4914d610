#include "base/base64.h"
#include "base/log.h"
#include "msgs/auth.h"
#include "service/service.h"
#include "smtpd/client.h"
#include "smtpd/command.h"

#define VERIFY_TIMEOUT (90 * CLOCK_SECOND)
/* A name or a password, octets. */
#define CREDENTIAL_MAX 1024

/* What the client has proved, or tries to. */
struct credentials {
	struct buf user, password;
};

/* An answer of the client after 334; false: the exchange is over. */
static bool ask(struct session *s, const char *challenge, struct buf *out)
{
	struct stream_line line;
	enum stream_result r;

	session_line(s, "334 %s", challenge);
	r = stream_read_line(s->stream, SESSION_LINE_MAX, &line);
	if (r == STREAM_TOO_LONG) { /* RFC 4954 4 */
		session_reply(s, "500 5.5.6 Authentication exchange line is "
				 "too long");
		return false;
	}
	if (r != STREAM_OK) {
		session_lost(s, r);
		return false;
	}
	if (str_eq_c(line.text, "*")) { /* RFC 4954 4: cancelled */
		session_reply(s, "501 5.7.0 Authentication aborted");
		return false;
	}
	if (base64_decode(line.text, out) < 0) {
		session_reply(s, "501 5.5.2 Malformed authentication data");
		return false;
	}
	return true;
}

/* The initial response: "=" is an empty one (RFC 4954 4). */
static bool take_initial(struct session *s, struct str text, struct buf *out)
{
	if (str_eq_c(text, "=") || base64_decode(text, out) == 0)
		return true;
	session_reply(s, "501 5.5.2 Malformed authentication data");
	return false;
}

static bool malformed(struct session *s)
{
	session_reply(s, "501 5.5.2 Malformed authentication data");
	return false;
}

/* [authzid] NUL authcid NUL passwd, RFC 4616 2 */
static bool split_plain(struct session *s, struct str text,
    struct credentials *c)
{
	struct str authzid, user, password;

	if (!str_split(&text, '\0', &authzid) ||
	    !str_split(&text, '\0', &user) || text.p == NULL)
		return malformed(s);
	password = text;
	if (buf_append(&c->user, user) < 0 ||
	    buf_append(&c->password, password) < 0)
		return malformed(s);
	/* Nobody acts for another, and no password has a NUL: both fail as
	 * a wrong password does. */
	if ((authzid.n > 0 && !str_eq(authzid, user)) ||
	    str_has_nul(password))
		buf_reset(&c->password);
	return true;
}

static bool do_plain(struct session *s, struct str initial,
    struct credentials *c)
{
	struct buf b;
	bool ok;

	buf_init(&b, SESSION_LINE_MAX);
	ok = initial.p != NULL ? take_initial(s, initial, &b)
			       : ask(s, "", &b);
	ok = ok && split_plain(s, buf_str(&b), c);
	if (b.p != NULL)
		explicit_bzero(b.p, b.cap);
	buf_fini(&b);
	return ok;
}

/* draft-murchison-sasl-login: "Username:", "Password:" in base64 */
static bool do_login(struct session *s, struct str initial,
    struct credentials *c)
{
	bool ok = initial.p != NULL
	    ? take_initial(s, initial, &c->user)
	    : ask(s, "VXNlcm5hbWU6", &c->user);

	return ok && ask(s, "UGFzc3dvcmQ6", &c->password);
}

/* Strangers' octets in a log line and an internal message. */
static bool is_sendable(struct str user)
{
	return user.n > 0 && user.n <= 255 && !str_has_ctl(user) &&
	    str_is_utf8(user);
}

static void failed(struct session *s, const char *method, struct str user,
    const char *why)
{
	const struct params *p = s->smtpd->params;

	log_warn(STR_FMT ": SASL %s authentication failed: %s"
			 ", sasl_username=" STR_FMT,
	    STR_ARG(s->client), method, why, STR_ARG(user));
	s->login_failures++;
	session_reply(s, "535 5.7.8 Error: authentication failed: %s", why);
	if (s->login_failures < (uint64_t)p->smtpd_login_failure_limit)
		return;
	log_info("too many errors after AUTH from " STR_FMT,
	    STR_ARG(s->client));
	session_line(s, "421 4.7.0 %s Error: too many errors", p->myhostname);
	session_enter(s, SESSION_CLOSING);
}

static void succeeded(struct session *s, const char *method, struct str user)
{
	s->login = arena_str(s->arena, user);
	s->login_method = str_of(method);
	if (s->login.p == NULL) {
		session_reply(s, "454 4.7.0 Temporary authentication failure");
		return;
	}
	s->login_failures = 0;
	session_reply(s, "235 2.7.0 Authentication successful");
}

static void verify(struct session *s, const char *method,
    struct credentials *c)
{
	struct verify_request q = {
		.user = buf_str(&c->user),
		.password = buf_str(&c->password),
		.service = STR("smtp"),
		.client_addr = str_of(s->address),
		.tls = s->tls.n > 0,
	};
	struct str domain = str_of(s->smtpd->params->smtpd_sasl_local_domain);
	struct verify_reply r;
	struct conv *conv;
	const char *why;

	if (!is_sendable(q.user) || q.password.n == 0) {
		failed(s, method, STR_NONE, "authentication failure");
		return;
	}
	if (domain.n > 0 && str_chr(q.user, '@') < 0) {
		buf_append_char(&c->user, '@');
		buf_append(&c->user, domain);
		q.user = buf_str(&c->user);
	}
	if (service_ask("auth", &verify_request_schema, &q,
		&verify_reply_schema, &r, VERIFY_TIMEOUT, &conv, &why) < 0) {
		log_warn("auth: %s", why);
		session_reply(s, "454 4.7.0 Temporary authentication failure: "
				 "Connection lost to authentication server");
		return;
	}
	if (r.status == AUTH_OK)
		succeeded(s, method, r.user);
	else if (r.status == AUTH_NO)
		failed(s, method, q.user, "authentication failure");
	else
		session_reply(s,
		    "454 4.7.0 Temporary authentication failure");
	conv_keep(&conv);
}

/* What the state table does not know: TLS, the configuration, the login. */
static bool may_start(struct session *s)
{
	if (s->is_stdio || !s->smtpd->params->smtpd_sasl_auth_enable) {
		session_reply(s, "503 5.5.1 Error: authentication not enabled");
		return false;
	}
	if (s->login.p != NULL) { /* RFC 4954 4 */
		session_reply(s, "503 5.5.1 Error: already authenticated");
		return false;
	}
	if (!session_may_login(s)) { /* RFC 4954 6 */
		session_reply(s, "538 5.7.11 Encryption required for "
				 "requested authentication mechanism");
		return false;
	}
	return client_may(s, LIMITS_AUTH, "AUTH command rate",
	    s->smtpd->params->smtpd_client_auth_rate_limit,
	    "too many AUTH commands");
}

/* RFC 4954 4: AUTH mechanism [initial-response] */
void cmd_auth(struct session *s, struct str arg)
{
	static const struct {
		const char *name;
		bool (*run)(struct session *, struct str initial,
		    struct credentials *);
	} mechanisms[] = {
		{ "PLAIN", do_plain }, /* RFC 4616 */
		{ "LOGIN", do_login },
	};
	const size_t n = sizeof(mechanisms) / sizeof(mechanisms[0]);
	struct credentials c;
	struct str name, initial = STR_NONE, more;
	size_t i = 0;

	if (!may_start(s))
		return;
	if (!str_word(&arg, " ", &name) ||
	    (str_word(&arg, " ", &initial) && str_word(&arg, " ", &more))) {
		session_reply(s, "501 5.5.4 Syntax: AUTH mechanism");
		return;
	}
	while (i < n && !str_eq_nocase_c(name, mechanisms[i].name))
		i++;
	if (i == n) { /* RFC 4954 4 */
		session_reply(s, "504 5.5.4 Unrecognized authentication type");
		return;
	}
	/* A challenge has to be waited for (RFC 4954 4). */
	if (initial.p == NULL && !session_is_in_step(s))
		return;
	buf_init(&c.user, CREDENTIAL_MAX);
	buf_init(&c.password, CREDENTIAL_MAX);
	if (mechanisms[i].run(s, initial, &c))
		verify(s, mechanisms[i].name, &c);
	if (c.password.p != NULL)
		explicit_bzero(c.password.p, c.password.cap);
	buf_fini(&c.user);
	buf_fini(&c.password);
}
