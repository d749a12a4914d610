#include "imapd/list.h"

struct str list_simplify(char *pattern, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		char c = pattern[i];
		bool wild = c == '*' || c == '%';

		if (wild && k > 0 && pattern[k - 1] == '*')
			continue;
		if (wild && k > 0 && pattern[k - 1] == '%') {
			pattern[k - 1] = c;
			continue;
		}
		pattern[k++] = c;
	}
	return str_n(pattern, k);
}

/*
 * All positions of the pattern at which a match of the octets so far may
 * stand, as a set of bits: no backtracking.
 */
struct places {
	uint64_t bits[(LIST_PATTERN_MAX + 64) / 64];
};

static void add(struct places *set, struct str pattern, size_t at)
{
	set->bits[at / 64] |= UINT64_C(1) << at % 64;
	/* A wildcard also matches nothing; two never stand together. */
	if (at < pattern.n && (pattern.p[at] == '*' || pattern.p[at] == '%'))
		set->bits[(at + 1) / 64] |= UINT64_C(1) << (at + 1) % 64;
}

static bool step(const struct places *from, struct places *to,
    struct str pattern, char c, bool nocase)
{
	bool any = false;

	memset(to, 0, sizeof(*to));
	for (size_t w = 0; w <= pattern.n / 64; w++)
		for (uint64_t left = from->bits[w]; left != 0;
		    left &= left - 1) {
			size_t at = w * 64 + (size_t)__builtin_ctzll(left);
			char want;

			if (at >= pattern.n)
				continue;
			want = pattern.p[at];
			if (want == '*' ||
			    (want == '%' && c != STORE_SEPARATOR))
				add(to, pattern, at);
			else if (want == c || (nocase &&
			    ascii_lower(want) == ascii_lower(c)))
				add(to, pattern, at + 1);
			else
				continue;
			any = true;
		}
	return any;
}

bool list_match(struct str pattern, struct str name)
{
	struct places a = { { 0 } }, b;
	size_t inbox = 0;

	if (pattern.n > LIST_PATTERN_MAX)
		return false;
	/* RFC 3501 5.1 */
	if (str_starts_nocase(name, STR("INBOX")) &&
	    (name.n == 5 || name.p[5] == STORE_SEPARATOR))
		inbox = 5;
	add(&a, pattern, 0);
	for (size_t i = 0; i < name.n; i++) {
		if (!step(&a, &b, pattern, name.p[i], i < inbox))
			return false;
		a = b;
	}
	return (a.bits[pattern.n / 64] >> pattern.n % 64 & 1) != 0;
}
