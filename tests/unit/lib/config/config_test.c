/* config_test.c - main.cf and master.cf as sites write them */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "config/config.h"
#include "config/params.h"

struct fixture {
	char dir[64];
	int fd;
	struct config *config;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/config_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_true((f->fd = open(f->dir, O_RDONLY | O_DIRECTORY)) >= 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	config_free(&f->config);
	unlinkat(f->fd, "main.cf", 0);
	unlinkat(f->fd, "master.cf", 0);
	unlinkat(f->fd, "mailname", 0);
	close(f->fd);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void put_n(struct fixture *f, const char *name, const char *text,
    size_t n)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

static void put(struct fixture *f, const char *name, const char *text)
{
	put_n(f, name, text, strlen(text));
}

static void load(struct fixture *f, const char *main_cf, const char *master_cf)
{
	put(f, "main.cf", main_cf);
	if (master_cf != NULL)
		put(f, "master.cf", master_cf);
	config_free(&f->config);
	f->config = config_read(f->fd, f->dir, master_cf ? 0
	    : CONFIG_NO_MASTER);
	assert_non_null(f->config);
}

/* Whether a problem's printed line has the text. */
static bool has_problem(struct fixture *f, const char *text)
{
	const struct config_problem *p;
	struct buf line;
	size_t n;
	bool found = false;

	p = config_problems(f->config, &n);
	buf_init(&line, 10000);
	for (size_t i = 0; i < n && !found; i++) {
		buf_reset(&line);
		config_problem_print(&p[i], NULL, &line);
		found = strstr(buf_cstr(&line), text) != NULL;
	}
	if (!found)
		for (size_t i = 0; i < n; i++) {
			buf_reset(&line);
			config_problem_print(&p[i], NULL, &line);
			print_message("  %s\n", buf_cstr(&line));
		}
	buf_fini(&line);
	return found;
}

static size_t count_problems(struct fixture *f)
{
	size_t n;

	config_problems(f->config, &n);
	return n;
}

static void values_expand_as_postfix_documents(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "x = plain", "plain" },
		{ "a = 1\nx = $a-${a}-$(a)", "1-1-1" },
		{ "x = $$a", "$a" },
		{ "x = ${stress?1}${stress:5}s", "5s" },
		{ "a = yes\nx = ${a?one}${a:two}", "one" },
		{ "a = yes\nx = ${a?{one}:{two}}", "one" },
		{ "a =\nx = ${a?{one}:{two}}", "two" },
		{ "a =\nx = ${a ? {one} : {two}}!", "two!" },
		{ "a =\nx = ${a:{two}}", "two" },
		{ "a = 3\nx = ${{$a} == {3} ? {same} : {other}}", "same" },
		{ "a = 10\nx = ${{$a} < {9} ? {less} : {more}}", "more" },
		{ "x = ${{abc} != {abd} ? {t} : {f}}", "t" },
		{ "x = ${{3.10} >=level {3.9} ? {new} : {old}}", "new" },
		{ "a = y\nb = ${a?{${nope?{1}:{2}}}:{3}}\nx = $b", "2" },
		{ "a = $b\nb = $c\nc = deep\nx = <$a>", "<deep>" },
		{ "x = one,\n  two\n# note\n\n\tthree", "one,  two\tthree" },
		{ "x = # no comment", "# no comment" },
		{ "x = a = b", "a = b" },
		{ "myhostname = m.example\nx = $mydomain", "example" },
		{ "mydomain = d.example\nmyhostname = m.$mydomain\n"
		  "x = $mydestination",
		  "m.d.example, localhost.d.example, localhost" },
		{ "x = ${a?{{b}}}|", "|" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		load(f, cases[i].text, NULL);
		assert_non_null(config_value(f->config, "x"));
		assert_string_equal(config_value(f->config, "x"),
		    cases[i].want);
		assert_int_equal(config_error_count(f->config), 0);
	}
}

static void mistakes_have_a_line_and_a_remedy(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "\na = $b\nb = $a\n", "main.cf:2: error: a: a $name refers "
		  "to itself" },
		{ "mydestination = ${{{{", "main.cf:1: error: mydestination: "
		  "a ${ is not closed: unbalanced {}" },
		{ "#\nmessage_size_limit = -1", "main.cf:2: error: "
		  "message_size_limit = -1: bad numeric value" },
		{ "message_size_limit = 99999999999999999999",
		  "bad numeric value" },
		{ "smtpd_timeout = 30parsecs", "bad time" },
		{ "mynetworks = 10.0.0.1/8", "error: mynetworks: 10.0.0.1/8: "
		  "host bits set" },
		{ "mynetworks = 0.0.0.0/0", "warning: mynetworks: 0.0.0.0/0 "
		  "makes this an open relay" },
		{ "smtpd_relay_restrictions =\n"
		  "smtpd_recipient_restrictions = permit",
		  "open relay" },
		{ "no equals sign", "missing '='" },
		{ "= x", "missing name" },
		{ "mydestinatoin = x", "main.cf:1: warning: unknown parameter "
		  "mydestinatoin (did you mean mydestination?)" },
		{ "zzz = 1", "warning: unknown parameter zzz" },
		{ "x = $mydomian\ny = $x$y2", "did you mean $mydomain?" },
		{ "myhostname = a.example\nmyhostname = b.example",
		  "main.cf:2: warning: myhostname is set in line 1" },
		{ "smtpd_milters = inet:localhost:1",
		  "error: smtpd_milters is not supported (" },
		{ "readme_directory = /x", "warning: readme_directory is not "
		  "supported and has no effect" },
		{ "smtpd_use_tls = yes", "warning: smtpd_use_tls is an old "
		  "name (write smtpd_tls_security_level = may)" },
		{ "smtpd_helo_restrictions = reject_bogus",
		  "the restriction reject_bogus is not supported" },
		{ "smtpd_helo_restrictions = reject_invalid_helo_hostnme",
		  "did you mean reject_invalid_helo_hostname?" },
		{ "smtpd_client_restrictions = reject_rbl_client z.example, "
		  "permit_mynetworks", "reject_rbl_client is not supported" },
		{ "virtual_alias_maps = proxy:mysql:/etc/x.cf", "main.cf:1: "
		  "error: virtual_alias_maps: mysql:/etc/x.cf: the table type "
		  "mysql is not there (write" },
		{ "relay_domains = x.example, hsah:/x", "did you mean hash:?" },
		{ "minimal_backoff_time = 5h", "must not be above" },
		{ "message_size_limit = 100M", "main.cf:1: warning: "
		  "mailbox_size_limit (51200000) is below" },
		{ "smtpd_helo_required = maybe", "want yes or no" },
		{ "smtpd_forbid_bare_newline = off", "want one of no|" },
		{ "myhostname = a b", "is no host name" },
		{ "mydestination = a.example\nrelay_domains = a.example",
		  "do not list the domain a.example in both" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		load(f, cases[i].text, NULL);
		assert_true(has_problem(f, cases[i].want));
	}
}

static void every_mistake_is_reported_at_once(void **state)
{
	struct fixture *f = *state;

	load(f, "smtpd_timeout = x\nqueue_run_delay = y\nbogus\n",
	    "smtp inet n - n\nfoo unix - - n - - no_such\n");
	assert_true(has_problem(f, "main.cf:1:"));
	assert_true(has_problem(f, "main.cf:2:"));
	assert_true(has_problem(f, "main.cf:3:"));
	assert_true(has_problem(f, "master.cf:1: error: bad field count"));
	assert_true(has_problem(f, "master.cf:2: error: there is no program"));
	assert_int_equal(config_error_count(f->config), 5);
}

static void a_nul_and_a_file_that_others_may_write_are_refused(void **state)
{
	struct fixture *f = *state;

	put_n(f, "main.cf", "foo\0bar = x\n", 12);
	f->config = config_read(f->fd, f->dir, CONFIG_NO_MASTER);
	assert_true(has_problem(f, "main.cf:1: error: a NUL"));
	config_free(&f->config);
	put(f, "main.cf", "");
	assert_int_equal(fchmodat(f->fd, "main.cf", 0666, 0), 0);
	f->config = config_read(f->fd, f->dir, CONFIG_NO_MASTER);
	assert_true(has_problem(f, "error: the file is writable by others"));
	config_free(&f->config);
	f->config = config_read(f->fd, f->dir,
	    CONFIG_NO_MASTER | CONFIG_NO_TRUST);
	assert_int_equal(config_error_count(f->config), 0);
	config_free(&f->config);
	unlinkat(f->fd, "main.cf", 0);
	f->config = config_read(f->fd, f->dir, CONFIG_NO_MASTER);
	assert_true(has_problem(f, "cannot open"));
}

static void a_name_that_is_too_long_is_refused(void **state)
{
	struct fixture *f = *state;
	struct buf text;

	buf_init(&text, 200000);
	buf_append_c(&text, "myhostname = ");
	for (int i = 0; i < 100000; i++)
		buf_append_char(&text, 'x');
	load(f, buf_cstr(&text), NULL);
	assert_true(has_problem(f, "main.cf:1: error: myhostname"));
	buf_fini(&text);
}

static void myorigin_may_be_a_file(void **state)
{
	struct fixture *f = *state;
	char text[200];

	put(f, "mailname", " box.example \nsecond\n");
	snprintf(text, sizeof(text), "myorigin = %s/mailname\nx = <$myorigin>",
	    f->dir);
	load(f, text, NULL);
	assert_string_equal(config_value(f->config, "myorigin"),
	    "box.example");
	assert_string_equal(config_value(f->config, "x"), "<box.example>");
	load(f, "myorigin = /nonexistent/mailname", NULL);
	assert_true(has_problem(f, "main.cf:1: error: myorigin"));
}

static void networks_may_stand_in_a_file(void **state)
{
	struct fixture *f = *state;
	char text[200];

	put(f, "mailname", "# ours\n192.0.2.0/24\n"
	    " !192.0.2.7 [2001:db8::]/32\n");
	snprintf(text, sizeof(text), "mynetworks = 127.0.0.0/8, %s/mailname",
	    f->dir);
	load(f, text, NULL);
	assert_int_equal(count_problems(f), 0);
	assert_string_equal(config_value(f->config, "mynetworks"),
	    "127.0.0.0/8, 192.0.2.0/24, !192.0.2.7, [2001:db8::]/32");
	assert_string_equal(config_value(f->config,
	    "smtpd_client_event_limit_exceptions"),
	    config_value(f->config, "mynetworks"));
	load(f, "mynetworks = /nonexistent/x", NULL);
	assert_true(has_problem(f, "main.cf:1: error: mynetworks: a /file"));
	load(f, "mynetworks = hash:/etc/networks", NULL);
	assert_true(has_problem(f, "tables are not supported here"));
	load(f, "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1/128]",
	    NULL);
	assert_int_equal(count_problems(f), 0);
}

static void numbers_have_units(void **state)
{
	static const struct {
		const char *name, *text;
		int64_t want;
	} cases[] = {
		{ "maximal_queue_lifetime", "5", 5 * 86400 },
		{ "maximal_queue_lifetime", "5h", 5 * 3600 },
		{ "maximal_queue_lifetime", "2w", 14 * 86400 },
		{ "queue_run_delay", "7", 7 },
		{ "delay_warning_time", "4", 4 * 3600 },
		{ "message_size_limit", "20M", 20 * 1024 * 1024 },
		{ "message_size_limit", "0", 0 },
		{ "hopcount_limit", " 7 ", 7 },
	};
	struct arena *arena = arena_new(1000000);
	const char *why;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct param *p = param_find(str_of(cases[i].name));
		struct params params = { 0 };

		assert_int_equal(param_set(p, &params, str_of(cases[i].text),
		    arena, &why), 0);
		assert_int_equal(*(int64_t *)((char *)&params + p->offset),
		    cases[i].want);
	}
	arena_free(&arena);
}

static const char master_cf[] =
    "# comment\n"
    "smtp      inet  n       -       y       -       -       smtpd\n"
    "  -o syslog_name=postfix/$service_name\n"
    "# inside\n"
    "  -o { smtpd_banner = $myhostname hello there }\n"
    "[::1]:submission inet n - n - 7 smtpd -v -o disable_vrfy_command=yes\n"
    "10.0.0.1:465 inet n - n - 0 smtpd\n"
    "qmgr      unix  n       -       n       300     1       qmgr\n"
    "tlsmgr    unix  -       -       n       1000?   1       tlsmgr\n"
    "pickup    fifo  n       -       n       60      1       pickup\n"
    "postlog   unix-dgram n  -       n       -       1       postlogd\n"
    "maildrop  unix  -       n       n       -       -       pipe\n"
    "  flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}\n";

static void services_are_read_with_their_overrides(void **state)
{
	struct fixture *f = *state;
	const struct master_service *s;
	struct arena *arena = arena_new(10000000);
	struct params params;
	struct str *pairs;
	const char *why;
	size_t n;

	load(f, "myhostname = mail.example\n", master_cf);
	assert_int_equal(config_error_count(f->config), 0);
	s = config_services(f->config, &n);
	assert_int_equal(n, 8);
	assert_int_equal(s[0].port, 25);
	assert_null(s[0].host);
	assert_false(s[0].is_private);
	assert_true(s[0].is_chroot);
	assert_int_equal(s[0].limit, MASTER_LIMIT_DEFAULT);
	assert_int_equal(s[0].line, 2);
	assert_int_equal(s[0].override_count, 2);
	assert_string_equal(s[0].overrides[1].value,
	    "$myhostname hello there");
	assert_string_equal(s[1].host, "::1");
	assert_int_equal(s[1].port, 587);
	assert_int_equal(s[1].limit, 7);
	assert_int_equal(s[1].verbose, 1);
	assert_string_equal(s[2].host, "10.0.0.1");
	assert_int_equal(s[2].port, 465);
	assert_int_equal(s[2].limit, 0);
	assert_int_equal(s[3].wakeup, 300);
	assert_false(s[3].wakeup_if_used);
	assert_int_equal(s[4].wakeup, 1000);
	assert_true(s[4].wakeup_if_used);
	assert_int_equal(s[5].type, MASTER_FIFO);
	assert_int_equal(s[6].type, MASTER_UNIX_DGRAM);
	assert_int_equal(s[7].arg_count, 5);
	assert_string_equal(s[7].args[4], "${recipient}");
	assert_ptr_equal(config_service(f->config, "qmgr", MASTER_UNIX),
	    &s[3]);

	assert_int_equal(config_service_values(f->config, &s[0], arena, &pairs,
	    &n), 0);
	assert_int_equal(params_load(&params, pairs, n, arena, &why), 0);
	assert_string_equal(params.smtpd_banner, "mail.example hello there");
	assert_string_equal(params.syslog_name, "postfix/smtp");
	assert_string_equal(params.myorigin, "mail.example");
	assert_string_equal(params.mydomain, "example");
	assert_false(params.disable_vrfy_command);
	assert_int_equal(config_service_values(f->config, &s[1], arena, &pairs,
	    &n), 0);
	assert_int_equal(params_load(&params, pairs, n, arena, &why), 0);
	assert_true(params.disable_vrfy_command);
	assert_string_equal(params.smtpd_banner, "mail.example ESMTP Postern");
	arena_free(&arena);
}

static void bad_services_are_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "smtp inet n - n - -", "bad field count: 7" },
		{ "smtp inet n - n - - ../../bin/sh", "bad command path" },
		{ "smtp inet n - n - - /bin/sh", "bad command path" },
		{ "smtp inat n - n - - smtpd", "bad type" },
		{ "smtp inet x - n - - smtpd", "bad third field" },
		{ "smtp inet n - n 1x - smtpd", "bad sixth field" },
		{ "smtp inet n - n - 1x smtpd", "bad seventh field" },
		{ "nosuchservice inet n - n - - smtpd", "no such port" },
		{ "0 inet n - n - - smtpd", "no such port" },
		{ "::1:25 inet n - n - - smtpd", "stands in []" },
		{ "[::1 inet n - n - - smtpd", "a [ is not closed" },
		{ "../x unix n - n - - cleanup", "must not be a path" },
		{ "smtp inet n - n - - smtpd -o", "-o without" },
		{ "smtp inet n - n - - smtpd -o x", "missing '='" },
		{ "smtp inet n - n - - smtpd -o { x = y", "a { is not closed" },
		{ "smtp inet n - n - - smtpd -o smtpd_timeout=z",
		  "master.cf:1: error: smtpd_timeout = z: bad time" },
		{ "smtp inet n - n - - smtpd -o smtpd_milters=inet:h:1",
		  "error: smtpd_milters is not supported" },
		{ "smtp inet n - n - - smtpd\n"
		  "  -o smtpd_relay_restrictions=permit", "open relay" },
		{ "smtp inet n - n - - smtpdd", "did you mean smtpd?" },
		{ "smtp inet n - n - 1 postscreen", "error: the program "
		  "postscreen is not supported" },
		{ "x unix - n n - - pipe argv=y", "warning: the program pipe" },
		{ "smtp inet n - n - - smtpd -o smtpd_bannner=x",
		  "did you mean smtpd_banner?" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		load(f, "", cases[i].text);
		assert_true(has_problem(f, cases[i].want));
	}
}

static void old_names_set_their_successors(void **state)
{
	struct fixture *f = *state;

	load(f, "smtpd_use_tls = yes\nvirtual_maps = hash:/x\n", NULL);
	assert_string_equal(config_value(f->config,
	    "smtpd_tls_security_level"), "may");
	assert_string_equal(config_value(f->config, "virtual_alias_maps"),
	    "hash:/x");
	load(f, "smtpd_use_tls = yes\nsmtpd_tls_security_level = encrypt\n",
	    NULL);
	assert_string_equal(config_value(f->config,
	    "smtpd_tls_security_level"), "encrypt");
}

static void names_that_the_site_made_reach_the_programs(void **state)
{
	struct fixture *f = *state;
	struct arena *arena = arena_new(10000000);
	struct params params;
	struct str *pairs;
	const char *why;
	size_t n;

	load(f, "smtpd_restriction_classes = insiders_only\n"
	    "insiders_only = permit_mynetworks, reject\n"
	    "slow_destination_concurrency_limit = 2\n"
	    "my_name = x\nmyorigin = $my_name.example\n", NULL);
	assert_int_equal(count_problems(f), 0);
	assert_int_equal(config_service_values(f->config, NULL, arena, &pairs,
	    &n), 0);
	assert_int_equal(params_load(&params, pairs, n, arena, &why), 0);
	assert_string_equal(params_extra(&params, "insiders_only"),
	    "permit_mynetworks, reject");
	assert_null(params_extra(&params, "my_name"));
	assert_int_equal(params_transport_int(&params, STR("slow"),
	    "_destination_concurrency_limit", 1, 100, 20), 2);
	assert_int_equal(params_transport_int(&params, STR("local"),
	    "_destination_concurrency_limit", 1, 100, 20), 2);
	assert_int_equal(params_transport_int(&params, STR("other"),
	    "_destination_concurrency_limit", 1, 100, 20), 20);
	arena_free(&arena);
}

static void every_default_is_legal_and_every_row_has_help(void **state)
{
	struct arena *arena = arena_new(10000000);
	struct params params;
	const char *why = "";
	(void)state;

	assert_int_equal(params_load(&params, NULL, 0, arena, &why), 0);
	assert_int_equal(params.maximal_queue_lifetime, 5 * 86400);
	assert_string_equal(params.smtpd_forbid_bare_newline, "normalize");
	assert_string_equal(params.forward_path, "$home/.forward"
	    "${recipient_delimiter}${extension}, $home/.forward");
	for (const struct param *p = params_table; p->name != NULL; p++) {
		assert_true(strlen(p->help) > 10);
		assert_non_null(param_group(p, NULL));
		assert_ptr_equal(param_find(str_of(p->name)), p);
	}
	arena_free(&arena);
}

static void pairs_from_outside_are_checked(void **state)
{
	const struct str bad_number = STR("hopcount_limit=x");
	const struct str no_equals = STR("hopcount_limit");
	struct arena *arena = arena_new(10000000);
	struct params params;
	const char *why = "";
	(void)state;

	assert_int_equal(params_load(&params, &bad_number, 1, arena, &why),
	    -1);
	assert_non_null(strstr(why, "hopcount_limit"));
	assert_int_equal(params_load(&params, &no_equals, 1, arena, &why), -1);
	arena_free(&arena);
}

static void lists_are_split_as_sites_write_them(void **state)
{
	static const char *const want[] = { "a", "b", "{ unix:x, d=e }",
		"inline:{k=v, {x = y}}", "c" };
	struct str rest = STR(" a,b\n\t{ unix:x, d=e } ,, "
	    "inline:{k=v, {x = y}} c"), word;
	(void)state;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_true(param_word(&rest, true, &word));
		assert_true(str_eq_c(word, want[i]));
	}
	assert_false(param_word(&rest, true, &word));
	rest = STR("{ a b }");
	assert_true(param_word(&rest, false, &word));
	assert_true(str_eq_c(word, "a b"));
}

static void a_value_that_grows_without_end_is_refused(void **state)
{
	struct fixture *f = *state;
	struct buf text;

	buf_init(&text, 100000);
	buf_append_c(&text, "a0 = xxxxxxxxxxxxxxxx\n");
	for (int i = 1; i < 60; i++)
		buf_printf(&text, "a%d = $a%d$a%d\n", i, i - 1, i - 1);
	buf_append_c(&text, "x = $a59\n");
	load(f, buf_cstr(&text), NULL);
	assert_true(has_problem(f, "error: a59: too many"));
	buf_fini(&text);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(values_expand_as_postfix_documents),
		T(mistakes_have_a_line_and_a_remedy),
		T(every_mistake_is_reported_at_once),
		T(a_nul_and_a_file_that_others_may_write_are_refused),
		T(a_name_that_is_too_long_is_refused),
		T(myorigin_may_be_a_file),
		T(networks_may_stand_in_a_file),
		T(numbers_have_units),
		T(services_are_read_with_their_overrides),
		T(bad_services_are_refused),
		T(old_names_set_their_successors),
		T(names_that_the_site_made_reach_the_programs),
		T(every_default_is_legal_and_every_row_has_help),
		T(pairs_from_outside_are_checked),
		T(lists_are_split_as_sites_write_them),
		T(a_value_that_grows_without_end_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
