/* Sections of BODY[...]: RFC 3501 6.4.5 */
#include "mail/header.h"
#include "mail/imap_format.h"

/* "1.2." or "1.2"; *s is left at what follows. */
static int take_numbers(struct str *s, struct imap_section *section)
{
	while (s->n > 0 && ascii_is_digit(s->p[0])) {
		uint64_t value;
		size_t n = 0;

		while (n < s->n && ascii_is_digit(s->p[n]))
			n++;
		if (s->p[0] == '0' || section->depth == MIME_DEPTH_MAX ||
		    str_to_u64(str_n(s->p, n), UINT32_MAX, &value) == -1)
			return -1;
		section->numbers[section->depth++] = (uint32_t)value;
		*s = str_from(*s, n);
		if (s->n == 0)
			return 0;
		if (s->p[0] != '.' || s->n == 1)
			return -1;
		*s = str_from(*s, 1);
	}
	return 0;
}

/* RFC 3501 9 ASTRING-CHAR, without what no field name holds. */
static bool is_atom_char(char c)
{
	return c > 32 && c < 127 && strchr("(){%*\"\\", c) == NULL;
}

/* One atom or quoted string. */
static int take_astring(struct str *s, struct arena *arena, struct str *out)
{
	size_t n = 0, k = 0;
	char *p;

	if (s->n > 0 && s->p[0] != '"') {
		while (n < s->n && is_atom_char(s->p[n]))
			n++;
		*out = str_n(s->p, n);
		*s = str_from(*s, n);
		return n > 0 ? 0 : -1;
	}
	if ((p = arena_alloc(arena, s->n + 1)) == NULL)
		return -1;
	for (n = 1; n < s->n && s->p[n] != '"'; n++) {
		if (s->p[n] == '\\' && ++n == s->n)
			return -1;
		p[k++] = s->p[n];
	}
	if (n >= s->n)
		return -1;
	*out = str_n(p, k);
	*s = str_from(*s, n + 1);
	return 0;
}

/* SP "(" names ")" to the end. */
static int take_fields(struct str s, struct arena *arena,
    struct imap_section *section)
{
	struct str *names;
	size_t room = 0;

	while (s.n > 0 && s.p[0] == ' ')
		s = str_from(s, 1);
	if (s.n < 3 || s.p[0] != '(')
		return -1;
	s = str_from(s, 1);
	for (size_t i = 0; i < s.n; i++)
		room += s.p[i] == ' ';
	if (++room > IMAP_SECTION_FIELDS_MAX)
		return -1;
	if ((names = arena_array(arena, room, sizeof(*names))) == NULL)
		return -1;
	section->fields = names;
	for (;;) {
		while (s.n > 0 && s.p[0] == ' ')
			s = str_from(s, 1);
		if (s.n > 0 && s.p[0] == ')')
			break;
		if (s.n == 0 || section->field_count == room ||
		    take_astring(&s, arena,
		    &names[section->field_count]) == -1)
			return -1;
		section->field_count++;
		if (s.n == 0 || (s.p[0] != ' ' && s.p[0] != ')'))
			return -1;
	}
	return s.n == 1 && section->field_count > 0 ? 0 : -1;
}

int imap_section_parse(struct str s, struct arena *arena,
    struct imap_section *section)
{
	memset(section, 0, sizeof(*section));
	if (take_numbers(&s, section) == -1)
		return -1;
	if (s.n == 0) {
		section->kind = IMAP_SECTION_ALL;
		return 0;
	}
	if (str_eq_nocase_c(s, "HEADER")) {
		section->kind = IMAP_SECTION_HEADER;
	} else if (str_eq_nocase_c(s, "TEXT")) {
		section->kind = IMAP_SECTION_TEXT;
	} else if (str_eq_nocase_c(s, "MIME") && section->depth > 0) {
		section->kind = IMAP_SECTION_MIME;
	} else if (str_starts_nocase(s, STR("HEADER.FIELDS.NOT "))) {
		section->kind = IMAP_SECTION_FIELDS_NOT;
		return take_fields(str_from(s, 17), arena, section);
	} else if (str_starts_nocase(s, STR("HEADER.FIELDS "))) {
		section->kind = IMAP_SECTION_FIELDS;
		return take_fields(str_from(s, 13), arena, section);
	} else {
		return -1;
	}
	return 0;
}

static void append_name(struct buf *b, struct str name)
{
	bool atom = name.n > 0;

	for (size_t i = 0; i < name.n; i++)
		atom &= is_atom_char(name.p[i]) && name.p[i] != ']';
	if (atom)
		buf_append(b, name);
	else
		imap_format_nstring(b, name.p ? name : STR(""));
}

int imap_section_append(const struct imap_section *section, struct buf *b)
{
	static const char *const words[] = {
		[IMAP_SECTION_ALL] = "", [IMAP_SECTION_HEADER] = "HEADER",
		[IMAP_SECTION_FIELDS] = "HEADER.FIELDS (",
		[IMAP_SECTION_FIELDS_NOT] = "HEADER.FIELDS.NOT (",
		[IMAP_SECTION_TEXT] = "TEXT", [IMAP_SECTION_MIME] = "MIME",
	};

	for (unsigned i = 0; i < section->depth; i++)
		buf_printf(b, "%s%u", i > 0 ? "." : "", section->numbers[i]);
	if (section->depth > 0 && section->kind != IMAP_SECTION_ALL)
		buf_append_char(b, '.');
	buf_append_c(b, words[section->kind]);
	if (section->kind == IMAP_SECTION_FIELDS ||
	    section->kind == IMAP_SECTION_FIELDS_NOT) {
		for (unsigned i = 0; i < section->field_count; i++) {
			if (i > 0)
				buf_append_char(b, ' ');
			append_name(b, section->fields[i]);
		}
		buf_append_char(b, ')');
	}
	return b->failed ? -1 : 0;
}

static uint64_t crlf_size(struct str s)
{
	uint64_t lines, added;

	mime_count_lines(s, &lines, &added);
	return s.n + added;
}

static int one_piece(struct str s, uint64_t size, struct arena *arena,
    struct imap_ranges *ranges)
{
	ranges->pieces = ARENA_NEW(arena, struct str);
	if (ranges->pieces == NULL)
		return -1;
	ranges->pieces[0] = s;
	ranges->count = 1;
	ranges->size = size;
	ranges->exists = true;
	return 0;
}

static bool is_wanted(const struct imap_section *section, struct str name)
{
	bool listed = false;

	for (unsigned i = 0; i < section->field_count && !listed; i++)
		listed = str_eq_nocase(section->fields[i], name);
	return listed == (section->kind == IMAP_SECTION_FIELDS);
}

/*
 * The chosen fields as they stand, neighbours in one piece. With pieces NULL
 * it only counts them.
 */
static unsigned choose_fields(struct str header,
    const struct imap_section *section, struct str *pieces)
{
	struct mail_fields f;
	struct mail_field field;
	const char *end = NULL;
	unsigned count = 0;

	mail_fields_init(&f, header);
	while (mail_fields_next(&f, &field)) {
		if (!is_wanted(section, field.name))
			continue;
		if (end == field.raw.p) {
			if (pieces != NULL)
				pieces[count - 1].n += field.raw.n;
		} else {
			if (pieces != NULL)
				pieces[count] = field.raw;
			count++;
		}
		end = field.raw.p + field.raw.n;
	}
	return count;
}

/* RFC 3501 6.4.5: a subset of the header always ends with an empty line. */
static int find_fields(struct str header, const struct imap_section *section,
    struct arena *arena, struct imap_ranges *ranges)
{
	struct str last;

	ranges->exists = true;
	ranges->tail = STR("\r\n");
	ranges->count = choose_fields(header, section, NULL);
	if (ranges->count > 0) {
		ranges->pieces = arena_array(arena, ranges->count,
		    sizeof(*ranges->pieces));
		if (ranges->pieces == NULL)
			return -1;
		choose_fields(header, section, ranges->pieces);
		last = ranges->pieces[ranges->count - 1];
		if (last.p[last.n - 1] != '\n')
			ranges->tail = STR("\r\n\r\n");
	}
	for (unsigned i = 0; i < ranges->count; i++)
		ranges->size += crlf_size(ranges->pieces[i]);
	ranges->size += ranges->tail.n;
	return 0;
}

int imap_section_find_simple(struct str message,
    const struct imap_section *section, struct arena *arena,
    struct imap_ranges *ranges)
{
	struct str s = message;

	memset(ranges, 0, sizeof(*ranges));
	if (section->depth > 0 || section->kind == IMAP_SECTION_MIME)
		return -1;
	if (section->kind == IMAP_SECTION_ALL)
		return one_piece(s, crlf_size(s), arena, ranges);
	s.n = mail_header_size(message);
	if (section->kind == IMAP_SECTION_TEXT)
		s = str_from(message, s.n);
	else if (section->kind != IMAP_SECTION_HEADER)
		return find_fields(s, section, arena, ranges);
	return one_piece(s, crlf_size(s), arena, ranges);
}

int imap_section_find(const struct mime *mime,
    const struct imap_section *section, struct arena *arena,
    struct imap_ranges *ranges)
{
	const struct mime_part *part = mime_find(mime, section->numbers,
	    section->depth);

	memset(ranges, 0, sizeof(*ranges));
	if (part == NULL)
		return 0;
	switch (section->kind) {
	case IMAP_SECTION_ALL:
		if (section->depth == 0)
			return one_piece(mime->message, mime_size(mime),
			    arena, ranges);
		return one_piece(mime_body(mime, part), part->body_size,
		    arena, ranges);
	case IMAP_SECTION_MIME:
		if (section->depth == 0)
			return 0;
		return one_piece(mime_header(mime, part), part->header_size,
		    arena, ranges);
	default:
		break;
	}
	/* RFC 3501 6.4.5: of a part, only when that is a message */
	if (section->depth > 0) {
		if (!part->message)
			return 0;
		part = &mime->parts[part->first_child];
	}
	if (section->kind == IMAP_SECTION_TEXT)
		return one_piece(mime_body(mime, part), part->body_size,
		    arena, ranges);
	if (section->kind == IMAP_SECTION_HEADER)
		return one_piece(mime_header(mime, part), part->header_size,
		    arena, ranges);
	return find_fields(mime_header(mime, part), section, arena, ranges);
}

uint64_t imap_ranges_partial_size(const struct imap_ranges *ranges,
    uint64_t offset, uint64_t limit)
{
	uint64_t left;

	if (offset >= ranges->size)
		return 0;
	left = ranges->size - offset;
	return left < limit ? left : limit;
}

void imap_ranges_reader_init(struct imap_ranges_reader *r,
    const struct imap_ranges *ranges, uint64_t offset, uint64_t limit)
{
	*r = (struct imap_ranges_reader){ .ranges = ranges };
	crlf_window_init(&r->window, offset, limit);
	if (ranges->count > 0)
		r->rest = ranges->pieces[0];
	else
		r->rest = ranges->tail;
}

int imap_ranges_read(struct imap_ranges_reader *r, size_t room,
    struct buf *out)
{
	size_t start = out->n;

	for (;;) {
		int result = crlf_window_copy(&r->window, &r->rest,
		    room - (out->n - start), out);

		if (result != 1)
			return result;
		if (crlf_window_full(&r->window) ||
		    r->piece == r->ranges->count)
			return 1;
		r->piece++;
		r->rest = r->piece < r->ranges->count ?
		    r->ranges->pieces[r->piece] : r->ranges->tail;
		r->window.after_cr = false;
	}
}
