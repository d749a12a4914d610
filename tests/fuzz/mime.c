/*
 * mime.c - the structure of a message, and what is shown of it by IMAP
 *
 * The tree has no cycle, stays within the caps, lies inside the message;
 * ENVELOPE, BODY and BODYSTRUCTURE parse as IMAP lists; each section has as
 * many octets as was said.
 */
#include <stdlib.h>
#include "fuzz.h"
#include "mail/header.h"
#include "mail/imap_format.h"
#include "mail/search_text.h"

static void check_part(const struct mime *m, uint32_t i)
{
	const struct mime_part *part = &m->parts[i];
	uint64_t lines, added;
	uint32_t children = 0;

	fuzz_check(i == 0 ? part->parent == MIME_NO_PART : part->parent < i,
	    "a parent behind its part");
	fuzz_check(part->depth <= MIME_DEPTH_MAX + 1 && part->depth ==
	    (i == 0 ? 0 : m->parts[part->parent].depth + 1), "depth");
	for (uint32_t c = part->first_child; c != MIME_NO_PART;
	    c = m->parts[c].next) {
		fuzz_check(c > i && c < m->count &&
		    m->parts[c].parent == i, "not its child");
		fuzz_check(m->parts[c].next == MIME_NO_PART ||
		    m->parts[c].next > c, "siblings in no order");
		children++;
	}
	fuzz_check(children == part->children, "children");
	fuzz_check(!part->message || children == 1, "one message inside");
	fuzz_check(children == 0 || part->message || part->multipart,
	    "children of a leaf");
	fuzz_check(part->header_at <= m->message.n &&
	    part->header_n <= m->message.n - part->header_at &&
	    part->body_at == part->header_at + part->header_n &&
	    part->body_n <= m->message.n - part->body_at, "outside");
	if (i > 0)
		fuzz_check(part->header_at >= m->parts[part->parent].body_at &&
		    part->body_at + part->body_n <=
		    m->parts[part->parent].body_at +
		    m->parts[part->parent].body_n, "outside of its parent");
	mime_count_lines(mime_body(m, part), &lines, &added);
	fuzz_check(part->body_lines == lines && part->body_size ==
	    part->body_n + added, "the body's size");
	mime_count_lines(mime_header(m, part), &lines, &added);
	fuzz_check(part->header_lines == lines && part->header_size ==
	    part->header_n + added, "the header's size");
	fuzz_check(part->type.n > 0 && part->subtype.n > 0, "no type");
}

/* Takes one nstring, number or list off the start. */
static void take_value(struct str *s, unsigned depth)
{
	struct fuzz_in in = { *s };

	fuzz_check(s->n > 0, "a value is missing");
	fuzz_check(depth < 500, "deep");
	if (s->p[0] == '(') {
		*s = str_from(*s, 1);
		while (s->n > 0 && s->p[0] != ')') {
			take_value(s, depth + 1);
			/* Addresses and bodies follow without a space. */
			if (s->n > 0 && s->p[0] == ' ') {
				*s = str_from(*s, 1);
				fuzz_check(s->n > 0 && s->p[0] != ')',
				    "a space before )");
			}
		}
		fuzz_check(s->n > 0, "( without )");
		*s = str_from(*s, 1);
	} else if (s->p[0] == '"') {
		size_t i = 1;

		for (; i < s->n && s->p[i] != '"'; i++) {
			unsigned char c = (unsigned char)s->p[i];

			fuzz_check(c != '\r' && c != '\n' && c != 0 && c < 128,
			    "octet %u in a quoted string", c);
			if (c == '\\') {
				i++;
				fuzz_check(i < s->n && (s->p[i] == '"' ||
				    s->p[i] == '\\'), "a bad escape");
			}
		}
		fuzz_check(i < s->n, "no closing quote");
		*s = str_from(*s, i + 1);
	} else if (s->p[0] == '{') {
		struct str number;
		uint64_t octets;

		(void)fuzz_take(&in, 1);
		number = fuzz_field(&in, '}');
		fuzz_check(str_to_u64(number, SIZE_MAX, &octets) == 0,
		    "a literal's size");
		fuzz_check(str_starts(in.rest, STR("\r\n")), "literal");
		(void)fuzz_take(&in, 2);
		fuzz_check(in.rest.n >= octets, "a short literal");
		fuzz_check(!str_has_nul(fuzz_take(&in, octets)), "NUL");
		*s = in.rest;
	} else {
		size_t i = 0;

		while (i < s->n && (ascii_is_alpha(s->p[i]) ||
		    ascii_is_digit(s->p[i])))
			i++;
		fuzz_check(i > 0, "no value at octet %d", s->p[0]);
		*s = str_from(*s, i);
	}
}

static void check_list(const char *what, struct buf *b)
{
	struct str s = buf_str(b);

	fuzz_check(s.n > 0 && s.p[0] == '(', "%s is no list", what);
	take_value(&s, 0);
	fuzz_check(s.n == 0, "%s: something behind it", what);
	buf_reset(b);
}

static void check_sections(const struct mime *m, struct str spec,
    struct arena *arena, struct buf *out)
{
	struct imap_section section, again;
	struct imap_ranges ranges;
	struct imap_ranges_reader reader;
	struct buf text;
	uint64_t offset = 0;
	int r;

	if (imap_section_parse(spec, arena, &section) == -1)
		return;
	buf_init(&text, SIZE_MAX);
	fuzz_check(imap_section_append(&section, &text) == 0, "section");
	fuzz_check(imap_section_find(m, &section, arena, &ranges) == 0,
	    "memory");
	(void)again;
	if (ranges.exists) {
		imap_ranges_reader_init(&reader, &ranges, 0, UINT64_MAX);
		while ((r = imap_ranges_read(&reader, 100, out)) == 0)
			;
		fuzz_check(r == 1 && out->n == ranges.size,
		    "a section of %llu octets has %zu",
		    (unsigned long long)ranges.size, out->n);
		/* A partial fetch is a window of it. */
		offset = out->n / 3;
		buf_reset(&text);
		imap_ranges_reader_init(&reader, &ranges, offset, 7);
		while ((r = imap_ranges_read(&reader, 3, &text)) == 0)
			;
		fuzz_check_same("a partial fetch", buf_str(&text),
		    str_sub(buf_str(out), offset, 7));
		fuzz_check(imap_ranges_partial_size(&ranges, offset, 7) ==
		    text.n, "its size");
	}
	buf_reset(out);
	buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct search_key *key;
	struct fuzz_in in = fuzz_in(p, n);
	struct str spec, message;
	struct arena *arena = arena_new(64 << 20);
	struct mime m;
	struct buf out;

	if (key == NULL)
		key = search_key_new(STR("xyzzy"), NULL);
	/* A first line with a number or HEADER is a section's name. */
	spec = STR("");
	if (n > 0 && (ascii_is_digit((char)p[0]) || p[0] == '['))
		spec = fuzz_field(&in, '\n');
	if (str_starts(spec, STR("[")))
		spec = str_from(spec, 1);
	message = fuzz_exact(fuzz_rest(&in));
	buf_init(&out, SIZE_MAX);
	fuzz_budget_start();
	fuzz_check(mime_parse(message, arena, &m) == 0, "memory");
	fuzz_check_steps(3000, n, 20000);
	fuzz_check(m.count >= 1 && m.count <= MIME_PARTS_MAX, "parts");
	fuzz_check(m.parts[0].header_n == mail_header_size(message),
	    "two places of the body");
	for (uint32_t i = 0; i < m.count; i++)
		check_part(&m, i);
	fuzz_budget_start();
	fuzz_check(imap_format_bodystructure(&m, true, &out) == 0, "memory");
	check_list("BODYSTRUCTURE", &out);
	fuzz_check(imap_format_bodystructure(&m, false, &out) == 0, "memory");
	check_list("BODY", &out);
	fuzz_check(imap_format_envelope(message, &out) == 0, "memory");
	check_list("ENVELOPE", &out);
	fuzz_check_steps(20000, n, 100000);
	check_sections(&m, spec, arena, &out);
	fuzz_check(search_text_message(key, &m, true) != -1, "search");
	fuzz_check(search_text_header(key, message, STR("Subject")) != -1,
	    "search");
	fuzz_check(search_text_addresses(key, message, STR("From")) != -1,
	    "search");
	{
		bool reply;

		fuzz_check(imap_base_subject(str_sub(message, 0, 500), &out,
		    &reply) == 0, "base subject");
		fuzz_check(str_is_utf8(buf_str(&out)), "base subject");
	}
	buf_fini(&out);
	arena_free(&arena);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	mail_charset_open_all();
	return 0;
}
