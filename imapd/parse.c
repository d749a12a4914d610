#include <stdlib.h>
#include "imapd/parse.h"

int parse_fail(struct parse *p, const char *why)
{
	p->why = why;
	return -1;
}

/* One more line of this command, copied into the arena. */
static int read_line(struct parse *p)
{
	struct str line;

	p->line = STR_NONE;
	p->at = 0;
	switch (p->source->line(p->ctx, PARSE_LINE_MAX, &line)) {
	case PARSE_READ_OK:
		break;
	case PARSE_READ_LONG:
		p->too_long = true;
		return parse_fail(p, "Line is too long");
	case PARSE_READ_GONE:
		p->gone = true;
		return parse_fail(p, "Connection is over");
	}
	p->octets += line.n;
	if (p->octets <= PARSE_COMMAND_MAX)
		p->line = arena_str(p->arena, line);
	if (p->octets > PARSE_COMMAND_MAX || arena_failed(p->arena)) {
		/* A literal may be announced where the line ends. */
		p->line = STR_NONE;
		p->too_long = true;
		return parse_fail(p, "Command is too large");
	}
	if (str_has_nul(p->line))
		return parse_fail(p, "NUL is not allowed");
	return 0;
}

int parse_begin(struct parse *p)
{
	arena_reset(p->arena);
	p->why = NULL;
	p->gone = p->too_long = false;
	p->literals = 0;
	p->octets = 0;
	p->depth = 0;
	return read_line(p);
}

/*
 * A literal at the end of a line: {n} or {n+} (RFC 7888). False when there
 * is none; its number is bounded to 2^63.
 */
static bool line_literal(struct str line, uint64_t *size_r, bool *waits_r)
{
	ssize_t open = str_rchr(line, '{');
	struct str digits;

	if (open < 0 || line.p[line.n - 1] != '}')
		return false;
	digits = str_sub(line, (size_t)open + 1, line.n - (size_t)open - 2);
	*waits_r = true;
	if (digits.n > 0 && digits.p[digits.n - 1] == '+') {
		*waits_r = false;
		digits.n--;
	}
	if (str_to_u64(digits, INT64_MAX, size_r) == 0)
		return true;
	/* Too many digits for a number are still a literal. */
	for (size_t i = 0; i < digits.n; i++)
		if (!ascii_is_digit(digits.p[i]))
			return false;
	*size_r = INT64_MAX;
	return digits.n > 0;
}

int parse_skip(struct parse *p)
{
	uint64_t dropped = 0, size;
	struct str line = p->line;
	bool waits;

	if (p->gone || p->too_long)
		return -1;
	/* RFC 7888 section 4: an oversized {n+} is read and dropped, or
	 * the connection is closed. */
	while (line_literal(line, &size, &waits) && !waits) {
		if (size > PARSE_SKIP_MAX - dropped)
			return parse_fail(p, "Literal is too large");
		dropped += size;
		if (p->source->octets(p->ctx, NULL, size) < 0) {
			p->gone = true;
			return -1;
		}
		switch (p->source->line(p->ctx, PARSE_LINE_MAX, &line)) {
		case PARSE_READ_OK:
			break;
		case PARSE_READ_LONG:
			return parse_fail(p, "Line is too long");
		case PARSE_READ_GONE:
			p->gone = true;
			return -1;
		}
		if (line.n > PARSE_SKIP_MAX - dropped)
			return parse_fail(p, "Command is too large");
		dropped += line.n;
	}
	return 0;
}

int parse_peek(const struct parse *p)
{
	return p->at < p->line.n ? (unsigned char)p->line.p[p->at] : -1;
}

bool parse_at_end(const struct parse *p)
{
	return p->at == p->line.n;
}

bool parse_try(struct parse *p, char c)
{
	if (parse_peek(p) != (unsigned char)c)
		return false;
	p->at++;
	return true;
}

int parse_char(struct parse *p, char c)
{
	static const struct { char c; const char *why; } reasons[] = {
		{ ' ', "Expected a space" }, { '(', "Expected (" },
		{ ')', "Expected )" }, { '[', "Expected [" },
		{ ']', "Expected ]" }, { '<', "Expected <" },
		{ '>', "Expected >" }, { '.', "Expected a dot" },
	};

	if (parse_try(p, c))
		return 0;
	if (parse_at_end(p))
		return parse_fail(p, "Missing arguments");
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].c == c)
			return parse_fail(p, reasons[i].why);
	return parse_fail(p, "Syntax error");
}

int parse_space(struct parse *p)
{
	return parse_char(p, ' ');
}

int parse_end(struct parse *p)
{
	if (parse_at_end(p))
		return 0;
	return parse_fail(p, "Unexpected text at the end");
}

int parse_enter(struct parse *p)
{
	if (p->depth >= PARSE_DEPTH_MAX)
		return parse_fail(p, "Too deeply nested");
	p->depth++;
	return 0;
}

void parse_leave(struct parse *p)
{
	p->depth--;
}

/* RFC 3501 section 9: which octets each kind of word is made of. */
enum { ATOM = 1, ASTRING = 2, LIST = 4, TAG = 8 };

static unsigned char_class(int c)
{
	if (c <= ' ' || c >= 127)
		return 0;
	switch (c) {
	case '(': case ')': case '{': case '"': case '\\':
		return 0;
	case '%': case '*':
		return LIST;
	case ']':
		return ASTRING | LIST | TAG;
	case '+':
		return ATOM | ASTRING | LIST;
	default:
		return ATOM | ASTRING | LIST | TAG;
	}
}

static struct str take_run(struct parse *p, unsigned class)
{
	size_t from = p->at;

	while (p->at < p->line.n &&
	    (char_class((unsigned char)p->line.p[p->at]) & class) != 0)
		p->at++;
	return str_sub(p->line, from, p->at - from);
}

int parse_tag(struct parse *p, struct str *tag)
{
	*tag = take_run(p, TAG);
	if (tag->n == 0 || tag->n > PARSE_TAG_MAX)
		return parse_fail(p, "Invalid tag");
	return 0;
}

int parse_atom(struct parse *p, struct str *atom)
{
	*atom = take_run(p, ATOM);
	if (atom->n == 0)
		return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
		    "Expected an atom");
	return 0;
}

bool parse_try_word(struct parse *p, const char *word)
{
	size_t n = strlen(word);
	struct str rest = str_from(p->line, p->at);

	if (rest.n < n || !str_eq_nocase_c(str_sub(rest, 0, n), word))
		return false;
	if (rest.n > n && (char_class((unsigned char)rest.p[n]) & ATOM) != 0)
		return false;
	p->at += n;
	return true;
}

static int parse_quoted(struct parse *p, struct str *out)
{
	size_t from = ++p->at, n = 0;
	char *copy;

	while (p->at < p->line.n && p->line.p[p->at] != '"') {
		if (p->line.p[p->at] == '\\') {
			/* quoted = only \" and \\; RFC 3501 section 9 */
			if (p->at + 1 >= p->line.n ||
			    (p->line.p[p->at + 1] != '"' &&
			    p->line.p[p->at + 1] != '\\'))
				return parse_fail(p, "Bad escape in a string");
			p->at++;
		} else if (p->line.p[p->at] == '\r') {
			return parse_fail(p, "CR in a quoted string");
		}
		p->at++;
		n++;
	}
	if (parse_at_end(p))
		return parse_fail(p, "Missing \" at the end of a string");
	if (n == p->at - from) {
		*out = str_sub(p->line, from, n);
		p->at++;
		return 0;
	}
	if ((copy = arena_alloc(p->arena, n + 1)) == NULL)
		return parse_fail(p, "Command needs too much memory");
	*out = str_n(copy, n);
	for (size_t i = from; i < p->at; i++) {
		if (p->line.p[i] == '\\')
			i++;
		*copy++ = p->line.p[i];
	}
	p->at++;
	return 0;
}

int parse_literal_head(struct parse *p, uint64_t *size_r, bool *waits_r)
{
	if (parse_peek(p) == '~')
		return parse_fail(p, "Binary literals are not supported");
	if (parse_peek(p) != '{')
		return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
		    "Expected a literal");
	if (!line_literal(str_from(p->line, p->at), size_r, waits_r))
		return parse_fail(p, "Bad literal");
	for (size_t i = p->at + 1; i + 1 < p->line.n; i++)
		if (p->line.p[i] == '{' || p->line.p[i] == '}')
			return parse_fail(p, "Bad literal");
	p->at = p->line.n;
	return 0;
}

int parse_next_line(struct parse *p)
{
	return read_line(p);
}

static int parse_literal(struct parse *p, struct str *out)
{
	size_t start = p->at;
	uint64_t size;
	bool waits;
	char *copy;

	if (parse_literal_head(p, &size, &waits) < 0)
		return -1;
	p->at = start;	/* parse_skip() finds it when we refuse it */
	if (size > PARSE_LITERAL_MAX)
		return parse_fail(p, "Literal is too large");
	if (++p->literals > PARSE_LITERALS_MAX)
		return parse_fail(p, "Too many literals");
	if (size > PARSE_COMMAND_MAX - p->octets)
		return parse_fail(p, "Command is too large");
	p->octets += size;
	if ((copy = arena_alloc(p->arena, size + 1)) == NULL)
		return parse_fail(p, "Command needs too much memory");
	if ((waits && p->source->go_ahead(p->ctx) < 0) ||
	    p->source->octets(p->ctx, copy, size) < 0) {
		p->gone = true;
		return parse_fail(p, "Connection is over");
	}
	*out = str_n(copy, (size_t)size);
	if (read_line(p) < 0)
		return -1;
	if (str_has_nul(*out))
		return parse_fail(p, "NUL is not allowed");
	return 0;
}

int parse_string(struct parse *p, struct str *out)
{
	int c = parse_peek(p);

	if (c == '"')
		return parse_quoted(p, out);
	if (c == '{' || c == '~')
		return parse_literal(p, out);
	return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
	    "Expected a string");
}

int parse_nstring(struct parse *p, struct str *out)
{
	if (parse_try_word(p, "NIL")) {
		*out = STR_NONE;
		return 0;
	}
	return parse_string(p, out);
}

static int parse_word_or_string(struct parse *p, unsigned class,
    struct str *out)
{
	if (parse_peek(p) == '"' || parse_peek(p) == '{')
		return parse_string(p, out);
	*out = take_run(p, class);
	if (out->n == 0)
		return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
		    "Expected a string");
	return 0;
}

int parse_astring(struct parse *p, struct str *out)
{
	return parse_word_or_string(p, ASTRING, out);
}

int parse_list_mailbox(struct parse *p, struct str *out)
{
	return parse_word_or_string(p, LIST, out);
}

int parse_mailbox(struct parse *p, struct str *out)
{
	if (parse_astring(p, out) < 0)
		return -1;
	/* RFC 3501 section 5.1: INBOX is case-insensitive. */
	if (str_eq_nocase_c(*out, "INBOX"))
		*out = STR("INBOX");
	return 0;
}

int parse_number(struct parse *p, uint64_t max, uint64_t *value)
{
	size_t from = p->at;

	while (p->at < p->line.n && ascii_is_digit(p->line.p[p->at]))
		p->at++;
	if (p->at == from)
		return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
		    "Expected a number");
	if (str_to_u64(str_sub(p->line, from, p->at - from), max, value) < 0)
		return parse_fail(p, "Number is too large");
	return 0;
}

int parse_nz_number(struct parse *p, uint32_t *value)
{
	uint64_t v;

	if (parse_number(p, UINT32_MAX, &v) < 0)
		return -1;
	if (v == 0)
		return parse_fail(p, "Zero is not a message number");
	*value = (uint32_t)v;
	return 0;
}

static int parse_set_member(struct parse *p, uint32_t *value)
{
	if (parse_try(p, '*')) {
		*value = 0;
		return 0;
	}
	return parse_nz_number(p, value);
}

bool parse_at_set(const struct parse *p)
{
	int c = parse_peek(p);

	return c == '*' || (c >= '0' && c <= '9');
}

int parse_set(struct parse *p, struct set *set)
{
	size_t members = 1;

	for (size_t i = p->at; i < p->line.n && p->line.p[i] != ' ' &&
	    p->line.p[i] != ')'; i++)
		members += p->line.p[i] == ',';
	if (!parse_at_set(p))
		return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
		    "Expected a set of messages");
	set->n = 0;
	set->r = arena_array(p->arena, members, sizeof(*set->r));
	if (set->r == NULL)
		return parse_fail(p, "Command needs too much memory");
	do {
		struct range *r = &set->r[set->n++];

		if (parse_set_member(p, &r->lo) < 0)
			return -1;
		r->hi = r->lo;
		if (parse_try(p, ':') && parse_set_member(p, &r->hi) < 0)
			return -1;
	} while (parse_try(p, ','));
	return 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void set_resolve(struct set *set, uint32_t last)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct range r = set->r[i];

		if (last == 0 && (r.lo == 0 || r.hi == 0))
			continue;
		if (r.lo == 0)
			r.lo = last;
		if (r.hi == 0)
			r.hi = last;
		/* RFC 3501 section 9, seq-range: 4:2 is 2:4. */
		if (r.lo > r.hi)
			r = (struct range){ r.hi, r.lo };
		set->r[n++] = r;
	}
	set->n = n;
	if (n < 2)
		return;
	qsort(set->r, n, sizeof(*set->r), compare_ranges);
	n = 1;
	for (size_t i = 1; i < set->n; i++) {
		struct range *back = &set->r[n - 1];

		if (set->r[i].lo <= back->hi ||
		    set->r[i].lo == back->hi + 1) {
			if (set->r[i].hi > back->hi)
				back->hi = set->r[i].hi;
		} else {
			set->r[n++] = set->r[i];
		}
	}
	set->n = n;
}

bool set_has(const struct set *set, uint32_t value)
{
	size_t lo = 0, hi = set->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (value < set->r[mid].lo)
			hi = mid;
		else if (value > set->r[mid].hi)
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

int parse_flag(struct parse *p, struct str *flag)
{
	static const char *const system_flags[] = { "Seen", "Answered",
		"Flagged", "Deleted", "Draft" };
	size_t from = p->at;
	struct str name;

	if (!parse_try(p, '\\')) {
		if (parse_peek(p) == '(' || parse_peek(p) == ')')
			return parse_fail(p, "Expected a flag");
		if (parse_atom(p, flag) < 0)
			return -1;
		if (str_chr(*flag, ']') >= 0 || flag->n > 255)
			return parse_fail(p, "Invalid keyword");
		return 0;
	}
	name = take_run(p, ATOM);
	for (size_t i = 0; i < 5; i++)
		if (str_eq_nocase_c(name, system_flags[i])) {
			*flag = str_sub(p->line, from, p->at - from);
			return 0;
		}
	/* RFC 3501 section 2.3.2: \Recent is the server's alone. */
	if (str_eq_nocase_c(name, "Recent"))
		return parse_fail(p, "\\Recent cannot be changed");
	return parse_fail(p, "Invalid system flag");
}

int parse_date(struct parse *p, int64_t *days)
{
	struct str s;

	if (parse_peek(p) == '"') {
		if (parse_quoted(p, &s) < 0)
			return -1;
	} else if (parse_atom(p, &s) < 0) {
		return -1;
	}
	if (mail_date_parse_day(s, days) < 0)
		return parse_fail(p, "Invalid date");
	return 0;
}

int parse_date_time(struct parse *p, struct mail_date *date)
{
	struct str s;

	if (parse_peek(p) != '"')
		return parse_fail(p, "Expected a date");
	if (parse_quoted(p, &s) < 0)
		return -1;
	if (mail_date_parse_imap(s, date) < 0)
		return parse_fail(p, "Invalid date");
	return 0;
}
