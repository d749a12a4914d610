/*
 * lookup - tables, address rewriting and routing: where an address leads
 *
 * Hears from:  smtpd, cleanup, local, pickup, smtp, qmgr  (msgs/lookup.h)
 * Talks to:    auth: whether a user exists
 * Runs as:     postern-lookup; reads the configuration's directory and tables
 * Owns:        nothing
 * Start at:    answer.c; then resolve.c, recipient.c, expand.c
 * RFCs:        5321 (3.6, 4.5.1, 5.1), 5233
 */
#include <errno.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "lookup/lookup.h"
#include "service/service.h"

#define QUERY_ARENA (2 * 1024 * 1024)
#define REPLY_TIMEOUT (30 * CLOCK_SECOND)

static struct lookup *lookup;

/*
 * The directories above the configuration's may be closed to us: tables in
 * it are opened from it.
 */
static int enter_directory(void)
{
	int fd = service_dir("etc");

	if (fd < 0)
		return 0;
	if (fchdir(fd) < 0) {
		log_warn("configuration directory: %s", strerror(errno));
		return -1;
	}
	table_set_directory(service_params()->config_directory);
	return 0;
}

static int start(void)
{
	struct buf why;

	if (enter_directory() < 0)
		return -1;
	buf_init(&why, 4000);
	lookup = lookup_new(service_params(), users_exists, NULL, &why);
	if (lookup == NULL)
		log_warn("%s", buf_cstr(&why));
	buf_fini(&why);
	return lookup != NULL ? 0 : -1;
}

union request {
	struct resolve_request resolve;
	struct expand_request expand;
	struct alias_request alias;
};

static int answer_resolve(struct conv *conv, struct query *q, void *m,
    const char **why)
{
	struct resolve_reply r;

	lookup_answer_resolve(q, m, &r);
	return conv_send(conv, &resolve_reply_schema, &r,
	    clock_now() + REPLY_TIMEOUT, why);
}

static int answer_expand(struct conv *conv, struct query *q, void *m,
    const char **why)
{
	struct expand_reply r;

	lookup_answer_expand(q, m, &r);
	if (conv_send(conv, &expand_reply_schema, &r,
	    clock_now() + REPLY_TIMEOUT, why) == 0)
		return 0;
	/* More than a message holds was not sent at all. */
	log_warn("lookup of " STR_FMT ": the expansion is too large (%s)",
	    STR_ARG(((struct expand_request *)m)->address), *why);
	r = (struct expand_reply){ .status = LOOKUP_TEMPFAIL,
		.text = STR("4.3.0 Alias expansion is too large") };
	return conv_send(conv, &expand_reply_schema, &r,
	    clock_now() + REPLY_TIMEOUT, why);
}

static int answer_alias(struct conv *conv, struct query *q, void *m,
    const char **why)
{
	struct alias_reply r;

	lookup_answer_alias(q, m, &r);
	if (conv_send(conv, &alias_reply_schema, &r,
	    clock_now() + REPLY_TIMEOUT, why) == 0)
		return 0;
	log_warn("alias " STR_FMT ": its value is too long (%s)",
	    STR_ARG(((struct alias_request *)m)->name), *why);
	r = (struct alias_reply){ .status = LOOKUP_TEMPFAIL };
	return conv_send(conv, &alias_reply_schema, &r,
	    clock_now() + REPLY_TIMEOUT, why);
}

/* What may be asked, and who answers. */
static const struct {
	const struct msg_schema *request;
	int (*answer)(struct conv *, struct query *, void *, const char **);
} questions[] = {
	{ &resolve_request_schema, answer_resolve },
	{ &expand_request_schema, answer_expand },
	{ &alias_request_schema, answer_alias },
};
#define NQUESTIONS (sizeof(questions) / sizeof(questions[0]))

static void converse(struct conv *conv, const char *client)
{
	const struct msg_schema *allowed[NQUESTIONS], *schema;
	struct query q = { .l = lookup, .arena = arena_new(QUERY_ARENA) };
	union request m;
	const char *why = "";
	enum conv_got got = CONV_CLOSED;
	int ret = 0;

	for (size_t i = 0; i < NQUESTIONS; i++)
		allowed[i] = questions[i].request;
	buf_init(&q.why, 4000);
	while (q.arena != NULL && ret == 0 && (got = service_recv(conv,
	    allowed, NQUESTIONS, &schema, &m, &why)) == CONV_MESSAGE) {
		for (size_t i = 0; i < NQUESTIONS; i++)
			if (schema == questions[i].request)
				ret = questions[i].answer(conv, &q, &m, &why);
		arena_reset(q.arena);
		buf_reset(&q.why);
	}
	if (ret < 0 || got == CONV_BROKEN)
		log_warn("conversation with %s: %s", client, why);
	arena_free(&q.arena);
	buf_fini(&q.why);
	conv_close(&conv);
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "lookup",
		.start = start,
		.converse = converse,
	};

	return service_main(argc, argv, &service);
}
