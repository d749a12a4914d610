#include "config/expand.h"

struct expansion {
	expand_lookup_fn *lookup;
	void *ctx;
	unsigned depth, steps;
	const char *why;
};

static int expand(struct expansion *, struct str, struct buf *);

static int fail(struct expansion *x, const char *why)
{
	if (x->why == NULL)
		x->why = why;
	return -1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_';
}

static void skip_space(struct str *s)
{
	while (s->n > 0 && is_space(*s->p))
		*s = str_from(*s, 1);
}

/* Octets up to the one that closes what s begins with; -1: none does. */
static ssize_t find_close(struct str s, char open, char close)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == open)
			depth++;
		else if (s.p[i] == close && --depth == 0)
			return (ssize_t)i;
	return -1;
}

static struct str take_name(struct str *s)
{
	size_t n = 0;
	struct str name;

	while (n < s->n && is_name(s->p[n]))
		n++;
	name = str_sub(*s, 0, n);
	*s = str_from(*s, n);
	return name;
}

/* "{text}" at the front, without its braces and the space around it. */
static int take_braced(struct expansion *x, struct str *s, struct str *text)
{
	ssize_t end;

	skip_space(s);
	if (s->n == 0 || *s->p != '{')
		return fail(x, "want {text} there");
	if ((end = find_close(*s, '{', '}')) < 0)
		return fail(x, "a { is not closed");
	*text = str_trim(str_sub(*s, 1, (size_t)end - 1));
	*s = str_from(*s, (size_t)end + 1);
	skip_space(s);
	return 0;
}

static int expand_name(struct expansion *x, struct str name, struct buf *out)
{
	struct str value;

	if (name.n == 0)
		return fail(x, "a $ without a name (write $$ for the sign)");
	if (++x->steps > EXPAND_STEPS)
		return fail(x, "too many $names inside $names");
	return x->lookup(name, &value, x->ctx) ? expand(x, value, out) : 0;
}

enum operator { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

static const struct {
	const char *text;
	enum operator op;
	bool is_level;
} operators[] = {
	/* longest first */
	{ "==level", OP_EQ, true }, { "!=level", OP_NE, true },
	{ "<=level", OP_LE, true }, { ">=level", OP_GE, true },
	{ "<level", OP_LT, true }, { ">level", OP_GT, true },
	{ "==", OP_EQ, false }, { "!=", OP_NE, false },
	{ "<=", OP_LE, false }, { ">=", OP_GE, false },
	{ "<", OP_LT, false }, { ">", OP_GT, false },
};

static int compare_numbers(struct str a, struct str b)
{
	uint64_t x, y;

	if (str_to_u64(a, UINT64_MAX, &x) < 0 ||
	    str_to_u64(b, UINT64_MAX, &y) < 0)
		return str_cmp(a, b);
	return x < y ? -1 : x > y;
}

/* "3.10" is above "3.9"; a part that is not there counts as 0. */
static int compare_levels(struct str a, struct str b)
{
	struct str x, y;
	int diff = 0;

	for (int i = 0; i < 3 && diff == 0; i++) {
		if (!str_split(&a, '.', &x) || x.n == 0)
			x = STR("0");
		if (!str_split(&b, '.', &y) || y.n == 0)
			y = STR("0");
		diff = compare_numbers(x, y);
	}
	return diff;
}

static bool holds(enum operator op, int diff)
{
	switch (op) {
	case OP_EQ: return diff == 0;
	case OP_NE: return diff != 0;
	case OP_LT: return diff < 0;
	case OP_LE: return diff <= 0;
	case OP_GT: return diff > 0;
	case OP_GE: return diff >= 0;
	}
	return false;
}

/* {text} op {text} at the front. 1 true, 0 false, -1. */
static int expand_comparison(struct expansion *x, struct str *s)
{
	struct buf left, right;
	struct str text[2];
	size_t i;
	int ret = -1;

	buf_init(&left, EXPAND_SIZE);
	buf_init(&right, EXPAND_SIZE);
	if (take_braced(x, s, &text[0]) < 0)
		goto out;
	for (i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
		if (str_starts(*s, str_of(operators[i].text)))
			break;
	if (i == sizeof(operators) / sizeof(operators[0])) {
		fail(x, "want == != < <= > or >= there");
		goto out;
	}
	*s = str_from(*s, strlen(operators[i].text));
	if (take_braced(x, s, &text[1]) < 0 ||
	    expand(x, text[0], &left) < 0 || expand(x, text[1], &right) < 0)
		goto out;
	ret = holds(operators[i].op, operators[i].is_level
		? compare_levels(buf_str(&left), buf_str(&right))
		: compare_numbers(buf_str(&left), buf_str(&right)));
out:
	buf_fini(&left);
	buf_fini(&right);
	return ret;
}

/* Whether the name's value has any octet. */
static int test_name(struct expansion *x, struct str name)
{
	struct buf value;
	int ret;

	buf_init(&value, EXPAND_SIZE);
	ret = expand_name(x, name, &value);
	if (ret == 0 && value.failed)
		ret = fail(x, "the value is too long");
	if (ret == 0)
		ret = value.n > 0;
	buf_fini(&value);
	return ret;
}

/*
 * What follows a condition: "?text", ":text", "?{a}:{b}", "?{a}", ":{b}".
 * Text without braces reaches to the end.
 */
static int expand_choice(struct expansion *x, bool is_true, struct str s,
    struct buf *out)
{
	struct str yes = STR_NONE, no = STR_NONE;
	char mark = *s.p;
	struct str rest = str_from(s, 1), ahead = rest;

	skip_space(&ahead);
	if (ahead.n == 0 || *ahead.p != '{') {
		if (mark == '?')
			yes = rest;
		else
			no = rest;
		return expand(x, is_true ? yes : no, out);
	}
	if (take_braced(x, &ahead, mark == '?' ? &yes : &no) < 0)
		return -1;
	if (mark == '?' && ahead.n > 0 && *ahead.p == ':') {
		ahead = str_from(ahead, 1);
		if (take_braced(x, &ahead, &no) < 0)
			return -1;
	}
	if (ahead.n > 0)
		return fail(x, "text behind {text}");
	return expand(x, is_true ? yes : no, out);
}

/* What is between ${ and }, or $( and ). */
static int expand_group(struct expansion *x, struct str s, struct buf *out)
{
	struct str name;
	int is_true;

	skip_space(&s);
	if (s.n > 0 && *s.p == '{') {
		if ((is_true = expand_comparison(x, &s)) < 0)
			return -1;
		if (s.n == 0)
			return is_true ? buf_append_c(out, "bool:true") : 0;
	} else {
		name = take_name(&s);
		skip_space(&s);
		if (s.n == 0)
			return expand_name(x, name, out);
		if (*s.p != '?' && *s.p != ':')
			return fail(x, name.n == 0 ? "want a name after ${" :
			    "want ? or : after a name in ${ }; what is "
			    "compared stands in braces: ${{$a} == {b} ? {c} : {d}}");
		if ((is_true = test_name(x, name)) < 0)
			return -1;
	}
	if (*s.p != '?' && *s.p != ':')
		return fail(x, "want ? or : after a condition");
	return expand_choice(x, is_true, s, out);
}

static int expand(struct expansion *x, struct str s, struct buf *out)
{
	ssize_t at, end;
	char open;
	int ret = 0;

	if (++x->depth > EXPAND_DEPTH)
		return fail(x, "a $name refers to itself, or {} are nested "
		    "too deeply");
	while (ret == 0 && (at = str_chr(s, '$')) >= 0) {
		buf_append(out, str_sub(s, 0, (size_t)at));
		s = str_from(s, (size_t)at + 1);
		open = s.n > 0 ? *s.p : '\0';
		if (open == '$') {
			buf_append_char(out, '$');
			s = str_from(s, 1);
		} else if (open == '{' || open == '(') {
			end = find_close(s, open, open == '{' ? '}' : ')');
			if (end < 0) {
				ret = fail(x, open == '{'
					? "a ${ is not closed: unbalanced {}"
					: "a $( is not closed");
				break;
			}
			ret = expand_group(x, str_sub(s, 1, (size_t)end - 1),
			    out);
			s = str_from(s, (size_t)end + 1);
		} else {
			ret = expand_name(x, take_name(&s), out);
		}
	}
	x->depth--;
	if (ret == 0)
		buf_append(out, s);
	if (ret == 0 && out->failed)
		ret = fail(x, "the value is too long");
	return ret;
}

int expand_text(struct str text, expand_lookup_fn *lookup, void *ctx,
    struct buf *out, const char **why)
{
	struct expansion x = { .lookup = lookup, .ctx = ctx };

	if (expand(&x, text, out) == 0)
		return 0;
	*why = x.why;
	return -1;
}
