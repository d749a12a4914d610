#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <crypt.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "auth/cache.h"
#include "auth/password.h"
#include "auth/users.h"
#include "base/clock.h"

#define SOON (clock_now() + 30 * CLOCK_SECOND)

static const char *hash_of(const char *password, const char *setting)
{
	static struct crypt_data data;
	const char *hash = crypt_rn(password, setting, &data, sizeof(data));

	assert_non_null(hash);
	return hash;
}

static void stored_forms_are_understood(void **state)
{
	static const struct { const char *stored, *password;
		enum password_result want; } cases[] = {
		{ "{PLAIN}secret", "secret", PASSWORD_RIGHT },
		{ "{plain}secret", "secret", PASSWORD_RIGHT },
		{ "{PLAIN}secret", "Secret", PASSWORD_WRONG },
		{ "{PLAIN}secret", "secre", PASSWORD_WRONG },
		{ "{PLAIN}", "", PASSWORD_WRONG },
		{ "secret", "secret", PASSWORD_WRONG },
		{ "", "", PASSWORD_WRONG },
		{ "*", "*", PASSWORD_WRONG },
		{ "!", "!", PASSWORD_WRONG },
		{ "*0", "x", PASSWORD_WRONG },
		{ "$6$", "x", PASSWORD_WRONG },
		{ "{SSHA}abc", "x", PASSWORD_UNKNOWN_SCHEME },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(password_check(str_of(cases[i].stored),
		    str_of(cases[i].password), SOON), cases[i].want);
	assert_int_equal(password_check(STR("{PLAIN}a"), STR("a\0b"), SOON),
	    PASSWORD_WRONG);
}

static void hashes_of_crypt_are_checked(void **state)
{
	static const char *const hashes[] = {
		"$5$saltsalt$", "$6$rounds=1000$saltsalt$", "$1$saltsalt$",
		"$y$j75$saltsalt$", "$2b$04$abcdefghijklmnopqrstuu",
	};
	static const char *const prefixes[] = { "", "{CRYPT}",
		"{SHA512-CRYPT}", "{BLF-CRYPT}" };

	(void)state;
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
	for (size_t k = 0; k < sizeof(prefixes) / sizeof(prefixes[0]); k++) {
		char stored[600];

		snprintf(stored, sizeof(stored), "%s%s", prefixes[k],
		    hash_of("secret", hashes[i]));
		assert_int_equal(password_check(str_of(stored), STR("secret"),
		    SOON), PASSWORD_RIGHT);
		assert_int_equal(password_check(str_of(stored), STR("wrong"),
		    SOON), PASSWORD_WRONG);
		assert_int_equal(password_check(str_of(stored), STR(""),
		    SOON), PASSWORD_WRONG);
		stored[strlen(stored) - 1] ^= 1;
		assert_int_equal(password_check(str_of(stored), STR("secret"),
		    SOON), PASSWORD_WRONG);
	}
}

static int64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * CLOCK_SECOND + ts.tv_nsec / 1000;
}

static void a_check_for_nobody_costs_what_a_wrong_password_costs(void **state)
{
	const char *hash = hash_of("secret", "$6$rounds=100000$saltsalt$");
	char stored[200];
	int64_t wrong, nobody, t;

	(void)state;
	snprintf(stored, sizeof(stored), "%s", hash);
	t = cpu_us();
	password_check(str_of(stored), STR("x"), SOON);
	wrong = cpu_us() - t;
	t = cpu_us();
	password_check_nobody(str_of(stored), STR("x"), SOON);
	nobody = cpu_us() - t;
	/* Processor time, and wide bounds: it is the same work. */
	assert_true(nobody > wrong / 3 && nobody < wrong * 3);
	t = cpu_us();
	password_check_nobody(STR(""), STR("x"), SOON);
	assert_true(cpu_us() - t > 1000);
}

static void what_a_check_costs_is_told_by_the_hash(void **state)
{
	static const struct { const char *stored, *cost; bool hashed; }
	rows[] = {
		{ "$y$j9T$salt$hash", "$y$j9T$", true },
		{ "{CRYPT}$y$j75$saltsalt$hash", "$y$j75$", true },
		{ "$6$saltsalt$hash", "$6$", true },
		{ "$6$rounds=1000$saltsalt$hash", "$6$rounds=1000$", true },
		{ "$2b$04$abcdefghijklmnopqrstuu", "$2b$04$", true },
		{ "$1$saltsalt$hash", "$1$", true },
		{ "{PLAIN}$y$j9T$x", "", false },
		{ "!", "", false },
		{ "*", "", false },
		{ "", "", false },
		{ "$", "", false },
		{ "$6", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str stored = str_of(rows[i].stored);
		struct str cost = password_cost(stored);

		assert_int_equal(password_is_hashed(stored), rows[i].hashed);
		if (rows[i].hashed)
			assert_true(str_starts(str_of(rows[i].cost), cost) &&
			    cost.n + 1 == strlen(rows[i].cost));
	}
}

static void the_cache_knows_only_what_was_right_lately(void **state)
{
	struct cache *c = cache_new(60 * CLOCK_SECOND);
	struct cache *none = cache_new(0);
	const int64_t t = 1000;

	(void)state;
	cache_remember(c, STR("a@x"), STR("h"), STR("p"), t);
	assert_true(cache_knows(c, STR("a@x"), STR("h"), STR("p"), t + 1));
	assert_false(cache_knows(c, STR("a@x"), STR("h"), STR("q"), t));
	assert_false(cache_knows(c, STR("a@x"), STR("h2"), STR("p"), t));
	assert_false(cache_knows(c, STR("a@y"), STR("h"), STR("p"), t));
	assert_false(cache_knows(c, STR("a@x"), STR(""), STR("hp"), t));
	assert_false(cache_knows(c, STR("a@x"), STR("h"), STR("p"),
	    t + 60 * CLOCK_SECOND));
	assert_false(cache_knows(c, STR("a@x"), STR("h"), STR("p"), t + 1));
	cache_remember(none, STR("a@x"), STR("h"), STR("p"), t);
	assert_false(cache_knows(none, STR("a@x"), STR("h"), STR("p"), t));
	cache_free(&c);
	cache_free(&none);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void lines_become_users_in_their_place(void **state)
{
	static const struct { const char *line, *name; enum users_found want;
		const char *dir; bool is_virtual; unsigned uid, gid; }
	cases[] = {
		{ "A.b@Test.Org:{PLAIN}x:1001:1002::", "a.B@test.ORG",
		    USERS_YES, "test.org/a.b", true, 1001, 1002 },
		{ "a@t:h:::", "a@t", USERS_YES, "t/a", true, 700, 701 },
		{ "a@t:h:5:6::/mail/t/other:/bin/sh:x=y", "a@t", USERS_YES,
		    "t/other", true, 5, 6 },
		{ "a@t:h:5:6::t/rel", "a@t", USERS_YES, "t/rel", true, 5, 6 },
		{ "a@t:h:5:6::/home/a", "a@t", USERS_YES, "/home/a", false, 5,
		    6 },
		{ "a@t:h:5:6::/mail/../etc", "a@t", USERS_NO, 0, 0, 0, 0 },
		{ "a@t:h:5:6::../x", "a@t", USERS_NO, 0, 0, 0, 0 },
		{ "../../x@t:h:5:6::", "../../x@t", USERS_NO, 0, 0, 0, 0 },
		{ "..@t:h:5:6::", "..@t", USERS_NO, 0, 0, 0, 0 },
		{ "a@..:h:5:6::", "a@..", USERS_NO, 0, 0, 0, 0 },
		{ "a@t:h:no-such-user:6::", "a@t", USERS_NO, 0, 0, 0, 0 },
		{ "a@t:h:-1:6::", "a@t", USERS_NO, 0, 0, 0, 0 },
		{ "a@t:h:4294967295:6::", "a@t", USERS_NO, 0, 0, 0, 0 },
		{ "# a@t:h:5:6::", "a@t", USERS_NO, 0, 0, 0, 0 },
		{ ":h:5:6::", "", USERS_NO, 0, 0, 0, 0 },
		{ "a@t:h:5:6::", "a@u", USERS_NO, 0, 0, 0, 0 },
		{ "a@t:h:5:6::", "a@t\n", USERS_NO, 0, 0, 0, 0 },
		{ "x@t:h:5:6::", "root", USERS_NO, 0, 0, 0, 0 },
		{ "x@t:h:5:6::", "no-such-user", USERS_NO, 0, 0, 0, 0 },
	};
	char path[] = "/tmp/users.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct users_options o = { .dirfd = AT_FDCWD, .path = path,
			.mail_root = "/mail", .mail_uid = "700:701",
			.default_domain = "t", .minimum_uid = 1 };
		struct users *u;
		struct user out;

		write_file(path, cases[i].line);
		u = users_new(&o);
		assert_non_null(u);
		assert_int_equal(users_find(u, str_of(cases[i].name), &out),
		    cases[i].want);
		if (cases[i].want == USERS_YES) {
			assert_string_equal(out.dir, cases[i].dir);
			assert_int_equal(out.is_virtual, cases[i].is_virtual);
			assert_int_equal(out.uid, cases[i].uid);
			assert_int_equal(out.gid, cases[i].gid);
		}
		users_free(&u);
	}
	unlink(path);
}

static void nobody_costs_what_most_users_do(void **state)
{
	char path[] = "/tmp/users.XXXXXX";
	struct users_options o = { .dirfd = AT_FDCWD, .path = path,
		.mail_root = "", .mail_uid = "", .default_domain = "t",
		.minimum_uid = 1 };
	char example[USERS_HASH_MAX];
	struct users *u;

	(void)state;
	close(mkstemp(path));
	write_file(path, "p@t:{PLAIN}x:5:6::\nq@t:{PLAIN}y:5:6::\n"
	    "l@t:!:5:6::\n"
	    "a@t:$5$rounds=1000$salt$one:5:6::\n"
	    "b@t:$6$salt$two:5:6::\nc@t:{CRYPT}$6$salt$three:5:6::\n");
	u = users_new(&o);
	users_example_hash(u, example);
	assert_string_equal(example, "$6$salt$two");
	users_free(&u);
	unlink(path);
}

static void a_file_that_cannot_be_read_makes_no_user_unknown(void **state)
{
	/* it opens, and read() says EISDIR */
	struct users_options o = { .dirfd = AT_FDCWD, .path = "/tmp",
		.mail_root = "", .mail_uid = "", .default_domain = "t",
		.minimum_uid = 1 };
	struct users *u = users_new(&o);
	struct user out;

	(void)state;
	assert_int_equal(users_find(u, STR("a@t"), &out), USERS_UNAVAILABLE);
	users_free(&u);
}

static void a_changed_file_is_read_again(void **state)
{
	char path[] = "/tmp/users.XXXXXX";
	int fd = mkstemp(path);
	struct users_options o = { .dirfd = AT_FDCWD, .path = path,
		.mail_root = "", .mail_uid = "", .default_domain = "t",
		.minimum_uid = 1 };
	struct users *u;
	struct user out;
	char example[USERS_HASH_MAX];
	int64_t end;

	(void)state;
	close(fd);
	write_file(path, "a@t:one:5:6::\nb@t:two:5:6::\na@t:x:5:6::\n");
	u = users_new(&o);
	assert_int_equal(users_find(u, STR("a@t"), &out), USERS_YES);
	assert_string_equal(out.hash, "one");
	users_example_hash(u, example);
	assert_string_equal(example, "one");
	assert_int_equal(users_find_login(u, STR("b"), &out), USERS_YES);
	assert_string_equal(out.name, "b@t");
	assert_int_equal(users_find_login(u, STR("c"), &out), USERS_NO);
	write_file(path, "a@t:three:5:6::\n");
	/* at most a second later */
	end = clock_now() + 3 * CLOCK_SECOND;
	while (users_find(u, STR("b@t"), &out) == USERS_YES &&
	    clock_now() < end)
		usleep(20000);
	assert_int_equal(users_find(u, STR("b@t"), &out), USERS_NO);
	assert_int_equal(users_find(u, STR("a@t"), &out), USERS_YES);
	assert_string_equal(out.hash, "three");
	/* gone: the last good one stays */
	unlink(path);
	usleep(1100000);
	assert_int_equal(users_find(u, STR("a@t"), &out), USERS_YES);
	users_free(&u);
	u = users_new(&o);
	assert_int_equal(users_find(u, STR("a@t"), &out), USERS_UNAVAILABLE);
	users_free(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stored_forms_are_understood),
		cmocka_unit_test(hashes_of_crypt_are_checked),
		cmocka_unit_test(
		    a_check_for_nobody_costs_what_a_wrong_password_costs),
		cmocka_unit_test(what_a_check_costs_is_told_by_the_hash),
		cmocka_unit_test(nobody_costs_what_most_users_do),
		cmocka_unit_test(the_cache_knows_only_what_was_right_lately),
		cmocka_unit_test(lines_become_users_in_their_place),
		cmocka_unit_test(
		    a_file_that_cannot_be_read_makes_no_user_unknown),
		cmocka_unit_test(a_changed_file_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
