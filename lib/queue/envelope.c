#include "queue/envelope.h"
#include "queue/wire.h"

/*
 * An envelope is a row of fields: 1 octet of tag, 4 of length, the value.
 * Every tag of the table stands once and in order, recipients after them.
 * A recipient's value is itself a row of five strings (4 octets of length
 * each) and 4 octets of NOTIFY.
 */
enum kind { NUMBER, STRING };

struct field {
	unsigned char tag;
	enum kind kind;
	size_t offset;
	size_t size;		/* of the number's member */
	const char *bad;	/* what to say of it */
};

#define S(tag, member) { tag, STRING, \
	offsetof(struct queue_envelope, member), 0, \
	"envelope: bad " #member }
#define N(tag, member) { tag, NUMBER, \
	offsetof(struct queue_envelope, member), \
	sizeof(((struct queue_envelope *)0)->member), \
	"envelope: bad " #member }
#define TAG_RECIPIENT 'R'

static const struct field fields[] = {
	N('T', arrival), N('Z', size), N('F', flags), S('S', sender),
	S('n', client_name), S('a', client_addr), N('p', client_port),
	S('h', helo), S('x', protocol), S('l', login), S('m', login_method),
	S('e', envid), N('r', ret), S('o', original_id),
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static bool is_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n')
			return false;
	return true;
}

static uint64_t get_number(const void *p, size_t size)
{
	uint32_t v32;
	uint64_t v64;

	if (size == 4) {
		memcpy(&v32, p, 4);
		return v32;
	}
	memcpy(&v64, p, 8);
	return v64;
}

static int set_number(void *p, size_t size, uint64_t v)
{
	uint32_t v32 = (uint32_t)v;

	if (size == 4) {
		if (v > UINT32_MAX)
			return -1;
		memcpy(p, &v32, 4);
	} else {
		memcpy(p, &v, 8);
	}
	return 0;
}

static void add_string(struct buf *out, struct str s)
{
	unsigned char raw[4];

	put32(raw, (uint32_t)s.n);
	buf_append_n(out, raw, 4);
	buf_append(out, s);
}

static int add_checked(struct buf *out, struct str s, const char **why_r)
{
	if (s.n > QUEUE_STRING_MAX) {
		*why_r = "a string of the envelope is too long";
		return -1;
	}
	if (!is_clean(s)) {
		*why_r = "a string of the envelope has a NUL, CR or LF";
		return -1;
	}
	add_string(out, s);
	return 0;
}

static const size_t recipient_strings[] = {
	offsetof(struct queue_recipient, address),
	offsetof(struct queue_recipient, original),
	offsetof(struct queue_recipient, orcpt),
	offsetof(struct queue_recipient, transport),
	offsetof(struct queue_recipient, nexthop),
};

#define RECIPIENT_STRINGS \
	(sizeof(recipient_strings) / sizeof(recipient_strings[0]))

static int encode_recipient(const struct queue_recipient *r, struct buf *out,
    const char **why_r)
{
	unsigned char raw[4];
	size_t n = 4;
	char tag = TAG_RECIPIENT;

	for (size_t i = 0; i < RECIPIENT_STRINGS; i++)
		n += 4 + ((const struct str *)(const void *)
		    ((const char *)r + recipient_strings[i]))->n;
	buf_append_n(out, &tag, 1);
	put32(raw, (uint32_t)n);
	buf_append_n(out, raw, 4);
	for (size_t i = 0; i < RECIPIENT_STRINGS; i++)
		if (add_checked(out, *(const struct str *)(const void *)
		    ((const char *)r + recipient_strings[i]), why_r) < 0)
			return -1;
	put32(raw, r->notify);
	buf_append_n(out, raw, 4);
	return 0;
}

int queue_envelope_encode(const struct queue_envelope *e, struct buf *out,
    const char **why_r)
{
	size_t start = out->n;

	if (e->recipient_count > QUEUE_RECIPIENT_MAX) {
		*why_r = "too many recipients";
		return -1;
	}
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *f = &fields[i];
		const char *member = (const char *)e + f->offset;

		buf_append_n(out, &f->tag, 1);
		if (f->kind == NUMBER) {
			unsigned char raw[12] = { 8, 0, 0, 0 };

			put64(raw + 4, get_number(member, f->size));
			buf_append_n(out, raw, 12);
		} else if (add_checked(out, *(const struct str *)
		    (const void *)member, why_r) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < e->recipient_count; i++)
		if (encode_recipient(&e->recipients[i], out, why_r) < 0)
			return -1;
	if (out->failed || out->n - start > QUEUE_ENVELOPE_MAX) {
		*why_r = "the envelope is too long";
		return -1;
	}
	return 0;
}

/* Takes 4 octets of length and that many from the front. */
static int take_string(struct str *in, struct str *s_r)
{
	uint32_t n;

	if (in->n < 4)
		return -1;
	n = get32(in->p);
	if (n > in->n - 4)
		return -1;
	*s_r = str_n(in->p + 4, n);
	*in = str_from(*in, 4 + (size_t)n);
	return 0;
}

static int take_field(struct str *in, unsigned char tag, struct str *value_r)
{
	if (in->n == 0 || (unsigned char)in->p[0] != tag)
		return -1;
	*in = str_from(*in, 1);
	return take_string(in, value_r);
}

static int decode_recipient(struct str in, struct queue_recipient *r)
{
	for (size_t i = 0; i < RECIPIENT_STRINGS; i++) {
		struct str *s = (struct str *)(void *)
		    ((char *)r + recipient_strings[i]);

		if (take_string(&in, s) < 0 || s->n > QUEUE_STRING_MAX ||
		    !is_clean(*s))
			return -1;
	}
	if (in.n != 4)
		return -1;
	r->notify = get32(in.p);
	return 0;
}

static int decode_recipients(struct str in, struct arena *arena,
    struct queue_envelope *e, const char **why_r)
{
	struct str rest = in, value;
	size_t n = 0;

	while (rest.n > 0) {
		if (take_field(&rest, TAG_RECIPIENT, &value) < 0) {
			*why_r = "envelope: bad recipient";
			return -1;
		}
		if (++n > QUEUE_RECIPIENT_MAX) {
			*why_r = "envelope: too many recipients";
			return -1;
		}
	}
	e->recipients = arena_array(arena, n ? n : 1,
	    sizeof(struct queue_recipient));
	if (e->recipients == NULL) {
		*why_r = "out of memory";
		return -1;
	}
	for (rest = in; rest.n > 0;) {
		take_field(&rest, TAG_RECIPIENT, &value);
		if (decode_recipient(value,
		    &e->recipients[e->recipient_count++]) < 0) {
			*why_r = "envelope: bad recipient";
			return -1;
		}
	}
	return 0;
}

int queue_envelope_decode(struct str in, struct arena *arena,
    struct queue_envelope *e, const char **why_r)
{
	*e = (struct queue_envelope){ 0 };
	if (in.n > QUEUE_ENVELOPE_MAX) {
		*why_r = "envelope: too long";
		return -1;
	}
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *f = &fields[i];
		char *member = (char *)e + f->offset;
		struct str value;

		*why_r = f->bad;
		if (take_field(&in, f->tag, &value) < 0)
			return -1;
		if (f->kind == STRING) {
			if (value.n > QUEUE_STRING_MAX || !is_clean(value))
				return -1;
			memcpy(member, &value, sizeof(value));
		} else if (value.n != 8 ||
		    set_number(member, f->size, get64(value.p)) < 0) {
			return -1;
		}
	}
	if (e->ret > QUEUE_RET_HDRS) {
		*why_r = "envelope: bad ret";
		return -1;
	}
	return decode_recipients(in, arena, e, why_r);
}
