#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/tls.h"
#include "net/tls_key.h"

#define SOON (clock_now() + 5 * CLOCK_SECOND)

/* --- a signer in a thread of its own, as `keys` is in a process --- */

struct pair {
	EVP_PKEY *key;
	char *pem;		/* the certificate */
};

static struct signer {
	pthread_t thread;
	pthread_mutex_t lock;
	int fd, server_fd;
	bool refuse;
	unsigned asked;
	EVP_PKEY *keys[32];
	size_t count;
	uint16_t last_scheme;
	char last_input[TLS_SIGN_INPUT_MAX];
	size_t last_n;
} signer;

struct wire_request {
	uint8_t id[32];
	uint16_t scheme;
	size_t n;
	char input[TLS_SIGN_INPUT_MAX];
};

static size_t sign(EVP_PKEY *key, const struct wire_request *q,
    unsigned char *out, size_t size)
{
	static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	bool pss = (q->scheme & 0xff00) == 0x0800;
	unsigned level = pss ? (q->scheme & 0xffu) - 4 :
	    (unsigned)(q->scheme >> 8) - 4;

	assert_true(level < 3);
	assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, digests[level],
	    NULL, NULL, key, NULL), 1);
	if (pss) {
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
	}
	assert_int_equal(EVP_DigestSign(ctx, out, &size,
	    (const unsigned char *)q->input, q->n), 1);
	EVP_MD_CTX_free(ctx);
	return size;
}

static void *signer_run(void *arg)
{
	struct wire_request q;

	(void)arg;
	while (recv(signer.server_fd, &q, sizeof(q), 0) == sizeof(q)) {
		unsigned char out[TLS_SIGNATURE_MAX];
		size_t n = 0;

		signer.asked++;
		signer.last_scheme = q.scheme;
		signer.last_n = q.n;
		memcpy(signer.last_input, q.input, q.n);
		for (size_t i = 0; i < signer.count && !signer.refuse; i++) {
			uint8_t id[32];

			tls_key_id(signer.keys[i], id);
			if (memcmp(id, q.id, 32) == 0)
				n = sign(signer.keys[i], &q, out, sizeof(out));
		}
		if (n == 0)
			out[n++] = 0;
		send(signer.server_fd, out, n, MSG_NOSIGNAL);
	}
	return NULL;
}

static int ask_signer(void *ctx, const struct tls_sign_request *want,
    struct buf *out)
{
	struct signer *s = ctx;
	struct wire_request q = { .scheme = want->scheme,
		.n = want->input.n };
	unsigned char sig[TLS_SIGNATURE_MAX];
	ssize_t n;

	memcpy(q.id, want->key_id, 32);
	memcpy(q.input, want->input.p, want->input.n);
	pthread_mutex_lock(&s->lock);
	send(s->fd, &q, sizeof(q), MSG_NOSIGNAL);
	n = recv(s->fd, sig, sizeof(sig), 0);
	pthread_mutex_unlock(&s->lock);
	return n > 1 ? buf_append_n(out, sig, (size_t)n) : -1;
}

static int start_signer(void **state)
{
	int fds[2];
	const char *why;

	(void)state;
	assert_int_equal(tls_init(&why), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	signer.fd = fds[0];
	signer.server_fd = fds[1];
	pthread_mutex_init(&signer.lock, NULL);
	return pthread_create(&signer.thread, NULL, signer_run, NULL);
}

static int stop_signer(void **state)
{
	(void)state;
	close(signer.fd);
	pthread_join(signer.thread, NULL);
	close(signer.server_fd);
	for (size_t i = 0; i < signer.count; i++)
		EVP_PKEY_free(signer.keys[i]);
	return 0;
}

/* A self-signed certificate for `host`; the signer gets the key. */
static struct pair make_pair(bool rsa, const char *host)
{
	struct pair p;
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509_EXTENSION *ext;
	BIO *bio = BIO_new(BIO_s_mem());
	char san[128], *text;
	long n;

	p.key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	assert_non_null(p.key);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), (long)signer.count + 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, p.key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)host, -1, -1, 0);
	X509_set_issuer_name(x, name);
	snprintf(san, sizeof(san), "DNS:%s", host);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(x, p.key, EVP_sha256()) > 0);
	PEM_write_bio_X509(bio, x);
	n = BIO_get_mem_data(bio, &text);
	p.pem = strndup(text, (size_t)n);
	BIO_free(bio);
	X509_free(x);
	signer.keys[signer.count++] = p.key;
	return p;
}

/* --- a server in a thread: one connection, echoes lines --- */

struct echo {
	struct tls_server *server;
	int fd;
	int result;
	char why[200];
	bool resumed;
	pthread_t thread;
};

static void *echo_run(void *arg)
{
	struct echo *e = arg;
	struct stream *s = stream_new(e->fd);
	struct stream_line line;
	struct tls_info info;
	const char *why = NULL;

	e->result = tls_accept(e->server, s, SOON, &why);
	snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
	if (e->result == 0) {
		tls_info(s, &info);
		e->resumed = info.resumed;
		while (stream_read_line(s, 60000, &line) == STREAM_OK) {
			stream_write(s, line.text);
			stream_write_c(s, "\r\n");
		}
	}
	stream_free(&s);
	return NULL;
}

static int echo_start(struct echo *e, struct tls_server *server)
{
	int fds[2];

	*e = (struct echo){ .server = server };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	e->fd = fds[1];
	assert_int_equal(pthread_create(&e->thread, NULL, echo_run, e), 0);
	return fds[0];
}

static struct tls_server *make_server(const char *service,
    const char *const *alpn, const char *ticket_secret)
{
	struct tls_server_options o = { .service = service, .alpn = alpn,
		.ticket_secret = str_of(ticket_secret) };
	const char *why;
	struct tls_server *t = tls_server_new(&o, &why);

	assert_non_null(t);
	return t;
}

static void add_pair(struct tls_server *t, const struct pair *p)
{
	const char *why;

	if (tls_server_add_chain(t, str_of(p->pem), ask_signer, &signer,
	    &why) != 0)
		fail_msg("add_chain: %s", why);
}

static void lines_pass_through_a_key_that_is_elsewhere(void **state)
{
	(void)state;
	for (int rsa = 0; rsa < 2; rsa++)
	for (int version = 0x0303; version <= 0x0304; version++) {
		struct pair p = make_pair(rsa, "mail.test");
		struct tls_server *t = make_server("smtp", NULL, NULL);
		struct tls_client_options o = { .ca_pem = str_of(p.pem),
			.min_version = version,
			.ciphers = version == 0x0303 ? "ECDHE+AESGCM" : NULL };
		const char *why = NULL;
		struct tls_client *client = tls_client_new(&o, &why);
		struct stream *s;
		struct stream_line line;
		struct tls_info info;
		struct echo e;
		char *big = malloc(50001);
		unsigned asked = signer.asked;

		add_pair(t, &p);
		s = stream_new(echo_start(&e, t));
		if (tls_connect(client, s, "mail.test", true, SOON, &why) != 0)
			fail_msg("connect: %s", why);
		assert_int_equal(signer.asked, asked + 1);
		assert_true(tls_info(s, &info));
		assert_string_equal(info.protocol, "TLSv1.3");
		assert_string_equal(info.key_type, rsa ? "RSA (2048 bits)" :
		    "ECDSA (P-256)");
		assert_true(info.verified);
		assert_false(info.resumed);
		assert_int_equal(signer.last_scheme, rsa ? 0x0804 : 0x0403);
		/* RFC 8446 4.4.3: what was signed is the whole input. */
		assert_memory_equal(signer.last_input + 64,
		    "TLS 1.3, server CertificateVerify", 34);
		memset(big, 'x', 50000);
		big[50000] = '\0';
		for (int i = 0; i < 3; i++) {
			stream_write_c(s, big);
			stream_write_c(s, "\r\nshort\r\n");
			assert_int_equal(stream_read_line(s, 60000, &line),
			    STREAM_OK);
			assert_true(str_eq_c(line.text, big));
			assert_int_equal(stream_read_line(s, 60000, &line),
			    STREAM_OK);
			assert_true(str_eq_c(line.text, "short"));
		}
		stream_set_timeout(s, 20 * CLOCK_MS, CLOCK_SECOND);
		assert_int_equal(stream_read_line(s, 9, &line),
		    STREAM_TIMEOUT);
		assert_false(stream_input_pending(s));
		/* A time-out is not the end of the connection. */
		stream_set_timeout(s, CLOCK_SECOND, CLOCK_SECOND);
		stream_write_c(s, "again\r\n");
		assert_int_equal(stream_read_line(s, 9, &line), STREAM_OK);
		stream_free(&s);
		pthread_join(e.thread, NULL);
		assert_int_equal(e.result, 0);
		tls_client_free(&client);
		tls_server_free(&t);
		free(big);
		free(p.pem);
	}
}

/* A client of plain OpenSSL, for what our client would not do. */
struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
};

static int raw_connect(struct raw *r, int fd, int version,
    const unsigned char *alpn, unsigned alpn_n, SSL_SESSION *session,
    const char *sni)
{
	r->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(r->ctx, version);
	SSL_CTX_set_min_proto_version(r->ctx, version);
	SSL_CTX_set_cipher_list(r->ctx, "ALL:@SECLEVEL=0");
	r->ssl = SSL_new(r->ctx);
	if (alpn != NULL)
		SSL_set_alpn_protos(r->ssl, alpn, alpn_n);
	if (session != NULL)
		SSL_set_session(r->ssl, session);
	if (sni != NULL)
		SSL_set_tlsext_host_name(r->ssl, sni);
	SSL_set_fd(r->ssl, fd);
	return SSL_connect(r->ssl);
}

static void raw_close(struct raw *r, int fd)
{
	/* Without it the session is not good for resumption. */
	if (SSL_is_init_finished(r->ssl))
		SSL_shutdown(r->ssl);
	SSL_free(r->ssl);
	SSL_CTX_free(r->ctx);
	close(fd);
}

static int last_alert;

static void note_alert(const SSL *ssl, int where, int ret)
{
	(void)ssl;
	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
		last_alert = ret & 0xff;
}

static void versions_and_protocols_meet_the_rules(void **state)
{
	static const char *const imap[] = { "imap", NULL };
	static const struct {
		int version;
		const char *alpn;
		const char *const *accepted;
		bool ok;
		int alert;
	} cases[] = {
		{ TLS1_2_VERSION, NULL, NULL, true, 0 },
		{ TLS1_3_VERSION, NULL, imap, true, 0 },
		{ TLS1_1_VERSION, NULL, NULL, false, 70 },
		{ TLS1_3_VERSION, "\2h2", NULL, false, 120 },
		{ TLS1_3_VERSION, "\2h2", imap, false, 120 },
		{ TLS1_2_VERSION, "\10http/1.1", imap, false, 120 },
		{ TLS1_3_VERSION, "\2h2\4imap", imap, true, 0 },
	};
	struct pair rsa = make_pair(true, "mail.test");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tls_server *t = make_server("imap", cases[i].accepted,
		    NULL);
		struct raw r;
		struct echo e;
		int fd;

		add_pair(t, &rsa);
		fd = echo_start(&e, t);
		last_alert = 0;
		r.ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_min_proto_version(r.ctx, cases[i].version);
		SSL_CTX_set_max_proto_version(r.ctx, cases[i].version);
		SSL_CTX_set_cipher_list(r.ctx, "ALL:@SECLEVEL=0");
		SSL_CTX_set_info_callback(r.ctx, note_alert);
		r.ssl = SSL_new(r.ctx);
		if (cases[i].alpn != NULL)
			SSL_set_alpn_protos(r.ssl,
			    (const unsigned char *)cases[i].alpn,
			    (unsigned)strlen(cases[i].alpn));
		SSL_set_fd(r.ssl, fd);
		assert_int_equal(SSL_connect(r.ssl) == 1, cases[i].ok);
		assert_int_equal(last_alert, cases[i].alert);
		if (cases[i].version == TLS1_2_VERSION && cases[i].ok) {
			/* two randoms, named_curve, X25519, 32 octets */
			assert_int_equal(signer.last_n, 64 + 4 + 32);
			assert_int_equal(signer.last_input[64], 3);
		}
		raw_close(&r, fd);
		pthread_join(e.thread, NULL);
		assert_int_equal(e.result == 0, cases[i].ok);
		tls_server_free(&t);
	}
	free(rsa.pem);
}

static void tickets_are_good_at_their_own_service_only(void **state)
{
	static const char secret[] = "0123456789abcdef0123456789abcdef";
	struct pair p = make_pair(false, "mail.test");
	struct tls_server *a = make_server("imap", NULL, secret);
	struct tls_server *b = make_server("imap", NULL, secret);
	struct tls_server *c = make_server("smtp", NULL, secret);
	struct tls_server *const all[] = { a, b, c };
	SSL_SESSION *session = NULL;
	char line[16];

	(void)state;
	for (int i = 0; i < 3; i++)
		add_pair(all[i], &p);
	/* b is another process of the same service. */
	for (int i = 0; i < 3; i++) {
		struct echo e;
		struct raw r;
		int fd = echo_start(&e, all[i]);

		assert_int_equal(raw_connect(&r, fd, TLS1_2_VERSION, NULL, 0,
		    session, NULL), 1);
		assert_int_equal(SSL_write(r.ssl, "x\n", 2), 2);
		assert_int_equal(SSL_read(r.ssl, line, 3), 3);
		SSL_SESSION_free(session);
		session = SSL_get1_session(r.ssl);
		raw_close(&r, fd);
		pthread_join(e.thread, NULL);
		assert_int_equal(e.resumed, i == 1);
	}
	SSL_SESSION_free(session);
	for (int i = 0; i < 3; i++) {
		struct tls_server *t = all[i];

		tls_server_free(&t);
	}
	free(p.pem);
}

static void the_name_chooses_among_loaded_chains(void **state)
{
	static const struct { const char *sni, *want; } cases[] = {
		{ "one.test", "one.test" }, { "two.test", "two.test" },
		{ NULL, "one.test" }, { "../../etc/x", "one.test" },
		{ "other.test", "one.test" },
	};
	struct pair one = make_pair(false, "one.test");
	struct pair two = make_pair(false, "two.test");
	struct tls_server *t = make_server("imap", NULL, NULL);

	(void)state;
	add_pair(t, &one);
	add_pair(t, &two);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct echo e;
		struct raw r;
		int fd = echo_start(&e, t);
		char cn[64];

		assert_int_equal(raw_connect(&r, fd, TLS1_3_VERSION, NULL, 0,
		    NULL, cases[i].sni), 1);
		X509_NAME_get_text_by_NID(X509_get_subject_name(
		    SSL_get0_peer_certificate(r.ssl)), NID_commonName, cn,
		    sizeof(cn));
		assert_string_equal(cn, cases[i].want);
		raw_close(&r, fd);
		pthread_join(e.thread, NULL);
	}
	tls_server_free(&t);
	free(one.pem);
	free(two.pem);
}

static void a_wrong_name_or_unknown_issuer_is_refused(void **state)
{
	static const struct { const char *host; bool anchor, verify, ok; }
	cases[] = {
		{ "mail.test", true, true, true },
		{ "other.test", true, true, false },
		{ "mail.test", false, true, false },
		{ "mail.test", false, false, true },
		{ "127.0.0.1", true, true, false },
		{ "127.0.0.1", true, false, true },
	};
	struct pair p = make_pair(false, "mail.test");
	struct tls_server *t = make_server("smtp", NULL, NULL);

	(void)state;
	add_pair(t, &p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tls_client_options o = { .ca_pem = cases[i].anchor ?
			str_of(p.pem) : STR_NONE };
		const char *why;
		struct tls_client *client = tls_client_new(&o, &why);
		struct echo e;
		struct stream *s = stream_new(echo_start(&e, t));
		struct tls_info info;
		int r = tls_connect(client, s, cases[i].host, cases[i].verify,
		    SOON, &why);

		assert_int_equal(r, cases[i].ok ? 0 : -1);
		if (r == 0) {
			assert_true(tls_info(s, &info));
			assert_int_equal(info.verified, cases[i].anchor &&
			    cases[i].verify);
		} else {
			assert_non_null(strstr(why, "TLS: "));
			assert_int_equal(stream_write_c(s, "secret\r\n"), 0);
			assert_int_equal(stream_flush(s), STREAM_ERROR);
		}
		stream_free(&s);
		pthread_join(e.thread, NULL);
		tls_client_free(&client);
	}
	tls_server_free(&t);
	free(p.pem);
}

static void handshakes_fail_when_nobody_signs_or_speaks(void **state)
{
	struct pair p = make_pair(false, "mail.test");
	struct tls_server *t = make_server("smtp", NULL, NULL);
	struct raw r;
	struct echo e;
	struct stream *s;
	const char *why;
	int fd, fds[2];

	(void)state;
	add_pair(t, &p);
	signer.refuse = true;
	fd = echo_start(&e, t);
	assert_int_not_equal(raw_connect(&r, fd, TLS1_3_VERSION, NULL, 0,
	    NULL, NULL), 1);
	raw_close(&r, fd);
	pthread_join(e.thread, NULL);
	assert_int_equal(e.result, -1);
	signer.refuse = false;
	/* plaintext, then silence */
	fd = echo_start(&e, t);
	assert_int_equal(write(fd, "EHLO x\r\n", 8), 8);
	pthread_join(e.thread, NULL);
	assert_int_equal(e.result, -1);
	assert_non_null(strstr(e.why, "TLS: "));
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s = stream_new(fds[0]);
	assert_int_equal(tls_accept(t, s, clock_now() + 30 * CLOCK_MS, &why),
	    -1);
	assert_string_equal(why, "timeout");
	stream_free(&s);
	/* input before the handshake */
	s = stream_new(fds[1]);
	stream_push_input(s, STR("NOOP\r\n"));
	assert_int_equal(tls_accept(t, s, SOON, &why), -1);
	assert_string_equal(why, "plaintext after STARTTLS");
	stream_free(&s);
	tls_server_free(&t);
	free(p.pem);
}

static void floods_of_key_updates_and_renegotiation_end_it(void **state)
{
	struct pair p = make_pair(false, "mail.test");
	struct tls_server *t = make_server("smtp", NULL, NULL);
	char line[16];

	(void)state;
	add_pair(t, &p);
	for (int flood = 0; flood < 2; flood++) {
		struct raw r;
		struct echo e;
		int fd = echo_start(&e, t), n;

		assert_int_equal(raw_connect(&r, fd, TLS1_3_VERSION, NULL, 0,
		    NULL, NULL), 1);
		/* A few are a client's right. */
		for (n = 0; n < (flood ? 1000 : 10); n++) {
			if (SSL_key_update(r.ssl,
			    SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
			    SSL_do_handshake(r.ssl) != 1)
				break;
		}
		n = SSL_write(r.ssl, "x\n", 2) == 2 ?
		    SSL_read(r.ssl, line, 3) : -1;
		assert_int_equal(n == 3, !flood);
		raw_close(&r, fd);
		pthread_join(e.thread, NULL);
	}
	{
		struct raw r;
		struct echo e;
		int fd = echo_start(&e, t);

		assert_int_equal(raw_connect(&r, fd, TLS1_2_VERSION, NULL, 0,
		    NULL, NULL), 1);
		assert_int_equal(SSL_renegotiate(r.ssl), 1);
		/* Refused by a warning; our client gives up at it. */
		SSL_set_info_callback(r.ssl, note_alert);
		last_alert = 0;
		assert_int_not_equal(SSL_do_handshake(r.ssl), 1);
		assert_int_equal(last_alert, SSL_AD_NO_RENEGOTIATION);
		raw_close(&r, fd);
		pthread_join(e.thread, NULL);
	}
	tls_server_free(&t);
	free(p.pem);
}

static void a_connection_can_move_into_an_event_loop(void **state)
{
	struct pair p = make_pair(true, "mail.test");
	struct tls_server *t = make_server("imap", NULL, NULL);
	struct tls_client_options o = { .min_version = 0 };
	const char *why;
	struct tls_client *client = tls_client_new(&o, &why);
	struct echo e;
	struct stream *s;
	char out[100000], in[4096];
	size_t sent = 0, got = 0;
	int want;

	(void)state;
	memset(out, 'y', sizeof(out));
	for (size_t i = 999; i < sizeof(out); i += 1000)
		out[i] = '\n';
	add_pair(t, &p);
	s = stream_new(echo_start(&e, t));
	assert_int_equal(tls_connect(client, s, "x", false, SOON, &why), 0);
	tls_set_nonblocking(s);
	assert_int_equal(tls_try_read(s, in, sizeof(in), &want), -1);
	assert_int_equal(want, TLS_WANT_READ);
	while (got < sizeof(out) + sizeof(out) / 1000) {
		struct pollfd f = { stream_fd(s), POLLIN, 0 };
		ssize_t n = 0;

		if (sent < sizeof(out))
			n = tls_try_write(s, out + sent, sizeof(out) - sent,
			    &want);
		if (n > 0)
			sent += (size_t)n;
		n = tls_try_read(s, in, sizeof(in), &want);
		if (n > 0) {
			got += (size_t)n;
		} else {
			assert_int_equal(want, TLS_WANT_READ);
			if (sent < sizeof(out))
				f.events |= POLLOUT;
			assert_int_equal(poll(&f, 1, 5000), 1);
		}
	}
	tls_try_shutdown(s);
	stream_free(&s);
	pthread_join(e.thread, NULL);
	tls_client_free(&client);
	tls_server_free(&t);
	free(p.pem);
}

static void bad_chains_are_refused_with_a_reason(void **state)
{
	static const char *const cases[] = { "", "nothing",
		("-----BEGIN CERTIFICATE-----\nAAAA\n"
		"-----END CERTIFICATE-----\n"),
	};
	struct tls_server *t = make_server("smtp", NULL, NULL);
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why = NULL;
		assert_int_equal(tls_server_add_chain(t, str_of(cases[i]),
		    ask_signer, &signer, &why), -1);
		assert_non_null(why);
	}
	tls_server_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_pass_through_a_key_that_is_elsewhere),
		cmocka_unit_test(versions_and_protocols_meet_the_rules),
		cmocka_unit_test(tickets_are_good_at_their_own_service_only),
		cmocka_unit_test(the_name_chooses_among_loaded_chains),
		cmocka_unit_test(a_wrong_name_or_unknown_issuer_is_refused),
		cmocka_unit_test(handshakes_fail_when_nobody_signs_or_speaks),
		cmocka_unit_test(
		    floods_of_key_updates_and_renegotiation_end_it),
		cmocka_unit_test(a_connection_can_move_into_an_event_loop),
		cmocka_unit_test(bad_chains_are_refused_with_a_reason),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, start_signer, stop_signer);
}
