/* APPEND (RFC 3501 6.3.11, RFC 4315 section 3, RFC 7889) */
#include <errno.h>
#include "imapd/commands.h"
#include "store/delivery.h"

struct append {
	struct str mailbox;
	struct flag_list flags;
	int64_t date;
	uint64_t size;
	bool waits;		/* for "+": {n}, not {n+} */
};

static int parse_append(struct session *s, struct append *a)
{
	struct parse *p = &s->parse;
	struct mail_date date;

	a->date = DELIVERY_DATE_NOW;
	if (parse_space(p) < 0 || parse_mailbox(p, &a->mailbox) < 0 ||
	    parse_space(p) < 0)
		return -1;
	if (parse_peek(p) == '(' &&
	    (session_parse_flags(s, false, &a->flags) < 0 ||
	    parse_space(p) < 0))
		return -1;
	if (parse_peek(p) == '"') {
		if (parse_date_time(p, &date) < 0 || parse_space(p) < 0)
			return -1;
		a->date = date.time;
	}
	return parse_literal_head(p, &a->size, &a->waits);
}

static void gone(struct session *s, enum stream_result rc)
{
	if (rc == STREAM_TIMEOUT)
		session_bye(s, "Timeout in the middle of a literal");
	session_enter(s, SESSION_ENDED, stream_why(s->stream));
}

/* The message is not taken: what the client sends unasked is dropped, and
 * the answer that was set stands. */
static int refuse(struct session *s, const struct append *a, uint64_t limit)
{
	enum stream_result rc;

	if (a->waits)
		return 0;
	if (a->size > limit) {
		/* RFC 7888 section 4 */
		s->status = NULL;
		session_bye(s, "[TOOBIG] Message is too large");
		return 0;
	}
	rc = stream_skip(s->stream, a->size);
	if (rc != STREAM_OK) {
		s->status = NULL;
		gone(s, rc);
		return 0;
	}
	return parse_next_line(&s->parse);
}

/*
 * Streams the literal into the file. What fails on our side is remembered in
 * *error; the octets are read all the same. 0, or -1: the client is gone.
 */
static int copy_literal(struct session *s, const struct append *a,
    struct delivery *d, int *error, const char **why)
{
	uint64_t left = a->size;

	while (left > 0) {
		struct str piece;
		enum stream_result rc = stream_read_some(s->stream,
		    left < STREAM_IN_BIG ? (size_t)left : STREAM_IN_BIG,
		    &piece);

		if (rc != STREAM_OK) {
			gone(s, rc);
			return -1;
		}
		left -= piece.n;
		if (*error != 0)
			continue;
		if (str_has_nul(piece)) {
			/* RFC 3501 section 9, CHAR8 */
			*error = EINVAL;
			*why = "Message has a NUL octet";
		} else if (delivery_write(d, piece) < 0) {
			*error = errno;
			*why = NULL;
		}
	}
	return 0;
}

static void commit(struct session *s, const struct append *a,
    struct delivery **d)
{
	struct delivery_append how = { .flags = a->flags.flags,
		.keywords = a->flags.keywords,
		.keyword_count = a->flags.keyword_count, .date = a->date };
	uint32_t uidvalidity, uid;
	const char *why = NULL;

	if (delivery_commit_append(d, &how, &uidvalidity, &uid, &why) < 0)
		session_no_store(s, errno, why);
	else
		session_ok(s, "[APPENDUID %u %u] Append completed",
		    uidvalidity, uid);
}

static void refuse_mailbox(struct session *s, int error, const char *why)
{
	/* RFC 3501 6.3.11 */
	if (error == ENOENT)
		session_no(s, "[TRYCREATE] %s", why != NULL ? why :
		    "No such mailbox");
	else
		session_no_store(s, error, why);
}

static int take(struct session *s, const struct append *a)
{
	struct delivery *d = NULL;
	const char *why = NULL;
	int error = 0;

	if (delivery_open(s->server->store, a->mailbox, &d, &why) < 0) {
		refuse_mailbox(s, errno, why);
		return refuse(s, a, a->size);
	}
	if (a->waits && s->parse.source->go_ahead(s->parse.ctx) < 0) {
		delivery_abort(&d);
		return 0;
	}
	if (copy_literal(s, a, d, &error, &why) < 0) {
		delivery_abort(&d);
		return 0;
	}
	if (parse_next_line(&s->parse) < 0 || parse_end(&s->parse) < 0) {
		delivery_abort(&d);
		return -1;
	}
	if (error != 0) {
		delivery_abort(&d);
		session_no_store(s, error, why);
	} else {
		commit(s, a, &d);
	}
	return 0;
}

int cmd_append(struct session *s)
{
	struct append a = { .size = 0 };
	uint64_t limit = s->server->append_limit;

	if (parse_append(s, &a) < 0)
		return -1;
	if (limit != 0 && a.size > limit) {
		/* RFC 4469 section 4.2, RFC 7889 section 4 */
		session_no(s, "[TOOBIG] Message is larger than %llu octets",
		    (unsigned long long)limit);
		return refuse(s, &a, PARSE_SKIP_MAX);
	}
	if (a.size == 0) {
		session_no(s, "[CANNOT] A message cannot be empty");
		return refuse(s, &a, 0);
	}
	return take(s, &a);
}
