#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include "keys/sign.h"

/* Filled at start, then constant. */
static struct key {
	EVP_PKEY *pkey;
	uint8_t id[32];
	bool is_rsa;
} keys[KEYS_MAX];
static size_t count;

static int make_id(EVP_PKEY *k, uint8_t id[32])
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(k, &der), ok;

	if (n <= 0)
		return -1;
	ok = EVP_Digest(der, (size_t)n, id, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	return ok == 1 ? 0 : -1;
}

/* Keeps the key; NULL or why not. */
static const char *take_key(EVP_PKEY *k)
{
	struct key *key = &keys[count];

	if (count == KEYS_MAX)
		return "too many keys";
	if (!EVP_PKEY_is_a(k, "RSA") && !EVP_PKEY_is_a(k, "EC"))
		return "neither an RSA nor an EC key";
	if (make_id(k, key->id) != 0)
		return "no public half";
	key->is_rsa = EVP_PKEY_is_a(k, "RSA");
	key->pkey = k;
	count++;
	return NULL;
}

/* One PEM block: 1 when it was a key, 0 when it was something else, -1 and
 * why. */
static int take_block(const char *name, const char *header,
    const unsigned char *der, long n, const char **why_r)
{
	EVP_PKEY *k;

	if (!str_ends(str_of(name), STR("PRIVATE KEY")))
		return 0;
	/* Nobody is there to type a pass phrase. */
	*why_r = "it has a pass phrase";
	if (header[0] != '\0' || strcmp(name, "ENCRYPTED PRIVATE KEY") == 0)
		return -1;
	*why_r = "damaged";
	if ((k = d2i_AutoPrivateKey(NULL, &der, n)) == NULL)
		return -1;
	if ((*why_r = take_key(k)) == NULL)
		return 1;
	EVP_PKEY_free(k);
	return -1;
}

int keys_load(struct str pem, const char **why_r)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	char *name, *header;
	unsigned char *der;
	long len;
	int n = 0, r = 0;

	*why_r = "out of memory";
	if (bio == NULL)
		return -1;
	ERR_clear_error();
	while (r >= 0 && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
		r = take_block(name, header, der, len, why_r);
		n += r > 0;
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(der, (size_t)len);
	}
	if (r >= 0 && ERR_GET_REASON(ERR_peek_last_error()) !=
	    PEM_R_NO_START_LINE) {
		*why_r = "damaged";
		r = -1;
	} else if (r >= 0) {
		*why_r = n == 0 ? "no private key in it" : NULL;
	}
	ERR_clear_error();
	BIO_free(bio);
	return r < 0 ? -1 : n;
}

size_t keys_count(void)
{
	return count;
}

static int sign_with(const struct key *key, unsigned scheme,
    struct str input, struct buf *out)
{
	static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };
	bool pss = scheme >> 8 == 0x08;
	/* 0x0804..06, 0x04xx..06xx: keys_recognise() knows no other. */
	unsigned level = pss ? (scheme & 0xff) - 4 : (scheme >> 8) - 4;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	unsigned char sig[1024];
	size_t n = sizeof(sig);
	int r = -1;

	ERR_clear_error();
	if (ctx == NULL || level > 2 || EVP_DigestSignInit_ex(ctx, &pctx,
	    digests[level], NULL, NULL, key->pkey, NULL) != 1)
		goto out;
	if (pss && (EVP_PKEY_CTX_set_rsa_padding(pctx,
	    RSA_PKCS1_PSS_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx,
	    RSA_PSS_SALTLEN_DIGEST) != 1))
		goto out;
	if (EVP_DigestSign(ctx, sig, &n, (const unsigned char *)input.p,
	    input.n) == 1)
		r = buf_append_n(out, sig, n);
out:
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return r;
}

int keys_sign_input(struct str key_id, unsigned scheme, struct str input,
    struct buf *out, const char **why_r)
{
	for (size_t i = 0; i < count; i++) {
		bool rsa = (scheme & 0xff) == 0x01 || scheme >> 8 == 0x08;

		if (key_id.n != 32 || memcmp(key_id.p, keys[i].id, 32) != 0)
			continue;
		*why_r = "scheme is not of this key's type";
		if (rsa != keys[i].is_rsa)
			return -1;
		*why_r = "signing failed";
		return sign_with(&keys[i], scheme, input, out);
	}
	*why_r = "no such key";
	return -1;
}

void keys_forget(void)
{
	while (count > 0) {
		EVP_PKEY_free(keys[--count].pkey);
		OPENSSL_cleanse(&keys[count], sizeof(keys[count]));
	}
}
