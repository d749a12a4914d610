#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "dns/resolver.h"

/* A real nsd on loopback serves these zones; signed.test is signed and one
 * of its records is altered afterwards. */
static const char plain_zone[] =
    "$ORIGIN plain.test.\n$TTL 300\n"
    "@ IN SOA ns.plain.test. h.plain.test. 1 3600 600 86400 77\n"
    "@ IN NS ns.plain.test.\n"
    "ns IN A 127.0.0.1\n"
    "@ IN MX 20 b.plain.test.\n@ IN MX 10 a.plain.test.\n"
    "a IN A 127.0.0.2\na IN AAAA ::2\n"
    "t IN TXT \"v=spf1 \" \"-all\"\n"
    "c IN CNAME a\n"
    "_25._tcp.a IN TLSA 3 1 1 "
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
    "null IN MX 0 .\n"
    "* IN MX 5 wild.plain.test.\n";
static const char signed_zone[] =
    "$ORIGIN signed.test.\n$TTL 300\n"
    "@ IN SOA ns.signed.test. h.signed.test. 1 3600 600 86400 300\n"
    "@ IN NS ns.signed.test.\n"
    "ns IN A 127.0.0.1\n"
    "@ IN MX 10 mx.signed.test.\n"
    "mx IN A 127.0.0.3\n"
    "bad IN A 127.0.0.99\n";
static const char reverse_zone[] =
    "$ORIGIN 10.in-addr.arpa.\n$TTL 300\n"
    "@ IN SOA ns.plain.test. h.plain.test. 1 3600 600 86400 300\n"
    "@ IN NS ns.plain.test.\n"
    "4.3.2 IN PTR host.plain.test.\n";

static char dir[] = "/tmp/postern-resolver.XXXXXX";
static char anchor[1024];
static int port;
static pid_t nsd;

static void write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static int bind_udp(int *port_r)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		return -1;
	*port_r = ntohs(sin.sin_port);
	return fd;
}

/* Runs a program in dir, its output into dir/NAME. */
static void run(const char *output, char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd;

		if (chdir(dir) < 0 || (fd = open(output, O_WRONLY | O_CREAT |
			O_TRUNC, 0600)) < 0 || dup2(fd, 1) < 0)
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s: status %d", argv[0], status);
}

static void read_file(const char *name, char *text, size_t size)
{
	char path[512];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
}

/* Signs signed.test into `signed`, and alters one of its records. */
static void sign_zone(void)
{
	static char zone[65536];
	char key[128], ds[140], *at;

	run("key", (char *[]){ "ldns-keygen", "-a", "ECDSAP256SHA256", "-k",
		"signed.test", NULL });
	read_file("key", key, sizeof(key));
	key[strcspn(key, "\n")] = '\0';
	run("log", (char *[]){ "ldns-signzone", "-f", "out", "signed.test",
		key, NULL });
	snprintf(ds, sizeof(ds), "%s.ds", key);
	read_file(ds, anchor, sizeof(anchor));
	read_file("out", zone, sizeof(zone));
	at = strstr(zone, "127.0.0.99");
	assert_non_null(at);
	memcpy(at, "127.0.0.66", 10);
	write_file("signed", zone);
}

static bool nsd_answers(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0;

	close(fd);
	return ok;
}

static int set_up(void **state)
{
	char conf[2048], path[256];
	int fd;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(dir) == NULL || (fd = bind_udp(&port)) < 0)
		return -1;
	close(fd);
	write_file("plain.test", plain_zone);
	write_file("signed.test", signed_zone);
	write_file("10.in-addr.arpa", reverse_zone);
	sign_zone();
	snprintf(conf, sizeof(conf), "server:\n ip-address: 127.0.0.1@%d\n"
	    " username: \"\"\n chroot: \"\"\n zonesdir: %s\n pidfile: \"\"\n"
	    " zonelistfile: %s/zl\n xfrdfile: \"\"\n xfrdir: %s\n"
	    " database: \"\"\n server-count: 1\n rrl-ratelimit: 0\n"
	    " logfile: %s/nsd.log\n"
	    "remote-control:\n control-enable: no\n"
	    "zone:\n name: plain.test\n zonefile: plain.test\n"
	    "zone:\n name: signed.test\n zonefile: signed\n"
	    "zone:\n name: 10.in-addr.arpa\n zonefile: 10.in-addr.arpa\n",
	    port, dir, dir, dir, dir);
	write_file("nsd.conf", conf);
	snprintf(path, sizeof(path), "%s/nsd.conf", dir);
	if ((nsd = fork()) == 0) {
		execl("/usr/sbin/nsd", "nsd", "-d", "-c", path, (char *)NULL);
		_exit(127);
	}
	for (int64_t end = clock_now() + 20 * CLOCK_SECOND;
	    !nsd_answers();) {
		if (clock_now() > end)
			return -1;
		usleep(20000);
	}
	return 0;
}

static int tear_down(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	if (nsd > 0) {
		kill(nsd, SIGTERM);
		waitpid(nsd, NULL, 0);
	}
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	return rmdir(dir);
}

/* --- one question --- */

struct asked {
	struct loop *loop;
	struct lookup *slot;
	int *left;
	struct dns_reply reply;
	char first[300], why[500];
	size_t first_n;
};

static struct loop *loop;
static struct resolver *resolver;
static char last_log[LOG_LINE_MAX + 1];

static void keep_log(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)ctx;
	str_to_c(line, last_log, sizeof(last_log));
}

static void done(void *ctx, const struct dns_reply *reply)
{
	struct asked *a = ctx;

	a->reply = *reply;
	if (reply->data.n > 0) {
		a->first_n = reply->data.v[0].n;
		memcpy(a->first, reply->data.v[0].p, a->first_n);
	}
	snprintf(a->why, sizeof(a->why), STR_FMT, STR_ARG(reply->why));
	assert_null(a->slot);
	if (--*a->left == 0)
		loop_stop(a->loop);
}

static void ask_for(struct asked *a, const char *name, enum dns_type type,
    int64_t wait)
{
	int left = 1;

	memset(a, 0, sizeof(*a));
	a->loop = loop;
	a->left = &left;
	resolver_ask(resolver, &a->slot, str_of(name), type,
	    clock_now() + wait, done, a);
	if (left > 0)
		loop_run(loop);
	assert_int_equal(left, 0);
}

static void start_resolver(const char *anchors, int server_port,
    int64_t timeout, size_t limit)
{
	struct servers servers = { .n = 0 };
	struct resolver_options o = { .servers = &servers,
		.anchors = str_of(anchors), .timeout = timeout,
		.limit = limit };
	const char *why = "";
	char text[64];
	struct str bad;

	snprintf(text, sizeof(text), "127.0.0.1@%d", server_port);
	if (server_port > 0)
		assert_int_equal(servers_parse(str_of(text), &servers, &bad),
		    0);
	loop = loop_new();
	assert_non_null(loop);
	resolver = resolver_new(loop, &o, &why);
	if (resolver == NULL)
		fail_msg("%s", why);
}

static void stop_resolver(void)
{
	resolver_free(&resolver);
	loop_free(&loop);
}

static void every_type_is_answered(void **state)
{
	static const struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		size_t n;
		const char *first;
		size_t first_n;
		uint64_t ttl;
	} rows[] = {
		{ "plain.test", DNS_MX, DNS_OK, 2, "a.plain.test", 12, 300 },
		{ "PLAIN.test", DNS_MX, DNS_OK, 2, "a.plain.test", 12, 300 },
		{ "a.plain.test", DNS_A, DNS_OK, 1, "\177\0\0\2", 4, 300 },
		{ "a.plain.test", DNS_AAAA, DNS_OK, 1,
		    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2", 16, 300 },
		{ "c.plain.test", DNS_A, DNS_OK, 1, "\177\0\0\2", 4, 300 },
		{ "t.plain.test", DNS_TXT, DNS_OK, 1, "v=spf1 -all", 11,
		    300 },
		{ "null.plain.test", DNS_MX, DNS_OK, 1, "", 0, 300 },
		{ "zzz.plain.test", DNS_MX, DNS_OK, 1, "wild.plain.test", 15,
		    300 },
		{ "a.plain.test", DNS_MX, DNS_NODATA, 0, "", 0, 77 },
		{ "none.signed.test", DNS_MX, DNS_NXDOMAIN, 0, "", 0, 300 },
		{ "4.3.2.10.in-addr.arpa", DNS_PTR, DNS_OK, 1,
		    "host.plain.test", 15, 300 },
		{ "1.0.0.127.in-addr.arpa", DNS_PTR, DNS_OK, 1, "localhost",
		    9, 10800 },
		/* nsd refuses what it does not serve: no "nodata" */
		{ "other.test", DNS_MX, DNS_TEMPFAIL, 0, "", 0, 0 },
		{ "2.0.0.127.in-addr.arpa", DNS_PTR, DNS_TEMPFAIL, 0, "", 0,
		    0 },
		{ "not a name", DNS_MX, DNS_NXDOMAIN, 0, "", 0, 0 },
	};

	(void)state;
	start_resolver("", port, 10 * CLOCK_SECOND, 100);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct asked a;

		ask_for(&a, rows[i].name, rows[i].type, 10 * CLOCK_SECOND);
		if (a.reply.status != rows[i].status ||
		    a.reply.data.n != rows[i].n || a.reply.secure ||
		    a.reply.ttl != rows[i].ttl ||
		    a.first_n != rows[i].first_n ||
		    memcmp(a.first, rows[i].first, a.first_n) != 0)
			fail_msg("%s %s: status %d n %zu ttl %d why %s",
			    rows[i].name, dns_type_name(rows[i].type),
			    (int)a.reply.status, a.reply.data.n,
			    (int)a.reply.ttl, a.why);
	}
	stop_resolver();
}

static void signed_answers_are_secure_and_altered_ones_bogus(void **state)
{
	static const struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		bool secure;
	} rows[] = {
		{ "signed.test", DNS_MX, DNS_OK, true },
		{ "mx.signed.test", DNS_A, DNS_OK, true },
		{ "mx.signed.test", DNS_AAAA, DNS_NODATA, true },
		{ "none.signed.test", DNS_A, DNS_NXDOMAIN, true },
		{ "bad.signed.test", DNS_A, DNS_BOGUS, false },
		{ "a.plain.test", DNS_A, DNS_OK, false },
	};

	(void)state;
	start_resolver(anchor, port, 10 * CLOCK_SECOND, 100);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct asked a;

		ask_for(&a, rows[i].name, rows[i].type, 10 * CLOCK_SECOND);
		if (a.reply.status != rows[i].status ||
		    a.reply.secure != rows[i].secure ||
		    (a.reply.status == DNS_BOGUS && a.reply.data.n > 0))
			fail_msg("%s: status %d secure %d why %s",
			    rows[i].name, (int)a.reply.status,
			    a.reply.secure, a.why);
	}
	assert_true(resolver_validates(resolver));
	stop_resolver();
}

static void validation_is_off_where_servers_strip_dnssec(void **state)
{
	struct asked a;

	(void)state;
	/* plain.test has no DNSKEY: what a stripping forwarder looks like */
	start_resolver("plain.test. IN DS 1 13 2 "
	    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	    port, 10 * CLOCK_SECOND, 100);
	log_set_sink(keep_log, NULL);
	ask_for(&a, "a.plain.test", DNS_A, 10 * CLOCK_SECOND);
	log_set_sink(NULL, NULL);
	assert_int_equal(a.reply.status, DNS_OK);
	assert_false(a.reply.secure);
	assert_false(resolver_validates(resolver));
	assert_non_null(strstr(last_log, "DNSSEC validation is off"));
	stop_resolver();
}

static void a_silent_server_costs_no_more_than_the_deadline(void **state)
{
	struct asked a;
	int silent_port, silent = bind_udp(&silent_port);
	int64_t begin = clock_now();

	(void)state;
	start_resolver("", silent_port, 10 * CLOCK_SECOND, 100);
	ask_for(&a, "a.plain.test", DNS_A, 300 * CLOCK_MS);
	assert_int_equal(a.reply.status, DNS_TEMPFAIL);
	assert_true(clock_now() - begin < 2 * CLOCK_SECOND);
	assert_true(clock_now() - begin >= 300 * CLOCK_MS);
	stop_resolver();

	/* the resolver's own limit counts as well */
	begin = clock_now();
	start_resolver("", silent_port, 200 * CLOCK_MS, 100);
	ask_for(&a, "a.plain.test", DNS_A, 10 * CLOCK_SECOND);
	assert_int_equal(a.reply.status, DNS_TEMPFAIL);
	assert_true(clock_now() - begin < 2 * CLOCK_SECOND);
	stop_resolver();
	close(silent);
}

/* DNS-017: says "truncated" for ever, and has no TCP. */
static void *answer_truncated(void *arg)
{
	int fd = *(int *)arg;
	unsigned char packet[512];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(fd, packet, sizeof(packet), 0,
		(struct sockaddr *)&from, &len)) > 12) {
		packet[2] |= 0x82; /* QR, TC */
		if (sendto(fd, packet, (size_t)n, 0,
			(struct sockaddr *)&from, len) < 0)
			break;
	}
	return NULL;
}

static void endless_truncation_is_a_temporary_failure(void **state)
{
	int udp_port, fd = bind_udp(&udp_port);
	int64_t begin = clock_now();
	pthread_t thread;
	struct asked a;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, answer_truncated,
	    &fd), 0);
	start_resolver("", udp_port, 2 * CLOCK_SECOND, 100);
	ask_for(&a, "a.plain.test", DNS_A, 10 * CLOCK_SECOND);
	assert_int_equal(a.reply.status, DNS_TEMPFAIL);
	assert_true(clock_now() - begin < 4 * CLOCK_SECOND);
	stop_resolver();
	shutdown(fd, SHUT_RD);
	pthread_join(thread, NULL);
	close(fd);
}

static void without_a_server_nobody_is_asked(void **state)
{
	struct asked a;
	int64_t begin = clock_now();

	(void)state;
	start_resolver("", 0, 10 * CLOCK_SECOND, 100);
	ask_for(&a, "a.plain.test", DNS_A, 10 * CLOCK_SECOND);
	assert_int_equal(a.reply.status, DNS_TEMPFAIL);
	assert_non_null(strstr(a.why, "no DNS server"));
	assert_true(clock_now() - begin < CLOCK_SECOND);
	stop_resolver();
}

static void questions_are_limited_and_can_be_cancelled(void **state)
{
	int silent_port, silent = bind_udp(&silent_port), left = 3;
	struct asked a = { .left = &left }, b = { .left = &left }, c;

	(void)state;
	start_resolver("", silent_port, 10 * CLOCK_SECOND, 2);
	a.loop = b.loop = loop;
	resolver_ask(resolver, &a.slot, STR("a.test"), DNS_A, CLOCK_NEVER,
	    done, &a);
	resolver_ask(resolver, &b.slot, STR("b.test"), DNS_A, CLOCK_NEVER,
	    done, &b);
	ask_for(&c, "c.test", DNS_A, CLOCK_SECOND);
	assert_int_equal(c.reply.status, DNS_TEMPFAIL);
	assert_non_null(strstr(c.why, "too many"));
	resolver_cancel(&a.slot);
	assert_null(a.slot);
	ask_for(&c, "c.test", DNS_A, 100 * CLOCK_MS);
	assert_non_null(strstr(c.why, "in time"));
	assert_int_equal(left, 3);
	assert_non_null(b.slot);
	stop_resolver();
	assert_null(b.slot);
	close(silent);
}

static void hundreds_in_flight_are_all_answered(void **state)
{
	enum { MANY = 400 };
	static struct asked many[MANY];
	int left = MANY;

	(void)state;
	start_resolver("", port, 20 * CLOCK_SECOND, 1000);
	for (int i = 0; i < MANY; i++) {
		char name[64];

		many[i] = (struct asked){ .loop = loop, .left = &left };
		snprintf(name, sizeof(name), "x%d.plain.test", i % 300);
		resolver_ask(resolver, &many[i].slot, str_of(name), DNS_MX,
		    CLOCK_NEVER, done, &many[i]);
	}
	if (left > 0)
		loop_run(loop);
	for (int i = 0; i < MANY; i++)
		if (many[i].reply.status != DNS_OK)
			fail_msg("%d: %s", i, many[i].why);
	stop_resolver();
}

static void server_lists_are_read(void **state)
{
	static const struct { const char *text; size_t n; const char *last; }
	rows[] = {
		{ "127.0.0.1", 1, "127.0.0.1@53" },
		{ "127.0.0.1@5353, ::1@54", 2, "::1@54" },
		{ "fe80::1%eth0", 1, "fe80::1%eth0@53" },
		{ "", 0, NULL },
		{ "localhost", SIZE_MAX, NULL },
		{ "127.0.0.1@0", SIZE_MAX, NULL },
		{ "127.0.0.1@70000", SIZE_MAX, NULL },
		{ "127.0.0.1@", SIZE_MAX, NULL },
	};
	struct servers s = { .n = 0 };
	struct str bad;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s.n = 0;
		if (servers_parse(str_of(rows[i].text), &s, &bad) < 0)
			assert_int_equal(rows[i].n, SIZE_MAX);
		else
			assert_int_equal(rows[i].n, s.n);
		if (rows[i].last != NULL)
			assert_string_equal(s.text[s.n - 1], rows[i].last);
	}
	s.n = 0;
	servers_parse_resolv_conf(STR("# x\nsearch a b\nnameserver 192.0.2.1\n"
	    "nameserver\tfe80::1\noptions edns0\nnameserver nonsense\n"
	    "nameserverx 1.2.3.4\n nameserver ::1 # own\n"), &s);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.text[0], "192.0.2.1@53");
	assert_string_equal(s.text[1], "fe80::1@53");
	assert_string_equal(s.text[2], "::1@53");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_lists_are_read),
		cmocka_unit_test(every_type_is_answered),
		cmocka_unit_test(
		    signed_answers_are_secure_and_altered_ones_bogus),
		cmocka_unit_test(validation_is_off_where_servers_strip_dnssec),
		cmocka_unit_test(
		    a_silent_server_costs_no_more_than_the_deadline),
		cmocka_unit_test(endless_truncation_is_a_temporary_failure),
		cmocka_unit_test(without_a_server_nobody_is_asked),
		cmocka_unit_test(questions_are_limited_and_can_be_cancelled),
		cmocka_unit_test(hundreds_in_flight_are_all_answered),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
