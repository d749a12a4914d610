/*
 * dns_bare.c - dns's resolver without the program around it, for tests
 *
 *   dns-bare ADDRESS@PORT SECONDS < questions
 *
 * A question is "TYPE NAME" in a line. Each answer is a line on standard
 * output, in the order of arrival: NAME, TYPE, the status, how many records
 * were left out, then each record as NUMBER:DATA in hexadecimal, or the
 * reason of a failure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "dns/resolver.h"

struct question {
	struct lookup *lookup;
	char type[8], name[1024];
	struct question *next;
};

static const struct { const char *name; enum dns_type type; } types[] = {
	{ "A", DNS_A }, { "PTR", DNS_PTR }, { "MX", DNS_MX },
	{ "TXT", DNS_TXT }, { "AAAA", DNS_AAAA }, { "TLSA", DNS_TLSA },
};

static const char *const status_names[] = { "ok", "nxdomain", "nodata",
	"tempfail", "bogus" };

static struct loop *loop;
static size_t left;

static void answered(void *ctx, const struct dns_reply *r)
{
	const struct question *q = ctx;

	printf("%s %s %s ignored=%llu", q->name, q->type,
	    status_names[r->status], (unsigned long long)r->ignored);
	for (size_t i = 0; i < r->data.n; i++) {
		printf(" %llu:", (unsigned long long)r->numbers.v[i]);
		for (size_t k = 0; k < r->data.v[i].n; k++)
			printf("%02x", (unsigned char)r->data.v[i].p[k]);
	}
	if (r->why.n > 0)
		printf(" " STR_FMT, STR_ARG(r->why));
	putchar('\n');
	if (--left == 0)
		loop_stop(loop);
}

static int ask(struct resolver *r, struct question *q)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, q->type) == 0) {
			resolver_ask(r, &q->lookup, str_of(q->name),
			    types[i].type, CLOCK_NEVER, answered, q);
			return 0;
		}
	fprintf(stderr, "dns-bare: no type %s\n", q->type);
	return -1;
}

/* The questions of standard input; NULL: none, or memory. */
static struct question *read_questions(void)
{
	struct question *first = NULL, *q;

	while ((q = calloc(1, sizeof(*q))) != NULL &&
	    scanf("%7s %1023s", q->type, q->name) == 2) {
		q->next = first;
		first = q;
		left++;
	}
	free(q);
	return first;
}

int main(int argc, char **argv)
{
	struct servers servers = { .n = 0 };
	struct resolver_options o = { .servers = &servers, .limit = 2000 };
	struct resolver *r;
	struct question *q, *first;
	struct str bad;
	const char *why = "no memory";

	if (argc != 3 || servers_parse(str_of(argv[1]), &servers, &bad) < 0) {
		fprintf(stderr, "usage: dns-bare ADDRESS@PORT SECONDS\n");
		return 64;
	}
	o.timeout = atoi(argv[2]) * CLOCK_SECOND;
	if ((loop = loop_new()) == NULL ||
	    (r = resolver_new(loop, &o, &why)) == NULL) {
		fprintf(stderr, "dns-bare: %s\n", why);
		return 1;
	}
	first = read_questions();
	/* One answered at once must not end the loop before it runs. */
	left++;
	for (q = first; q != NULL; q = q->next)
		if (ask(r, q) < 0)
			return 64;
	if (--left > 0)
		loop_run(loop);
	resolver_free(&r);
	while ((q = first) != NULL) {
		first = q->next;
		free(q);
	}
	loop_free(&loop);
	return 0;
}
