#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "base/clock.h"
#include "net/addr.h"

static void addresses_have_one_text_form(void **state)
{
	static const struct { const char *in, *want, *literal; } cases[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1" },
		{ "[192.0.2.1]", "192.0.2.1", "192.0.2.1" },
		{ "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1" },
		{ "2001:DB8:0:0::1", "2001:db8::1", "IPv6:2001:db8::1" },
		{ "[::1]", "::1", "IPv6:::1" },
		{ "192.0.2", NULL, NULL }, { "", NULL, NULL },
		{ "192.0.2.256", NULL, NULL }, { "host", NULL, NULL },
		{ "1::2::3", NULL, NULL }, { "[::1", NULL, NULL },
	};
	char text[NET_ADDR_TEXT];
	struct net_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = net_addr_parse(str_of(cases[i].in), &a);

		assert_int_equal(r, cases[i].want != NULL ? 0 : -1);
		if (r != 0)
			continue;
		assert_string_equal(net_addr_text(&a, text), cases[i].want);
		assert_string_equal(net_addr_text_literal(&a, text),
		    cases[i].literal);
	}
	a = (struct net_addr){ .family = AF_UNSPEC };
	assert_string_equal(net_addr_text(&a, text), "unknown");
}

static void literals_of_mail_need_the_tag_for_ipv6(void **state)
{
	static const struct { const char *in; int want; } cases[] = {
		{ "192.0.2.1", 0 }, { "IPv6:::1", 0 }, { "ipv6:2001::1", 0 },
		{ "::1", -1 }, { "IPv6:192.0.2.1", -1 }, { "IPv6:[::1]", -1 },
		{ "IPv6:fe80::1%lo", -1 }, { "x400:a", -1 }, { "", -1 },
	};
	struct net_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(net_addr_parse_literal(
		    str_of(cases[i].in), &a), cases[i].want);
}

static void a_network_has_one_text_form(void **state)
{
	static const struct { const char *addr; unsigned bits4, bits6;
		const char *want; } rows[] = {
		{ "192.0.2.129", 24, 64, "192.0.2.0/24" },
		{ "192.0.2.129", 25, 64, "192.0.2.128/25" },
		{ "192.0.2.129", 26, 64, "192.0.2.128/26" },
		{ "192.0.2.129", 31, 64, "192.0.2.128/31" },
		{ "192.0.2.129", 32, 64, "192.0.2.129" },
		{ "192.0.2.129", 0, 64, "0.0.0.0/0" },
		{ "::ffff:192.0.2.129", 24, 64, "192.0.2.0/24" },
		{ "2001:db8:1:2:3:4:5:6", 24, 64, "2001:db8:1:2::/64" },
		{ "2001:db8:1:2:3:4:5:6", 24, 84, "2001:db8:1:2:3::/84" },
		{ "2001:db8:1:2:3:4:5:6", 24, 128, "2001:db8:1:2:3:4:5:6" },
		{ "2001:db8:1:2:3:4:5:6", 24, 1, "::/1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net_addr a;
		char out[NET_ADDR_TEXT];

		assert_int_equal(net_addr_parse(str_of(rows[i].addr), &a), 0);
		assert_string_equal(net_addr_text_network(&a, rows[i].bits4,
		    rows[i].bits6, out), rows[i].want);
	}
}

static void lists_match_as_in_mynetworks(void **state)
{
	static const struct { const char *list, *addr; bool want; } cases[] = {
		{ "127.0.0.0/8 [::1]/128", "127.1.2.3", true },
		{ "127.0.0.0/8 [::1]/128", "::1", true },
		{ "127.0.0.0/8 [::1]/128", "128.0.0.1", false },
		{ "127.0.0.0/8, [::1/128]", "::2", false },
		{ "[2001:db8::]/33", "2001:db8:7fff::1", true },
		{ "[2001:db8::]/33", "2001:db8:8000::1", false },
		{ "!10.0.0.1 10.0.0.0/24", "10.0.0.1", false },
		{ "!10.0.0.1 10.0.0.0/24", "10.0.0.2", true },
		{ "10.0.0.0/24 !10.0.0.1", "10.0.0.1", true },
		{ "0.0.0.0/0", "8.8.8.8", true },
		{ "0.0.0.0/0", "::1", false },
		{ "10.1.2.3", "::ffff:10.1.2.3", true },
		{ "[::ffff:10.1.2.0]/120", "10.1.2.3", true },
		{ "", "10.1.2.3", false },
	};
	struct net_cidr_list list;
	struct net_addr a;
	struct str bad;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(net_cidr_list_parse(str_of(cases[i].list),
		    &list, &bad, &why), 0);
		assert_int_equal(net_addr_parse(str_of(cases[i].addr), &a), 0);
		assert_int_equal(net_cidr_list_match(&list, &a),
		    cases[i].want);
		net_cidr_list_free(&list);
	}
}

static void bad_lists_name_the_element(void **state)
{
	static const struct { const char *list, *bad; } cases[] = {
		{ "127.0.0.0/8 hash:/x", "hash:/x" },
		{ "127.0.0.1/8", "127.0.0.1/8" },
		{ "127.0.0.0/33", "127.0.0.0/33" },
		{ "[::1]/129", "[::1]/129" }, { "10/8", "10/8" },
		{ "10.0.0.0/", "10.0.0.0/" }, { "10.0.0.0/-1", "10.0.0.0/-1" },
	};
	struct net_cidr_list list;
	struct str bad;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(net_cidr_list_parse(str_of(cases[i].list),
		    &list, &bad, &why), -1);
		assert_true(str_eq_c(bad, cases[i].bad));
		assert_non_null(why);
	}
}

static void listeners_are_written_as_in_master_cf(void **state)
{
	static const struct { const char *in, *host; int port; } cases[] = {
		{ "25", "", 25 }, { "127.0.0.1:2525", "127.0.0.1", 2525 },
		{ "[::1]:143", "::1", 143 }, { "*:110", "", 110 },
		{ "inet:host:993", "host", 993 }, { "inet:993", "", 993 },
		{ ":25", "", 25 }, { "::1:25", NULL, 0 }, { "0", NULL, 0 },
		{ "65536", NULL, 0 }, { "[::1]", NULL, 0 },
		{ "no-such-service", NULL, 0 }, { "", NULL, 0 },
	};
	struct str host;
	uint16_t port;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = net_listen_parse(str_of(cases[i].in), &host, &port,
		    &why);

		assert_int_equal(r, cases[i].host != NULL ? 0 : -1);
		if (r == 0) {
			assert_true(str_eq_c(host, cases[i].host));
			assert_int_equal(port, cases[i].port);
		}
	}
}

static void connecting_ends_by_an_answer_or_the_deadline(void **state)
{
	struct net_addr any = { .family = AF_INET, .ip = { 127, 0, 0, 1 } };
	struct sockaddr_storage ss;
	struct net_addr at, peer;
	socklen_t n = net_addr_to_sockaddr(&any, &ss);
	int fds[64], count = 0, lfd = socket(AF_INET, SOCK_STREAM, 0);
	int64_t start;

	(void)state;
	assert_int_equal(bind(lfd, (struct sockaddr *)&ss, n), 0);
	net_addr_of_self(lfd, &at);
	assert_int_equal(net_connect(&at, NULL, clock_now() + CLOCK_SECOND),
	    -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(listen(lfd, 0), 0);
	fds[count] = net_connect(&at, &any, clock_now() + CLOCK_SECOND);
	assert_true(fds[count] >= 0);
	net_addr_of_peer(fds[count++], &peer);
	assert_true(net_addr_same(&peer, &any));
	assert_int_equal(peer.port, at.port);
	assert_true(net_addr_is_loopback(&peer));
	/* The backlog is full soon; then nobody answers. */
	for (; count < 64; count++) {
		start = clock_now();
		fds[count] = net_connect(&at, NULL, start + 100 * CLOCK_MS);
		if (fds[count] < 0)
			break;
	}
	assert_true(count < 64);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(clock_now() - start < 2 * CLOCK_SECOND);
	while (count > 0)
		close(fds[--count]);
	close(lfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_have_one_text_form),
		cmocka_unit_test(a_network_has_one_text_form),
		cmocka_unit_test(literals_of_mail_need_the_tag_for_ipv6),
		cmocka_unit_test(lists_match_as_in_mynetworks),
		cmocka_unit_test(bad_lists_name_the_element),
		cmocka_unit_test(listeners_are_written_as_in_master_cf),
		cmocka_unit_test(connecting_ends_by_an_answer_or_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
