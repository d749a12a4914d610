/* charset_tables.h - the data of charset.c and fold.c; nobody else's */
#ifndef MAIL_CHARSET_TABLES_H
#define MAIL_CHARSET_TABLES_H
#include <stdint.h>

struct charset_table {
	const char *name;
	uint16_t high[128];	/* of the octets from 0x80; 0: none */
};

extern const struct charset_table charset_tables[];
extern const unsigned charset_table_count;

/* Every stride-th code point of first..last folds to itself + delta. */
struct fold_range {
	uint32_t first, last;
	uint32_t stride;
	int32_t delta;
};

/* Ascending, without overlap. */
extern const struct fold_range fold_ranges[];
extern const unsigned fold_range_count;
#endif
