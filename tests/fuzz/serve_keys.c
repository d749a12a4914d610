/* serve_keys.c - keys, asked by a process that was taken over */
int keys_main(int, char **);
#define main keys_main
#include "keys/main.c"
#undef main
#include <openssl/evp.h>
#include <openssl/pem.h>
#include "tests/fuzz/fakes/serve.h"
#include "msgs/lookup.h"

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct sign_reply *r = msg;

	(void)c;
	fuzz_check(schema == &sign_reply_schema, "another answer");
	fuzz_check(r->ok == (r->signature.n > 0), "a signature or a refusal");
	fuzz_check(r->ok || r->text.n > 0, "a refusal says why");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	const char *why = NULL;
	char *p;
	long n;

	fuzz_mute_log();
	keys_main(*argc, *argv);
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &p);
	(void)keys_load(str_n(p, (size_t)n), &why);
	fuzz_check(why == NULL, "%s", why);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const kinds[] = {
		&sign_request_schema, &sign_request_schema,
		&sign_reply_schema, &resolve_request_schema, NULL };
	static const struct sign_request question = { .scheme = 0x403 };
	const struct serve s = { .client = "login", .kinds = kinds,
		.hear = hear, .kind = &sign_request_schema,
		.question = &question, .heap = 8 << 20 };

	serve_input(&s, p, n);
	fake_forget();
	return 0;
}
