#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "dns/client.h"

struct pending {
	struct client *client;
	struct lookup *lookup;
	uint64_t tag;
	bool used;
};

struct client {
	struct clients *all;
	struct client *prev, *next;
	struct conv *conv;
	const char *who;
	struct watch *watch;
	struct pending pending[DNS_ASK_MAX];
	size_t count;
	bool reading; /* in read_questions(): it frees the client */
	bool gone;
};

struct clients {
	struct loop *loop;
	struct resolver *resolver;
	struct client *first;
	size_t count;
	bool draining;
	void (*drained)(void);
};

static void end_client(struct client *c)
{
	struct clients *all = c->all;

	if (c->conv != NULL) {
		for (size_t i = 0; i < DNS_ASK_MAX; i++)
			if (c->pending[i].used)
				resolver_cancel(&c->pending[i].lookup);
		watch_free(&c->watch);
		conv_close(&c->conv);
		if (c->prev != NULL)
			c->prev->next = c->next;
		else
			all->first = c->next;
		if (c->next != NULL)
			c->next->prev = c->prev;
		all->count--;
	}
	c->gone = true;
	if (c->reading)
		return;
	free(c);
	if (all->draining && all->count == 0 && all->drained != NULL)
		all->drained();
}

static void answered(void *ctx, const struct dns_reply *answer)
{
	struct pending *p = ctx;
	struct client *c = p->client;
	struct dns_reply reply = *answer;
	const char *why;

	reply.tag = p->tag;
	p->used = false;
	c->count--;
	/* Never wait for a client: one that does not read is dropped. */
	if (conv_send(c->conv, &dns_reply_schema, &reply, clock_now(),
		&why) < 0) {
		log_warn("dns: cannot answer %s: %s", c->who, why);
		end_client(c);
		return;
	}
	if (c->all->draining && c->count == 0)
		end_client(c);
	else
		watch_want(c->watch, LOOP_READ);
}

static void ask(struct client *c, const struct dns_question *q)
{
	struct pending *p = c->pending;
	int64_t deadline = CLOCK_NEVER;

	while (p->used)
		p++;
	if (q->wait_ms > 0)
		deadline = clock_now() + (int64_t)q->wait_ms * CLOCK_MS;
	p->used = true;
	p->client = c;
	p->tag = q->tag;
	c->count++;
	if (c->count == DNS_ASK_MAX)
		watch_want(c->watch, 0);
	resolver_ask(c->all->resolver, &p->lookup, q->name,
	    (enum dns_type)q->type, deadline, answered, p);
}

static bool is_known_type(uint64_t type)
{
	return type <= UINT16_MAX &&
	    *dns_type_name((enum dns_type)type) != '?';
}

static void read_questions(int fd, unsigned ready, void *ctx)
{
	static const struct msg_schema *const allowed[] = {
		&dns_question_schema };
	struct client *c = ctx;
	const struct msg_schema *got;
	struct dns_question q;
	const char *why;
	bool full = c->count == DNS_ASK_MAX;

	(void)fd;
	(void)ready;
	c->reading = true;
	/* called although nothing was wanted: the other end hung up */
	c->gone = full;
	while (!c->gone && c->count < DNS_ASK_MAX) {
		enum conv_got what = conv_try_recv(c->conv, allowed, 1, &got,
		    &q, &why);

		if (what == CONV_TIMEOUT)
			break;
		if (what == CONV_MESSAGE && is_known_type(q.type)) {
			ask(c, &q);
			continue;
		}
		if (what != CONV_CLOSED)
			log_warn("dns: question of %s: %s", c->who,
			    what == CONV_MESSAGE ? "unknown type" : why);
		c->gone = true;
	}
	c->reading = false;
	if (c->gone)
		end_client(c);
}

struct clients *clients_new(struct loop *loop, struct resolver *resolver)
{
	struct clients *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return NULL;
	all->loop = loop;
	all->resolver = resolver;
	return all;
}

void clients_free(struct clients **ap)
{
	struct clients *all = *ap;

	if (all == NULL)
		return;
	all->draining = false;
	while (all->first != NULL)
		end_client(all->first);
	free(all);
	*ap = NULL;
}

void clients_add(struct clients *all, struct conv *conv, const char *who)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL || (c->watch = watch_new(all->loop, conv_fd(conv),
		LOOP_READ, read_questions, c)) == NULL) {
		log_warn("dns: no memory for a conversation");
		free(c);
		conv_close(&conv);
		return;
	}
	c->all = all;
	c->conv = conv;
	c->who = who;
	c->next = all->first;
	if (c->next != NULL)
		c->next->prev = c;
	all->first = c;
	all->count++;
}

void clients_drain(struct clients *all, void (*fn)(void))
{
	all->draining = true;
	all->drained = NULL;
	for (struct client *c = all->first, *next; c != NULL; c = next) {
		next = c->next;
		if (c->count == 0)
			end_client(c);
	}
	all->drained = fn;
	if (all->count == 0)
		fn();
}

size_t clients_count(const struct clients *all)
{
	return all->count;
}
