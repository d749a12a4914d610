/* wire.h - little-endian numbers; private to lib/queue */
#ifndef QUEUE_WIRE_H
#define QUEUE_WIRE_H
#include <stdint.h>

static inline void put16(void *to, uint16_t v)
{
	unsigned char *p = to;

	p[0] = (unsigned char)v;
	p[1] = (unsigned char)(v >> 8);
}

static inline void put32(void *to, uint32_t v)
{
	put16(to, (uint16_t)v);
	put16((unsigned char *)to + 2, (uint16_t)(v >> 16));
}

static inline void put64(void *to, uint64_t v)
{
	put32(to, (uint32_t)v);
	put32((unsigned char *)to + 4, (uint32_t)(v >> 32));
}

static inline uint16_t get16(const void *from)
{
	const unsigned char *p = from;

	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const void *from)
{
	return (uint32_t)get16(from) |
	    (uint32_t)get16((const unsigned char *)from + 2) << 16;
}

static inline uint64_t get64(const void *from)
{
	return (uint64_t)get32(from) |
	    (uint64_t)get32((const unsigned char *)from + 4) << 32;
}
#endif
