#include "dns/answer.h"

#define HEADER_SIZE 12
#define CLASS_IN 1
#define FLAG_TC 0x0200
#define TYPE_CNAME 5
#define TYPE_SOA 6
#define RCODE_NXDOMAIN 3
#define LABEL_MAX 63
#define RECORDS_SCAN_MAX 5000

/* A packet and how far it was read. */
struct reader {
	struct str packet;
	size_t at;
};

/* A domain name in presentation form without the final dot; ok is false when
 * a label holds something that is no host name's. */
struct name {
	char text[DNS_NAME_MAX + 2];
	size_t n;
	bool plain;
};

struct record {
	struct name owner;
	unsigned type, class;
	uint32_t ttl;
	struct str rdata;
	size_t rdata_at; /* offset in the packet, for compressed names */
};

static int read_u16(struct reader *r, unsigned *v)
{
	const unsigned char *p;

	if (r->packet.n - r->at < 2)
		return -1;
	p = (const unsigned char *)r->packet.p + r->at;
	*v = (unsigned)(p[0] << 8 | p[1]);
	r->at += 2;
	return 0;
}

static int read_u32(struct reader *r, uint32_t *v)
{
	unsigned high, low;

	if (read_u16(r, &high) < 0 || read_u16(r, &low) < 0)
		return -1;
	*v = (uint32_t)high << 16 | low;
	return 0;
}

static bool is_host_octet(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

/* Adds a label; a name that gets too long is an error. */
static int add_label(struct name *name, struct str label)
{
	size_t need = name->n + (name->n > 0) + label.n;

	if (need > DNS_NAME_MAX)
		return -1;
	if (name->n > 0)
		name->text[name->n++] = '.';
	for (size_t i = 0; i < label.n; i++) {
		char c = label.p[i];

		if (!is_host_octet(c))
			name->plain = false;
		/* a dot inside a label must not look like two labels */
		name->text[name->n++] = c == '.' ? '\\' : c;
	}
	return 0;
}

/*
 * RFC 1035 4.1.4. A pointer must point before the place where this run of
 * labels began, so every chain of pointers ends.
 */
static int read_name(struct reader *r, struct name *name)
{
	size_t at = r->at, floor = r->at;
	bool jumped = false;

	name->n = 0;
	name->plain = true;
	for (;;) {
		unsigned char len;

		if (at >= r->packet.n)
			return -1;
		len = (unsigned char)r->packet.p[at];
		if (len == 0) {
			if (!jumped)
				r->at = at + 1;
			return 0;
		}
		if ((len & 0xc0) == 0xc0) {
			size_t to;

			if (r->packet.n - at < 2)
				return -1;
			to = (size_t)(len & 0x3f) << 8 |
			    (unsigned char)r->packet.p[at + 1];
			if (!jumped)
				r->at = at + 2;
			if (to >= floor)
				return -1;
			jumped = true;
			floor = at = to;
			continue;
		}
		if (len > LABEL_MAX || r->packet.n - at - 1 < len)
			return -1;
		if (add_label(name, str_n(r->packet.p + at + 1, len)) < 0)
			return -1;
		at += 1 + (size_t)len;
	}
}

static int read_record(struct reader *r, struct record *rec)
{
	unsigned len;

	if (read_name(r, &rec->owner) < 0 || read_u16(r, &rec->type) < 0 ||
	    read_u16(r, &rec->class) < 0 || read_u32(r, &rec->ttl) < 0 ||
	    read_u16(r, &len) < 0 || r->packet.n - r->at < len)
		return -1;
	/* RFC 2181 8: a TTL with the top bit set is zero. */
	if (rec->ttl > INT32_MAX)
		rec->ttl = 0;
	if (rec->ttl > ANSWER_TTL_MAX)
		rec->ttl = ANSWER_TTL_MAX;
	rec->rdata = str_n(r->packet.p + r->at, len);
	rec->rdata_at = r->at;
	r->at += len;
	return 0;
}

/* A name in rdata that starts `skip` octets in and must end with it. */
static int rdata_name(const struct reader *r, const struct record *rec,
    size_t skip, struct name *name)
{
	struct reader in = { r->packet, rec->rdata_at + skip };

	if (rec->rdata.n <= skip || read_name(&in, name) < 0 ||
	    in.at != rec->rdata_at + rec->rdata.n)
		return -1;
	return 0;
}

static struct str name_str(const struct name *name)
{
	return str_n(name->text, name->n);
}

bool answer_is_hostname(struct str s)
{
	size_t label = 0;
	bool letter = false;

	if (s.n == 0 || s.n > DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i <= s.n; i++) {
		if (i == s.n || s.p[i] == '.') {
			if (label == 0 || label > LABEL_MAX ||
			    s.p[i - 1] == '-' || s.p[i - label] == '-')
				return false;
			label = 0;
			/* "127.0.0.1" is no host name: the last label tells */
			if (i < s.n)
				letter = false;
			continue;
		}
		if (!is_host_octet(s.p[i]))
			return false;
		if (ascii_is_alpha(s.p[i]))
			letter = true;
		label++;
	}
	return letter;
}

bool answer_may_ask(struct str s)
{
	size_t label = 0;

	if (s.n == 0 || s.n > DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i <= s.n; i++) {
		if (i == s.n || s.p[i] == '.') {
			if (label == 0 || label > LABEL_MAX)
				return false;
			label = 0;
			continue;
		}
		if (s.p[i] <= ' ' || s.p[i] >= 127 || s.p[i] == '\\' ||
		    s.p[i] == '"')
			return false;
		label++;
	}
	return true;
}

/* One record's value. 0, or -1: malformed, to be left out. */
static int convert(const struct reader *r, const struct record *rec,
    enum dns_type type, struct arena *arena, struct str *data,
    uint64_t *number)
{
	const unsigned char *p = (const unsigned char *)rec->rdata.p;
	struct name name;
	char *out;
	size_t n = 0;

	*number = 0;
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (rec->rdata.n != (type == DNS_A ? 4 : 16))
			return -1;
		*data = arena_str(arena, rec->rdata);
		return 0;
	case DNS_MX: /* RFC 1035 3.3.9 */
		if (rdata_name(r, rec, 2, &name) < 0)
			return -1;
		/* RFC 7505 3: the root as exchange is the null MX */
		if (name.n > 0 && (!name.plain ||
			!answer_is_hostname(name_str(&name))))
			return -1;
		*number = (uint64_t)(p[0] << 8 | p[1]);
		*data = arena_str(arena, name_str(&name));
		return 0;
	case DNS_PTR:
		if (rdata_name(r, rec, 0, &name) < 0 || !name.plain ||
		    !answer_is_hostname(name_str(&name)))
			return -1;
		*data = arena_str(arena, name_str(&name));
		return 0;
	case DNS_TXT: /* RFC 7208 3.3, RFC 6376 3.6.2.2: joined, no space */
		if (rec->rdata.n == 0 ||
		    (out = arena_alloc(arena, rec->rdata.n)) == NULL)
			return -1;
		for (size_t i = 0; i < rec->rdata.n; i += 1 + (size_t)p[i]) {
			if (p[i] > rec->rdata.n - i - 1)
				return -1;
			memcpy(out + n, p + i + 1, p[i]);
			n += p[i];
		}
		*data = str_n(out, n);
		return 0;
	case DNS_TLSA: /* RFC 6698 2.1: without data it matches nothing */
		if (rec->rdata.n < 4)
			return -1;
		*number = (uint64_t)(p[0] << 16 | p[1] << 8 | p[2]);
		*data = arena_str(arena, str_from(rec->rdata, 3));
		return 0;
	}
	return -1;
}

static void fail(struct dns_reply *reply, const char *why)
{
	*reply = (struct dns_reply){ .status = DNS_TEMPFAIL,
		.why = str_of(why) };
}

static int skip_questions(struct reader *r, unsigned count)
{
	struct name name;
	unsigned v;

	while (count-- > 0)
		if (read_name(r, &name) < 0 || read_u16(r, &v) < 0 ||
		    read_u16(r, &v) < 0)
			return -1;
	return 0;
}

static const char *const rcode_text[] = {
	[1] = "the server says FORMERR", [2] = "the server says SERVFAIL",
	[4] = "the server says NOTIMP", [5] = "the server says REFUSED",
};

static int check_header(struct reader *r, unsigned counts[3],
    struct dns_reply *reply)
{
	unsigned v, rcode;
	const char *why = "damaged DNS packet";

	if (r->packet.n < HEADER_SIZE || read_u16(r, &v) < 0 ||
	    read_u16(r, &v) < 0) {
		fail(reply, why);
		return -1;
	}
	rcode = v & 15;
	for (int i = 0; i < 3; i++)
		read_u16(r, &counts[i]);
	r->at = HEADER_SIZE;
	if (rcode != 0 && rcode != RCODE_NXDOMAIN) {
		if (rcode < sizeof(rcode_text) / sizeof(rcode_text[0]))
			why = rcode_text[rcode];
		else
			why = "the server answers with an error";
		fail(reply, why);
		return -1;
	}
	/* What libunbound makes of an answer that does not fit even by TCP:
	 * what is missing must not be read as "no such record". */
	if (v & FLAG_TC) {
		fail(reply, "the answer is truncated");
		return -1;
	}
	reply->status = rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
	return 0;
}

/*
 * Follows the CNAMEs among the answers from `name` to its end. Every step
 * looks through the answers again: they come in any order.
 */
static int follow_cnames(struct reader start, unsigned count,
    struct name *name, uint32_t *ttl)
{
	for (int hops = 0; hops <= ANSWER_CNAME_MAX; hops++) {
		struct reader r = start;
		struct record rec;
		bool found = false;

		for (unsigned i = 0; i < count && !found; i++) {
			if (read_record(&r, &rec) < 0)
				return -1;
			found = rec.type == TYPE_CNAME &&
			    rec.class == CLASS_IN &&
			    str_eq_nocase(name_str(&rec.owner),
				name_str(name));
		}
		if (!found)
			return 0;
		if (rdata_name(&r, &rec, 0, name) < 0)
			return -1;
		if (rec.ttl < *ttl)
			*ttl = rec.ttl;
	}
	return -1;
}

/* RFC 2308 5: how long "there is none" holds. */
static uint32_t negative_ttl(struct reader r, unsigned count)
{
	struct record rec;
	struct name name;

	for (unsigned i = 0; i < count && read_record(&r, &rec) == 0; i++) {
		struct reader in = { r.packet, rec.rdata_at };
		uint32_t v[5];
		int k = 0;

		if (rec.type != TYPE_SOA || read_name(&in, &name) < 0 ||
		    read_name(&in, &name) < 0)
			continue;
		while (k < 5 && read_u32(&in, &v[k]) == 0)
			k++;
		if (k == 5)
			return v[4] < rec.ttl ? v[4] : rec.ttl;
	}
	return 0;
}

/* The preferred DNS_RECORD_MAX so far, kept in order for MX by insertion. */
static void keep_record(struct dns_reply *reply, bool ordered,
    struct str data, uint64_t number)
{
	size_t at = reply->data.n;

	if (ordered)
		while (at > 0 && reply->numbers.v[at - 1] > number)
			at--;
	if (at == DNS_RECORD_MAX)
		return;
	if (reply->data.n == DNS_RECORD_MAX)
		reply->data.n--;
	memmove(&reply->data.v[at + 1], &reply->data.v[at],
	    (reply->data.n - at) * sizeof(reply->data.v[0]));
	memmove(&reply->numbers.v[at + 1], &reply->numbers.v[at],
	    (reply->data.n - at) * sizeof(reply->numbers.v[0]));
	reply->data.v[at] = data;
	reply->numbers.v[at] = number;
	reply->numbers.n = ++reply->data.n;
}

static int collect(struct reader *r, unsigned count, const struct name *name,
    enum dns_type type, struct arena *arena, struct dns_reply *reply,
    uint32_t *ttl)
{
	struct record rec;

	for (unsigned i = 0; i < count; i++) {
		struct str data;
		uint64_t number;

		if (i == RECORDS_SCAN_MAX || read_record(r, &rec) < 0)
			return -1;
		if (rec.type != (unsigned)type || rec.class != CLASS_IN ||
		    !str_eq_nocase(name_str(&rec.owner), name_str(name)))
			continue;
		if (convert(r, &rec, type, arena, &data, &number) < 0) {
			reply->ignored++;
			continue;
		}
		keep_record(reply, type == DNS_MX, data, number);
		if (rec.ttl < *ttl)
			*ttl = rec.ttl;
	}
	return 0;
}

void answer_parse(struct str packet, struct str qname, enum dns_type type,
    struct arena *arena, struct dns_reply *reply)
{
	struct reader r = { packet, 0 }, answers;
	unsigned counts[3] = { 0 };
	struct name name = { .plain = true };
	uint32_t ttl = ANSWER_TTL_MAX;

	*reply = (struct dns_reply){ .status = DNS_NODATA };
	if (check_header(&r, counts, reply) < 0)
		return;
	if (qname.n > DNS_NAME_MAX || skip_questions(&r, counts[0]) < 0)
		goto damaged;
	memcpy(name.text, qname.p, qname.n);
	name.n = qname.n;
	answers = r;
	if (follow_cnames(answers, counts[1], &name, &ttl) < 0) {
		fail(reply, "damaged or too long CNAME chain");
		return;
	}
	reply->data.v = arena_array(arena, DNS_RECORD_MAX,
	    sizeof(struct str));
	reply->numbers.v = arena_array(arena, DNS_RECORD_MAX,
	    sizeof(uint64_t));
	reply->canonical = arena_str(arena, name_str(&name));
	if (reply->data.v == NULL || reply->numbers.v == NULL)
		goto no_memory;
	if (collect(&r, counts[1], &name, type, arena, reply, &ttl) < 0)
		goto damaged;
	if (arena_failed(arena))
		goto no_memory;
	if (reply->data.n > 0)
		reply->status = DNS_OK;
	else
		ttl = negative_ttl(r, counts[2]);
	reply->ttl = ttl;
	return;
damaged:
	fail(reply, "damaged DNS packet");
	return;
no_memory:
	fail(reply, "DNS answer over the memory limit");
}
