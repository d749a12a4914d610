#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include "base/clock.h"
#include "base/map.h"
#include "limits/counts.h"

#define KEY_MAX 640

/* One service's client, one network's or user's failed logins, or a good
 * one. */
struct entry {
	TAILQ_ENTRY(entry) link;	/* used longest ago first */
	struct table *table;
	uint64_t open;
	int64_t since;			/* of the rates; last failure */
	uint64_t rates[COUNTS_RATES];
	uint64_t failures;
	size_t nkey;
	char key[];
};

struct table {
	struct map *map;
	TAILQ_HEAD(, entry) used;
};

struct counts {
	struct counts_options options;
	struct table clients, failures;
};

/* Connections of one process: entry's key to how many. */
struct holder {
	struct map *open;
};

struct key {
	char text[KEY_MAX];
	size_t n;
};

/* "a\0b": no field of a request holds a NUL that matters. */
static struct str make_key(struct key *k, struct str a, struct str b)
{
	a = str_sub(a, 0, 64);
	b = str_sub(b, 0, KEY_MAX - 65);
	memcpy(k->text, a.p ? a.p : "", a.n);
	k->text[a.n] = '\0';
	memcpy(k->text + a.n + 1, b.p ? b.p : "", b.n);
	k->n = a.n + 1 + b.n;
	return str_n(k->text, k->n);
}

static int table_init(struct table *t)
{
	TAILQ_INIT(&t->used);
	t->map = map_new(true);
	return t->map != NULL ? 0 : -1;
}

static void table_fini(struct table *t)
{
	if (t->map != NULL)
		map_free(&t->map, free);
}

struct counts *counts_new(const struct counts_options *options)
{
	struct counts *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->options = *options;
	if (table_init(&c->clients) != 0 || table_init(&c->failures) != 0)
		counts_free(&c);
	return c;
}

void counts_free(struct counts **cp)
{
	struct counts *c = *cp;

	table_fini(&c->clients);
	table_fini(&c->failures);
	free(c);
	*cp = NULL;
}

static void forget(struct entry *e)
{
	struct table *t = e->table;

	TAILQ_REMOVE(&t->used, e, link);
	map_take(t->map, str_n(e->key, e->nkey));
	free(e);
}

/* Makes room for one more. Only the front of the list is looked at: what
 * has open connections moves to its end. */
static bool make_room(struct table *t)
{
	for (int i = 0; i < 64 && map_count(t->map) >= COUNTS_MAX; i++) {
		struct entry *e = TAILQ_FIRST(&t->used);

		if (e->open == 0) {
			forget(e);
		} else {
			TAILQ_REMOVE(&t->used, e, link);
			TAILQ_INSERT_TAIL(&t->used, e, link);
		}
	}
	return map_count(t->map) < COUNTS_MAX;
}

static struct entry *touch(struct table *t, struct str key, bool make)
{
	struct entry *e = map_find(t->map, key);

	if (e != NULL) {
		TAILQ_REMOVE(&t->used, e, link);
		TAILQ_INSERT_TAIL(&t->used, e, link);
		return e;
	}
	if (!make || !make_room(t))
		return NULL;
	if ((e = calloc(1, sizeof(*e) + key.n)) == NULL)
		return NULL;
	e->table = t;
	e->nkey = key.n;
	memcpy(e->key, key.p, key.n);
	if (map_set(t->map, key, e, NULL) != 0) {
		free(e);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&t->used, e, link);
	return e;
}

/* Rates are counted from the first event on and begin anew after the span. */
static void start_span(const struct counts *c, struct entry *e, int64_t now)
{
	if (e->since != 0 && now - e->since < c->options.span_us)
		return;
	e->since = now;
	memset(e->rates, 0, sizeof(e->rates));
}

struct holder *counts_holder_new(void)
{
	struct holder *h = calloc(1, sizeof(*h));

	if (h != NULL && (h->open = map_new(true)) == NULL) {
		free(h);
		h = NULL;
	}
	return h;
}

static void release(struct entry *e, uint64_t n, int64_t now, int64_t span)
{
	e->open = e->open > n ? e->open - n : 0;
	if (e->open == 0 && now - e->since >= span)
		forget(e);
}

void counts_holder_free(struct counts *c, struct holder **hp, int64_t now)
{
	struct holder *h = *hp;
	struct str key;
	size_t pos = 0;
	void *value;

	while (map_next(h->open, &pos, &key, &value)) {
		struct entry *e = map_find(c->clients.map, key);

		if (e != NULL)
			release(e, (uint64_t)(uintptr_t)value, now,
			    c->options.span_us);
	}
	map_free(&h->open, NULL);
	free(h);
	*hp = NULL;
}

/* The number is kept in the pointer. */
static int hold(struct holder *h, struct str key, int64_t more)
{
	uintptr_t n = (uintptr_t)map_find(h->open, key);

	if (more < 0 && n == 0)
		return -1;
	n = more < 0 ? n - 1 : n + 1;
	if (n == 0)
		map_take(h->open, key);
	else if (map_set(h->open, key, (void *)n, NULL) != 0)
		return -1;
	return 0;
}

void counts_connect(struct counts *c, struct holder *h, struct str service,
    struct str addr, int64_t now, uint64_t *count_r, uint64_t *rate_r)
{
	struct key k;
	struct str key = make_key(&k, service, addr);
	struct entry *e = touch(&c->clients, key, true);

	*count_r = *rate_r = 0;
	if (e == NULL || hold(h, key, 1) != 0)
		return;
	start_span(c, e, now);
	*count_r = ++e->open;
	*rate_r = ++e->rates[COUNTS_CONNECTIONS];
}

void counts_disconnect(struct counts *c, struct holder *h, struct str service,
    struct str addr, int64_t now)
{
	struct key k;
	struct str key = make_key(&k, service, addr);
	struct entry *e;

	if (hold(h, key, -1) != 0)
		return;
	if ((e = map_find(c->clients.map, key)) != NULL)
		release(e, 1, now, c->options.span_us);
}

uint64_t counts_add(struct counts *c, enum counts_rate kind,
    struct str service, struct str addr, uint64_t n, int64_t now)
{
	struct key k;
	struct entry *e = touch(&c->clients, make_key(&k, service, addr),
	    true);

	if (e == NULL)
		return 0;
	start_span(c, e, now);
	e->rates[kind] += n;
	return e->rates[kind];
}

/* --- failed logins --- */

static struct entry *failures_of(struct counts *c, const char *kind,
    struct str name, int64_t now, bool make)
{
	struct key k;
	struct entry *e;

	if (name.n == 0)
		return NULL;
	e = touch(&c->failures, make_key(&k, str_of(kind), name), make);
	if (e != NULL && now - e->since >= c->options.memory_us)
		e->failures = 0;
	return e;
}

static int64_t doubled(const struct counts *c, uint64_t times)
{
	int64_t delay = c->options.delay_us;

	while (times-- > 0 && delay < c->options.delay_max_us)
		delay *= 2;
	return delay < c->options.delay_max_us ? delay :
	    c->options.delay_max_us;
}

/* That this user logged in from this address. */
static struct entry *good_of(struct counts *c, struct str addr,
    struct str user, bool make)
{
	struct key k;

	if (addr.n == 0 || user.n == 0)
		return NULL;
	return touch(&c->failures, make_key(&k, addr, user), make);
}

static bool is_known(struct counts *c, struct str addr, struct str user,
    int64_t now)
{
	struct entry *e = good_of(c, addr, user, false);

	return e != NULL && now - e->since < c->options.memory_us;
}

uint64_t counts_login_ask(struct counts *c, const struct counts_origin *from,
    struct str user, int64_t now, int64_t *delay_us_r)
{
	struct entry *a = failures_of(c, "net", from->net, now, false);
	struct entry *u = failures_of(c, "user", user, now, false);
	uint64_t n = a != NULL ? a->failures : 0;
	uint64_t patience = c->options.patience;

	*delay_us_r = 0;
	if (n >= patience && c->options.delay_us > 0 &&
	    !is_known(c, from->addr, user, now))
		*delay_us_r = doubled(c, (n - patience) / patience);
	return n + (u != NULL ? u->failures : 0);
}

int64_t counts_login_failed(struct counts *c,
    const struct counts_origin *from, struct str user, int64_t now)
{
	struct entry *all[2] = { failures_of(c, "net", from->net, now, true),
		failures_of(c, "user", user, now, true) };
	uint64_t most = 1;

	/* The second may have pushed the first out of a full table. */
	all[0] = failures_of(c, "net", from->net, now, false);
	for (int i = 0; i < 2; i++) {
		if (all[i] == NULL)
			continue;
		all[i]->since = now;
		if (++all[i]->failures > most)
			most = all[i]->failures;
	}
	return c->options.delay_us > 0 ? doubled(c, most - 1) : 0;
}

void counts_login_good(struct counts *c, const struct counts_origin *from,
    struct str user, int64_t now)
{
	struct entry *u = failures_of(c, "user", user, now, false), *a, *g;

	if (u != NULL)
		forget(u);
	a = failures_of(c, "net", from->net, now, false);
	if (a != NULL && (a->failures /= 2) == 0)
		forget(a);
	if ((g = good_of(c, from->addr, user, true)) != NULL)
		g->since = now;
}
