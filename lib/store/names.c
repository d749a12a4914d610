/* names.c - what a Maildir file's name says */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "store/mailbox.h"
#include "store/maildir.h"

/* In the order in which letters stand in a name: ASCII. */
static const struct { char letter; uint32_t flag; } letters_of[] = {
	{ 'D', MAILBOX_DRAFT },
	{ 'F', MAILBOX_FLAGGED },
	{ 'R', MAILBOX_ANSWERED },
	{ 'S', MAILBOX_SEEN },
	{ 'T', MAILBOX_DELETED },
};
#define LETTERS (sizeof(letters_of) / sizeof(letters_of[0]))

void maildir_unique(const struct store *s, char *out, size_t size)
{
	static atomic_uint count;
	int64_t now = clock_wall();

	snprintf(out, size, "%lld.M%06dP%dQ%u.%s",
	    (long long)(now / CLOCK_SECOND), (int)(now % CLOCK_SECOND),
	    (int)getpid(), atomic_fetch_add(&count, 1) + 1, s->host);
}

size_t maildir_base_len(struct str name)
{
	ssize_t at = str_chr(name, ':');

	return at < 0 ? name.n : (size_t)at;
}

/* Decimal digits at *at; -1 without any or with too many. */
static int64_t take_number(struct str s, size_t *at)
{
	int64_t v = 0;
	size_t from = *at;

	while (*at < s.n && ascii_is_digit(s.p[*at])) {
		if (*at - from >= 17)
			return -1;
		v = v * 10 + (s.p[(*at)++] - '0');
	}
	return *at > from ? v : -1;
}

static int64_t sized(struct str base, struct str key)
{
	ssize_t found = str_find(base, key);
	size_t at;
	int64_t v;

	if (found < 0)
		return -1;
	at = (size_t)found + key.n;
	v = take_number(base, &at);
	return v >= 0 && (at == base.n || base.p[at] == ',') ? v : -1;
}

void maildir_name_parse(struct str name, struct maildir_name *m)
{
	size_t at = 0;
	int64_t v;

	*m = (struct maildir_name){ .base = { name.p,
		maildir_base_len(name) } };
	m->size = sized(m->base, STR(",S="));
	m->wire = sized(m->base, STR(",W="));
	v = take_number(m->base, &at);
	if (v < 0 || at >= m->base.n || m->base.p[at] != '.')
		return;
	m->seconds = v;
	if (++at < m->base.n && m->base.p[at] == 'M') {
		at++;
		v = take_number(m->base, &at);
		m->micros = v >= 0 && v < CLOCK_SECOND ? v : 0;
	}
}

bool maildir_name_is_ok(const char *name, size_t n)
{
	if (n == 0 || n > MAILDIR_NAME_MAX || name[0] == '.' ||
	    name[0] == ':')
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f ||
		    name[i] == '/')
			return false;
	return true;
}

/* What stands behind ":2,". */
static struct str info_of(struct str name)
{
	size_t base = maildir_base_len(name);
	struct str info = str_from(name, base);

	return str_starts(info, STR(":2,")) ? str_from(info, 3) : STR_NONE;
}

void maildir_name_flags(struct str name, uint32_t *flags_r,
    uint32_t *letters_r)
{
	struct str info = info_of(name);

	*flags_r = *letters_r = 0;
	for (size_t i = 0; i < info.n; i++) {
		char c = info.p[i];

		if (c >= 'a' && c <= 'z')
			*letters_r |= 1u << (c - 'a');
		for (size_t k = 0; k < LETTERS; k++)
			if (letters_of[k].letter == c)
				*flags_r |= letters_of[k].flag;
	}
}

int maildir_name_build(struct str old, uint32_t flags, uint32_t letters,
    char *out)
{
	struct str info = info_of(old);
	size_t n = maildir_base_len(old);
	uint32_t capitals = 0;

	/* Capitals that we do not know (P, passed) are not ours to drop. */
	for (size_t i = 0; i < info.n; i++)
		if (info.p[i] >= 'A' && info.p[i] <= 'Z')
			capitals |= 1u << (info.p[i] - 'A');
	for (size_t k = 0; k < LETTERS; k++) {
		uint32_t bit = 1u << (letters_of[k].letter - 'A');

		capitals &= ~bit;
		if (flags & letters_of[k].flag)
			capitals |= bit;
	}
	if (n + 3 + (size_t)__builtin_popcount(capitals) +
	    (size_t)__builtin_popcount(letters) > MAILDIR_NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(out, old.p, n);
	memcpy(out + n, ":2,", 3);
	n += 3;
	for (int i = 0; i < 26; i++)
		if (capitals & 1u << i)
			out[n++] = (char)('A' + i);
	for (int i = 0; i < 26; i++)
		if (letters & 1u << i)
			out[n++] = (char)('a' + i);
	out[n] = '\0';
	return 0;
}
