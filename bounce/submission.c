#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "bounce/submission.h"
#include "msgs/submit.h"
#include "service/service.h"

#define OPEN_TIMEOUT (30 * CLOCK_SECOND)
#define SEND_TIMEOUT (60 * CLOCK_SECOND)
#define REPLY_TIMEOUT (120 * CLOCK_SECOND)

struct submission {
	struct conv *conv;
	struct submit_begin begin;
	struct str recipient;
	struct buf chunk;
	bool begun, failed;
	const char *why;	/* it failed */
};

struct submission *submission_open(struct str sender, struct str recipient,
    uint64_t flags)
{
	struct submission *s = calloc(1, sizeof(*s));
	struct edge *edge = service_edge("cleanup");

	if (s == NULL)
		return NULL;
	s->conv = edge == NULL ? NULL
	    : edge_open(edge, clock_now() + OPEN_TIMEOUT);
	if (s->conv == NULL) {
		log_warn("cleanup cannot be reached");
		free(s);
		return NULL;
	}
	s->recipient = recipient;
	s->begin = (struct submit_begin){
		.service = STR("bounce"), .sender = sender,
		.flags = flags | SUBMIT_INTERNAL, .local_uid = UINT32_MAX,
	};
	buf_init(&s->chunk, SUBMIT_CHUNK + 1);
	return s;
}

void submission_fail(struct submission *s, const char *why)
{
	if (!s->failed)
		s->why = why;
	s->failed = true;
}

static void send_chunk(struct submission *s, bool last)
{
	int64_t deadline = clock_now() + SEND_TIMEOUT;
	struct str none = STR_NONE;
	uint64_t zero = 0;
	const char *why;
	int rc;

	if (s->failed)
		return;
	if (!s->begun) {
		s->begin.rcpts = (struct strs){ &s->recipient, 1 };
		s->begin.originals = s->begin.transports =
		    s->begin.nexthops = s->begin.orcpts =
		    (struct strs){ &none, 1 };
		/* RFC 3461 6.2: a notice asks for none itself */
		zero = NOTIFY_NEVER;
		s->begin.notify = (struct nums){ &zero, 1 };
		s->begin.content = buf_str(&s->chunk);
		s->begin.last = last;
		rc = conv_send(s->conv, &submit_begin_schema, &s->begin,
		    deadline, &why);
		s->begun = true;
	} else {
		struct submit_data data = { buf_str(&s->chunk), last };

		rc = conv_send(s->conv, &submit_data_schema, &data, deadline,
		    &why);
	}
	if (rc < 0)
		submission_fail(s, why);
	buf_reset(&s->chunk);
}

void submission_write(struct submission *s, struct str text)
{
	while (text.n > 0) {
		struct str piece = str_sub(text, 0, SUBMIT_CHUNK -
		    s->chunk.n);

		if (buf_append(&s->chunk, piece) < 0)
			submission_fail(s, "no memory");
		text = str_from(text, piece.n);
		if (s->chunk.n >= SUBMIT_CHUNK)
			send_chunk(s, false);
	}
}

void submission_printf(struct submission *s, const char *fmt, ...)
{
	struct buf b;
	va_list ap;

	buf_init(&b, SUBMIT_CHUNK);
	va_start(ap, fmt);
	if (buf_vprintf(&b, fmt, ap) < 0)
		submission_fail(s, "no memory");
	va_end(ap);
	submission_write(s, buf_str(&b));
	buf_fini(&b);
}

static int take_reply(struct submission *s, char id[QUEUE_ID_SIZE],
    const char **why)
{
	static const struct msg_schema *const allowed[] = {
		&submit_reply_schema };
	const struct msg_schema *schema;
	struct submit_reply reply;
	enum conv_got got;

	/* A refusal in the middle breaks the sending: then it is there and
	 * says why. Who was not sent the end says nothing else. */
	got = s->failed ? conv_try_recv(s->conv, allowed, 1, &schema, &reply,
	    why) : conv_recv(s->conv, allowed, 1, &schema, &reply,
	    clock_now() + REPLY_TIMEOUT, why);
	if (got != CONV_MESSAGE) {
		if (s->failed)
			*why = s->why;
		return -1;
	}
	if (reply.code == 250)
		return str_to_c(reply.queue_id, id, QUEUE_ID_SIZE);
	/* The words are gone with the conversation. */
	log_warn("cleanup refused a notification: %llu " STR_FMT " " STR_FMT,
	    (unsigned long long)reply.code, STR_ARG(reply.dsn),
	    STR_ARG(reply.text));
	*why = "it was refused";
	return -1;
}

int submission_close(struct submission **sp, char id[QUEUE_ID_SIZE],
    const char **why)
{
	struct submission *s = *sp;
	int rc;

	send_chunk(s, true);
	rc = take_reply(s, id, why);
	if (rc == 0)
		conv_keep(&s->conv);
	else
		conv_close(&s->conv);
	buf_fini(&s->chunk);
	free(s);
	*sp = NULL;
	return rc;
}
