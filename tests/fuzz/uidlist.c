/*
 * uidlist.c - the mailbox's log of uids, names in a mailbox
 *
 * Lines with right checksums but any contents never bring uids out of
 * order, names outside of the text, or names that lead elsewhere; lines cut
 * or with an octet changed are as if they ended, or were not there; a list
 * written anew reads back as the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/crc32c.h"
#include "fuzz.h"
#include "store/uidlines.h"

static void init(struct uidlist *u)
{
	*u = (struct uidlist){ .fd = -1, .uidnext = 1 };
	buf_init(&u->text, UIDLIST_SIZE_MAX);
	buf_init(&u->pending, UIDLIST_SIZE_MAX);
}

static void fini(struct uidlist *u)
{
	buf_fini(&u->text);
	buf_fini(&u->pending);
	free(u->list);
}

static void check_list(const struct uidlist *u)
{
	uint32_t last = 0;

	for (size_t i = 0; i < u->count; i++) {
		const struct uidlist_message *m = &u->list[i];
		struct str name;

		fuzz_check(m->uid > last && m->uid < u->uidnext,
		    "uid %u behind %u, next %u", m->uid, last, u->uidnext);
		last = m->uid;
		fuzz_check((size_t)m->name_at + m->name_len < u->text.n,
		    "a name outside of the text");
		name = uidlist_name(u, m);
		fuzz_check(name.p[name.n] == '\0' && name.n > 0 &&
		    str_chr(name, '/') == -1 && name.p[0] != '.' &&
		    !str_has_ctl(name) && m->base_len <= m->name_len,
		    "a name that is none");
		fuzz_check(uidlist_index_of(u, m->uid) == (ssize_t)i,
		    "not found");
	}
	for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
		fuzz_check(memchr(u->keywords[i], '\0',
		    sizeof(u->keywords[i])) != NULL, "a keyword");
}

/* The state in one text, in the lines' own words. */
static void print(const struct uidlist *u, struct buf *b)
{
	buf_printf(b, "%u %u\n", u->uidnext, u->claimed);
	for (size_t i = 0; i < u->count; i++) {
		const struct uidlist_message *m = &u->list[i];

		buf_printf(b, "%u %x %x %lld %lld ", m->uid, m->flags &
		    (MAILBOX_STORED_FLAGS | UIDLIST_IN_NEW | MAILBOX_GONE |
		    UIDLIST_BORN_RECENT), m->letters, (long long)m->date,
		    (long long)m->wire);
		buf_append(b, uidlist_name(u, m));
		buf_append_char(b, '\n');
	}
	for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
		if (u->named & 1u << i)
			buf_printf(b, "%d %s\n", i, u->keywords[i]);
}

/* A whole file: head and lines; false: refused. */
static bool load(struct uidlist *u, struct str text,
    struct uidlines_result *res)
{
	size_t at = 0;

	init(u);
	buf_append(&u->text, text);
	if (uidlines_take_head(u, &at) < 0)
		return false;
	*res = uidlines_apply(u, at, false);
	fuzz_check(!res->no_memory && res->good_end <= u->text.n, "result");
	check_list(u);
	return true;
}

/* Puts the sums in front of lines that have none. */
static void add_sums(struct str lines, struct buf *out)
{
	struct uidlist head;
	uint32_t seed = 0;
	struct str line;

	init(&head);
	for (bool first = true; lines.p != NULL &&
	    str_split(&lines, '\n', &line); first = false) {
		size_t at = 0;

		if (lines.p == NULL && line.n == 0)
			break;
		buf_printf(out, "%08x ", crc32c(seed, line.p, line.n));
		buf_append(out, line);
		buf_append_char(out, '\n');
		buf_reset(&head.text);
		buf_append(&head.text, buf_str(out));
		if (first && uidlines_take_head(&head, &at) == 0)
			seed = head.seed;
	}
	fini(&head);
}

/* What is there now, written as a new list, is the same without the gone. */
static void check_rewritten(const struct uidlist *u)
{
	struct uidlist w, again;
	struct uidlines_result res;
	struct buf one, two;

	init(&w);
	w.validity = u->validity;
	w.nonce = u->nonce ^ 1;
	w.uidnext = u->uidnext;
	w.claimed = u->claimed;
	uidlines_put_head(&w);
	for (size_t i = 0; i < u->count; i++) {
		const struct uidlist_message *m = &u->list[i];

		uidlist_put_add(&w, m->uid, m->flags & UIDLIST_IN_NEW,
		    m->flags & UIDLIST_BORN_RECENT, m->date, m->wire,
		    uidlist_name(u, m));
	}
	for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++)
		if ((u->named & 1u << i) && u->keywords[i][0] != '\0')
			uidlist_put_keyword(&w, i, str_of(u->keywords[i]));
	for (size_t i = 0; i < u->count; i++)
		if (u->list[i].flags & MAILBOX_GONE)
			uidlist_put_removed(&w, &u->list[i].uid, 1);
	fuzz_check(load(&again, buf_str(&w.pending), &res) && res.bad == 0,
	    "its own list");
	buf_init(&one, SIZE_MAX);
	buf_init(&two, SIZE_MAX);
	print(u, &one);
	print(&again, &two);
	fuzz_check_same("a list written anew", buf_str(&one), buf_str(&two));
	buf_fini(&one);
	buf_fini(&two);
	fini(&again);
	fini(&w);
}

/* What the lines before the damage say, no more uids than all of them say. */
static void check_damage(struct str file, const struct uidlist *whole,
    bool all_good, struct fuzz_in *choices)
{
	struct uidlist u;
	struct uidlines_result res = { 0 };
	size_t at = fuzz_number(choices, 2 * file.n);
	char *copy = malloc(file.n + 1);
	size_t n = file.n;

	memcpy(copy, file.p, n);
	if (at >= n)
		n = at - n;	/* cut */
	else
		copy[at] = (char)(copy[at] ^ (1 + fuzz_octet(choices) % 255));
	if (n < file.n || at < n) {
		if (load(&u, str_n(copy, n), &res)) {
			fuzz_check(u.validity == whole->validity &&
			    (!all_good || u.count <= whole->count),
			    "more than there was");
			for (size_t i = 0; i < u.count; i++) {
				/* A line out of order was refused only
				 * for the one that is damaged now. */
				if (!all_good || uidlist_index_of(whole,
				    u.list[i].uid) >= 0)
					continue;
				fuzz_show("file", file);
				fuzz_show("damaged", str_n(copy, n));
				fuzz_check(false, "uid %u was in none",
				    u.list[i].uid);
			}
			if (n == file.n)
				fuzz_check(res.bad > 0, "damage not seen");
		}
		fini(&u);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n), choices = in;
	bool raw = n > 0 && p[0] != 'H';
	struct uidlines_result res = { 0 };
	struct uidlist u;
	struct buf file;

	buf_init(&file, SIZE_MAX);
	if (raw)
		buf_append(&file, in.rest);
	else
		add_sums(in.rest, &file);
	fuzz_budget_start();
	if (load(&u, buf_str(&file), &res)) {
		fuzz_check_steps(1000, n, 10000);
		(void)uidlines_told(&u, 0);
		check_rewritten(&u);
		check_damage(buf_str(&file), &u, res.bad == 0, &choices);
		check_damage(buf_str(&file), &u, res.bad == 0, &choices);
	}
	fini(&u);
	buf_fini(&file);
	fuzz_end();
	return 0;
}
