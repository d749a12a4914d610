/* str.h - a view of bytes with a length; mail contains NUL */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* A view: n octets at p, owned by somebody else. p may be NULL when n is 0. */
struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ ("" lit), sizeof(lit) - 1 })
#define STR_NONE ((struct str){ NULL, 0 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)((s).n), ((s).n ? (s).p : "")

static inline struct str str_of(const char *cstr)
{
	return (struct str){ cstr, cstr ? strlen(cstr) : 0 };
}

static inline struct str str_n(const void *p, size_t n)
{
	return (struct str){ p, n };
}

bool str_eq(struct str, struct str);
bool str_eq_c(struct str, const char *);
/* ASCII letters compare without case; other octets as they are. */
bool str_eq_nocase(struct str, struct str);
bool str_eq_nocase_c(struct str, const char *);
int str_cmp(struct str, struct str);
int str_cmp_nocase(struct str, struct str);
bool str_starts(struct str, struct str prefix);
bool str_starts_nocase(struct str, struct str prefix);
bool str_ends(struct str, struct str suffix);
bool str_ends_nocase(struct str, struct str suffix);
/* Offset of the first/last octet c, or -1. */
ssize_t str_chr(struct str, char c);
ssize_t str_rchr(struct str, char c);
/* Offset of the first needle, or -1; an empty needle is at 0. */
ssize_t str_find(struct str, struct str needle);
ssize_t str_find_nocase(struct str, struct str needle);
/* The view from `from` (clamped) with at most n octets. */
struct str str_sub(struct str, size_t from, size_t n);
struct str str_from(struct str, size_t from);
/* Without spaces, tabs, CR and LF at both ends. */
struct str str_trim(struct str);
/*
 * Takes the next word up to the octet sep off *rest into *word. False when
 * *rest is used up (p == NULL). "a,b," with ',' gives "a", "b", "".
 */
bool str_split(struct str *rest, char sep, struct str *word);
/* Takes the next word separated by any of seps; empty words are skipped. */
bool str_word(struct str *rest, const char *seps, struct str *word);
/* Any octet below 32 or 127 (also NUL). */
bool str_has_ctl(struct str);
bool str_has_nul(struct str);
bool str_is_ascii(struct str);
/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool str_is_utf8(struct str);
/* Decimal digits only, all of them, at most max. 0 or -1. */
int str_to_u64(struct str, uint64_t max, uint64_t *value_r);
/* Keyed (SipHash-2-4, key drawn once per process): for hash tables. */
uint64_t str_hash(struct str);
uint64_t str_hash_nocase(struct str);
/* NUL-terminated copy into out[size]; -1 when too long or with a NUL. */
int str_to_c(struct str, char *out, size_t size);
/* Compares in a time that depends only on the lengths. */
bool str_eq_secret(struct str, struct str);

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
#endif
