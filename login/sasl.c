#include "base/base64.h"
#include "login/sasl.h"

void sasl_init(struct sasl *s)
{
	*s = (struct sasl){ .method = NULL };
	buf_init(&s->decoded, SASL_LINE_MAX);
}

void sasl_fini(struct sasl *s)
{
	if (s->decoded.p != NULL)
		explicit_bzero(s->decoded.p, s->decoded.cap);
	buf_fini(&s->decoded);
}

/* Appends a decoded response to the buffer; the view of it through *out_r
 * is an offset, for the buffer may move. */
static enum sasl_result decode(struct sasl *s, struct str text, size_t *at_r)
{
	*at_r = s->decoded.n;
	if (str_eq_c(text, "*"))
		return SASL_CANCELLED;
	if (text.n > 0 && base64_decode(text, &s->decoded) != 0)
		return SASL_MALFORMED;
	return SASL_DONE;
}

static enum sasl_result ask(struct sasl *s, struct stream *stream,
    const char *challenge, size_t *at_r, enum stream_result *result_r)
{
	struct stream_line line;

	stream_printf(stream, "+ %s\r\n", challenge);
	*result_r = stream_read_line(stream, SASL_LINE_MAX, &line);
	if (*result_r == STREAM_TOO_LONG)
		return SASL_MALFORMED;
	if (*result_r != STREAM_OK)
		return SASL_CLOSED;
	return decode(s, line.text, at_r);
}

/* The initial response or, if there was none, the answer to a challenge. */
static enum sasl_result first(struct sasl *s, struct stream *stream,
    struct str initial, const char *challenge, size_t *at_r,
    enum stream_result *result_r)
{
	if (initial.p == NULL)
		return ask(s, stream, challenge, at_r, result_r);
	if (str_eq_c(initial, "="))
		initial = STR("");
	return decode(s, initial, at_r);
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd */
static enum sasl_result run_plain(struct sasl *s, struct stream *stream,
    struct str initial, enum stream_result *result_r)
{
	struct str message, authzid;
	size_t at;
	enum sasl_result r = first(s, stream, initial, "", &at, result_r);

	if (r != SASL_DONE)
		return r;
	message = str_from(buf_str(&s->decoded), at);
	if (!str_split(&message, '\0', &authzid) || message.p == NULL ||
	    !str_split(&message, '\0', &s->user) || message.p == NULL)
		return SASL_MALFORMED;
	s->password = message;
	if (s->user.n == 0 || str_has_nul(message))
		return SASL_MALFORMED;
	if (authzid.n > 0 && !str_eq_nocase(authzid, s->user))
		return SASL_DENIED;
	return SASL_DONE;
}

static enum sasl_result run_login(struct sasl *s, struct stream *stream,
    struct str initial, enum stream_result *result_r)
{
	size_t user, password;
	enum sasl_result r = first(s, stream, initial, "VXNlcm5hbWU6", &user,
	    result_r);

	if (r == SASL_DONE)
		r = ask(s, stream, "UGFzc3dvcmQ6", &password, result_r);
	if (r != SASL_DONE)
		return r;
	s->user = str_sub(buf_str(&s->decoded), user, password - user);
	s->password = str_from(buf_str(&s->decoded), password);
	return s->user.n == 0 || str_has_nul(s->user) ||
	    str_has_nul(s->password) ? SASL_MALFORMED : SASL_DONE;
}

enum sasl_result sasl_run(struct sasl *s, struct stream *stream,
    struct str mechanism, struct str initial, enum stream_result *result_r)
{
	*result_r = STREAM_OK;
	if (str_eq_nocase_c(mechanism, "PLAIN")) {
		s->method = "PLAIN";
		return run_plain(s, stream, initial, result_r);
	}
	if (str_eq_nocase_c(mechanism, "LOGIN")) {
		s->method = "LOGIN";
		return run_login(s, stream, initial, result_r);
	}
	return SASL_UNKNOWN;
}
