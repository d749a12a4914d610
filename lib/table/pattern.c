/*
 * pattern.c - tables that are asked from their first line to their last:
 * cidr_table(5), regexp_table(5), pcre_table(5)
 *
 * A match that runs into a limit is an error, never "no match".
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <arpa/inet.h>
#include <pcre2.h>
#include <regex.h>
#include <stdlib.h>
#include "base/log.h"
#include "config/lines.h"
#include "table/type.h"

#define PATTERN_MATCH_LIMIT 100000
#define PATTERN_DEPTH_LIMIT 1000
#define PATTERN_HEAP_KB 1024
#define PATTERN_NESTING 10	/* if inside if */
#define PATTERN_GROUPS 32	/* $1 ... */
#define PATTERN_RULES 1000000

enum rule_kind { RULE_MATCH, RULE_IF, RULE_ENDIF };

struct rule {
	enum rule_kind kind;
	bool negated;
	pcre2_code *pcre;
	regex_t *regexp;
	uint8_t network[16];
	unsigned family, bits;
	char *result;
	size_t endif;		/* RULE_IF: the rule that ends it */
	unsigned line;
};

struct pattern_state {
	struct rule *rules;
	size_t count, room;
	pcre2_match_context *limits;
	pcre2_match_data *match;
};

static void close_pattern(struct table *t)
{
	struct pattern_state *s = t->state;

	for (size_t i = 0; i < s->count; i++) {
		pcre2_code_free(s->rules[i].pcre);
		if (s->rules[i].regexp != NULL)
			regfree(s->rules[i].regexp);
		free(s->rules[i].regexp);
		free(s->rules[i].result);
	}
	pcre2_match_context_free(s->limits);
	pcre2_match_data_free(s->match);
	free(s->rules);
	free(s);
}

/* network/bits or address in front of the line; NULL, or why not. */
static const char *parse_network(struct rule *r, struct str *line)
{
	char text[64];
	size_t n = 0;
	ssize_t slash;
	struct str word, bits = STR_NONE;
	uint64_t count;

	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	word = str_sub(*line, 0, n);
	*line = str_trim(str_from(*line, n));
	if ((slash = str_chr(word, '/')) >= 0) {
		bits = str_from(word, (size_t)slash + 1);
		word = str_sub(word, 0, (size_t)slash);
	}
	if (word.n > 2 && *word.p == '[' && word.p[word.n - 1] == ']')
		word = str_sub(word, 1, word.n - 2);
	if (str_to_c(word, text, sizeof(text)) < 0)
		return "no address";
	r->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton((int)r->family, text, r->network) != 1)
		return "no address";
	count = r->bits = r->family == AF_INET6 ? 128 : 32;
	if (slash >= 0 && str_to_u64(bits, r->bits, &count) < 0)
		return "bad number of bits";
	for (unsigned i = (unsigned)count; i < r->bits; i++)
		if (r->network[i / 8] & (0x80 >> i % 8))
			return "host bits set behind the network's";
	r->bits = (unsigned)count;
	return NULL;
}

static const char *compile_pcre(struct rule *r, struct str pattern,
    struct str flags)
{
	uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL;
	PCRE2_SIZE at;
	int err;

	for (size_t i = 0; i < flags.n; i++)
		switch (flags.p[i]) {
		case 'i': options ^= PCRE2_CASELESS; break;
		case 'm': options ^= PCRE2_MULTILINE; break;
		case 's': options ^= PCRE2_DOTALL; break;
		case 'x': options ^= PCRE2_EXTENDED; break;
		case 'A': options ^= PCRE2_ANCHORED; break;
		case 'E': options ^= PCRE2_DOLLAR_ENDONLY; break;
		case 'U': options ^= PCRE2_UNGREEDY; break;
		default: return "unknown flag behind the pattern";
		}
	r->pcre = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options,
	    &err, &at, NULL);
	return r->pcre != NULL ? NULL : "bad pattern";
}

static const char *compile_regexp(struct rule *r, struct str pattern,
    struct str flags)
{
	int options = REG_EXTENDED | REG_ICASE, err;
	char *text;

	for (size_t i = 0; i < flags.n; i++)
		switch (flags.p[i]) {
		case 'i': options ^= REG_ICASE; break;
		case 'm': options ^= REG_NEWLINE; break;
		case 'x': options ^= REG_EXTENDED; break;
		default: return "unknown flag behind the pattern";
		}
	if (str_has_nul(pattern))
		return "a NUL";
	if ((text = malloc(pattern.n + 1)) == NULL ||
	    (r->regexp = calloc(1, sizeof(*r->regexp))) == NULL) {
		free(text);
		return "out of memory";
	}
	str_to_c(pattern, text, pattern.n + 1);
	err = regcomp(r->regexp, text, options);
	free(text);
	if (err == 0)
		return NULL;
	free(r->regexp);
	r->regexp = NULL;
	return "bad pattern";
}

/* /pattern/flags in front of the line; NULL, or why not. */
static const char *parse_pattern(const struct table *t, struct rule *r,
    struct str *line)
{
	struct str pattern, flags;
	char delimiter = *line->p;
	size_t end = 1, n = 0;

	if (ascii_is_alpha(delimiter) || ascii_is_digit(delimiter))
		return "want /pattern/ result";
	while (end < line->n && line->p[end] != delimiter)
		end += line->p[end] == '\\' && end + 1 < line->n ? 2 : 1;
	if (end >= line->n)
		return "the pattern does not end";
	pattern = str_sub(*line, 1, end - 1);
	*line = str_from(*line, end + 1);
	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	flags = str_sub(*line, 0, n);
	*line = str_trim(str_from(*line, n));
	return t->type == &table_type_pcre ? compile_pcre(r, pattern, flags)
		: compile_regexp(r, pattern, flags);
}

static const char *parse_rule(const struct table *t, struct rule *r,
    struct str line)
{
	const char *why;

	if (str_eq_nocase_c(line, "endif")) {
		r->kind = RULE_ENDIF;
		return NULL;
	}
	if (str_starts_nocase(line, STR("if ")) ||
	    str_starts_nocase(line, STR("if\t")) ||
	    str_starts_nocase(line, STR("if/")) ||
	    str_starts_nocase(line, STR("if!"))) {
		r->kind = RULE_IF;
		line = str_trim(str_from(line, 2));
	}
	while (line.n > 0 && *line.p == '!') {
		r->negated = !r->negated;
		line = str_trim(str_from(line, 1));
	}
	if (line.n == 0)
		return "want a pattern";
	why = t->type == &table_type_cidr ? parse_network(r, &line)
		: parse_pattern(t, r, &line);
	if (why != NULL)
		return why;
	if (r->kind == RULE_IF)
		return line.n > 0 ? "text behind if" : NULL;
	if (line.n == 0)
		return "there is no result";
	if ((r->result = malloc(line.n + 1)) == NULL)
		return "out of memory";
	return str_to_c(line, r->result, line.n + 1) < 0 ? "a NUL" : NULL;
}

static int add_rule(struct table *t, struct str line, unsigned number)
{
	struct pattern_state *s = t->state;
	struct rule *rules, *r;
	const char *why;

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 64;

		if (room > PATTERN_RULES || (rules = reallocarray(s->rules,
		    room, sizeof(*rules))) == NULL)
			return -1;
		s->rules = rules;
		s->room = room;
	}
	r = &s->rules[s->count];
	memset(r, 0, sizeof(*r));
	r->line = number;
	if ((why = parse_rule(t, r, line)) == NULL) {
		s->count++;
		return 0;
	}
	log_warn("table %s: line %u: %s; the line is skipped", t->spec, number,
	    why);
	pcre2_code_free(r->pcre);
	if (r->regexp != NULL)
		regfree(r->regexp);
	free(r->regexp);
	free(r->result);
	return 0;
}

/* Ties each if to its endif. -1 when one has none. */
static int match_ifs(struct table *t, struct buf *why)
{
	struct pattern_state *s = t->state;
	size_t open[PATTERN_NESTING], depth = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (s->rules[i].kind == RULE_IF && depth == PATTERN_NESTING) {
			buf_printf(why, "%s: line %u: too many if in if",
			    t->spec, s->rules[i].line);
			return -1;
		}
		if (s->rules[i].kind == RULE_IF) {
			open[depth++] = i;
		} else if (s->rules[i].kind == RULE_ENDIF) {
			if (depth == 0) {
				buf_printf(why, "%s: line %u: endif without if",
				    t->spec, s->rules[i].line);
				return -1;
			}
			s->rules[open[--depth]].endif = i;
		}
	}
	if (depth > 0)
		buf_printf(why, "%s: line %u: if without endif", t->spec,
		    s->rules[open[depth - 1]].line);
	return depth > 0 ? -1 : 0;
}

static int open_pattern(struct table *t, struct buf *why)
{
	struct pattern_state *s = calloc(1, sizeof(*s));
	struct lines lines;
	struct str line;
	struct buf text;
	unsigned number;
	int ret, got;

	ret = table_read_text(t, &text, why);
	if ((t->state = s) == NULL ||
	    (s->match = pcre2_match_data_create(PATTERN_GROUPS, NULL)) ==
		NULL || (s->limits = pcre2_match_context_create(NULL)) == NULL)
		ret = -1;
	if (ret == 0) {
		pcre2_set_match_limit(s->limits, PATTERN_MATCH_LIMIT);
		pcre2_set_depth_limit(s->limits, PATTERN_DEPTH_LIMIT);
		pcre2_set_heap_limit(s->limits, PATTERN_HEAP_KB);
	}
	lines_init(&lines, buf_str(&text), TABLE_VALUE_MAX);
	while (ret == 0 && (got = lines_next(&lines, &line, &number)) != 0)
		ret = got < 0 ? -1 : add_rule(t, str_trim(line), number);
	lines_fini(&lines);
	buf_fini(&text);
	if (ret == 0)
		ret = match_ifs(t, why);
	return ret;
}

/* Where $n is in the subject, as both libraries tell it. */
struct groups {
	struct str subject;
	size_t count, start[PATTERN_GROUPS], end[PATTERN_GROUPS];
};

/* 1, 0, -1 and a reason in *why. */
static int match_pcre(struct pattern_state *s, const struct rule *r,
    struct groups *g)
{
	int n = pcre2_match(r->pcre, (PCRE2_SPTR)g->subject.p, g->subject.n, 0,
	    0, s->match, s->limits);
	PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match);

	if (n == PCRE2_ERROR_NOMATCH)
		return 0;
	if (n < 0)
		return -1;
	g->count = n == 0 ? PATTERN_GROUPS : (size_t)n;
	for (size_t i = 0; i < g->count; i++) {
		g->start[i] = at[2 * i] == PCRE2_UNSET ? 0 : at[2 * i];
		g->end[i] = at[2 * i] == PCRE2_UNSET ? 0 : at[2 * i + 1];
	}
	return 1;
}

static int match_regexp(const struct rule *r, struct groups *g)
{
	regmatch_t at[PATTERN_GROUPS];
	char *text = malloc(g->subject.n + 1);
	int err;

	/* A NUL would end the subject before its end. */
	if (text == NULL || str_to_c(g->subject, text,
	    g->subject.n + 1) < 0) {
		free(text);
		return -1;
	}
	err = regexec(r->regexp, text, PATTERN_GROUPS, at, 0);
	free(text);
	if (err != 0)
		return err == REG_NOMATCH ? 0 : -1;
	g->count = PATTERN_GROUPS;
	for (size_t i = 0; i < g->count; i++) {
		g->start[i] = at[i].rm_so < 0 ? 0 : (size_t)at[i].rm_so;
		g->end[i] = at[i].rm_so < 0 ? 0 : (size_t)at[i].rm_eo;
	}
	return 1;
}

static int match_network(const struct rule *r, struct groups *g)
{
	uint8_t address[16];
	char text[64];
	unsigned family;

	g->count = 0;
	if (str_to_c(g->subject, text, sizeof(text)) < 0)
		return 0;
	family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (family != r->family ||
	    inet_pton((int)family, text, address) != 1)
		return 0;
	for (unsigned i = 0; i < r->bits; i++)
		if ((address[i / 8] ^ r->network[i / 8]) & (0x80 >> i % 8))
			return 0;
	return 1;
}

static int match_rule(struct pattern_state *s, const struct rule *r,
    struct groups *g)
{
	int ret = r->pcre != NULL ? match_pcre(s, r, g)
		: r->regexp != NULL ? match_regexp(r, g)
		: match_network(r, g);

	if (ret >= 0 && r->negated) {
		ret = !ret;
		g->count = 0;
	}
	return ret;
}

/* The result with $1, ${1}, $(1) and $$ replaced. */
static void put_result(const char *result, const struct groups *g,
    struct buf *out)
{
	for (const char *p = result; *p != '\0'; p++) {
		const char *at = p + 1;
		char close = *at == '{' ? '}' : *at == '(' ? ')' : '\0';
		size_t n = 0;

		if (*p != '$' || *at == '\0') {
			buf_append_char(out, *p);
			continue;
		}
		if (*at == '$') {
			buf_append_char(out, '$');
			p++;
			continue;
		}
		at += close != '\0';
		if (!ascii_is_digit(*at)) {
			buf_append_char(out, '$');
			continue;
		}
		for (; ascii_is_digit(*at) && n < 1000; at++)
			n = n * 10 + (size_t)(*at - '0');
		at += close != '\0' && *at == close;
		if (n < g->count)
			buf_append(out, str_sub(g->subject, g->start[n],
			    g->end[n] - g->start[n]));
		p = at - 1;
	}
}

static enum table_answer find_pattern(struct table *t, struct str key,
    struct buf *value)
{
	struct pattern_state *s = t->state;
	struct groups g = { .subject = key };
	int ret;

	for (size_t i = 0; i < s->count; i++) {
		const struct rule *r = &s->rules[i];

		if (r->kind == RULE_ENDIF)
			continue;
		if ((ret = match_rule(s, r, &g)) < 0) {
			buf_printf(value, "%s: line %u: the match cannot be "
			    "made", t->spec, r->line);
			return TABLE_ERROR;
		}
		if (r->kind == RULE_IF) {
			i = ret ? i : r->endif;
		} else if (ret) {
			put_result(r->result, &g, value);
			return TABLE_FOUND;
		}
	}
	return TABLE_NOT_FOUND;
}

const struct table_type table_type_cidr = { "cidr",
	TABLE_FILE | TABLE_PATTERN, "", open_pattern, close_pattern,
	find_pattern, NULL };
const struct table_type table_type_regexp = { "regexp",
	TABLE_FILE | TABLE_PATTERN | TABLE_KEEPS_CASE, "", open_pattern,
	close_pattern, find_pattern, NULL };
const struct table_type table_type_pcre = { "pcre",
	TABLE_FILE | TABLE_PATTERN | TABLE_KEEPS_CASE, "", open_pattern,
	close_pattern, find_pattern, NULL };
