#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include "base/clock.h"
#include "limits/counts.h"

#define S CLOCK_SECOND
#define T0 (1000 * S)

static const struct counts_options options = { .span_us = 60 * S,
	.delay_us = 2 * S, .delay_max_us = 15 * S, .memory_us = 600 * S,
	.patience = 10 };

/* An address in a network of that name. */
#define FROM(net, addr) (&(struct counts_origin){ STR(addr), STR(net) })

static void connections_are_counted_per_service_and_address(void **state)
{
	static const struct { const char *service, *addr; bool open;
		uint64_t count, rate; } steps[] = {
		{ "imap", "192.0.2.1", true, 1, 1 },
		{ "imap", "192.0.2.1", true, 2, 2 },
		{ "pop3", "192.0.2.1", true, 1, 1 },
		{ "imap", "192.0.2.2", true, 1, 1 },
		{ "imap", "192.0.2.1", false, 0, 0 },
		{ "imap", "192.0.2.1", true, 2, 3 },
		{ "imap", "192.0.2.9", false, 0, 0 },
		{ "imap", "192.0.2.9", true, 1, 1 },
	};
	struct counts *c = counts_new(&options);
	struct holder *h = counts_holder_new();

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t count = 0, rate = 0;

		if (steps[i].open)
			counts_connect(c, h, str_of(steps[i].service),
			    str_of(steps[i].addr), T0, &count, &rate);
		else
			counts_disconnect(c, h, str_of(steps[i].service),
			    str_of(steps[i].addr), T0);
		assert_int_equal(count, steps[i].count);
		assert_int_equal(rate, steps[i].rate);
	}
	counts_holder_free(c, &h, T0);
	counts_free(&c);
}

static void a_process_that_dies_gives_its_connections_back(void **state)
{
	struct counts *c = counts_new(&options);
	struct holder *a = counts_holder_new(), *b = counts_holder_new();
	uint64_t count, rate;

	(void)state;
	for (int i = 0; i < 3; i++)
		counts_connect(c, a, STR("imap"), STR("::1"), T0, &count,
		    &rate);
	counts_connect(c, b, STR("imap"), STR("::1"), T0, &count, &rate);
	assert_int_equal(count, 4);
	counts_holder_free(c, &a, T0);
	counts_connect(c, b, STR("imap"), STR("::1"), T0, &count, &rate);
	assert_int_equal(count, 2);
	assert_int_equal(rate, 5);
	counts_holder_free(c, &b, T0);
	counts_free(&c);
}

static void rates_begin_anew_after_the_span(void **state)
{
	struct counts *c = counts_new(&options);

	(void)state;
	assert_int_equal(counts_add(c, COUNTS_RECIPIENTS, STR("smtp"),
	    STR("a"), 30, T0), 30);
	assert_int_equal(counts_add(c, COUNTS_RECIPIENTS, STR("smtp"),
	    STR("a"), 5, T0 + 59 * S), 35);
	assert_int_equal(counts_add(c, COUNTS_MESSAGES, STR("smtp"),
	    STR("a"), 1, T0 + 59 * S), 1);
	assert_int_equal(counts_add(c, COUNTS_RECIPIENTS, STR("smtp"),
	    STR("a"), 1, T0 + 60 * S), 1);
	counts_free(&c);
}

static void delays_of_failed_logins_double_up_to_their_limit(void **state)
{
	static const int want[] = { 2, 4, 8, 15, 15, 15 };
	struct counts *c = counts_new(&options);

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(counts_login_failed(c, FROM("a", "1"),
		    STR("u"), T0), want[i] * S);
	/* another network, the same user; another user and another address
	 * of the network */
	assert_int_equal(counts_login_failed(c, FROM("b", "1"), STR("U"), T0),
	    15 * S);
	assert_int_equal(counts_login_failed(c, FROM("a", "2"), STR("v"), T0),
	    15 * S);
	assert_int_equal(counts_login_failed(c, FROM("c", "3"), STR("w"), T0),
	    2 * S);
	counts_free(&c);
}

static void a_guesser_makes_his_own_network_wait_and_nobody_else(void **state)
{
	struct counts *c = counts_new(&options);
	int64_t delay;

	(void)state;
	counts_login_good(c, FROM("a", "2"), STR("known"), T0);
	for (int i = 0; i < 9; i++)
		counts_login_failed(c, FROM("a", "1"), STR("known"), T0);
	counts_login_ask(c, FROM("a", "1"), STR("x"), T0, &delay);
	assert_int_equal(delay, 0);
	counts_login_failed(c, FROM("a", "1"), STR("known"), T0);
	/* his network; the longer the more he tries, and no longer than that */
	counts_login_ask(c, FROM("a", "1"), STR("known"), T0, &delay);
	assert_int_equal(delay, 2 * S);
	counts_login_ask(c, FROM("a", "3"), STR("known"), T0, &delay);
	assert_int_equal(delay, 2 * S);
	for (int i = 0; i < 10; i++)
		counts_login_failed(c, FROM("a", "1"), STR("y"), T0);
	counts_login_ask(c, FROM("a", "1"), STR("known"), T0, &delay);
	assert_int_equal(delay, 4 * S);
	for (int i = 0; i < 1000; i++)
		counts_login_failed(c, FROM("a", "1"), STR("y"), T0);
	counts_login_ask(c, FROM("a", "1"), STR("known"), T0, &delay);
	assert_int_equal(delay, 15 * S);
	/* the user from elsewhere, although he was guessed at */
	assert_true(counts_login_ask(c, FROM("b", "9"), STR("known"), T0,
	    &delay) > 0);
	assert_int_equal(delay, 0);
	/* and where he was known before */
	counts_login_ask(c, FROM("a", "2"), STR("known"), T0, &delay);
	assert_int_equal(delay, 0);
	counts_login_ask(c, FROM("a", "2"), STR("other"), T0, &delay);
	assert_int_equal(delay, 15 * S);
	/* not for ever */
	counts_login_failed(c, FROM("a", "1"), STR("y"), T0 + 599 * S);
	counts_login_ask(c, FROM("a", "2"), STR("known"), T0 + 600 * S,
	    &delay);
	assert_int_equal(delay, 15 * S);
	counts_free(&c);
}

static void failures_are_forgotten_in_time_and_by_good_logins(void **state)
{
	struct counts *c = counts_new(&options);
	int64_t delay;

	(void)state;
	for (int i = 0; i < 4; i++)
		counts_login_failed(c, FROM("a", "1"), STR("u"), T0);
	counts_login_good(c, FROM("a", "1"), STR("u"), T0);
	assert_int_equal(counts_login_ask(c, FROM("a", "1"), STR("u"), T0,
	    &delay), 2);
	assert_int_equal(counts_login_ask(c, FROM("a", "1"), STR("u"),
	    T0 + 600 * S, &delay), 0);
	assert_int_equal(counts_login_failed(c, FROM("a", "1"), STR("u"),
	    T0 + 601 * S), 2 * S);
	counts_free(&c);
}

static void a_flood_of_addresses_stays_bounded(void **state)
{
	struct counts *c = counts_new(&options);
	struct holder *h = counts_holder_new();
	uint64_t count, rate;
	char addr[32];

	(void)state;
	counts_connect(c, h, STR("imap"), STR("keep"), T0, &count, &rate);
	for (int i = 0; i < COUNTS_MAX + 5000; i++) {
		snprintf(addr, sizeof(addr), "%d", i);
		assert_int_equal(counts_add(c, COUNTS_MESSAGES, STR("smtp"),
		    str_of(addr), 1, T0), 1);
		counts_login_failed(c, &(struct counts_origin){ str_of(addr),
		    str_of(addr) }, str_of(addr), T0);
	}
	/* what is open is still known, who came first is not */
	counts_connect(c, h, STR("imap"), STR("keep"), T0, &count, &rate);
	assert_int_equal(count, 2);
	assert_int_equal(counts_add(c, COUNTS_MESSAGES, STR("smtp"), STR("1"),
	    1, T0), 1);
	counts_holder_free(c, &h, T0);
	counts_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    connections_are_counted_per_service_and_address),
		cmocka_unit_test(
		    a_process_that_dies_gives_its_connections_back),
		cmocka_unit_test(rates_begin_anew_after_the_span),
		cmocka_unit_test(
		    delays_of_failed_logins_double_up_to_their_limit),
		cmocka_unit_test(
		    a_guesser_makes_his_own_network_wait_and_nobody_else),
		cmocka_unit_test(
		    failures_are_forgotten_in_time_and_by_good_logins),
		cmocka_unit_test(a_flood_of_addresses_stays_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
