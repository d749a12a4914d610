#include "mail_test.h"
#include "mail/search_text.h"

static struct arena *arena;

static int search(struct str message, const char *key, bool text)
{
	struct search_key *k = search_key_new(str_of(key), NULL);
	struct mime m;
	int r;

	assert_non_null(k);
	assert_int_equal(mime_parse(message, arena, &m), 0);
	r = search_text_message(k, &m, text);
	search_key_free(&k);
	arena_reset(arena);
	return r;
}

static const struct str sample = STR(
    "From: =?utf-8?Q?J=C3=B8rn?= <Joe@X.Test>\n"
    "Subject: =?iso-8859-1?Q?Gr=FC=DFe?= to\n all\nTo: \"a b\"@c.test\n"
    "Content-Type: multipart/mixed; boundary=b\n\npreamble\n"
    "--b\nContent-Type: text/plain; charset=iso-8859-1\n"
    "Content-Transfer-Encoding: quoted-printable\n\n"
    "Caf=E9 soft=\nbreak\n"
    "--b\nContent-Type: text/html; charset=utf-8\n"
    "Content-Transfer-Encoding: base64\n\n"
    "PHA+0J/RgNC40LLQ\ntdGCPC9wPg==\n"
    "--b\nContent-Type: application/pdf\n\nsecret\n"
    "--b\nContent-Type: message/rfc822\n\nSubject: Inner =?utf-8?Q?=C3=84?="
    "\n\nnested text\n--b\n"
    "Content-Type: text/plain; charset=iso-2022-jp\n\n"
    "\x1b$B" "F|K\\" "\x1b(B\n--b\nContent-Type: message/delivery-status\n\n"
    "Final-Recipient: rfc822; lost@x.test\n--b--\n");

static void text_is_found_however_it_was_encoded(void **state)
{
	static const struct {
		const char *key;
		int body, text;
	} rows[] = {
		{ "caf\xc3\x89", 1, 1 }, { "SOFTbreak", 1, 1 },
		{ "\xd0\x9f\xd1\x80\xd0\x98\xd0\x92", 1, 1 },
		{ "nested TEXT", 1, 1 }, { "inner \xc3\xa4", 1, 1 },
		{ "\xe6\x97\xa5\xe6\x9c\xac", 1, 1 },
		{ "secret", 0, 0 }, { "preamble", 0, 0 },
		/* RFC 3464 2; RFC 9051 6.4.4: BODY is no header field */
		{ "rfc822; LOST@", 1, 1 }, { "application/pdf", 0, 1 },
		{ "subject: inner", 1, 1 },
		{ "j\xc3\x98RN", 0, 1 },
		{ "gr\xc3\xbc\xc3\x9f" "e to all", 0, 1 },
		{ "subject: gr", 0, 1 }, { "Caf=E9", 0, 0 }, { "", 1, 1 },
		{ "nested text\xc3\xa4", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (search(sample, rows[i].key, false) != rows[i].body)
			fail_msg("BODY %s", rows[i].key);
		if (search(sample, rows[i].key, true) != rows[i].text)
			fail_msg("TEXT %s", rows[i].key);
	}
}

static void fields_are_searched_decoded(void **state)
{
	static const struct {
		const char *name, *key;
		int header, addresses;
	} rows[] = {
		{ "subject", "GR\xc3\x9c", 1, 1 },
		{ "Subject", "to all", 1, 1 },
		{ "Subject", "", 1, 1 }, { "X-None", "", 0, 0 },
		{ "From", "joe@x.test", 1, 1 }, { "FROM", "j\xc3\xb8rn", 1, 1 },
		{ "To", "a b@c", 0, 1 }, { "To", "\"a b\"@c", 1, 1 },
		{ "Subject", "x.test", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct search_key *k = search_key_new(str_of(rows[i].key),
		    NULL);

		if (search_text_header(k, sample, str_of(rows[i].name)) !=
		    rows[i].header)
			fail_msg("%s %s", rows[i].name, rows[i].key);
		if (search_text_addresses(k, sample, str_of(rows[i].name)) !=
		    rows[i].addresses)
			fail_msg("%s %s", rows[i].name, rows[i].key);
		search_key_free(&k);
	}
}

static void keys_come_in_other_character_sets(void **state)
{
	struct search_key *k = search_key_new(STR("caf\xe9"),
	    mail_charset_find(STR("iso-8859-1")));
	char *large = calloc(1, 2 * SEARCH_KEY_MAX);

	(void)state;
	assert_true(search_key_in(k, STR("un CAF\xc3\x89 noir")));
	assert_false(search_key_in(k, STR("cafe")));
	search_key_free(&k);
	k = search_key_new(STR("aabaaab"), NULL);
	assert_true(search_key_in(k, STR("aabaabaaabx")));
	assert_false(search_key_in(k, STR("aabaabaab")));
	search_key_free(&k);
	assert_null(search_key_new(str_n(large, 2 * SEARCH_KEY_MAX), NULL));
	free(large);
}

static void a_match_across_pieces_is_found(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int at = 16380; at < 16390; at++) {
		buf_reset(&b);
		buf_append_c(&b, "Content-Type: text/plain; charset=utf-8\n\n");
		for (int i = 0; i < at; i++)
			buf_append_char(&b, i % 100 == 99 && at % 2 ? '\n' :
			    'x');
		buf_append_c(&b, "n\xc3\xa9" "edle");
		for (int i = 0; i < 40000; i++)
			buf_append_char(&b, 'y');
		assert_int_equal(search(buf_str(&b), "N\xc3\x89" "EDLEY",
		    false), 1);
		assert_int_equal(search(buf_str(&b), "needle", false), 0);
	}
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_found_however_it_was_encoded),
		cmocka_unit_test(fields_are_searched_decoded),
		cmocka_unit_test(keys_come_in_other_character_sets),
		cmocka_unit_test(a_match_across_pieces_is_found),
	};
	int failed;

	if (mail_charset_open_all() != 0)
		return 1;
	arena = arena_new(16 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
