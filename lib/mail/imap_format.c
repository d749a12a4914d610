/* ENVELOPE and BODYSTRUCTURE: RFC 3501 7.4.2, RFC 9051 7.5.2 */
#include "mail/address.h"
#include "mail/header.h"
#include "mail/imap_format.h"

/* Longer text is easier on both sides as a literal. */
#define QUOTED_MAX 2048
/* Memory for the lists of one message's header. */
#define ENVELOPE_ARENA (16 * 1024 * 1024)

static bool can_be_quoted(struct str s)
{
	if (s.n > QUOTED_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c > 127 || c == '\r' || c == '\n')
			return false;
	}
	return true;
}

/* In runs: most strings need no escape at all. */
static void append_escaped(struct buf *b, struct str s)
{
	size_t from = 0;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '"' || s.p[i] == '\\') {
			buf_append(b, str_sub(s, from, i - from));
			buf_append_char(b, '\\');
			from = i;
		}
	buf_append(b, str_from(s, from));
}

int imap_format_nstring(struct buf *b, struct str s)
{
	size_t at;

	if (s.p == NULL)
		return buf_append_c(b, "NIL");
	if (!can_be_quoted(s)) {
		buf_printf(b, "{%zu}\r\n", s.n);
		at = b->n;
		if (buf_append(b, s) == -1)
			return -1;
	} else {
		buf_append_char(b, '"');
		at = b->n;
		append_escaped(b, s);
		buf_append_char(b, '"');
		if (b->failed)
			return -1;
	}
	for (; at < b->n; at++)
		if (b->p[at] == '\0')
			b->p[at] = '?';
	return 0;
}

enum envelope_field {
	ENV_DATE, ENV_SUBJECT, ENV_FROM, ENV_SENDER, ENV_REPLY_TO, ENV_TO,
	ENV_CC, ENV_BCC, ENV_IN_REPLY_TO, ENV_MESSAGE_ID, ENV_COUNT
};

static const char *const envelope_names[ENV_COUNT] = {
	"Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc",
	"In-Reply-To", "Message-ID"
};

/* How often a repeated address field is joined to the first. */
#define JOINS_MAX 16

static int find_envelope(struct str message, struct arena *arena,
    struct str *bodies)
{
	unsigned joins = 0;
	struct mail_fields f;
	struct mail_field field;

	mail_fields_init(&f, message);
	while (mail_fields_next(&f, &field)) {
		int i;

		for (i = 0; i < ENV_COUNT; i++)
			if (str_eq_nocase_c(field.name, envelope_names[i]))
				break;
		if (i == ENV_COUNT)
			continue;
		if (bodies[i].p == NULL)
			bodies[i] = field.body;
		else if (i >= ENV_TO && i <= ENV_BCC && joins++ < JOINS_MAX)
			bodies[i] = arena_printf(arena, STR_FMT ", " STR_FMT,
			    STR_ARG(bodies[i]), STR_ARG(field.body));
	}
	return arena_failed(arena) ? -1 : 0;
}

static void append_address(struct buf *out, const struct mail_address *a)
{
	switch (a->kind) {
	case MAIL_ADDRESS_GROUP:
		buf_append_c(out, "(NIL NIL ");
		imap_format_nstring(out, a->name);
		buf_append_c(out, " NIL)");
		break;
	case MAIL_ADDRESS_GROUP_END:
		buf_append_c(out, "(NIL NIL NIL NIL)");
		break;
	case MAIL_ADDRESS_MAILBOX:
		buf_append_char(out, '(');
		imap_format_nstring(out, a->name);
		buf_append_char(out, ' ');
		imap_format_nstring(out, a->route);
		buf_append_char(out, ' ');
		/* NIL would say "group": what is missing is empty */
		imap_format_nstring(out, a->local.p ? a->local : STR(""));
		buf_append_char(out, ' ');
		imap_format_nstring(out, a->domain.p ? a->domain : STR(""));
		buf_append_char(out, ')');
		break;
	}
}

/* An address list, or NIL when there is none or it is empty. */
static int append_addresses(struct buf *out, struct str body,
    struct arena *arena)
{
	struct mail_address_list list;

	if (body.p == NULL)
		return buf_append_c(out, "NIL");
	if (mail_address_parse(body, arena, &list) == -1)
		return -1;
	if (list.count == 0)
		return buf_append_c(out, "NIL");
	buf_append_char(out, '(');
	for (unsigned i = 0; i < list.count; i++)
		append_address(out, &list.items[i]);
	return buf_append_char(out, ')');
}

static int append_text(struct buf *out, struct str body, struct arena *arena)
{
	struct str text = STR_NONE;

	if (body.p != NULL) {
		text = mail_unfold_arena(body, arena);
		if (text.p == NULL)
			return -1;
	}
	return imap_format_nstring(out, text);
}

static int append_envelope(struct str message, struct arena *arena,
    struct buf *out)
{
	struct str bodies[ENV_COUNT] = { { NULL, 0 } };
	size_t from_at = 0, from_n = 0;

	if (find_envelope(message, arena, bodies) == -1)
		return -1;
	buf_append_char(out, '(');
	for (int i = 0; i < ENV_COUNT; i++) {
		size_t at;

		if (i > 0)
			buf_append_char(out, ' ');
		at = out->n;
		if (i < ENV_FROM || i > ENV_BCC) {
			if (append_text(out, bodies[i], arena) == -1)
				return -1;
			continue;
		}
		if (append_addresses(out, bodies[i], arena) == -1)
			return -1;
		if (i == ENV_FROM) {
			from_at = at;
			from_n = out->n - at;
		} else if ((i == ENV_SENDER || i == ENV_REPLY_TO) &&
		    out->n - at == 3) {
			/* RFC 3501 7.4.2: NIL here is the From's value */
			buf_truncate(out, at);
			if (buf_reserve(out, from_n) == NULL)
				return -1;
			buf_append_n(out, out->p + from_at, from_n);
		}
	}
	return buf_append_char(out, ')') == -1 || out->failed ? -1 : 0;
}

int imap_format_envelope(struct str message, struct buf *out)
{
	struct arena *arena = arena_new(ENVELOPE_ARENA);
	int r = arena ? append_envelope(message, arena, out) : -1;

	arena_free(&arena);
	return r;
}

/* body-fld-param: NIL or pairs. charset: add the default of text/... */
static int append_params(struct buf *out, const struct mail_mime_params *raw,
    bool charset, struct arena *arena)
{
	struct mail_mime_params params;
	bool seen = false;

	if (mail_mime_params_join(raw, arena, &params) == -1)
		return -1;
	for (unsigned i = 0; i < params.count; i++)
		seen |= str_eq_nocase_c(params.items[i].name, "charset");
	if (params.count == 0 && !charset)
		return buf_append_c(out, "NIL");
	buf_append_char(out, '(');
	for (unsigned i = 0; i < params.count; i++) {
		if (i > 0)
			buf_append_char(out, ' ');
		imap_format_nstring(out, params.items[i].name);
		buf_append_char(out, ' ');
		imap_format_nstring(out, params.items[i].value);
	}
	if (charset && !seen)
		buf_printf(out, "%s\"charset\" \"us-ascii\"",
		    params.count > 0 ? " " : "");
	return buf_append_char(out, ')');
}

/* body-fld-lang: NIL, one string, or a list (RFC 3282) */
static void append_language(struct buf *out, struct str languages)
{
	struct str word, rest = languages;
	unsigned count = 0;
	size_t at = out->n;

	while (str_split(&rest, ',', &word)) {
		word = mail_field_token(word);
		if (word.n == 0)
			continue;
		buf_append_char(out, count++ == 0 ? '(' : ' ');
		imap_format_nstring(out, word);
	}
	if (out->n == at)
		buf_append_c(out, "NIL");
	else
		buf_append_char(out, ')');
}

/* [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]] */
static int append_extension(struct buf *out, const struct mime_part *part,
    struct arena *arena)
{
	if (part->disposition.p == NULL) {
		buf_append_c(out, " NIL ");
	} else {
		buf_append_c(out, " (");
		imap_format_nstring(out, part->disposition);
		buf_append_char(out, ' ');
		if (append_params(out, &part->disposition_params, false,
		    arena) == -1)
			return -1;
		buf_append_c(out, ") ");
	}
	append_language(out, part->language);
	buf_append_char(out, ' ');
	return imap_format_nstring(out, part->location);
}

/* media type and body-fields, up to the octets. */
static int append_fields(struct buf *out, const struct mime_part *part,
    struct arena *arena)
{
	imap_format_nstring(out, part->type);
	buf_append_char(out, ' ');
	imap_format_nstring(out, part->subtype);
	buf_append_char(out, ' ');
	if (append_params(out, &part->params, part->text, arena) == -1)
		return -1;
	buf_append_char(out, ' ');
	imap_format_nstring(out, part->id);
	buf_append_char(out, ' ');
	imap_format_nstring(out, part->description);
	buf_append_char(out, ' ');
	imap_format_nstring(out, part->encoding.p ? part->encoding :
	    STR("7bit"));
	return buf_printf(out, " %llu",
	    (unsigned long long)part->body_size);
}

static int append_md5_and_rest(struct buf *out, const struct mime_part *part,
    struct arena *arena)
{
	buf_append_char(out, ' ');
	imap_format_nstring(out, part->md5);
	return append_extension(out, part, arena);
}

/*
 * Whether it is shown with envelope and body. message/global is not: for
 * IMAP4rev1 media-message is MESSAGE/RFC822 alone (RFC 3501 section 9; RFC
 * 9051 added the other).
 */
static bool is_shown_as_message(const struct mime_part *part)
{
	return part->message && mime_is(part, "message", "rfc822");
}

/* What stands before the children; for a part without any, all of it. */
static int open_part(struct buf *out, const struct mime *mime,
    const struct mime_part *part, bool extended, struct arena *arena)
{
	buf_append_char(out, '(');
	if (part->multipart) {
		/* The grammar wants a child; one that has none is shown with
		 * an empty text. */
		if (part->children == 0)
			buf_append_c(out, extended ?
			    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") "
			    "NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)" :
			    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") "
			    "NIL NIL \"7bit\" 0 0)");
		return 0;
	}
	if (append_fields(out, part, arena) == -1)
		return -1;
	if (is_shown_as_message(part)) {
		const struct mime_part *inner =
		    &mime->parts[part->first_child];

		buf_append_char(out, ' ');
		if (append_envelope(mime_header(mime, inner), arena, out) ==
		    -1)
			return -1;
		return buf_append_char(out, ' ');
	}
	if (part->text)
		buf_printf(out, " %u", part->body_lines);
	return 0;
}

static int close_part(struct buf *out, const struct mime_part *part,
    bool extended, struct arena *arena)
{
	if (part->multipart) {
		buf_append_char(out, ' ');
		imap_format_nstring(out, part->subtype);
		if (extended) {
			buf_append_char(out, ' ');
			if (append_params(out, &part->params, false, arena) ==
			    -1 || append_extension(out, part, arena) == -1)
				return -1;
		}
		return buf_append_char(out, ')');
	}
	if (is_shown_as_message(part))
		buf_printf(out, " %u", part->body_lines);
	if (extended && append_md5_and_rest(out, part, arena) == -1)
		return -1;
	return buf_append_char(out, ')');
}

/* Depth first by the links of the flat array: no recursion. */
static int append_structure(const struct mime *mime, bool extended,
    struct buf *out, struct arena *arena)
{
	uint32_t at = 0;

	for (;;) {
		const struct mime_part *part = &mime->parts[at];

		if (open_part(out, mime, part, extended, arena) == -1)
			return -1;
		if (part->multipart ? part->first_child != MIME_NO_PART :
		    is_shown_as_message(part)) {
			at = part->first_child;
			continue;
		}
		for (;;) {
			if (close_part(out, part, extended, arena) == -1 ||
			    out->failed)
				return -1;
			if (part->parent == MIME_NO_PART)
				return 0;
			if (part->next != MIME_NO_PART)
				break;
			part = &mime->parts[part->parent];
		}
		at = part->next;
	}
}

int imap_format_bodystructure(const struct mime *mime, bool extended,
    struct buf *out)
{
	struct arena *arena = arena_new(ENVELOPE_ARENA);
	int r = arena ? append_structure(mime, extended, out, arena) : -1;

	arena_free(&arena);
	return r;
}
