#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"

#define FIRST_BLOCK 1024
#define LARGEST_BLOCK 65536

/*
 * Under AddressSanitizer each piece of a block is as if allocated alone:
 * octets of the block that nobody was given, and GAP octets behind each
 * piece, must not be touched.
 */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WITH_ASAN)
void __asan_poison_memory_region(volatile void *, size_t);
void __asan_unpoison_memory_region(volatile void *, size_t);
#define FORBID(p, n) __asan_poison_memory_region((p), (n))
#define ALLOW(p, n) __asan_unpoison_memory_region((p), (n))
#define GAP 16u
#else
#define FORBID(p, n) ((void)0)
#define ALLOW(p, n) ((void)0)
#define GAP 0u
#endif

struct block {
	struct block *next;
	size_t size, used;
	alignas(max_align_t) char data[];
};

struct arena {
	struct block *blocks; /* newest first */
	size_t limit, total;
	bool failed;
};

struct arena *arena_new(size_t limit)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (a != NULL)
		a->limit = limit;
	return a;
}

void arena_free(struct arena **ap)
{
	struct arena *a = *ap;
	struct block *b, *next;

	if (a == NULL)
		return;
	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
	*ap = NULL;
}

void arena_reset(struct arena *a)
{
	struct block *b = a->blocks, *next;

	while (b != NULL && b->next != NULL) {
		next = b->next;
		a->total -= b->size;
		free(b);
		b = next;
	}
	a->blocks = b;
	if (b != NULL) {
		b->used = 0;
		FORBID(b->data, b->size);
	}
	a->failed = false;
}

bool arena_failed(const struct arena *a)
{
	return a->failed;
}

size_t arena_used(const struct arena *a)
{
	return a->total;
}

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t align = alignof(max_align_t);
	struct block *b = a->blocks;
	size_t size, wanted = n;
	void *p;

	if (n > a->limit)
		goto fail;
	n = (n + align - 1) & ~(align - 1);
	if (b == NULL || n > b->size - b->used) {
		size = b == NULL ? FIRST_BLOCK : b->size * 2;
		if (size > LARGEST_BLOCK)
			size = LARGEST_BLOCK;
		if (size < n)
			size = n;
		if (size > a->limit - a->total)
			size = n;
		if (size > a->limit - a->total)
			goto fail;
		if ((b = malloc(sizeof(*b) + size)) == NULL)
			goto fail;
		b->next = a->blocks;
		b->size = size;
		b->used = 0;
		a->blocks = b;
		a->total += size;
		FORBID(b->data, size);
	}
	p = b->data + b->used;
	b->used += n;
	b->used += GAP < b->size - b->used ? GAP : 0;
	ALLOW(p, wanted);
	memset(p, 0, wanted);
	return p;
fail:
	a->failed = true;
	return NULL;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n)) {
		a->failed = true;
		return NULL;
	}
	return arena_alloc(a, n);
}

char *arena_cstr(struct arena *a, struct str s)
{
	char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

	if (p != NULL && s.n > 0)
		memcpy(p, s.p, s.n);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);

	return p ? str_n(p, s.n) : STR_NONE;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0 || (p = arena_alloc(a, (size_t)len + 1)) == NULL)
		return STR_NONE;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return str_n(p, (size_t)len);
}
