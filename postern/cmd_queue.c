/* cmd_queue.c - postern queue: one verb for what the old names do */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include "postern/queue_list.h"

static int usage(void)
{
	fprintf(stderr,
	    "usage: postern queue list [-j]\n"
	    "       postern queue show ID...\n"
	    "       postern queue hold|release|delete|requeue|expire "
	    "ID...|ALL|-\n"
	    "       postern queue flush [ID... | -s SITE]\n");
	return EX_USAGE;
}

static int show(const struct context *ctx, int argc, char **argv)
{
	struct queue_access *q;
	int rc = 0;

	if (argc == 0)
		return usage();
	q = queue_access_open(ctx, QUEUE_ACCESS_READ,
	    "cannot read the queue");
	if (q == NULL)
		return EX_UNAVAILABLE;
	for (int i = 0; rc == 0 && i < argc; i++)
		rc = queue_print_message(q, argv[i], POSTCAT_ENVELOPE |
		    POSTCAT_HEADER | POSTCAT_BODY);
	queue_access_close(&q);
	return fflush(stdout) == 0 ? rc : EX_IOERR;
}

static int flush(const struct context *ctx, int argc, char **argv)
{
	struct strs ids = { calloc((size_t)argc + 1, sizeof(struct str)),
		(size_t)argc };
	int rc;

	if (argc == 2 && strcmp(argv[0], "-s") == 0) {
		free(ids.v);
		return queue_flush(ctx, NULL, argv[1]);
	}
	if (ids.v == NULL)
		return EX_OSERR;
	for (int i = 0; i < argc; i++)
		ids.v[i] = str_of(argv[i]);
	if (argc == 1 && strcmp(argv[0], "ALL") == 0)
		ids.n = 0;
	rc = queue_ids_valid(&ids) ? queue_flush(ctx, ids.n > 0 ? &ids
	    : NULL, NULL) : EX_DATAERR;
	free(ids.v);
	return rc;
}

static int steer(const struct context *ctx, uint64_t verb, int argc,
    char **argv)
{
	struct queue_access *q;
	int rc;

	if (argc == 0)
		return usage();
	q = queue_access_open(ctx, QUEUE_ACCESS_CHANGE,
	    "only the superuser may do that");
	if (q == NULL)
		return EX_UNAVAILABLE;
	rc = queue_steer(q, verb, 0, argv, argc, true);
	queue_access_close(&q);
	return rc;
}

static int run_queue(const struct context *ctx, int argc, char **argv)
{
	static const struct {
		const char *name;
		uint64_t verb;
	} verbs[] = {
		{ "hold", QUEUE_DO_HOLD }, { "release", QUEUE_DO_RELEASE },
		{ "delete", QUEUE_DO_DELETE },
		{ "requeue", QUEUE_DO_REQUEUE },
		{ "expire", QUEUE_DO_EXPIRE },
	};
	const char *what = argc > 1 ? argv[1] : "";

	argc -= 2;
	argv += 2;
	if (strcmp(what, "list") == 0 && argc == 0)
		return queue_print_list(ctx, false);
	if (strcmp(what, "list") == 0 && argc == 1 &&
	    strcmp(argv[0], "-j") == 0)
		return queue_print_list(ctx, true);
	if (strcmp(what, "show") == 0)
		return show(ctx, argc, argv);
	if (strcmp(what, "flush") == 0)
		return flush(ctx, argc, argv);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(what, verbs[i].name) == 0)
			return steer(ctx, verbs[i].verb, argc, argv);
	return usage();
}

const struct command command_queue = { "queue", NULL, run_queue,
	"list [-j] | show ID... | hold|release|delete|requeue|expire "
	"ID...|ALL|-\n           | flush [ID... | -s SITE]",
	"lists and steers the queue" };
