#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "dns/answer.h"

/* A packet under construction: name "x.test" asked at offset 12. */
struct packet {
	unsigned char b[65536];
	size_t n;
};

static struct arena *arena;

static void put(struct packet *p, const void *octets, size_t n)
{
	memcpy(p->b + p->n, octets, n);
	p->n += n;
}

static void put16(struct packet *p, unsigned v)
{
	put(p, (unsigned char[]){ (unsigned char)(v >> 8),
		(unsigned char)v }, 2);
}

static void put_name(struct packet *p, const char *name)
{
	struct str rest = str_of(name), label;

	while (str_split(&rest, '.', &label) && label.n > 0) {
		put(p, (unsigned char[]){ (unsigned char)label.n }, 1);
		put(p, label.p, label.n);
	}
	put(p, "", 1);
}

static void begin(struct packet *p, unsigned rcode, unsigned answers,
    unsigned authority, unsigned type)
{
	p->n = 0;
	put16(p, 0x1234);
	put16(p, 0x8180 | rcode);
	put16(p, 1);
	put16(p, answers);
	put16(p, authority);
	put16(p, 0);
	put_name(p, "x.test");
	put16(p, type);
	put16(p, 1);
}

static void put_record(struct packet *p, const char *owner, unsigned type,
    unsigned ttl, const void *rdata, size_t n)
{
	put_name(p, owner);
	put16(p, type);
	put16(p, 1);
	put16(p, ttl >> 16);
	put16(p, ttl & 0xffff);
	put16(p, (unsigned)n);
	put(p, rdata, n);
}

static struct dns_reply parse(const struct packet *p, enum dns_type type)
{
	struct dns_reply r;

	arena_reset(arena);
	answer_parse(str_n(p->b, p->n), str_of("x.test"), type, arena, &r);
	return r;
}

static void malformed_records_are_left_out(void **state)
{
	static const struct {
		unsigned type;
		const char *rdata;
		size_t n;
	} rows[] = {
		{ DNS_MX, "", 0 },			/* DNS-001 */
		{ DNS_MX, "\0", 1 },			/* DNS-002 */
		{ DNS_MX, "\0\12", 2 },
		{ DNS_MX, "\0\12\0\0", 4 },		/* octets behind */
		{ DNS_MX, "\0\12\1a", 4 },		/* no end */
		/* DNS-005 */
		{ DNS_MX, "\0\12\3" "127\1" "0\1" "0\1" "1\0", 13 },
		{ DNS_MX, "\0\12\11" "a.b.c.com\0", 13 }, /* a dot in a label */
		{ DNS_MX, "\0\12\4a\nbc\3com\0", 12 },
		{ DNS_MX, "\0\12\3-bc\3com\0", 11 },
		{ DNS_MX, "\0\12\xc0\xff", 4 },		/* pointer ahead */
		{ DNS_PTR, "\14evil\n250-x.y\4test\0", 19 }, /* DNS-013 */
		{ DNS_PTR, "\12${run{id}}\4test\0", 17 },	/* DNS-014 */
		{ DNS_A, "\177\0\0", 3 },			/* DNS-016 */
		{ DNS_A, "\177\0\0\1\1", 5 },
		{ DNS_AAAA, "\177\0\0\1", 4 },
		{ DNS_TLSA, "", 0 },			/* DNS-008 */
		{ DNS_TLSA, "\3\1\1", 3 },			/* DNS-009 */
		{ DNS_TXT, "", 0 },
		{ DNS_TXT, "\5abc", 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet p;
		struct dns_reply r;

		begin(&p, 0, 1, 0, rows[i].type);
		put_record(&p, "x.test", rows[i].type, 60, rows[i].rdata,
		    rows[i].n);
		r = parse(&p, rows[i].type);
		if (r.status != DNS_NODATA || r.ignored != 1 ||
		    r.data.n != 0)
			fail_msg("row %zu: status %d ignored %d", i,
			    (int)r.status, (int)r.ignored);
	}
}

static void well_formed_records_are_read(void **state)
{
	static const struct {
		unsigned type;
		const char *rdata;
		size_t n;
		const char *data;
		size_t data_n;
		uint64_t number;
	} rows[] = {
		{ DNS_MX, "\0\12\0", 3, "", 0, 10 },	/* DNS-003, null MX */
		{ DNS_MX, "\1\2\2mx\4test\0", 11, "mx.test", 7, 258 },
		{ DNS_MX, "\0\1\2mx\xc0\14", 7, "mx.x.test", 9, 1 },
		{ DNS_MX, "\0\0\11localhost\0", 13, "localhost", 9, 0 },
		{ DNS_MX, "\0\12\4_a_b\4test\0", 13, "_a_b.test", 9, 10 },
		{ DNS_PTR, "\1h\4test\0", 8, "h.test", 6, 0 },
		{ DNS_A, "\177\0\0\1", 4, "\177\0\0\1", 4, 0 },
		{ DNS_TXT, "\3abc\2de\0", 8, "abcde", 5, 0 },
		{ DNS_TLSA, "\3\1\1xyz", 6, "xyz", 3, 0x030101 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet p;
		struct dns_reply r;

		begin(&p, 0, 1, 0, rows[i].type);
		put_record(&p, "X.Test", rows[i].type, 60, rows[i].rdata,
		    rows[i].n);
		r = parse(&p, rows[i].type);
		if (r.status != DNS_OK || r.data.n != 1 || r.ttl != 60 ||
		    !str_eq(r.data.v[0], str_n(rows[i].data,
			rows[i].data_n)) ||
		    r.numbers.v[0] != rows[i].number)
			fail_msg("row %zu: status %d data '" STR_FMT "'", i,
			    (int)r.status, STR_ARG(r.data.n ? r.data.v[0]
				: STR("-")));
	}
}

static void long_names_and_long_texts_have_limits(void **state)
{
	struct packet p;
	struct dns_reply r;
	unsigned char rdata[65000];
	size_t n = 0;

	(void)state;
	/* DNS-015: a name of 300 octets */
	for (int i = 0; i < 6; i++) {
		rdata[n++] = 49;
		memset(rdata + n, 'a', 49);
		n += 49;
	}
	rdata[n++] = 0;
	begin(&p, 0, 1, 0, DNS_PTR);
	put_record(&p, "x.test", DNS_PTR, 60, rdata, n);
	r = parse(&p, DNS_PTR);
	assert_int_equal(r.status, DNS_NODATA);
	assert_int_equal(r.ignored, 1);

	/* DNS-011: 250 strings of 255 octets are one text */
	n = 0;
	for (int i = 0; i < 250; i++) {
		rdata[n++] = 255;
		memset(rdata + n, 0xff, 255);
		n += 255;
	}
	begin(&p, 0, 1, 0, DNS_TXT);
	put_record(&p, "x.test", DNS_TXT, 60, rdata, n);
	r = parse(&p, DNS_TXT);
	assert_int_equal(r.status, DNS_OK);
	assert_int_equal(r.data.v[0].n, 250 * 255);
}

static void the_preferred_hundred_of_many_mx_remain(void **state)
{
	struct packet p;
	struct dns_reply r;

	(void)state;
	begin(&p, 0, 2000, 0, DNS_MX);
	for (int i = 0; i < 2000; i++) {
		char rdata[32];
		int n = snprintf(rdata + 3, 8, "m%d", i);

		rdata[0] = (char)((2000 - i) >> 8);
		rdata[1] = (char)(2000 - i);
		rdata[2] = (char)n;
		memcpy(rdata + 3 + n, "\xc0\14", 2);
		put_record(&p, "x.test", DNS_MX, 60, rdata,
		    (size_t)n + 5);
	}
	r = parse(&p, DNS_MX);
	assert_int_equal(r.status, DNS_OK);
	assert_int_equal(r.data.n, DNS_RECORD_MAX);
	for (size_t i = 0; i < r.data.n; i++)
		assert_int_equal(r.numbers.v[i], i + 1);
	assert_true(str_eq_c(r.data.v[0], "m1999.x.test"));
}

static void the_rcode_and_truncation_stand_in_the_packet(void **state)
{
	static const struct { unsigned rcode, status; } rows[] = {
		{ 0, DNS_NODATA }, { 1, DNS_TEMPFAIL }, { 2, DNS_TEMPFAIL },
		{ 3, DNS_NXDOMAIN }, { 4, DNS_TEMPFAIL },
		{ 5, DNS_TEMPFAIL }, { 9, DNS_TEMPFAIL },
		{ 15, DNS_TEMPFAIL },
		/* truncated: what is missing is not "none" */
		{ 0x200, DNS_TEMPFAIL }, { 0x203, DNS_TEMPFAIL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet p;

		begin(&p, rows[i].rcode, 0, 0, DNS_MX);
		assert_int_equal(parse(&p, DNS_MX).status, rows[i].status);
	}
}

static void cnames_are_followed_ten_times_and_loops_end(void **state)
{
	struct packet p;
	struct dns_reply r;

	(void)state;
	/* DNS-007: a loop */
	begin(&p, 0, 2, 0, DNS_A);
	put_record(&p, "x.test", 5, 60, "\1b\4test\0", 8);
	put_record(&p, "b.test", 5, 60, "\1x\4test\0", 8);
	assert_int_equal(parse(&p, DNS_A).status, DNS_TEMPFAIL);

	/* in any order, ten of them */
	begin(&p, 0, 11, 0, DNS_A);
	put_record(&p, "n9.test", DNS_A, 50, "\1\2\3\4", 4);
	for (int i = 9; i >= 0; i--) {
		char owner[32], to[32];

		snprintf(owner, sizeof(owner), i ? "n%d.test" : "x.test",
		    i - 1);
		snprintf(to, sizeof(to), "\2n%d\4test", i);
		put_record(&p, owner, 5, i == 3 ? 7 : 60, to, 9);
	}
	r = parse(&p, DNS_A);
	assert_int_equal(r.status, DNS_OK);
	assert_true(str_eq_c(r.canonical, "n9.test"));
	assert_int_equal(r.ttl, 7);
}

static void compression_loops_and_cuts_are_damage(void **state)
{
	struct packet p;
	struct dns_reply r;

	(void)state;
	/* DNS-012: pointers at each other; the record is left out */
	begin(&p, 0, 1, 0, DNS_MX);
	put_record(&p, "x.test", DNS_MX, 60, "\0\12\xc0\14", 4);
	p.b[12] = 0xc0;
	p.b[13] = 12;
	assert_int_equal(parse(&p, DNS_MX).status, DNS_TEMPFAIL);

	/* every truncation */
	begin(&p, 0, 1, 0, DNS_MX);
	put_record(&p, "x.test", DNS_MX, 60, "\0\12\2mx\xc0\14", 7);
	for (size_t n = 0, all = p.n; n < all; n++) {
		p.n = n;
		r = parse(&p, DNS_MX);
		assert_int_equal(r.status, DNS_TEMPFAIL);
	}
}

static void a_negative_answer_has_the_soa_minimum(void **state)
{
	struct packet p;
	struct dns_reply r;

	(void)state;
	begin(&p, 3, 0, 1, DNS_MX);
	put_record(&p, "test", 6, 900, "\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"
	    "\0\0\0\51", 22);
	r = parse(&p, DNS_MX);
	assert_int_equal(r.status, DNS_NXDOMAIN);
	assert_int_equal(r.ttl, 41);
}

static void records_of_others_do_not_count(void **state)
{
	struct packet p;

	(void)state;
	begin(&p, 0, 2, 0, DNS_A);
	put_record(&p, "y.test", DNS_A, 60, "\1\2\3\4", 4);
	put_record(&p, "x.test", DNS_AAAA, 60, "0123456789abcdef", 16);
	assert_int_equal(parse(&p, DNS_A).status, DNS_NODATA);
}

static void names_to_ask_are_checked(void **state)
{
	static const struct { const char *name; bool ok; } rows[] = {
		{ "a", true }, { "a.test", true }, { "_25._tcp.a", true },
		{ "", false }, { ".", false }, { "a..b", false },
		{ "a.", false }, { "a b", false }, { "a\\046b", false },
		{ "a\nb", false }, { "\xc3\xa9.test", false },
		{ "1234567890123456789012345678901234567890"
		  "123456789012345678901234.test", false },
	};
	char longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (answer_may_ask(str_of(rows[i].name)) != rows[i].ok)
			fail_msg("%s", rows[i].name);
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 10 ? 'a' : '.';
	assert_true(answer_may_ask(str_n(longest + 1, 253)));
	assert_false(answer_may_ask(str_n(longest + 1, 254)));
}

static int set_up(void **state)
{
	(void)state;
	arena = arena_new(512 * 1024);
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
		cmocka_unit_test(malformed_records_are_left_out),
		cmocka_unit_test(well_formed_records_are_read),
		cmocka_unit_test(long_names_and_long_texts_have_limits),
		cmocka_unit_test(the_preferred_hundred_of_many_mx_remain),
		cmocka_unit_test(the_rcode_and_truncation_stand_in_the_packet),
		cmocka_unit_test(cnames_are_followed_ten_times_and_loops_end),
		cmocka_unit_test(compression_loops_and_cuts_are_damage),
		cmocka_unit_test(a_negative_answer_has_the_soa_minimum),
		cmocka_unit_test(records_of_others_do_not_count),
		cmocka_unit_test(names_to_ask_are_checked),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
