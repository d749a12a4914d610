#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/crc32c.h"
#include "store/uidlines.h"

#define SUM_LEN 9	/* "%08x " before each line's text */
#define REMOVED_LINE_MAX 4000
/* About what a message's line takes besides its name. */
#define ADD_COST 45

/* Writing */

/* Finishes the line that starts at `from` of pending, without its sum. */
static void end_line(struct uidlist *u, size_t from, uint32_t seed)
{
	static const char hex[] = "0123456789abcdef";
	uint32_t sum;

	if (u->pending.failed)
		return;
	sum = crc32c(seed, u->pending.p + from + SUM_LEN,
	    u->pending.n - from - SUM_LEN);
	for (int i = 0; i < 8; i++)
		u->pending.p[from + (size_t)i] = hex[sum >> (28 - 4 * i) & 15];
	buf_append_char(&u->pending, '\n');
}

static size_t begin_line(struct uidlist *u)
{
	size_t from = u->pending.n;

	buf_append_c(&u->pending, "00000000 ");
	return from;
}

#define PUT_LINE(u, seed_, ...) do { \
	size_t from_ = begin_line(u); \
	buf_printf(&(u)->pending, __VA_ARGS__); \
	end_line(u, from_, seed_); \
} while (0)

static uint32_t seed_of(const struct uidlist *u)
{
	return crc32c(u->nonce, &u->validity, sizeof(u->validity));
}

void uidlines_put_head(struct uidlist *u)
{
	PUT_LINE(u, 0, "H 1 %u %u %u %u", u->validity, u->nonce, u->uidnext,
	    u->claimed);
	u->seed = seed_of(u);
}

static void put_number(struct uidlist *u, int64_t v)
{
	if (v == UIDLIST_UNKNOWN)
		buf_append_c(&u->pending, "- ");
	else
		buf_printf(&u->pending, "%" PRId64 " ", v);
}

void uidlist_put_add(struct uidlist *u, uint32_t uid, bool in_new,
    bool recent, int64_t date, int64_t wire, struct str name)
{
	size_t from = begin_line(u);

	buf_printf(&u->pending, "A %u %c%c ", uid, in_new ? 'n' : 'c',
	    recent ? 'r' : '-');
	put_number(u, date);
	put_number(u, wire);
	buf_append(&u->pending, name);
	end_line(u, from, u->seed);
}

void uidlist_put_name(struct uidlist *u, uint32_t uid, bool in_new,
    struct str name)
{
	PUT_LINE(u, u->seed, "F %u %c " STR_FMT, uid, in_new ? 'n' : 'c',
	    STR_ARG(name));
}

void uidlist_put_info(struct uidlist *u, const struct uidlist_message *m)
{
	size_t from = begin_line(u);

	buf_printf(&u->pending, "I %u ", m->uid);
	put_number(u, m->date);
	put_number(u, m->wire);
	end_line(u, from, u->seed);
}

void uidlist_put_keyword(struct uidlist *u, unsigned bit, struct str name)
{
	PUT_LINE(u, u->seed, "K %c " STR_FMT, 'a' + (int)bit, STR_ARG(name));
}

void uidlist_put_claimed(struct uidlist *u, uint32_t uid)
{
	PUT_LINE(u, u->seed, "R %u", uid);
}

void uidlist_put_uidnext(struct uidlist *u, uint32_t uidnext)
{
	PUT_LINE(u, u->seed, "N %u", uidnext);
}

void uidlist_put_state(struct uidlist *u)
{
	/* It speaks of what the file has. */
	if (u->cur.ctime == 0 || u->fresh.ctime == 0 || u->behind)
		return;
	PUT_LINE(u, u->seed, "S %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
	    u->cur.ctime, u->cur.at, u->fresh.ctime, u->fresh.at);
}

void uidlist_put_removed(struct uidlist *u, const uint32_t *uids, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t from = begin_line(u);
		char sep = ' ';

		buf_append_char(&u->pending, 'E');
		while (i < n && u->pending.n - from < REMOVED_LINE_MAX) {
			size_t k = i;

			while (k + 1 < n && uids[k + 1] == uids[k] + 1)
				k++;
			buf_printf(&u->pending, "%c%u", sep, uids[i]);
			if (k > i)
				buf_printf(&u->pending, ":%u", uids[k]);
			sep = ',';
			i = k + 1;
		}
		end_line(u, from, u->seed);
		if (u->pending.failed)
			return;
	}
}

/* Reading */

static int take_u32(struct str *s, char end, uint32_t *v_r)
{
	uint64_t v = 0;
	size_t i = 0;

	while (i < s->n && i < 11 && ascii_is_digit(s->p[i]))
		v = v * 10 + (uint64_t)(s->p[i++] - '0');
	if (i == 0 || v > UINT32_MAX || (i < s->n && s->p[i] != end))
		return -1;
	*v_r = (uint32_t)v;
	*s = str_from(*s, i + 1);
	return 0;
}

static int take_i64(struct str *s, int64_t *v_r)
{
	uint64_t v = 0;
	size_t i = 0;
	bool minus;

	if (s->n >= 1 && s->p[0] == '-' && (s->n == 1 || s->p[1] == ' ')) {
		*v_r = UIDLIST_UNKNOWN;
		*s = str_from(*s, 2);
		return 0;
	}
	minus = s->n > 0 && s->p[0] == '-';
	if (minus)
		i = 1;
	while (i < s->n && i < 20 && ascii_is_digit(s->p[i]))
		v = v * 10 + (uint64_t)(s->p[i++] - '0');
	if (i == (size_t)minus || v > INT64_MAX ||
	    (i < s->n && s->p[i] != ' '))
		return -1;
	*v_r = minus ? -(int64_t)v : (int64_t)v;
	*s = str_from(*s, i + 1);
	return 0;
}

int uidlines_add(struct uidlist *u, const struct uidlist_message *m)
{
	if (u->count == u->room) {
		size_t room = u->room == 0 ? 64 : u->room * 2;
		void *p;

		if (u->count >= MAILBOX_MESSAGES_MAX ||
		    (p = realloc(u->list, room * sizeof(*u->list))) == NULL) {
			errno = ENOMEM;
			return -1;
		}
		u->list = p;
		u->room = room;
	}
	u->list[u->count++] = *m;
	return 0;
}

static void set_name(struct uidlist *u, struct uidlist_message *m,
    bool in_new, struct str name)
{
	uint32_t flags;

	maildir_name_flags(name, &flags, &m->letters);
	m->flags = (m->flags & ~(uint32_t)(MAILBOX_STORED_FLAGS |
	    UIDLIST_IN_NEW)) | flags | (in_new ? UIDLIST_IN_NEW : 0);
	m->name_at = (uint32_t)(name.p - u->text.p);
	m->name_len = (uint8_t)name.n;
	m->base_len = (uint8_t)maildir_base_len(name);
}

/*
 * A line of another about files: only an S line behind it says that the
 * directories were then as the list has it. (He may have died in between.)
 */
static void state_is_open(struct uidlist *u, bool mine)
{
	if (!mine)
		u->cur.ctime = u->fresh.ctime = 0;
}

enum outcome { GOOD, BAD, NO_MEMORY };

struct reading {
	struct uidlist *u;
	bool mine;
};

static enum outcome take_add(struct reading *r, struct str s)
{
	struct uidlist *u = r->u;
	struct uidlist_message m = { .flags = 0 };
	bool in_new;

	if (take_u32(&s, ' ', &m.uid) < 0 || s.n < 4 || s.p[2] != ' ')
		return BAD;
	in_new = s.p[0] == 'n';
	if (s.p[1] == 'r')
		m.flags |= UIDLIST_BORN_RECENT;
	s = str_from(s, 3);
	if (take_i64(&s, &m.date) < 0 || take_i64(&s, &m.wire) < 0 ||
	    !maildir_name_is_ok(s.p, s.n) || m.uid == 0 ||
	    m.uid == UINT32_MAX ||
	    (u->count > 0 && m.uid <= u->list[u->count - 1].uid))
		return BAD;
	state_is_open(u, r->mine);
	set_name(u, &m, in_new, s);
	if (m.uid >= u->uidnext)
		u->uidnext = m.uid + 1;
	return uidlines_add(u, &m) < 0 ? NO_MEMORY : GOOD;
}

static enum outcome take_name(struct reading *r, struct str s)
{
	struct uidlist *u = r->u;
	struct uidlist_message *m, old;
	uint32_t uid;
	ssize_t i;

	if (take_u32(&s, ' ', &uid) < 0 || s.n < 3 || s.p[1] != ' ' ||
	    !maildir_name_is_ok(s.p + 2, s.n - 2))
		return BAD;
	u->garbage += s.n + ADD_COST;
	state_is_open(u, r->mine);
	if ((i = uidlist_index_of(u, uid)) < 0 ||
	    u->list[i].flags & MAILBOX_GONE)
		return GOOD;
	m = &u->list[i];
	old = *m;
	set_name(u, m, s.p[0] == 'n', str_from(s, 2));
	if (!r->mine && (old.letters != m->letters ||
	    (old.flags ^ m->flags) & MAILBOX_STORED_FLAGS)) {
		m->flags |= MAILBOX_CHANGED;
		u->any_changed = true;
	}
	return GOOD;
}

static enum outcome take_info(struct reading *r, struct str s)
{
	int64_t date, wire;
	uint32_t uid;
	ssize_t i;

	if (take_u32(&s, ' ', &uid) < 0 || take_i64(&s, &date) < 0 ||
	    take_i64(&s, &wire) < 0)
		return BAD;
	r->u->garbage += ADD_COST;
	if ((i = uidlist_index_of(r->u, uid)) < 0)
		return GOOD;
	if (date != UIDLIST_UNKNOWN)
		r->u->list[i].date = date;
	if (wire != UIDLIST_UNKNOWN)
		r->u->list[i].wire = wire;
	return GOOD;
}

static enum outcome take_removed(struct reading *r, struct str s)
{
	struct uidlist *u = r->u;
	struct str part;

	state_is_open(u, r->mine);
	while (str_split(&s, ',', &part)) {
		uint32_t from, to;

		if (take_u32(&part, ':', &from) < 0)
			return BAD;
		to = from;
		if (part.n > 0 && take_u32(&part, ' ', &to) < 0)
			return BAD;
		for (size_t i = uidlist_find(u, from);
		    i < u->count && u->list[i].uid <= to; i++) {
			u->garbage += 2 * ADD_COST + u->list[i].name_len;
			u->list[i].flags |= MAILBOX_GONE;
			u->any_gone = true;
		}
	}
	return GOOD;
}

static enum outcome take_keyword(struct reading *r, struct str s)
{
	char *to;

	/* It is said to clients as it stands here. */
	if (s.n < 3 || s.p[0] < 'a' || s.p[0] > 'z' || s.p[1] != ' ' ||
	    !keyword_is_ok(str_from(s, 2)))
		return BAD;
	to = r->u->keywords[s.p[0] - 'a'];
	memcpy(to, s.p + 2, s.n - 2);
	to[s.n - 2] = '\0';
	r->u->named |= 1u << (s.p[0] - 'a');
	return GOOD;
}

static enum outcome take_claimed(struct reading *r, struct str s)
{
	uint32_t uid;

	if (take_u32(&s, ' ', &uid) < 0)
		return BAD;
	if (uid > r->u->claimed)
		r->u->claimed = uid;
	r->u->garbage += ADD_COST;
	return GOOD;
}

static enum outcome take_uidnext(struct reading *r, struct str s)
{
	uint32_t uid;

	if (take_u32(&s, ' ', &uid) < 0)
		return BAD;
	if (uid > r->u->uidnext)
		r->u->uidnext = uid;
	return GOOD;
}

static enum outcome take_state(struct reading *r, struct str s)
{
	int64_t cur, fresh, cur_at, fresh_at;

	if (take_i64(&s, &cur) < 0 || take_i64(&s, &cur_at) < 0 ||
	    take_i64(&s, &fresh) < 0 || take_i64(&s, &fresh_at) < 0)
		return BAD;
	r->u->garbage += 2 * ADD_COST;
	if (r->mine)
		return GOOD;
	r->u->cur = (struct uidlist_dir){ cur, cur_at, cur_at == 0 };
	r->u->fresh = (struct uidlist_dir){ fresh, fresh_at, fresh_at == 0 };
	return GOOD;
}

static const struct {
	char kind;
	bool told;	/* a client may be told: uid, keyword */
	enum outcome (*take)(struct reading *, struct str);
} kinds[] = {
	{ 'A', true, take_add },
	{ 'F', false, take_name },
	{ 'I', false, take_info },
	{ 'E', false, take_removed },
	{ 'K', true, take_keyword },
	{ 'R', false, take_claimed },
	{ 'N', true, take_uidnext },
	{ 'S', false, take_state },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* line: without its newline. Its text if the sum is right. */
static int check_line(struct str line, uint32_t seed, struct str *text_r)
{
	uint32_t sum = 0;

	if (line.n < SUM_LEN + 1 || line.p[8] != ' ')
		return -1;
	for (int i = 0; i < 8; i++) {
		int d = hex_value(line.p[i]);

		if (d < 0)
			return -1;
		sum = sum << 4 | (uint32_t)d;
	}
	*text_r = str_from(line, SUM_LEN);
	return sum == crc32c(seed, text_r->p, text_r->n) ? 0 : -1;
}

/* The line at `at` of text, up to its newline. False: incomplete. */
static bool line_at(const struct uidlist *u, size_t at, struct str *line_r)
{
	const char *p = u->text.p + at, *nl;

	if (at >= u->text.n ||
	    (nl = memchr(p, '\n', u->text.n - at)) == NULL)
		return false;
	*line_r = str_n(p, (size_t)(nl - p));
	return true;
}

int uidlines_take_head(struct uidlist *u, size_t *at)
{
	struct str line, s;
	uint32_t version;

	if (!line_at(u, *at, &line) || check_line(line, 0, &s) < 0 ||
	    !str_starts(s, STR("H ")))
		return -1;
	s = str_from(s, 2);
	if (take_u32(&s, ' ', &version) < 0 || version != 1 ||
	    take_u32(&s, ' ', &u->validity) < 0 ||
	    take_u32(&s, ' ', &u->nonce) < 0 ||
	    take_u32(&s, ' ', &u->uidnext) < 0 ||
	    take_u32(&s, ' ', &u->claimed) < 0 || u->validity == 0 ||
	    u->uidnext == 0)
		return -1;
	u->seed = seed_of(u);
	*at += line.n + 1;
	return 0;
}

static enum outcome apply_line(struct reading *r, struct str text)
{
	if (text.n < 3 || text.p[1] != ' ')
		return BAD;
	for (size_t k = 0; k < KINDS; k++)
		if (kinds[k].kind == text.p[0])
			return kinds[k].take(r, str_from(text, 2));
	return BAD;
}

struct uidlines_result uidlines_apply(struct uidlist *u, size_t from,
    bool mine)
{
	struct reading r = { u, mine };
	struct uidlines_result res = { .good_end = from };
	struct str line, text;
	size_t at = from;

	while (line_at(u, at, &line)) {
		enum outcome o = check_line(line, u->seed, &text) < 0
		    ? BAD : GOOD;

		if (o == GOOD) {
			/* Names are C strings where they stand. */
			u->text.p[at + line.n] = '\0';
			o = apply_line(&r, text);
		}
		at += line.n + 1;
		if (o == NO_MEMORY) {
			res.no_memory = true;
			return res;
		}
		if (o == GOOD)
			res.good_end = at;
		else
			res.bad += line.n + 1;
	}
	res.bad += u->text.n - at;
	return res;
}

bool uidlines_told(const struct uidlist *u, size_t from)
{
	const char *p = u->text.p + from, *end = u->text.p + u->text.n;

	while (p < end && (size_t)(end - p) > SUM_LEN) {
		const char *nul = memchr(p, '\0', (size_t)(end - p));

		for (size_t k = 0; k < KINDS; k++)
			if (kinds[k].told && kinds[k].kind == p[SUM_LEN])
				return true;
		if (nul == NULL)
			break;
		p = nul + 1;
	}
	return false;
}
