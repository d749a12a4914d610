/*
 * names.c - mailbox names, LIST patterns, file names in a Maildir
 *
 * No name leads outside of the user's directory; each has one directory and
 * back; a pattern matches what a plain matcher matches, in linear time.
 */
#include <limits.h>
#include "fuzz.h"
#include "imapd/list.h"
#include "mail/encoded.h"
#include "store/mailbox.h"
#include "store/maildir.h"
#include "store/mbname.h"
#include "store/uidlist.h"

static void check_mailbox(struct str s)
{
	struct mbname m, again;
	const char *why = NULL;
	struct buf utf8;

	if (mbname_parse(s, &m, &why) < 0) {
		fuzz_check(why != NULL, "no reason");
		return;
	}
	fuzz_check(m.n == strlen(m.name) && m.n <= MBNAME_MAX, "length");
	fuzz_check(m.dir[0] == '.' && strchr(m.dir, '/') == NULL &&
	    strcmp(m.dir, "..") != 0, "a directory elsewhere: %s", m.dir);
	fuzz_check(m.inbox == (strcmp(m.dir, ".") == 0), "whose is the root");
	fuzz_check(strstr(m.name, "..") == NULL && m.name[0] != '.',
	    "an empty component");
	fuzz_check(mbname_parse(str_of(m.name), &again, &why) == 0 &&
	    strcmp(m.name, again.name) == 0, "not its own name");
	if (!m.inbox)
		fuzz_check(mbname_from_dir(m.dir, &again) == 0 &&
		    strcmp(again.name, m.name) == 0, "not its directory's");
	buf_init(&utf8, SIZE_MAX);
	fuzz_check(mutf7_to_utf8(str_of(m.name), &utf8) == 0,
	    "not modified UTF-7");
	buf_fini(&utf8);
}

/* Plainly: may the rest of the pattern match the rest of the name? */
static bool plain_match(struct str pattern, struct str name, size_t inbox)
{
	static bool row[2][4100];
	bool *now = row[0], *next = row[1], *t;

	/* now[k]: the first k octets of the pattern match what was seen */
	memset(now, 0, sizeof(row[0]));
	now[0] = true;
	for (size_t k = 0; k < pattern.n; k++)
		now[k + 1] = now[k] && (pattern.p[k] == '*' ||
		    pattern.p[k] == '%');
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		next[0] = false;
		for (size_t k = 0; k < pattern.n; k++) {
			char want = pattern.p[k];

			if (want == '*' || (want == '%' && c != '.'))
				next[k + 1] = now[k + 1] || next[k] ||
				    now[k];
			else if (want == '%')
				next[k + 1] = next[k];
			else
				next[k + 1] = now[k] && (want == c ||
				    (i < inbox && ascii_lower(want) ==
				    ascii_lower(c)));
		}
		t = now, now = next, next = t;
	}
	return now[pattern.n];
}

static void check_pattern(struct str pattern, struct str name)
{
	size_t inbox = str_starts_nocase(name, STR("INBOX")) &&
	    (name.n == 5 || name.p[5] == '.') ? 5 : 0;
	char *copy = fuzz_cstr(pattern);
	size_t n = strlen(copy);
	struct str simple;
	bool want, got;

	if (n > 2000 || name.n > MBNAME_MAX)
		return;
	simple = list_simplify(copy, n);
	fuzz_check(simple.n <= n, "longer");
	if (simple.n > LIST_PATTERN_MAX)
		return;
	simple = fuzz_exact(simple);
	fuzz_budget_start();
	got = list_match(simple, name);
	fuzz_check_steps(100, (simple.n + 1) * (name.n + 1), 3000);
	want = plain_match(simple, name, inbox);
	fuzz_check(got == want, "the pattern: %d, plainly %d", got, want);
	fuzz_check(plain_match(fuzz_exact(str_of(fuzz_cstr(pattern))), name,
	    inbox) == want, "simplified it matches otherwise");
}

static void check_file(struct str s)
{
	char *name = fuzz_cstr(s);
	char out[MAILDIR_NAME_MAX + 1], again[MAILDIR_NAME_MAX + 1];
	uint32_t flags, letters, flags2, letters2;
	struct maildir_name parsed;

	s = str_of(name);
	if (!maildir_name_is_ok(name, s.n))
		return;
	fuzz_check(s.n <= MAILDIR_NAME_MAX && strchr(name, '/') == NULL,
	    "a file elsewhere");
	maildir_name_parse(s, &parsed);
	fuzz_check(parsed.size >= -1 && parsed.wire >= -1, "sizes");
	maildir_name_flags(s, &flags, &letters);
	if (maildir_name_build(s, flags, letters, out) == 0) {
		maildir_name_flags(str_of(out), &flags2, &letters2);
		fuzz_check(flags == flags2 && letters == letters2,
		    "flags of %s", out);
		fuzz_check(maildir_base_len(str_of(out)) ==
		    maildir_base_len(s), "base of %s", out);
		fuzz_check(maildir_name_build(str_of(out), flags, letters,
		    again) == 0 && strcmp(out, again) == 0, "twice");
		fuzz_check(maildir_name_is_ok(out, strlen(out)), "its own");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	struct str first = fuzz_exact(fuzz_field(&in, '\n'));
	struct str second = fuzz_exact(fuzz_rest(&in));
	struct mbname m;

	check_mailbox(first);
	check_mailbox(second);
	check_pattern(first, second);
	check_file(first);
	(void)mbname_is_below(first, second);
	(void)mbname_from_dir(fuzz_cstr(first), &m);
	(void)keyword_is_ok(first);
	fuzz_end();
	return 0;
}
