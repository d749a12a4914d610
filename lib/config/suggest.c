/* suggest.c - what a misspelt word was meant to be */
#include "config/internal.h"

#define LONGEST 80

/* Levenshtein's distance, with two letters exchanged counted as one edit. */
static size_t distance(struct str a, struct str b)
{
	size_t row[3][LONGEST + 1], cost, best;

	for (size_t j = 0; j <= b.n; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t *now = row[i % 3], *last = row[(i + 2) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			cost = ascii_lower(a.p[i - 1]) !=
			    ascii_lower(b.p[j - 1]);
			best = last[j - 1] + cost;
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
			    a.p[i - 2] == b.p[j - 1] &&
			    row[(i + 1) % 3][j - 2] + 1 < best)
				best = row[(i + 1) % 3][j - 2] + 1;
			now[j] = best;
		}
	}
	return row[a.n % 3][b.n];
}

/* A fifth of the letters may be wrong, and never more than three. */
static void consider(struct str word, const char *candidate,
    const char **best, size_t *best_distance)
{
	struct str c = str_of(candidate);
	size_t allowed = 1 + word.n / 6, d;

	if (allowed > 3)
		allowed = 3;
	if (word.n == 0 || word.n > LONGEST || c.n > LONGEST ||
	    (c.n > word.n ? c.n - word.n : word.n - c.n) > allowed)
		return;
	d = distance(word, c);
	if (d <= allowed && d < *best_distance) {
		*best = candidate;
		*best_distance = d;
	}
}

const char *suggest_parameter(struct str name)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	for (const struct param *p = params_table; p->name != NULL; p++)
		consider(name, p->name, &best, &best_distance);
	return best;
}

const char *suggest_word(struct str word, const char *const *words)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	for (; *words != NULL; words++)
		consider(word, *words, &best, &best_distance);
	return best;
}
