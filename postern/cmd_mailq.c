/*
 * cmd_mailq.c - mailq, postqueue: the queue as programs have read it for
 * twenty years, octet by octet
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>
#include "base/buf.h"
#include "postern/queue_list.h"
#include "queue/id.h"

struct printing {
	bool has_printed;
	bool open;		/* in the middle of a message */
	bool first_rcpt;
	struct buf reason;	/* of the recipient before */
};

/* Text of strangers on a terminal. */
static void put_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		putchar((unsigned char)s.p[i] < 32 || s.p[i] == 127 ? '?'
		    : s.p[i]);
}

static void put_sender(const struct queue_item *m)
{
	time_t t = (time_t)(m->arrival / 1000000);
	char id[64], when[64] = "";
	struct tm tm;

	snprintf(id, sizeof(id), STR_FMT "%s", STR_ARG(m->queue_id),
	    m->where == QUEUE_IN_ACTIVE ? "*" : m->where == QUEUE_IN_HOLD
	    ? "!" : m->expired ? "#" : "");
	if (localtime_r(&t, &tm) != NULL)
		strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", &tm);
	printf("%-11s %7llu %20.20s ", id, (unsigned long long)m->size, when);
	if (m->sender.n == 0)
		fputs("MAILER-DAEMON", stdout);
	else
		put_text(m->sender);
	putchar('\n');
}

static void print_item(const struct queue_item *m, void *ctx)
{
	struct printing *p = ctx;

	if (!p->has_printed)
		printf("%-11s %7s %-20s %s\n", "-Queue ID-", "--Size--",
		    "----Arrival Time----", "-Sender/Recipient-------");
	else if (!p->open)
		putchar('\n');
	p->has_printed = true;
	if (!p->open) {
		put_sender(m);
		buf_reset(&p->reason);
	}
	for (size_t i = 0; i < m->rcpts.n; i++) {
		struct str why = i < m->reasons.n ? m->reasons.v[i]
		    : STR_NONE;

		/* one line for all that wait for the same reason */
		if (why.n > 0 && !str_eq(why, buf_str(&p->reason))) {
			buf_reset(&p->reason);
			buf_append(&p->reason, why);
			printf("%*s(", why.n < 76 ? (int)(76 - why.n) : 0,
			    "");
			put_text(why);
			fputs(")\n", stdout);
		}
		printf("%-11s %7s %-20s ", "", "", "");
		put_text(m->rcpts.v[i]);
		putchar('\n');
	}
	p->open = m->more;
}

/* --- JSON --- */

static void put_json(const char *name, struct str s, bool comma)
{
	printf("\"%s\": \"", name);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c == 127)
			printf("\\u%04X", c);
		else
			putchar(c);
	}
	printf("\"%s", comma ? ", " : "");
}

static void print_json(const struct queue_item *m, void *ctx)
{
	struct printing *p = ctx;

	if (!p->open) {
		putchar('{');
		put_json("queue_name", str_of(queue_where_name(m->where)),
		    true);
		put_json("queue_id", m->queue_id, true);
		printf("\"arrival_time\": %lld, \"message_size\": %llu, "
		    "\"forced_expire\": %s, ",
		    (long long)(m->arrival / 1000000),
		    (unsigned long long)m->size,
		    m->expired ? "true" : "false");
		put_json("sender", m->sender.n > 0 ? m->sender
		    : STR("MAILER-DAEMON"), true);
		fputs("\"recipients\": [", stdout);
		p->first_rcpt = true;
	}
	for (size_t i = 0; i < m->rcpts.n; i++) {
		bool why = i < m->reasons.n && m->reasons.v[i].n > 0;

		fputs(p->first_rcpt ? "{" : ", {", stdout);
		p->first_rcpt = false;
		if (i < m->originals.n && m->originals.v[i].n > 0)
			put_json("orig_address", m->originals.v[i], true);
		put_json("address", m->rcpts.v[i], why);
		if (why)
			put_json("delay_reason", m->reasons.v[i], false);
		putchar('}');
	}
	p->open = m->more;
	if (!p->open)
		fputs("]}\n", stdout);
}

/* --- what nobody tries any more --- */

#define ASIDE_SHOWN 5	/* ids */

struct aside {
	struct buf ids;
	uint64_t shown;
};

static void note_aside(const struct queue_item *m, void *ctx)
{
	struct aside *a = ctx;

	if (!m->more && a->shown < ASIDE_SHOWN) {
		buf_printf(&a->ids, " " STR_FMT, STR_ARG(m->queue_id));
		a->shown++;
	}
}

/*
 * A message in corrupt/ is no part of the list, whose readers know no such
 * place. But somebody has to hear of it, and not from the log alone: on
 * standard error.
 */
static void tell_of_corrupt(struct queue_access *q)
{
	struct aside a = { 0 };
	struct queue_result r;

	buf_init(&a.ids, 1024);
	if (queue_access_list(q, QUEUE_WHERE_BIT(QUEUE_IN_CORRUPT), NULL,
	    note_aside, &a, &r) == 0 && r.count > 0)
		complain("warning: %llu message%s in corrupt/, which nobody "
		    "delivers:%s%s", (unsigned long long)r.count,
		    r.count == 1 ? "" : "s", buf_cstr(&a.ids),
		    a.shown < r.count ? " ..." : "");
	buf_fini(&a.ids);
}

bool queue_ids_valid(const struct strs *ids)
{
	uint64_t id;

	for (size_t i = 0; i < ids->n; i++)
		if (queue_id_parse(ids->v[i], &id) < 0) {
			complain("no valid queue id: " STR_FMT,
			    STR_ARG(str_sub(ids->v[i], 0, 100)));
			return false;
		}
	return true;
}

int queue_print_list(const struct context *ctx, bool json)
{
	struct queue_access *q = queue_access_open(ctx, QUEUE_ACCESS_READ,
	    "Queue report unavailable");
	struct printing p = { 0 };
	struct queue_result r;
	int rc;

	if (q == NULL)
		return EX_UNAVAILABLE;
	buf_init(&p.reason, 8192);
	/* asctime(3) has English names whatever the locale; so has "C" */
	rc = queue_access_list(q, QUEUE_WHERE_ALL |
	    QUEUE_WHERE_BIT(QUEUE_IN_MAILDROP), NULL,
	    json ? print_json : print_item, &p, &r);
	if (rc == 0 && !json) {
		if (r.count == 0)
			puts("Mail queue is empty");
		else
			printf("\n-- %llu Kbytes in %llu Request%s.\n",
			    (unsigned long long)r.octets / 1024,
			    (unsigned long long)r.count,
			    r.count == 1 ? "" : "s");
	}
	buf_fini(&p.reason);
	if (rc == 0)
		tell_of_corrupt(q);
	queue_access_close(&q);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return rc == 0 ? 0 : EX_SOFTWARE;
}

static void ignore_item(const struct queue_item *m, void *ctx)
{
	(void)m;
	(void)ctx;
}

/*
 * The exit code for those that are not in the queue. Asked before they are
 * tried: a message that is delivered at once is not there afterwards. The
 * order itself cannot tell, it counts what was deferred.
 */
static int find_all(struct queue_access *q, const struct strs *ids)
{
	struct queue_result r;

	if (queue_access_list(q, QUEUE_WHERE_ALL, ids, ignore_item, NULL,
	    &r) < 0)
		return EX_UNAVAILABLE;
	if (r.count >= ids->n)
		return 0;
	complain("%llu of %zu messages are not there",
	    (unsigned long long)(ids->n - r.count), ids->n);
	return EX_NOINPUT;
}

int queue_flush(const struct context *ctx, const struct strs *ids,
    const char *site)
{
	struct queue_access *q = queue_access_open(ctx, QUEUE_ACCESS_RUNNING,
	    "Cannot flush mail queue");
	struct queue_order m = { .verb = QUEUE_DO_FLUSH,
		.site = str_of(site) };
	struct queue_result r;
	int rc = 0;

	if (q == NULL)
		return EX_UNAVAILABLE;
	if (ids != NULL) {
		m.ids = *ids;
		rc = find_all(q, ids);
	}
	/* those that are there are tried all the same */
	if (rc != EX_UNAVAILABLE &&
	    queue_access_order(q, &m, NULL, NULL, &r) < 0)
		rc = EX_UNAVAILABLE;
	queue_access_close(&q);
	return rc;
}

/* --- the commands --- */

static int usage(void)
{
	fprintf(stderr, "usage: postqueue [-c DIRECTORY] -p | -j | -f | "
	    "-i ID | -s SITE\n");
	return EX_USAGE;
}

static int run_postqueue(const struct context *outer, int argc, char **argv)
{
	struct context ctx = *outer;
	int c, job = 0;
	const char *arg = NULL;
	struct str id;
	struct strs ids = { &id, 1 };

	while ((c = getopt(argc, argv, "c:fi:jps:v")) != -1) {
		switch (c) {
		case 'c':
			ctx.config_dir = optarg;
			break;
		case 'v':
			break;
		case 'f': case 'i': case 'j': case 'p': case 's':
			if (job != 0)
				return usage();
			job = c;
			arg = optarg;
			break;
		default:
			return usage();
		}
	}
	if (job == 0 || optind != argc)
		return usage();
	id = str_of(arg);
	switch (job) {
	case 'p': return queue_print_list(&ctx, false);
	case 'j': return queue_print_list(&ctx, true);
	case 'i':
		if (!queue_ids_valid(&ids))
			return EX_USAGE;
		return queue_flush(&ctx, &ids, NULL);
	case 's': return queue_flush(&ctx, NULL, arg);
	default: return queue_flush(&ctx, NULL, NULL);
	}
}

static int run_mailq(const struct context *outer, int argc, char **argv)
{
	struct context ctx = *outer;
	int c;

	while ((c = getopt(argc, argv, "A:C:c:jqv")) != -1) {
		switch (c) {
		case 'C':
		case 'c':
			ctx.config_dir = optarg;
			break;
		case 'j':
			return queue_print_list(&ctx, true);
		case 'q': /* mailq -q flushes, as sendmail -q does */
			return queue_flush(&ctx, NULL, NULL);
		case 'A': /* which of two queues: we have one */
		case 'v':
			break;
		default:
			fprintf(stderr, "usage: mailq [-C DIRECTORY] [-j]\n");
			return EX_USAGE;
		}
	}
	return queue_print_list(&ctx, false);
}

const struct command command_mailq = { NULL, "mailq", run_mailq,
	"[-C DIRECTORY] [-j]", "lists the queue" };
const struct command command_postqueue = { NULL, "postqueue", run_postqueue,
	"-p | -j | -f | -i ID | -s SITE", "lists and flushes the queue" };
