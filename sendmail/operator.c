/*
 * operator.c - the queue commands, on their way to qmgr
 *
 * qmgr does not know who asks: this is the place that says who may.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/maildrop.h"
#include "sendmail/pickup.h"
#include "service/service.h"

#define ASK_TIMEOUT (300 * CLOCK_SECOND)
#define OPEN_TIMEOUT (30 * CLOCK_SECOND)

static bool is_owner(uid_t uid)
{
	return uid == 0 || (!service_is_privileged() && uid == geteuid());
}

static bool may(uid_t uid, const struct msg_schema *schema,
    const union operator_message *m)
{
	if (schema == &queue_list_schema)
		return true;
	if (schema == &queue_order_schema &&
	    m->order.verb == QUEUE_DO_FLUSH)
		return true;
	return is_owner(uid);
}

static int say(struct conv *c, const struct msg_schema *schema,
    const void *m)
{
	const char *why;

	return conv_send(c, schema, m, clock_now() + CLIENT_TIMEOUT, &why);
}

/* The answer to an exchange that is not done, in its own form. */
static int refuse(struct conv *c, const struct msg_schema *schema,
    const char *text)
{
	struct queue_end end = { .error = str_of(text) };
	struct queue_file file = { .fd = -1 };

	return schema == &queue_show_schema
	    ? say(c, &queue_file_schema, &file)
	    : say(c, &queue_end_schema, &end);
}

static int say_item(const struct queue_item *m, void *ctx)
{
	return say(ctx, &queue_item_schema, m);
}

/*
 * What waits in maildrop/ only we may read; it is shown as the queue is, to
 * everybody, but for the names of the files. Before qmgr answers: what is taken meanwhile is listed twice rather
 * than never. 0, or -1: the client is gone.
 */
static int list_maildrop(struct conv *c, const struct queue_list *m,
    struct queue_end *sum)
{
	*sum = (struct queue_end){ 0 };
	if (!(m->where & QUEUE_WHERE_BIT(QUEUE_IN_MAILDROP)) || m->ids.n > 0)
		return 0;
	errno = 0;
	if (maildrop_list(service_dir("maildrop"), say_item, c, &sum->count,
		&sum->octets) == 0)
		return 0;
	if (errno != 0)
		log_warn("maildrop: %s", strerror(errno));
	return -1;
}

/* The same for an order to delete single ones; all that there are is what the
 * queue has. Those are no ids of qmgr's, which passes them over. */
static int delete_maildrop(struct conv *c, const struct queue_order *m,
    struct queue_end *sum)
{
	for (size_t i = 0; m->verb == QUEUE_DO_DELETE && m->where == 0 &&
	    i < m->ids.n; i++) {
		struct queue_changed changed = {
			.ids = { m->ids.v + i, 1 } };

		if (maildrop_remove(service_dir("maildrop"), m->ids.v[i]) < 0)
			continue;
		log_info("maildrop: " STR_FMT " is removed by the operator",
		    STR_ARG(m->ids.v[i]));
		sum->count++;
		if (say(c, &queue_changed_schema, &changed) < 0)
			return -1;
	}
	return 0;
}

/* 1: it is there, and was given. */
static int show_maildrop(struct conv *c, const struct queue_show *m)
{
	char name[NAME_MAX + 1];
	struct queue_file file = { .where = QUEUE_IN_MAILDROP,
		.fd = maildrop_open(service_dir("maildrop"), m->queue_id,
		    name) };
	int rc;

	if (file.fd < 0)
		return 0;
	rc = say(c, &queue_file_schema, &file);
	close(file.fd);
	return rc < 0 ? -1 : 1;
}

/* Passes answers on up to the last one, to which `sum` is added. 0, -1
 * client, -2 qmgr. */
static int pass_answers(struct conv *c, struct conv *qmgr,
    const struct queue_end *sum)
{
	static const struct msg_schema *const allowed[] = {
		&queue_item_schema, &queue_changed_schema, &queue_end_schema,
		&queue_file_schema };
	union {
		struct queue_item item;
		struct queue_changed changed;
		struct queue_end end;
		struct queue_file file;
	} m;
	const struct msg_schema *got;
	const char *why;

	for (;;) {
		int rc;

		if (conv_recv(qmgr, allowed, 4, &got, &m,
			clock_now() + ASK_TIMEOUT, &why) != CONV_MESSAGE)
			return -2;
		if (got == &queue_end_schema) {
			m.end.count += sum->count;
			m.end.octets += sum->octets;
		}
		rc = say(c, got, &m);
		msg_close_fds(got, &m);
		if (rc < 0)
			return -1;
		if (got == &queue_end_schema || got == &queue_file_schema)
			return 0;
	}
}

int operator_serve(struct conv *c, uid_t uid, const struct msg_schema *schema,
    const union operator_message *m)
{
	struct edge *edge = service_edge("qmgr");
	struct queue_end sum = { 0 };
	struct conv *qmgr;
	const char *why;
	int rc;

	if (!may(uid, schema, m)) {
		log_warn("uid=%u: an order about the queue is refused",
		    (unsigned)uid);
		return refuse(c, schema, "only the superuser may do that");
	}
	if ((schema == &queue_list_schema &&
		list_maildrop(c, &m->list, &sum) < 0) ||
	    (schema == &queue_order_schema &&
		delete_maildrop(c, &m->order, &sum) < 0))
		return -1;
	if (schema == &queue_show_schema &&
	    (rc = show_maildrop(c, &m->show)) != 0)
		return rc < 0 ? -1 : 0;
	qmgr = edge == NULL ? NULL : edge_open(edge,
	    clock_now() + OPEN_TIMEOUT);
	if (qmgr == NULL)
		return refuse(c, schema, "the queue manager is away");
	if (conv_send(qmgr, schema, m, clock_now() + ASK_TIMEOUT, &why) < 0)
		rc = -2;
	else
		rc = pass_answers(c, qmgr, &sum);
	if (rc == 0)
		conv_keep(&qmgr);
	else
		conv_close(&qmgr);
	return rc == -2 ? refuse(c, schema, "the queue manager went away")
	    : rc;
}
