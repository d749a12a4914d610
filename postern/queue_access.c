#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "config/config.h"
#include "ipc/conv.h"
#include "msgs/maildrop.h"
#include "postern/queue_access.h"
#include "queue/id.h"

#define SEND_TIMEOUT (60 * CLOCK_SECOND)
#define ANSWER_TIMEOUT (600 * CLOCK_SECOND)

struct queue_access {
	struct conv *conv;		/* or */
	struct queue_direct *direct;
	int maildrop;			/* beside direct; -1: none */
};

static const char *const where_names[] = {
	[QUEUE_IN_ACTIVE] = "active", [QUEUE_IN_INCOMING] = "incoming",
	[QUEUE_IN_DEFERRED] = "deferred", [QUEUE_IN_HOLD] = "hold",
	[QUEUE_IN_CORRUPT] = "corrupt", [QUEUE_IN_MAILDROP] = "maildrop"
};

const char *queue_where_name(uint64_t where)
{
	return where >= QUEUE_IN_ACTIVE && where <= QUEUE_IN_MAILDROP
	    ? where_names[where] : "unknown";
}

uint64_t queue_where_bit(const char *name)
{
	for (uint64_t i = QUEUE_IN_ACTIVE; i <= QUEUE_IN_CORRUPT; i++)
		if (strcmp(name, where_names[i]) == 0)
			return QUEUE_WHERE_BIT(i);
	return 0;
}

/* --- opening --- */

static int open_spool(const struct context *ctx)
{
	int dir = open(ctx->config_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct config *c;
	const char *path;
	int spool;

	if (dir < 0) {
		complain("fatal: %s: %s", ctx->config_dir, strerror(errno));
		return -1;
	}
	c = config_read(dir, ctx->config_dir, CONFIG_NO_MASTER |
	    CONFIG_NO_TRUST);
	close(dir);
	path = c ? config_value(c, "queue_directory") : NULL;
	if (path == NULL) {
		complain("fatal: %s/main.cf: no queue_directory",
		    ctx->config_dir);
		config_free(&c);
		return -1;
	}
	spool = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (spool < 0)
		complain("fatal: %s: %s", path, strerror(errno));
	config_free(&c);
	return spool;
}

ssize_t queue_corrupt_count(const struct context *ctx)
{
	int spool = open_spool(ctx), dir;
	struct dirent *e;
	ssize_t n = 0;
	uint64_t id;
	DIR *d;

	if (spool < 0)
		return -1;
	dir = openat(spool, "corrupt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(spool);
	if (dir < 0)
		return 0;
	if ((d = fdopendir(dir)) == NULL) {
		close(dir);
		return 0;
	}
	while ((e = readdir(d)) != NULL)
		n += queue_id_parse(str_of(e->d_name), &id) == 0;
	closedir(d);
	return n;
}

static struct conv *connect_pickup(int spool)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path),
	    "/proc/self/fd/%d/public/pickup", spool);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd < 0 ? NULL : conv_new("pickup", fd);
}

/*
 * With the rights of the spool's owner, so that what is made there is his;
 * the process ends with this command, so they are not taken back.
 */
static struct queue_direct *open_direct(int spool, const char *down)
{
	struct queue_direct *d = NULL;
	const char *why = "";
	struct stat st;
	int dir = -1;

	if (fstat(spool, &st) < 0 || (geteuid() != 0 &&
		geteuid() != st.st_uid)) {
		complain("fatal: %s - mail system is down", down);
		return NULL;
	}
	complain("warning: Mail system is down -- accessing queue directly");
	if (geteuid() != 0 || (setegid(st.st_gid) == 0 &&
		seteuid(st.st_uid) == 0))
		dir = openat(spool, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		d = queue_direct_open(dir, &why);
	else
		why = strerror(errno);
	if (d == NULL)
		complain("fatal: the queue cannot be opened: %s", why);
	return d;
}

struct queue_access *queue_access_open(const struct context *ctx,
    enum queue_access_want want, const char *down)
{
	struct queue_access *q = calloc(1, sizeof(*q));
	int spool;

	if (q == NULL || (spool = open_spool(ctx)) < 0) {
		free(q);
		return NULL;
	}
	q->maildrop = -1;
	q->conv = connect_pickup(spool);
	if (q->conv == NULL && want == QUEUE_ACCESS_RUNNING) {
		complain("fatal: %s - mail system is down", down);
	} else if (q->conv == NULL) {
		q->maildrop = openat(spool, "maildrop", O_RDONLY |
		    O_DIRECTORY | O_CLOEXEC);
		q->direct = open_direct(spool, down);
	}
	close(spool);
	if (q->conv == NULL && q->direct == NULL)
		queue_access_close(&q);
	return q;
}

void queue_access_close(struct queue_access **qp)
{
	struct queue_access *q = *qp;

	if (q == NULL)
		return;
	conv_close(&q->conv);
	queue_direct_close(&q->direct);
	if (q->maildrop >= 0)
		close(q->maildrop);
	free(q);
	*qp = NULL;
}

/* --- exchanges --- */

static int ask(struct queue_access *q, const struct msg_schema *schema,
    const void *msg)
{
	const char *why;

	if (conv_send(q->conv, schema, msg, clock_now() + SEND_TIMEOUT,
		&why) == 0)
		return 0;
	complain("fatal: %s", why);
	return -1;
}

/* 1: one more answer in *m, 0: that was queue_end. -1 complained. */
static int next_answer(struct queue_access *q, const struct msg_schema *want,
    void *m, struct queue_result *r)
{
	const struct msg_schema *allowed[] = { want, &queue_end_schema };
	const struct msg_schema *got;
	union {
		struct queue_item item;
		struct queue_changed changed;
		struct queue_end end;
	} any;
	const char *why = "it went away";

	if (conv_recv(q->conv, allowed, 2, &got, &any,
		clock_now() + ANSWER_TIMEOUT, &why) != CONV_MESSAGE) {
		complain("fatal: the mail system did not answer: %s", why);
		return -1;
	}
	if (got == want) {
		memcpy(m, &any, want->size);
		return 1;
	}
	r->count += any.end.count;
	r->octets += any.end.octets;
	if (any.end.error.n == 0)
		return 0;
	complain("fatal: " STR_FMT, STR_ARG(any.end.error));
	return -1;
}

struct telling {
	queue_item_fn *fn;
	void *ctx;
};

static int tell_item(const struct queue_item *m, void *ctx)
{
	struct telling *t = ctx;

	t->fn(m, t->ctx);
	return 0;
}

/* Takes the effective ids of a file's owner; by way of root, if we are. */
static int take_rights(uid_t uid, gid_t gid)
{
	if (getuid() != 0 || geteuid() == uid)
		return 0;
	return seteuid(0) < 0 || setegid(gid) < 0 || seteuid(uid) < 0 ? -1
	    : 0;
}

struct rights {
	uid_t uid;
	gid_t gid;
};

/* Notes what we have in *own. */
static int become_pickup(struct queue_access *q, struct rights *own)
{
	struct stat st;

	*own = (struct rights){ geteuid(), getegid() };
	return fstat(q->maildrop, &st) < 0 ? -1
	    : take_rights(st.st_uid, st.st_gid);
}

/* maildrop/ of a suite that is down, with the rights of who owns it: that is
 * pickup, whose group may read what users left. */
static int list_maildrop(struct queue_access *q, queue_item_fn *fn, void *ctx,
    struct queue_result *r)
{
	struct telling t = { fn, ctx };
	uint64_t count = 0, octets = 0;
	struct rights own;
	int rc;

	if (q->maildrop < 0)
		return 0;
	rc = become_pickup(q, &own);
	if (rc == 0)
		rc = maildrop_list(q->maildrop, tell_item, &t, &count,
		    &octets);
	if (take_rights(own.uid, own.gid) < 0)
		rc = -1;
	if (rc < 0)
		complain("fatal: maildrop: %s", strerror(errno));
	r->count += count;
	r->octets += octets;
	return rc;
}

/* An order to delete single ones, as pickup does it (sendmail/operator.c). */
static int delete_maildrop(struct queue_access *q, const struct queue_order *m,
    queue_changed_fn *fn, void *ctx, struct queue_result *r)
{
	struct rights own;
	int rc;

	if (q->maildrop < 0 || m->verb != QUEUE_DO_DELETE || m->where != 0 ||
	    m->ids.n == 0)
		return 0;
	rc = become_pickup(q, &own);
	for (size_t i = 0; rc == 0 && i < m->ids.n; i++) {
		if (maildrop_remove(q->maildrop, m->ids.v[i]) < 0)
			continue;
		r->count++;
		if (fn != NULL)
			fn(m->ids.v[i], ctx);
	}
	if (take_rights(own.uid, own.gid) < 0)
		rc = -1;
	if (rc < 0)
		complain("fatal: maildrop: %s", strerror(errno));
	return rc;
}

static int open_maildrop(struct queue_access *q, struct str id)
{
	char name[NAME_MAX + 1];
	struct rights own;
	int fd = -1;

	errno = ENOENT;
	if (q->maildrop < 0)
		return -1;
	if (become_pickup(q, &own) == 0)
		fd = maildrop_open(q->maildrop, id, name);
	if (take_rights(own.uid, own.gid) < 0 && fd >= 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int list_some(struct queue_access *q, const struct queue_list *m,
    queue_item_fn *fn, void *ctx, struct queue_result *r)
{
	struct queue_item item;
	int rc;

	if (q->direct != NULL) {
		if (m->where & QUEUE_WHERE_BIT(QUEUE_IN_MAILDROP) &&
		    m->ids.n == 0 && list_maildrop(q, fn, ctx, r) < 0)
			return -1;
		return queue_direct_list(q->direct, m, fn, ctx, r);
	}
	if (ask(q, &queue_list_schema, m) < 0)
		return -1;
	while ((rc = next_answer(q, &queue_item_schema, &item, r)) > 0)
		fn(&item, ctx);
	return rc;
}

int queue_access_list(struct queue_access *q, uint64_t where,
    const struct strs *ids, queue_item_fn *fn, void *ctx,
    struct queue_result *r)
{
	size_t at = 0, all = ids ? ids->n : 0;
	int rc;

	*r = (struct queue_result){ 0, 0 };
	do {
		struct queue_list m = { .where = where };

		if (all > 0)
			m.ids = (struct strs){ ids->v + at,
				all - at < QUEUE_IDS_MAX ? all - at
				: QUEUE_IDS_MAX };
		at += m.ids.n;
		rc = list_some(q, &m, fn, ctx, r);
	} while (rc == 0 && at < all);
	return rc;
}

static int order_some(struct queue_access *q, const struct queue_order *m,
    queue_changed_fn *fn, void *ctx, struct queue_result *r)
{
	struct queue_changed changed;
	int rc;

	if (q->direct != NULL)
		return delete_maildrop(q, m, fn, ctx, r) < 0 ? -1
		    : queue_direct_order(q->direct, m, fn, ctx, r);
	if (ask(q, &queue_order_schema, m) < 0)
		return -1;
	while ((rc = next_answer(q, &queue_changed_schema, &changed, r)) > 0)
		for (size_t i = 0; fn != NULL && i < changed.ids.n; i++)
			fn(changed.ids.v[i], ctx);
	return rc;
}

int queue_access_order(struct queue_access *q, const struct queue_order *o,
    queue_changed_fn *fn, void *ctx, struct queue_result *r)
{
	size_t at = 0;
	int rc;

	*r = (struct queue_result){ 0, 0 };
	do {
		struct queue_order m = *o;

		if (o->ids.n > 0)
			m.ids = (struct strs){ o->ids.v + at,
				o->ids.n - at < QUEUE_IDS_MAX ? o->ids.n - at
				: QUEUE_IDS_MAX };
		at += m.ids.n;
		rc = order_some(q, &m, fn, ctx, r);
	} while (rc == 0 && at < o->ids.n);
	return rc;
}

int queue_access_show(struct queue_access *q, struct str id,
    uint64_t *where_r, int64_t *due_r)
{
	struct queue_show m = { id };
	struct queue_file file;
	const char *why;

	if (q->direct != NULL) {
		int fd = queue_direct_show(q->direct, id, where_r, due_r);

		if (fd >= 0 || errno != ENOENT)
			return fd;
		*where_r = QUEUE_IN_MAILDROP;
		return open_maildrop(q, id);
	}
	if (conv_call(q->conv, &queue_show_schema, &m, &queue_file_schema,
		&file, clock_now() + ANSWER_TIMEOUT, &why) < 0) {
		complain("fatal: the mail system did not answer: %s", why);
		return -1;
	}
	*where_r = file.where;
	*due_r = file.due;
	errno = ENOENT;
	return file.fd;
}
