#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "smtp/recode.h"

static void eight_bits_become_seven(void **state)
{
	static const struct { const char *in, *want; } rows[] = {
		/* nothing to do */
		{ "A: b\r\n\r\nplain\r\n", "A: b\r\n\r\nplain\r\n" },
		{ "A: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n",
		  "A: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n" },
		{ "A: b\r\n\r\ncaf\303\251 = x \r\n",
		  "A: b\r\nMIME-Version: 1.0\r\n"
		  "Content-Type: text/plain; charset=unknown-8bit\r\n"
		  "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		  "caf=C3=A9 =3D x=20\r\n" },
		{ "MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n"
		  " charset=utf-8\r\ncontent-transfer-encoding: 8bit\r\n"
		  "Z: z\r\n\r\n\303\251\r\n",
		  "MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n"
		  " charset=utf-8\r\nZ: z\r\n"
		  "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		  "=C3=A9\r\n" },
		{ "MIME-Version: 1.0\r\n"
		  "Content-Type: multipart/mixed; boundary=x\r\n"
		  "Content-Transfer-Encoding: 8bit\r\n\r\n"
		  "pre\r\n--x\r\n\r\nascii\r\n--x\r\n"
		  "Content-Type: text/plain; charset=utf-8\r\n"
		  "Content-Transfer-Encoding: 8bit\r\n\r\n\303\251\r\n--x\r\n"
		  "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--x--\r\n"
		  "epi\r\n",
		  "MIME-Version: 1.0\r\n"
		  "Content-Type: multipart/mixed; boundary=x\r\n"
		  "Content-Transfer-Encoding: 7bit\r\n\r\n"
		  "pre\r\n--x\r\n\r\nascii\r\n--x\r\n"
		  "Content-Type: text/plain; charset=utf-8\r\n"
		  "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		  "=C3=A9\r\n--x\r\n"
		  "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--x--\r\n"
		  "epi\r\n" },
		{ "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"
		  "Content-Transfer-Encoding: 8bit\r\n\r\n"
		  "Subject: in\r\n\r\n\303\251\r\n",
		  "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"
		  "Content-Transfer-Encoding: 7bit\r\n\r\n"
		  "Subject: in\r\n"
		  "Content-Type: text/plain; charset=unknown-8bit\r\n"
		  "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		  "=C3=A9\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(1024 * 1024);
		struct buf out;

		buf_init(&out, 65536);
		assert_int_equal(recode_to_7bit(str_of(rows[i].in), arena,
		    &out), 0);
		assert_string_equal(buf_cstr(&out), rows[i].want);
		buf_fini(&out);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_bits_become_seven),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
