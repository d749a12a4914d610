/*
 * LIST (RFC 3501 6.3.8; RFC 5258, 5819, 6154) and LSUB (RFC 3501 6.3.9)
 *
 * Both make one table of all names: mailboxes, their implied parents,
 * subscribed names and the parents of those. Then a row is shown when it
 * matches a pattern and the selection, or (RECURSIVEMATCH, and LSUB with "%")
 * when one below it is selected and does not match itself.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/map.h"
#include "imapd/list.h"

enum option { SUBSCRIBED = 1, RECURSIVE = 2, SPECIAL = 4, REMOTE = 8,
	CHILDREN = 16, STATUS = 32 };

struct request {
	bool lsub, extended;
	bool empty;			/* a pattern was "" */
	unsigned select, back;		/* enum option */
	unsigned status_items;
	struct str reference;
	struct str *patterns;
	size_t pattern_count;
};

struct row {
	struct str name;
	bool exists, has_children, subscribed;
	bool matches, selected;
	bool child_selected;		/* one below is selected */
	bool child_hidden;		/* and matches no pattern */
};

struct rows {
	struct row *r;
	size_t n, room;
	struct map *by_name;
};

/* RFC 6154 section 2: by the names that clients give them. */
static const struct { const char *name, *attribute; } special_uses[] = {
	{ "Archive", "\\Archive" }, { "Archives", "\\Archive" },
	{ "Drafts", "\\Drafts" }, { "Junk", "\\Junk" }, { "Spam", "\\Junk" },
	{ "Sent", "\\Sent" }, { "Sent Messages", "\\Sent" },
	{ "Trash", "\\Trash" }, { "Deleted Messages", "\\Trash" },
};

static const char *special_use(const struct row *row)
{
	if (!row->exists)
		return NULL;
	for (size_t i = 0; i < sizeof(special_uses) / sizeof(special_uses[0]);
	    i++)
		if (str_eq_nocase_c(row->name, special_uses[i].name))
			return special_uses[i].attribute;
	return NULL;
}

/* --- the command --- */

static int parse_options(struct parse *p, bool back, struct request *q)
{
	static const struct {
		const char *word;
		bool select, back;
		unsigned option;
	} words[] = {
		{ "SUBSCRIBED", true, true, SUBSCRIBED },
		{ "SPECIAL-USE", true, true, SPECIAL },
		{ "RECURSIVEMATCH", true, false, RECURSIVE },
		{ "REMOTE", true, false, REMOTE },
		{ "CHILDREN", false, true, CHILDREN },
		{ "STATUS", false, true, STATUS },
	};
	unsigned *options = back ? &q->back : &q->select;
	struct str word;
	size_t i;

	if (parse_char(p, '(') < 0)
		return -1;
	if (parse_try(p, ')'))
		return 0;
	do {
		if (parse_atom(p, &word) < 0)
			return -1;
		for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if ((back ? words[i].back : words[i].select) &&
			    str_eq_nocase_c(word, words[i].word))
				break;
		if (i == sizeof(words) / sizeof(words[0]))
			return parse_fail(p, "Unknown LIST option");
		*options |= words[i].option;
		if (words[i].option == STATUS && (parse_space(p) < 0 ||
		    status_parse_items(p, &q->status_items) < 0))
			return -1;
	} while (parse_try(p, ' '));
	return parse_char(p, ')');
}

static int parse_pattern(struct session *s, struct request *q)
{
	struct str pattern, whole;
	char *copy;

	if (parse_list_mailbox(&s->parse, &pattern) < 0)
		return -1;
	if (pattern.n == 0)
		q->empty = true;
	if (q->pattern_count == LIST_PATTERNS_MAX)
		return parse_fail(&s->parse, "Too many patterns");
	copy = arena_alloc(s->arena, q->reference.n + pattern.n + 1);
	if (copy == NULL)
		return parse_fail(&s->parse, "Command needs too much memory");
	if (q->reference.n > 0)
		memcpy(copy, q->reference.p, q->reference.n);
	if (pattern.n > 0)
		memcpy(copy + q->reference.n, pattern.p, pattern.n);
	whole = list_simplify(copy, q->reference.n + pattern.n);
	/* RFC 5258 section 3: "" among several is ignored. A longer one
	 * than any name matches nothing. */
	if (pattern.n > 0 && whole.n <= LIST_PATTERN_MAX)
		q->patterns[q->pattern_count++] = whole;
	return 0;
}

static int parse_patterns(struct session *s, struct request *q)
{
	struct parse *p = &s->parse;

	q->patterns = arena_array(s->arena, LIST_PATTERNS_MAX,
	    sizeof(*q->patterns));
	if (q->patterns == NULL)
		return parse_fail(p, "Command needs too much memory");
	if (q->lsub || !parse_try(p, '('))
		return parse_pattern(s, q);
	q->extended = true;
	do {
		if (parse_pattern(s, q) < 0)
			return -1;
	} while (parse_try(p, ' '));
	return parse_char(p, ')');
}

static int parse_list(struct session *s, struct request *q)
{
	struct parse *p = &s->parse;

	if (parse_space(p) < 0)
		return -1;
	if (!q->lsub && parse_peek(p) == '(') {
		q->extended = true;
		if (parse_options(p, false, q) < 0 || parse_space(p) < 0)
			return -1;
	}
	if (parse_astring(p, &q->reference) < 0 || parse_space(p) < 0 ||
	    parse_patterns(s, q) < 0)
		return -1;
	if (!q->lsub && parse_try(p, ' ')) {
		q->extended = true;
		if (!parse_try_word(p, "RETURN"))
			return parse_fail(p, "Expected RETURN");
		if (parse_space(p) < 0 || parse_options(p, true, q) < 0)
			return -1;
	}
	if (parse_end(p) < 0)
		return -1;
	/* RFC 5258 3.1: it needs something to match. */
	if ((q->select & RECURSIVE) != 0 &&
	    (q->select & (SUBSCRIBED | SPECIAL)) == 0)
		return parse_fail(p, "RECURSIVEMATCH cannot be alone");
	if ((q->select & SUBSCRIBED) != 0)
		q->back |= SUBSCRIBED;
	return 0;
}

/* --- the table --- */

static struct row *row_of(struct rows *rows, struct str name)
{
	/* Values are numbers plus one: the array moves. */
	uintptr_t at = (uintptr_t)map_find(rows->by_name, name);

	return at == 0 ? NULL : &rows->r[at - 1];
}

static struct row *make_row(struct rows *rows, struct str name)
{
	struct row *row = row_of(rows, name);

	if (row != NULL)
		return row;
	if (rows->n == rows->room) {
		size_t room = rows->room ? rows->room * 2 : 64;
		struct row *r = realloc(rows->r, room * sizeof(*r));

		if (r == NULL)
			return NULL;
		rows->r = r;
		rows->room = room;
	}
	if (map_set(rows->by_name, name, (void *)(uintptr_t)(rows->n + 1),
	    NULL) < 0)
		return NULL;
	row = &rows->r[rows->n++];
	*row = (struct row){ .name = name };
	return row;
}

/* The parent's name; n is 0 at the top. */
static struct str parent_of(struct str name)
{
	ssize_t at = str_rchr(name, STORE_SEPARATOR);

	return at < 0 ? STR_NONE : str_sub(name, 0, (size_t)at);
}

static int add_subscribed(struct rows *rows, struct str name)
{
	struct row *row = make_row(rows, name);

	if (row == NULL)
		return -1;
	row->subscribed = true;
	for (name = parent_of(name); name.n > 0; name = parent_of(name))
		if (make_row(rows, name) == NULL)
			return -1;
	return 0;
}

static int fill(struct session *s, const struct request *q,
    struct rows *rows, const char **why)
{
	struct store_entry *entries = NULL;
	struct str *names = NULL;
	size_t n = 0, k = 0;
	bool subscribed = ((q->select | q->back) & SUBSCRIBED) != 0;

	if (store_list(s->server->store, s->arena, &entries, &n, why) < 0 ||
	    (subscribed && store_subscriptions(s->server->store, s->arena,
	    &names, &k, why) < 0))
		return -1;
	errno = ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct row *row = make_row(rows, entries[i].name);

		if (row == NULL)
			return -1;
		row->exists = entries[i].exists;
		row->has_children = entries[i].has_children;
	}
	/* A name that only somebody subscribed to is a row where it is
	 * asked for; else a mailbox gets its mark. */
	for (size_t i = 0; i < k; i++) {
		struct row *row;

		if ((q->select & SUBSCRIBED) != 0) {
			if (add_subscribed(rows, names[i]) < 0)
				return -1;
		} else if ((row = row_of(rows, names[i])) != NULL) {
			row->subscribed = true;
		}
	}
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	bool ix = str_eq_c(x->name, "INBOX"), iy = str_eq_c(y->name, "INBOX");

	return ix != iy ? (ix ? -1 : 1) : str_cmp(x->name, y->name);
}

static void select_rows(const struct request *q, struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		struct row *row = &rows->r[i];

		for (size_t k = 0; k < q->pattern_count && !row->matches; k++)
			row->matches = list_match(q->patterns[k], row->name);
		row->selected =
		    ((q->select & SUBSCRIBED) == 0 || row->subscribed) &&
		    ((q->select & SPECIAL) == 0 || special_use(row) != NULL);
	}
	if ((q->select & RECURSIVE) == 0)
		return;
	for (size_t i = 0; i < rows->n; i++) {
		const struct row *row = &rows->r[i];
		struct str name = row->name;

		if (!row->selected)
			continue;
		while ((name = parent_of(name)).n > 0) {
			struct row *parent = row_of(rows, name);

			if (parent == NULL)
				continue;
			parent->child_selected = true;
			if (!row->matches)
				parent->child_hidden = true;
		}
	}
}

/* --- the answer --- */

static void append_attributes(const struct request *q, const struct row *row,
    struct buf *out)
{
	const char *use = special_use(row);

	if (q->lsub) {
		/* RFC 3501 6.3.9: not subscribed, but one below it is. */
		buf_append_c(out, row->selected ? "" : "\\Noselect");
		return;
	}
	/* RFC 5258 section 3: \NonExistent implies \Noselect, which older
	 * clients know. */
	if (!row->exists)
		buf_append_c(out, q->extended ? "\\NonExistent \\Noselect " :
		    "\\Noselect ");
	buf_append_c(out, row->has_children ? "\\HasChildren" :
	    "\\HasNoChildren");
	if (use != NULL)
		buf_printf(out, " %s", use);
	if ((q->back & SUBSCRIBED) != 0 && row->subscribed)
		buf_append_c(out, " \\Subscribed");
}

static void say_row(struct session *s, const struct request *q,
    const struct row *row)
{
	struct store_status status;

	buf_printf(&s->out, "* %s (", q->lsub ? "LSUB" : "LIST");
	append_attributes(q, row, &s->out);
	buf_printf(&s->out, ") \"%c\" ", STORE_SEPARATOR);
	session_append_name(&s->out, row->name);
	/* RFC 5258 3.5 */
	if (!q->lsub && row->child_selected) {
		const char *sep = "";

		buf_append_c(&s->out, " (\"CHILDINFO\" (");
		if ((q->select & SUBSCRIBED) != 0) {
			buf_append_c(&s->out, "\"SUBSCRIBED\"");
			sep = " ";
		}
		if ((q->select & SPECIAL) != 0)
			buf_printf(&s->out, "%s\"SPECIAL-USE\"", sep);
		buf_append_c(&s->out, "))");
	}
	buf_append_c(&s->out, "\r\n");
	session_write_out(s);
	/* RFC 5819 section 2: none for what cannot be selected. */
	if (q->status_items != 0 && row->exists &&
	    store_status(s->server->store, row->name, &status, NULL) == 0)
		status_say(s, row->name, q->status_items, &status);
}

static int run(struct session *s, struct request *q)
{
	struct rows rows = { NULL };
	const char *why = NULL;

	rows.by_name = map_new(false);
	errno = ENOMEM;
	if (rows.by_name == NULL || fill(s, q, &rows, &why) < 0) {
		session_no_store(s, errno, why);
	} else {
		select_rows(q, &rows);
		/* From here the map's numbers are not used any more. */
		if (rows.n > 0)
			qsort(rows.r, rows.n, sizeof(*rows.r),
			    compare_rows);
		for (size_t i = 0; i < rows.n && !session_gone(s); i++)
			if (rows.r[i].matches && (rows.r[i].selected ||
			    rows.r[i].child_hidden))
				say_row(s, q, &rows.r[i]);
		session_ok(s, "%s completed", q->lsub ? "Lsub" : "List");
	}
	map_free(&rows.by_name, NULL);
	free(rows.r);
	return 0;
}

int cmd_list(struct session *s)
{
	struct request q = { .lsub = false };

	if (parse_list(s, &q) < 0)
		return -1;
	/* RFC 3501 6.3.8: "" asks for the separator. */
	if (!q.extended && q.empty) {
		session_say(s, "* LIST (\\Noselect) \"%c\" \"\"",
		    STORE_SEPARATOR);
		session_ok(s, "List completed");
		return 0;
	}
	return run(s, &q);
}

int cmd_lsub(struct session *s)
{
	struct request q = { .lsub = true };

	if (parse_list(s, &q) < 0)
		return -1;
	q.select = SUBSCRIBED;
	/* RFC 3501 6.3.9: what is not subscribed but stands above what is, is
	 * an answer to "%" only. */
	if (q.pattern_count > 0 && str_chr(q.patterns[0], '%') >= 0)
		q.select |= RECURSIVE;
	return run(s, &q);
}
