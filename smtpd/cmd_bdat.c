#include "smtpd/command.h"
#include "smtpd/data.h"
#include "smtpd/policy.h"

/* A chunk above this is not worth reading only to refuse it. */
#define SWALLOW_MAX (UINT64_C(1) << 30)

struct chunk {
	uint64_t size;
	bool last;
};

/* BDAT SP chunk-size [SP "LAST"], RFC 3030 2. A number that no integer can
 * hold is UINT64_MAX. */
static int parse(struct str arg, struct chunk *c)
{
	struct str size, last;

	if (!str_word(&arg, " \t", &size))
		return -1;
	for (size_t i = 0; i < size.n; i++)
		if (!ascii_is_digit(size.p[i]))
			return -1;
	if (str_to_u64(size, UINT64_MAX - 1, &c->size) < 0)
		c->size = UINT64_MAX;
	c->last = str_word(&arg, " \t", &last);
	if (c->last && !str_eq_nocase_c(last, "LAST"))
		return -1;
	return str_word(&arg, " \t", &last) ? -1 : 0;
}

/*
 * A piece of a chunk into the transaction, lone CR and LF made line ends.
 * There is no dot to look for. False: refused, the session is over.
 */
static bool take(struct session *s, struct str piece)
{
	struct txn *t = s->txn;
	size_t start = 0;

	if (t->after_cr && piece.n > 0) {
		t->after_cr = false;
		if (piece.p[0] == '\n') {
			txn_content(s, STR("\r\n"));
			start = 1;
		} else {
			if (data_refuses_bare(s, "CR"))
				return false;
			txn_bare_cr(t);
		}
	}
	for (size_t i = start; i < piece.n; i++) {
		bool cr = piece.p[i] == '\r';

		if (!cr && piece.p[i] != '\n')
			continue;
		if (cr && i + 1 < piece.n && piece.p[i + 1] == '\n') {
			i++;
			continue;
		}
		txn_content(s, str_sub(piece, start, i - start));
		start = i + 1;
		if (cr && start == piece.n) {
			t->after_cr = true;
			break;
		}
		if (data_refuses_bare(s, cr ? "CR" : "LF"))
			return false;
		if (cr)
			txn_bare_cr(t);
		else
			txn_bare_lf(s);
	}
	txn_content(s, str_from(piece, start));
	return true;
}

/* The chunk's octets, kept or swallowed; false: the session is over. */
static bool receive(struct session *s, uint64_t size, bool keep)
{
	int64_t deadline =
	    clock_now() + s->smtpd->params->smtpd_timeout * CLOCK_SECOND;

	stream_set_deadline(s->stream, deadline);
	while (size > 0) {
		size_t most = size < STREAM_IN_BIG ? size : STREAM_IN_BIG;
		struct str piece;
		enum stream_result r =
		    stream_read_some(s->stream, most, &piece);

		if (r != STREAM_OK) {
			session_lost(s, r);
			return false;
		}
		if (keep && !take(s, piece))
			return false;
		size -= piece.n;
		data_extend_deadline(s, &deadline, piece.n);
	}
	return true;
}

/* Why this chunk is refused, or NULL. */
static const char *refusal(const struct session *s)
{
	switch (s->state) {
	case SESSION_RCPT:
	case SESSION_BDAT:
		return NULL;
	case SESSION_MAIL:
		return session_is_lmtp(s)
		    ? "503 5.5.1 Error: no valid recipients"
		    : "554 5.5.1 Error: no valid recipients";
	default:
		return "503 5.5.1 Error: need RCPT command";
	}
}

/* The chunk is stored as far as that went; the transaction goes on or ends.
 */
static void end_chunk(struct session *s, const struct chunk *c)
{
	if (c->last) {
		if (s->txn->after_cr)
			txn_bare_cr(s->txn);
		data_finish(s);
		return;
	}
	if (s->txn->failed) {
		/* RFC 3030 2: one answer for the chunk; the rest that is in
		 * the pipeline finds no transaction and is swallowed. */
		const struct txn_result *r = &s->txn->result;

		session_reply(s, "%u " STR_FMT " " STR_FMT, r->code,
		    STR_ARG(r->dsn), STR_ARG(r->text));
		policy_log_result(s, r);
		session_enter(s, SESSION_READY);
		return;
	}
	session_enter(s, SESSION_BDAT);
	session_reply(s, "250 2.0.0 Ok: %llu bytes",
	    (unsigned long long)c->size);
}

/* RFC 3030 2 */
void cmd_bdat(struct session *s, struct str arg)
{
	const char *why = refusal(s);
	struct chunk c;

	if (parse(arg, &c) < 0) {
		/* How much follows is unknown: nothing of it is kept. */
		if (s->txn != NULL)
			session_enter(s, SESSION_READY);
		session_reply(s, "501 5.5.4 Syntax: BDAT count [LAST]");
		return;
	}
	if (c.size > SWALLOW_MAX) {
		session_reply(s, "552 5.3.4 Chunk size exceeds message size "
				 "limit");
		session_enter(s, SESSION_CLOSING);
		return;
	}
	if (why == NULL && s->state == SESSION_RCPT &&
	    !policy_permits(s, ACCESS_DATA, NULL)) {
		receive(s, c.size, false);
		return;
	}
	if (!receive(s, c.size, why == NULL))
		return;
	if (why != NULL)
		session_reply(s, "%s", why);
	else
		end_chunk(s, &c);
}
