/*
 * dns.h - questions to `dns`
 *
 *   smtpd, cleanup, smtp, lookup ...          dns
 *        | -------- dns_question (tag 1) ----->|
 *        | -------- dns_question (tag 2) ----->|   up to DNS_ASK_MAX at once
 *        | <------- dns_reply (tag 2) ---------|   in the order of arrival
 *        | <------- dns_reply (tag 1) ---------|
 *
 * `dns` alone parses what comes from the network. What it hands out has the
 * right shape: addresses have 4 or 16 octets, host names consist of letters,
 * digits, hyphens, underscores and dots, in labels of at most 63 octets, have
 * no dot at the end, at most 253 octets and a letter somewhere in the last
 * label. Records of another shape are left out and counted (ignored).
 */
#ifndef MSGS_DNS_H
#define MSGS_DNS_H
#include "ipc/conv.h"

#define DNS_NAME_MAX 253   /* octets of a name without the final dot */
#define DNS_RECORD_MAX 100 /* records in an answer; of MX the preferred */
#define DNS_ASK_MAX 32     /* questions in flight in one conversation */

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
	DNS_AAAA = 28, DNS_TLSA = 52 };

enum dns_status {
	DNS_OK,       /* records */
	DNS_NXDOMAIN, /* the name does not exist */
	DNS_NODATA,   /* the name has no (usable) record of this type */
	DNS_TEMPFAIL, /* no answer: time-out, SERVFAIL, no server, overload */
	DNS_BOGUS,    /* DNSSEC proves the answer false: a temporary failure,
		       * never "no record" */
};
#define DNS_STATUS_MAX DNS_BOGUS

struct dns_question {
	uint64_t tag;
	uint64_t type;    /* enum dns_type */
	struct str name;  /* without the final dot; A-labels */
	uint64_t wait_ms; /* how long the asker waits; 0: dns's own limit */
};

struct dns_reply {
	uint64_t tag;
	uint64_t status; /* enum dns_status */
	bool secure;     /* DNSSEC validated, also of "there is none" */
	uint64_t ttl;    /* seconds */
	struct str canonical; /* owner of the records, after CNAMEs */
	/*
	 * Record i is data.v[i] with numbers.v[i]:
	 *   MX    host ("" is the null MX, RFC 7505) and preference, ordered
	 *   PTR   host and 0
	 *   A     4 octets and 0
	 *   AAAA  16 octets and 0
	 *   TXT   the strings of the record joined, and 0
	 *   TLSA  association data and usage << 16 | selector << 8 | matching
	 */
	struct strs data;
	struct nums numbers;
	uint64_t ignored; /* malformed records left out */
	struct str why;   /* TEMPFAIL, BOGUS: for the log */
};

extern const struct msg_schema dns_question_schema;
extern const struct msg_schema dns_reply_schema;

const char *dns_type_name(enum dns_type);

/*
 * One question and its answer over a (kept) conversation of the edge, by the
 * deadline (a clock_now() value). Always fills *reply_r: when `dns` is away
 * or late, the status is DNS_TEMPFAIL. What it points to lives in the arena.
 */
void dns_ask(struct edge *, enum dns_type, struct str name, int64_t deadline,
    struct arena *, struct dns_reply *reply_r);
/*
 * n questions at once (n at most DNS_ASK_MAX), their answers in the same
 * order. The tags in the questions are set here.
 */
void dns_ask_many(struct edge *, struct dns_question *, size_t n,
    int64_t deadline, struct arena *, struct dns_reply *replies_r);
#endif
