#include "login/imap_command.h"

/* Where the tokens of a command are taken from. */
struct reader {
	struct stream *stream;
	struct arena *arena;
	const struct imap_limits *limits;
	struct imap_command *command;
	struct str rest;	/* of the present line; p NULL at its end */
	size_t literals;	/* octets so far */
	unsigned depth;
	const char *why;
	enum stream_result result;
};

static enum imap_read bad(struct reader *r, const char *why)
{
	r->why = why;
	return IMAP_READ_BAD;
}

/* RFC 3501 9: CHAR without atom-specials; "*" and "%" are let through, as
 * base64 and patterns need no case of their own here. */
static bool is_atom_char(char c)
{
	return c > ' ' && c < 127 && strchr("(){\"\\", c) == NULL;
}

static bool is_tag_char(char c)
{
	return is_atom_char(c) && strchr("+*%", c) == NULL;
}

static struct str take_while(struct str *rest, bool (*is)(char))
{
	struct str word = { rest->p, 0 };

	while (word.n < rest->n && is(rest->p[word.n]))
		word.n++;
	*rest = str_from(*rest, word.n);
	return word;
}

static enum imap_read add_arg(struct reader *r, enum imap_arg_kind kind,
    struct str text)
{
	struct imap_command *c = r->command;

	if (c->count == IMAP_ARGS_MAX)
		return bad(r, "Too many arguments");
	c->args[c->count++] = (struct imap_arg){ kind, text };
	return IMAP_READ_OK;
}

static enum imap_read take_quoted(struct reader *r)
{
	char *out = arena_alloc(r->arena, r->rest.n + 1);
	size_t n = 0, i = 1;

	if (out == NULL)
		return bad(r, "Command too large");
	for (; i < r->rest.n && r->rest.p[i] != '"'; i++) {
		char c = r->rest.p[i];

		if (c == '\\') {
			if (++i == r->rest.n)
				break;
			c = r->rest.p[i];
			if (c != '"' && c != '\\')
				return bad(r, "Bad escape in a string");
		}
		if (c == '\0' || c == '\r')
			return bad(r, "Bad octet in a string");
		out[n++] = c;
	}
	if (i >= r->rest.n)
		return bad(r, "Missing \"");
	/* RFC 6855: UTF-8, where 8-bit octets are sent at all. */
	if (!str_is_utf8(str_n(out, n)))
		return bad(r, "Bad octet in a string");
	r->rest = str_from(r->rest, i + 1);
	return add_arg(r, IMAP_STRING, str_n(out, n));
}

static enum imap_read read_line(struct reader *r)
{
	struct stream_line line;

	r->result = stream_read_line(r->stream, r->limits->line, &line);
	if (r->result == STREAM_FLOOD) {
		r->why = "Command line too long";
		return IMAP_READ_BYE;
	}
	if (r->result != STREAM_OK && r->result != STREAM_TOO_LONG)
		return IMAP_READ_CLOSED;
	r->rest = arena_str(r->arena, line.text);
	if (r->rest.p == NULL)
		return bad(r, "Command too large");
	return r->result == STREAM_TOO_LONG ?
	    bad(r, "Command line too long") : IMAP_READ_OK;
}

/* The n of spec, "{n}" or "{n+}" at the end of a line. 0, or -1: it is no
 * number; -2: it is no literal at all. */
static int literal_size(struct str spec, uint64_t *n_r, bool *sync_r)
{
	if (spec.n < 2 || spec.p[0] != '{' || spec.p[spec.n - 1] != '}')
		return -2;
	spec = str_sub(spec, 1, spec.n - 2);
	*sync_r = spec.n == 0 || spec.p[spec.n - 1] != '+';
	if (!*sync_r)
		spec.n--;
	return str_to_u64(spec, UINT64_MAX, n_r);
}

/* A literal, then the next line. */
static enum imap_read take_literal(struct reader *r)
{
	enum imap_read got;
	bool sync = true;
	uint64_t n = 0;
	char *p;

	switch (literal_size(r->rest, &n, &sync)) {
	case -2:
		return bad(r, "Bad literal");
	case -1:
		/* Not a number that we know, but octets will follow. */
		if (!sync) {
			r->why = "Literal too large";
			return IMAP_READ_BYE;
		}
		return bad(r, "Bad literal");
	}
	if (n > r->limits->literals - r->literals) {
		r->why = "Literal too large";
		/* RFC 7888 4: what the client sends anyway is not read. */
		return sync ? IMAP_READ_BAD : IMAP_READ_BYE;
	}
	r->literals += (size_t)n;
	if ((p = arena_alloc(r->arena, (size_t)n + 1)) == NULL)
		return bad(r, "Command too large");
	if (sync)
		stream_write_c(r->stream, "+ OK\r\n");
	r->result = stream_read_full(r->stream, p, (size_t)n);
	if (r->result != STREAM_OK)
		return IMAP_READ_CLOSED;
	if ((got = read_line(r)) != IMAP_READ_OK)
		return got;
	if (str_has_nul(str_n(p, (size_t)n)))
		return bad(r, "Bad octet in a string");
	return add_arg(r, IMAP_STRING, str_n(p, (size_t)n));
}

static enum imap_read take_token(struct reader *r)
{
	char c = r->rest.p[0];
	struct str atom;

	if (c == '"')
		return take_quoted(r);
	if (c == '{')
		return take_literal(r);
	if (c == '(' || c == ')') {
		/* No list of ours holds another (RFC 2971). */
		if ((c == '(') != (r->depth == 0))
			return bad(r, "Bad parentheses");
		r->depth += c == '(' ? 1u : -1u;
		r->rest = str_from(r->rest, 1);
		return add_arg(r, c == '(' ? IMAP_OPEN : IMAP_CLOSE, STR(""));
	}
	atom = take_while(&r->rest, is_atom_char);
	if (atom.n == 0)
		return bad(r, "Bad octet in the command");
	return add_arg(r, IMAP_ATOM, atom);
}

/* One space stands between two arguments, none inside of parentheses. */
static enum imap_read take_args(struct reader *r)
{
	enum imap_read got;

	while (r->rest.n > 0) {
		struct imap_command *c = r->command;
		bool opened = c->count > 0 &&
		    c->args[c->count - 1].kind == IMAP_OPEN;

		if (r->rest.p[0] == ' ')
			r->rest = str_from(r->rest, 1);
		else if (!opened && r->rest.p[0] != ')')
			return bad(r, "Missing space");
		if (r->rest.n == 0)
			return bad(r, "Missing argument");
		if ((got = take_token(r)) != IMAP_READ_OK)
			return got;
	}
	return r->depth == 0 ? IMAP_READ_OK : bad(r, "Missing )");
}

static enum imap_read take_command(struct reader *r)
{
	struct imap_command *c = r->command;
	enum imap_read got = read_line(r);
	struct str tag;

	if (got == IMAP_READ_CLOSED || got == IMAP_READ_BYE)
		return got;
	c->line = r->rest;
	tag = take_while(&r->rest, is_tag_char);
	if (tag.n == 0 || tag.n > IMAP_TAG_MAX || r->rest.n < 2 ||
	    r->rest.p[0] != ' ')
		return bad(r, got == IMAP_READ_BAD ? r->why : "Bad tag");
	c->tag = tag;
	if (got != IMAP_READ_OK)
		return got;
	r->rest = str_from(r->rest, 1);
	c->name = take_while(&r->rest, is_atom_char);
	if (c->name.n == 0)
		return bad(r, "Missing command");
	return take_args(r);
}

/*
 * Behind a mistake: literals that the client sends without waiting for us are
 * content still, never commands (RFC 7888 4).
 */
static enum imap_read skip_literals(struct reader *r)
{
	const char *why = r->why;
	enum imap_read got = IMAP_READ_BAD;

	for (;;) {
		ssize_t open = str_rchr(r->rest, '{');
		bool sync = true;
		uint64_t n;

		/* (where a line was cut its end is not known) */
		if (r->result == STREAM_TOO_LONG || open < 0 ||
		    literal_size(str_from(r->rest, (size_t)open), &n,
			&sync) != 0 || sync)
			break;
		if (n > r->limits->literals - r->literals) {
			why = "Literal too large";
			got = IMAP_READ_BYE;
			break;
		}
		r->literals += (size_t)n;
		r->result = stream_skip(r->stream, n);
		if (r->result != STREAM_OK)
			return IMAP_READ_CLOSED;
		got = read_line(r);
		if (got == IMAP_READ_CLOSED || got == IMAP_READ_BYE)
			return got;
		got = IMAP_READ_BAD;
	}
	r->why = why;
	return got;
}

enum imap_read imap_command_read(struct stream *s, struct arena *arena,
    const struct imap_limits *limits, struct imap_command *c,
    const char **why_r, enum stream_result *result_r)
{
	struct reader r = { .stream = s, .arena = arena, .limits = limits,
		.command = c };
	enum imap_read got;

	*c = (struct imap_command){ .tag = STR("*"), .name = STR("") };
	got = take_command(&r);
	if (got == IMAP_READ_BAD)
		got = skip_literals(&r);
	*why_r = r.why;
	*result_r = r.result;
	return got;
}
