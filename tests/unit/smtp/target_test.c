#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "smtp/target.h"

/* A little DNS: "name TYPE status value value ...", MX values "pref host",
 * addresses as numbers of the last octet. */
struct row {
	const char *name;
	enum dns_type type;
	enum dns_status status;
	struct { unsigned number; const char *data; } v[4];
	unsigned n, ignored;
};

static const struct row zone[] = {
	{ "x.test", DNS_MX, DNS_OK, { { 20, "b.test" }, { 10, "a.test" },
	    { 30, "c.test" } }, 3, 0 },
	{ "a.test", DNS_A, DNS_OK, { { 1, NULL } }, 1, 0 },
	{ "b.test", DNS_A, DNS_OK, { { 2, NULL }, { 3, NULL } }, 2, 0 },
	{ "b.test", DNS_AAAA, DNS_OK, { { 6, NULL } }, 1, 0 },
	{ "c.test", DNS_A, DNS_OK, { { 4, NULL }, { 1, NULL } }, 2, 0 },
	{ "null.test", DNS_MX, DNS_OK, { { 0, "" } }, 1, 0 },
	{ "mixed.test", DNS_MX, DNS_OK, { { 0, "" }, { 5, "a.test" } }, 2, 0 },
	{ "shaky.test", DNS_MX, DNS_OK, { { 5, "badly.test" } }, 1, 0 },
	{ "badly.test", DNS_A, DNS_NODATA, { { 0, NULL } }, 0, 1 },
	{ "plain.test", DNS_MX, DNS_NODATA, { { 0, NULL } }, 0, 0 },
	{ "plain.test", DNS_A, DNS_OK, { { 9, NULL } }, 1, 0 },
	{ "empty.test", DNS_MX, DNS_NODATA, { { 0, NULL } }, 0, 0 },
	{ "bad.test", DNS_MX, DNS_NODATA, { { 0, NULL } }, 0, 3 },
	{ "fail.test", DNS_MX, DNS_TEMPFAIL, { { 0, NULL } }, 0, 0 },
	{ "fail.test", DNS_A, DNS_OK, { { 9, NULL } }, 1, 0 },
	{ "bogus.test", DNS_MX, DNS_BOGUS, { { 0, NULL } }, 0, 0 },
	{ "bogus.test", DNS_A, DNS_OK, { { 9, NULL } }, 1, 0 },
	{ "half.test", DNS_MX, DNS_OK, { { 1, "gone.test" },
	    { 2, "later.test" } }, 2, 0 },
	{ "later.test", DNS_A, DNS_TEMPFAIL, { { 0, NULL } }, 0, 0 },
	{ "lost.test", DNS_MX, DNS_OK, { { 1, "gone.test" } }, 1, 0 },
	{ "self.test", DNS_MX, DNS_OK, { { 10, "a.test" },
	    { 20, "Me.Test" }, { 20, "b.test" }, { 30, "c.test" } }, 4, 0 },
	{ "only.test", DNS_MX, DNS_OK, { { 10, "me.test" },
	    { 10, "b.test" } }, 2, 0 },
	{ "local.test", DNS_MX, DNS_OK, { { 0, "localhost" } }, 1, 0 },
	{ "loop.test", DNS_MX, DNS_OK, { { 0, "l.test" } }, 1, 0 },
	{ "l.test", DNS_A, DNS_OK, { { 127, NULL } }, 1, 0 },
	{ "equal.test", DNS_MX, DNS_OK, { { 5, "a.test" }, { 5, "plain.test" },
	    { 1, "b.test" } }, 3, 0 },
	{ "many.test", DNS_A, DNS_OK, { { 1, NULL }, { 2, NULL }, { 3, NULL },
	    { 4, NULL } }, 4, 0 },
	{ "many.test", DNS_AAAA, DNS_OK, { { 6, NULL } }, 1, 0 },
};

static struct arena *arena;

static void answer(const struct row *row, enum dns_type type,
    struct arena *a, struct dns_reply *r)
{
	r->status = row->status;
	r->ignored = row->ignored;
	r->data.v = arena_array(a, 5, sizeof(struct str));
	r->numbers.v = arena_array(a, 5, sizeof(uint64_t));
	r->data.n = r->numbers.n = row->n;
	for (size_t i = 0; i < row->n; i++) {
		unsigned char raw[16] = { 192, 0, 2,
			(unsigned char)row->v[i].number };

		if (row->v[i].number == 127)
			memcpy(raw, "\177\0\0\1", 4);
		if (type == DNS_AAAA)
			memcpy(raw, "\x20\x01\x0d\xb8", 4);
		r->numbers.v[i] = row->v[i].number;
		r->data.v[i] = type == DNS_MX ? str_of(row->v[i].data)
		    : arena_str(a, str_n(raw, type == DNS_A ? 4 : 16));
	}
}

static void ask(void *ctx, struct dns_question *q, size_t n,
    struct arena *a, struct dns_reply *r)
{
	unsigned *asked = ctx;

	for (size_t i = 0; i < n; i++) {
		bool known = false;

		(*asked)++;
		r[i] = (struct dns_reply){ .status = DNS_NXDOMAIN };
		for (size_t k = 0; k < sizeof(zone) / sizeof(zone[0]); k++) {
			if (!str_eq_nocase_c(q[i].name, zone[k].name))
				continue;
			if (!known)
				r[i].status = DNS_NODATA;
			known = true;
			if (q[i].type == zone[k].type)
				answer(&zone[k], zone[k].type, a, &r[i]);
		}
	}
}

static char *find(const char *hop_text, const struct target_options *given,
    char out[1024])
{
	struct target_options o = *given;
	struct nexthop hops[NEXTHOP_MAX];
	struct targets targets = { NULL, 0 };
	unsigned asked = 0;
	const char *why_hop;
	struct why why;
	size_t n = 0;

	arena_reset(arena);
	o.ask = ask;
	o.ctx = &asked;
	o.myhostname = STR("me.test");
	out[0] = '\0';
	if (nexthop_parse(str_of(hop_text), false, 25, arena, hops,
		&why_hop) < 0) {
		snprintf(out, 1024, "! %s", why_hop);
		return out;
	}
	if (targets_find(&o, &hops[0], arena, &targets, &why) < 0) {
		char status[MAIL_STATUS_SIZE];

		snprintf(out, 1024, "%s %.900s",
		    mail_status_print(why.status, status), why.text);
		return out;
	}
	for (size_t i = 0; i < targets.n; i++) {
		char ip[NET_ADDR_TEXT];

		n += (size_t)snprintf(out + n, 1024 - n, "%s%s[%s]",
		    i ? " " : "", targets.v[i].host,
		    net_addr_text_port(&targets.v[i].addr, ip));
	}
	return out;
}

static void next_hops_become_targets(void **state)
{
	static const struct target_options v4 = { .ipv4 = true },
	    v6 = { .ipv6 = true };
	static const struct {
		const char *hop;
		const struct target_options *o;
		const char *want; /* a prefix of failures */
	} rows[] = {
		{ "[192.0.2.7]:2525", &v4, "192.0.2.7[192.0.2.7:2525]" },
		{ "192.0.2.7", &v4, "192.0.2.7[192.0.2.7:25]" },
		{ "[IPv6:2001:db8::1]", &v6, "2001:db8::1[[2001:db8::1]:25]" },
		{ "2001:db8::1", &v6, "2001:db8::1[[2001:db8::1]:25]" },
		{ "[2001:db8::1]:587", &v6,
		  "2001:db8::1[[2001:db8::1]:587]" },
		{ "[IPv6:2001:db8::1]", &v4, "5.4.4 " },
		{ "x.test", &v4, NULL }, /* see the next test */
		{ "X.TEST.:submission", &v6, "b.test[[2001:db8::]:587]" },
		{ "[a.test]", &v4, "a.test[192.0.2.1:25]" },
		{ "[gone.test]", &v4, "5.4.4 Host or domain name not found. "
		  "Name service error for name=gone.test type=A: Host not "
		  "found" },
		{ "gone.test", &v4, "5.4.4 Host or domain name not found. "
		  "Name service error for name=gone.test type=MX: Host not "
		  "found" },
		{ "plain.test", &v4, "plain.test[192.0.2.9:25]" },
		{ "empty.test", &v4, "5.4.4 " },
		{ "null.test", &v4, "5.1.10 Domain null.test does not accept "
		  "mail (nullMX)" },
		{ "mixed.test", &v4, "a.test[192.0.2.1:25]" },
		{ "bad.test", &v4, "4.4.3 all MX records of bad.test are "
		  "malformed" },
		{ "shaky.test", &v4, "4.4.3 all A records of badly.test are "
		  "malformed" },
		/* DNS-018: never A after a failure of MX */
		{ "fail.test", &v4, "4.4.3 " },
		{ "bogus.test", &v4, "4.4.3 " },
		{ "half.test", &v4, "4.4.3 " },
		{ "lost.test", &v4, "5.4.4 " },
		{ "self.test", &v4, "a.test[192.0.2.1:25]" },
		{ "only.test", &v4, "5.4.6 mail for only.test loops back to "
		  "myself" },
		{ "local.test", &v4, "5.4.6 mail for local.test loops" },
		{ "loop.test", &v4, "5.4.6 mail for loop.test loops" },
		{ "loop.test:2525", &v4, "l.test[127.0.0.1:2525]" },
		{ "", &v4, "! no next hop" },
		{ "[a.test", &v4, "! bad next hop" },
		{ "[]", &v4, "! bad next hop" },
		{ "a:b:c", &v4, "! bad next hop" },
		{ "a.test:", &v4, "! bad next hop" },
		{ "a.test:nonsense", &v4, "! unknown port" },
		{ "a.test:0", &v4, "! unknown port" },
	};
	char out[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].want == NULL)
			continue;
		find(rows[i].hop, rows[i].o, out);
		if (out[0] == '!' || ascii_is_digit(out[0]) ?
		    strncmp(out, rows[i].want, strlen(rows[i].want)) != 0 :
		    strcmp(out, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].hop, out);
	}
}

static void preference_orders_and_chance_decides_among_equals(void **state)
{
	static const struct target_options v4 = { .ipv4 = true };
	int first = 0, two = 0;
	char out[1024];

	(void)state;
	for (int i = 0; i < 200; i++) {
		find("x.test", &v4, out);
		/* 192.0.2.1 is a.test already, not again of c.test */
		if (strcmp(out, "a.test[192.0.2.1:25] b.test[192.0.2.2:25] "
			"b.test[192.0.2.3:25] c.test[192.0.2.4:25]") == 0)
			two++;
		else
			assert_string_equal(out, "a.test[192.0.2.1:25] "
			    "b.test[192.0.2.3:25] b.test[192.0.2.2:25] "
			    "c.test[192.0.2.4:25]");
		find("equal.test", &v4, out);
		assert_int_equal(strncmp(out, "b.test[", 7), 0);
		first += strstr(out, "a.test[") < strstr(out, "plain.test[");
	}
	assert_in_range(first, 40, 160);
	assert_in_range(two, 40, 160);
}

static void the_limit_keeps_both_families(void **state)
{
	static const struct target_options both = { .ipv4 = true,
		.ipv6 = true, .limit = 2 }, prefer6 = { .ipv4 = true,
		.ipv6 = true, .limit = 3, .prefer = AF_INET6 };
	char out[1024];

	(void)state;
	for (int i = 0; i < 50; i++) {
		find("[many.test]", &both, out);
		assert_non_null(strstr(out, "2001:db8::"));
		assert_non_null(strstr(out, "192.0.2."));
		find("[many.test]", &prefer6, out);
		assert_int_equal(strncmp(out, "many.test[[2001:", 16), 0);
	}
}

static void lmtp_looks_for_no_mx(void **state)
{
	struct nexthop hops[NEXTHOP_MAX];
	const char *why;

	(void)state;
	arena_reset(arena);
	assert_int_equal(nexthop_parse(STR("inet:x.test:24, unix:/run/l, "
	    "y.test"), true, 24, arena, hops, &why), 3);
	assert_false(hops[0].use_mx);
	assert_true(str_eq_c(hops[0].host, "x.test"));
	assert_int_equal(hops[0].port, 24);
	assert_string_equal(hops[1].path, "/run/l");
	assert_false(hops[2].use_mx);
	assert_int_equal(nexthop_parse(STR("unix:"), true, 24, arena, hops,
	    &why), -1);
}

static int set_up(void **state)
{
	(void)state;
	arena = arena_new(4 * 1024 * 1024);
	return arena == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_hops_become_targets),
		cmocka_unit_test(
		    preference_orders_and_chance_decides_among_equals),
		cmocka_unit_test(the_limit_keeps_both_families),
		cmocka_unit_test(lmtp_looks_for_no_mx),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
