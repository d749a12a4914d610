/*
 * expand.c - $name in values, and logical lines
 *
 * The first line is expanded with the "name=value" lines as its world: in
 * bounds of steps, depth and size, or refused with a reason.
 */
#include "config/expand.h"
#include "config/lines.h"
#include "fuzz.h"

struct world {
	struct str lines;
	unsigned asked;
};

static bool look_up(struct str name, struct str *value_r, void *ctx)
{
	struct world *w = ctx;
	struct str rest = w->lines, line;

	w->asked++;
	fuzz_check(w->asked <= EXPAND_STEPS + 1, "asked too often");
	while (rest.p != NULL && str_split(&rest, '\n', &line)) {
		ssize_t eq = str_chr(line, '=');

		if (eq >= 0 && str_eq(str_sub(line, 0, (size_t)eq), name)) {
			*value_r = str_from(line, (size_t)eq + 1);
			return true;
		}
	}
	return false;
}

static void check_expand(struct str text)
{
	struct world w = { text, 0 };
	struct str first = text;
	const char *why = NULL;
	struct buf out;
	ssize_t nl = str_chr(text, '\n');

	if (nl >= 0)
		first.n = (size_t)nl;
	/* The worst is the whole text once for each name looked up. */
	if (text.n > 2000)
		return;
	buf_init(&out, EXPAND_SIZE);
	fuzz_budget_start();
	if (expand_text(first, look_up, &w, &out, &why) < 0)
		fuzz_check(why != NULL && *why != '\0', "no reason");
	fuzz_check(out.n <= EXPAND_SIZE, "too long");
	buf_fini(&out);
}

/* Logical lines: every line with text is in one of them. */
static void check_lines(struct str text)
{
	struct lines l;
	struct str line;
	unsigned number, last = 0;
	int r;

	lines_init(&l, text, 1000);
	while ((r = lines_next(&l, &line, &number)) != 0) {
		fuzz_check(number > last, "line numbers");
		last = number;
		if (r > 0)
			fuzz_check(line.n <= 1000 && str_chr(line, '\n') ==
			    -1, "a logical line");
	}
	lines_fini(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str text = fuzz_exact(str_n(p, n));

	fuzz_budget_start();
	check_lines(text);
	fuzz_check_steps(200, n, 3000);
	check_expand(text);
	fuzz_end();
	return 0;
}
