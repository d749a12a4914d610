#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ .max = b->max };
}

void buf_reset(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

void buf_shrink(struct buf *b, size_t keep)
{
	buf_reset(b);
	if (b->cap > keep) {
		free(b->p);
		b->p = NULL;
		b->cap = 0;
	}
}

char *buf_reserve(struct buf *b, size_t n)
{
	size_t want, cap;
	char *p;

	/* max may be SIZE_MAX; the NUL behind must not wrap. */
	if (n > b->max - b->n || n >= SIZE_MAX - b->n) {
		b->failed = true;
		return NULL;
	}
	want = b->n + n + 1;
	if (want > b->cap) {
		cap = b->cap ? b->cap * 2 : 128;
		if (cap < want)
			cap = want;
		if (cap - 1 > b->max)
			cap = b->max + 1;
		if ((p = realloc(b->p, cap)) == NULL) {
			b->failed = true;
			return NULL;
		}
		b->p = p;
		b->cap = cap;
	}
	return b->p + b->n;
}

void buf_added(struct buf *b, size_t k)
{
	b->n += k;
	b->p[b->n] = '\0';
}

int buf_append_n(struct buf *b, const void *p, size_t n)
{
	char *at = buf_reserve(b, n);

	if (at == NULL)
		return -1;
	if (n > 0)
		memcpy(at, p, n);
	buf_added(b, n);
	return 0;
}

int buf_append(struct buf *b, struct str s)
{
	return buf_append_n(b, s.p, s.n);
}

int buf_append_c(struct buf *b, const char *cstr)
{
	return buf_append_n(b, cstr, strlen(cstr));
}

int buf_append_char(struct buf *b, char c)
{
	return buf_append_n(b, &c, 1);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;
	char *at;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0 || (at = buf_reserve(b, (size_t)len)) == NULL) {
		b->failed = true;
		return -1;
	}
	vsnprintf(at, (size_t)len + 1, fmt, ap);
	buf_added(b, (size_t)len);
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void buf_consume(struct buf *b, size_t k)
{
	if (k >= b->n) {
		b->n = 0;
		return;
	}
	memmove(b->p, b->p + k, b->n - k);
	b->n -= k;
	b->p[b->n] = '\0';
}

void buf_truncate(struct buf *b, size_t n)
{
	if (n < b->n) {
		b->n = n;
		b->p[n] = '\0';
	}
}

const char *buf_cstr(struct buf *b)
{
	return b->n ? b->p : "";
}
