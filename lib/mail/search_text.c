#include <stdlib.h>
#include "mail/address.h"
#include "mail/header.h"
#include "mail/path.h"
#include "mail/search_text.h"

/* Octets of a body that are decoded at a time. */
#define PIECE 16384
/* Decoded text of one header field that is looked at. */
#define FIELD_MAX (4 * MAIL_HEADER_SIZE_MAX)
/* Memory for the addresses of one field. */
#define ADDRESS_ARENA (16 * 1024 * 1024)

struct search_key {
	size_t n;
	/*
	 * Knuth, Morris, Pratt: text comes in pieces and is never looked at
	 * twice, so no key and no message make it slow. fail[i] is how many
	 * octets of the key still match when octet i does not.
	 */
	uint32_t *fail;
	unsigned char text[];
};

struct match {
	const struct search_key *key;
	size_t n;		/* octets of the key that match so far */
	bool found;
};

struct search_key *search_key_new(struct str octets,
    const struct mail_charset *charset)
{
	struct search_key *key = NULL;
	struct buf utf8, folded;

	buf_init(&utf8, SEARCH_KEY_MAX);
	buf_init(&folded, SEARCH_KEY_MAX);
	if (mail_charset_to_utf8(charset ? charset : mail_charset_utf8, octets,
	    &utf8) == -1 || mail_fold(buf_str(&utf8), &folded) == -1)
		goto out;
	key = calloc(1, sizeof(*key) + folded.n + 1);
	if (key == NULL)
		goto out;
	key->n = folded.n;
	key->fail = calloc(folded.n + 1, sizeof(*key->fail));
	if (key->fail == NULL) {
		free(key);
		key = NULL;
		goto out;
	}
	if (folded.n > 0)
		memcpy(key->text, folded.p, folded.n);
	for (size_t i = 1, k = 0; i < key->n; i++) {
		while (k > 0 && key->text[i] != key->text[k])
			k = key->fail[k];
		if (key->text[i] == key->text[k])
			k++;
		key->fail[i + 1] = (uint32_t)k;
	}
out:
	buf_fini(&utf8);
	buf_fini(&folded);
	return key;
}

void search_key_free(struct search_key **key)
{
	if (*key != NULL)
		free((*key)->fail);
	free(*key);
	*key = NULL;
}

/* More text, folded. */
static void match_more(struct match *m, struct str folded)
{
	const struct search_key *key = m->key;
	size_t n = m->n;

	if (key->n == 0)
		m->found = true;
	for (size_t i = 0; i < folded.n && !m->found; i++) {
		unsigned char c = (unsigned char)folded.p[i];

		while (n > 0 && key->text[n] != c)
			n = key->fail[n];
		if (key->text[n] == c && ++n == key->n)
			m->found = true;
	}
	m->n = n;
}

/* A text of its own: nothing matches across its ends. */
static int match_utf8(struct match *m, struct str utf8)
{
	struct buf folded;
	int r;

	buf_init(&folded, 3 * utf8.n + 1);
	m->n = 0;
	r = mail_fold(utf8, &folded);
	if (r == 0)
		match_more(m, buf_str(&folded));
	m->n = 0;
	buf_fini(&folded);
	return r;
}

bool search_key_in(const struct search_key *key, struct str utf8)
{
	struct match m = { .key = key };

	return match_utf8(&m, utf8) == 0 && m.found;
}

/* The field's text as it is shown. */
static int match_field(struct match *m, const struct mail_field *field,
    bool with_name)
{
	struct buf line, text;
	int r;

	buf_init(&line, field->body.n + field->name.n + 3);
	buf_init(&text, FIELD_MAX);
	if (with_name) {
		buf_append(&line, field->name);
		buf_append_c(&line, ": ");
	}
	r = mail_unfold(field->body, &line);
	if (r == 0)
		r = mail_words_decode(buf_str(&line), &text);
	if (r == 0)
		r = match_utf8(m, buf_str(&text));
	buf_fini(&line);
	buf_fini(&text);
	return r;
}

int search_text_header(const struct search_key *key, struct str message,
    struct str name)
{
	struct match m = { .key = key };
	struct mail_fields f;
	struct mail_field field;

	mail_fields_init(&f, message);
	while (!m.found && mail_fields_next(&f, &field))
		if (str_eq_nocase(field.name, name) &&
		    match_field(&m, &field, false) == -1)
			return -1;
	return m.found;
}

static int match_addresses(struct match *m, struct str body)
{
	struct arena *arena = arena_new(ADDRESS_ARENA);
	struct mail_address_list list;
	struct buf text;
	int r = -1;

	buf_init(&text, FIELD_MAX);
	if (arena == NULL || mail_address_parse(body, arena, &list) == -1)
		goto out;
	for (unsigned i = 0; i < list.count && !m->found; i++) {
		buf_reset(&text);
		buf_append(&text, list.items[i].local);
		if (list.items[i].domain.p != NULL) {
			buf_append_char(&text, '@');
			buf_append(&text, list.items[i].domain);
		}
		if (text.failed || match_utf8(m, buf_str(&text)) == -1)
			goto out;
	}
	r = 0;
out:
	buf_fini(&text);
	arena_free(&arena);
	return r;
}

int search_text_addresses(const struct search_key *key, struct str message,
    struct str name)
{
	struct match m = { .key = key };
	struct mail_fields f;
	struct mail_field field;

	mail_fields_init(&f, message);
	while (!m.found && mail_fields_next(&f, &field)) {
		if (!str_eq_nocase(field.name, name))
			continue;
		if (match_field(&m, &field, false) == -1 ||
		    (!m.found && match_addresses(&m, field.body) == -1))
			return -1;
	}
	return m.found;
}

/* All fields of a header section, names included. */
static int match_header(struct match *m, struct str header)
{
	struct mail_fields f;
	struct mail_field field;

	mail_fields_init(&f, header);
	while (!m->found && mail_fields_next(&f, &field))
		if (match_field(m, &field, true) == -1)
			return -1;
	return 0;
}

/* Buffers of one part's way: stored octets, decoded, UTF-8, folded. */
struct pipe {
	struct mail_decoder decoder;
	const struct mail_charset *charset;
	struct buf decoded, utf8, folded;
};

/*
 * Converts what is decoded, up to the last line end (where sets with shift
 * states start anew); the rest stays for the next piece.
 */
static int drain(struct pipe *p, bool last, struct match *m)
{
	struct str s = buf_str(&p->decoded);
	ssize_t used, lf = str_rchr(s, '\n');

	if (!last && s.n < 2)
		return 0;
	p->charset = mail_charset_of_text(p->charset, s);
	if (!last && lf != -1)
		s.n = (size_t)lf + 1;
	buf_reset(&p->utf8);
	used = mail_charset_convert(p->charset, s, !last, &p->utf8);
	if (used == -1)
		return -1;
	buf_consume(&p->decoded, (size_t)used);
	buf_reset(&p->folded);
	if (mail_fold(buf_str(&p->utf8), &p->folded) == -1)
		return -1;
	match_more(m, buf_str(&p->folded));
	return 0;
}

static int match_text_part(struct match *m, struct pipe *p, struct str body,
    enum mail_encoding encoding)
{
	mail_decoder_init(&p->decoder, encoding);
	buf_reset(&p->decoded);
	m->n = 0;
	while (body.n > 0 && !m->found) {
		struct str piece = str_sub(body, 0, PIECE);

		if (mail_decode(&p->decoder, piece, &p->decoded) == -1)
			return -1;
		body = str_from(body, PIECE);
		if (drain(p, false, m) == -1)
			return -1;
	}
	if (!m->found && (mail_decode_end(&p->decoder, &p->decoded) == -1 ||
	    drain(p, true, m) == -1))
		return -1;
	m->n = 0;
	return 0;
}

static const struct mail_charset *part_charset(const struct mime_part *part,
    struct arena *arena)
{
	struct str name = mail_mime_param_raw(&part->params, "charset", arena);
	const struct mail_charset *found;

	/* Undeclared or unknown: UTF-8, of which US-ASCII is a part. */
	if (name.p == NULL || str_eq_nocase_c(name, "us-ascii"))
		return mail_charset_utf8;
	found = mail_charset_find(name);
	return found ? found : mail_charset_utf8;
}

/* The header of a nested message is text of the outer one's body (RFC 3501
 * 6.4.4); one of a body part belongs to what RFC 9051 6.4.4 leaves to TEXT. */
static bool has_header_in_body(const struct mime *mime,
    const struct mime_part *part)
{
	return part->parent != MIME_NO_PART &&
	    mime->parts[part->parent].message;
}

/* Text, and what else people read: delivery-status and its like. */
static bool is_readable(const struct mime_part *part)
{
	return part->text || (!part->message &&
	    str_eq_nocase_c(part->type, "message"));
}

static int match_parts(struct match *m, const struct mime *mime,
    bool with_header, struct pipe *p, struct arena *arena)
{
	for (uint32_t i = 0; i < mime->count && !m->found; i++) {
		const struct mime_part *part = &mime->parts[i];

		if ((with_header || has_header_in_body(mime, part)) &&
		    match_header(m, mime_header(mime, part)) == -1)
			return -1;
		if (m->found || !is_readable(part))
			continue;
		p->charset = part_charset(part, arena);
		if (match_text_part(m, p, mime_body(mime, part),
		    part->transfer) == -1)
			return -1;
	}
	return 0;
}

int search_text_message(const struct search_key *key, const struct mime *mime,
    bool with_header)
{
	struct match m = { .key = key, .found = key->n == 0 };
	struct arena *arena = arena_new(1024 * 1024);
	struct pipe p;
	int r = -1;

	/* A piece, what was kept of the last one, and three octets of UTF-8
	 * for each. */
	buf_init(&p.decoded, 4 * PIECE);
	buf_init(&p.utf8, 12 * PIECE + 16);
	buf_init(&p.folded, 36 * PIECE + 64);
	if (arena == NULL)
		goto out;
	if (match_parts(&m, mime, with_header, &p, arena) == -1)
		goto out;
	r = m.found;
out:
	buf_fini(&p.decoded);
	buf_fini(&p.utf8);
	buf_fini(&p.folded);
	arena_free(&arena);
	return r;
}
