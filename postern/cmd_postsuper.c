/* cmd_postsuper.c - the operator steers the queue */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>
#include "base/arena.h"
#include "postern/queue_list.h"
#include "queue/id.h"

#define ARENA_MAX (256 * 1024 * 1024)

struct words {
	uint64_t verb;
	char option;		/* of postsuper */
	const char *did, *sum;
};

static const struct words words[] = {
	{ QUEUE_DO_DELETE, 'd', "removed", "Deleted" },
	{ QUEUE_DO_HOLD, 'h', "placed on hold", "Placed on hold" },
	{ QUEUE_DO_RELEASE, 'H', "released from hold", "Released from hold" },
	{ QUEUE_DO_REQUEUE, 'r', "requeued", "Requeued" },
	{ QUEUE_DO_EXPIRE, 'e', "expired", "Expired" },
};

static const struct words *words_of(uint64_t verb)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].verb == verb)
			return &words[i];
	return NULL;
}

static void tell_change(struct str id, void *ctx)
{
	const struct words *w = ctx;

	complain(STR_FMT ": %s", STR_ARG(id), w->did);
}

/* --- which messages --- */

struct ids {
	struct arena *arena;
	struct str *v;
	size_t n, room;
	size_t bad;	/* words that are no queue id */
	bool all;
	int rc;
};

static void add_id(struct ids *l, struct str text)
{
	uint64_t id;

	if (str_eq_c(text, "ALL")) {
		l->all = true;
		return;
	}
	if (queue_id_parse(text, &id) < 0) {
		complain("warning: no valid queue id: " STR_FMT,
		    STR_ARG(str_sub(text, 0, 100)));
		l->bad++;
		return;
	}
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct str *more = reallocarray(l->v, room, sizeof(*more));

		if (more == NULL) {
			l->rc = -1;
			return;
		}
		l->v = more;
		l->room = room;
	}
	text = arena_str(l->arena, text);
	if (text.p == NULL)
		l->rc = -1;
	else
		l->v[l->n++] = text;
}

static void read_ids(struct ids *l)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while (l->rc == 0 && (n = getline(&line, &size, stdin)) >= 0) {
		struct str rest = str_n(line, (size_t)n), word;

		while (str_word(&rest, " \t\r\n", &word))
			add_id(l, word);
	}
	free(line);
}

int queue_steer(struct queue_access *q, uint64_t verb, uint64_t where,
    char **ids, int count, bool each)
{
	const struct words *w = words_of(verb);
	struct ids l = { .arena = arena_new(ARENA_MAX) };
	struct queue_order m = { .verb = verb, .where = where };
	struct queue_result r = { 0, 0 };
	int rc = 0;

	if (l.arena == NULL)
		l.rc = -1;
	for (int i = 0; l.rc == 0 && i < count; i++) {
		if (strcmp(ids[i], "-") == 0)
			read_ids(&l);
		else
			add_id(&l, str_of(ids[i]));
	}
	if (l.rc < 0) {
		complain("fatal: no memory");
		rc = EX_OSERR;
	} else if (l.all || l.n > 0) {
		if (!l.all)
			m.ids = (struct strs){ l.v, l.n };
		if (queue_access_order(q, &m, tell_change,
		    (void *)(uintptr_t)w, &r) < 0)
			rc = EX_UNAVAILABLE;
	}
	if (rc == 0 && r.count > 0)
		complain("%s: %llu message%s", w->sum,
		    (unsigned long long)r.count, r.count == 1 ? "" : "s");
	if (rc == 0 && each && !l.all && r.count < l.n) {
		complain("%llu of %zu messages are not there, or there was "
		    "nothing to do", (unsigned long long)(l.n - r.count),
		    l.n);
		rc = EX_NOINPUT;
	}
	if (rc == 0 && each && l.bad > 0)
		rc = EX_DATAERR;
	free(l.v);
	arena_free(&l.arena);
	return rc;
}

/* --- postsuper --- */

static int usage(void)
{
	fprintf(stderr, "usage: postsuper [-c DIRECTORY] [-d ID] [-e ID] "
	    "[-h ID] [-H ID] [-r ID] [QUEUE]...\n"
	    "       ID is a queue id, ALL, or - for ids on standard input; "
	    "QUEUE is one of\n"
	    "       active, incoming, deferred, hold, corrupt\n");
	return 1;
}

struct job {
	uint64_t verb;
	char *id;
};

static int run_postsuper(const struct context *outer, int argc, char **argv)
{
	struct context ctx = *outer;
	struct job jobs[64];
	struct queue_access *q;
	uint64_t where = 0;
	size_t n = 0;
	int c, rc = 0;

	while ((c = getopt(argc, argv, "c:d:e:h:H:r:v")) != -1) {
		uint64_t verb = 0;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (words[i].option == c)
				verb = words[i].verb;
		if (c == 'c')
			ctx.config_dir = optarg;
		else if (verb != 0 && n < 64)
			jobs[n++] = (struct job){ verb, optarg };
		else if (c != 'v')
			return usage();
	}
	for (; optind < argc; optind++) {
		uint64_t bit = queue_where_bit(argv[optind]);

		if (bit == 0) {
			complain("fatal: there is no queue \"%s\"",
			    argv[optind]);
			return 1;
		}
		where |= bit;
	}
	if (n == 0)
		return usage();
	q = queue_access_open(&ctx, QUEUE_ACCESS_CHANGE,
	    "use of this command is reserved for the superuser");
	if (q == NULL)
		return 1;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = queue_steer(q, jobs[i].verb, where, &jobs[i].id, 1,
		    false) != 0;
	queue_access_close(&q);
	return rc;
}

const struct command command_postsuper = { NULL, "postsuper", run_postsuper,
	"[-d ID] [-e ID] [-h ID] [-H ID] [-r ID] [QUEUE]...",
	"deletes, expires, holds, releases, requeues messages" };
