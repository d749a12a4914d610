/*
 * keys - holds the private keys and signs TLS handshakes with them
 *
 * Hears from:  smtpd, login, smtp (msgs/keys.h)
 * Talks to:    nobody
 * Runs as:     postern-keys, in an empty root, without files
 * Owns:        the private keys, read once at start from descriptors
 * Start at:    answer()
 * RFCs:        8446 4.4.3, 8422 5.4
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/log.h"
#include "keys/recognise.h"
#include "keys/sign.h"
#include "msgs/control.h"
#include "msgs/keys.h"
#include "service/service.h"

#define PEM_MAX (1024 * 1024)
#define SEND_TIME (5 * CLOCK_SECOND)

/* Parameters whose files may hold a key, and what is told of one that does
 * not. (Keys of smtpd_tls_chain_files may stand in some of them only; who
 * reads certificates tells of those.) */
static const struct source {
	const char *param;
	bool tells_none, tells_bad;
} sources[] = {
	{ "smtpd_tls_chain_files", false, true },
	{ "smtpd_tls_key_file", true, true },
	{ "smtpd_tls_cert_file", false, false },
};

static void load(const struct source *from, int fd)
{
	const char *why = NULL;
	struct buf pem;
	ssize_t n;

	buf_init(&pem, PEM_MAX);
	/* All the room at once: growing would leave copies behind. */
	if (buf_reserve(&pem, PEM_MAX) == NULL) {
		log_warn("%s: out of memory", from->param);
		return;
	}
	while ((n = pread(fd, pem.p + pem.n, PEM_MAX - pem.n,
	    (off_t)pem.n)) > 0)
		buf_added(&pem, (size_t)n);
	if (n < 0)
		why = strerror(errno);
	else
		n = keys_load(buf_str(&pem), &why);
	if (n < 0 ? from->tells_bad : n == 0 && from->tells_none)
		log_warn("%s: %s; nothing is signed with it", from->param,
		    why);
	OPENSSL_cleanse(pem.p, pem.cap);
	buf_fini(&pem);
}

static void load_all(const struct source *from)
{
	char name[CONTROL_NAME_MAX];
	int fd;

	for (size_t n = 0;; n++) {
		control_nth_name(name, from->param, n);
		if ((fd = service_file(name)) < 0)
			return;
		load(from, fd);
		close(fd);
	}
}

static int start(void)
{
	/* From the first octet of a key on, no core and no other eyes. */
	prctl(PR_SET_DUMPABLE, 0);
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG |
	    OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
	/* Not in swap where that is allowed; else as good as it gets. */
	CRYPTO_secure_malloc_init(1 << 18, 16);
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		load_all(&sources[i]);
	return 0;
}

static void answer(const struct sign_request *q, struct sign_reply *reply,
    struct buf *signature)
{
	const char *why = keys_recognise((unsigned)q->scheme, q->input);

	*reply = (struct sign_reply){ .ok = false };
	if (why == NULL && keys_sign_input(q->key_id, (unsigned)q->scheme,
	    q->input, signature, &why) == 0) {
		reply->ok = true;
		reply->signature = buf_str(signature);
		return;
	}
	reply->text = str_of(why);
}

static void converse(struct conv *c, const char *client)
{
	static const struct msg_schema *const allowed[] = {
		&sign_request_schema };
	const struct msg_schema *got;
	struct sign_request q;
	struct sign_reply reply;
	struct buf signature;
	const char *why;
	enum conv_got how;

	buf_init(&signature, TLS_SIGNATURE_MAX);
	while ((how = service_recv(c, allowed, 1, &got, &q, &why)) ==
	    CONV_MESSAGE) {
		buf_reset(&signature);
		answer(&q, &reply, &signature);
		if (!reply.ok)
			log_warn("refused to sign for %s: " STR_FMT, client,
			    STR_ARG(reply.text));
		if (conv_send(c, &sign_reply_schema, &reply,
		    clock_now() + SEND_TIME, &why) != 0)
			break;
	}
	if (how == CONV_BROKEN)
		log_warn("conversation with %s: %s", client, why);
	buf_fini(&signature);
	conv_close(&c);
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "keys",
		.start = start,
		.converse = converse,
	};

	return service_main(argc, argv, &service);
}
