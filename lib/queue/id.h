/*
 * id.h - queue ids: the time and a counter, upper-case hexadecimal
 *
 * An id is the second of its making times 65536 plus a counter, 12 digits
 * until the year 2106. It is made with its file, is never zero and never
 * used again: queue_spool_stock() keeps a durable floor, so that a clock
 * set back gives no old id.
 */
#ifndef QUEUE_ID_H
#define QUEUE_ID_H
#include "base/str.h"

#define QUEUE_ID_SIZE 17	/* with the NUL */

/* Writes the text, returns out. */
const char *queue_id_text(uint64_t id, char out[QUEUE_ID_SIZE]);
/* 1 to 16 upper-case digits without leading zeros. 0 or -1. */
int queue_id_parse(struct str, uint64_t *id_r);
#endif
