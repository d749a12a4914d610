#include "smtpd/restriction.h"

#define ITEM_MAX 64
/* Classes in classes; deeper is a loop. */
#define CLASS_DEPTH 10

/* A restriction, or a class: a list in its own right. */
struct item {
	const struct restriction *restriction;
	const struct access_list *class;
};

struct access_list {
	struct item items[ITEM_MAX];
	size_t n;
	enum access_stage stage;
};

struct parse {
	enum access_stage stage;
	struct arena *arena;
	access_class_fn *class;
	void *ctx;
	struct buf *why;
};

static const struct access_list *parse_list(const struct parse *p,
    struct str text, unsigned depth);

/* 0, or -1: not a restriction, not a class, or a class that is broken. */
static int parse_item(const struct parse *p, struct str word, unsigned depth,
    struct item *item)
{
	const char *text;

	if ((item->restriction = restriction_find(word)) != NULL)
		return 0;
	text = p->class != NULL ? p->class(p->ctx, word) : NULL;
	if (text != NULL && depth < CLASS_DEPTH) {
		item->class = parse_list(p, str_of(text), depth + 1);
		return item->class != NULL ? 0 : -1;
	}
	buf_printf(p->why, "\"" STR_FMT "\": %s", STR_ARG(word),
	    text != NULL ? "the class holds itself" : "no such restriction");
	return -1;
}

static const struct access_list *parse_list(const struct parse *p,
    struct str text, unsigned depth)
{
	struct access_list *l = ARENA_NEW(p->arena, struct access_list);
	struct str word;

	if (l == NULL) {
		buf_append_c(p->why, "no memory");
		return NULL;
	}
	l->stage = p->stage;
	while (str_word(&text, ", \t\r\n", &word)) {
		if (l->n == ITEM_MAX) {
			buf_append_c(p->why, "the list is too long");
			return NULL;
		}
		if (parse_item(p, word, depth, &l->items[l->n++]) < 0)
			return NULL;
	}
	return l;
}

const struct access_list *access_parse(struct str text,
    enum access_stage stage, struct arena *arena, access_class_fn *class,
    void *ctx, struct buf *why)
{
	struct parse p = { stage, arena, class, ctx, why };

	return parse_list(&p, text, 0);
}

/* An item with the flag that does not only warn. */
static bool has_flag(const struct access_list *l, unsigned flag)
{
	bool only_warn = false;

	for (size_t i = 0; i < l->n; i++) {
		const struct restriction *r = l->items[i].restriction;

		if (!only_warn && (r != NULL ? (r->flags & flag) != 0
				: has_flag(l->items[i].class, flag)))
			return true;
		only_warn = r != NULL && (r->flags & ACCESS_WARNS);
	}
	return false;
}

bool access_guards_relay(const struct access_list *relay,
    const struct access_list *recipient)
{
	return has_flag(relay, ACCESS_GUARDS) ||
	    has_flag(recipient, ACCESS_GUARDS);
}

bool access_asks_sender(const struct access_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct restriction *r = l->items[i].restriction;

		if (r != NULL ? (r->flags & ACCESS_ASKS_SENDER) != 0
			      : access_asks_sender(l->items[i].class))
			return true;
	}
	return false;
}

static enum access_verdict run_list(const struct access_list *l,
    struct access_run *r, access_warn_fn *warn, void *warn_ctx)
{
	bool only_warn = false;

	r->stage = l->stage;
	for (size_t i = 0; i < l->n; i++) {
		const struct item *item = &l->items[i];
		enum access_verdict v = item->restriction != NULL
		    ? item->restriction->run(r)
		    : run_list(item->class, r, warn, warn_ctx);

		if (v == ACCESS_REJECT && only_warn) {
			warn(warn_ctx, buf_str(r->reply));
			buf_reset(r->reply);
			v = ACCESS_DUNNO;
		}
		if (v != ACCESS_DUNNO)
			return v;
		only_warn = item->restriction != NULL &&
		    (item->restriction->flags & ACCESS_WARNS);
	}
	return ACCESS_DUNNO;
}

/* A 5xx becomes the 4xx of the same text: "defer_if_reject" was met. */
static void soften(struct buf *reply)
{
	if (reply->n > 4 && reply->p[0] == '5') {
		reply->p[0] = '4';
		reply->p[4] = '4';
	}
}

enum access_verdict access_check(const struct access_list *const *lists,
    size_t n, enum access_stage last, const struct access_request *q,
    struct buf *reply, access_warn_fn *warn, void *warn_ctx)
{
	struct buf pending;
	struct access_run r = { .q = q, .reply = reply, .if_permit = &pending };
	enum access_verdict v = ACCESS_DUNNO;

	buf_init(&pending, reply->max);
	for (size_t i = 0; i < n && v != ACCESS_REJECT; i++)
		v = run_list(lists[i], &r, warn, warn_ctx);
	if (v != ACCESS_REJECT && last == ACCESS_RECIPIENT)
		v = restriction_unlisted(&r) == ACCESS_REJECT ? ACCESS_REJECT
							      : v;
	if (v == ACCESS_REJECT && r.defer_if_reject)
		soften(reply);
	if (v != ACCESS_REJECT && pending.n > 0) {
		buf_reset(reply);
		buf_append(reply, buf_str(&pending));
		v = ACCESS_REJECT;
	}
	buf_fini(&pending);
	return v;
}
