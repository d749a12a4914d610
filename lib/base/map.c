#include <stdlib.h>
#include "base/map.h"

struct entry {
	struct entry *next;
	uint64_t hash;
	void *value;
	size_t n;
	char key[];
};

struct map {
	struct entry **slots;
	size_t nslots, count; /* nslots: a power of two */
	bool nocase;
};

struct map *map_new(bool nocase)
{
	struct map *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->nslots = 16;
	m->nocase = nocase;
	if ((m->slots = calloc(m->nslots, sizeof(*m->slots))) == NULL) {
		free(m);
		return NULL;
	}
	return m;
}

void map_free(struct map **mp, void (*free_value)(void *))
{
	struct map *m = *mp;
	struct entry *e, *next;

	if (m == NULL)
		return;
	for (size_t i = 0; i < m->nslots; i++)
		for (e = m->slots[i]; e != NULL; e = next) {
			next = e->next;
			if (free_value != NULL)
				free_value(e->value);
			free(e);
		}
	free(m->slots);
	free(m);
	*mp = NULL;
}

static struct entry **find(const struct map *m, struct str key, uint64_t *hash)
{
	struct entry **at;

	*hash = m->nocase ? str_hash_nocase(key) : str_hash(key);
	for (at = &m->slots[*hash & (m->nslots - 1)]; *at; at = &(*at)->next) {
		struct str k = str_n((*at)->key, (*at)->n);

		if ((*at)->hash == *hash && (m->nocase ? str_eq_nocase(k, key)
			: str_eq(k, key)))
			break;
	}
	return at;
}

void *map_find(const struct map *m, struct str key)
{
	uint64_t hash;
	struct entry *e = *find(m, key, &hash);

	return e ? e->value : NULL;
}

static void grow(struct map *m)
{
	size_t n = m->nslots * 2;
	struct entry **slots = calloc(n, sizeof(*slots)), *e, *next;

	if (slots == NULL)
		return; /* slower, not wrong */
	for (size_t i = 0; i < m->nslots; i++)
		for (e = m->slots[i]; e != NULL; e = next) {
			next = e->next;
			e->next = slots[e->hash & (n - 1)];
			slots[e->hash & (n - 1)] = e;
		}
	free(m->slots);
	m->slots = slots;
	m->nslots = n;
}

int map_set(struct map *m, struct str key, void *value, void **old_r)
{
	uint64_t hash;
	struct entry *e = *find(m, key, &hash);

	if (old_r != NULL)
		*old_r = e ? e->value : NULL;
	if (e != NULL) {
		e->value = value;
		return 0;
	}
	if (m->count >= m->nslots)
		grow(m);
	if ((e = malloc(sizeof(*e) + key.n)) == NULL)
		return -1;
	e->hash = hash;
	e->value = value;
	e->n = key.n;
	if (key.n > 0)
		memcpy(e->key, key.p, key.n);
	e->next = m->slots[hash & (m->nslots - 1)];
	m->slots[hash & (m->nslots - 1)] = e;
	m->count++;
	return 0;
}

void *map_take(struct map *m, struct str key)
{
	uint64_t hash;
	struct entry **at = find(m, key, &hash), *e = *at;
	void *value;

	if (e == NULL)
		return NULL;
	value = e->value;
	*at = e->next;
	free(e);
	m->count--;
	return value;
}

size_t map_count(const struct map *m)
{
	return m->count;
}

/* pos: slot number in the upper half, position in its chain in the lower. */
bool map_next(const struct map *m, size_t *pos, struct str *key_r,
    void **value_r)
{
	size_t slot = *pos >> 32, depth = *pos & 0xffffffff;

	for (; slot < m->nslots; slot++, depth = 0) {
		struct entry *e = m->slots[slot];

		for (size_t i = 0; e != NULL && i < depth; i++)
			e = e->next;
		if (e == NULL)
			continue;
		if (key_r != NULL)
			*key_r = str_n(e->key, e->n);
		if (value_r != NULL)
			*value_r = e->value;
		*pos = slot << 32 | (depth + 1);
		return true;
	}
	return false;
}
