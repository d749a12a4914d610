/* crc32c.h - CRC-32C (Castagnoli), RFC 3720 section 12.1 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* Start with 0; feed pieces in order with the last result. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
#endif
