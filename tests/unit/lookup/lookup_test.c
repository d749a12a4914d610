/* lookup_test.c - where addresses lead, by rows of configuration */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/log.h"
#include "lookup/lookup.h"

struct fixture {
	struct params params;
	struct arena *arena;
	struct lookup *l;
	struct query q;
};

/* auth: these exist; "broken" cannot be asked. */
static int some_users(struct str address, struct buf *why, void *ctx)
{
	static const char *const users[] = { "anna@v.example",
		"bob+x@v.example", "root", "carl" };
	(void)ctx;

	if (str_starts(address, STR("broken"))) {
		buf_append_c(why, "auth is away");
		return -1;
	}
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		if (str_eq_nocase_c(address, users[i]))
			return 1;
	return 0;
}

static void quiet(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	(void)ctx;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->arena = arena_new(100 * 1024 * 1024);
	buf_init(&f->q.why, 4000);
	log_set_sink(quiet, NULL);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lookup_free(&f->l);
	buf_fini(&f->q.why);
	arena_free(&f->arena);
	free(f);
	return 0;
}

static const char *const common[] = {
	"myhostname=mail.our.example", "myorigin=our.example",
	"mydestination=our.example, localhost",
	"virtual_mailbox_domains=v.example",
	"virtual_alias_domains=a.example",
	"relay_domains=r.example",
	"recipient_delimiter=+",
	"alias_maps=inline:{ postmaster=root }",
};

/* One more parameter each, "name=value", NULL at the end. */
static void configure(struct fixture *f, const char *const *more)
{
	struct str pairs[30];
	size_t n = sizeof(common) / sizeof(common[0]);
	const char *why = "";

	for (size_t i = 0; i < n; i++)
		pairs[i] = str_of(common[i]);
	for (; *more != NULL; more++)
		pairs[n++] = str_of(*more);
	lookup_free(&f->l);
	if (params_load(&f->params, pairs, n, f->arena, &why) < 0)
		fail_msg("%s", why);
	f->l = lookup_new(&f->params, some_users, NULL, &f->q.why);
	if (f->l == NULL)
		fail_msg("%s", buf_cstr(&f->q.why));
	f->q.l = f->l;
	f->q.arena = f->arena;
}

static const char *status_name(uint64_t status)
{
	static const char *const names[] = { "?", "ok", "no user", "bad",
		"temporary" };

	return names[status <= LOOKUP_TEMPFAIL ? status : 0];
}

/* "status class address transport:nexthop [alias]" */
static const char *resolve(struct fixture *f, const char *address)
{
	struct resolve_request m = { .address = str_of(address) };
	struct resolve_reply r;
	static const char *const classes[] = { "?", "local", "alias",
		"mailbox", "relay", "default" };
	struct str text;

	lookup_answer_resolve(&f->q, &m, &r);
	text = arena_printf(f->arena, "%s %s " STR_FMT " " STR_FMT ":" STR_FMT
	    "%s", status_name(r.status), classes[r.klass], STR_ARG(r.address),
	    STR_ARG(r.transport), STR_ARG(r.nexthop),
	    r.has_alias ? " alias" : "");
	return text.p;
}

static void addresses_have_class_transport_and_next_hop(void **state)
{
	static const char *const more[] = { NULL };
	static const struct {
		const char *address, *want;
	} cases[] = {
		{ "root@our.example", "ok local root@our.example "
		  "local:mail.our.example" },
		{ "root", "ok local root@our.example local:mail.our.example" },
		{ "Root@OUR.Example.", "ok local Root@our.example "
		  "local:mail.our.example" },
		{ "postmaster", "ok local postmaster@our.example "
		  "local:mail.our.example" },
		{ "carl+ext@localhost", "ok local carl+ext@localhost "
		  "local:mail.our.example" },
		{ "nobody@our.example", "no user local nobody@our.example "
		  "local:mail.our.example" },
		{ "broken@our.example", "temporary default  :" },
		{ "anna@v.example", "ok mailbox anna@v.example "
		  "virtual:v.example" },
		{ "anna+list@v.example", "ok mailbox anna+list@v.example "
		  "virtual:v.example" },
		{ "bob+x@v.example", "ok mailbox bob+x@v.example "
		  "virtual:v.example" },
		{ "bob@v.example", "no user mailbox bob@v.example "
		  "virtual:v.example" },
		{ "broken@v.example", "temporary default  :" },
		{ "x@a.example", "no user alias x@a.example error:5.1.1 User "
		  "unknown in virtual alias table" },
		{ "x@r.example", "ok relay x@r.example relay:r.example" },
		{ "x@sub.r.example", "ok default x@sub.r.example "
		  "smtp:sub.r.example" },
		{ "x@far.example", "ok default x@far.example "
		  "smtp:far.example" },
		{ "x@[127.0.0.1]", "no user local x@[127.0.0.1] "
		  "local:mail.our.example" },
		{ "root@[127.0.0.1]", "ok local root@[127.0.0.1] "
		  "local:mail.our.example" },
		{ "x@[192.0.2.77]", "ok default x@[192.0.2.77] "
		  "smtp:[192.0.2.77]" },
		{ "a@b@far.example", "ok default a@b@far.example "
		  "smtp:far.example" },
		{ "", "bad default  :" },
		{ "@far.example", "bad default  :" },
		{ "x@-bad-", "bad default  :" },
		{ "x\n@far.example", "bad default  :" },
	};
	struct fixture *f = *state;

	configure(f, more);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(resolve(f, cases[i].address),
		    cases[i].want);
}

static void transport_maps_and_relayhost_change_the_way(void **state)
{
	static const char *const more[] = {
		"relayhost=[smart.example]:587",
		"transport_maps=inline:{ far.example=smtp:, "
		    ".dot.example=slow:, whole.example=error:no, "
		    "wait.example=retry:later, "
		    "{ u@x.example = lmtp:unix:/s }, "
		    "same.example=:, hop.example=:[h.example] }", NULL };
	static const struct {
		const char *address, *want;
	} cases[] = {
		{ "x@away.example", "ok default x@away.example "
		  "smtp:[smart.example]:587" },
		{ "x@r.example", "ok relay x@r.example "
		  "relay:[smart.example]:587" },
		{ "x@far.example", "ok default x@far.example "
		  "smtp:far.example" },
		{ "x@dot.example", "ok default x@dot.example "
		  "smtp:[smart.example]:587" },
		{ "x@a.b.dot.example", "ok default x@a.b.dot.example "
		  "slow:a.b.dot.example" },
		{ "x@whole.example", "no user default x@whole.example "
		  "error:no" },
		{ "x@wait.example", "temporary default x@wait.example "
		  "retry:later" },
		{ "u@x.example", "ok default u@x.example lmtp:unix:/s" },
		{ "u+ext@x.example", "ok default u+ext@x.example "
		  "lmtp:unix:/s" },
		{ "v@x.example", "ok default v@x.example "
		  "smtp:[smart.example]:587" },
		{ "x@same.example", "ok default x@same.example "
		  "smtp:[smart.example]:587" },
		{ "x@hop.example", "ok default x@hop.example "
		  "smtp:[h.example]" },
		{ "root@our.example", "ok local root@our.example "
		  "local:mail.our.example" },
	};
	static const char *const star[] = {
		"transport_maps=inline:{ *=slow:all }", NULL };
	struct fixture *f = *state;

	configure(f, more);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(resolve(f, cases[i].address),
		    cases[i].want);
	configure(f, star);
	assert_string_equal(resolve(f, "x@any.example"),
	    "ok default x@any.example slow:all");
}

/* "a, b" or the status. */
static const char *expand(struct fixture *f, const char *address)
{
	struct expand_request m = { .address = str_of(address) };
	struct expand_reply r;
	struct str text = STR("");

	lookup_answer_expand(&f->q, &m, &r);
	if (r.status != LOOKUP_OK)
		return status_name(r.status);
	assert_int_equal(r.addresses.n, r.transports.n);
	assert_int_equal(r.addresses.n, r.nexthops.n);
	for (size_t i = 0; i < r.addresses.n; i++)
		text = arena_printf(f->arena, STR_FMT "%s" STR_FMT,
		    STR_ARG(text), i ? ", " : "", STR_ARG(r.addresses.v[i]));
	return text.p;
}

static void virtual_aliases_expand_to_the_end(void **state)
{
	static const char *const more[] = {
		"virtual_alias_maps=inline:{ one@a.example=anna@v.example, "
		    "{ team@a.example = one@a.example, x@far.example root }, "
		    "{ keep@far.example = keep@far.example, y@far.example }, "
		    "{ loop1@a.example = loop2@a.example }, "
		    "{ loop2@a.example = loop1@a.example }, "
		    "@all.example=@other.example, @cat.example=z@far.example, "
		    "carl=anna@v.example, "
		    "{ self@a.example = self@a.example }, "
		    "{ quoted@a.example = \"two words\"@far.example }, "
		    "bad@a.example=@, "
		    "{ twice@a.example = q@far.example, Q@far.example } }",
		NULL };
	static const struct {
		const char *address, *want;
	} cases[] = {
		{ "one@a.example", "anna@v.example" },
		{ "ONE@A.Example", "anna@v.example" },
		{ "one+tag@a.example", "anna+tag@v.example" },
		{ "team@a.example", "anna@v.example, x@far.example, "
		  "root@our.example" },
		{ "keep@far.example", "keep@far.example, y@far.example" },
		{ "loop1@a.example", "temporary" },
		{ "joe@all.example", "joe@other.example" },
		{ "joe+t@all.example", "joe+t@other.example" },
		{ "joe@cat.example", "z@far.example" },
		{ "carl@our.example", "anna@v.example" },
		{ "carl+e@localhost", "anna+e@v.example" },
		{ "carl@far.example", "carl@far.example" },
		{ "self@a.example", "self@a.example" },
		{ "quoted@a.example", "two words@far.example" },
		{ "bad@a.example", "temporary" },
		{ "twice@a.example", "q@far.example" },
		{ "none@far.example", "none@far.example" },
		{ "", "bad" },
	};
	struct fixture *f = *state;

	configure(f, more);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(expand(f, cases[i].address),
		    cases[i].want);
	assert_string_equal(resolve(f, "one@a.example"), "ok alias "
	    "one@a.example error:5.1.1 User unknown in virtual alias table "
	    "alias");
	assert_string_equal(resolve(f, "other@a.example"), "no user alias "
	    "other@a.example error:5.1.1 User unknown in virtual alias table");
}

static void expansion_has_limits(void **state)
{
	static const char *const more[] = { "virtual_alias_expansion_limit=3",
		"virtual_alias_recursion_limit=4",
		"virtual_alias_maps=inline:{ { n3@a.example = a@x.example, "
		    "b@x.example, c@x.example }, "
		    "{ n4@a.example = a@x.example b@x.example c@x.example "
		    "d@x.example }, d1@a.example=d2@a.example, "
		    "d2@a.example=d3@a.example, d3@a.example=d4@a.example, "
		    "d4@a.example=d5@a.example, d5@a.example=d6@a.example }",
		NULL };
	static const char *const endless[] = {
		"virtual_alias_maps=pcre:/dev/null", NULL };
	struct fixture *f = *state;

	configure(f, more);
	assert_string_equal(expand(f, "n3@a.example"),
	    "a@x.example, b@x.example, c@x.example");
	assert_string_equal(expand(f, "n4@a.example"), "temporary");
	assert_string_equal(expand(f, "d2@a.example"), "d6@a.example");
	assert_string_equal(expand(f, "d1@a.example"), "temporary");
	/* No regular file: cannot be read, which is not "not there". */
	configure(f, endless);
	assert_string_equal(expand(f, "x@far.example"), "temporary");
}

static void recipients_are_looked_for_in_their_tables(void **state)
{
	static const char *const more[] = {
		"virtual_mailbox_maps=inline:{ m@v.example=x, @w.example=y }",
		"virtual_mailbox_domains=v.example w.example",
		"relay_recipient_maps=inline:{ ok@r.example=x }",
		"local_recipient_maps=inline:{ l=x, f@our.example=y }", NULL };
	static const struct {
		const char *address;
		bool exists;
	} cases[] = {
		{ "m@v.example", true }, { "m+e@v.example", true },
		{ "anna@v.example", false }, { "any@w.example", true },
		{ "ok@r.example", true }, { "no@r.example", false },
		{ "l@our.example", true }, { "l+x@our.example", true },
		{ "f@our.example", true }, { "root@our.example", false },
	};
	static const char *const open[] = { "local_recipient_maps=", NULL };
	static const char *const failing[] = {
		"local_recipient_maps=fail:x", NULL };
	struct fixture *f = *state;

	configure(f, more);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(strncmp(resolve(f, cases[i].address), "ok ",
		    3) == 0, cases[i].exists);
	configure(f, open);
	assert_string_equal(resolve(f, "whoever@our.example"), "ok local "
	    "whoever@our.example local:mail.our.example");
	configure(f, failing);
	assert_string_equal(resolve(f, "root@our.example"),
	    "temporary default  :");
}

static void domain_lists_have_exceptions_tables_and_files(void **state)
{
	static const char *const more[] = {
		"mydestination=!not.one.example, .one.example, "
		    "inline:{t.example=x}, /tmp/lookup_test_list", NULL };
	static const struct {
		const char *domain;
		bool is_ours;
	} cases[] = {
		{ "a.one.example", true }, { "one.example", false },
		{ "not.one.example", false }, { "t.example", true },
		{ "infile.example", true }, { "also.example", true },
		{ "comment.example", false }, { "other.example", false },
	};
	struct fixture *f = *state;
	FILE *file = fopen("/tmp/lookup_test_list", "w");
	enum lookup_class class;

	assert_non_null(file);
	fputs("# comment.example\ninfile.example\n also.example\n", file);
	fclose(file);
	configure(f, more);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct parts p = { STR("x"), str_of(cases[i].domain) };

		assert_int_equal(lookup_class(&f->q, p, &class), 0);
		assert_int_equal(class == LOOKUP_LOCAL, cases[i].is_ours);
	}
	unlink("/tmp/lookup_test_list");
}

static void aliases_are_found_and_say_whose_they_are(void **state)
{
	static const char *const more[] = { NULL };
	struct fixture *f = *state;
	struct alias_request m = { .name = STR("PostMaster") };
	struct alias_reply r;

	configure(f, more);
	lookup_answer_alias(&f->q, &m, &r);
	assert_int_equal(r.status, LOOKUP_OK);
	assert_true(str_eq_c(r.value, "root"));
	assert_false(r.by_root);
	m.name = STR("nobody");
	lookup_answer_alias(&f->q, &m, &r);
	assert_int_equal(r.status, LOOKUP_NO_USER);
}

static void a_malformed_table_is_told_at_start(void **state)
{
	struct fixture *f = *state;
	const struct str pair = STR("transport_maps=bogus:/x");
	const char *why;

	assert_int_equal(params_load(&f->params, &pair, 1, f->arena, &why), 0);
	assert_null(lookup_new(&f->params, some_users, NULL, &f->q.why));
	assert_non_null(strstr(buf_cstr(&f->q.why), "transport_maps: bogus:"));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(addresses_have_class_transport_and_next_hop),
		T(transport_maps_and_relayhost_change_the_way),
		T(virtual_aliases_expand_to_the_end),
		T(expansion_has_limits),
		T(recipients_are_looked_for_in_their_tables),
		T(domain_lists_have_exceptions_tables_and_files),
		T(aliases_are_found_and_say_whose_they_are),
		T(a_malformed_table_is_told_at_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
