/*
 * tls_key.c - an OpenSSL provider for keys that another process holds
 *
 * Two key managers (RSA, EC) whose objects have a public key and the way to
 * a signer, and two signatures that hand the whole input on. There is no
 * decryption, no verification and no export: whatever else OpenSSL wants to
 * do with such a key fails.
 */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include "net/tls_key.h"

#define PARAM_KEY "postern-key"

struct key {
	bool is_rsa;
	EVP_PKEY *public_key;	/* of the default provider */
	uint8_t id[32];
	tls_sign_fn *sign;	/* NULL: only compared */
	void *ctx;
};

struct signing {
	bool is_rsa;
	const struct key *key;
	int bits;		/* of the digest: 256, 384, 512 */
	bool pss;
	struct buf input;	/* of update(); not used by TLS */
};

int tls_key_id(EVP_PKEY *public_key, uint8_t id_r[32])
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(public_key, &der), ok;

	if (n <= 0)
		return -1;
	ok = EVP_Digest(der, (size_t)n, id_r, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	return ok == 1 ? 0 : -1;
}

/* --- key management --- */

static void *key_new_rsa(void *provctx)
{
	struct key *k = calloc(1, sizeof(*k));

	(void)provctx;
	if (k != NULL)
		k->is_rsa = true;
	return k;
}

static void *key_new_ec(void *provctx)
{
	(void)provctx;
	return calloc(1, sizeof(struct key));
}

static void key_free(void *keydata)
{
	struct key *k = keydata;

	if (k == NULL)
		return;
	EVP_PKEY_free(k->public_key);
	free(k);
}

static int key_has(const void *keydata, int selection)
{
	const struct key *k = keydata;

	if (k == NULL || k->public_key == NULL)
		return 0;
	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
		return k->sign != NULL;
	return 1;
}

static int key_match(const void *a, const void *b, int selection)
{
	const struct key *ka = a, *kb = b;

	(void)selection;
	return ka->public_key != NULL && kb->public_key != NULL &&
	    EVP_PKEY_eq(ka->public_key, kb->public_key) == 1;
}

/* Ours comes as a pointer. A public key of another provider is imported when
 * OpenSSL compares a certificate's key with ours. */
static int key_import(void *keydata, int selection, const OSSL_PARAM params[])
{
	struct key *k = keydata;
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, PARAM_KEY);
	EVP_PKEY_CTX *ctx;
	int ok;

	(void)selection;
	if (p != NULL) {
		const struct key *from;

		if (p->data_type != OSSL_PARAM_OCTET_STRING ||
		    p->data_size != sizeof(from))
			return 0;
		memcpy(&from, p->data, sizeof(from));
		*k = *from;
		return EVP_PKEY_up_ref(k->public_key);
	}
	ctx = EVP_PKEY_CTX_new_from_name(NULL, k->is_rsa ? "RSA" : "EC",
	    "provider=default");
	ok = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &k->public_key, EVP_PKEY_PUBLIC_KEY,
	    (OSSL_PARAM *)(uintptr_t)params) == 1;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static const OSSL_PARAM *key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(PARAM_KEY, NULL, 0),
		OSSL_PARAM_END
	};

	(void)selection;
	return types;
}

static int key_get_params(void *keydata, OSSL_PARAM params[])
{
	struct key *k = keydata;

	return k->public_key != NULL &&
	    EVP_PKEY_get_params(k->public_key, params);
}

static const OSSL_PARAM *key_gettable_params(void *provctx)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_END
	};

	(void)provctx;
	return types;
}

static const char *rsa_operation(int operation)
{
	(void)operation;
	return "RSA";
}

static const char *ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

/* OpenSSL's tables hold functions of all types as one. */
#define FN(id, f) { id, (void (*)(void))(f) }
#define KEY_FUNCTIONS(new, operation) \
	FN(OSSL_FUNC_KEYMGMT_NEW, new), \
	FN(OSSL_FUNC_KEYMGMT_FREE, key_free), \
	FN(OSSL_FUNC_KEYMGMT_HAS, key_has), \
	FN(OSSL_FUNC_KEYMGMT_MATCH, key_match), \
	FN(OSSL_FUNC_KEYMGMT_IMPORT, key_import), \
	FN(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types), \
	FN(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params), \
	FN(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params), \
	FN(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, operation), \
	{ 0, NULL }

static const OSSL_DISPATCH rsa_key_functions[] = {
	KEY_FUNCTIONS(key_new_rsa, rsa_operation)
};
static const OSSL_DISPATCH ec_key_functions[] = {
	KEY_FUNCTIONS(key_new_ec, ec_operation)
};

/* --- signatures --- */

static void *signing_new(bool is_rsa)
{
	struct signing *s = calloc(1, sizeof(*s));

	if (s != NULL) {
		s->is_rsa = is_rsa;
		buf_init(&s->input, TLS_SIGN_INPUT_MAX);
	}
	return s;
}

static void *signing_new_rsa(void *provctx, const char *propq)
{
	(void)provctx;
	(void)propq;
	return signing_new(true);
}

static void *signing_new_ec(void *provctx, const char *propq)
{
	(void)provctx;
	(void)propq;
	return signing_new(false);
}

static void signing_free(void *ctx)
{
	struct signing *s = ctx;

	if (s == NULL)
		return;
	buf_fini(&s->input);
	free(s);
}

static int signing_set_params(void *ctx, const OSSL_PARAM params[])
{
	struct signing *s = ctx;
	const OSSL_PARAM *p;
	int n;

	if (params == NULL)
		return 1;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	if (p != NULL) {
		if (p->data_type == OSSL_PARAM_UTF8_STRING)
			n = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0 ?
			    RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
		else if (!OSSL_PARAM_get_int(p, &n))
			return 0;
		if (n != RSA_PKCS1_PSS_PADDING && n != RSA_PKCS1_PADDING)
			return 0;
		s->pss = n == RSA_PKCS1_PSS_PADDING;
	}
	/* TLS has one salt length: the digest's (RFC 8446 4.2.3). */
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	if (p != NULL && p->data_type != OSSL_PARAM_UTF8_STRING &&
	    (!OSSL_PARAM_get_int(p, &n) ||
	    (n != RSA_PSS_SALTLEN_DIGEST && n * 8 != s->bits)))
		return 0;
	return 1;
}

static const OSSL_PARAM *signing_settable_params(void *ctx, void *provctx)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL,
		    0),
		OSSL_PARAM_END
	};

	(void)ctx;
	(void)provctx;
	return types;
}

static int signing_init(void *ctx, const char *digest, void *keydata,
    const OSSL_PARAM params[])
{
	static const struct { const char *name; int bits; } digests[] = {
		{ "SHA2-256", 256 }, { "SHA256", 256 }, { "SHA2-384", 384 },
		{ "SHA384", 384 }, { "SHA2-512", 512 }, { "SHA512", 512 },
	};
	struct signing *s = ctx;

	if (keydata != NULL)
		s->key = keydata;
	s->bits = 0;
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++)
		if (digest != NULL && strcasecmp(digest, digests[i].name) == 0)
			s->bits = digests[i].bits;
	if (s->key == NULL || s->key->sign == NULL || s->bits == 0)
		return 0;
	return signing_set_params(s, params);
}

/* RFC 8446 4.2.3. In TLS 1.2 the same code points are (hash, signature). */
static uint16_t scheme_of(const struct signing *s)
{
	unsigned level = s->bits == 256 ? 0 : s->bits == 384 ? 1 : 2;

	if (s->is_rsa && s->pss)
		return (uint16_t)(0x0804 + level);
	return (uint16_t)((s->is_rsa ? 0x0401 : 0x0403) + (level << 8));
}

static int sign_whole(struct signing *s, unsigned char *sig, size_t *siglen,
    size_t size, struct str input)
{
	struct tls_sign_request request = {
		.scheme = scheme_of(s), .input = input,
	};
	struct buf out;
	int max = EVP_PKEY_get_size(s->key->public_key), ok = 0;

	if (sig == NULL) {
		*siglen = max > 0 ? (size_t)max : 0;
		return max > 0;
	}
	if (input.n > TLS_SIGN_INPUT_MAX)
		return 0;
	memcpy(request.key_id, s->key->id, sizeof(request.key_id));
	buf_init(&out, TLS_SIGNATURE_MAX);
	if (s->key->sign(s->key->ctx, &request, &out) == 0 && out.n > 0 &&
	    out.n <= size) {
		memcpy(sig, out.p, out.n);
		*siglen = out.n;
		ok = 1;
	}
	buf_fini(&out);
	return ok;
}

static int signing_once(void *ctx, unsigned char *sig, size_t *siglen,
    size_t size, const unsigned char *p, size_t n)
{
	return sign_whole(ctx, sig, siglen, size, str_n(p, n));
}

static int signing_update(void *ctx, const unsigned char *p, size_t n)
{
	struct signing *s = ctx;

	return buf_append_n(&s->input, p, n) == 0;
}

static int signing_final(void *ctx, unsigned char *sig, size_t *siglen,
    size_t size)
{
	struct signing *s = ctx;

	return sign_whole(s, sig, siglen, size, buf_str(&s->input));
}

#define SIGNATURE_FUNCTIONS(new) \
	FN(OSSL_FUNC_SIGNATURE_NEWCTX, new), \
	FN(OSSL_FUNC_SIGNATURE_FREECTX, signing_free), \
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signing_init), \
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, signing_update), \
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, signing_final), \
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signing_once), \
	FN(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signing_set_params), \
	FN(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signing_settable_params), \
	{ 0, NULL }

static const OSSL_DISPATCH rsa_signature_functions[] = {
	SIGNATURE_FUNCTIONS(signing_new_rsa)
};
static const OSSL_DISPATCH ec_signature_functions[] = {
	SIGNATURE_FUNCTIONS(signing_new_ec)
};

/* --- the provider --- */

#define RSA_NAMES "RSA:rsaEncryption:1.2.840.113549.1.1.1"

static const OSSL_ALGORITHM key_algorithms[] = {
	{ RSA_NAMES, "provider=postern", rsa_key_functions, NULL },
	{ "EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=postern",
	    ec_key_functions, NULL },
	{ NULL, NULL, NULL, NULL }
};
static const OSSL_ALGORITHM signature_algorithms[] = {
	{ RSA_NAMES, "provider=postern", rsa_signature_functions, NULL },
	{ "ECDSA", "provider=postern", ec_signature_functions, NULL },
	{ NULL, NULL, NULL, NULL }
};

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
	(void)provctx;
	*no_cache = 0;
	if (operation == OSSL_OP_KEYMGMT)
		return key_algorithms;
	if (operation == OSSL_OP_SIGNATURE)
		return signature_algorithms;
	return NULL;
}

static const OSSL_DISPATCH provider_functions[] = {
	FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
	{ 0, NULL }
};

static int provider_init(const OSSL_CORE_HANDLE *handle,
    const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx)
{
	(void)in;
	*out = provider_functions;
	*provctx = (void *)(uintptr_t)handle;
	return 1;
}

/* For the life of the process. */
static OSSL_PROVIDER *loaded[2] __attribute__((used));

int tls_key_init(void)
{
	/* Loading one by name switches the automatic default off. */
	loaded[0] = OSSL_PROVIDER_load(NULL, "default");
	if (loaded[0] == NULL ||
	    OSSL_PROVIDER_add_builtin(NULL, "postern", provider_init) != 1)
		return -1;
	loaded[1] = OSSL_PROVIDER_load(NULL, "postern");
	if (loaded[1] == NULL)
		return -1;
	/* Nobody gets our key managers who did not ask for them. */
	return EVP_set_default_properties(NULL, "?provider=default") == 1 ?
	    0 : -1;
}

EVP_PKEY *tls_key_new(EVP_PKEY *public_key, tls_sign_fn *sign, void *ctx)
{
	struct key k = { .public_key = public_key, .sign = sign, .ctx = ctx };
	const struct key *kp = &k;
	OSSL_PARAM params[2] = {
		OSSL_PARAM_construct_octet_string(PARAM_KEY, &kp, sizeof(kp)),
		OSSL_PARAM_construct_end()
	};
	EVP_PKEY_CTX *pctx;
	EVP_PKEY *pkey = NULL;

	k.is_rsa = EVP_PKEY_is_a(public_key, "RSA");
	if (!k.is_rsa && !EVP_PKEY_is_a(public_key, "EC"))
		return NULL;
	if (tls_key_id(public_key, k.id) != 0)
		return NULL;
	pctx = EVP_PKEY_CTX_new_from_name(NULL, k.is_rsa ? "RSA" : "EC",
	    "provider=postern");
	if (pctx == NULL || EVP_PKEY_fromdata_init(pctx) != 1 ||
	    EVP_PKEY_fromdata(pctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(pctx);
	return pkey;
}
