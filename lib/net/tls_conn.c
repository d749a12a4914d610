/* tls_conn.c - see tls_conn.h */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "net/tls_conn.h"

/* More in a minute is not a client's wish for fresh keys. */
#define KEY_UPDATES_MAX 32
#define FAREWELL (CLOCK_SECOND / 2)

static BIO_METHOD *stream_bio;

/* --- the octets below TLS: our stream's descriptor as a BIO --- */

static int bio_fail(BIO *b, struct tls_conn *c, bool reading)
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
	struct tls_conn *c = BIO_get_data(b);
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
	struct tls_conn *c = BIO_get_data(b);
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
	struct tls_conn *c = BIO_get_data(b);

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

int tls_conn_init(void)
{
	stream_bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
	    "stream");
	return stream_bio == NULL ||
	    BIO_meth_set_read(stream_bio, bio_read) != 1 ||
	    BIO_meth_set_write(stream_bio, bio_write) != 1 ||
	    BIO_meth_set_ctrl(stream_bio, bio_ctrl) != 1 ||
	    BIO_meth_set_create(stream_bio, bio_create) != 1 ? -1 : 0;
}

/* --- the stream's transport --- */

/* Says in c->why what OpenSSL or the descriptor has against us. */
static void note_why(struct tls_conn *c, int ssl_error)
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
static bool settle(struct tls_conn *c, int ssl_error)
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
	struct tls_conn *c = ctx;
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
	struct tls_conn *c = ctx;
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
	struct tls_conn *c = ctx;

	return (size_t)SSL_pending(c->ssl);
}

static const char *conn_why(void *ctx)
{
	struct tls_conn *c = ctx;

	return c->why;
}

static void conn_finish(void *ctx)
{
	struct tls_conn *c = ctx;

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
	struct tls_conn *c = ctx;

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
	struct tls_conn *c = arg;
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

struct tls_conn *tls_conn_new(SSL_CTX *ctx, struct stream *s,
    const char **why_r)
{
	struct tls_conn *c = calloc(1, sizeof(*c));
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

int tls_conn_handshake(struct tls_conn *c, int (*step)(SSL *), int64_t deadline,
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

/* --- what came of it --- */

static struct tls_conn *conn_of(struct stream *s)
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
	struct tls_conn *c = conn_of(s);
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
static int want_of(struct tls_conn *c, int ssl_error)
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
	struct tls_conn *c = conn_of(s);
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
	struct tls_conn *c = conn_of(s);
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
	struct tls_conn *c = conn_of(s);

	if (c == NULL || c->broken || !SSL_is_init_finished(c->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(c->ssl);
	c->broken = true;
}
