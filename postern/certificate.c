#include <stdio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include "postern/certificate.h"

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	if ((ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value)) == NULL)
		return -1;
	ok = X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok ? 0 : -1;
}

static X509 *new_certificate(EVP_PKEY *key, const char *name, int days)
{
	X509 *cert = X509_new();
	unsigned char raw[16];
	BIGNUM *serial;
	X509_NAME *subject;

	if (cert == NULL || RAND_bytes(raw, sizeof(raw)) != 1)
		return NULL;
	raw[0] &= 0x7f; /* RFC 5280 4.1.2.2: positive */
	serial = BN_bin2bn(raw, sizeof(raw), NULL);
	BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));
	BN_free(serial);
	X509_set_version(cert, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL);
	X509_set_pubkey(cert, key);
	subject = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
	    (const unsigned char *)name, -1, -1, 0);
	return cert;
}

static int to_buf(BIO *bio, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	buf_init(out, 65536);
	n = buf_append_n(out, p, (size_t)n);
	BIO_free(bio);
	return (int)n;
}

static int print_cert(X509 *cert, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, cert);
	return to_buf(bio, out);
}

static int print_key(EVP_PKEY *key, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_secmem());

	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	return to_buf(bio, out);
}

int certificate_make(const char *host, struct certificate_pems *pems)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
	X509 *ca = NULL, *cert = NULL;
	char names[400], title[320];
	int rc = -1;

	memset(pems, 0, sizeof(*pems));
	if (ca_key == NULL || key == NULL)
		goto out;
	snprintf(title, sizeof(title), "Private CA of %.250s", host);
	if (strlen(title) > 64) /* RFC 5280 appendix A: ub-common-name */
		snprintf(title, sizeof(title), "Private CA");
	ca = new_certificate(ca_key, title, 3650);
	cert = new_certificate(key, "localhost", 825);
	snprintf(names, sizeof(names),
	    "DNS:localhost,IP:127.0.0.1,IP:::1,DNS:%s", host);
	if (ca == NULL || cert == NULL ||
	    X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 ||
	    X509_set_issuer_name(cert, X509_get_subject_name(ca)) != 1 ||
	    add_extension(ca, ca, NID_basic_constraints,
		"critical,CA:TRUE,pathlen:0") < 0 ||
	    add_extension(ca, ca, NID_key_usage,
		"critical,keyCertSign,cRLSign") < 0 ||
	    add_extension(ca, ca, NID_subject_key_identifier, "hash") < 0 ||
	    add_extension(cert, ca, NID_basic_constraints,
		"critical,CA:FALSE") < 0 ||
	    add_extension(cert, ca, NID_key_usage,
		"critical,digitalSignature") < 0 ||
	    add_extension(cert, ca, NID_ext_key_usage, "serverAuth") < 0 ||
	    add_extension(cert, ca, NID_subject_key_identifier, "hash") < 0 ||
	    add_extension(cert, ca, NID_authority_key_identifier,
		"keyid") < 0 ||
	    add_extension(cert, ca, NID_subject_alt_name, names) < 0 ||
	    X509_sign(ca, ca_key, EVP_sha256()) == 0 ||
	    X509_sign(cert, ca_key, EVP_sha256()) == 0)
		goto out;
	if (print_cert(ca, &pems->ca) == 0 &&
	    print_cert(cert, &pems->cert) == 0 &&
	    print_key(ca_key, &pems->ca_key) == 0 &&
	    print_key(key, &pems->key) == 0)
		rc = 0;
out:
	X509_free(ca);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	return rc;
}

static void wipe(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_fini(b);
}

void certificate_wipe(struct certificate_pems *pems)
{
	wipe(&pems->ca);
	wipe(&pems->ca_key);
	wipe(&pems->cert);
	wipe(&pems->key);
}
