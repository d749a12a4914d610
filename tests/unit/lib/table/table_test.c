/* table_test.c - tables of each type, from real files */
#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/sys.h"
#include "config/config.h"
#include "table/source.h"
#include "table/table.h"
#include "table/writer.h"

struct fixture {
	char dir[64];
	struct buf why, value;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/table_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	buf_init(&f->why, 10000);
	buf_init(&f->value, 300000);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char path[400];
	struct dirent *e;
	DIR *d = opendir(f->dir);

	while ((e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, e->d_name);
		unlink(path);
	}
	closedir(d);
	assert_int_equal(rmdir(f->dir), 0);
	buf_fini(&f->why);
	buf_fini(&f->value);
	free(f);
	return 0;
}

static void put_file(struct fixture *f, const char *name, const char *text)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct table *open_table(struct fixture *f, const char *type,
    const char *name)
{
	const char *why = NULL;
	struct table *t;
	char spec[300];

	snprintf(spec, sizeof(spec), "%s:%s/%s", type, f->dir, name);
	t = table_new(str_of(spec), &why);
	assert_non_null(t);
	return t;
}

/* "key", "value" ..., NULL into hash: or btree:. */
static void build(struct fixture *f, const char *type, const char *name,
    const char *const *pairs)
{
	struct table_writer *w;
	char spec[300];

	snprintf(spec, sizeof(spec), "%s:%s/%s", type, f->dir, name);
	assert_non_null(w = table_writer_open(str_of(spec), 0644, &f->why));
	for (; *pairs != NULL; pairs += 2)
		assert_int_equal(table_writer_put(w, str_of(pairs[0]),
		    str_of(pairs[1]), TABLE_WRITE_REPLACE, &f->why) >= 0, 1);
	assert_int_equal(table_writer_commit(&w, &f->why), 0);
	assert_null(w);
}

static void assert_finds(struct fixture *f, struct table *t, const char *key,
    const char *want)
{
	enum table_answer answer = table_find(t, str_of(key), &f->value);

	if (want == NULL) {
		assert_int_equal(answer, TABLE_NOT_FOUND);
	} else {
		assert_int_equal(answer, TABLE_FOUND);
		assert_string_equal(buf_cstr(&f->value), want);
	}
}

static const char *const some[] = { "User@Example.ORG", "one, two", "b", "2",
	"empty", "", NULL };

static void a_built_table_answers_without_regard_to_case(void **state)
{
	static const char *const types[] = { "hash", "btree" };
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct table *t;

		build(f, types[i], types[i], some);
		t = open_table(f, types[i], types[i]);
		assert_finds(f, t, "user@example.org", "one, two");
		assert_finds(f, t, "USER@EXAMPLE.org", "one, two");
		assert_finds(f, t, "b", "2");
		assert_finds(f, t, "empty", "");
		assert_finds(f, t, "nobody", NULL);
		assert_finds(f, t, "", NULL);
		table_free(&t);
	}
}

static void files_of_other_programs_without_a_nul_are_read(void **state)
{
	struct fixture *f = *state;
	DBT k = { .data = (char[]){ "key" }, .size = 3 };
	DBT v = { .data = (char[]){ "value" }, .size = 5 };
	struct table *t;
	char path[200];
	DB *db;

	snprintf(path, sizeof(path), "%s/other.db", f->dir);
	assert_int_equal(db_create(&db, NULL, 0), 0);
	assert_int_equal(db->open(db, NULL, path, NULL, DB_HASH, DB_CREATE,
	    0644), 0);
	assert_int_equal(db->put(db, NULL, &k, &v, 0), 0);
	assert_int_equal(db->close(db, 0), 0);
	t = open_table(f, "hash", "other");
	assert_finds(f, t, "KEY", "value");
	table_free(&t);
}

static void what_cannot_be_read_is_an_error_and_never_not_found(void **state)
{
	struct fixture *f = *state;
	struct table *t = open_table(f, "hash", "missing");

	assert_int_equal(table_find(t, STR("x"), &f->value), TABLE_ERROR);
	assert_non_null(strstr(buf_cstr(&f->value), "missing.db"));
	assert_int_equal(table_check(t, &f->why), -1);
	/* It is there later: the next question finds it. */
	build(f, "hash", "missing", some);
	assert_finds(f, t, "b", "2");
	table_free(&t);

	put_file(f, "rubbish.db", "this is no database at all, is it? ........"
	    "..............................................................."
	    "...............................................................");
	t = open_table(f, "btree", "rubbish");
	assert_int_equal(table_find(t, STR("x"), &f->value), TABLE_ERROR);
	table_free(&t);

	/* A table of the other type is a mistake, not an empty one. */
	build(f, "btree", "tree", some);
	t = open_table(f, "hash", "tree");
	assert_int_equal(table_find(t, STR("b"), &f->value), TABLE_ERROR);
	table_free(&t);
	t = open_table(f, "texthash", "nothing");
	assert_int_equal(table_find(t, STR("b"), &f->value), TABLE_ERROR);
	table_free(&t);
}

static void wait_for_check(void)
{
	/* The interval in which a change may stay unseen. */
	struct timespec ts = { 1, 50000000 };

	nanosleep(&ts, NULL);
}

static void a_changed_table_is_picked_up(void **state)
{
	static const char *const other[] = { "b", "3", "c", "4", NULL };
	struct fixture *f = *state;
	struct table *h, *x;

	build(f, "hash", "t", some);
	put_file(f, "x", "b 2\n");
	h = open_table(f, "hash", "t");
	x = open_table(f, "texthash", "x");
	assert_finds(f, h, "b", "2");
	assert_finds(f, x, "b", "2");
	build(f, "hash", "t", other);
	put_file(f, "x", "b three\n");
	wait_for_check();
	assert_finds(f, h, "b", "3");
	assert_finds(f, h, "user@example.org", NULL);
	assert_finds(f, x, "b", "three");
	table_free(&h);
	table_free(&x);
}

static void a_table_that_went_away_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct table *t;
	char path[200];

	build(f, "hash", "t", some);
	t = open_table(f, "hash", "t");
	assert_finds(f, t, "b", "2");
	snprintf(path, sizeof(path), "%s/t.db", f->dir);
	assert_int_equal(unlink(path), 0);
	wait_for_check();
	assert_int_equal(table_find(t, STR("nobody"), &f->value),
	    TABLE_ERROR);
	table_free(&t);
}

struct race {
	struct fixture *f;
	struct table *t;
	unsigned asked, wrong;
	bool stop;
};

static void *ask_often(void *arg)
{
	struct race *r = arg;
	struct buf value;

	buf_init(&value, 1000);
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		if (table_find(r->t, STR("b"), &value) != TABLE_FOUND)
			__atomic_add_fetch(&r->wrong, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&r->asked, 1, __ATOMIC_RELAXED);
	}
	buf_fini(&value);
	return NULL;
}

static void readers_never_miss_while_a_table_is_rebuilt(void **state)
{
	struct fixture *f = *state;
	struct race r = { .f = f };
	pthread_t threads[2];

	build(f, "hash", "t", some);
	r.t = open_table(f, "hash", "t");
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often,
		    &r), 0);
	for (int i = 0; i < 30; i++) {
		build(f, "hash", "t", some);
		/* A fresh look every time, as after an interval. */
		assert_int_equal(table_check(r.t, &f->why), 0);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_true(r.asked > 0);
	assert_int_equal(r.wrong, 0);
	table_free(&r.t);
}

static void db_config_beside_the_program_is_not_read(void **state)
{
	struct fixture *f = *state;
	struct table *t;
	char cwd[1000], path[200];

	build(f, "hash", "t", some);
	snprintf(path, sizeof(path), "%s/sub", f->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	put_file(f, "sub/DB_CONFIG", "set_data_dir /nonexistent\nrubbish\n");
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(path), 0);
	t = open_table(f, "hash", "t");
	assert_finds(f, t, "b", "2");
	table_free(&t);
	assert_int_equal(chdir(cwd), 0);
	snprintf(path, sizeof(path), "%s/sub/DB_CONFIG", f->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/sub", f->dir);
	rmdir(path);
}

static int refuse_rename(const struct sys_event *e, void *ctx)
{
	(void)ctx;
	return e->op == SYS_RENAME && !e->after ? EIO : 0;
}

static void a_failed_build_leaves_the_old_table_and_no_rest(void **state)
{
	struct fixture *f = *state;
	struct table_writer *w;
	struct table *t;
	struct dirent *e;
	char spec[300];
	size_t files = 0;
	DIR *d;

	build(f, "hash", "t", some);
	snprintf(spec, sizeof(spec), "hash:%s/t", f->dir);
	w = table_writer_open(str_of(spec), 0644, &f->why);
	assert_non_null(w);
	sys_set_hook(refuse_rename, NULL);
	assert_int_equal(table_writer_commit(&w, &f->why), -1);
	sys_set_hook(NULL, NULL);
	assert_null(w);
	t = open_table(f, "hash", "t");
	assert_finds(f, t, "b", "2");
	table_free(&t);
	d = opendir(f->dir);
	while ((e = readdir(d)) != NULL)
		files += e->d_name[0] != '.';
	closedir(d);
	assert_int_equal(files, 1);
}

static void a_table_is_changed_through_a_copy(void **state)
{
	struct fixture *f = *state;
	struct table_writer *w;
	struct table *t;
	char spec[300];

	build(f, "btree", "t", some);
	snprintf(spec, sizeof(spec), "btree:%s/t", f->dir);
	w = table_writer_open(str_of(spec), 0644, &f->why);
	assert_non_null(w);
	assert_int_equal(table_writer_copy(w, &f->why), 0);
	assert_int_equal(table_writer_put(w, STR("B"), STR("9"),
	    TABLE_WRITE_NEW, &f->why), 1);
	assert_int_equal(table_writer_put(w, STR("new"), STR("8"),
	    TABLE_WRITE_NEW, &f->why), 0);
	assert_int_equal(table_writer_delete(w, STR("EMPTY"), &f->why), 1);
	assert_int_equal(table_writer_delete(w, STR("nope"), &f->why), 0);
	assert_int_equal(table_writer_commit(&w, &f->why), 0);
	t = open_table(f, "btree", "t");
	assert_finds(f, t, "b", "2");
	assert_finds(f, t, "new", "8");
	assert_finds(f, t, "empty", NULL);
	table_free(&t);
}

static void texthash_reads_the_source(void **state)
{
	struct fixture *f = *state;
	struct table *t;

	put_file(f, "x", "# comment\nKey value with  spaces\n"
	    "long one,\n\n# inside\n two\n\"quoted key\" v\nkeyonly\nlast x");
	t = open_table(f, "texthash", "x");
	assert_finds(f, t, "key", "value with  spaces");
	assert_finds(f, t, "long", "one, two");
	assert_finds(f, t, "quoted key", "v");
	assert_finds(f, t, "keyonly", NULL);
	assert_finds(f, t, "last", "x");
	table_free(&t);
}

static void tables_without_a_file_answer(void **state)
{
	static const struct {
		const char *spec, *key, *want;
	} cases[] = {
		{ "static:value", "any", "value" },
		{ "static:{ two words }", "any", "two words" },
		{ "inline:{ a=1, { B = two words } }", "a", "1" },
		{ "inline:{ a=1, { B = two words } }", "b", "two words" },
		{ "inline:{ a=1, { B = two words } }", "c", NULL },
		{ "inline:{}", "c", NULL },
		{ "proxy:static:x", "c", "x" },
	};
	struct fixture *f = *state;
	const char *why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct table *t = table_new(str_of(cases[i].spec), &why);

		assert_non_null(t);
		assert_finds(f, t, cases[i].key, cases[i].want);
		table_free(&t);
	}
}

static void the_configuration_checks_know_every_type(void **state)
{
	(void)state;
	for (size_t i = 0; table_nth_type(i) != NULL; i++)
		assert_true(config_is_table_type(str_of(table_nth_type(i))));
	assert_false(config_is_table_type(STR("pgsql")));
}

static void bad_names_are_refused(void **state)
{
	static const char *const cases[] = { "nosuch:/x", "hash:", "hash:rel",
		"texthash:rel/x", "relative", "" };
	const char *why;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why = NULL;
		assert_null(table_new(str_of(cases[i]), &why));
		assert_non_null(why);
	}
}

static void a_list_asks_in_order_and_stops_at_an_error(void **state)
{
	struct fixture *f = *state;
	struct table_list *l;

	l = table_list_new(STR("inline:{a=1}, inline:{ a=2, b=3 }"), &f->why);
	assert_non_null(l);
	assert_int_equal(table_list_count(l), 2);
	assert_int_equal(table_list_find(l, STR("a"), &f->value), TABLE_FOUND);
	assert_string_equal(buf_cstr(&f->value), "1");
	assert_int_equal(table_list_find(l, STR("b"), &f->value), TABLE_FOUND);
	assert_int_equal(table_list_find(l, STR("c"), &f->value),
	    TABLE_NOT_FOUND);
	table_list_free(&l);
	l = table_list_new(STR("fail:why inline:{b=3}"), &f->why);
	assert_int_equal(table_list_find(l, STR("b"), &f->value), TABLE_ERROR);
	table_list_free(&l);
	l = table_list_new(STR(" "), &f->why);
	assert_int_equal(table_list_find(l, STR("b"), &f->value),
	    TABLE_NOT_FOUND);
	table_list_free(&l);
	assert_null(table_list_new(STR("static:x bogus:y"), &f->why));
	assert_non_null(strstr(buf_cstr(&f->why), "bogus:y"));
}

static void only_files_that_nobody_else_may_write_are_trusted(void **state)
{
	struct fixture *f = *state;
	struct table *t;
	const char *why;
	char path[200];

	put_file(f, "x", "b 2\n");
	t = open_table(f, "texthash", "x");
	assert_finds(f, t, "b", "2");
	assert_true(table_is_trusted(t));
	snprintf(path, sizeof(path), "%s/x", f->dir);
	assert_int_equal(chmod(path, 0666), 0);
	put_file(f, "x", "b 33\n");
	assert_int_equal(table_check(t, &f->why), 0);
	assert_false(table_is_trusted(t));
	table_free(&t);
	t = table_new(STR("static:x"), &why);
	assert_false(table_is_trusted(t));
	table_free(&t);
}

static void networks_and_patterns_match(void **state)
{
	static const struct {
		const char *type, *key, *want;
	} cases[] = {
		{ "cidr", "10.1.2.3", "ten" }, { "cidr", "10.9.0.1", "nine" },
		{ "cidr", "192.0.2.1", "one" }, { "cidr", "192.0.2.2", NULL },
		{ "cidr", "2001:db8::5", "six" }, { "cidr", "host", NULL },
		{ "pcre", "Sales-x@a.example", "x@sales.example" },
		{ "pcre", "inner", "in" }, { "pcre", "inside", NULL },
		{ "pcre", "cost", "$5" },
		{ "regexp", "ab12", "12-ab" }, { "regexp", "zz", NULL },
		{ "regexp", "yes", "not-z" },
	};
	struct fixture *f = *state;

	put_file(f, "cidr", "10.9.0.0/16 nine\n10.0.0.0/8 ten\n"
	    "192.0.2.1 one\n2001:db8::/32 six\n10.0.0.1/8 bad\n");
	put_file(f, "pcre", "/^sales-(.*)@a\\.example$/ ${1}@sales.example\n"
	    "if /^inn/\n/r$/ in\nendif\n/^cost$/ $$5\n/((/ bad\n");
	put_file(f, "regexp", "/^([a-z]+)([0-9]+)$/ $2-$1\n"
	    "if !/^z/\n/yes/ not-z\nendif\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct table *t = open_table(f, cases[i].type, cases[i].type);

		assert_finds(f, t, cases[i].key, cases[i].want);
		assert_true(table_is_pattern(t));
		table_free(&t);
	}
}

static void a_pattern_that_takes_too_much_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct table *t;
	char key[65537];

	put_file(f, "p", "/^(a+)+$/ x\n");
	t = open_table(f, "pcre", "p");
	memset(key, 'a', 65536);
	key[65535] = '!';
	key[65536] = '\0';
	assert_int_equal(table_find(t, str_of(key), &f->value), TABLE_ERROR);
	table_free(&t);
	put_file(f, "q", "if /x/\n/y/ z\n");
	t = open_table(f, "pcre", "q");
	assert_int_equal(table_find(t, STR("a"), &f->value), TABLE_ERROR);
	table_free(&t);
}

struct seen {
	struct buf text;
	unsigned troubles;
};

static int see_entry(struct str key, struct str value, unsigned line,
    void *ctx)
{
	struct seen *s = ctx;

	buf_printf(&s->text, "%u<" STR_FMT "><" STR_FMT ">", line,
	    STR_ARG(key), STR_ARG(value));
	return 0;
}

static void see_trouble(unsigned line, const char *why, void *ctx)
{
	struct seen *s = ctx;

	assert_non_null(why);
	buf_printf(&s->text, "%u!", line);
	s->troubles++;
}

static void alias_sources_are_read(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "a: b\n", "1<a><b>" },
		{ "# x\npostmaster:\troot,\n  admin\n",
		  "2<postmaster><root,  admin>" },
		{ "\"two words\": x\n", "1<two words><x>" },
		{ "\"|odd\" : \"|/bin/prog -x\", /file\n",
		  "1<|odd><\"|/bin/prog -x\", /file>" },
		{ "x: \"|/bin/id\"\n", "1<x><\"|/bin/id\">" },
		{ "x:\n", "1!" }, { "x\n", "1!" }, { ": y\n", "1!" },
		{ "u@d: y\n", "1!" }, { "\"open: y\n", "1!" },
		{ "a b: y\nc: d\n", "1!2<c><d>" },
		{ "l: :include:/list\n", "1<l><:include:/list>" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct seen seen = { .troubles = 0 };
		int ret;

		buf_init(&seen.text, 10000);
		ret = table_source_read(str_of(cases[i].text),
		    TABLE_SOURCE_ALIASES, see_entry, see_trouble, &seen);
		assert_int_equal(ret, seen.troubles);
		assert_string_equal(buf_cstr(&seen.text), cases[i].want);
		buf_fini(&seen.text);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_built_table_answers_without_regard_to_case),
		T(files_of_other_programs_without_a_nul_are_read),
		T(what_cannot_be_read_is_an_error_and_never_not_found),
		T(a_changed_table_is_picked_up),
		T(a_table_that_went_away_is_an_error),
		T(readers_never_miss_while_a_table_is_rebuilt),
		T(db_config_beside_the_program_is_not_read),
		T(a_failed_build_leaves_the_old_table_and_no_rest),
		T(a_table_is_changed_through_a_copy),
		T(texthash_reads_the_source),
		T(tables_without_a_file_answer),
		T(the_configuration_checks_know_every_type),
		T(bad_names_are_refused),
		T(a_list_asks_in_order_and_stops_at_an_error),
		T(only_files_that_nobody_else_may_write_are_trusted),
		T(networks_and_patterns_match),
		T(a_pattern_that_takes_too_much_is_an_error),
		T(alias_sources_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
