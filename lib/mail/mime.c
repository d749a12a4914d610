#include "mail/header.h"
#include "mail/mime.h"

/* Line ends met so far, and those of them that are an LF alone. */
struct count {
	uint64_t lines, bare;
};

/* An open part: the message, parts around the current one, and that. */
struct level {
	uint32_t part;
	struct str boundary;	/* p is NULL: not a multipart */
	bool closed;		/* its last delimiter was met: epilogue */
	struct count body;	/* at the start of its body */
};

struct parser {
	struct str m;
	struct arena *arena;
	struct mime *out;
	uint32_t room;
	struct level levels[MIME_DEPTH_MAX + 1];
	unsigned depth;		/* open levels */
	size_t at;		/* next octet */
	struct count count;	/* of what is before `at` */
	size_t headers;		/* octets of headers parsed */
	bool full;		/* MIME_PARTS_MAX: no more parts */
};

static void count_lines(struct str s, char before, struct count *count)
{
	const char *p = s.p, *end = s.p + s.n, *lf;

	while (p < end && (lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		count->lines++;
		if ((lf > s.p ? lf[-1] : before) != '\r')
			count->bare++;
		p = lf + 1;
	}
}

void mime_count_lines(struct str s, uint64_t *lines_r, uint64_t *added_r)
{
	struct count count = { 0, 0 };

	count_lines(s, '\0', &count);
	*lines_r = count.lines;
	*added_r = count.bare;
}

enum delimits { DELIMITS_NOT, DELIMITS_AS_PREFIX, DELIMITS_EXACTLY };

/* How the line delimits that boundary; padding may follow it. */
static enum delimits delimits(struct str line, struct str boundary,
    bool *last_r)
{
	struct str rest;

	if (line.n < boundary.n + 2 ||
	    memcmp(line.p + 2, boundary.p, boundary.n) != 0)
		return DELIMITS_NOT;
	rest = str_from(line, boundary.n + 2);
	*last_r = str_starts(rest, STR("--"));
	if (*last_r)
		rest = str_from(rest, 2);
	return str_trim(rest).n == 0 ? DELIMITS_EXACTLY : DELIMITS_AS_PREFIX;
}

/*
 * The open level that this line delimits, or -1. A line that only starts with
 * a boundary delimits it too (RFC 2046 5.1.1, "note to implementors"), but
 * one may start like another: first comes the innermost that is the whole
 * line, also one that is closed and means nothing any more, then the longest.
 */
static int find_level(const struct parser *p, struct str line, bool *last_r)
{
	bool last, is_closed = false;
	int found = -1;

	if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-')
		return -1;
	for (unsigned i = p->depth; i-- > 0;) {
		const struct level *level = &p->levels[i];
		enum delimits how = level->boundary.p == NULL ? DELIMITS_NOT :
		    delimits(line, level->boundary, &last);

		if (how == DELIMITS_EXACTLY && !level->closed) {
			*last_r = last;
			return (int)i;
		}
		is_closed |= how == DELIMITS_EXACTLY;
		if (how == DELIMITS_AS_PREFIX && !level->closed &&
		    (found == -1 || level->boundary.n >
		    p->levels[found].boundary.n)) {
			*last_r = last;
			found = (int)i;
		}
	}
	return is_closed ? -1 : found;
}

/* Ends the innermost part at `end`; `count` is that of what is before. */
static void close_level(struct parser *p, size_t end, struct count count)
{
	struct level *level = &p->levels[--p->depth];
	struct mime_part *part = &p->out->parts[level->part];

	part->body_n = end - part->body_at;
	part->body_lines = (uint32_t)(count.lines - level->body.lines);
	part->body_size = part->body_n + (count.bare - level->body.bare);
}

/*
 * Ends all parts inside of the level `depth` at the delimiter that begins at
 * `at`. The line end before it belongs to the delimiter (RFC 2046 5.1.1), but
 * not when nothing is between it and the innermost part's header: then it
 * stays in the parts around that header too.
 */
static void close_at_delimiter(struct parser *p, size_t at, unsigned depth)
{
	struct mime_part *part =
	    &p->out->parts[p->levels[p->depth - 1].part];
	struct count count = p->count;
	size_t end = at;

	if (end > part->body_at) {
		end--;
		count.lines--;
		if (end > part->body_at && p->m.p[end - 1] == '\r')
			end--;
		else
			count.bare--;
	}
	while (p->depth > depth)
		close_level(p, end, count);
}

static void set_type(struct mime_part *part, const char *type,
    const char *subtype)
{
	part->type = str_of(type);
	part->subtype = str_of(subtype);
	part->params = (struct mail_mime_params){ NULL, 0 };
}

/* What one header field says about the part; the first of a name counts. */
static int take_field(struct parser *p, struct mime_part *part,
    const struct mail_field *field)
{
	struct str name = field->name, type, subtype;
	struct str *text = NULL;

	if (name.n < 10 || !str_starts_nocase(name, STR("Content-")))
		return 0;
	name = str_from(name, 8);
	if (str_eq_nocase(name, STR("Type"))) {
		if (part->type.p != NULL)
			return 0;
		if (mail_mime_value_parse(field->body, p->arena, &type,
		    &subtype, &part->params) == -1)
			return -1;
		/* RFC 2045 5.2: what cannot be read counts as text/plain */
		if (type.n == 0 || subtype.n == 0) {
			part->params.count = 0;
		} else {
			part->type = type;
			part->subtype = subtype;
		}
		return 0;
	}
	if (str_eq_nocase(name, STR("Disposition"))) {
		if (part->disposition.p != NULL)
			return 0;
		if (mail_mime_value_parse(field->body, p->arena, &type, NULL,
		    &part->disposition_params) == -1)
			return -1;
		if (type.n > 0)
			part->disposition = type;
		return 0;
	}
	if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
		if (part->encoding.p == NULL &&
		    mail_field_token(field->body).n > 0) {
			part->encoding = mail_field_token(field->body);
			part->transfer = mail_encoding_of(field->body);
		}
		return 0;
	}
	if (str_eq_nocase(name, STR("ID")))
		text = &part->id;
	else if (str_eq_nocase(name, STR("Description")))
		text = &part->description;
	else if (str_eq_nocase(name, STR("MD5")))
		text = &part->md5;
	else if (str_eq_nocase(name, STR("Location")))
		text = &part->location;
	else if (str_eq_nocase(name, STR("Language")))
		text = &part->language;
	if (text != NULL && text->p == NULL) {
		*text = mail_unfold_arena(field->body, p->arena);
		return text->p ? 0 : -1;
	}
	return 0;
}

/*
 * Reads the header section at p->at and moves behind it. A delimiter ends it
 * as the empty line does, even where it looks like a field ("--a:b").
 */
static int take_header(struct parser *p, struct mime_part *part)
{
	struct mail_fields f;
	struct mail_field field;
	size_t end = SIZE_MAX;
	struct count count = { 0, 0 };
	bool last;

	mail_fields_init(&f, str_from(p->m, p->at));
	while (mail_fields_next(&f, &field)) {
		if (field.raw.p[0] == '-') {
			struct str line = field.raw;
			ssize_t lf = str_chr(line, '\n');

			if (lf != -1)
				line.n = (size_t)lf;
			if (find_level(p, line, &last) != -1) {
				end = (size_t)(field.raw.p - f.message.p);
				break;
			}
		}
		if (p->headers + f.at > MIME_HEADERS_MAX)
			p->out->truncated = true;
		else if (take_field(p, part, &field) == -1)
			return -1;
	}
	if (end == SIZE_MAX)
		end = f.body_at;
	p->headers += end;
	p->out->truncated |= f.truncated;
	count_lines(str_n(p->m.p + p->at, end), '\0', &count);
	part->header_at = p->at;
	part->header_n = end;
	part->header_lines = (uint32_t)count.lines;
	part->header_size = end + count.bare;
	p->at += end;
	p->count.lines += count.lines;
	p->count.bare += count.bare;
	part->body_at = p->at;
	return 0;
}

/* What the part is, once its fields are known. */
static int settle_type(struct parser *p, struct mime_part *part,
    const struct mime_part *parent, struct str *boundary_r)
{
	bool deep = part->depth + 1u >= MIME_DEPTH_MAX;
	struct str b;

	*boundary_r = STR_NONE;
	if (part->type.p == NULL) {
		/* RFC 2045 5.2, RFC 2046 5.1.5 */
		if (parent != NULL && parent->multipart &&
		    str_eq_nocase_c(parent->subtype, "digest"))
			set_type(part, "message", "rfc822");
		else
			set_type(part, "text", "plain");
	}
	if (str_eq_nocase_c(part->type, "multipart")) {
		b = mail_mime_param_raw(&part->params, "boundary", p->arena);
		if (arena_failed(p->arena))
			return -1;
		while (b.n > 0 && (b.p[b.n - 1] == ' ' ||
		    b.p[b.n - 1] == '\t'))
			b.n--;
		if (b.n == 0) {
			set_type(part, "text", "plain");
		} else if (deep) {
			set_type(part, "application", "octet-stream");
			p->out->truncated = true;
		} else {
			part->multipart = true;
			*boundary_r = b;
		}
	} else if (mime_is(part, "message", "rfc822") ||
	    mime_is(part, "message", "global")) {
		part->message = !deep;
		if (deep) {
			set_type(part, "application", "octet-stream");
			p->out->truncated = true;
		}
	}
	part->text = str_eq_nocase_c(part->type, "text");
	return 0;
}

/* Room for one more part; its index through *index_r. */
static int add_part(struct parser *p, uint32_t *index_r)
{
	struct mime *out = p->out;

	if (out->count == p->room) {
		uint32_t room = p->room ? p->room * 2 : 8;
		struct mime_part *parts = arena_array(p->arena, room,
		    sizeof(*parts));

		if (parts == NULL)
			return -1;
		if (out->count > 0)
			memcpy(parts, out->parts,
			    out->count * sizeof(*parts));
		out->parts = parts;
		p->room = room;
	}
	*index_r = out->count++;
	out->parts[*index_r] = (struct mime_part){
		.parent = MIME_NO_PART, .first_child = MIME_NO_PART,
		.next = MIME_NO_PART,
	};
	return 0;
}

static void link_part(struct parser *p, uint32_t index, uint32_t parent,
    uint32_t *last_child)
{
	struct mime_part *parts = p->out->parts;

	parts[index].parent = parent;
	parts[index].depth = (uint16_t)(parts[parent].depth + 1);
	if (*last_child == MIME_NO_PART)
		parts[parent].first_child = index;
	else
		parts[*last_child].next = index;
	*last_child = index;
	parts[parent].children++;
}

/* No room for the message inside a message: it is shown as octets. */
static void end_nesting(struct parser *p)
{
	struct mime_part *part =
	    &p->out->parts[p->levels[p->depth - 1].part];

	if (part->message) {
		part->message = false;
		set_type(part, "application", "octet-stream");
	}
}

/*
 * Starts a part at p->at inside the innermost open level, and the messages
 * nested in it one after another. last_child[] is per level.
 */
static int start_part(struct parser *p, uint32_t *last_child)
{
	for (;;) {
		struct mime_part *part, *parent = NULL;
		struct level *level;
		struct str boundary;
		uint32_t index;

		if (p->out->count == MIME_PARTS_MAX) {
			p->out->truncated = p->full = true;
			end_nesting(p);
			return 0;
		}
		if (add_part(p, &index) == -1)
			return -1;
		part = &p->out->parts[index];
		if (p->depth > 0) {
			link_part(p, index, p->levels[p->depth - 1].part,
			    &last_child[p->depth - 1]);
			parent = &p->out->parts[part->parent];
		}
		if (take_header(p, part) == -1 ||
		    settle_type(p, part, parent, &boundary) == -1)
			return -1;
		last_child[p->depth] = MIME_NO_PART;
		level = &p->levels[p->depth++];
		*level = (struct level){ index, boundary, false, p->count };
		if (!part->message)
			return 0;
	}
}

/* Line by line to the end. */
static int scan_bodies(struct parser *p, uint32_t *last_child)
{
	while (p->at < p->m.n) {
		const char *start = p->m.p + p->at;
		const char *lf = memchr(start, '\n', p->m.n - p->at);
		size_t n = lf ? (size_t)(lf - start) + 1 : p->m.n - p->at;
		bool last = false;
		int k = -1;

		if (start[0] == '-' && !p->full)
			k = find_level(p, str_n(start, n), &last);
		if (k != -1 && p->depth > (unsigned)k + 1)
			close_at_delimiter(p, p->at, (unsigned)k + 1);
		if (lf != NULL) {
			p->count.lines++;
			p->count.bare += n < 2 || lf[-1] != '\r';
		}
		p->at += n;
		if (k == -1)
			continue;
		if (last)
			p->levels[k].closed = true;
		else if (start_part(p, last_child) == -1)
			return -1;
	}
	return 0;
}

int mime_parse(struct str message, struct arena *arena, struct mime *mime_r)
{
	uint32_t last_child[MIME_DEPTH_MAX + 2];
	struct parser p = { .m = message, .arena = arena, .out = mime_r };

	*mime_r = (struct mime){ .message = message };
	if (start_part(&p, last_child) == -1 ||
	    scan_bodies(&p, last_child) == -1)
		return -1;
	while (p.depth > 0)
		close_level(&p, message.n, p.count);
	return arena_failed(arena) ? -1 : 0;
}

uint64_t mime_size(const struct mime *mime)
{
	return mime->parts[0].header_size + mime->parts[0].body_size;
}

struct str mime_header(const struct mime *mime, const struct mime_part *part)
{
	return str_sub(mime->message, part->header_at, part->header_n);
}

struct str mime_body(const struct mime *mime, const struct mime_part *part)
{
	return str_sub(mime->message, part->body_at, part->body_n);
}

bool mime_is(const struct mime_part *part, const char *type,
    const char *subtype)
{
	return str_eq_nocase_c(part->type, type) &&
	    str_eq_nocase_c(part->subtype, subtype);
}

/* Child number n (from 1), or NULL. */
static const struct mime_part *child_of(const struct mime *mime,
    const struct mime_part *part, uint32_t n)
{
	uint32_t child = n == 0 ? MIME_NO_PART : part->first_child;

	while (child != MIME_NO_PART && --n > 0)
		child = mime->parts[child].next;
	return child == MIME_NO_PART ? NULL : &mime->parts[child];
}

const struct mime_part *mime_find(const struct mime *mime,
    const uint32_t *numbers, unsigned count)
{
	const struct mime_part *part = &mime->parts[0];
	bool is_root = true;	/* part is a message with its own header */

	for (unsigned i = 0; i < count && part != NULL; i++) {
		/* RFC 3501 6.4.5: the number goes through a nested message to
		 * what that consists of. */
		if (!is_root && part->message) {
			part = child_of(mime, part, 1);
			is_root = true;
			if (part == NULL)
				break;
		}
		if (part->multipart)
			part = child_of(mime, part, numbers[i]);
		else if (!is_root || numbers[i] != 1)
			part = NULL;	/* its only part is 1, itself */
		is_root = false;
	}
	return part;
}
