#include "imapd/fetch.h"

/* The text, in any case, if it is next; whatever follows. */
static bool try_text(struct parse *p, const char *text)
{
	size_t n = strlen(text);

	if (!str_eq_nocase_c(str_sub(p->line, p->at, n), text))
		return false;
	p->at += n;
	return true;
}

static struct fetch_section *new_section(struct session *s, struct fetch *f)
{
	if (f->section_count == FETCH_SECTIONS_MAX) {
		parse_fail(&s->parse, "Too many sections");
		return NULL;
	}
	if (f->section_count == f->section_room) {
		size_t room = f->section_room ? f->section_room * 2 : 4;
		struct fetch_section *more = arena_array(s->arena, room,
		    sizeof(*more));

		if (more == NULL) {
			parse_fail(&s->parse, "Command needs too much memory");
			return NULL;
		}
		if (f->section_count > 0)
			memcpy(more, f->sections,
			    f->section_count * sizeof(*more));
		f->sections = more;
		f->section_room = room;
	}
	return &f->sections[f->section_count++];
}

/* RFC 3501 6.4.5: RFC822 and its kin are other names of sections. */
static int add_rfc822(struct session *s, struct fetch *f, const char *label,
    enum imap_section_kind kind)
{
	struct fetch_section *section = new_section(s, f);

	if (section == NULL)
		return -1;
	section->section.kind = kind;
	section->label = str_of(label);
	f->sets_seen |= kind != IMAP_SECTION_HEADER;
	return 0;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static int parse_fields(struct session *s, struct imap_section *section)
{
	struct parse *p = &s->parse;
	size_t room = 0;

	if (parse_space(p) < 0 || parse_char(p, '(') < 0)
		return -1;
	do {
		struct str name;

		if (parse_astring(p, &name) < 0)
			return -1;
		if (section->field_count == IMAP_SECTION_FIELDS_MAX)
			return parse_fail(p, "Too many header fields");
		if (section->field_count == room) {
			struct str *more;

			room = room ? room * 2 : 8;
			more = arena_array(s->arena, room, sizeof(*more));
			if (more == NULL)
				return parse_fail(p,
				    "Command needs too much memory");
			if (section->field_count > 0)
				memcpy(more, section->fields,
				    section->field_count * sizeof(*more));
			section->fields = more;
		}
		section->fields[section->field_count++] = name;
	} while (parse_try(p, ' '));
	return parse_char(p, ')');
}

static int parse_numbers(struct parse *p, struct imap_section *section)
{
	while (parse_peek(p) >= '0' && parse_peek(p) <= '9') {
		if (section->depth == MIME_DEPTH_MAX)
			return parse_fail(p, "Too many part numbers");
		if (parse_nz_number(p, &section->numbers[section->depth]) < 0)
			return -1;
		section->depth++;
		if (!parse_try(p, '.'))
			return 0;
		if (parse_peek(p) == ']')
			return parse_fail(p, "Invalid section");
	}
	return 0;
}

/* section = "[" [section-spec] "]" */
static int parse_section(struct session *s, struct imap_section *section)
{
	struct parse *p = &s->parse;

	section->kind = IMAP_SECTION_ALL;
	if (parse_numbers(p, section) < 0)
		return -1;
	if (section->depth > 0 && p->line.p[p->at - 1] != '.')
		return parse_char(p, ']');
	if (section->depth == 0 && parse_try(p, ']'))
		return 0;
	if (try_text(p, "HEADER.FIELDS.NOT"))
		section->kind = IMAP_SECTION_FIELDS_NOT;
	else if (try_text(p, "HEADER.FIELDS"))
		section->kind = IMAP_SECTION_FIELDS;
	else if (try_text(p, "HEADER"))
		section->kind = IMAP_SECTION_HEADER;
	else if (try_text(p, "TEXT"))
		section->kind = IMAP_SECTION_TEXT;
	else if (section->depth > 0 && try_text(p, "MIME"))
		section->kind = IMAP_SECTION_MIME;
	else
		return parse_fail(p, "Invalid section");
	if ((section->kind == IMAP_SECTION_FIELDS ||
	    section->kind == IMAP_SECTION_FIELDS_NOT) &&
	    parse_fields(s, section) < 0)
		return -1;
	return parse_char(p, ']');
}

/* "<" number "." nz-number ">" */
static int parse_partial(struct parse *p, struct fetch_section *section)
{
	uint32_t limit;

	if (!parse_try(p, '<'))
		return 0;
	section->partial = true;
	if (parse_number(p, UINT32_MAX, &section->offset) < 0 ||
	    parse_char(p, '.') < 0 || parse_nz_number(p, &limit) < 0)
		return -1;
	section->limit = limit;
	return parse_char(p, '>');
}

/* RFC 3501 7.4.2: the answer names the section and the origin octet. */
static int make_label(struct session *s, struct fetch_section *section)
{
	struct buf label;
	int rc = 0;

	buf_init(&label, PARSE_COMMAND_MAX * 2);
	buf_append_c(&label, "BODY[");
	imap_section_append(&section->section, &label);
	buf_append_char(&label, ']');
	if (section->partial)
		buf_printf(&label, "<%llu>",
		    (unsigned long long)section->offset);
	section->label = arena_str(s->arena, buf_str(&label));
	if (label.failed || section->label.n == 0)
		rc = parse_fail(&s->parse, "Command needs too much memory");
	buf_fini(&label);
	return rc;
}

/* Behind "BODY[" or "BODY.PEEK[". */
static int parse_body_section(struct session *s, struct fetch *f, bool peek)
{
	struct fetch_section *section = new_section(s, f);

	if (section == NULL ||
	    parse_section(s, &section->section) < 0 ||
	    parse_partial(&s->parse, section) < 0)
		return -1;
	f->sets_seen |= !peek;
	f->needs_mime |= section->section.depth > 0;
	return make_label(s, section);
}

static int parse_item(struct session *s, struct fetch *f)
{
	static const struct { const char *word; unsigned item; } words[] = {
		{ "UID", FETCH_UID }, { "FLAGS", FETCH_FLAGS },
		{ "INTERNALDATE", FETCH_INTERNALDATE },
		{ "RFC822.SIZE", FETCH_SIZE }, { "ENVELOPE", FETCH_ENVELOPE },
		{ "BODYSTRUCTURE", FETCH_BODYSTRUCTURE },
		{ "BODY", FETCH_BODY },
	};
	struct parse *p = &s->parse;

	if (try_text(p, "BODY.PEEK["))
		return parse_body_section(s, f, true);
	if (try_text(p, "BODY["))
		return parse_body_section(s, f, false);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (parse_try_word(p, words[i].word)) {
			f->items |= words[i].item;
			return 0;
		}
	if (parse_try_word(p, "RFC822.HEADER"))
		return add_rfc822(s, f, "RFC822.HEADER", IMAP_SECTION_HEADER);
	if (parse_try_word(p, "RFC822.TEXT"))
		return add_rfc822(s, f, "RFC822.TEXT", IMAP_SECTION_TEXT);
	if (parse_try_word(p, "RFC822"))
		return add_rfc822(s, f, "RFC822", IMAP_SECTION_ALL);
	return parse_fail(p, parse_at_end(p) ? "Missing arguments" :
	    "Unknown FETCH item");
}

/* RFC 3501 6.4.5 */
static bool parse_macro(struct parse *p, struct fetch *f)
{
	unsigned fast = FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE;

	if (parse_try_word(p, "FAST"))
		f->items |= fast;
	else if (parse_try_word(p, "ALL"))
		f->items |= fast | FETCH_ENVELOPE;
	else if (parse_try_word(p, "FULL"))
		f->items |= fast | FETCH_ENVELOPE | FETCH_BODY;
	else
		return false;
	return true;
}

static int parse_items(struct session *s, struct fetch *f)
{
	struct parse *p = &s->parse;

	if (parse_macro(p, f))
		return 0;
	if (!parse_try(p, '('))
		return parse_item(s, f);
	do {
		if (parse_item(s, f) < 0)
			return -1;
	} while (parse_try(p, ' '));
	return parse_char(p, ')');
}

int fetch_parse(struct session *s, struct fetch *f)
{
	struct parse *p = &s->parse;

	if (parse_space(p) < 0 || parse_set(p, &f->set) < 0 ||
	    parse_space(p) < 0 || parse_items(s, f) < 0 || parse_end(p) < 0)
		return -1;
	if (s->uid)	/* RFC 3501 6.4.8 */
		f->items |= FETCH_UID;
	if ((f->items & (FETCH_BODY | FETCH_BODYSTRUCTURE)) != 0)
		f->needs_mime = true;
	return 0;
}
