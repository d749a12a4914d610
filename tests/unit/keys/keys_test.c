#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include "keys/recognise.h"
#include "keys/sign.h"

static void add(struct buf *b, size_t n, int c)
{
	while (n-- > 0)
		buf_append_char(b, (char)c);
}

static void certificate_verify(struct buf *b, size_t spaces,
    const char *context, size_t hash)
{
	add(b, spaces, ' ');
	buf_append_c(b, context);
	buf_append_char(b, '\0');
	add(b, hash, 'h');
}

static void key_exchange(struct buf *b, int type, unsigned curve,
    size_t length, size_t octets, int first)
{
	add(b, 64, 'r');
	add(b, 1, type);
	add(b, 1, (int)(curve >> 8));
	add(b, 1, (int)(curve & 0xff));
	add(b, 1, (int)length);
	add(b, 1, first);
	add(b, octets - 1, 'p');
}

#define SERVER "TLS 1.3, server CertificateVerify"

static void only_whole_handshakes_are_recognised(void **state)
{
	static const struct {
		unsigned scheme;
		size_t spaces;	/* 0: ServerKeyExchange */
		const char *context;
		size_t hash;
		int type;
		unsigned curve;
		size_t length, octets;
		int first;
		bool good;
	} cases[] = {
		{ 0x0403, 64, SERVER, 32, 0, 0, 0, 0, 0, true },
		{ 0x0804, 64, SERVER, 48, 0, 0, 0, 0, 0, true },
		{ 0x0401, 64, SERVER, 32, 0, 0, 0, 0, 0, false },
		{ 0x0201, 64, SERVER, 32, 0, 0, 0, 0, 0, false },
		{ 0x0000, 64, SERVER, 32, 0, 0, 0, 0, 0, false },
		{ 0x0403, 63, SERVER, 32, 0, 0, 0, 0, 0, false },
		{ 0x0403, 64, SERVER, 31, 0, 0, 0, 0, 0, false },
		{ 0x0403, 64, SERVER, 33, 0, 0, 0, 0, 0, false },
		{ 0x0403, 64, SERVER, 0, 0, 0, 0, 0, 0, false },
		{ 0x0403, 64, "TLS 1.3, client CertificateVerify", 32, 0, 0,
		    0, 0, 0, false },
		{ 0x0403, 1, "", 30, 0, 0, 0, 0, 0, false },
		{ 0x0403, 0, NULL, 0, 3, 0x1d, 32, 32, 9, true },
		{ 0x0401, 0, NULL, 0, 3, 0x17, 65, 65, 4, true },
		{ 0x0806, 0, NULL, 0, 3, 0x18, 97, 97, 4, true },
		{ 0x0401, 0, NULL, 0, 3, 0x17, 65, 65, 3, false },
		{ 0x0401, 0, NULL, 0, 3, 0x17, 65, 66, 4, false },
		{ 0x0401, 0, NULL, 0, 3, 0x17, 64, 64, 4, false },
		{ 0x0401, 0, NULL, 0, 2, 0x17, 65, 65, 4, false },
		{ 0x0401, 0, NULL, 0, 3, 0x16, 65, 65, 4, false },
		{ 0x0401, 0, NULL, 0, 3, 0x1d, 32, 31, 9, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b;
		bool good;

		buf_init(&b, 1000);
		if (cases[i].spaces > 0)
			certificate_verify(&b, cases[i].spaces,
			    cases[i].context, cases[i].hash);
		else
			key_exchange(&b, cases[i].type, cases[i].curve,
			    cases[i].length, cases[i].octets, cases[i].first);
		good = keys_recognise(cases[i].scheme, buf_str(&b)) == NULL;
		if (good != cases[i].good)
			fail_msg("case %zu", i);
		buf_fini(&b);
	}
}

static void no_shorter_or_longer_input_is_recognised(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	key_exchange(&b, 3, 0x17, 65, 65, 4);
	assert_null(keys_recognise(0x0403, buf_str(&b)));
	for (size_t n = 0; n < b.n; n++)
		assert_non_null(keys_recognise(0x0403, str_n(b.p, n)));
	/* bare digests */
	for (size_t n = 20; n <= 64; n += 4)
		assert_non_null(keys_recognise(0x0401, str_n(b.p, n)));
	add(&b, 1, 'x');
	assert_non_null(keys_recognise(0x0403, buf_str(&b)));
	buf_fini(&b);
}

static EVP_PKEY *load(bool rsa, uint8_t id[32])
{
	EVP_PKEY *k = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char *der = NULL;
	const char *why;
	char *pem;
	int n;

	PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL);
	n = (int)BIO_get_mem_data(bio, &pem);
	assert_int_equal(keys_load(str_n(pem, (size_t)n), &why), 1);
	BIO_free(bio);
	n = i2d_PUBKEY(k, &der);
	EVP_Digest(der, (size_t)n, id, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	return k;
}

static void signatures_verify_under_the_scheme_asked_for(void **state)
{
	static const struct { unsigned scheme; bool rsa; const char *digest;
		bool pss; } cases[] = {
		{ 0x0403, false, "SHA256", false },
		{ 0x0503, false, "SHA384", false },
		{ 0x0603, false, "SHA512", false },
		{ 0x0401, true, "SHA256", false },
		{ 0x0601, true, "SHA512", false },
		{ 0x0804, true, "SHA256", true },
		{ 0x0806, true, "SHA512", true },
	};
	uint8_t ids[2][32];
	EVP_PKEY *k[2] = { load(false, ids[0]), load(true, ids[1]) };
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str id = str_n(ids[cases[i].rsa], 32);
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		EVP_PKEY_CTX *pctx;
		struct buf sig;

		buf_init(&sig, 1024);
		assert_int_equal(keys_sign_input(id, cases[i].scheme,
		    STR("input"), &sig, &why), 0);
		EVP_DigestVerifyInit_ex(ctx, &pctx, cases[i].digest, NULL,
		    NULL, k[cases[i].rsa], NULL);
		if (cases[i].pss) {
			EVP_PKEY_CTX_set_rsa_padding(pctx,
			    RSA_PKCS1_PSS_PADDING);
			EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx,
			    RSA_PSS_SALTLEN_DIGEST);
		}
		assert_int_equal(EVP_DigestVerify(ctx,
		    (unsigned char *)sig.p, sig.n,
		    (const unsigned char *)"input", 5), 1);
		EVP_MD_CTX_free(ctx);
		/* the other key's type */
		assert_int_equal(keys_sign_input(str_n(ids[!cases[i].rsa], 32),
		    cases[i].scheme, STR("input"), &sig, &why), -1);
		buf_fini(&sig);
	}
	ids[0][0] ^= 1;
	{
		struct buf sig;

		buf_init(&sig, 1024);
		assert_int_equal(keys_sign_input(str_n(ids[0], 32), 0x0403,
		    STR("x"), &sig, &why), -1);
		assert_string_equal(why, "no such key");
	}
	assert_int_equal(keys_load(STR("junk"), &why), 0);
	assert_string_equal(why, "no private key in it");
	assert_int_equal(keys_load(STR("-----BEGIN PRIVATE KEY-----\nAAAA\n"
	    "-----END PRIVATE KEY-----\n"), &why), -1);
	assert_string_equal(why, "damaged");
	keys_forget();
	assert_int_equal(keys_count(), 0);
	EVP_PKEY_free(k[0]);
	EVP_PKEY_free(k[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_whole_handshakes_are_recognised),
		cmocka_unit_test(no_shorter_or_longer_input_is_recognised),
		cmocka_unit_test(signatures_verify_under_the_scheme_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
