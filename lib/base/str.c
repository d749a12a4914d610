#include <sys/random.h>
#include <pthread.h>
#include "base/str.h"

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_c(struct str a, const char *b)
{
	return str_eq(a, str_of(b));
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

bool str_eq_nocase_c(struct str a, const char *b)
{
	return str_eq_nocase(a, str_of(b));
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

int str_cmp_nocase(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		unsigned char x = (unsigned char)ascii_lower(a.p[i]);
		unsigned char y = (unsigned char)ascii_lower(b.p[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq_nocase(str_n(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n &&
	    str_eq(str_n(s.p + (s.n - suffix.n), suffix.n), suffix);
}

bool str_ends_nocase(struct str s, struct str suffix)
{
	return s.n >= suffix.n &&
	    str_eq_nocase(str_n(s.p + (s.n - suffix.n), suffix.n), suffix);
}

ssize_t str_chr(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

ssize_t str_rchr(struct str s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

ssize_t str_find(struct str s, struct str needle)
{
	const char *at;

	if (needle.n == 0)
		return 0;
	if (s.n < needle.n)
		return -1;
	at = memmem(s.p, s.n, needle.p, needle.n);
	return at ? at - s.p : -1;
}

ssize_t str_find_nocase(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	for (size_t i = 0; i + needle.n <= s.n; i++)
		if (ascii_lower(s.p[i]) == ascii_lower(needle.p[0]) &&
		    str_eq_nocase(str_n(s.p + i, needle.n), needle))
			return (ssize_t)i;
	return -1;
}

struct str str_sub(struct str s, size_t from, size_t n)
{
	if (from > s.n)
		from = s.n;
	if (n > s.n - from)
		n = s.n - from;
	return str_n(s.p ? s.p + from : NULL, n);
}

struct str str_from(struct str s, size_t from)
{
	return str_sub(s, from, SIZE_MAX);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.n > 0 && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_split(struct str *rest, char sep, struct str *word)
{
	ssize_t at;

	if (rest->p == NULL)
		return false;
	at = str_chr(*rest, sep);
	if (at < 0) {
		*word = *rest;
		*rest = STR_NONE;
	} else {
		*word = str_n(rest->p, (size_t)at);
		*rest = str_from(*rest, (size_t)at + 1);
	}
	return true;
}

bool str_word(struct str *rest, const char *seps, struct str *word)
{
	size_t i = 0, j;

	while (i < rest->n && strchr(seps, rest->p[i]) && rest->p[i])
		i++;
	if (i == rest->n) {
		*rest = STR_NONE;
		return false;
	}
	for (j = i; j < rest->n; j++)
		if (rest->p[j] && strchr(seps, rest->p[j]))
			break;
	*word = str_n(rest->p + i, j - i);
	*rest = str_from(*rest, j);
	return true;
}

bool str_has_ctl(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return true;
	return false;
}

bool str_has_nul(struct str s)
{
	return str_chr(s, '\0') >= 0;
}

bool str_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] > 127)
			return false;
	return true;
}

/* RFC 3629 section 4 */
bool str_is_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	while (i < s.n) {
		unsigned char c = p[i];
		size_t len = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2
		    : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;

		if (len == 0 || len > s.n - i)
			return false;
		for (size_t k = 1; k < len; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		if ((c == 0xe0 && p[i + 1] < 0xa0) ||
		    (c == 0xed && p[i + 1] > 0x9f) ||
		    (c == 0xf0 && p[i + 1] < 0x90) ||
		    (c == 0xf4 && p[i + 1] > 0x8f))
			return false;
		i += len;
	}
	return true;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *value_r)
{
	uint64_t v = 0;

	if (s.n == 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (!ascii_is_digit(s.p[i]))
			return -1;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v) ||
		    v > max)
			return -1;
	}
	*value_r = v;
	return 0;
}

/* SipHash-2-4 (Aumasson, Bernstein 2012); keyed against chosen collisions. */
static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void draw_key(void)
{
	if (getrandom(sip_key, sizeof(sip_key), 0) != sizeof(sip_key)) {
		sip_key[0] = (uint64_t)(uintptr_t)&sip_once;
		sip_key[1] = 0x9e3779b97f4a7c15u;
	}
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = ROTL(v[1], 13);
	v[1] ^= v[0];
	v[0] = ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = ROTL(v[3], 16);
	v[3] ^= v[2];
	v[0] += v[3];
	v[3] = ROTL(v[3], 21);
	v[3] ^= v[0];
	v[2] += v[1];
	v[1] = ROTL(v[1], 17);
	v[1] ^= v[2];
	v[2] = ROTL(v[2], 32);
}

static uint64_t sip_hash(struct str s, bool fold)
{
	uint64_t v[4], m = 0;
	size_t i;

	pthread_once(&sip_once, draw_key);
	v[0] = sip_key[0] ^ 0x736f6d6570736575u;
	v[1] = sip_key[1] ^ 0x646f72616e646f6du;
	v[2] = sip_key[0] ^ 0x6c7967656e657261u;
	v[3] = sip_key[1] ^ 0x7465646279746573u;
	for (i = 0; i < s.n; i++) {
		char c = fold ? ascii_lower(s.p[i]) : s.p[i];

		m |= (uint64_t)(unsigned char)c << (8 * (i % 8));
		if (i % 8 == 7) {
			v[3] ^= m;
			sip_round(v);
			sip_round(v);
			v[0] ^= m;
			m = 0;
		}
	}
	m |= (uint64_t)s.n << 56;
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	for (i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t str_hash(struct str s)
{
	return sip_hash(s, false);
}

uint64_t str_hash_nocase(struct str s)
{
	return sip_hash(s, true);
}

int str_to_c(struct str s, char *out, size_t size)
{
	if (s.n >= size || str_has_nul(s))
		return -1;
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return 0;
}

bool str_eq_secret(struct str a, struct str b)
{
	volatile unsigned char diff = a.n != b.n;

	for (size_t i = 0; i < a.n; i++)
		diff |= (unsigned char)(a.p[i] ^ (b.n ? b.p[i % b.n] : 0));
	return diff == 0;
}
