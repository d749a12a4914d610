#include "pop3d/emit.h"

#define ROOM 32768

/* What waits to be written in one piece. */
struct emitter {
	struct stream *stream;
	int rc;
	bool has_cr;		/* some CR may have to be replaced */
	size_t n;
	char out[ROOM];
};

static void flush(struct emitter *e)
{
	if (e->n > 0 && stream_write(e->stream, str_n(e->out, e->n)) < 0)
		e->rc = -1;
	e->n = 0;
}

static void put(struct emitter *e, struct str s)
{
	while (s.n > 0) {
		size_t k = s.n < ROOM - e->n ? s.n : ROOM - e->n;

		memcpy(e->out + e->n, s.p, k);
		if (e->has_cr)
			for (char *p = e->out + e->n, *end = p + k;
			    (p = memchr(p, '\r', (size_t)(end - p))) != NULL; )
				*p = ' ';
		e->n += k;
		s.p += k;
		s.n -= k;
		if (e->n == ROOM)
			flush(e);
	}
}

static void put_line_end(struct emitter *e)
{
	if (ROOM - e->n < 2)
		flush(e);
	e->out[e->n++] = '\r';
	e->out[e->n++] = '\n';
}

/* The line without its end; rest moves behind it. */
static struct str take_line(struct str *rest)
{
	const char *nl = memchr(rest->p, '\n', rest->n);
	size_t k = nl != NULL ? (size_t)(nl - rest->p) : rest->n;
	struct str line = { rest->p, k };

	rest->p += k + (nl != NULL);
	rest->n -= k + (nl != NULL);
	if (nl != NULL && k > 0 && line.p[k - 1] == '\r')
		line.n--;
	return line;
}

int emit_message(struct stream *s, struct str raw, uint64_t lines, bool all)
{
	struct emitter e;
	bool in_body = false;

	e.stream = s;
	e.rc = 0;
	e.n = 0;
	e.has_cr = raw.n > 0 && memchr(raw.p, '\r', raw.n) != NULL;
	while (raw.n > 0 && e.rc == 0) {
		struct str line;

		if (in_body && !all && lines-- == 0)
			break;
		line = take_line(&raw);
		if (line.n > 0 && line.p[0] == '.')
			put(&e, STR("."));
		put(&e, line);
		put_line_end(&e);
		in_body |= line.n == 0;
	}
	flush(&e);
	return e.rc;
}
