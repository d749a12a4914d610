/*
 * numbers.c - addresses of the network, ids, codes, numbers, sequence sets
 *
 * What is accepted is printed and read again: the same.
 */
#include "fuzz.h"
#include "imapd/parse.h"
#include "mail/path.h"
#include "mail/status.h"
#include "net/addr.h"
#include "queue/id.h"

static void check_addr(struct str s)
{
	char text[NET_ADDR_TEXT];
	struct net_addr a, b;

	if (net_addr_parse(s, &a) == 0) {
		net_addr_text(&a, text);
		fuzz_check(net_addr_parse(str_of(text), &b) == 0 &&
		    net_addr_same(&a, &b), "address %s", text);
		net_addr_text_literal(&a, text);
		fuzz_check(a.scope != 0 ||
		    (net_addr_parse_literal(str_of(text), &b) == 0 &&
		    net_addr_same(&a, &b)), "literal %s", text);
	}
	if (net_addr_parse_literal(s, &a) == 0)
		fuzz_check(a.family != 0, "no family");
}

static void check_cidr(struct str s)
{
	struct net_cidr_list list;
	struct net_addr a;
	struct str bad, host;
	const char *why = NULL;
	uint16_t port;

	if (net_cidr_list_parse(s, &list, &bad, &why) == 0) {
		fuzz_check(list.count <= NET_CIDR_MAX, "too many");
		/* The first block's own address is in it. */
		if (list.count > 0)
			fuzz_check(net_cidr_list_match(&list,
			    &list.items[0].addr) == !list.items[0].negate,
			    "not in its own block");
		if (net_addr_parse(STR("192.0.2.1"), &a) == 0)
			(void)net_cidr_list_match(&list, &a);
		net_cidr_list_free(&list);
	} else {
		fuzz_check(why != NULL, "no reason");
	}
	if (net_listen_parse(s, &host, &port, &why) == 0)
		fuzz_check(host.n <= s.n, "host");
	else
		fuzz_check(why != NULL, "no reason");
}

static void check_ids(struct str s)
{
	char text[QUEUE_ID_SIZE], code[MAIL_STATUS_SIZE];
	struct mail_status status, taken;
	struct str rest = s;
	uint64_t id;

	if (queue_id_parse(s, &id) == 0)
		fuzz_check_same("queue id", str_of(queue_id_text(id, text)),
		    s);
	if (mail_status_parse(s, &status) == 0) {
		fuzz_check_same("status", str_of(mail_status_print(status,
		    code)), s);
		fuzz_check(mail_status_text(status) != NULL, "no text");
	}
	if (mail_status_take(&rest, &taken) == 0)
		fuzz_check(rest.n < s.n && rest.p + rest.n == s.p + s.n,
		    "what is left");
	for (uint64_t max = 9; ; max = max * 1000 + 7) {
		uint64_t v, want = 0;
		bool over = false;

		if (str_to_u64(s, max, &v) == 0) {
			for (size_t i = 0; i < s.n; i++) {
				over |= __builtin_mul_overflow(want, 10,
				    &want);
				over |= __builtin_add_overflow(want,
				    (uint64_t)(s.p[i] - '0'), &want);
			}
			fuzz_check(!over && v == want && v <= max, "number");
		}
		if (max > UINT64_MAX / 1000 - 7)
			break;
	}
}

/* --- sequence sets, by the tokenizer of imapd over one line --- */

static enum parse_read one_line(void *ctx, size_t max, struct str *line_r)
{
	struct str *s = ctx;

	(void)max;
	if (s->p == NULL)
		return PARSE_READ_GONE;
	*line_r = *s;
	*s = STR_NONE;
	return PARSE_READ_OK;
}

static int no_octets(void *ctx, char *p, uint64_t n)
{
	(void)ctx, (void)p, (void)n;
	return -1;
}

static int no_go_ahead(void *ctx)
{
	(void)ctx;
	return 0;
}

static void check_set(struct str s, uint32_t last, struct arena *arena)
{
	static const struct parse_source source = { one_line, no_octets,
		no_go_ahead };
	struct str line = s;
	struct parse p = { .source = &source, .ctx = &line, .arena = arena };
	struct set set, given;

	if (s.n > PARSE_LINE_MAX || parse_begin(&p) < 0 ||
	    parse_set(&p, &set) < 0)
		return;
	given.n = set.n;
	given.r = arena_array(arena, set.n ? set.n : 1, sizeof(*set.r));
	memcpy(given.r, set.r, set.n * sizeof(*set.r));
	set_resolve(&set, last);
	for (size_t i = 0; i < set.n; i++) {
		fuzz_check(set.r[i].lo <= set.r[i].hi && set.r[i].lo > 0,
		    "a range the wrong way round");
		fuzz_check(i == 0 || set.r[i - 1].hi < set.r[i].lo,
		    "ranges overlap");
	}
	/* Numbers at the borders: in the set when one range has them. */
	for (size_t i = 0; i < given.n && i < 20; i++)
		for (int k = -1; k <= 1; k++) {
			uint32_t v = given.r[i].lo + (uint32_t)k;
			bool want = false;

			if (v == 0 || last == 0)
				continue;
			for (size_t j = 0; j < given.n; j++) {
				uint32_t lo = given.r[j].lo, hi =
				    given.r[j].hi;

				lo = lo ? lo : last;
				hi = hi ? hi : last;
				want |= lo <= hi ? v >= lo && v <= hi :
				    v >= hi && v <= lo;
			}
			fuzz_check(set_has(&set, v) == want, "%u: %d", v,
			    want);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	uint32_t last = (uint32_t)fuzz_number(&in, 20);
	struct str s = fuzz_exact(in.rest);
	struct arena *arena = arena_new(PARSE_ARENA_MAX);

	if (last == 20)
		last = UINT32_MAX;
	fuzz_budget_start();
	check_addr(s);
	check_cidr(s);
	check_ids(s);
	fuzz_check_steps(3000, n, 20000);
	check_set(s, last, arena);
	fuzz_check_steps(20000, n, 100000);
	arena_free(&arena);
	fuzz_end();
	return 0;
}
