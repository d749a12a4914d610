/*
 * smtpd - receives mail: SMTP, submission, LMTP, and `sendmail -bs`
 *
 * Hears:    clients on its listeners; pickup (sendmail -bs)
 * Asks:     lookup (recipients), cleanup (messages), auth (logins), keys
 *           (TLS), dns (names), limits (counts)
 * Runs as:  postern-smtpd, in an empty directory, without files
 * Owns:     nothing but its sessions
 * Start at: command.c (the table), then cmd_rcpt.c and txn.c
 * Obeys:    RFC 5321 6409 2033; 1870 2034 2920 3030 3207 3461 3848 4954 6152
 *           6531
 */
#include <unistd.h>
#include "base/log.h"
#include "msgs/stdio.h"
#include "service/service.h"
#include "smtpd/session.h"

/* The restriction lists and what they name. */
#define CONFIG_MAX (4 * 1024 * 1024)
/* Of which an idle session touches two pages; TLS takes the most. */
#define STACK (128 * 1024)

static struct smtpd smtpd;

static int start(void)
{
	struct arena *arena = arena_new(CONFIG_MAX);
	struct buf why;
	int rc;

	if (arena == NULL)
		return -1;
	buf_init(&why, 1024);
	rc = smtpd_configure(&smtpd, service_params(), service_name(), arena,
	    &why);
	if (rc < 0)
		log_warn("%s", buf_cstr(&why));
	buf_fini(&why);
	return rc;
}

static void session(int fd, const struct service_client *client)
{
	struct net_addr peer = { 0 }, local = { 0 };

	if (client->peer.ss_family == AF_INET ||
	    client->peer.ss_family == AF_INET6) {
		net_addr_from_sockaddr((const struct sockaddr *)&client->peer,
		    &peer);
		net_addr_from_sockaddr(
		    (const struct sockaddr *)&client->local, &local);
	}
	session_serve(&smtpd, fd, &peer, &local);
}

/* sendmail -bs, by way of pickup: one session a conversation. */
static void converse(struct conv *c, const char *client)
{
	static const struct msg_schema *const allowed[] = {
		&stdio_session_schema
	};
	const struct msg_schema *got;
	struct stdio_session m;
	struct stdio_done done;
	const char *why;
	enum conv_got how = service_recv(c, allowed, 1, &got, &m, &why);

	if (how == CONV_BROKEN)
		log_warn("%s: %s", client, why);
	if (how == CONV_MESSAGE && m.input >= 0 && m.output >= 0) {
		done.messages = session_serve_stdio(&smtpd, m.input,
		    m.output, (uint32_t)m.uid);
		conv_send(c, &stdio_done_schema, &done,
		    clock_now() + CLOCK_SECOND, &why);
	} else if (how == CONV_MESSAGE) {
		msg_close_fds(&stdio_session_schema, &m);
	}
	conv_close(&c);
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "smtpd",
		.start = start,
		.session = session,
		.converse = converse,
		.stack = STACK,
	};

	return service_main(argc, argv, &service);
}
