#include <errno.h>
#include "base/sys.h"
#include "queue/recover.h"

/*
 * A write lease needs that ours is the only descriptor, so the file is
 * judged again after it was had: who held it may have just committed.
 */
static enum queue_found judge_torn(const struct queue_spool *s,
    const struct queue_name *name, int fd, const char **why)
{
	if (!queue_is_unheld(fd))
		return QUEUE_FOUND_HELD;
	switch (queue_classify(fd, name->id, true, why)) {
	case QUEUE_KIND_TORN:
		break;
	case QUEUE_KIND_WHOLE:
		return QUEUE_FOUND_MESSAGE;
	default:
		return QUEUE_FOUND_HELD; /* look again later */
	}
	return queue_spool_release(s, name) < 0 ? QUEUE_FOUND_FAILED
	    : QUEUE_FOUND_REMOVED;
}

/*
 * Perhaps it was only half written, and who held it goes on, or has just
 * committed it: judged again once nobody has it.
 */
static enum queue_found judge_damaged(const struct queue_spool *s,
    struct queue_name *name, int fd, const char **why)
{
	if (!queue_is_unheld(fd) && errno == EAGAIN)
		return QUEUE_FOUND_HELD;
	switch (queue_classify(fd, name->id, name->place == QUEUE_INCOMING,
	    why)) {
	case QUEUE_KIND_WHOLE:
		*why = NULL;
		return QUEUE_FOUND_MESSAGE;
	case QUEUE_KIND_TORN:
		if (name->place == QUEUE_INCOMING)
			return QUEUE_FOUND_HELD; /* look again later */
		break;
	case QUEUE_KIND_DAMAGED:
		break;
	default:
		return QUEUE_FOUND_FAILED;
	}
	if (name->place != QUEUE_CORRUPT &&
	    queue_spool_move(s, name, QUEUE_CORRUPT, 0) < 0)
		return QUEUE_FOUND_FAILED;
	return QUEUE_FOUND_CORRUPT;
}

static enum queue_found judge(const struct queue_spool *s,
    struct queue_name *name, int fd, const char **why)
{
	/* Elsewhere it was whole once; an agent checks what it reads. */
	bool is_incoming = name->place == QUEUE_INCOMING;
	enum queue_kind kind = queue_classify(fd, name->id, is_incoming, why);

	/* What was whole once is not thrown away, whatever it is now. */
	if (kind == QUEUE_KIND_TORN && !is_incoming)
		kind = QUEUE_KIND_DAMAGED;
	switch (kind) {
	case QUEUE_KIND_WHOLE:
		*why = NULL;
		return QUEUE_FOUND_MESSAGE;
	case QUEUE_KIND_TORN:
		return judge_torn(s, name, fd, why);
	case QUEUE_KIND_DAMAGED:
		return judge_damaged(s, name, fd, why);
	default:
		return QUEUE_FOUND_FAILED;
	}
}

int queue_recover_file(const struct queue_spool *s,
    const struct queue_name *as, const char *file, queue_recover_fn *fn,
    void *ctx)
{
	struct queue_name name = *as;
	const char *why = NULL;
	enum queue_found found;
	int fd, rc;

	if (name.id == 0)
		return fn(QUEUE_FOUND_STRANGE, &name, file, -1,
		    "the name is no queue id", ctx);
	fd = queue_spool_open_file(s, &name, true);
	if (fd < 0) {
		found = errno == EBADMSG ? QUEUE_FOUND_STRANGE
		    : QUEUE_FOUND_FAILED;
		return fn(found, &name, file, -1, found ==
		    QUEUE_FOUND_STRANGE ? "not a plain file of ours with one "
		    "link" : "cannot open the file", ctx);
	}
	found = judge(s, &name, fd, &why);
	rc = fn(found, &name, file, found == QUEUE_FOUND_MESSAGE ? fd : -1,
	    why, ctx);
	sys_close(fd);
	return rc;
}

struct scan {
	const struct queue_spool *spool;
	queue_recover_fn *fn;
	void *ctx;
};

static int recover_one(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct scan *scan = ctx;

	return queue_recover_file(scan->spool, name, file, scan->fn,
	    scan->ctx);
}

int queue_recover(const struct queue_spool *s, queue_recover_fn *fn,
    void *ctx)
{
	struct scan scan = { s, fn, ctx };
	int rc = queue_spool_scan(s, QUEUE_INCOMING, 0, recover_one, &scan);

	if (rc != 0)
		return rc;
	return sys_fsync(s->place[QUEUE_CORRUPT]) < 0 ||
	    sys_fsync(s->place[QUEUE_INCOMING]) < 0 ? -1 : 0;
}
