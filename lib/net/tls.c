#include <errno.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/core_names.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/addr.h"
#include "net/tls.h"
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
/* More in a minute is not a client's wish for fresh keys. */
#define KEY_UPDATES_MAX 32
#define FAREWELL (CLOCK_SECOND / 2)

struct conn {
	SSL *ssl;
	struct stream *stream;
	int64_t deadline;
	bool nonblocking;
	bool broken;		/* nothing may be sent any more */
	bool eof;		/* the descriptor's end was seen */
	int err;		/* errno of the descriptor */
	unsigned key_updates;
	int64_t key_updates_since;
	const char *why;
	char why_text[200];
};

static BIO_METHOD *stream_bio;

/* --- the octets below TLS: our stream's descriptor as a BIO --- */

static int bio_fail(BIO *b, struct conn *c, bool reading)
{
	c->err = errno;
	/* Time-outs can be tried again; the rest cannot. */
	if (c->err == EAGAIN || c->err == ETIMEDOUT) {
		if (reading)
			BIO_set_retry_read(b);
		else
			BIO_set_retry_write(b);
	}
	return -1;
}

static int bio_read(BIO *b, char *p, int n)
{
	struct conn *c = BIO_get_data(b);
	ssize_t r;

	BIO_clear_retry_flags(b);
	if (c->key_updates > KEY_UPDATES_MAX) {
		errno = EPROTO;
		return bio_fail(b, c, true);
	}
	if (c->nonblocking) {
		do {
			r = recv(stream_fd(c->stream), p, (size_t)n,
			    MSG_DONTWAIT);
		} while (r < 0 && errno == EINTR);
	} else {
		r = stream_raw_read(c->stream, p, (size_t)n, c->deadline);
	}
	c->eof = r == 0;
	return r >= 0 ? (int)r : bio_fail(b, c, true);
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct conn *c = BIO_get_data(b);
	ssize_t r = n;

	BIO_clear_retry_flags(b);
	if (c->nonblocking) {
		do {
			r = send(stream_fd(c->stream), p, (size_t)n,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (r < 0 && errno == EINTR);
	} else if (stream_raw_write(c->stream, p, (size_t)n,
	    c->deadline) != 0) {
		r = -1;
	}
	return r >= 0 ? (int)r : bio_fail(b, c, false);
}

static long bio_ctrl(BIO *b, int cmd, long n, void *p)
{
	struct conn *c = BIO_get_data(b);

	(void)n;
	(void)p;
	if (cmd == BIO_CTRL_EOF)
		return c != NULL && c->eof;
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

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
	stream_bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
	    "stream");
	if (stream_bio == NULL ||
	    BIO_meth_set_read(stream_bio, bio_read) != 1 ||
	    BIO_meth_set_write(stream_bio, bio_write) != 1 ||
	    BIO_meth_set_ctrl(stream_bio, bio_ctrl) != 1 ||
	    BIO_meth_set_create(stream_bio, bio_create) != 1) {
		*why_r = "out of memory";
		return -1;
	}
	done = true;
	return 0;
}

/* --- the stream's transport --- */

/* Says in c->why what OpenSSL or the descriptor has against us. */
static void note_why(struct conn *c, int ssl_error)
{
	unsigned long e = ERR_peek_last_error();

	if (ssl_error == SSL_ERROR_SSL && e != 0 &&
	    c->key_updates <= KEY_UPDATES_MAX) {
		const char *reason = ERR_reason_error_string(e);

		snprintf(c->why_text, sizeof(c->why_text), "TLS: %s",
		    reason != NULL ? reason : "protocol error");
		c->why = c->why_text;
	} else if (c->key_updates > KEY_UPDATES_MAX) {
		c->why = "TLS: too many key updates";
	} else if (ssl_error == SSL_ERROR_ZERO_RETURN || c->err == 0) {
		c->why = "connection closed by peer";
	} else {
		c->why = c->err == ETIMEDOUT ? "timeout" :
		    strerrordesc_np(c->err);
	}
}

/* After a failed operation. Sets errno. True when it may be repeated. */
static bool settle(struct conn *c, int ssl_error)
{
	if (ssl_error == SSL_ERROR_WANT_READ ||
	    ssl_error == SSL_ERROR_WANT_WRITE) {
		c->why = NULL;
		errno = c->err == EAGAIN ? EAGAIN : ETIMEDOUT;
		return true;
	}
	note_why(c, ssl_error);
	c->broken = true;
	errno = ssl_error == SSL_ERROR_SYSCALL && c->err != 0 ? c->err :
	    EPROTO;
	return false;
}

static ssize_t conn_read(void *ctx, void *p, size_t n, int64_t deadline)
{
	struct conn *c = ctx;
	size_t got = 0;
	int e;

	if (c->broken) {
		errno = EPROTO;
		return -1;
	}
	c->deadline = deadline;
	c->err = 0;
	ERR_clear_error();
	if (SSL_read_ex(c->ssl, p, n, &got) == 1)
		return (ssize_t)got;
	e = SSL_get_error(c->ssl, 0);
	/* The protocols above have ends of their own, so a missing
	 * close_notify costs nothing. */
	if (e == SSL_ERROR_ZERO_RETURN ||
	    (e == SSL_ERROR_SYSCALL && c->err == 0))
		return 0;
	settle(c, e);
	return -1;
}

static int conn_write(void *ctx, const void *p, size_t n, int64_t deadline)
{
	struct conn *c = ctx;
	const char *at = p;

	if (c->broken) {
		errno = EPROTO;
		return -1;
	}
	c->deadline = deadline;
	c->err = 0;
	while (n > 0) {
		size_t done = 0;

		ERR_clear_error();
		if (SSL_write_ex(c->ssl, at, n, &done) != 1) {
			settle(c, SSL_get_error(c->ssl, 0));
			c->broken = true;
			return -1;
		}
		at += done;
		n -= done;
	}
	return 0;
}

static size_t conn_pending(void *ctx)
{
	struct conn *c = ctx;

	return (size_t)SSL_pending(c->ssl);
}

static const char *conn_why(void *ctx)
{
	struct conn *c = ctx;

	return c->why;
}

static void conn_finish(void *ctx)
{
	struct conn *c = ctx;

	if (c->broken || !SSL_is_init_finished(c->ssl))
		return;
	c->deadline = clock_now() + FAREWELL;
	c->err = 0;
	ERR_clear_error();
	(void)SSL_shutdown(c->ssl);
	c->broken = true;	/* nothing is read or written from here on */
}

static void conn_free(void *ctx)
{
	struct conn *c = ctx;

	if (c->ssl != NULL) {
		conn_finish(c);
		SSL_free(c->ssl);
	}
	free(c);
}

static const struct stream_transport tls_transport = {
	.read = conn_read, .write = conn_write, .pending = conn_pending,
	.why = conn_why, .free = conn_free, .finish = conn_finish,
};

static void on_message(int write_p, int version, int type, const void *p,
    size_t n, SSL *ssl, void *arg)
{
	struct conn *c = arg;
	int64_t now;

	(void)version;
	(void)ssl;
	if (write_p || type != SSL3_RT_HANDSHAKE || n == 0 || c == NULL ||
	    *(const unsigned char *)p != SSL3_MT_KEY_UPDATE)
		return;
	now = clock_now();
	if (now - c->key_updates_since > 60 * CLOCK_SECOND) {
		c->key_updates_since = now;
		c->key_updates = 0;
	}
	c->key_updates++;
}

/* Puts TLS over the stream; the handshake comes next. NULL with why. */
static struct conn *conn_new(SSL_CTX *ctx, struct stream *s,
    const char **why_r)
{
	struct conn *c = calloc(1, sizeof(*c));
	BIO *bio;

	*why_r = "out of memory";
	if (c == NULL)
		return NULL;
	c->stream = s;
	c->ssl = SSL_new(ctx);
	bio = BIO_new(stream_bio);
	if (c->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		conn_free(c);
		return NULL;
	}
	BIO_set_data(bio, c);
	SSL_set_bio(c->ssl, bio, bio);
	SSL_set_msg_callback(c->ssl, on_message);
	SSL_set_msg_callback_arg(c->ssl, c);
	if (stream_start_tls(s, &tls_transport, c) != 0) {
		*why_r = stream_why(s);
		conn_free(c);
		return NULL;
	}
	return c;
}

static int handshake(struct conn *c, int (*step)(SSL *), int64_t deadline,
    const char **why_r)
{
	int64_t own = stream_deadline(c->stream);
	int r;

	c->deadline = deadline < own ? deadline : own;
	c->err = 0;
	ERR_clear_error();
	r = step(c->ssl);
	if (r == 1) {
		*why_r = NULL;
		return 0;
	}
	settle(c, SSL_get_error(c->ssl, r));
	c->broken = true;
	if (c->why == NULL)
		c->why = "timeout";
	*why_r = c->why;
	return -1;
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
	struct conn *c;

	if (t->count == 0) {
		*why_r = "no certificate";
		return -1;
	}
	if ((c = conn_new(t->chains[0].ctx, s, why_r)) == NULL)
		return -1;
	return handshake(c, SSL_accept, deadline, why_r);
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
	struct conn *c = conn_new(t->ctx, s, why_r);
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
	if (handshake(c, SSL_connect, deadline, why_r) == 0)
		return 0;
	if (SSL_get_verify_result(c->ssl) != X509_V_OK && verify) {
		snprintf(c->why_text, sizeof(c->why_text), "TLS: %s",
		    X509_verify_cert_error_string(
		    SSL_get_verify_result(c->ssl)));
		*why_r = c->why = c->why_text;
	}
	return -1;
}

/* --- what came of it --- */

static struct conn *conn_of(struct stream *s)
{
	return stream_is_tls(s) ? stream_transport_ctx(s) : NULL;
}

static void name_key(X509 *x, char *out, size_t size)
{
	EVP_PKEY *k = x != NULL ? X509_get0_pubkey(x) : NULL;
	char group[32];
	size_t n;

	out[0] = '\0';
	if (k == NULL)
		return;
	if (EVP_PKEY_is_a(k, "EC")) {
		if (EVP_PKEY_get_group_name(k, group, sizeof(group), &n) != 1)
			group[0] = '\0';
		snprintf(out, size, "ECDSA (%s)",
		    strcmp(group, "prime256v1") == 0 ? "P-256" :
		    strcmp(group, "secp384r1") == 0 ? "P-384" :
		    strcmp(group, "secp521r1") == 0 ? "P-521" : group);
	} else if (EVP_PKEY_is_a(k, "RSA")) {
		snprintf(out, size, "RSA (%d bits)", EVP_PKEY_get_bits(k));
	} else {
		snprintf(out, size, "%s", EVP_PKEY_get0_type_name(k));
	}
}

bool tls_info(struct stream *s, struct tls_info *info)
{
	struct conn *c = conn_of(s);
	long verify;
	bool server;

	*info = (struct tls_info){ .protocol = "", .cipher = "" };
	info->key_type = info->text;
	if (c == NULL || !SSL_is_init_finished(c->ssl))
		return false;
	server = SSL_is_server(c->ssl);
	info->protocol = SSL_get_version(c->ssl);
	info->cipher = SSL_get_cipher_name(c->ssl);
	info->bits = SSL_get_cipher_bits(c->ssl, NULL);
	info->resumed = SSL_session_reused(c->ssl);
	if (!info->resumed)
		name_key(server ? SSL_get_certificate(c->ssl) :
		    SSL_get0_peer_certificate(c->ssl), info->text,
		    sizeof(info->text));
	info->group = SSL_group_to_name(c->ssl,
	    (int)SSL_get_negotiated_group(c->ssl));
	if (!server) {
		verify = SSL_get_verify_result(c->ssl);
		info->verified = verify == X509_V_OK &&
		    SSL_get0_peer_certificate(c->ssl) != NULL;
		if (!info->verified)
			info->verify_why =
			    X509_verify_cert_error_string(verify);
	}
	return true;
}

/* --- for an event loop --- */

void tls_set_nonblocking(struct stream *s)
{
	conn_of(s)->nonblocking = true;
}

/* What a failed SSL call wants: 0 when the connection is over. */
static int want_of(struct conn *c, int ssl_error)
{
	if (ssl_error == SSL_ERROR_WANT_READ)
		return TLS_WANT_READ;
	if (ssl_error == SSL_ERROR_WANT_WRITE)
		return TLS_WANT_WRITE;
	settle(c, ssl_error);
	return 0;
}

ssize_t tls_try_read(struct stream *s, void *p, size_t n, int *want_r)
{
	struct conn *c = conn_of(s);
	size_t got = 0;
	int e;

	*want_r = 0;
	if (c->broken)
		return -1;
	c->err = 0;
	ERR_clear_error();
	if (SSL_read_ex(c->ssl, p, n, &got) == 1)
		return (ssize_t)got;
	e = SSL_get_error(c->ssl, 0);
	if (e == SSL_ERROR_ZERO_RETURN ||
	    (e == SSL_ERROR_SYSCALL && c->err == 0))
		return 0;
	*want_r = want_of(c, e);
	return -1;
}

ssize_t tls_try_write(struct stream *s, const void *p, size_t n, int *want_r)
{
	struct conn *c = conn_of(s);
	size_t done = 0;

	*want_r = 0;
	if (c->broken)
		return -1;
	c->err = 0;
	ERR_clear_error();
	if (SSL_write_ex(c->ssl, p, n, &done) == 1)
		return (ssize_t)done;
	*want_r = want_of(c, SSL_get_error(c->ssl, 0));
	return -1;
}

void tls_try_shutdown(struct stream *s)
{
	struct conn *c = conn_of(s);

	if (c == NULL || c->broken || !SSL_is_init_finished(c->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(c->ssl);
	c->broken = true;
}
