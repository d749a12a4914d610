#include <errno.h>
#include <stdio.h>
#include "base/log.h"
#include "smtp/deliver.h"
#include "smtp/transact.h"

/* One delivery under way. */
struct attempt {
	const struct deliver *d;
	struct job *j;
	struct str key;		/* of the session cache */
	struct net_addr tried;	/* by a kept session */
	unsigned sessions;
	struct why why;		/* the last failure without recipients */
};

static size_t session_limit(const struct attempt *a)
{
	int64_t limit = a->d->config->params->smtp_mx_session_limit;

	return limit > 0 ? (size_t)limit : SIZE_MAX;
}

static void use_session(struct attempt *a, struct session **s,
    enum transact_result *result_r)
{
	*result_r = transact(*s, a->j);
	if ((*s)->dead || session_reset(*s) < 0)
		session_close(s);
	else
		cache_give(a->d->cache, a->key, s);
}

/* Kept sessions, until one is alive. */
static void try_kept(struct attempt *a)
{
	struct session *s;
	enum transact_result result;

	while ((s = cache_take(a->d->cache, a->key)) != NULL) {
		struct net_addr addr = s->addr;

		a->j->ready = clock_wall();
		use_session(a, &s, &result);
		if (result == TRANSACT_STALE)
			continue;
		a->tried = addr;
		a->sessions++;
		return;
	}
}

static struct session *open_session(struct attempt *a,
    const struct target *t, struct str domain)
{
	enum session_failure failure;
	struct session *s = session_open(a->d->config, a->j->lmtp, t, domain,
	    false, &a->why, &failure);

	if (s == NULL && failure == SESSION_NO_TLS) {
		/* RFC 7435: opportunistic TLS falls back to what would be
		 * done without it. */
		log_info("%s", a->why.text);
		s = session_open(a->d->config, a->j->lmtp, t, domain, true,
		    &a->why, &failure);
	}
	if (s == NULL) {
		log_info(STR_FMT ": %s", STR_ARG(a->j->queue_id),
		    a->why.text);
		a->sessions += failure != SESSION_NO_CONNECTION;
	}
	return s;
}

static void try_target(struct attempt *a, const struct target *t,
    struct str domain)
{
	enum transact_result result;
	struct session *s;

	if (a->tried.family != AF_UNSPEC && a->tried.port == t->addr.port &&
	    net_addr_same(&a->tried, &t->addr))
		return; /* a kept session asked there just now */
	if ((s = open_session(a, t, domain)) == NULL) {
		a->j->ready = clock_wall();
		job_failed_all(a->j, RCPT_PENDING, NULL, &a->why);
		return;
	}
	a->sessions++;
	a->j->ready = clock_wall();
	use_session(a, &s, &result);
	(void)result; /* a session that was just opened is not stale */
}

static void try_hop(struct attempt *a, const struct nexthop *hop)
{
	const struct smtp_config *c = a->d->config;
	struct target_options o = {
		.ipv4 = c->ipv4, .ipv6 = c->ipv6,
		.limit = (size_t)c->params->smtp_mx_address_limit,
		.myhostname = str_of(c->params->myhostname),
		.ask = a->d->ask, .ctx = a->d->ask_ctx,
	};
	struct targets targets;

	if (strcmp(c->params->smtp_address_preference, "any") != 0)
		o.prefer = strcmp(c->params->smtp_address_preference,
		    "ipv4") == 0 ? AF_INET : AF_INET6;
	for (size_t i = 0; i < a->j->count; i++)
		a->j->rcpts[i].tried = false;
	if (targets_find(&o, hop, a->j->arena, &targets, &a->why) < 0)
		return;
	for (size_t i = 0; i < targets.n && a->j->left > 0 &&
	    a->sessions < session_limit(a); i++) {
		for (size_t k = 0; k < a->j->count; k++)
			a->j->rcpts[k].tried = false;
		try_target(a, &targets.v[i], hop->host);
	}
}

/* The failure of the last of several hops decides; that of the only one may
 * be final. */
static void hops_failed(struct attempt *a)
{
	if (why_is_permanent(&a->why))
		job_failed_all(a->j, RCPT_PENDING, NULL, &a->why);
	job_give_up(a->j, &a->why);
}

static int parse_hops(struct attempt *a, struct nexthop *hops,
    int *count_r)
{
	const struct smtp_config *c = a->d->config;
	uint16_t port = a->j->lmtp ? c->lmtp_port : c->smtp_port;
	struct str fallback = str_of(c->params->smtp_fallback_relay);
	const char *why;
	int n = nexthop_parse(a->j->nexthop, a->j->lmtp, port, a->j->arena,
	    hops, &why), more;

	if (n < 0) {
		/* the operator's mistake: no mail comes back for it */
		why_set(&a->why, MAIL_STATUS(4, 3, 5), "%s: \"" STR_FMT "\"",
		    why, STR_ARG(a->j->nexthop));
		return -1;
	}
	*count_r = n;
	if (a->j->lmtp || fallback.n == 0 || n == NEXTHOP_MAX)
		return 0;
	more = nexthop_parse(fallback, false, port, a->j->arena, hops + n,
	    &why);
	if (more > 0)
		*count_r += more < NEXTHOP_MAX - n ? more : NEXTHOP_MAX - n;
	return 0;
}

/* Nothing that could be read as a second command goes into one. */
static void refuse_bad_addresses(struct attempt *a)
{
	struct job *j = a->j;
	bool bad_sender = str_has_ctl(j->sender);

	for (size_t i = 0; i < j->count; i++) {
		struct rcpt *r = &j->rcpts[i];

		if (!bad_sender && !str_has_ctl(r->address) &&
		    r->address.n > 0)
			continue;
		why_set(&a->why, bad_sender ? MAIL_STATUS(5, 1, 7)
		    : MAIL_STATUS(5, 1, 3), "bad %s address syntax",
		    bad_sender ? "sender" : "recipient");
		job_failed(j, r, NULL, &a->why);
	}
}

static void run_attempt(struct attempt *a)
{
	struct nexthop hops[2 * NEXTHOP_MAX];
	int n;

	refuse_bad_addresses(a);
	if (a->j->left == 0)
		return;
	try_kept(a);
	if (a->j->left == 0)
		return;
	if (parse_hops(a, hops, &n) < 0) {
		hops_failed(a);
		return;
	}
	for (int i = 0; i < n && a->j->left > 0; i++) {
		/* each destination has its own count of sessions */
		if (i > 0)
			a->sessions = 0;
		why_set(&a->why, MAIL_STATUS(4, 4, 1), "%s",
		    "no address could be tried");
		try_hop(a, &hops[i]);
	}
	if (a->j->left > 0)
		hops_failed(a);
}

static bool open_message(struct attempt *a)
{
	struct job *j = a->j;
	const char *why;
	bool damaged;

	if (message_open(&j->message, j->file, j->queue_id, &why) == 0)
		return true;
	damaged = errno == EBADMSG;
	log_warn(STR_FMT ": queue file: %s", STR_ARG(j->queue_id), why);
	why_set(&a->why, MAIL_STATUS(4, 3, 0), "queue file error: %s", why);
	a->why.file_damaged = damaged;
	job_give_up(j, &a->why);
	return false;
}

void deliver(const struct deliver *d, struct job *j)
{
	struct attempt a = { .d = d, .j = j };
	struct str key = arena_printf(j->arena, STR_FMT "\t" STR_FMT,
	    STR_ARG(j->transport), STR_ARG(j->nexthop));

	a.key = key;
	if (j->count == 0 || !open_message(&a))
		return;
	if (key.p == NULL) {
		why_set(&a.why, MAIL_STATUS(4, 3, 0), "no memory");
		job_give_up(j, &a.why);
		return;
	}
	run_attempt(&a);
}
