#include "mail_test.h"
#include "mail/transfer.h"

static void decode_cut(enum mail_encoding e, struct str in, size_t cut,
    struct buf *out)
{
	struct mail_decoder d;

	buf_reset(out);
	mail_decoder_init(&d, e);
	assert_int_equal(mail_decode(&d, str_sub(in, 0, cut), out), 0);
	assert_int_equal(mail_decode(&d, str_from(in, cut), out), 0);
	assert_int_equal(mail_decode_end(&d, out), 0);
}

static void bodies_are_decoded_however_they_are_cut(void **state)
{
	static const struct {
		enum mail_encoding encoding;
		const char *in, *out;
	} rows[] = {
		{ MAIL_ENCODING_QUOTED, "a=3Db", "a=b" },
		{ MAIL_ENCODING_QUOTED, "a=\r\nb=\nc", "abc" },
		{ MAIL_ENCODING_QUOTED, "a  \r\nb\t\nc ", "a\r\nb\nc" },
		{ MAIL_ENCODING_QUOTED, "a b  c", "a b  c" },
		{ MAIL_ENCODING_QUOTED, "a= \t\r\nb", "ab" },
		{ MAIL_ENCODING_QUOTED, "=e9=E9", "\xe9\xe9" },
		{ MAIL_ENCODING_QUOTED, "=zz=", "=zz" },
		{ MAIL_ENCODING_QUOTED, "=4", "=4" },
		{ MAIL_ENCODING_QUOTED, "=4=41", "=4A" },
		{ MAIL_ENCODING_QUOTED, "==41", "=A" },
		{ MAIL_ENCODING_QUOTED, "= x", "= x" },
		{ MAIL_ENCODING_QUOTED, "=\rx", "=\rx" },
		{ MAIL_ENCODING_QUOTED, "", "" },
		{ MAIL_ENCODING_QUOTED, "=\r\n=\r\n=\r\n", "" },
		{ MAIL_ENCODING_BASE64, "aGVs\r\nbG8=", "hello" },
		{ MAIL_ENCODING_BASE64, "a G*V\x80s bG8", "hello" },
		{ MAIL_ENCODING_BASE64, "aGVsbG8=\r\n-- \r\nfooter",
		    "hello" },
		{ MAIL_ENCODING_BASE64, "====", "" },
		{ MAIL_ENCODING_BASE64, "", "" },
		{ MAIL_ENCODING_8BIT, "a=3D\r\n", "a=3D\r\n" },
		{ MAIL_ENCODING_UNKNOWN, "x", "x" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str in = str_of(rows[i].in);

		for (size_t cut = 0; cut <= in.n; cut++) {
			decode_cut(rows[i].encoding, in, cut, &b);
			assert_string_equal(buf_cstr(&b), rows[i].out);
		}
	}
	buf_fini(&b);
}

static void what_is_encoded_reads_back(void **state)
{
	unsigned seed = 11;
	struct buf wire, back;

	(void)state;
	buf_init(&wire, 10000);
	buf_init(&back, 1000);
	for (int round = 0; round < 5000; round++) {
		size_t n = (size_t)rand_r(&seed) % 200, column = 0;
		char text[200];

		for (size_t i = 0; i < n; i++)
			text[i] = round & 1 ? (char)rand_r(&seed) :
			    "ab =.F\t\xe9\n"[rand_r(&seed) % 9];
		buf_reset(&wire);
		mail_encode_base64(str_n(text, n), &wire);
		decode_cut(MAIL_ENCODING_BASE64, buf_str(&wire), wire.n / 2,
		    &back);
		assert_true(str_eq(buf_str(&back), str_n(text, n)));
		buf_reset(&wire);
		mail_encode_quoted(str_n(text, n), &wire);
		for (size_t i = 0; i < wire.n; i++) {
			column = wire.p[i] == '\n' ? 0 : column + 1;
			assert_true(column <= 77);	/* with the CR */
			assert_true((unsigned char)wire.p[i] < 127);
		}
		decode_cut(MAIL_ENCODING_QUOTED, buf_str(&wire), wire.n / 3,
		    &back);
		/* line ends become CRLF */
		for (size_t i = 0, k = 0; i < n; i++, k++) {
			if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
				assert_int_equal(back.p[k++], '\r');
			assert_int_equal(back.p[k], text[i]);
		}
	}
	buf_fini(&wire);
	buf_fini(&back);
}

static void encodings_are_named(void **state)
{
	(void)state;
	assert_int_equal(mail_encoding_of(STR(" BASE64 (x)")),
	    MAIL_ENCODING_BASE64);
	assert_int_equal(mail_encoding_of(STR("Quoted-Printable")),
	    MAIL_ENCODING_QUOTED);
	assert_int_equal(mail_encoding_of(STR("")), MAIL_ENCODING_7BIT);
	assert_int_equal(mail_encoding_of(STR("x-uuencode")),
	    MAIL_ENCODING_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_are_decoded_however_they_are_cut),
		cmocka_unit_test(what_is_encoded_reads_back),
		cmocka_unit_test(encodings_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
