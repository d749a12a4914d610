/* buf.h - a growing buffer that owns its octets, up to a stated limit */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdarg.h>
#include "base/str.h"

/*
 * n octets at p, room for cap, never more than max. An append that would
 * pass max (or finds no memory) changes nothing, returns -1 and sets
 * `failed`, which stays until buf_reset(): a caller may append many times
 * and ask once. There is always a NUL behind the last octet (not counted)
 * once something was appended.
 */
struct buf {
	char *p;
	size_t n, cap, max;
	bool failed;
};

void buf_init(struct buf *, size_t max);
void buf_fini(struct buf *);
/* Empties and clears `failed`; keeps the memory. */
void buf_reset(struct buf *);
/* As buf_reset(), but gives memory above `keep` octets back. */
void buf_shrink(struct buf *, size_t keep);
int buf_append(struct buf *, struct str);
int buf_append_n(struct buf *, const void *p, size_t n);
int buf_append_c(struct buf *, const char *cstr);
int buf_append_char(struct buf *, char c);
int buf_printf(struct buf *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *, const char *fmt, va_list)
    __attribute__((format(printf, 2, 0)));
/* Room for n more octets at the end; NULL when that passes the limit. */
char *buf_reserve(struct buf *, size_t n);
/* After writing k octets into what buf_reserve() gave. */
void buf_added(struct buf *, size_t k);
/* Removes the first k octets. */
void buf_consume(struct buf *, size_t k);
/* Cuts to n octets. */
void buf_truncate(struct buf *, size_t n);
/* The octets as a NUL-terminated C string ("" when empty). */
const char *buf_cstr(struct buf *);

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->p, b->n };
}
#endif
