/*
 * aliases.c - aliases(5) and .forward: what they lead to
 *
 * Bounded, and each target is of one kind with a text that fits it: no line
 * ends, no NUL; an address stands for itself when it is written again.
 */
#include "fuzz.h"
#include "local/targets.h"
#include "mail/path.h"
#include "table/source.h"

static void check_again(struct str text, struct arena *arena)
{
	struct targets again;
	struct str local, domain;
	const char *why = NULL;
	struct buf out;

	mail_path_split(text, &local, &domain);
	/* A quoted local-part with "@" and no domain looks like another. */
	if (local.n == 0 || str_ends(text, STR("@")) || (domain.n > 0 &&
	    !mail_domain_is_valid(domain, true)))
		return;
	buf_init(&out, SIZE_MAX);
	/* In brackets: "/x"@y is no file. */
	mail_path_append_angle(&out, local, domain);
	fuzz_check(targets_parse(buf_str(&out), 10, arena, &again, &why) == 0
	    && again.n == 1 && again.v[0].kind == TARGET_ADDRESS,
	    "not read again: %s", buf_cstr(&out));
	fuzz_check_same("an address", text, again.v[0].text);
	buf_fini(&out);
}

static void check_value(struct str value, size_t limit, struct arena *arena)
{
	struct targets l;
	const char *why = NULL;

	if (targets_parse(value, limit, arena, &l, &why) < 0) {
		fuzz_check(why != NULL && *why != '\0', "no reason");
		return;
	}
	fuzz_check(l.n <= limit, "more than the limit");
	for (size_t i = 0; i < l.n; i++) {
		struct str t = l.v[i].text;

		fuzz_check(t.n > 0 && !str_has_nul(t) &&
		    str_chr(t, '\n') == -1, "a target's text");
		if (l.v[i].kind == TARGET_FILE ||
		    l.v[i].kind == TARGET_INCLUDE)
			fuzz_check(t.p[0] == '/', "no whole path");
		if (l.v[i].kind == TARGET_ADDRESS) {
			fuzz_check(!str_has_ctl(t), "a control octet");
			if (i < 20)
				check_again(t, arena);
		} else {
			fuzz_check(!l.v[i].is_final, "\\ before what?");
		}
	}
}

struct visit {
	struct arena *arena;
	size_t limit;
};

static int take(struct str key, struct str value, unsigned line, void *ctx)
{
	struct visit *v = ctx;

	(void)line;
	fuzz_check(key.n > 0, "no key");
	check_value(value, v->limit, v->arena);
	return 0;
}

static void trouble(unsigned line, const char *why, void *ctx)
{
	(void)line, (void)why, (void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	struct visit v = { arena_new(64 << 20),
		fuzz_octet(&in) % 4 == 0 ? 3 : 1000 };
	struct str text = fuzz_exact(in.rest);

	fuzz_budget_start();
	check_value(text, v.limit, v.arena);
	table_source_read(text, TABLE_SOURCE_ALIASES, take, trouble, &v);
	fuzz_check_steps(6000, n, 30000);
	arena_free(&v.arena);
	fuzz_end();
	return 0;
}
