/*
 * FETCH (RFC 3501 6.4.5)
 *
 * A message costs one open and one read, and nothing when only the list is
 * asked. Its answer is put together in s->out, bodies pass through it piece
 * by piece, so memory does not depend on the message.
 */
#include <errno.h>
#include "base/log.h"
#include "imapd/fetch.h"

/* \Seen is set for so many messages at once, before they are sent. */
#define SEEN_BATCH 100
/* Body octets that pass through the buffer at once. */
#define PIECE 32768

struct fetching {
	struct session *s;
	const struct fetch *f;
	struct arena *arena;	/* of one message */
	bool missed;		/* a message was gone */
	bool failed;		/* a message could not be read */
	char before;		/* the next item: "(" or a space */
	int64_t zone_for;	/* the quarter of an hour that zone is for */
	int zone;
	bool seen[SEEN_BATCH];	/* \Seen is news */
};

static void append_number(struct buf *out, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	buf_append_n(out, digits + at, sizeof(digits) - at);
}

/* The next item's word, with what stands before it. */
static void add_item(struct fetching *g, struct str word)
{
	buf_append_char(&g->s->out, g->before);
	buf_append(&g->s->out, word);
	g->before = ' ';
}

/* Octets of a section as a literal (RFC 3501 4.3), or NIL. */
static int write_section(struct fetching *g, const struct fetch_section *fs,
    const struct imap_ranges *ranges)
{
	struct session *s = g->s;
	uint64_t limit = fs->partial ? fs->limit : UINT64_MAX;
	struct imap_ranges_reader reader;
	int rc;

	add_item(g, fs->label);
	if (!ranges->exists) {
		buf_append_c(&s->out, " NIL");
		return 0;
	}
	buf_append_c(&s->out, " {");
	append_number(&s->out, imap_ranges_partial_size(ranges, fs->offset,
	    limit));
	buf_append_c(&s->out, "}\r\n");
	imap_ranges_reader_init(&reader, ranges, fs->offset, limit);
	do {
		rc = imap_ranges_read(&reader, PIECE, &s->out);
		if (s->out.n >= PIECE)
			session_write_out(s);
	} while (rc == 0 && !session_gone(s));
	return rc < 0 ? -1 : 0;
}

static int write_sections(struct fetching *g, const struct mime *mime,
    uint64_t wire)
{
	for (size_t i = 0; i < g->f->section_count; i++) {
		const struct fetch_section *fs = &g->f->sections[i];
		struct str whole = mime->message;
		struct imap_ranges ranges = { .pieces = &whole, .count = 1,
			.size = wire, .exists = true };
		int rc = 0;

		if (fs->section.depth > 0)
			rc = imap_section_find(mime, &fs->section, g->arena,
			    &ranges);
		else if (fs->section.kind != IMAP_SECTION_ALL)
			rc = imap_section_find_simple(mime->message,
			    &fs->section, g->arena, &ranges);
		if (rc < 0 || write_section(g, fs, &ranges) < 0)
			return -1;
	}
	return 0;
}

/* The zone of that time: it changes at quarters of an hour at most. */
static int zone_at(struct fetching *g, int64_t time)
{
	int64_t quarter = time / 900 + (time >= 0);

	if (quarter != g->zone_for) {
		g->zone_for = quarter;
		g->zone = mail_date_local_zone(time);
	}
	return g->zone;
}

/* What is known without the message's text. -1: errno. */
static int write_known(struct fetching *g, uint32_t seq, bool seen_is_news)
{
	struct session *s = g->s;
	struct mailbox_message m = mailbox_get(s->mailbox, seq);
	unsigned items = g->f->items | (seen_is_news ? FETCH_FLAGS : 0);
	struct buf *out = &s->out;
	uint64_t size;
	int64_t date;

	if ((items & FETCH_UID) != 0) {
		add_item(g, STR("UID "));
		append_number(out, m.uid);
	}
	if ((items & FETCH_FLAGS) != 0) {
		add_item(g, STR("FLAGS "));
		session_append_flags(s, out, m);
	}
	if ((items & FETCH_INTERNALDATE) != 0) {
		if (mailbox_date(s->mailbox, seq, &date) < 0)
			return -1;
		add_item(g, STR("INTERNALDATE \""));
		mail_date_append_imap(out, date, zone_at(g, date));
		buf_append_char(out, '"');
	}
	if ((items & FETCH_SIZE) != 0) {
		if (mailbox_size(s->mailbox, seq, &size) < 0)
			return -1;
		add_item(g, STR("RFC822.SIZE "));
		append_number(out, size);
	}
	return 0;
}

static int write_text(struct fetching *g, const struct mailbox_text *text)
{
	struct str message = text->raw;
	struct mime mime = { .message = message };
	struct buf *out = &g->s->out;
	unsigned items = g->f->items;
	int rc = 0;

	arena_reset(g->arena);
	if (g->f->needs_mime && mime_parse(message, g->arena, &mime) < 0)
		return -1;
	if ((items & FETCH_ENVELOPE) != 0) {
		add_item(g, STR("ENVELOPE "));
		rc |= imap_format_envelope(message, out);
	}
	if ((items & FETCH_BODY) != 0) {
		add_item(g, STR("BODY "));
		rc |= imap_format_bodystructure(&mime, false, out);
	}
	if ((items & FETCH_BODYSTRUCTURE) != 0) {
		add_item(g, STR("BODYSTRUCTURE "));
		rc |= imap_format_bodystructure(&mime, true, out);
	}
	return rc < 0 ? -1 : write_sections(g, &mime, text->wire);
}

/* The message cannot be answered: nothing of it was written yet. */
static void give_up(struct fetching *g, uint32_t seq, const char *why)
{
	int error = errno;

	buf_reset(&g->s->out);
	if (error == ENOENT || error == ESTALE) {
		g->missed = true;
		return;
	}
	g->failed = true;
	log_warn("user=<%s>: message %u: %s: %s", g->s->server->user,
	    mailbox_get(g->s->mailbox, seq).uid, why != NULL ? why :
	    "cannot be read", strerror(error));
}

static void write_message(struct fetching *g, uint32_t seq, bool news)
{
	struct session *s = g->s;
	bool needs_text = (g->f->items & FETCH_TEXT_ITEMS) != 0 ||
	    g->f->section_count > 0;
	struct mailbox_text text;
	const char *why = NULL;
	bool is_whole = true;
	int rc = 0;

	if (needs_text &&
	    mailbox_text_open(s->mailbox, seq, &text, &why) < 0) {
		give_up(g, seq, why);
		return;
	}
	buf_append_c(&s->out, "* ");
	append_number(&s->out, seq);
	buf_append_c(&s->out, " FETCH ");
	g->before = '(';
	if (write_known(g, seq, news) < 0) {
		give_up(g, seq, NULL);
		if (needs_text)
			mailbox_text_close(s->mailbox, &text);
		return;
	}
	if (needs_text) {
		rc = write_text(g, &text);
		is_whole = mailbox_text_is_whole(&text);
		mailbox_text_close(s->mailbox, &text);
	}
	/* Half an answer is out: there is no way to take it back. */
	if (!is_whole) {
		log_warn("user=<%s>: message %u was cut while it was read",
		    s->server->user, mailbox_get(s->mailbox, seq).uid);
		session_enter(s, SESSION_ENDED, "a message was cut");
		return;
	}
	if (rc < 0 || s->out.failed) {
		log_warn("user=<%s>: message %u needs too much memory",
		    s->server->user, mailbox_get(s->mailbox, seq).uid);
		session_enter(s, SESSION_ENDED, "an answer is too large");
		return;
	}
	buf_append_c(&s->out, ")\r\n");
	session_write_out(s);
}

/* RFC 3501 6.4.5: BODY[...] without PEEK sets \Seen. */
static void set_seen(struct fetching *g, const uint32_t *seqs, size_t n)
{
	struct session *s = g->s;
	uint32_t unseen[SEEN_BATCH];
	const char *why = NULL;
	size_t k = 0;

	memset(g->seen, 0, sizeof(g->seen));
	if (!g->f->sets_seen || mailbox_is_readonly(s->mailbox))
		return;
	for (size_t i = 0; i < n; i++)
		if ((mailbox_get(s->mailbox, seqs[i]).flags &
		    (MAILBOX_SEEN | MAILBOX_GONE)) == 0) {
			unseen[k++] = seqs[i];
			g->seen[i] = true;
		}
	/* The text is worth more than the mark. ENOENT: the mailbox was
	 * deleted. */
	if (k > 0 && mailbox_store(s->mailbox, unseen, k, MAILBOX_ADD,
	    MAILBOX_SEEN, 0, &why) < 0 && errno != ENOENT)
		log_warn("user=<%s>: \\Seen: %s: %s", s->server->user,
		    why != NULL ? why : "cannot be set", strerror(errno));
}

static void write_all(struct fetching *g, const uint32_t *seqs, size_t n)
{
	for (size_t at = 0; at < n; at += SEEN_BATCH) {
		size_t batch = n - at < SEEN_BATCH ? n - at : SEEN_BATCH;

		set_seen(g, seqs + at, batch);
		for (size_t i = 0; i < batch; i++) {
			if (session_gone(g->s))
				return;
			write_message(g, seqs[at + i], g->seen[i]);
		}
	}
}

int cmd_fetch(struct session *s)
{
	struct fetch f = { .items = 0 };
	struct fetching g = { .s = s, .f = &f, .zone_for = INT64_MIN };
	uint32_t *seqs;
	size_t n;

	if (fetch_parse(s, &f) < 0 || session_find(s, &f.set, &seqs, &n) < 0)
		return -1;
	if ((g.arena = arena_new(FETCH_ARENA_MAX)) == NULL) {
		session_no(s, "[UNAVAILABLE] Out of memory");
		return 0;
	}
	write_all(&g, seqs, n);
	arena_free(&g.arena);
	if (session_gone(s))
		return 0;
	if (g.failed)
		session_no(s, "[UNAVAILABLE] Some messages cannot be read");
	else if (g.missed)	/* RFC 2180 4.1.3, RFC 5530 */
		session_no(s, "[EXPUNGEISSUED] Some messages are gone");
	else
		session_ok(s, "Fetch completed");
	return 0;
}
