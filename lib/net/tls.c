#include <errno.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/core_names.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/addr.h"
#include "net/tls_conn.h"
#include "net/tls_key.h"

#define CHAIN_MAX 10		/* certificates of one chain; also depth */
#define CHAINS_MAX 64
#define SERVER_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
#define CLIENT_CIPHERS "HIGH:!aNULL:!eNULL:!kPSK:!kSRP"
/* What `keys` can sign; no SHA-1. */
#define SIGNATURES "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:" \
	"RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:" \
	"RSA+SHA256:RSA+SHA384:RSA+SHA512"
#define CLIENT_SIGNATURES "ed25519:" SIGNATURES
#define GROUPS "X25519:P-256:P-384"

int tls_init(const char **why_r)
{
	static bool done;

	if (done)
		return 0;
	/* No file of the host decides what we negotiate. */
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG |
	    OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	    NULL) != 1 || tls_key_init() != 0) {
		*why_r = "OpenSSL does not start";
		return -1;
	}
	if (tls_conn_init() != 0) {
		*why_r = "out of memory";
		return -1;
	}
	done = true;
	return 0;
}

/* --- contexts --- */

static SSL_CTX *context_new(const SSL_METHOD *method, int min_version,
    const char *ciphers, const char *signatures, const char **why_r)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL) {
		*why_r = "out of memory";
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION |
	    SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_verify_depth(ctx, CHAIN_MAX);
	/* RFC 8996: nothing older than 1.2. */
	if (min_version < TLS1_2_VERSION)
		min_version = TLS1_2_VERSION;
	if (SSL_CTX_set_min_proto_version(ctx, min_version) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, GROUPS) != 1 ||
	    SSL_CTX_set1_sigalgs_list(ctx, signatures) != 1) {
		*why_r = "OpenSSL lacks what we need";
		SSL_CTX_free(ctx);
		return NULL;
	}
	if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1) {
		*why_r = "no cipher in the list is known";
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

struct chain {
	X509 *leaf;
	SSL_CTX *ctx;		/* may be that of an earlier one */
};

struct tls_server {
	struct tls_server_options options;
	const char *const *alpn;
	struct chain chains[CHAINS_MAX];
	size_t count;
	char service[SSL_MAX_SID_CTX_LENGTH];
	unsigned char ticket_keys[80];
};

/* RFC 7301 3.2: no common protocol is fatal, alert 120. (A client that speaks
 * another protocol to this port is so refused: ALPACA.) */
static int choose_alpn(SSL *ssl, const unsigned char **out,
    unsigned char *outlen, const unsigned char *in, unsigned inlen, void *arg)
{
	struct tls_server *t = arg;

	(void)ssl;
	for (const char *const *a = t->alpn; a != NULL && *a != NULL; a++) {
		struct str offers = str_n(in, inlen);

		while (offers.n > 0) {
			size_t n = (unsigned char)offers.p[0];
			struct str id = str_sub(offers, 1, n);

			if (str_eq_c(id, *a)) {
				*out = (const unsigned char *)id.p;
				*outlen = (unsigned char)id.n;
				return SSL_TLSEXT_ERR_OK;
			}
			offers = str_from(offers, 1 + n);
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A name only chooses among the chains that are loaded. */
static int choose_chain(SSL *ssl, int *alert, void *arg)
{
	struct tls_server *t = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	if (name == NULL || t->count < 2)
		return SSL_TLSEXT_ERR_NOACK;
	for (size_t i = 0; i < t->count; i++) {
		if (X509_check_host(t->chains[i].leaf, name, 0,
		    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) != 1)
			continue;
		if (t->chains[i].ctx != SSL_get_SSL_CTX(ssl))
			SSL_set_SSL_CTX(ssl, t->chains[i].ctx);
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_NOACK;
}

static int derive_ticket_keys(struct tls_server *t, struct str secret)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest,
		    0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
		    (void *)(uintptr_t)secret.p, secret.n),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
		    t->service, strlen(t->service)),
		OSSL_PARAM_construct_end()
	};
	int ok = ctx != NULL && EVP_KDF_derive(ctx, t->ticket_keys,
	    sizeof(t->ticket_keys), params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok ? 0 : -1;
}

struct tls_server *tls_server_new(const struct tls_server_options *options,
    const char **why_r)
{
	struct tls_server *t;

	if (tls_init(why_r) != 0)
		return NULL;
	if ((t = calloc(1, sizeof(*t))) == NULL) {
		*why_r = "out of memory";
		return NULL;
	}
	t->options = *options;
	t->alpn = options->alpn;
	if (t->options.ciphers == NULL)
		t->options.ciphers = SERVER_CIPHERS;
	snprintf(t->service, sizeof(t->service), "%s", options->service);
	*why_r = "ticket keys";
	if (options->ticket_secret.n > 0 &&
	    derive_ticket_keys(t, options->ticket_secret) != 0) {
		free(t);
		return NULL;
	}
	return t;
}

void tls_server_free(struct tls_server **tp)
{
	struct tls_server *t = *tp;

	if (t == NULL)
		return;
	for (size_t i = t->count; i-- > 0;) {
		bool shared = false;

		X509_free(t->chains[i].leaf);
		for (size_t k = 0; k < i; k++)
			shared |= t->chains[k].ctx == t->chains[i].ctx;
		if (!shared)
			SSL_CTX_free(t->chains[i].ctx);
	}
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
	*tp = NULL;
}

static SSL_CTX *server_context(struct tls_server *t, const char **why_r)
{
	SSL_CTX *ctx = context_new(TLS_server_method(), t->options.min_version,
	    t->options.ciphers, SIGNATURES, why_r);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	/* A ticket of one service is none at another. */
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)t->service,
	    (unsigned)strlen(t->service));
	if (t->options.ticket_secret.n > 0)
		SSL_CTX_set_tlsext_ticket_keys(ctx, t->ticket_keys,
		    sizeof(t->ticket_keys));
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, t);
	SSL_CTX_set_tlsext_servername_callback(ctx, choose_chain);
	SSL_CTX_set_tlsext_servername_arg(ctx, t);
	return ctx;
}

/* The certificates of a PEM text, leaf first. Number, or -1 with why. */
static int read_chain(struct str pem, X509 **certs, const char **why_r)
{
	BIO *bio;
	int n = 0;

	*why_r = "no certificate in it";
	if (pem.n == 0 || pem.n > TLS_PEM_MAX)
		return -1;
	if ((bio = BIO_new_mem_buf(pem.p, (int)pem.n)) == NULL) {
		*why_r = "out of memory";
		return -1;
	}
	ERR_clear_error();
	while (n <= CHAIN_MAX) {
		certs[n] = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (certs[n] == NULL)
			break;
		n++;
	}
	if (n > CHAIN_MAX) {
		*why_r = "too many certificates";
	} else if (n > 0 && ERR_GET_REASON(ERR_peek_last_error()) !=
	    PEM_R_NO_START_LINE) {
		*why_r = "damaged certificate";
	} else if (n > 0) {
		*why_r = NULL;
	}
	ERR_clear_error();
	BIO_free(bio);
	if (*why_r == NULL)
		return n;
	while (n > 0)
		X509_free(certs[--n]);
	return -1;
}

/* Has the context a certificate for keys of this one's type? */
static bool has_type(SSL_CTX *ctx, EVP_PKEY *key)
{
	bool found = false;

	for (int r = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST); r == 1;
	    r = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT)) {
		X509 *x = SSL_CTX_get0_certificate(ctx);
		EVP_PKEY *k = x != NULL ? X509_get0_pubkey(x) : NULL;

		if (k != NULL && EVP_PKEY_get_base_id(k) ==
		    EVP_PKEY_get_base_id(key))
			found = true;
	}
	return found;
}

static int install_chain(SSL_CTX *ctx, X509 **certs, int n, EVP_PKEY *key)
{
	if (SSL_CTX_use_certificate(ctx, certs[0]) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return -1;
	for (int i = 1; i < n; i++)
		if (SSL_CTX_add1_chain_cert(ctx, certs[i]) != 1)
			return -1;
	return 0;
}

int tls_server_add_chain(struct tls_server *t, struct str pem,
    tls_sign_fn *sign, void *sign_ctx, const char **why_r)
{
	X509 *certs[CHAIN_MAX + 1];
	int n = read_chain(pem, certs, why_r), r = -1;
	EVP_PKEY *public_key, *key = NULL;
	struct chain *chain = &t->chains[t->count];

	if (n < 0)
		return -1;
	*why_r = "too many chains";
	if (t->count == CHAINS_MAX)
		goto out;
	*why_r = "neither an RSA nor an EC key";
	public_key = X509_get0_pubkey(certs[0]);
	if (public_key == NULL ||
	    (key = tls_key_new(public_key, sign, sign_ctx)) == NULL)
		goto out;
	chain->ctx = t->count > 0 ? t->chains[0].ctx : NULL;
	if (chain->ctx == NULL || has_type(chain->ctx, public_key))
		chain->ctx = server_context(t, why_r);
	if (chain->ctx == NULL)
		goto out;
	*why_r = "OpenSSL refuses the certificate";
	ERR_clear_error();
	if (install_chain(chain->ctx, certs, n, key) != 0) {
		if (t->count == 0 || chain->ctx != t->chains[0].ctx)
			SSL_CTX_free(chain->ctx);
		goto out;
	}
	chain->leaf = certs[0];
	X509_up_ref(chain->leaf);
	t->count++;
	*why_r = NULL;
	r = 0;
out:
	EVP_PKEY_free(key);
	while (n > 0)
		X509_free(certs[--n]);
	return r;
}

int tls_server_add_chain_fd(struct tls_server *t, int fd, tls_sign_fn *sign,
    void *sign_ctx, const char **why_r)
{
	struct buf pem;
	int r = -1;

	buf_init(&pem, TLS_PEM_MAX);
	for (;;) {
		char *p = buf_reserve(&pem, 8192);
		ssize_t n;

		if (p == NULL) {
			*why_r = "too long";
			break;
		}
		n = pread(fd, p, 8192, (off_t)pem.n);
		if (n < 0) {
			*why_r = strerrordesc_np(errno);
			break;
		}
		if (n == 0) {
			r = tls_server_add_chain(t, buf_str(&pem), sign,
			    sign_ctx, why_r);
			break;
		}
		buf_added(&pem, (size_t)n);
	}
	if (pem.p != NULL)
		OPENSSL_cleanse(pem.p, pem.cap);
	buf_fini(&pem);
	return r;
}

int tls_accept(struct tls_server *t, struct stream *s, int64_t deadline,
    const char **why_r)
{
	struct tls_conn *c;

	if (t->count == 0) {
		*why_r = "no certificate";
		return -1;
	}
	if ((c = tls_conn_new(t->chains[0].ctx, s, why_r)) == NULL)
		return -1;
	return tls_conn_handshake(c, SSL_accept, deadline, why_r);
}

struct tls_client {
	SSL_CTX *ctx;
};

static int add_anchors(SSL_CTX *ctx, struct str pem, const char **why_r)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *x;
	int n = 0;

	*why_r = "out of memory";
	if (bio == NULL)
		return -1;
	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_cert(store, x);
		X509_free(x);
	}
	ERR_clear_error();
	BIO_free(bio);
	*why_r = n > 0 ? NULL : "no certificate in it";
	return n > 0 ? 0 : -1;
}

struct tls_client *tls_client_new(const struct tls_client_options *options,
    const char **why_r)
{
	struct tls_client *t;

	if (tls_init(why_r) != 0)
		return NULL;
	if ((t = calloc(1, sizeof(*t))) == NULL) {
		*why_r = "out of memory";
		return NULL;
	}
	t->ctx = context_new(TLS_client_method(), options->min_version,
	    options->ciphers != NULL ? options->ciphers : CLIENT_CIPHERS,
	    CLIENT_SIGNATURES, why_r);
	if (t->ctx == NULL || (options->ca_pem.n > 0 &&
	    add_anchors(t->ctx, options->ca_pem, why_r) != 0)) {
		tls_client_free(&t);
		return NULL;
	}
	return t;
}

void tls_client_free(struct tls_client **tp)
{
	if (*tp == NULL)
		return;
	SSL_CTX_free((*tp)->ctx);
	free(*tp);
	*tp = NULL;
}

int tls_connect(struct tls_client *t, struct stream *s, const char *host,
    bool verify, int64_t deadline, const char **why_r)
{
	struct tls_conn *c = tls_conn_new(t->ctx, s, why_r);
	X509_VERIFY_PARAM *param;
	struct net_addr addr;

	if (c == NULL)
		return -1;
	param = SSL_get0_param(c->ssl);
	SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	SSL_set_verify(c->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
	    NULL);
	ERR_clear_error();
	if (net_addr_parse(str_of(host), &addr) == 0) {
		char text[NET_ADDR_TEXT];

		/* RFC 6066 3: an address is no SNI. */
		X509_VERIFY_PARAM_set1_ip_asc(param,
		    net_addr_text(&addr, text));
	} else if (SSL_set1_host(c->ssl, host) != 1 ||
	    SSL_set_tlsext_host_name(c->ssl, host) != 1) {
		c->broken = true;
		*why_r = "bad host name";
		return -1;
	}
	if (tls_conn_handshake(c, SSL_connect, deadline, why_r) == 0)
		return 0;
	if (SSL_get_verify_result(c->ssl) != X509_V_OK && verify) {
		snprintf(c->why_text, sizeof(c->why_text), "TLS: %s",
		    X509_verify_cert_error_string(
		    SSL_get_verify_result(c->ssl)));
		*why_r = c->why = c->why_text;
	}
	return -1;
}
