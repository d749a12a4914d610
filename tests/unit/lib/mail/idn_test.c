#include "mail_test.h"
#include "mail/idn.h"

static void domains_go_to_ascii_and_back(void **state)
{
	static const struct {
		struct str in;
		const char *ascii;	/* NULL: refused */
		const char *unicode;	/* of ascii */
	} rows[] = {
		{ STR("Example.COM"), "example.com", "example.com" },
		{ STR("b\xc3\xbc" "cher.test"), "xn--bcher-kva.test",
		    "b\xc3\xbc" "cher.test" },
		{ STR("B\xc3\x9c" "CHER.test"), "xn--bcher-kva.test",
		    "b\xc3\xbc" "cher.test" },
		/* nontransitional: sharp s is a letter of its own */
		{ STR("fa\xc3\x9f.de"), "xn--fa-hia.de", "fa\xc3\x9f.de" },
		{ STR("\xe4\xbe\x8b\xe3\x81\x88."
		    "\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88"),
		    "xn--r8jz45g.xn--zckzah", "\xe4\xbe\x8b\xe3\x81\x88."
		    "\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88" },
		{ STR("[IPv6:::1]"), "[ipv6:::1]", "[ipv6:::1]" },
		{ STR("a\0b"), NULL, NULL },
		{ STR("b\xff.test"), NULL, NULL },
		{ STR("\xe2\x80\xae.test"), NULL, NULL },
	};
	struct buf b, u;

	(void)state;
	buf_init(&b, 2000);
	buf_init(&u, 2000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&b);
		buf_reset(&u);
		if (mail_domain_to_ascii(rows[i].in, &b) !=
		    (rows[i].ascii ? 0 : -1))
			fail_msg("row %zu", i);
		if (rows[i].ascii == NULL) {
			assert_int_equal(b.n, 0);
			continue;
		}
		assert_string_equal(buf_cstr(&b), rows[i].ascii);
		assert_int_equal(mail_domain_to_unicode(buf_str(&b), &u), 0);
		assert_string_equal(buf_cstr(&u), rows[i].unicode);
	}
	buf_reset(&u);
	assert_int_equal(mail_domain_to_unicode(STR("xn--\xff.test"), &u), 0);
	assert_string_equal(buf_cstr(&u), "xn--\xff.test");
	buf_fini(&b);
	buf_fini(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domains_go_to_ascii_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
