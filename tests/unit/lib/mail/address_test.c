#include "mail_test.h"
#include "mail/address.h"

static struct arena *arena;

/* One line of text for a list: name|route|local|domain; with ! for invalid,
 * {name for a group, } for its end, - for what is not there. */
static void show(const struct mail_address_list *list, struct buf *b)
{
	buf_reset(b);
	for (unsigned i = 0; i < list->count; i++) {
		const struct mail_address *a = &list->items[i];
		const struct str *parts[] = { &a->name, &a->route, &a->local,
		    &a->domain };

		if (i > 0)
			buf_append_char(b, ' ');
		if (a->kind == MAIL_ADDRESS_GROUP_END) {
			buf_append_char(b, '}');
			continue;
		}
		if (a->kind == MAIL_ADDRESS_GROUP) {
			buf_printf(b, "{" STR_FMT, STR_ARG(a->name));
			continue;
		}
		if (a->invalid)
			buf_append_char(b, '!');
		for (int k = 0; k < 4; k++) {
			if (k > 0)
				buf_append_char(b, '|');
			if (parts[k]->p == NULL)
				buf_append_char(b, '-');
			else
				buf_append(b, *parts[k]);
		}
	}
}

static void lists_are_read(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		/* RFC 5322 appendix A */
		{ "John Doe <jdoe@machine.example>",
		    "John Doe|-|jdoe|machine.example" },
		{ "\"Joe Q. Public\" <john.q.public@example.com>",
		    "Joe Q. Public|-|john.q.public|example.com" },
		{ "Mary Smith <mary@x.test>, jdoe@example.org, "
		  "Who? <one@y.test>",
		    "Mary Smith|-|mary|x.test -|-|jdoe|example.org "
		    "Who?|-|one|y.test" },
		{ "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" "
		  "<sysservices@example.net>",
		    "-|-|boss|nil.test Giant; \"Big\" Box|-|sysservices|"
		    "example.net" },
		{ "A Group:Ed Jones <c@a.test>,joe@where.test,John "
		  "<jdoe@one.test>;",
		    "{A Group Ed Jones|-|c|a.test -|-|joe|where.test "
		    "John|-|jdoe|one.test }" },
		{ "Undisclosed recipients:;", "{Undisclosed recipients }" },
		{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his "
		  "host)>", "Pete|-|pete|silly.test" },
		{ "A Group(Some people)\r\n     :Chris Jones <c@(Chris's "
		  "host.)public.example>,\r\n         joe@example.org,\r\n"
		  "  John <jdoe@one.test> (my dear friend); (the end of the "
		  "group)", "{A Group Chris Jones|-|c|public.example "
		    "-|-|joe|example.org John|-|jdoe|one.test }" },
		{ "(Empty list)(start)Hidden recipients  :(nobody(that I know)"
		  ")  ;", "{Hidden recipients }" },
		{ "Joe Q. Public <john.q.public@example.com>",
		    "Joe Q. Public|-|john.q.public|example.com" },
		{ "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . "
		  "example", "Mary Smith|@node.test|mary|example.net "
		    "-|-|jdoe|test.example" },
		/* obsolete forms */
		{ "jdoe@x.test (John Doe)", "John Doe|-|jdoe|x.test" },
		{ "<@a.test,@b.test:c@d.test>", "-|@a.test,@b.test|c|d.test" },
		{ "first . last @ x . test", "-|-|first.last|x.test" },
		{ "\"a b\"@x.test", "-|-|a b|x.test" },
		{ "\"a\".b@x.test", "-|-|a.b|x.test" },
		{ "u@[1.2.3.4]", "-|-|u|[1.2.3.4]" },
		{ "root", "-|-|root|-" },
		{ "root, <bob>", "-|-|root|- -|-|bob|-" },
		{ "a@x.test; b@x.test", "-|-|a|x.test -|-|b|x.test" },
		{ "=?utf-8?Q?Smith,_J?= <s@x.test>",
		    "=?utf-8?Q?Smith,_J?=|-|s|x.test" },
		{ "=?utf-8?Q?a?= =?utf-8?Q?b?= <s@x.test>",
		    "=?utf-8?Q?a?= =?utf-8?Q?b?=|-|s|x.test" },
		/* RFC 2047 5: no encoded word in an address */
		{ "X <=?u@b?Q?c?=>, =?u?Q?a@b?= <c@d.test>",
		    "X|-|=?u|b?Q?c?= =?u?Q?a@b?=|-|c|d.test" },
		/* SMTP-164 to 166 */
		{ "<@x:ceo@bank.test>", "-|@x|ceo|bank.test" },
		{ "\"ceo@bank.test\" <a@peer.test>",
		    "ceo@bank.test|-|a|peer.test" },
		{ "ceo@bank.test:a@peer.test;",
		    "!-|-|ceo|bank.test" },
		/* broken ones are marked, and the rest is read */
		{ "some words a@b.test, c@d.test",
		    "!some words|-|a|b.test -|-|c|d.test" },
		{ "<a@b@c.test>, d@e.test", "!-|-|a|b -|-|d|e.test" },
		{ "a@, c@d.test", "!-|-|a| -|-|c|d.test" },
		{ "@b.test", "!-|-||b.test" },
		{ "A <>", "!A|-||-" },
		{ "A <a@b.test", "!A|-|a|b.test" },
		{ "A <a@b.test> junk, c@d.test",
		    "!A|-|a|b.test -|-|c|d.test" },
		/* RFC 7103 7.1.4, 7.1.6, 7.1.2, 7.1.7 */
		{ "(Testing <a@b.test>, (x) B (c (d) <c@d.test>",
		    "!Testing|-|a|b.test !x B c d|-|c|d.test" },
		{ "Testing) <a@b.test>", "!Testing|-|a|b.test" },
		{ "a@b.test (unclosed, c@d.test", "-|-|a|b.test" },
		{ "\"Joe <a@b.test>, \"B\" <c@d.test>",
		    "!Joe <a@b.test>, B|-|c|d.test" },
		{ "\"Joe S. <a@b.test>, c@d.test",
		    "!Joe S.|-|a|b.test -|-|c|d.test" },
		{ "a@b.test, x \"y z", "-|-|a|b.test !x y z|-||-" },
		{ "A <<<a@b.test>>>, <<c@d.test>, <e@f.test>>, g@h.test",
		    "!A|-|a|b.test !-|-|c|d.test !-|-|e|f.test "
		    "-|-|g|h.test" },
		{ "a@b..c.test", "!-|-|a|b..c.test" },
		{ "a\\b@c.test", "!a|-|b|c.test" },
		{ "Joe Smith, a@b.test",
		    "!Joe Smith|-||- -|-|a|b.test" },
		{ "", "" }, { ",,;;,", "" }, { "(only a comment)", "" },
		{ "g:a@b.test", "{g -|-|a|b.test }" },
		{ "g:h:a@b.test;", "{g !-|-|h|- }" },
		{ "(unclosed", "" },
	};
	struct mail_address_list list;
	struct buf b;

	(void)state;
	buf_init(&b, 2000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(mail_address_parse(str_of(rows[i].in), arena,
		    &list), 0);
		show(&list, &b);
		if (strcmp(buf_cstr(&b), rows[i].out) != 0)
			fail_msg("%s\n got %s\nnot %s", rows[i].in,
			    buf_cstr(&b), rows[i].out);
	}
	buf_fini(&b);
}

static void hostile_lists_end_at_the_limits(void **state)
{
	struct mail_address_list list;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 20000; i++)			/* SMTP-167 */
		buf_append_c(&b, "a@b.test, ");
	assert_int_equal(mail_address_parse(buf_str(&b), arena, &list), 0);
	assert_int_equal(list.count, MAIL_ADDRESS_MAX);
	assert_true(list.truncated);
	arena_reset(arena);
	buf_reset(&b);
	for (int i = 0; i < 50000; i++)			/* SMTP-168 */
		buf_append_c(&b, "(");
	assert_int_equal(mail_address_parse(buf_str(&b), arena, &list), 0);
	assert_true(list.truncated);
	assert_int_equal(list.count, 0);
	assert_int_equal(mail_address_parse(STR("\"a\0b\" <c@d>"), arena,
	    &list), 0);
	assert_true(list.invalid);
	buf_fini(&b);
}

static void any_octets_are_read_without_harm(void **state)
{
	unsigned seed = 17;

	(void)state;
	for (int round = 0; round < 50000; round++) {
		struct mail_address_list list;
		char text[32];
		size_t n = (size_t)rand_r(&seed) % 32;
		int groups = 0;

		for (size_t i = 0; i < n; i++)
			text[i] = "ab <>@:;,.\"\\()[]=?\r\n\0\xe9"[
			    rand_r(&seed) % 22];
		assert_int_equal(mail_address_parse(str_n(text, n), arena,
		    &list), 0);
		for (unsigned i = 0; i < list.count; i++) {
			const struct mail_address *a = &list.items[i];

			if (a->kind == MAIL_ADDRESS_GROUP)
				groups++;
			if (a->kind == MAIL_ADDRESS_GROUP_END)
				groups--;
			assert_in_range(groups, 0, 1);
			assert_false(str_has_nul(a->name));
			assert_int_equal(str_chr(a->name, '\n'), -1);
			assert_int_equal(str_chr(a->local, '\n'), -1);
			assert_int_equal(str_chr(a->domain, '\n'), -1);
		}
		assert_int_equal(groups, 0);
		arena_reset(arena);
	}
}

static void recipients_are_collected(void **state)
{
	static const struct str m = STR("From: x@y\nTo: a@x.test, "
	    "g: b@x.test;\nCc: c\nSubject: d@x.test\nbcc: e@x.test\n"
	    "Resent-To: f@x.test\n\nTo: body@x.test\n");
	struct mail_address_list list;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(mail_address_recipients(m, false, arena, &list), 0);
	show(&list, &b);
	assert_string_equal(buf_cstr(&b),
	    "-|-|a|x.test -|-|b|x.test -|-|c|- -|-|e|x.test");
	assert_int_equal(mail_address_recipients(m, true, arena, &list), 0);
	show(&list, &b);
	assert_string_equal(buf_cstr(&b), "-|-|f|x.test");
	buf_fini(&b);
}

static void what_is_written_reads_back(void **state)
{
	unsigned seed = 23;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (int round = 0; round < 20000; round++) {
		struct mail_address_list list;
		char name[12], local[12];
		struct str n = { name, 1 + (size_t)rand_r(&seed) % 11 };
		struct str l = { local, 1 + (size_t)rand_r(&seed) % 11 };

		for (size_t i = 0; i < n.n; i++)
			name[i] = "ab.\"\\<>,:;@()"[rand_r(&seed) % 13];
		for (size_t i = 0; i < l.n; i++)
			local[i] = "ab. \"\\<>,:;@()"[rand_r(&seed) % 14];
		buf_reset(&b);
		mail_address_append(&b, n, l, STR("x.test"));
		assert_int_equal(mail_address_parse(buf_str(&b), arena, &list),
		    0);
		assert_int_equal(list.count, 1);
		assert_false(list.invalid);
		assert_true(str_eq(list.items[0].name, n));
		assert_true(str_eq(list.items[0].local, l));
		arena_reset(arena);
	}
	buf_reset(&b);
	mail_address_append(&b, STR("a\r\nX: y"), STR("l"), STR("d"));
	assert_string_equal(buf_cstr(&b), "\"a  X: y\" <l@d>");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_read),
		cmocka_unit_test(hostile_lists_end_at_the_limits),
		cmocka_unit_test(any_octets_are_read_without_harm),
		cmocka_unit_test(recipients_are_collected),
		cmocka_unit_test(what_is_written_reads_back),
	};
	int failed;

	arena = arena_new(16 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
