/*
 * table.c - lookup tables whose text an operator writes
 *
 * The first line is the kind and a key, the rest the table's text. A table
 * answers found, not found or error with a reason, never without end; texts
 * by key agree with a walk through them.
 */
#include <stdio.h>
#include "base/map.h"
#include "fuzz.h"
#include "table/source.h"
#include "table/table.h"

/* glibc's regcomp(3) may take any time and memory for what an operator
 * writes; only plain patterns are given to it. */
static bool is_plain(struct str text)
{
	return text.n < 300 && str_chr(text, '{') == -1 &&
	    str_chr(text, '\\') == -1 && str_find(text, STR("(((")) == -1 &&
	    str_find(text, STR("*)")) == -1 && str_find(text, STR("+)")) == -1
	    && str_find(text, STR("**")) == -1;
}

struct seen {
	struct str key;		/* in lower case */
	struct buf value;	/* of the first entry with that key */
	bool found;
};

static int see(struct str key, struct str value, void *ctx)
{
	struct seen *s = ctx;

	if (!s->found && str_eq_nocase(key, s->key)) {
		s->found = true;
		buf_append(&s->value, value);
	}
	return 0;
}

static void ask(struct table *t, struct str key, bool has_each)
{
	struct buf value, why;
	struct seen seen = { .key = key };
	enum table_answer a;

	buf_init(&value, TABLE_VALUE_MAX);
	buf_init(&why, 4096);
	buf_init(&seen.value, SIZE_MAX);
	a = table_find(t, key, &value);
	fuzz_check(a != TABLE_ERROR || value.n > 0, "an error without words");
	if (has_each && a != TABLE_ERROR && key.n > 0 &&
	    table_each(t, see, &seen, &why) == 0) {
		fuzz_check(seen.found == (a == TABLE_FOUND),
		    "found %d, walking %d", a, seen.found);
	}
	/* The same again. */
	buf_reset(&why);
	fuzz_check(table_find(t, key, &why) == a, "another answer");
	if (a == TABLE_FOUND)
		fuzz_check_same("the value", buf_str(&value), buf_str(&why));
	buf_fini(&value);
	buf_fini(&why);
	buf_fini(&seen.value);
}

static void check_file(const char *type, struct str key, struct str text)
{
	const char *path, *why = NULL;
	char spec[200];
	struct table *t;

	fuzz_put_file("table", text);
	(void)fuzz_directory(&path);
	snprintf(spec, sizeof(spec), "%s:%s/table", type, path);
	t = table_new(str_of(spec), &why);
	fuzz_check(t != NULL, "%s: %s", spec, why);
	ask(t, key, strcmp(type, "texthash") == 0);
	ask(t, STR("user@example.com"), false);
	ask(t, STR("192.0.2.1"), false);
	table_free(&t);
}

/* What stands in main.cf: inline:, static:, fail:, a list. */
static void check_named(struct str key, struct str text)
{
	const char *why = NULL;
	struct table_list *list;
	struct table *t;
	struct buf b;

	/* No files of the machine. */
	if (str_chr(text, '/') >= 0 || str_find(text, STR("hash")) >= 0 ||
	    str_find(text, STR("btree")) >= 0 || !is_plain(text) ||
	    str_find(text, STR("cidr")) >= 0 ||
	    str_find(text, STR("regexp")) >= 0 ||
	    str_find(text, STR("pcre")) >= 0)
		return;
	if ((t = table_new(text, &why)) != NULL) {
		if (!table_is_users(t))
			ask(t, key, false);
		table_free(&t);
	} else {
		fuzz_check(why != NULL && *why != '\0', "no reason");
	}
	buf_init(&b, TABLE_VALUE_MAX);
	if ((list = table_list_new(text, &b)) != NULL) {
		buf_reset(&b);
		for (size_t i = 0; i < table_list_count(list); i++)
			(void)table_name(table_list_at(list, i));
		table_list_free(&list);
	} else {
		fuzz_check(b.n > 0, "no reason");
	}
	buf_fini(&b);
}

static int count_entry(struct str key, struct str value, unsigned line,
    void *ctx)
{
	unsigned *last = ctx;

	(void)value;
	fuzz_check(line >= *last && line > 0, "lines go back");
	fuzz_check(key.n > 0, "no key");
	*last = line;
	return 0;
}

static void trouble(unsigned line, const char *why, void *ctx)
{
	(void)ctx;
	fuzz_check(line > 0 && why[0] != '\0', "no reason");
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	unsigned kind = fuzz_octet(&in) % 8;
	struct str key = fuzz_exact(fuzz_field(&in, '\n'));
	struct str text = fuzz_exact(fuzz_rest(&in));
	unsigned line = 0;

	fuzz_budget_start();
	if (kind < 2)
		check_file("texthash", key, text);
	else if (kind < 4)
		check_file("cidr", key, text);
	else if (kind == 4)
		check_file("pcre", key, text);
	else if (kind == 5 && is_plain(text) && key.n < 300)
		check_file("regexp", key, text);
	else if (kind == 6)
		check_named(key, text);
	fuzz_check(table_source_read(text, TABLE_SOURCE_MAP, count_entry,
	    trouble, &line) >= 0, "read");
	line = 0;
	fuzz_check(table_source_read(text, TABLE_SOURCE_ALIASES, count_entry,
	    trouble, &line) >= 0, "read");
	fuzz_check_steps(3000, n, 30000);
	fuzz_check_heap(200 * n + 3000000);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fuzz_mute_log();
	return 0;
}
