#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "service/overload.h"

#define SECOND 1000000
#define MANY 1000

static struct overload_session all[MANY];
static size_t picked[MANY];

static struct overload_net net_of(const char *text)
{
	struct sockaddr_storage sa = { 0 };
	struct sockaddr_in *v4 = (void *)&sa;
	struct sockaddr_in6 *v6 = (void *)&sa;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		v6->sin6_family = AF_INET6;
	return overload_net_of(&sa);
}

static void a_network_is_what_one_client_can_have(void **state)
{
	static const struct { const char *a, *b; bool same; } rows[] = {
		{ "192.0.2.1", "192.0.2.254", true },
		{ "192.0.2.1", "192.0.3.1", false },
		{ "192.0.2.1", "::ffff:192.0.2.9", true },
		{ "2001:db8::1", "2001:db8::ffff:1", true },
		{ "2001:db8::1", "2001:db8:0:1::1", false },
		{ "0.0.0.1", "::1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct overload_net a = net_of(rows[i].a), b =
		    net_of(rows[i].b);

		assert_int_equal(memcmp(&a, &b, sizeof(a)) == 0,
		    rows[i].same);
	}
}

/* n sessions of one network from the index on. */
static void put(size_t from, size_t n, const char *addr, int64_t age,
    uint64_t octets)
{
	for (size_t i = from; i < from + n; i++)
		all[i] = (struct overload_session){ net_of(addr), age, octets };
}

static size_t choose(size_t n, const char *newcomer, size_t most)
{
	struct overload_net net = net_of(newcomer);

	return overload_choose(all, n, &net, picked, most);
}

static void who_has_a_great_share_makes_room_for_others(void **state)
{
	(void)state;
	put(0, 90, "192.0.2.1", SECOND, 1000);
	put(90, 10, "198.51.100.1", 100 * SECOND, 0);
	all[42].octets = 10;
	all[17].octets = 20;
	assert_int_equal(choose(100, "203.0.113.1", 2), 2);
	assert_int_equal(picked[0], 42);
	assert_int_equal(picked[1], 17);
	/* a few at a time, all of that network */
	assert_int_equal(choose(100, "203.0.113.1", 100), 12);
	for (int i = 0; i < 12; i++)
		assert_true(picked[i] < 90);
	/* one more of them makes nobody go */
	assert_int_equal(choose(100, "192.0.2.200", 10), 0);
}

static void without_one_the_idle_make_room(void **state)
{
	char addr[32];

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		snprintf(addr, sizeof(addr), "10.0.%zu.1", i);
		put(i, 1, addr, 60 * SECOND, 1000000);
	}
	assert_int_equal(choose(100, "203.0.113.1", 10), 0);
	/* hardly anything in a minute; nothing, but for three seconds only */
	all[7].octets = 600;
	all[8].octets = 500;
	all[9].octets = 0;
	all[9].age = 3 * SECOND;
	assert_int_equal(choose(100, "203.0.113.1", 10), 2);
	assert_int_equal(picked[0] + picked[1], 15);
}

static void a_handful_is_no_crowd(void **state)
{
	(void)state;
	assert_false(overload_is_great(4, 4));
	assert_true(overload_is_great(9, 9));
	assert_true(overload_is_great(26, 200));
	assert_false(overload_is_great(25, 200));
	put(0, 4, "192.0.2.1", SECOND, 0);
	assert_int_equal(choose(4, "203.0.113.1", 10), 0);
	assert_int_equal(choose(0, "203.0.113.1", 10), 0);
}

static void two_crowds_share(void **state)
{
	(void)state;
	put(0, 50, "192.0.2.1", SECOND, 0);
	put(50, 45, "198.51.100.1", SECOND, 0);
	/* neither takes from the other */
	assert_int_equal(choose(95, "198.51.100.2", 10), 0);
	assert_true(choose(95, "203.0.113.1", 3) == 3);
	assert_true(picked[0] < 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_network_is_what_one_client_can_have),
		cmocka_unit_test(who_has_a_great_share_makes_room_for_others),
		cmocka_unit_test(without_one_the_idle_make_room),
		cmocka_unit_test(a_handful_is_no_crowd),
		cmocka_unit_test(two_crowds_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
