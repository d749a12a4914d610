/* RFC 5321 4.1.2 (paths, parameters), 4.1.3 (literals), RFC 6531 3.3 */
#include <arpa/inet.h>
#include "mail/charset.h"
#include "mail/path.h"

struct scan {
	struct str in;
	size_t at;
	unsigned options;
};

static bool is_atext(unsigned char c)
{
	/* RFC 5322 3.2.3; octets above 127: RFC 6531 3.3 */
	if (c >= 0x80)
		return true;
	if (ascii_is_alpha((char)c) || ascii_is_digit((char)c))
		return true;
	return c > 32 && c < 127 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

static int peek(const struct scan *s)
{
	return s->at < s->in.n ? (unsigned char)s->in.p[s->at] : -1;
}

/* RFC 5321 4.1.2 Dot-string: atoms, single dots between. */
static int scan_dot_string(struct scan *s, struct str *raw_r)
{
	size_t start = s->at;
	bool dot = true;	/* an atom must follow */

	for (;;) {
		int c = peek(s);

		if (c == '.') {
			if (dot)
				return -1;
			dot = true;
		} else if (c != -1 && is_atext((unsigned char)c)) {
			dot = false;
		} else {
			break;
		}
		s->at++;
	}
	if (dot)
		return -1;
	*raw_r = str_n(s->in.p + start, s->at - start);
	return 0;
}

/* RFC 5321 4.1.2 Quoted-string: gives what is between the quotes. */
static int scan_quoted(struct scan *s, struct str *raw_r)
{
	size_t start = ++s->at;

	for (; s->at < s->in.n; s->at++) {
		unsigned char c = (unsigned char)s->in.p[s->at];

		if (c == '"') {
			*raw_r = str_n(s->in.p + start, s->at - start);
			s->at++;
			return 0;
		}
		if (c == '\\') {
			if (++s->at == s->in.n)
				return -1;
			c = (unsigned char)s->in.p[s->at];
			if (c > 126)	/* quoted-pairSMTP: 32..126 */
				return -1;
		}
		if (c < 32 || c == 127)
			return -1;
	}
	return -1;
}

static struct str unquote(struct str raw, struct arena *arena)
{
	char *out = arena_alloc(arena, raw.n + 1);
	size_t n = 0;

	if (out == NULL)
		return STR_NONE;
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\\' && i + 1 < raw.n)
			i++;
		out[n++] = raw.p[i];
	}
	out[n] = '\0';
	return str_n(out, n);
}

int mail_literal_parse(struct str s, unsigned char address_r[16])
{
	char text[INET6_ADDRSTRLEN];

	if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return -1;
	s = str_n(s.p + 1, s.n - 2);
	memset(address_r, 0, 16);
	if (str_starts_nocase(s, STR("IPv6:"))) {
		if (str_to_c(str_from(s, 5), text, sizeof(text)) == -1 ||
		    inet_pton(AF_INET6, text, address_r) != 1)
			return -1;
		return 6;
	}
	if (str_to_c(s, text, sizeof(text)) == -1 ||
	    inet_pton(AF_INET, text, address_r) != 1)
		return -1;
	return 4;
}

/*
 * Code points that change how the text around them is shown or cut, and no
 * address needs: C1 controls, line and paragraph separators, bidirectional
 * overrides and isolates. In domains also what IDNA maps to a dot: a name is
 * split before it is mapped, by all alike or not at all.
 */
static bool has_bad_utf8(struct str s, bool domain)
{
	static const char *const dots[] = {
		"\xe3\x80\x82", "\xef\xbc\x8e", "\xef\xbd\xa1"
	};

	for (size_t i = 0; i + 1 < s.n; i++) {
		const unsigned char *p = (const unsigned char *)s.p + i;

		if (p[0] == 0xc2 && p[1] < 0xa0)
			return true;
		if (p[0] == 0xe2 && i + 2 < s.n &&
		    ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
		    (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
			return true;
		for (size_t k = 0; domain && i + 2 < s.n && k < 3; k++)
			if (memcmp(p, dots[k], 3) == 0)
				return true;
	}
	return false;
}

bool mail_domain_is_valid(struct str s, bool utf8)
{
	size_t label = 0;
	bool digits = true;	/* the label so far */

	if (s.n == 0 || s.n > MAIL_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i <= s.n; i++) {
		unsigned char c = i < s.n ? (unsigned char)s.p[i] : '.';

		if (c == '.') {
			if (label == 0 || label > MAIL_LABEL_MAX ||
			    s.p[i - 1] == '-')
				return false;
			/* No top level is a number: 127.0.0.1 without
			 * brackets is no domain. */
			if (i == s.n && digits)
				return false;
			label = 0;
			digits = true;
			continue;
		}
		if (c == '-' && label == 0)
			return false;
		/* "_" is in no host name, but in names that are in use. */
		if (c < 0x80 && !ascii_is_alpha((char)c) &&
		    !ascii_is_digit((char)c) && c != '-' && c != '_')
			return false;
		if (c >= 0x80 && !utf8)
			return false;
		if (!ascii_is_digit((char)c))
			digits = false;
		label++;
	}
	return str_is_ascii(s) || (str_is_utf8(s) && !has_bad_utf8(s, true));
}

/* Domain or address literal; without a trailing dot in *domain_r. */
static int scan_domain(struct scan *s, struct mail_path *path,
    struct str *domain_r)
{
	size_t start = s->at;
	struct str d;
	int c = peek(s);

	if (c == '[') {
		unsigned char address[16];
		int family;

		while (peek(s) != ']')
			if (peek(s) == -1 || ++s->at - start > 64)
				return -1;
		d = str_n(s->in.p + start, ++s->at - start);
		if ((family = mail_literal_parse(d, address)) == -1)
			return -1;
		if (path != NULL) {
			path->flags |= family == 4 ? MAIL_PATH_LITERAL4 :
			    MAIL_PATH_LITERAL6;
			memcpy(path->literal, address, sizeof(address));
		}
		*domain_r = d;
		return 0;
	}
	while ((c = peek(s)) != -1 && (c >= 0x80 || ascii_is_alpha((char)c) ||
	    ascii_is_digit((char)c) || c == '-' || c == '.' || c == '_'))
		s->at++;
	d = str_n(s->in.p + start, s->at - start);
	if (d.n > 1 && d.p[d.n - 1] == '.')
		d.n--;
	if (!mail_domain_is_valid(d, (s->options & MAIL_PATH_SMTPUTF8) != 0))
		return -1;
	*domain_r = d;
	return 0;
}

/* RFC 5321 4.1.2 A-d-l ":" - parsed and ignored (appendix C). */
static int skip_route(struct scan *s)
{
	struct str ignored;

	for (;;) {
		if (peek(s) != '@')
			return -1;
		s->at++;
		if (scan_domain(s, NULL, &ignored) == -1)
			return -1;
		if (peek(s) == ':') {
			s->at++;
			return 0;
		}
		if (peek(s) != ',')
			return -1;
		s->at++;
	}
}

static int scan_mailbox(struct scan *s, struct arena *arena,
    struct mail_path *path, struct str *raw_r)
{
	size_t start = s->at;
	bool lone;

	if (peek(s) == '"') {
		path->flags |= MAIL_PATH_QUOTED;
		if (scan_quoted(s, raw_r) == -1)
			return -1;
	} else if (scan_dot_string(s, raw_r) == -1) {
		return -1;
	}
	if (peek(s) == '@') {
		s->at++;
		if (scan_domain(s, path, &path->domain) == -1)
			return -1;
	} else {
		/* RFC 5321 4.1.1.3: <Postmaster> without a domain */
		lone = (s->options & MAIL_PATH_ANY_LOCAL) != 0 ||
		    (!(s->options & MAIL_PATH_SENDER) &&
		    str_eq_nocase_c(*raw_r, "postmaster"));
		if (!lone)
			return -1;
		path->flags |= MAIL_PATH_NO_DOMAIN;
	}
	path->local = unquote(*raw_r, arena);
	path->domain = arena_str(arena, path->domain);
	if (arena_failed(arena))
		return 0;	/* the caller asks the arena */
	return path->local.n == 0 || s->at - start >
	    ((s->options & MAIL_PATH_LONG) ? MAIL_PATH_LONG_MAX :
	    MAIL_PATH_MAX - 2) ? -1 : 0;
}

static int refuse(struct mail_refusal *why, int code, struct mail_status status,
    const char *text)
{
	*why = (struct mail_refusal){ code, status, text };
	return -1;
}

static int refuse_syntax(unsigned options, struct mail_refusal *why)
{
	if (options & MAIL_PATH_SENDER)
		return refuse(why, 501, MAIL_STATUS(5, 1, 7),
		    "Bad sender address syntax");
	return refuse(why, 501, MAIL_STATUS(5, 1, 3),
	    "Bad recipient address syntax");
}

/* What the octets may be and how many, once the form is right. */
static int check_mailbox(struct mail_path *path, struct str raw,
    unsigned options, struct arena *arena, struct mail_refusal *why)
{
	size_t max = options & MAIL_PATH_LONG ? MAIL_LOCAL_LONG_MAX :
	    MAIL_LOCAL_MAX;

	if (arena_failed(arena))
		return refuse(why, 452, MAIL_STATUS(4, 3, 1),
		    "Insufficient memory for this address");
	if (path->local.n > max || raw.n > 2 * max)
		return refuse_syntax(options, why);
	if (!str_is_ascii(path->local) || !str_is_ascii(path->domain)) {
		if (!str_is_utf8(path->local) ||
		    has_bad_utf8(path->local, false))
			return refuse_syntax(options, why);
		if (!(options & MAIL_PATH_SMTPUTF8))
			return refuse(why, 553, MAIL_STATUS(5, 6, 7),
			    "Internationalized address needs SMTPUTF8");
		path->flags |= MAIL_PATH_UTF8;
	}
	return 0;
}

/* U-labels in a session without SMTPUTF8 deserve their own answer. */
static int refuse_mailbox(const struct scan *s, struct mail_refusal *why)
{
	if (!(s->options & MAIL_PATH_SMTPUTF8) && !str_is_ascii(s->in)) {
		struct str line = s->in;
		ssize_t end = str_chr(line, '>');

		if (end != -1)
			line.n = (size_t)end;
		if (!str_is_ascii(line) && str_is_utf8(line))
			return refuse(why, 553, MAIL_STATUS(5, 6, 7),
			    "Internationalized address needs SMTPUTF8");
	}
	return refuse_syntax(s->options, why);
}

static int parse_bracketed(struct scan *s, struct arena *arena,
    struct mail_path *path, struct mail_refusal *why)
{
	struct str raw;

	s->at++;
	if (peek(s) == '>') {
		/* RFC 5321 4.5.5: the null reverse-path; never a recipient */
		if (!(s->options & MAIL_PATH_SENDER))
			return refuse_syntax(s->options, why);
		s->at++;
		path->flags = MAIL_PATH_NULL;
		return 0;
	}
	if (peek(s) == '@') {
		if (skip_route(s) == -1)
			return refuse_mailbox(s, why);
		path->flags |= MAIL_PATH_ROUTE;
	}
	if (scan_mailbox(s, arena, path, &raw) == -1 || peek(s) != '>')
		return refuse_mailbox(s, why);
	s->at++;
	return check_mailbox(path, raw, s->options, arena, why);
}

int mail_path_parse(struct str *rest, unsigned options, struct arena *arena,
    struct mail_path *path_r, struct mail_refusal *why_r)
{
	struct scan s = { .in = *rest, .options = options };
	struct str raw;

	*path_r = (struct mail_path){ .local = STR(""), .domain = STR("") };
	if (options & MAIL_PATH_SPACE)
		while (peek(&s) == ' ' || peek(&s) == '\t')
			s.at++;
	if (peek(&s) == '<') {
		if (parse_bracketed(&s, arena, path_r, why_r) == -1)
			return -1;
	} else if (!(options & MAIL_PATH_BARE) || peek(&s) == -1) {
		return refuse(why_r, 501, MAIL_STATUS(5, 5, 4),
		    options & MAIL_PATH_SENDER ?
		    "Syntax: MAIL FROM:<address>" :
		    "Syntax: RCPT TO:<address>");
	} else {
		if (scan_mailbox(&s, arena, path_r, &raw) == -1)
			return refuse_mailbox(&s, why_r);
		if (check_mailbox(path_r, raw, options, arena, why_r) == -1)
			return -1;
	}
	*rest = str_from(*rest, s.at);
	return 0;
}

int mail_path_parse_mailbox(struct str in, unsigned options,
    struct arena *arena, struct mail_path *path_r, struct mail_refusal *why_r)
{
	struct scan s = { .in = in, .options = options };
	struct str raw;

	*path_r = (struct mail_path){ .local = STR(""), .domain = STR("") };
	if (scan_mailbox(&s, arena, path_r, &raw) == -1 || s.at != in.n)
		return refuse_mailbox(&s, why_r);
	return check_mailbox(path_r, raw, options, arena, why_r);
}

static bool needs_quotes(struct str local)
{
	struct scan s = { .in = local };
	struct str raw;

	return scan_dot_string(&s, &raw) == -1 || s.at != local.n;
}

int mail_local_append(struct buf *b, struct str local)
{
	if (!needs_quotes(local))
		return buf_append(b, local);
	buf_append_char(b, '"');
	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			buf_append_char(b, '\\');
		buf_append_char(b, local.p[i]);
	}
	return buf_append_char(b, '"') == -1 || b->failed ? -1 : 0;
}

int mail_path_append(struct buf *b, struct str local, struct str domain)
{
	mail_local_append(b, local);
	if (domain.n > 0) {
		buf_append_char(b, '@');
		buf_append(b, domain);
	}
	return b->failed ? -1 : 0;
}

int mail_path_append_angle(struct buf *b, struct str local, struct str domain)
{
	buf_append_char(b, '<');
	if (local.n > 0 || domain.n > 0)
		mail_path_append(b, local, domain);
	buf_append_char(b, '>');
	return b->failed ? -1 : 0;
}

void mail_path_split(struct str address, struct str *local_r,
    struct str *domain_r)
{
	ssize_t at = str_rchr(address, '@');

	*local_r = at == -1 ? address : str_n(address.p, (size_t)at);
	*domain_r = at == -1 ? STR("") : str_from(address, (size_t)at + 1);
}

/* RFC 5321 4.1.2 esmtp-keyword: starts with a letter or digit. */
static bool is_keyword(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_alpha(s.p[i]) && !ascii_is_digit(s.p[i]) &&
		    (s.p[i] != '-' || i == 0))
			return false;
	return s.n > 0;
}

/* esmtp-value: 33..60, 62..126; UTF-8 with RFC 6531 3.3. */
static bool is_value(struct str s, bool utf8)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 32 || c == '=' || c == 127 || (c > 127 && !utf8))
			return false;
	}
	return s.n > 0 && str_is_utf8(s);
}

int mail_params_parse(struct str text, bool utf8, struct mail_params *params,
    struct mail_refusal *why)
{
	const struct mail_status bad = MAIL_STATUS(5, 5, 4);
	struct str word;
	ssize_t eq;

	params->count = 0;
	if (text.n > 0 && text.p[0] != ' ' && text.p[0] != '\t')
		return refuse(why, 501, bad, "Syntax error behind the address");
	while (str_word(&text, " \t", &word)) {
		struct mail_param p = { .key = word };

		if ((eq = str_chr(word, '=')) != -1) {
			p.key = str_n(word.p, (size_t)eq);
			p.value = str_from(word, (size_t)eq + 1);
			if (!is_value(p.value, utf8))
				return refuse(why, 501, bad,
				    "Bad parameter value");
		}
		if (!is_keyword(p.key))
			return refuse(why, 501, bad, "Bad parameter syntax");
		if (params->count == MAIL_PARAMS_MAX)
			return refuse(why, 555, bad, "Too many parameters");
		params->items[params->count++] = p;
	}
	for (unsigned i = 1; i < params->count; i++)
		for (unsigned k = 0; k < i; k++)
			if (str_eq_nocase(params->items[i].key,
			    params->items[k].key))
				return refuse(why, 501, bad,
				    "Parameter given twice");
	return 0;
}

const struct mail_param *mail_params_find(const struct mail_params *params,
    const char *key)
{
	for (unsigned i = 0; i < params->count; i++)
		if (str_eq_nocase_c(params->items[i].key, key))
			return &params->items[i];
	return NULL;
}

int mail_xtext_encode(struct str s, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c > 32 && c < 127 && c != '+' && c != '=') {
			buf_append_char(out, (char)c);
			continue;
		}
		buf_append_char(out, '+');
		buf_append_char(out, hex[c >> 4]);
		buf_append_char(out, hex[c & 15]);
	}
	return out->failed ? -1 : 0;
}

/* RFC 3461 4 hexchar: upper case only. */
static int hex_digit(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int mail_xtext_decode(struct str s, struct buf *out)
{
	size_t before = out->n;

	for (size_t i = 0; i < s.n; i++) {
		int c = (unsigned char)s.p[i];

		if (c == '+') {
			int hi = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
			int lo = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;

			if (hi == -1 || lo == -1)
				goto bad;
			c = hi << 4 | lo;
			i += 2;
			/* RFC 3461 4.4 and 5.4: printable US-ASCII */
			if (c < 32 || c > 126)
				goto bad;
		} else if (c <= 32 || c > 126 || c == '=') {
			goto bad;
		}
		if (buf_append_char(out, (char)c) == -1)
			goto bad;
	}
	return 0;
bad:
	buf_truncate(out, before);
	return -1;
}

/* RFC 6533 3: utf-8-addr-xtext, \x{HEX} for what xtext cannot say. */
static int decode_utf8_addr(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		uint32_t code = 0;
		size_t k;

		if (c == '\\' && i + 2 < s.n && s.p[i + 1] == 'x' &&
		    s.p[i + 2] == '{') {
			for (k = i + 3; k < s.n && k < i + 9 &&
			    hex_digit(s.p[k]) != -1; k++)
				code = code << 4 | (uint32_t)hex_digit(s.p[k]);
			if (k == i + 3 || k == s.n || s.p[k] != '}' ||
			    code < 32 || code > 0x10ffff ||
			    (code >= 0x7f && code < 0xa0) ||
			    (code >= 0xd800 && code < 0xe000))
				return -1;
			i = k;
			mail_utf8_append(out, code);
		} else if (c <= 32 || c == 127 || c == '\\' || c == '+' ||
		    c == '=') {
			return -1;
		} else {
			buf_append_char(out, (char)c);
		}
	}
	return out->failed || !str_is_utf8(buf_str(out)) ? -1 : 0;
}

int mail_orcpt_parse(struct str value, bool utf8, struct arena *arena,
    struct str *type_r, struct str *address_r)
{
	struct str type = value, text;
	ssize_t semi = str_chr(value, ';');
	struct buf b;
	int result;

	if (semi == -1)
		return -1;
	type.n = (size_t)semi;
	text = str_from(value, (size_t)semi + 1);
	/* RFC 3461 4.2: addr-type is an atom; 500 octets are enough. */
	if (!is_keyword(type) || text.n == 0 || value.n > 500)
		return -1;
	buf_init(&b, 512);
	if (utf8 && str_eq_nocase_c(type, "utf-8"))
		result = decode_utf8_addr(text, &b);
	else
		result = mail_xtext_decode(text, &b);
	if (result == 0) {
		*type_r = arena_str(arena, type);
		*address_r = arena_str(arena, buf_str(&b));
		result = arena_failed(arena) || address_r->n == 0 ? -1 : 0;
	}
	buf_fini(&b);
	return result;
}
