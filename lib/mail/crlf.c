#include "mail/crlf.h"

void crlf_window_init(struct crlf_window *w, uint64_t offset, uint64_t limit)
{
	*w = (struct crlf_window){ .skip = offset, .left = limit };
}

/* RFC 3501 4.3: NUL is never sent; any other octet keeps the count. */
static int append_without_nul(struct buf *out, struct str s)
{
	size_t at = out->n;
	char *p;

	if (buf_append(out, s) == -1)
		return -1;
	while ((p = memchr(out->p + at, '\0', out->n - at)) != NULL) {
		*p = (char)0x80;
		at = (size_t)(p - out->p) + 1;
	}
	return 0;
}

static size_t least(size_t a, uint64_t b)
{
	return a < b ? a : (size_t)b;
}

int crlf_window_copy(struct crlf_window *w, struct str *in, size_t room,
    struct buf *out)
{
	room = least(room, out->max - out->n);
	while (in->n > 0 && w->left > 0) {
		size_t n = in->n;
		const char *lf;

		if (w->skip == 0 && room == 0)
			return 0;
		n = w->skip > 0 ? least(n, w->skip) :
		    least(least(n, w->left), room);
		if (in->p[0] == '\n') {
			/* A line end is CR and LF, one octet at a time; the
			 * CR that is not there counts as taken. */
			char c = w->after_cr ? '\n' : '\r';

			if (w->skip > 0) {
				w->skip--;
			} else {
				if (buf_append_char(out, c) == -1)
					return -1;
				w->left--;
				room--;
			}
			w->after_cr = c == '\r';
			if (c == '\n')
				*in = str_from(*in, 1);
			continue;
		}
		if ((lf = memchr(in->p, '\n', n)) != NULL)
			n = (size_t)(lf - in->p);
		if (w->skip > 0) {
			w->skip -= n;
		} else {
			if ((w->keep_nul ? buf_append_n(out, in->p, n) :
			    append_without_nul(out, str_n(in->p, n))) == -1)
				return -1;
			w->left -= n;
			room -= n;
		}
		w->after_cr = in->p[n - 1] == '\r';
		*in = str_from(*in, n);
	}
	return 1;
}

void crlf_emitter_init(struct crlf_emitter *e, bool dots, size_t line_max)
{
	*e = (struct crlf_emitter){ .dots = dots, .line_max = line_max };
}

static void end_line(struct crlf_emitter *e, struct buf *out)
{
	buf_append_n(out, "\r\n", 2);
	e->column = 0;
}

/* Octets of the UTF-8 character that c starts; 1 for anything else. */
static size_t sequence_length(unsigned char c)
{
	return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/*
 * The part of a long line near its limit, octet by octet: a line is cut
 * before a character that would not fit, so the cut does not depend on how
 * the input was cut into pieces.
 */
static size_t emit_near_limit(struct crlf_emitter *e, struct str run,
    struct buf *out)
{
	size_t i;

	for (i = 0; i < run.n; i++) {
		if (e->column + sequence_length((unsigned char)run.p[i]) >
		    e->line_max) {
			buf_append_n(out, "\r\n ", 3);
			e->column = 1;
			break;
		}
		buf_append_char(out, run.p[i]);
		e->column++;
	}
	return i;
}

/* Octets without CR and LF. */
static void emit_run(struct crlf_emitter *e, struct str run, struct buf *out)
{
	/* RFC 5321 4.5.2; RFC 1939 3 */
	if (e->dots && e->column == 0 && run.p[0] == '.')
		buf_append_char(out, '.');
	while (run.n > 0 && !out->failed) {
		size_t k = run.n;

		if (e->line_max >= 8) {
			if (e->column + 4 >= e->line_max) {
				k = emit_near_limit(e, run, out);
				run = str_from(run, k);
				continue;
			}
			if (k > e->line_max - 4 - e->column)
				k = e->line_max - 4 - e->column;
		}
		buf_append_n(out, run.p, k);
		e->column += k;
		run = str_from(run, k);
	}
}

int crlf_emit(struct crlf_emitter *e, struct str piece, struct buf *out)
{
	size_t at = 0;

	while (at < piece.n) {
		const char *p = piece.p + at;
		size_t n = piece.n - at;
		const char *lf = memchr(p, '\n', n), *cr;

		if (lf != NULL)
			n = (size_t)(lf - p);
		if ((cr = memchr(p, '\r', n)) != NULL)
			n = (size_t)(cr - p);
		if (n > 0) {
			emit_run(e, str_n(p, n), out);
			e->after_cr = false;
		}
		at += n;
		if (at == piece.n)
			break;
		if (piece.p[at] == '\r') {
			end_line(e, out);
			e->after_cr = true;
		} else {
			if (!e->after_cr)
				end_line(e, out);
			e->after_cr = false;
		}
		at++;
	}
	return out->failed ? -1 : 0;
}

int crlf_emit_line(struct crlf_emitter *e, struct str line, struct buf *out)
{
	e->after_cr = false;
	crlf_emit(e, line, out);
	if (!e->after_cr)
		end_line(e, out);
	e->after_cr = false;
	return out->failed ? -1 : 0;
}

int crlf_emit_end(struct crlf_emitter *e, struct buf *out)
{
	if (e->column > 0)
		end_line(e, out);
	e->after_cr = false;
	if (e->dots)
		buf_append_n(out, ".\r\n", 3);
	return out->failed ? -1 : 0;
}
