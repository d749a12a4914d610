/* MIME parameters: RFC 2045 5.1, RFC 2231 */
#include "mail/charset.h"
#include "mail/encoded.h"

/* Comments and white space; a comment is skipped without recursion. */
static size_t skip_cfws(struct str s, size_t i)
{
	unsigned depth = 0;

	for (; i < s.n; i++) {
		char c = s.p[i];

		if (c == '(')
			depth++;
		else if (depth > 0 && c == ')')
			depth--;
		else if (depth > 0 && c == '\\')
			i++;
		else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' &&
		    c != '\n')
			break;
	}
	return i < s.n ? i : s.n;
}

static bool is_token(char ch)
{
	unsigned char c = (unsigned char)ch;

	/* RFC 2045 5.1 tspecials; 8-bit octets are taken as they come */
	return c > 32 && c != 127 &&
	    strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

static size_t token_end(struct str s, size_t i)
{
	while (i < s.n && is_token(s.p[i]))
		i++;
	return i;
}

/* From the quote at i to behind its partner, or the end. */
static size_t quoted_end(struct str s, size_t i)
{
	for (i++; i < s.n && s.p[i] != '"'; i++)
		if (s.p[i] == '\\')
			i++;
	return i < s.n ? i + 1 : s.n;
}

/* The next ";" outside quotes and comments, or the end. */
static size_t next_semicolon(struct str s, size_t i)
{
	while (i < s.n && s.p[i] != ';') {
		if (s.p[i] == '"')
			i = quoted_end(s, i);
		else if (s.p[i] == '(')
			i = skip_cfws(s, i);
		else
			i++;
	}
	return i;
}

/* What is between quotes, without backslashes and folds. */
static struct str unquote(struct str s, struct arena *arena)
{
	size_t n = 0, i;
	char *out;

	for (i = 0; i < s.n; i++)
		if (s.p[i] == '\\' || s.p[i] == '\r' || s.p[i] == '\n' ||
		    s.p[i] == '\0')
			break;
	if (i == s.n)
		return s;
	if ((out = arena_alloc(arena, s.n + 1)) == NULL)
		return STR_NONE;
	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
			continue;
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		if (s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0')
			out[n++] = s.p[i];
	}
	return str_n(out, n);
}

/* name "=" value at *at; moves *at behind it. -1: not one. */
static int scan_param(struct str s, size_t *at, struct arena *arena,
    struct mail_mime_param *param)
{
	size_t i = skip_cfws(s, *at), start = i, end;

	/* A name may hold what RFC 2231 adds: "*" is no special. */
	i = token_end(s, i);
	param->name = str_n(s.p + start, i - start);
	i = skip_cfws(s, i);
	if (param->name.n == 0 || i == s.n || s.p[i] != '=')
		return -1;
	i = skip_cfws(s, i + 1);
	if (i < s.n && s.p[i] == '"') {
		end = quoted_end(s, i);
		param->value = str_n(s.p + i + 1, end - i - 1);
		if (param->value.n > 0 && s.p[end - 1] == '"' &&
		    end - 1 > i)
			param->value.n--;
		param->value = unquote(param->value, arena);
		*at = end;
		return 0;
	}
	/* Values with "=", "/", ":" and the like without quotes are
	 * everywhere; only what ends a parameter ends it. */
	for (end = i; end < s.n && s.p[end] != ';' && s.p[end] != '(' &&
	    (unsigned char)s.p[end] > 32; end++)
		;
	param->value = str_n(s.p + i, end - i);
	*at = end;
	return 0;
}

int mail_mime_value_parse(struct str s, struct arena *arena,
    struct str *value_r, struct str *subtype_r, struct mail_mime_params *params)
{
	size_t i = skip_cfws(s, 0), start = i, semicolons = 0;

	*params = (struct mail_mime_params){ NULL, 0 };
	i = token_end(s, i);
	*value_r = str_n(i > start ? s.p + start : "", i - start);
	if (subtype_r != NULL) {
		*subtype_r = STR("");
		i = skip_cfws(s, i);
		if (i < s.n && s.p[i] == '/') {
			start = i = skip_cfws(s, i + 1);
			i = token_end(s, i);
			*subtype_r = str_n(i > start ? s.p + start : "",
			    i - start);
		}
	}
	i = next_semicolon(s, i);
	for (size_t k = i; k < s.n && semicolons < MAIL_MIME_PARAMS_MAX; k++)
		semicolons += s.p[k] == ';';
	if (semicolons == 0)
		return 0;
	params->items = arena_array(arena, semicolons, sizeof(*params->items));
	if (params->items == NULL)
		return -1;
	while (i < s.n && params->count < semicolons) {
		i++;
		if (scan_param(s, &i, arena, &params->items[params->count]) ==
		    0)
			params->count++;
		i = next_semicolon(s, i);
	}
	return arena_failed(arena) ? -1 : 0;
}

/* Splits name["*" digits]["*"] (RFC 2231 3 and 4). False: another name. */
static bool match_name(struct str have, const char *want, int *section_r,
    bool *extended_r)
{
	struct str rest;
	uint64_t section;
	size_t n = strlen(want);

	*section_r = -1;
	*extended_r = false;
	if (!str_starts_nocase(have, str_of(want)))
		return false;
	rest = str_from(have, n);
	if (rest.n > 0 && rest.p[rest.n - 1] == '*') {
		*extended_r = true;
		rest.n--;
	}
	if (rest.n == 0)
		return true;
	if (rest.p[0] != '*')
		return false;
	rest = str_from(rest, 1);
	/* no leading zeros, and never more than is kept */
	if (rest.n == 0 || rest.n > 2 || (rest.n == 2 && rest.p[0] == '0') ||
	    str_to_u64(rest, MAIL_MIME_SECTIONS_MAX - 1, &section) == -1)
		return false;
	*section_r = (int)section;
	return true;
}

/* section -1: the one without number. */
static const struct mail_mime_param *find(const struct mail_mime_params *p,
    const char *name, int section, int extended, bool *extended_r)
{
	int s;

	for (unsigned i = 0; i < p->count; i++)
		if (match_name(p->items[i].name, name, &s, extended_r) &&
		    s == section &&
		    (extended == -1 || *extended_r == (extended == 1)))
			return &p->items[i];
	return NULL;
}

static int hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void append_percent(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%' && i + 2 < s.n && hex_value(s.p[i + 1]) != -1 &&
		    hex_value(s.p[i + 2]) != -1) {
			c = (char)(hex_value(s.p[i + 1]) << 4 |
			    hex_value(s.p[i + 2]));
			i += 2;
		}
		buf_append_char(out, c);
	}
}

/* charset'language'text: takes the first two off. */
static const struct mail_charset *take_charset(struct str *s)
{
	struct str rest = *s, charset, language;
	const struct mail_charset *found;

	if (!str_split(&rest, '\'', &charset) || rest.p == NULL ||
	    !str_split(&rest, '\'', &language) || rest.p == NULL)
		return mail_charset_utf8;
	*s = rest;
	found = mail_charset_find(charset);
	return found ? found : mail_charset_utf8;
}

/* Octets of name* or name*0... joined; false: there is neither. */
static bool join_sections(const struct mail_mime_params *params,
    const char *name, const struct mail_charset **charset, struct buf *raw)
{
	const struct mail_mime_param *p;
	bool extended;
	struct str s;

	*charset = mail_charset_utf8;
	if ((p = find(params, name, 0, -1, &extended)) == NULL) {
		if ((p = find(params, name, -1, 1, &extended)) == NULL)
			return false;
		s = p->value;
		*charset = take_charset(&s);
		append_percent(s, raw);
		return true;
	}
	for (int i = 0; p != NULL; p = find(params, name, i, -1, &extended)) {
		s = p->value;
		if (i++ == 0 && extended)
			*charset = take_charset(&s);
		if (extended)
			append_percent(s, raw);
		else
			buf_append(raw, s);
		if (i == MAIL_MIME_SECTIONS_MAX)
			break;
	}
	return true;
}

/* No value is larger: a header section is limited too. */
#define VALUE_MAX (64 * 1024)

struct str mail_mime_param_get(const struct mail_mime_params *params,
    const char *name, bool words, struct arena *arena)
{
	const struct mail_charset *charset;
	const struct mail_mime_param *p;
	struct str result = STR_NONE;
	struct buf raw, out;
	bool extended;

	buf_init(&raw, VALUE_MAX);
	buf_init(&out, 3 * VALUE_MAX);
	if (join_sections(params, name, &charset, &raw)) {
		mail_charset_to_utf8(charset, buf_str(&raw), &out);
	} else if ((p = find(params, name, -1, 0, &extended)) != NULL) {
		if (words)
			mail_words_decode(p->value, &out);
		else
			mail_charset_to_utf8(mail_charset_utf8, p->value,
			    &out);
	} else {
		goto out;
	}
	for (size_t i = 0; i < out.n; i++)
		if (out.p[i] == '\r' || out.p[i] == '\n' || out.p[i] == '\0')
			out.p[i] = ' ';
	result = arena_str(arena, out.n > 0 ? buf_str(&out) : STR(""));
out:
	buf_fini(&raw);
	buf_fini(&out);
	return result;
}

struct str mail_mime_param_raw(const struct mail_mime_params *params,
    const char *name, struct arena *arena)
{
	const struct mail_mime_param *p;
	struct str result = STR_NONE;
	struct buf raw;
	bool extended;
	int i = 0;

	if ((p = find(params, name, -1, -1, &extended)) != NULL)
		return p->value;
	buf_init(&raw, VALUE_MAX);
	while (i < MAIL_MIME_SECTIONS_MAX &&
	    (p = find(params, name, i, -1, &extended)) != NULL) {
		buf_append(&raw, p->value);
		i++;
	}
	if (i > 0)
		result = arena_str(arena, raw.n > 0 ? buf_str(&raw) : STR(""));
	buf_fini(&raw);
	return result;
}

/* RFC 2231 7 attribute-char, for a text that joins an encoded one. */
static void append_encoded(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c > 32 && c < 127 && is_token((char)c) &&
		    strchr("*'%", c) == NULL)
			buf_append_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

static struct str join_one(const struct mail_mime_params *params,
    const char *name, bool any_extended, struct arena *arena)
{
	const struct mail_mime_param *p;
	struct str result;
	struct buf b;
	bool extended;

	buf_init(&b, 3 * VALUE_MAX);
	for (int i = 0; i < MAIL_MIME_SECTIONS_MAX &&
	    (p = find(params, name, i, -1, &extended)) != NULL; i++) {
		if (i == 0 && any_extended && !extended)
			buf_append_c(&b, "''");
		if (any_extended && !extended)
			append_encoded(p->value, &b);
		else
			buf_append(&b, p->value);
	}
	result = arena_str(arena, b.n > 0 ? buf_str(&b) : STR(""));
	buf_fini(&b);
	return result;
}

static bool any_section_extended(const struct mail_mime_params *params,
    const char *name)
{
	bool extended;

	for (int i = 0; i < MAIL_MIME_SECTIONS_MAX &&
	    find(params, name, i, -1, &extended) != NULL; i++)
		if (extended)
			return true;
	return false;
}

int mail_mime_params_join(const struct mail_mime_params *params,
    struct arena *arena, struct mail_mime_params *joined)
{
	*joined = (struct mail_mime_params){ NULL, 0 };
	if (params->count == 0)
		return 0;
	joined->items = arena_array(arena, params->count,
	    sizeof(*joined->items));
	if (joined->items == NULL)
		return -1;
	for (unsigned i = 0; i < params->count; i++) {
		struct mail_mime_param p = params->items[i];
		ssize_t star = str_chr(p.name, '*');
		char base[64];
		bool encoded;
		int section;

		/* Longer names have no continuation worth the trouble. */
		if (star <= 0 || str_to_c(str_n(p.name.p, (size_t)star), base,
		    sizeof(base)) == -1 ||
		    !match_name(p.name, base, &section, &encoded) ||
		    section == -1) {
			joined->items[joined->count++] = p;
			continue;
		}
		if (section != 0 && find(params, base, 0, -1, &encoded))
			continue;	/* goes with its section 0 */
		if (section == 0) {
			encoded = any_section_extended(params, base);
			p.value = join_one(params, base, encoded, arena);
			p.name = arena_printf(arena, "%s%s", base,
			    encoded ? "*" : "");
		}
		joined->items[joined->count++] = p;
	}
	return arena_failed(arena) ? -1 : 0;
}
