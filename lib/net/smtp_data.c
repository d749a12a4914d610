#include "net/smtp_data.h"

enum {
	LINE_START,	/* behind CR LF, or nothing came yet */
	IN_LINE,
	AFTER_CR,	/* a CR that is not decided */
	AFTER_DOT,	/* a dot at a line's start */
	AFTER_DOT_CR
};

static const char crlf[] = "\r\n";

void smtp_data_init(struct smtp_data *d)
{
	d->state = LINE_START;
}

/* How far is it clean from here? Sets the state that follows and what of the
 * input is used up. Both searches of a line end where it ends. */
static size_t scan_clean(struct smtp_data *d, struct str in, size_t *used_r)
{
	const char *p = in.p, *end = in.p + in.n;

	d->state = IN_LINE;
	for (;;) {
		const char *cr = memchr(p, '\r', (size_t)(end - p));
		const char *stop = cr != NULL ? cr : end;
		const char *lf = memchr(p, '\n', (size_t)(stop - p));

		if (lf != NULL) {
			*used_r = (size_t)(lf - in.p);
			return *used_r;
		}
		if (cr == NULL) {
			*used_r = in.n;
			return in.n;
		}
		if (cr + 1 == end || cr[1] != '\n') {
			d->state = AFTER_CR;
			*used_r = (size_t)(cr + 1 - in.p);
			return *used_r - 1;
		}
		p = cr + 2;
		if (p == end || *p == '.') {
			d->state = LINE_START;
			*used_r = (size_t)(p - in.p);
			return *used_r;
		}
	}
}

static void take(struct str *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

enum smtp_data_event smtp_data_next(struct smtp_data *d, struct str *in,
    struct str *span_r)
{
	*span_r = STR_NONE;
	while (in->n > 0) {
		char c = in->p[0];
		size_t used;

		switch (d->state) {
		case LINE_START:
			d->state = IN_LINE;
			if (c == '.') {	/* RFC 5321 4.5.2: removed */
				d->state = AFTER_DOT;
				take(in, 1);
			}
			break;
		case AFTER_DOT:
			d->state = IN_LINE;
			if (c == '\r') {
				d->state = AFTER_DOT_CR;
				take(in, 1);
			}
			break;
		case AFTER_DOT_CR:
		case AFTER_CR:
			if (c != '\n') {
				d->state = IN_LINE;
				return SMTP_DATA_BARE_CR;
			}
			take(in, 1);
			if (d->state == AFTER_DOT_CR)
				return SMTP_DATA_END;
			d->state = LINE_START;
			*span_r = str_n(crlf, 2);
			return SMTP_DATA_SPAN;
		default:
			if (c == '\n') {
				take(in, 1);
				return SMTP_DATA_BARE_LF;
			}
			span_r->p = in->p;
			span_r->n = scan_clean(d, *in, &used);
			take(in, used);
			if (span_r->n > 0)
				return SMTP_DATA_SPAN;
		}
	}
	return SMTP_DATA_MORE;
}

enum smtp_data_event smtp_data_read(struct smtp_data *d, struct stream *s,
    struct str *span_r, enum stream_result *result_r)
{
	for (;;) {
		struct str chunk, rest;
		enum smtp_data_event event;

		*result_r = stream_peek(s, &chunk);
		if (*result_r != STREAM_OK)
			return SMTP_DATA_MORE;
		rest = chunk;
		event = smtp_data_next(d, &rest, span_r);
		stream_take(s, chunk.n - rest.n);
		if (event != SMTP_DATA_MORE)
			return event;
	}
}

void smtp_data_out_init(struct smtp_data_out *d)
{
	d->state = LINE_START;
}

static int end_line(struct smtp_data_out *d, struct stream *s)
{
	d->state = LINE_START;
	return stream_write(s, str_n(crlf, 2));
}

int smtp_data_write(struct smtp_data_out *d, struct stream *s, struct str in)
{
	while (in.n > 0) {
		/* The same scan as on the way in finds what may pass whole;
		 * it stops in front of dots that begin a line. */
		struct smtp_data scan = { IN_LINE };
		size_t used, clean;

		if (d->state == AFTER_CR) {
			if (in.p[0] == '\n')
				take(&in, 1);
			if (end_line(d, s) != 0)
				return -1;
			continue;
		}
		if (in.p[0] == '\n') {
			take(&in, 1);
			if (end_line(d, s) != 0)
				return -1;
			continue;
		}
		/* RFC 5321 4.5.2 */
		if (d->state == LINE_START && in.p[0] == '.' &&
		    stream_write(s, STR(".")) != 0)
			return -1;
		clean = scan_clean(&scan, in, &used);
		if (stream_write(s, str_n(in.p, clean)) != 0)
			return -1;
		d->state = scan.state;
		take(&in, used);
	}
	return 0;
}

int smtp_data_finish(struct smtp_data_out *d, struct stream *s)
{
	if (d->state != LINE_START && end_line(d, s) != 0)
		return -1;
	return stream_write(s, STR(".\r\n"));
}
