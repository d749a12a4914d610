#include "smtp/reply.h"

size_t reply_clean(struct str s, char *out, size_t size)
{
	bool utf8 = str_is_utf8(s);
	size_t n = 0;

	while (n < s.n && n + 1 < size) {
		unsigned char c = (unsigned char)s.p[n];

		out[n++] = c < 32 || c == 127 || (c > 127 && !utf8)
		    ? '?' : (char)c;
	}
	/* no half character at the cut */
	if (utf8 && n < s.n)
		while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
	out[n] = '\0';
	return n;
}

static void begin(struct reply *r)
{
	r->code = 0;
	r->status = MAIL_STATUS_NONE;
	r->n = 0;
	r->text[0] = '\0';
}

static void add_text(struct reply *r, struct str text)
{
	if (r->n > 0 && text.n > 0 && r->n < REPLY_TEXT_MAX)
		r->text[r->n++] = ' ';
	r->n += reply_clean(text, r->text + r->n, REPLY_TEXT_MAX + 1 - r->n);
	r->text[r->n] = '\0';
}

/* "250-text", "250 text", "250". Returns 1 when it is the last line, 0 when
 * more follow, -1 when it is none. */
static int take_line(struct reply *r, struct str line, unsigned number,
    struct str *text_r)
{
	struct str text;
	uint64_t code;
	bool more;

	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' ||
	    str_to_u64(str_sub(line, 0, 3), 599, &code) < 0)
		return -1;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return -1;
	more = line.n > 3 && line.p[3] == '-';
	text = str_trim(str_from(line, 4));
	if (number == 0) {
		add_text(r, str_sub(line, 0, 3));
		*text_r = text;
		add_text(r, text);
		if (mail_status_take(&text, &r->status) < 0)
			r->status = MAIL_STATUS_NONE;
	} else {
		struct mail_status again;

		*text_r = text;
		/* the same enhanced code on every line is said once */
		if (mail_status_take(&text, &again) == 0 &&
		    r->status.class == 0)
			r->status = again;
		add_text(r, text);
	}
	/* RFC 5321 4.2.1: the same code on all lines; the last one counts */
	r->code = (unsigned)code;
	return !more;
}

static void end(struct reply *r)
{
	if (r->status.class == 0 ||
	    !mail_status_fits(r->status, (int)r->code))
		r->status = mail_status_of_reply((int)r->code);
}

static enum reply_result stream_failure(enum stream_result result)
{
	switch (result) {
	case STREAM_TIMEOUT:
		return REPLY_TIMEOUT;
	case STREAM_FLOOD:
		return REPLY_FLOOD;
	default:
		return REPLY_EOF;
	}
}

enum reply_result reply_read(struct stream *s, struct reply *r,
    reply_line_fn *fn, void *ctx, size_t *octets_r)
{
	uint64_t begun = stream_octets_read(s);
	enum reply_result result = REPLY_FLOOD;

	begin(r);
	for (unsigned number = 0; number < REPLY_LINES_MAX; number++) {
		struct stream_line line;
		struct str text;
		enum stream_result got = stream_read_line(s, REPLY_LINE_MAX,
		    &line);
		int last;

		if (got != STREAM_OK && got != STREAM_TOO_LONG) {
			result = stream_failure(got);
			break;
		}
		if (stream_octets_read(s) - begun > REPLY_SIZE_MAX)
			break;
		last = take_line(r, line.text, number, &text);
		if (last < 0) {
			begin(r);
			add_text(r, line.text);
			result = REPLY_GARBAGE;
			break;
		}
		if (fn != NULL)
			fn(ctx, number, text);
		if (last) {
			end(r);
			result = REPLY_OK;
			break;
		}
	}
	if (octets_r != NULL)
		*octets_r = (size_t)(stream_octets_read(s) - begun);
	return result;
}

enum reply_result reply_parse(struct str in, struct reply *r)
{
	begin(r);
	for (unsigned number = 0; number < REPLY_LINES_MAX; number++) {
		ssize_t lf = str_chr(in, '\n');
		struct str line, text;
		int last;

		if (lf < 0)
			return REPLY_EOF;
		line = str_sub(in, 0, (size_t)lf);
		in = str_from(in, (size_t)lf + 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if ((last = take_line(r, line, number, &text)) < 0)
			return REPLY_GARBAGE;
		if (last) {
			end(r);
			return REPLY_OK;
		}
	}
	return REPLY_FLOOD;
}
