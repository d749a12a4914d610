/*
 * login - meets IMAP and POP3 clients until it is known who they are, then
 * gives the connection to the user's process; under TLS it stays between
 *
 * Hears from:  clients
 * Talks to:    auth (name and password), keys (handshakes), limits; the
 *              user's process, over the edge that auth gives
 * Runs as:     postern-login, in an empty root, without files
 * Owns:        the connections before login, the TLS of those behind it
 * Start at:    session(), then imap.c and pop3.c; handover.c; relay.c
 * RFCs:        3501 (before login), 1939 (AUTHORIZATION), 2595, 2449, 4616,
 *              4959, 5034, 5530, 7888, 2971
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/base64.h"
#include "base/log.h"
#include "login/client.h"
#include "login/main.h"
#include "login/relay.h"
#include "msgs/control.h"
#include "msgs/keys.h"
#include "msgs/limits.h"
#include "net/tls.h"

static struct {
	struct tls_server *tls;
	struct limits_client *limits;
	struct net_cidr_list plain_networks, exceptions;
	atomic_size_t alive;	/* clients, before login and relayed */
} self;

struct held {
	char addr[NET_ADDR_TEXT];
	char service[8];
};

struct tls_server *login_tls(void)
{
	return self.tls;
}

static uint64_t tell(enum limits_event event, const char *addr,
    const char *service)
{
	struct limits_request q = { .event = event,
		.service = str_of(service), .client_addr = str_of(addr),
		.user = STR("") };
	struct limits_reply reply;

	(void)limits_tell(self.limits, &q, &reply);
	return reply.count;
}

/* One client less; the last one may be what a drain waits for. */
static void leave(void)
{
	if (atomic_fetch_sub(&self.alive, 1) == 1 && service_draining())
		service_done();
}

void *login_held_new(const char *addr, const char *service)
{
	struct held *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	snprintf(h->addr, sizeof(h->addr), "%s", addr);
	snprintf(h->service, sizeof(h->service), "%s", service);
	atomic_fetch_add(&self.alive, 1);
	/* The client's own count ends with its thread. */
	(void)tell(LIMITS_CONNECT, h->addr, h->service);
	return h;
}

void login_held_free(void *ctx)
{
	struct held *h = ctx;

	if (h == NULL)
		return;
	(void)tell(LIMITS_DISCONNECT, h->addr, h->service);
	free(h);
	leave();
}

static void relay_ended(void *ctx, size_t left)
{
	(void)left;
	login_held_free(ctx);
}

static void make_session_id(char out[24])
{
	unsigned char random[12];
	struct buf b;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		memset(random, 0, sizeof(random));
	buf_init(&b, 32);
	base64_encode(str_n(random, sizeof(random)), &b);
	snprintf(out, 24, "%s", buf_cstr(&b));
	buf_fini(&b);
}

/* One line for each end without a login, as log readers of this kind of
 * server know them. */
static void say_end(const struct client *c)
{
	long long seconds = (clock_now() - c->since) / CLOCK_SECOND;
	struct buf b;

	buf_init(&b, 2048);
	client_describe(c, &b);
	if (c->attempts > 0)
		log_info("Disconnected: %s (auth failed, %u attempts in %lld "
		    "secs): %s", c->end, c->attempts, seconds, buf_cstr(&b));
	else
		log_info("Disconnected: %s (no auth attempts in %lld secs): "
		    "%s", c->end, seconds, buf_cstr(&b));
	buf_fini(&b);
}

static void meet(struct client *c, const struct net_addr *peer)
{
	const struct params *p = c->params;
	bool imap = strcmp(c->service, "imap") == 0;
	uint64_t count = tell(LIMITS_CONNECT, c->remote, c->service);

	stream_set_timeout(c->stream, CLOCK_NEVER, p->login_timeout *
	    CLOCK_SECOND);
	stream_set_deadline(c->stream, c->since + p->login_timeout *
	    CLOCK_SECOND);
	if (p->login_tls_wrappermode && client_start_tls(c) != 0)
		return;
	if (p->login_client_connection_limit > 0 &&
	    count > (uint64_t)p->login_client_connection_limit &&
	    !net_cidr_list_match(&self.exceptions, peer)) {
		c->end = "Too many connections from this address";
		(imap ? imap_refuse : pop3_refuse)(c, c->end);
		return;
	}
	(imap ? imap_run : pop3_run)(c);
}

static void session(int fd, const struct service_client *from)
{
	struct net_addr peer, local;
	struct client c = {
		.params = service_params(), .since = clock_now(),
	};

	atomic_fetch_add(&self.alive, 1);
	c.service = c.params->login_protocol;
	net_addr_from_sockaddr((const struct sockaddr *)&from->peer, &peer);
	net_addr_from_sockaddr((const struct sockaddr *)&from->local, &local);
	net_addr_text(&peer, c.remote);
	net_addr_text(&local, c.local);
	make_session_id(c.session_id);
	c.may_plain = c.params->login_plaintext_auth ||
	    net_cidr_list_match(&self.plain_networks, &peer);
	if ((c.stream = stream_new(fd)) == NULL) {
		log_warn("no memory for a client");
		close(fd);
		leave();
		return;
	}
	meet(&c, &peer);
	if (!c.handed_over) {
		say_end(&c);
		if (!c.has_quit)
			stream_linger(c.stream);
	}
	stream_free(&c.stream);
	(void)tell(LIMITS_DISCONNECT, c.remote, c.service);
	leave();
}

static int parse_networks(const char *name, const char *text,
    struct net_cidr_list *list)
{
	const char *why;
	struct str bad;

	if (net_cidr_list_parse(str_of(text), list, &bad, &why) == 0)
		return 0;
	log_warn("%s: " STR_FMT ": %s", name, STR_ARG(bad), why);
	return -1;
}

/* The certificates that master gave for a parameter, each chain a file. Their
 * number, or -1 and why. */
static int add_chains(const char *param, const char **why_r)
{
	char name[CONTROL_NAME_MAX];
	int fd, n = 0, rc;

	for (;; n++) {
		control_nth_name(name, param, (size_t)n);
		if ((fd = service_file(name)) < 0)
			return n;
		rc = tls_server_add_chain_fd(self.tls, fd, keys_sign,
		    service_edge("keys"), why_r);
		close(fd);
		if (rc < 0)
			return -1;
	}
}

/* Without a certificate that is good there is no TLS. */
static void load_certificates(void)
{
	static const char *const params[] = { "smtpd_tls_chain_files",
		"smtpd_tls_cert_file" };
	static const char *const imap[] = { "imap", NULL };
	static const char *const pop3[] = { "pop3", NULL };
	const struct params *p = service_params();
	struct tls_server_options options = {
		.service = p->login_protocol,
		.alpn = strcmp(p->login_protocol, "imap") == 0 ? imap : pop3,
	};
	const char *why;
	int n = 0;

	if ((self.tls = tls_server_new(&options, &why)) == NULL) {
		log_warn("TLS: %s; there is none", why);
		return;
	}
	for (size_t i = 0; i < 2 && n == 0; i++)
		if ((n = add_chains(params[i], &why)) < 0)
			log_warn("%s: %s; there is no TLS", params[i], why);
	if (n <= 0)
		tls_server_free(&self.tls);
}

static int start(void)
{
	const struct params *p = service_params();

	load_certificates();
	if (p->login_tls_wrappermode && self.tls == NULL) {
		log_warn("TLS from the first octet needs "
		    "smtpd_tls_cert_file");
		return -1;
	}
	return parse_networks("plaintext_login_networks",
	    p->plaintext_login_networks, &self.plain_networks) == 0 &&
	    parse_networks("smtpd_client_event_limit_exceptions",
	    p->smtpd_client_event_limit_exceptions, &self.exceptions) == 0 ?
	    0 : -1;
}

static int ready(struct loop *loop)
{
	(void)loop;
	self.limits = limits_client_new(service_edge("limits"));
	return self.limits != NULL ? relay_start(relay_ended) : -1;
}

/* Run dry: connections behind a login stay as long as they like. */
static bool drain(bool stopping)
{
	if (stopping)
		relay_stop();
	return atomic_load(&self.alive) == 0;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "login",
		.start = start,
		.ready = ready,
		.session = session,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
