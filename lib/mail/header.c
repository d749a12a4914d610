#include "mail/header.h"

void mail_fields_init(struct mail_fields *f, struct str message)
{
	*f = (struct mail_fields){ .message = message };
}

/* Where the line at `at` ends, behind its LF. */
static size_t line_end(struct str m, size_t at)
{
	const char *lf = memchr(m.p + at, '\n', m.n - at);

	return lf ? (size_t)(lf - m.p) + 1 : m.n;
}

/* 0, or the octets of the empty line at `at`. */
static size_t blank_at(struct str m, size_t at)
{
	if (m.p[at] == '\n')
		return 1;
	return m.p[at] == '\r' && at + 1 < m.n && m.p[at + 1] == '\n' ? 2 : 0;
}

/* RFC 5322 3.6.8 ftext, then (4.5) white space, then the colon. Gives the
 * name and the colon's place; -1: no field. */
static int scan_name(struct str m, size_t at, struct str *name_r,
    size_t *colon_r)
{
	size_t i = at;

	while (i < m.n && m.p[i] > 32 && m.p[i] < 127 && m.p[i] != ':')
		i++;
	*name_r = str_n(m.p + at, i - at);
	while (i < m.n && (m.p[i] == ' ' || m.p[i] == '\t'))
		i++;
	*colon_r = i;
	return name_r->n > 0 && i < m.n && m.p[i] == ':' ? 0 : -1;
}

/* mbox's separator, or what an escaped one became. */
static bool is_from_line(struct str m)
{
	struct str name;
	size_t colon;

	return (str_starts(m, STR("From ")) || str_starts(m, STR(">From "))) &&
	    scan_name(m, 0, &name, &colon) == -1;
}

static bool next_raw(struct mail_fields *f, struct mail_field *field)
{
	struct str m = f->message, body;
	size_t start, colon, end, blank = 0;

	if (f->ended)
		return false;
	if (f->at == 0 && is_from_line(m))
		f->at = line_end(m, 0);
	start = f->at;
	if (start >= m.n || (blank = blank_at(m, start)) > 0 ||
	    scan_name(m, start, &field->name, &colon) == -1) {
		f->ended = true;
		f->has_blank = start < m.n && blank > 0;
		f->body_at = start + (f->has_blank ? blank : 0);
		return false;
	}
	end = line_end(m, colon);
	while (end < m.n && (m.p[end] == ' ' || m.p[end] == '\t'))
		end = line_end(m, end);
	f->at = end;
	field->raw = str_n(m.p + start, end - start);
	body = str_n(m.p + colon + 1, end - colon - 1);
	if (body.n > 0 && body.p[body.n - 1] == '\n')
		body.n -= body.n > 1 && body.p[body.n - 2] == '\r' ? 2 : 1;
	while (body.n > 0 && (body.p[0] == ' ' || body.p[0] == '\t'))
		body = str_from(body, 1);
	field->body = body.n > 0 ? body : str_n(m.p + colon + 1, 0);
	return true;
}

bool mail_fields_next(struct mail_fields *f, struct mail_field *field)
{
	if (!next_raw(f, field))
		return false;
	if (++f->count <= MAIL_HEADER_FIELDS_MAX &&
	    f->at <= MAIL_HEADER_SIZE_MAX)
		return true;
	f->truncated = true;
	while (next_raw(f, field))
		;
	return false;
}

size_t mail_header_size(struct str message)
{
	struct mail_fields f;
	struct mail_field field;

	mail_fields_init(&f, message);
	while (next_raw(&f, &field))
		;
	return f.body_at;
}

struct str mail_header_get(struct str message, const char *name, unsigned nth)
{
	struct str want = str_of(name);
	struct mail_fields f;
	struct mail_field field;

	mail_fields_init(&f, message);
	while (mail_fields_next(&f, &field))
		if (str_eq_nocase(field.name, want) && nth-- == 0)
			return field.body;
	return STR_NONE;
}

unsigned mail_header_count(struct str message, const char *name)
{
	struct str want = str_of(name);
	struct mail_fields f;
	struct mail_field field;
	unsigned count = 0;

	mail_fields_init(&f, message);
	while (mail_fields_next(&f, &field))
		if (str_eq_nocase(field.name, want))
			count++;
	return count;
}

/* Where the fold at i ends (its white space), or i when there is none. */
static size_t fold_at(struct str s, size_t i)
{
	size_t k = i;

	if (s.p[k] == '\r')
		k++;
	if (k >= s.n || s.p[k] != '\n')
		return i;
	k++;
	return k < s.n && (s.p[k] == ' ' || s.p[k] == '\t') ? k : i;
}

int mail_unfold(struct str body, struct buf *out)
{
	struct str s = str_trim(body);
	size_t i = 0, run;

	while (i < s.n) {
		for (run = i; run < s.n && s.p[run] != '\r' &&
		    s.p[run] != '\n' && s.p[run] != '\0'; run++)
			;
		buf_append_n(out, s.p + i, run - i);
		if (run == s.n)
			break;
		i = fold_at(s, run);
		if (i == run) {
			buf_append_char(out, ' ');
			i++;
		}
	}
	return out->failed ? -1 : 0;
}

struct str mail_unfold_arena(struct str body, struct arena *arena)
{
	struct str s = str_trim(body);
	struct buf b;
	char *p;

	for (size_t i = 0;; i++) {
		if (i == s.n)
			return s.p ? s : STR("");
		if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
			break;
	}
	/* Unfolding never makes it longer: no allocation of its own. */
	if ((p = arena_alloc(arena, s.n + 1)) == NULL)
		return STR_NONE;
	b = (struct buf){ .p = p, .cap = s.n + 1, .max = s.n };
	mail_unfold(s, &b);
	return buf_str(&b);
}

struct str mail_field_token(struct str s)
{
	size_t i = 0, n = 0;
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
	s = str_from(s, i);
	while (n < s.n && (s.p[n] == '\0' ||
	    strchr(" \t\r\n(;", s.p[n]) == NULL))
		n++;
	return str_n(n > 0 ? s.p : "", n);
}

struct str mail_msgid_next(struct str *rest)
{
	ssize_t open = str_chr(*rest, '<');
	struct str s;
	bool quoted = false;

	if (open == -1)
		goto none;
	s = str_from(*rest, (size_t)open);
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\' && quoted)
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '>' && !quoted) {
			*rest = str_from(s, i + 1);
			return str_n(s.p, i + 1);
		}
	}
none:
	*rest = STR_NONE;
	return STR_NONE;
}
