#include "config/lines.h"

void lines_init(struct lines *l, struct str text, size_t limit)
{
	l->rest = text;
	l->next = 1;
	buf_init(&l->text, limit);
}

void lines_fini(struct lines *l)
{
	buf_fini(&l->text);
}

static bool is_comment(struct str line)
{
	struct str visible = str_trim(line);

	return visible.n == 0 || *visible.p == '#';
}

static bool is_continuation(struct str line)
{
	return line.n > 0 && (*line.p == ' ' || *line.p == '\t');
}

/* The physical line in front; false at the end. */
static bool peek_line(const struct lines *l, struct str *line, size_t *size)
{
	ssize_t end;

	if (l->rest.n == 0)
		return false;
	end = str_chr(l->rest, '\n');
	*size = end < 0 ? l->rest.n : (size_t)end + 1;
	*line = str_sub(l->rest, 0, end < 0 ? l->rest.n : (size_t)end);
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
	return true;
}

int lines_next(struct lines *l, struct str *line_r, unsigned *number_r)
{
	struct str line;
	size_t size;
	bool begun = false;

	buf_reset(&l->text);
	for (; peek_line(l, &line, &size); l->next++,
	    l->rest = str_from(l->rest, size)) {
		if (is_comment(line))
			continue;
		if (begun && !is_continuation(line))
			break;
		if (!begun)
			*number_r = l->next;
		begun = true;
		buf_append(&l->text, line);
	}
	if (!begun)
		return 0;
	*line_r = buf_str(&l->text);
	return l->text.failed ? -1 : 1;
}
