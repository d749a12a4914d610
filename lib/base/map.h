/* map.h - a hash table from octets to a pointer */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/str.h"

/* Keys are copied; values belong to the caller. Hashing is keyed. */
struct map;

/* nocase: ASCII letters of keys compare without case. NULL: no memory. */
struct map *map_new(bool nocase);
/* free_value may be NULL. */
void map_free(struct map **, void (*free_value)(void *));
void *map_find(const struct map *, struct str key);
/* Sets or replaces; the old value through old_r if not NULL. 0 or -1. */
int map_set(struct map *, struct str key, void *value, void **old_r);
/* Takes the value out, or NULL. */
void *map_take(struct map *, struct str key);
size_t map_count(const struct map *);
/* Visits every entry, in no order. Start with *pos 0; false at the end. The
 * map must not change meanwhile. */
bool map_next(const struct map *, size_t *pos, struct str *key_r,
    void **value_r);
#endif
