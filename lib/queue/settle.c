#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/sys.h"
#include "queue/spool.h"

struct names {
	struct queue_name *v;
	size_t n, room;
};

static int add_name(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct names *names = ctx;

	(void)file;
	if (name->id == 0)
		return 0;
	if (names->n == names->room) {
		size_t room = names->room ? 2 * names->room : 256;
		struct queue_name *p = realloc(names->v, room * sizeof(*p));

		if (p == NULL)
			return -1;
		names->v = p;
		names->room = room;
	}
	names->v[names->n++] = *name;
	return 0;
}

/* By id; of one message the name that stays comes first. */
static int compare_names(const void *a, const void *b)
{
	const struct queue_name *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->place != y->place) /* in their order: incoming/ is the oldest */
		return x->place > y->place ? -1 : 1;
	return x->due < y->due ? -1 : x->due > y->due;
}

/* 1: two names of one plain file, 0: not so, -1. */
static int are_one(const struct queue_spool *s, const struct queue_name *a,
    const struct queue_name *b)
{
	struct stat one, other;

	if (queue_spool_stat(s, a, &one) < 0 ||
	    queue_spool_stat(s, b, &other) < 0)
		return errno == ENOENT ? 0 : -1;
	return S_ISREG(one.st_mode) && one.st_dev == other.st_dev &&
	    one.st_ino == other.st_ino;
}

static ssize_t unlink_doubles(const struct queue_spool *s,
    const struct names *names)
{
	size_t stays = 0;
	ssize_t count = 0;

	for (size_t i = 1; i < names->n; i++) {
		const struct queue_name *name = &names->v[i];
		int rc;

		if (name->id != names->v[stays].id) {
			stays = i;
			continue;
		}
		if ((rc = are_one(s, &names->v[stays], name)) < 0)
			return -1;
		if (rc == 0)
			continue;
		/* Not synced: it may come back once more. */
		if (queue_spool_release(s, name) < 0)
			return -1;
		count++;
	}
	return count;
}

ssize_t queue_spool_settle(const struct queue_spool *s)
{
	struct names names = { 0 };
	ssize_t count = 0;

	for (int i = 0; i < QUEUE_PLACE_COUNT && count == 0; i++)
		count = queue_spool_scan(s, (enum queue_place)i, INT64_MAX,
		    add_name, &names);
	if (count == 0 && names.n > 0) {
		qsort(names.v, names.n, sizeof(*names.v), compare_names);
		count = unlink_doubles(s, &names);
	}
	free(names.v);
	return count;
}
