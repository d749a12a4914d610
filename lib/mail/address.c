/* RFC 5322 3.4, with the obsolete forms of 4.4 and what mail really has */
#include "mail/address.h"
#include "mail/header.h"

struct parser {
	struct str in;
	size_t at;
	struct arena *arena;
	struct mail_address_list *list;
	unsigned room;		/* of list->items */
	struct buf name, local;	/* of the entry being read */
	struct str comment;	/* the last one in this entry, without () */
	bool in_group;
	bool in_angle;		/* RFC 2047 5: no encoded words there */
	bool no_quotes;		/* a quoted string had no end: the others are
				 * none either */
	bool no_comments;	/* the same: "(" is white space */
};

/* What was read of one entry, before it is known what it is. */
struct words {
	unsigned count;		/* words, not dots */
	bool split;		/* white space parts words that no dot joins */
	bool bad;
};

static int peek(const struct parser *p)
{
	return p->at < p->in.n ? (unsigned char)p->in.p[p->at] : -1;
}

static bool is_space(int c)
{
	/* NUL and other controls part words and vanish, as folds do */
	return c >= 0 && (c <= 32 || c == 127);
}

/*
 * Skips white space and comments; true when there were any. A comment that
 * does not end goes to the end of all, but where it would hide an address in
 * brackets the parenthesis alone is skipped (RFC 7103 7.1.4).
 */
static bool skip_cfws(struct parser *p)
{
	size_t start = p->at, open = 0;
	unsigned depth = 0;

	for (; p->at < p->in.n; p->at++) {
		char c = p->in.p[p->at];

		if (c == '(' && !p->no_comments) {
			if (depth++ == 0)
				open = p->at + 1;
			if (depth > MAIL_COMMENT_DEPTH) {
				p->list->truncated = true;
				p->at = p->in.n;
				break;
			}
		} else if (depth > 0 && c == ')') {
			if (--depth == 0)
				p->comment = str_n(p->in.p + open,
				    p->at - open);
		} else if (depth > 0 && c == '\\') {
			if (p->at + 1 < p->in.n)
				p->at++;
		} else if (depth == 0 && c != '(' &&
		    !is_space((unsigned char)c)) {
			break;
		}
		if (p->at + 1 == p->in.n && depth > 0 &&
		    str_chr(str_from(p->in, open), '<') >= 0) {
			p->no_comments = true;
			p->at = open - 1;
			depth = 0;
		}
	}
	return p->at > start;
}

static bool is_special(int c)
{
	return c > 0 && c < 128 && strchr("()<>[]:;@\\,.\"", c) != NULL;
}

/* The octets of an encoded word at `at`, which may hold specials although it
 * should not; 0: none. Where no word ends it is none (RFC 2047 5). */
static size_t encoded_word(const struct parser *p)
{
	struct str s = str_from(p->in, p->at);
	unsigned marks = 0;

	if (!str_starts(s, STR("=?")))
		return 0;
	for (size_t i = 2; i < s.n && i < 200; i++) {
		if (is_space((unsigned char)s.p[i]) || s.p[i] == '"')
			return 0;
		marks += s.p[i] == '?';
		if (marks < 3)
			continue;
		if (i + 1 == s.n || s.p[i + 1] != '=')
			return 0;
		return i + 2 == s.n || is_space((unsigned char)s.p[i + 2]) ||
		    is_special((unsigned char)s.p[i + 2]) ? i + 2 : 0;
	}
	return 0;
}

/*
 * A quoted string at `at`: appends what it says to both buffers. Of one that
 * does not end the quote alone is taken (RFC 7103 7.1.6).
 */
static int take_quoted(struct parser *p)
{
	size_t start = p->at, name = p->name.n, local = p->local.n;

	for (p->at++; p->at < p->in.n; p->at++) {
		char c = p->in.p[p->at];

		if (c == '"') {
			p->at++;
			return 0;
		}
		if (c == '\\' && p->at + 1 < p->in.n)
			c = p->in.p[++p->at];
		if (c == '\r' || c == '\n')	/* a fold */
			continue;
		if (c == '\0')
			break;
		buf_append_char(&p->name, c);
		buf_append_char(&p->local, c);
	}
	p->no_quotes = true;
	p->at = start + 1;
	buf_truncate(&p->name, name);
	buf_truncate(&p->local, local);
	return -1;
}

static void take_atom(struct parser *p)
{
	size_t start = p->at, n = p->in_angle ? 0 : encoded_word(p);

	if (n > 0)
		p->at += n;
	else
		while (peek(p) != -1 && !is_space(peek(p)) &&
		    !is_special(peek(p)))
			p->at++;
	buf_append_n(&p->name, p->in.p + start, p->at - start);
	buf_append_n(&p->local, p->in.p + start, p->at - start);
}

/*
 * Reads words and dots up to another special. `name` gets them with single
 * spaces, as a display name; `local` without, as a local-part.
 */
static struct words take_words(struct parser *p)
{
	struct words w = { .count = 0 };
	bool dot = false, any = false;

	buf_reset(&p->name);
	buf_reset(&p->local);
	for (;;) {
		bool space = skip_cfws(p);
		int c = peek(p);

		if (c == '.') {
			buf_append_char(&p->name, '.');
			buf_append_char(&p->local, '.');
			dot = any = true;
			p->at++;
			continue;
		}
		if (c == '\\' || c == ']' || c == ')' ||
		    (c == '"' && p->no_quotes)) {
			w.bad = true;	/* means nothing here */
			p->at++;
			continue;
		}
		if (c == -1 || (is_special(c) && c != '"'))
			return w;
		if (any && space && p->name.n > 0)
			buf_append_char(&p->name, ' ');
		if (any && !dot) {
			/* a display name so far, or a broken local-part */
			w.split = true;
			buf_reset(&p->local);
		}
		if (c == '"') {
			if (take_quoted(p) == -1) {
				w.bad = true;
				continue;
			}
		} else {
			take_atom(p);
		}
		w.count++;
		dot = false;
		any = true;
	}
}

/* The text of a comment on one line, without backslashes. */
static struct str comment_text(struct parser *p, struct str raw)
{
	char *out = arena_alloc(p->arena, raw.n + 1);
	size_t n = 0;

	if (out == NULL)
		return STR_NONE;
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c == '\r' || c == '\n' || c == '\0')
			continue;
		if (c == '\\' && i + 1 < raw.n)
			c = raw.p[++i];
		if (c != '\r' && c != '\n' && c != '\0')
			out[n++] = c;
	}
	return str_trim(str_n(out, n));
}

static struct str keep(struct parser *p, const struct buf *b)
{
	return arena_str(p->arena, b->n > 0 ? buf_str(b) : STR(""));
}

/* The next free entry, or NULL: limit or memory. */
static struct mail_address *add(struct parser *p, enum mail_address_kind kind)
{
	struct mail_address_list *l = p->list;
	struct mail_address *a;

	if (l->count == MAIL_ADDRESS_MAX) {
		l->truncated = true;
		return NULL;
	}
	if (l->count == p->room) {
		unsigned room = p->room ? p->room * 2 : 4;

		a = arena_array(p->arena, room, sizeof(*a));
		if (a == NULL)
			return NULL;
		if (l->count > 0)
			memcpy(a, l->items, l->count * sizeof(*a));
		l->items = a;
		p->room = room;
	}
	a = &l->items[l->count++];
	a->kind = kind;
	return a;
}

/* To the next separator outside quotes and comments. */
static void skip_to_separator(struct parser *p)
{
	for (;;) {
		int c;

		skip_cfws(p);
		c = peek(p);
		if (c == -1 || c == ',' || (c == ';' && p->in_group))
			return;
		if (c == '"' && !p->no_quotes) {
			buf_reset(&p->name);
			buf_reset(&p->local);
			take_quoted(p);
		} else {
			p->at++;
		}
	}
}

/* Atoms, dots, or a literal, without white space and comments. */
static int take_domain(struct parser *p, struct buf *out)
{
	bool bad = false, label = false;

	buf_reset(out);
	skip_cfws(p);
	if (peek(p) == '[') {
		while (peek(p) != -1 && peek(p) != ']') {
			int c = peek(p);

			if (c == '\\' || c == '"' || c == '<' || c == '>')
				bad = true;
			if (!is_space(c))
				buf_append_char(out, (char)c);
			p->at++;
		}
		if (peek(p) == -1)
			return -1;
		buf_append_char(out, ']');
		p->at++;
		return bad ? -1 : 0;
	}
	for (;;) {
		int c = peek(p);

		if (c == '.') {
			bad |= !label;
			label = false;
			buf_append_char(out, '.');
			p->at++;
		} else if (c != -1 && !is_space(c) && !is_special(c)) {
			buf_append_char(out, (char)c);
			label = true;
			p->at++;
			continue;
		} else if (!is_space(c) && c != '(') {
			break;
		}
		/* RFC 5322 4.4 obs-domain: white space around dots */
		skip_cfws(p);
		if (label && peek(p) != '.')
			break;
	}
	return bad || out->n == 0 ? -1 : 0;
}

/* RFC 5322 4.4 obs-route: "@a,@b:" */
static int take_route(struct parser *p, struct mail_address *a)
{
	struct buf route, domain;
	int r = 0;

	buf_init(&route, p->in.n + 1);
	buf_init(&domain, p->in.n + 1);
	for (;;) {
		skip_cfws(p);
		if (peek(p) == ',') {
			p->at++;
			continue;
		}
		if (peek(p) != '@')
			break;
		p->at++;
		if (take_domain(p, &domain) == -1) {
			r = -1;
			break;
		}
		buf_append_c(&route, route.n > 0 ? ",@" : "@");
		buf_append(&route, buf_str(&domain));
	}
	if (r == 0 && peek(p) == ':')
		p->at++;
	else
		r = -1;
	if (route.n > 0)
		a->route = keep(p, &route);
	buf_fini(&route);
	buf_fini(&domain);
	return r;
}

/* "<" [route] local "@" domain ">" */
static void take_angle(struct parser *p, struct mail_address *a)
{
	struct words w;
	unsigned open = 0;

	/* RFC 7103 7.1.2: "<<a@b>>" */
	for (; peek(p) == '<'; skip_cfws(p)) {
		open++;
		p->at++;
	}
	if (open > 1)
		a->invalid = true;
	if (peek(p) == '@' || peek(p) == ',')
		if (take_route(p, a) == -1)
			a->invalid = true;
	p->in_angle = true;
	w = take_words(p);
	p->in_angle = false;
	a->local = keep(p, &p->local);
	/* An empty one in quotes cannot be written in a path. */
	if (w.count == 0 || w.split || w.bad || p->local.n == 0)
		a->invalid = true;
	if (peek(p) == '@') {
		p->at++;
		if (take_domain(p, &p->name) == -1)
			a->invalid = true;
		a->domain = keep(p, &p->name);
	}
	skip_cfws(p);
	if (peek(p) != '>') {
		a->invalid = true;
		while (peek(p) != -1 && peek(p) != '>' && peek(p) != ',')
			p->at++;
	}
	for (; open > 0 && peek(p) == '>'; skip_cfws(p)) {
		open--;
		p->at++;
	}
}

/* Behind words that are not followed by "<" or ":". */
static void take_plain(struct parser *p, struct mail_address *a,
    struct words w)
{
	if (w.split) {
		/* "some words a@b": what is before the last is a name, and
		 * all without "@" (RFC 7103 7.1.7) */
		a->invalid = true;
		if (peek(p) != '@')
			buf_reset(&p->local);
		if (p->name.n > p->local.n)
			a->name = arena_str(p->arena, str_trim(str_n(
			    p->name.p, p->name.n - p->local.n)));
	}
	if (w.count == 0 || w.bad || p->local.n == 0)
		a->invalid = true;
	a->local = keep(p, &p->local);
	if (peek(p) == '@') {
		p->at++;
		if (take_domain(p, &p->name) == -1)
			a->invalid = true;
		a->domain = keep(p, &p->name);
	}
	skip_cfws(p);
	if (a->name.p == NULL && p->comment.p != NULL)
		a->name = comment_text(p, p->comment);
}

/* One entry; -1: stop (limit or memory). */
static int take_entry(struct parser *p)
{
	struct mail_address *a;
	struct words w;
	int c;

	p->comment = STR_NONE;
	w = take_words(p);
	c = peek(p);
	if (c == ':' && !p->in_group && p->name.n > 0) {
		if ((a = add(p, MAIL_ADDRESS_GROUP)) == NULL)
			return -1;
		a->name = keep(p, &p->name);
		p->in_group = true;
		p->at++;
		return 0;
	}
	if (w.count == 0 && !w.bad && p->name.n == 0 &&
	    (c == -1 || c == ',' || c == ';'))
		return 0;	/* nothing between two separators */
	if ((a = add(p, MAIL_ADDRESS_MAILBOX)) == NULL)
		return -1;
	a->invalid = w.bad || p->no_comments;
	if (c == '<') {
		if (p->name.n > 0)
			a->name = keep(p, &p->name);
		take_angle(p, a);
	} else {
		take_plain(p, a, w);
	}
	skip_cfws(p);
	c = peek(p);
	if (c != -1 && c != ',' && c != ';') {
		a->invalid = true;
		skip_to_separator(p);
	}
	p->list->invalid |= a->invalid;
	return 0;
}

static int parse(struct parser *p)
{
	bool go = true;

	while (go && !arena_failed(p->arena)) {
		if (take_entry(p) == -1)
			break;
		if (peek(p) == ';') {
			if (p->in_group &&
			    add(p, MAIL_ADDRESS_GROUP_END) == NULL)
				break;
			p->in_group = false;
			p->at++;
		} else if (peek(p) == ',') {
			p->at++;
		} else if (peek(p) == -1) {
			go = false;
		}
	}
	if (p->in_group)
		add(p, MAIL_ADDRESS_GROUP_END);
	return arena_failed(p->arena) || p->name.failed || p->local.failed ?
	    -1 : 0;
}

static int parse_into(struct str body, struct arena *arena,
    struct mail_address_list *list, unsigned *room)
{
	struct parser p = { .in = body, .arena = arena, .list = list,
	    .room = *room };
	int r;

	/* A name is no longer than the field, spaces included. */
	buf_init(&p.name, 2 * body.n + 2);
	buf_init(&p.local, 2 * body.n + 2);
	r = parse(&p);
	*room = p.room;
	buf_fini(&p.name);
	buf_fini(&p.local);
	return r;
}

int mail_address_parse(struct str body, struct arena *arena,
    struct mail_address_list *list)
{
	unsigned room = 0;

	*list = (struct mail_address_list){ .count = 0 };
	return parse_into(body, arena, list, &room);
}

int mail_address_recipients(struct str header, bool resent,
    struct arena *arena, struct mail_address_list *list)
{
	static const char *const names[2][3] = {
		{ "To", "Cc", "Bcc" },
		{ "Resent-To", "Resent-Cc", "Resent-Bcc" },
	};
	struct mail_fields f;
	struct mail_field field;
	unsigned room = 0, kept = 0;

	*list = (struct mail_address_list){ .count = 0 };
	mail_fields_init(&f, header);
	while (mail_fields_next(&f, &field))
		for (int i = 0; i < 3; i++)
			if (str_eq_nocase_c(field.name, names[resent][i]) &&
			    parse_into(field.body, arena, list, &room) == -1)
				return -1;
	list->truncated |= f.truncated;
	for (unsigned i = 0; i < list->count; i++)
		if (list->items[i].kind == MAIL_ADDRESS_MAILBOX)
			list->items[kept++] = list->items[i];
	list->count = kept;
	return 0;
}
