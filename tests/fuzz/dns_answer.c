/*
 * dns_answer.c - packets of the network as typed answers (RFC 1035)
 *
 * Type, name, a line, then the packet. Whatever it holds, what leaves has
 * the shape that msgs/dns.h promises, and fits into a message.
 */
#include "dns/answer.h"
#include "fuzz.h"

static void check_reply(const struct dns_reply *r, enum dns_type type)
{
	int fds[MSG_FD_MAX];
	const char *why = NULL;
	struct buf out;
	size_t n;

	fuzz_check(r->status <= DNS_STATUS_MAX, "status");
	fuzz_check(r->data.n == r->numbers.n && r->data.n <= DNS_RECORD_MAX,
	    "%zu records, %zu numbers", r->data.n, r->numbers.n);
	fuzz_check(r->status == DNS_OK || r->data.n == 0, "records, though");
	fuzz_check(r->status != DNS_OK || r->data.n > 0, "no records");
	fuzz_check(r->ttl <= ANSWER_TTL_MAX, "ttl");
	for (size_t i = 0; i < r->data.n; i++) {
		struct str d = r->data.v[i];
		uint64_t number = r->numbers.v[i];

		switch (type) {
		case DNS_A:
			fuzz_check(d.n == 4 && number == 0, "A");
			break;
		case DNS_AAAA:
			fuzz_check(d.n == 16 && number == 0, "AAAA");
			break;
		case DNS_MX:
			fuzz_check((d.n == 0 || answer_is_hostname(d)) &&
			    number <= 65535, "MX");
			fuzz_check(i == 0 || r->numbers.v[i - 1] <= number,
			    "MX in no order");
			break;
		case DNS_PTR:
			fuzz_check(answer_is_hostname(d) && number == 0,
			    "PTR");
			break;
		case DNS_TLSA:
			fuzz_check(number >> 24 == 0, "TLSA");
			break;
		case DNS_TXT:
			break;
		}
	}
	buf_init(&out, MSG_MAX + 16);
	fuzz_check(msg_encode(&dns_reply_schema, r, &out, fds, &n, &why) ==
	    0, "it is no message: %s", why);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_MX,
		DNS_PTR, DNS_TXT, DNS_TLSA };
	struct fuzz_in in = fuzz_in(p, n);
	enum dns_type type = types[fuzz_octet(&in) % 6];
	struct str name = fuzz_exact(fuzz_field(&in, '\n'));
	struct str packet = fuzz_exact(fuzz_rest(&in));
	struct arena *arena = arena_new(4 << 20);
	struct dns_reply r;

	if (name.n > 0 && name.n <= DNS_NAME_MAX && answer_may_ask(name)) {
		fuzz_budget_start();
		answer_parse(packet, name, type, arena, &r);
		fuzz_check_steps(20000, n, 300000);
		r.tag = 0;
		r.secure = false;
		check_reply(&r, type);
	}
	(void)answer_is_hostname(packet);
	arena_free(&arena);
	fuzz_end();
	return 0;
}
