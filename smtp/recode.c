#include "mail/header.h"
#include "mail/mime.h"
#include "smtp/recode.h"

static bool has_8bit(struct str s)
{
	return !str_is_ascii(s);
}

/* What a part's header says instead of its transfer encoding, or NULL. */
static const char *new_encoding(const struct mime *m,
    const struct mime_part *p)
{
	bool plain = p->transfer == MAIL_ENCODING_7BIT ||
	    p->transfer == MAIL_ENCODING_8BIT ||
	    p->transfer == MAIL_ENCODING_BINARY;

	if (p->multipart || p->message) /* RFC 2045 6.4: no other is legal */
		return p->transfer == MAIL_ENCODING_8BIT ||
		    p->transfer == MAIL_ENCODING_BINARY ? "7bit" : NULL;
	return plain && has_8bit(mime_body(m, p)) ? "quoted-printable" : NULL;
}

static void add_field(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s: %s\r\n", name, value);
}

/* A header that a line which is no field ended has no empty line. */
static bool lacks_blank(struct str header)
{
	struct mail_fields walk;
	struct mail_field f;

	mail_fields_init(&walk, header);
	while (mail_fields_next(&walk, &f))
		;
	return !walk.has_blank;
}

/* The header with another Content-Transfer-Encoding, and what MIME asks for
 * where it was missing. */
static void put_header(const struct mime *m, const struct mime_part *p,
    const char *encoding, struct buf *out)
{
	struct str header = mime_header(m, p);
	bool root = p->parent == MIME_NO_PART, version = false, type = false;
	struct mail_fields walk;
	struct mail_field f;

	mail_fields_init(&walk, header);
	while (mail_fields_next(&walk, &f)) {
		version |= str_eq_nocase_c(f.name, "MIME-Version");
		type |= str_eq_nocase_c(f.name, "Content-Type");
		if (!str_eq_nocase_c(f.name, "Content-Transfer-Encoding"))
			buf_append(out, f.raw);
	}
	if (root && !version)
		add_field(out, "MIME-Version", "1.0");
	if (!type && !p->multipart && !p->message)
		add_field(out, "Content-Type",
		    "text/plain; charset=unknown-8bit");
	add_field(out, "Content-Transfer-Encoding", encoding);
	/* also where a line that is no field ended the header */
	buf_append_c(out, "\r\n");
}

int recode_to_7bit(struct str message, struct arena *arena, struct buf *out)
{
	struct mime m;
	size_t at = 0;

	if (mime_parse(message, arena, &m) < 0)
		return -1;
	for (uint32_t i = 0; i < m.count; i++) {
		const struct mime_part *p = &m.parts[i];
		const char *encoding = new_encoding(&m, p);

		if (encoding == NULL)
			continue;
		buf_append(out, str_sub(message, at, p->header_at - at));
		/* What is put in must not join the header of the part that
		 * this message is in. */
		if (p->parent != MIME_NO_PART && m.parts[p->parent].message &&
		    new_encoding(&m, &m.parts[p->parent]) == NULL &&
		    lacks_blank(mime_header(&m, &m.parts[p->parent])))
			buf_append_c(out, "\r\n");
		put_header(&m, p, encoding, out);
		at = p->header_at + p->header_n;
		if (p->multipart || p->message)
			continue;
		mail_encode_quoted(mime_body(&m, p), out);
		at = p->body_at + p->body_n;
	}
	buf_append(out, str_from(message, at));
	return out->failed ? -1 : 0;
}
