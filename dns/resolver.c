#include <stdlib.h>
#include <unbound.h>
#include <unbound-event.h>
#include "base/clock.h"
#include "base/log.h"
#include "dns/answer.h"
#include "dns/resolver.h"
#include "dns/ubloop.h"

#define ARENA_MAX (512 * 1024)
#define ANCHORS_MAX 16
#define PROBE_TIMEOUT (5 * CLOCK_SECOND)
#define PROBE_AGAIN (300 * CLOCK_SECOND)
#define TYPE_DNSKEY 48
#define CLASS_IN 1

enum sec { SEC_INSECURE = 0, SEC_BOGUS = 1, SEC_SECURE = 2 };

/*
 * One libunbound context with its cache. A context that is no longer used is
 * retired and freed when its last question is over, by a timer: never inside
 * one of its own callbacks.
 */
struct world {
	struct resolver *r;
	struct ub_ctx *ctx;
	struct ub_event_base *base;
	size_t inflight;
	struct timer *end; /* set when retired */
	struct world *next;
};

struct lookup {
	struct resolver *r;
	struct world *world; /* NULL: waits for the trial to be over */
	struct lookup **slot;
	struct lookup *prev, *next;
	int id;
	enum dns_type type;
	char name[DNS_NAME_MAX + 1];
	int64_t deadline;
	struct timer *timer;
	resolver_done_fn *fn;
	void *ctx;
	bool asking; /* inside ub_resolve_event() */
	bool over;   /* was answered or cancelled meanwhile */
};

/* One DNSKEY question of the trial. */
struct probe {
	struct resolver *r;
	int id;
	bool asked;
};

struct resolver {
	struct loop *loop;
	struct servers servers;
	char *anchors;  /* text, NUL-terminated */
	int64_t timeout, probe_again;
	size_t limit, count;
	struct lookup *lookups; /* all in flight or waiting */
	struct world *use;      /* NULL until the first trial is over */
	struct world *trial;    /* validating context on trial */
	struct probe probes[ANCHORS_MAX];
	size_t nprobes, probes_good, probes_left;
	struct timer *probe_timer; /* its time-out, or the next trial */
	struct world *retired;
	struct arena *arena;
	bool validates;
};

/* --- contexts --- */

/*
 * Names that libunbound answers by itself unless told otherwise. `test` is
 * where test zones live, the others are asked on a LAN. What must not leave
 * the machine (localhost, invalid, onion) stays.
 */
static const char *const zones_to_ask[] = { "test.", "home.arpa.",
	"127.in-addr.arpa.", NULL };

static const char *const settings[][2] = {
	{ "do-not-query-localhost:", "no" },
	{ "unblock-lan-zones:", "yes" },
	{ "insecure-lan-zones:", "yes" },
	{ "outgoing-range:", "512" },
	{ "num-queries-per-thread:", "1024" },
	{ "msg-cache-size:", "8m" },
	{ "rrset-cache-size:", "16m" },
	{ "neg-cache-size:", "2m" },
	{ "key-cache-size:", "2m" },
	{ "edns-buffer-size:", "1232" },
	/* a server that was silent is asked again soon, not after minutes */
	{ "infra-host-ttl:", "60" },
	{ "infra-keep-probing:", "yes" },
	{ "cache-max-negative-ttl:", "300" },
	{ "use-syslog:", "no" },
	{ "val-log-level:", "0" },
};

static int set_up(struct world *w, const char *anchors, const char **why)
{
	struct resolver *r = w->r;
	int rc = 0;

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if ((rc = ub_ctx_set_option(w->ctx, settings[i][0],
			settings[i][1])) != 0)
			goto bad;
	ub_ctx_debuglevel(w->ctx, 0);
	for (size_t i = 0; i < r->servers.n; i++)
		if ((rc = ub_ctx_set_fwd(w->ctx, r->servers.text[i])) != 0)
			goto bad;
	for (struct str rest = str_of(anchors), line;
	    str_split(&rest, '\n', &line);) {
		char text[2048];

		if (line.n == 0)
			continue;
		rc = UB_SYNTAX;
		if (str_to_c(line, text, sizeof(text)) < 0 ||
		    (rc = ub_ctx_add_ta(w->ctx, text)) != 0)
			goto bad;
	}
	/* The first of these finalises the context: nothing may be set (no
	 * server, no anchor) after it. */
	for (size_t i = 0; zones_to_ask[i] != NULL; i++)
		if ((rc = ub_ctx_zone_remove(w->ctx, zones_to_ask[i])) != 0)
			goto bad;
	if ((rc = ub_ctx_zone_add(w->ctx, "127.in-addr.arpa.",
		"transparent")) != 0 || (rc = ub_ctx_data_add(w->ctx,
		"1.0.0.127.in-addr.arpa. 10800 IN PTR localhost.")) != 0)
		goto bad;
	return 0;
bad:
	*why = ub_strerror(rc);
	return -1;
}

static void world_free(struct world **wp)
{
	struct world *w = *wp;

	if (w == NULL)
		return;
	if (w->ctx != NULL)
		ub_ctx_delete(w->ctx);
	ubloop_free(&w->base);
	timer_free(&w->end);
	free(w);
	*wp = NULL;
}

static struct world *world_new(struct resolver *r, const char *anchors,
    const char **why)
{
	struct world *w = calloc(1, sizeof(*w));

	*why = "no memory";
	if (w == NULL)
		return NULL;
	w->r = r;
	if ((w->base = ubloop_new(r->loop)) == NULL ||
	    (w->ctx = ub_ctx_create_ub_event(w->base)) == NULL ||
	    set_up(w, anchors, why) < 0)
		world_free(&w);
	return w;
}

static void end_world(void *ctx)
{
	struct world *w = ctx, **at = &w->r->retired;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	world_free(&w);
}

static void world_retire(struct world **wp)
{
	struct world *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	w->next = w->r->retired;
	w->r->retired = w;
	w->end = timer_new(w->r->loop, end_world, w);
	if (w->end != NULL && w->inflight == 0)
		timer_in(w->end, 0);
}

/* --- questions --- */

static void take_off(struct lookup *q)
{
	struct world *w = q->world;

	if (q->prev != NULL)
		q->prev->next = q->next;
	else
		q->r->lookups = q->next;
	if (q->next != NULL)
		q->next->prev = q->prev;
	q->r->count--;
	timer_free(&q->timer);
	if (q->slot != NULL)
		*q->slot = NULL;
	q->slot = NULL;
	if (w != NULL && --w->inflight == 0 && w->end != NULL)
		timer_in(w->end, 0);
}

/* Frees it, unless ub_resolve_event() is still running with it. */
static void let_go(struct lookup *q)
{
	q->over = true;
	if (!q->asking)
		free(q);
}

static void finish(struct lookup *q, const struct dns_reply *reply)
{
	resolver_done_fn *fn = q->fn;
	void *ctx = q->ctx;

	take_off(q);
	let_go(q);
	fn(ctx, reply);
}

static void finish_failed(struct lookup *q, enum dns_status status,
    const char *why)
{
	struct dns_reply reply = { .status = status,
		.why = str_sub(str_of(why), 0, RESOLVER_WHY_MAX) };

	finish(q, &reply);
}

/*
 * What libunbound found. Order matters: an error or a missing packet first;
 * then bogus, whatever the packet says; the DNS rcode is in the packet's
 * header (`rcode` here is 0 even for NXDOMAIN), and a SERVFAIL there comes
 * with sec 0, which must not be read as "insecure, no data".
 */
static void answered(void *ctx, int rcode, void *packet, int len, int sec,
    char *why_bogus, int was_ratelimited)
{
	struct lookup *q = ctx;
	struct resolver *r = q->r;
	struct dns_reply reply;

	(void)was_ratelimited;
	if (sec == SEC_BOGUS) {
		finish_failed(q, DNS_BOGUS, why_bogus != NULL &&
		    *why_bogus != '\0' ? why_bogus : "DNSSEC: bogus");
		return;
	}
	if (rcode != 0 || packet == NULL || len <= 0) {
		finish_failed(q, DNS_TEMPFAIL, rcode == 2 || rcode == 0
		    ? "no server gave an answer" : "DNS lookup failed");
		return;
	}
	arena_reset(r->arena);
	answer_parse(str_n(packet, (size_t)len), str_of(q->name), q->type,
	    r->arena, &reply);
	reply.secure = sec == SEC_SECURE && reply.status != DNS_TEMPFAIL;
	finish(q, &reply);
}

static void out_of_time(void *ctx)
{
	struct lookup *q = ctx;

	/* libunbound itself gives up a silent server only after 12 to 17 s */
	if (q->world != NULL)
		ub_cancel(q->world->ctx, q->id);
	finish_failed(q, DNS_TEMPFAIL, "the DNS servers did not answer "
	    "in time");
}

static void start(struct lookup *q)
{
	struct resolver *r = q->r;
	int rc;

	q->world = r->use;
	q->world->inflight++;
	q->asking = true;
	rc = ub_resolve_event(q->world->ctx, q->name, (int)q->type, CLASS_IN,
	    q, answered, &q->id);
	q->asking = false;
	if (q->over)
		free(q);
	else if (rc != 0)
		finish_failed(q, DNS_TEMPFAIL, ub_strerror(rc));
}

static void refuse(resolver_done_fn *fn, void *ctx, enum dns_status status,
    const char *why)
{
	struct dns_reply reply = { .status = status, .why = str_of(why) };

	fn(ctx, &reply);
}

void resolver_ask(struct resolver *r, struct lookup **slot, struct str name,
    enum dns_type type, int64_t deadline, resolver_done_fn *fn, void *ctx)
{
	int64_t own = clock_now() + r->timeout;
	struct lookup *q;

	*slot = NULL;
	if (!answer_may_ask(name)) {
		/* such a name cannot exist in what we ask for */
		refuse(fn, ctx, DNS_NXDOMAIN, "not a name for the DNS");
		return;
	}
	if (r->servers.n == 0) {
		refuse(fn, ctx, DNS_TEMPFAIL,
		    "no DNS server is configured (dns_servers)");
		return;
	}
	if (r->count >= r->limit || (q = calloc(1, sizeof(*q))) == NULL) {
		refuse(fn, ctx, DNS_TEMPFAIL, "too many DNS questions");
		return;
	}
	q->timer = timer_new(r->loop, out_of_time, q);
	if (q->timer == NULL) {
		free(q);
		refuse(fn, ctx, DNS_TEMPFAIL, "no memory");
		return;
	}
	q->r = r;
	q->slot = slot;
	q->type = type;
	q->fn = fn;
	q->ctx = ctx;
	/* names in the answer may be compressed against the question's */
	for (size_t i = 0; i < name.n; i++)
		q->name[i] = ascii_lower(name.p[i]);
	q->deadline = deadline < own ? deadline : own;
	timer_at(q->timer, q->deadline);
	q->next = r->lookups;
	if (q->next != NULL)
		q->next->prev = q;
	r->lookups = q;
	r->count++;
	*slot = q;
	if (r->use != NULL)
		start(q);
}

void resolver_cancel(struct lookup **slot)
{
	struct lookup *q = *slot;

	if (q == NULL)
		return;
	if (q->world != NULL && !q->asking)
		ub_cancel(q->world->ctx, q->id);
	take_off(q);
	let_go(q);
}

/* --- the trial of DNSSEC --- */

static void begin_trial(void *ctx);

static void start_waiting(struct resolver *r)
{
	for (;;) {
		struct lookup *q = r->lookups;

		while (q != NULL && q->world != NULL)
			q = q->next;
		if (q == NULL)
			return;
		start(q); /* may change the list: look from its head again */
	}
}

static void end_trial(struct resolver *r, const char *why)
{
	const char *why_not;

	timer_stop(r->probe_timer);
	for (size_t i = 0; i < r->nprobes; i++)
		if (r->probes[i].asked && r->trial != NULL) {
			ub_cancel(r->trial->ctx, r->probes[i].id);
			r->probes[i].asked = false;
		}
	r->nprobes = 0;
	if (why == NULL) {
		world_retire(&r->use);
		r->use = r->trial;
		r->trial = NULL;
		r->validates = true;
		log_info("DNSSEC validation is on");
	} else {
		world_retire(&r->trial);
		if (r->use == NULL) {
			log_warn("DNSSEC validation is off: the DNS servers "
			    "do not pass it on: %s", why);
			r->use = world_new(r, "", &why_not);
			if (r->use == NULL)
				log_fatal("libunbound: %s", why_not);
		}
		timer_in(r->probe_timer, r->probe_again);
	}
	start_waiting(r);
}

static void probed(void *ctx, int rcode, void *packet, int len, int sec,
    char *why_bogus, int was_ratelimited)
{
	struct probe *p = ctx;
	struct resolver *r = p->r;

	(void)packet;
	(void)was_ratelimited;
	p->asked = false;
	if (r->nprobes == 0 || r->probes_left == 0)
		return; /* a late one */
	r->probes_left--;
	if (sec == SEC_SECURE && rcode == 0 && len > 0)
		r->probes_good++;
	else
		r->probes_left = 0;
	if (r->probes_left > 0)
		return;
	if (r->probes_good == r->nprobes)
		end_trial(r, NULL);
	else
		end_trial(r, why_bogus != NULL && *why_bogus != '\0'
		    ? why_bogus : "no validated answer");
}

static void probe_late(void *ctx)
{
	struct resolver *r = ctx;

	if (r->trial == NULL)
		begin_trial(r);
	else
		end_trial(r, "no answer in time");
}

static void begin_trial(void *ctx)
{
	struct resolver *r = ctx;
	const char *why;
	struct str rest = str_of(r->anchors), line, owner;
	char names[ANCHORS_MAX][DNS_NAME_MAX + 2];
	size_t n = 0;

	r->trial = world_new(r, r->anchors, &why);
	if (r->trial == NULL) {
		log_warn("DNSSEC trust anchors: %s", why);
		end_trial(r, why);
		return;
	}
	while (n < ANCHORS_MAX && str_split(&rest, '\n', &line)) {
		size_t i = 0;

		if (!str_word(&line, " \t", &owner) ||
		    str_to_c(owner, names[n], sizeof(names[n])) < 0)
			continue;
		while (i < n && strcasecmp(names[i], names[n]) != 0)
			i++;
		if (i == n)
			n++;
	}
	r->nprobes = r->probes_left = n;
	r->probes_good = 0;
	timer_in(r->probe_timer, PROBE_TIMEOUT);
	for (size_t i = 0; i < n && r->trial != NULL; i++) {
		struct probe *p = &r->probes[i];

		*p = (struct probe){ .r = r, .asked = true };
		if (ub_resolve_event(r->trial->ctx, names[i], TYPE_DNSKEY,
			CLASS_IN, p, probed, &p->id) != 0) {
			p->asked = false;
			end_trial(r, "cannot ask");
		}
	}
}

/* --- the whole --- */

bool resolver_validates(const struct resolver *r)
{
	return r->validates;
}

/* Only lines that hold a record; comments (;) and empty ones fall out. */
static char *clean_anchors(struct str text)
{
	struct buf out;
	struct str line;
	char *copy;

	buf_init(&out, 64 * 1024);
	while (str_split(&text, '\n', &line)) {
		ssize_t comment = str_chr(line, ';');

		if (comment >= 0)
			line = str_sub(line, 0, (size_t)comment);
		line = str_trim(line);
		if (line.n == 0 || str_has_nul(line))
			continue;
		buf_append(&out, line);
		buf_append_char(&out, '\n');
	}
	copy = strdup(buf_cstr(&out));
	buf_fini(&out);
	return copy;
}

struct resolver *resolver_new(struct loop *loop,
    const struct resolver_options *o, const char **why)
{
	struct resolver *r = calloc(1, sizeof(*r));

	*why = "no memory";
	if (r == NULL)
		return NULL;
	r->loop = loop;
	r->servers = *o->servers;
	r->timeout = o->timeout;
	r->limit = o->limit;
	r->probe_again = o->probe_again > 0 ? o->probe_again : PROBE_AGAIN;
	r->arena = arena_new(ARENA_MAX);
	r->anchors = clean_anchors(o->anchors);
	r->probe_timer = timer_new(loop, probe_late, r);
	if (r->arena == NULL || r->anchors == NULL || r->probe_timer == NULL)
		goto bad;
	if (r->servers.n == 0)
		return r;
	if (r->anchors[0] != '\0')
		begin_trial(r);
	else if ((r->use = world_new(r, "", why)) == NULL)
		goto bad;
	return r;
bad:
	resolver_free(&r);
	return NULL;
}

void resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;

	if (r == NULL)
		return;
	while (r->lookups != NULL)
		resolver_cancel(&(struct lookup *){ r->lookups });
	r->nprobes = 0;
	world_free(&r->use);
	world_free(&r->trial);
	while (r->retired != NULL) {
		struct world *w = r->retired;

		r->retired = w->next;
		world_free(&w);
	}
	timer_free(&r->probe_timer);
	arena_free(&r->arena);
	free(r->anchors);
	free(r);
	*rp = NULL;
}
