/*
 * bounce - writes delivery status notifications
 *
 * Hears from:  qmgr (msgs/agent.h): which recipients, and of what kind
 * Talks to:    cleanup (msgs/submit.h)
 * Runs as:     postern-bounce, in an empty root; reads the file handed to it
 * Owns:        nothing
 * Start at:    write_notice(); notice.c writes the message
 * RFCs:        3461, 3464, 3834, 5321 (6.1), 6522, 6533
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "bounce/notice.h"
#include "queue/log.h"
#include "service/agent.h"
#include "service/service.h"

static struct agent *agent;

struct texts {
	struct agent_task *task;
	struct notice_recipient *recipients;
};

/* The last record of each recipient that the notice is about. */
static int take_record(const struct queue_log_record *r, void *ctx)
{
	struct texts *t = ctx;
	struct arena *arena = t->task->arena;

	for (size_t i = 0; i < t->task->job.indexes.n; i++) {
		struct notice_recipient *n = &t->recipients[i];

		if (t->task->job.indexes.v[i] != r->recipient ||
		    r->what == QUEUE_LOG_NOTIFIED)
			continue;
		n->relayed = r->what == QUEUE_LOG_RELAYED;
		n->when = r->when;
		n->status = arena_str(arena, r->status);
		n->host = arena_str(arena, r->host);
		n->text = arena_str(arena, r->text);
		n->diagnostic = arena_str(arena, r->diagnostic);
	}
	return 0;
}

static const struct queue_recipient *find_recipient(
    const struct queue_reader *r, uint64_t index)
{
	return index < r->envelope.recipient_count
	    ? &r->envelope.recipients[index] : NULL;
}

/* All that is known, from the file alone. 0, or -1 with why. */
static int read_file(struct agent_task *t, struct queue_reader *reader,
    struct notice *n, const char **why)
{
	struct texts texts = { .task = t };
	uint64_t id, end;

	*why = "bad queue id";
	if (queue_id_parse(t->job.queue_id, &id) < 0 ||
	    queue_reader_open(reader, t->job.file, id, t->arena, why) < 0)
		return -1;
	*why = "out of memory";
	texts.recipients = arena_array(t->arena, t->job.indexes.n,
	    sizeof(*texts.recipients));
	if (texts.recipients == NULL)
		return -1;
	for (size_t i = 0; i < t->job.indexes.n; i++) {
		struct notice_recipient *r = &texts.recipients[i];

		r->envelope = find_recipient(reader, t->job.indexes.v[i]);
		*why = "no such recipient in the file";
		if (r->envelope == NULL)
			return -1;
		r->when = reader->envelope.arrival;
		r->status = n->kind == NOTICE_FAILED ? STR("5.0.0")
		    : n->kind == NOTICE_DELAYED ? STR("4.0.0") : STR("2.0.0");
	}
	*why = "its delivery log cannot be read";
	if (queue_log_read(t->job.file, &reader->header, take_record, &texts,
	    &end) < 0 || arena_failed(t->arena))
		return -1;
	for (size_t i = 0; i < t->job.indexes.n; i++)
		if (texts.recipients[i].status.n == 0)
			texts.recipients[i].status = STR("2.0.0");
	n->recipients = texts.recipients;
	n->count = t->job.indexes.n;
	n->reader = reader;
	return 0;
}

static int submit(const struct notice *n, struct str sender, struct str to,
    const char *what, const char **why)
{
	struct submission *s = submission_open(sender, to, notice_flags(n));
	char id[QUEUE_ID_SIZE];

	*why = "cleanup cannot be reached";
	if (s == NULL)
		return -1;
	notice_write(n, to, s);
	if (submission_close(&s, id, why) < 0)
		return -1;
	log_info("%s: %s: %s", n->queue_id, what, id);
	return 0;
}

static bool is_class(const struct params *p, const char *word)
{
	struct str rest = str_of(p->notify_classes), one;

	while (str_word(&rest, ", \t", &one))
		if (str_eq_nocase_c(one, word))
			return true;
	return false;
}

/* A copy, header section only, from a sender to whom nothing is returned. */
static int submit_copy(const struct notice *n, const char **why)
{
	const struct params *p = n->params;
	struct notice copy = *n;
	char sender[400];

	copy.copy = true;
	snprintf(sender, sizeof(sender), "%s@%s", p->double_bounce_sender,
	    p->myhostname);
	return submit(&copy, str_of(sender),
	    str_of(p->bounce_notice_recipient), n->kind == NOTICE_DELAYED
	    ? "postmaster delay notification"
	    : "postmaster non-delivery notification", why);
}

/* RFC 5321 6.1: what has a null reverse-path is never returned. */
static int write_notice(const struct notice *n, struct str sender,
    const char **why)
{
	static const char *const whats[] = {
		[NOTICE_FAILED] = "sender non-delivery notification",
		[NOTICE_DELAYED] = "sender delay notification",
		[NOTICE_DELIVERED] = "sender delivery status notification",
	};
	const char *class = sender.n == 0 ? "2bounce"
	    : n->kind == NOTICE_DELAYED ? "delay" : "bounce";

	if (sender.n > 0 && submit(n, STR_NONE, sender, whats[n->kind],
	    why) < 0)
		return -1;
	if (n->kind != NOTICE_DELIVERED && is_class(n->params, class) &&
	    submit_copy(n, why) < 0) {
		/* The sender knows: do not tell again for the copy's sake. */
		log_warn("%s: postmaster copy: %s", n->queue_id, *why);
		return sender.n > 0 ? 0 : -1;
	}
	return 0;
}

static void deliver_job(struct agent_task *t)
{
	struct agent_outcome out = { .status = AGENT_SENT, .dsn = "2.0.0",
		.quiet = true };
	char id[QUEUE_ID_SIZE] = "?";
	struct queue_reader reader;
	struct notice n = { .kind = (enum notice_kind)t->job.why,
		.params = service_params(), .queue_id = id };
	const char *why;

	str_to_c(t->job.queue_id, id, sizeof(id));
	if (read_file(t, &reader, &n, &why) < 0 ||
	    write_notice(&n, reader.envelope.sender, &why) < 0) {
		log_warn("%s: notification: %s", id, why);
		out.status = AGENT_DEFERRED;
		out.dsn = "4.3.0";
		out.text = str_of(why);
	}
	for (size_t i = 0; i < t->job.rcpts.n; i++)
		agent_report(t, i, &out);
}

static int start(void)
{
	tzset(); /* the zone's file is out of reach later */
	return 0;
}

static int ready(struct loop *loop)
{
	static const char *const transports[] = { "bounce" };
	struct agent_config config = {
		.program = "bounce",
		.transports = transports, .count = 1,
		.capacity = service_session_max(),
		.deliver = deliver_job,
		.edge = service_edge("qmgr"),
		.spawn = service_thread,
		.done = service_done,
	};

	(void)loop;
	agent = agent_start(&config);
	return agent != NULL ? 0 : -1;
}

static bool drain(bool stopping)
{
	agent_drain(agent, stopping ? AGENT_STOP_GRACE : CLOCK_NEVER);
	return false;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "bounce",
		.start = start,
		.ready = ready,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
