/* arena.h - memory that dies at once: one a session, a message, a command */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stdarg.h>
#include "base/str.h"

struct arena;

/*
 * An arena of at most `limit` octets. Allocation past the limit (or without
 * memory) gives NULL and sets the failed mark, whose answer is a temporary
 * failure for that session, never an exit. arena_new() itself may give NULL.
 */
struct arena *arena_new(size_t limit);
void arena_free(struct arena **);
/* Forgets everything; keeps the first block. Clears the failed mark. */
void arena_reset(struct arena *);
bool arena_failed(const struct arena *);
/* Octets in use, with the blocks' unused ends. */
size_t arena_used(const struct arena *);
/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *, size_t n)
    __attribute__((malloc, alloc_size(2)));
/* count * size with an overflow check. */
void *arena_array(struct arena *, size_t count, size_t size);
/* A copy, with a NUL behind it. On failure {NULL, 0}. */
struct str arena_str(struct arena *, struct str);
char *arena_cstr(struct arena *, struct str);
struct str arena_printf(struct arena *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#endif
