/*
 * dns - asks the configured DNS servers, validates, answers the others
 *
 * Hears from:  smtpd, smtp                   (msgs/dns.h)
 * Talks to:    DNS servers, by UDP and TCP
 * Runs as:     postern-dns, in an empty root; alone may parse DNS
 * Owns:        a cache
 * Start at:    resolver.c; answer.c parses what came
 * RFCs:        1034, 1035, 2181, 2308, 4033-4035, 6698, 7505
 */
#include <fcntl.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "dns/client.h"
#include "service/service.h"

#define FILE_MAX 65536
#define QUESTIONS_MAX 2000

static struct servers servers;
static struct buf anchors;
static struct resolver *resolver;
static struct clients *clients;

/* Appends a small file; one that is missing is empty. */
static void read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *p = buf_reserve(out, FILE_MAX);
	ssize_t n;

	if (fd >= 0 && p != NULL && (n = sys_pread_full(fd, p, FILE_MAX,
		0)) > 0)
		buf_added(out, (size_t)n);
	if (fd >= 0)
		close(fd);
}

/* Before the walls: afterwards there are no files. */
static int start(void)
{
	const struct params *params = service_params();
	struct buf text;
	struct str bad;

	buf_init(&anchors, FILE_MAX + 1);
	buf_init(&text, FILE_MAX + 1);
	if (servers_parse(str_of(params->dns_servers), &servers, &bad) < 0) {
		log_warn("dns_servers: \"" STR_FMT "\" is not an address or "
		    "address@port", STR_ARG(bad));
		return -1;
	}
	if (servers.n == 0) {
		read_file("/etc/resolv.conf", &text);
		servers_parse_resolv_conf(buf_str(&text), &servers);
	}
	buf_fini(&text);
	if (params->dns_trust_anchor_file[0] != '\0')
		read_file(params->dns_trust_anchor_file, &anchors);
	if (servers.n == 0)
		log_warn("no DNS server: neither dns_servers nor "
		    "/etc/resolv.conf names one; every lookup fails "
		    "for the time being");
	return 0;
}

static int ready(struct loop *loop)
{
	struct resolver_options options = {
		.servers = &servers,
		.anchors = buf_str(&anchors),
		.timeout = service_params()->dns_timeout * CLOCK_SECOND,
		.limit = QUESTIONS_MAX,
	};
	const char *why;

	resolver = resolver_new(loop, &options, &why);
	if (resolver == NULL) {
		log_warn("libunbound: %s", why);
		return -1;
	}
	clients = clients_new(loop, resolver);
	return clients == NULL ? -1 : 0;
}

static void conv_arrived(struct conv *conv, const char *client)
{
	clients_add(clients, conv, client);
}

static bool drain(bool stopping)
{
	if (stopping || clients_count(clients) == 0)
		return true;
	clients_drain(clients, service_done);
	return false;
}

int main(int argc, char **argv)
{
	static const struct service dns = {
		.name = "dns",
		.start = start,
		.ready = ready,
		.conv_arrived = conv_arrived,
		.drain = drain,
	};

	return service_main(argc, argv, &dns);
}
