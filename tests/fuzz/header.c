/*
 * header.c - header sections: fields, folds, tokens; what cleanup makes of one
 *
 * The fields, in order, are the text: nothing between two of them is lost.
 */
#include "cleanup/header.h"
#include "fuzz.h"
#include "mail/header.h"

static void check_fields(struct str m, struct arena *arena)
{
	struct mail_fields f;
	struct mail_field field;
	const char *end = NULL;
	struct buf unfolded;

	buf_init(&unfolded, m.n + 1);
	mail_fields_init(&f, m);
	while (mail_fields_next(&f, &field)) {
		struct str token, view, rest = field.body;

		fuzz_check(end == NULL || field.raw.p == end,
		    "octets between two fields");
		fuzz_check(end != NULL || field.raw.p == m.p ||
		    str_starts(m, STR("From ")) ||
		    str_starts(m, STR(">From ")), "octets before the first");
		end = field.raw.p + field.raw.n;
		fuzz_check(field.name.n > 0 && field.name.p == field.raw.p,
		    "the name is not at the start");
		for (size_t i = 0; i < field.name.n; i++)
			fuzz_check(field.name.p[i] > 32 &&
			    field.name.p[i] < 127 && field.name.p[i] != ':',
			    "an octet in a name");
		fuzz_check(field.body.p >= field.name.p + field.name.n + 1 &&
		    field.body.p + field.body.n <= end, "body outside");
		buf_reset(&unfolded);
		fuzz_check(mail_unfold(field.body, &unfolded) == 0, "unfold");
		for (size_t i = 0; i < unfolded.n; i++)
			fuzz_check(unfolded.p[i] != '\r' &&
			    unfolded.p[i] != '\n' && unfolded.p[i] != '\0',
			    "more than one line");
		view = mail_unfold_arena(field.body, arena);
		fuzz_check_same("unfolding in an arena", view,
		    buf_str(&unfolded));
		token = mail_field_token(field.body);
		fuzz_check(token.n == 0 || (token.p >= field.body.p &&
		    token.p + token.n <= field.body.p + field.body.n),
		    "token outside");
		while ((view = mail_msgid_next(&rest)).p != NULL)
			fuzz_check(view.n >= 2 && view.p[0] == '<' &&
			    view.p[view.n - 1] == '>', "a message id");
	}
	fuzz_check(f.ended && f.body_at <= m.n, "the end");
	if (!f.truncated && end != NULL)
		fuzz_check((size_t)(end - m.p) == f.body_at ||
		    f.has_blank, "octets behind the last");
	fuzz_check(mail_header_size(m) == f.body_at, "two ends");
	buf_fini(&unfolded);
}

/* The section that cleanup stores, read again, has the same fields. */
static void check_stored(struct str m, unsigned options)
{
	struct header_rules rules = {
		.drop = options & 1,
		.field_max = options & 2 ? 100 : 1 << 20,
		.origin = options & 4 ? STR("origin.test") : STR(""),
		.dot_domain = options & 8 ? STR("domain.test") : STR(""),
		.authserv_id = options & 16 ? STR("mx.test") : STR(""),
	};
	struct header_end end = { 0 };
	struct header_facts facts;
	struct str fields;
	struct buf out;
	int found = header_find_end(m, true, &end);

	if (found != 1)
		return;
	fuzz_check(end.start <= end.fields && end.fields <= end.body &&
	    end.body <= m.n, "the section's places");
	fields = str_sub(m, end.start, end.fields - end.start);
	fuzz_check(header_examine(fields, &rules, &facts) == 0, "examine");
	buf_init(&out, 64 * m.n + 4096);
	if (header_write(fields, &rules, &out) == 0) {
		unsigned before = mail_header_count(fields, "Subject");

		/* One whose name with white space is long is left out. */
		fuzz_check(mail_header_count(buf_str(&out), "Subject") ==
		    before || (options & 2), "a Subject: came or went");
		fuzz_check(mail_header_count(buf_str(&out), "Subject") <=
		    before, "a Subject: came");
		fuzz_check(mail_header_size(buf_str(&out)) == out.n,
		    "the header ends before its end");
		if (rules.drop)
			fuzz_check(mail_header_count(buf_str(&out), "Bcc") ==
			    0, "Bcc: stayed");
	} else {
		fuzz_check(false, "header_write");
	}
	if (facts.message_id.n > 0)
		fuzz_check(facts.message_id.p[0] == '<' &&
		    str_ends(facts.message_id, STR(">")), "message id");
	buf_fini(&out);
}

/* More content never changes what was found. */
static void check_growing(struct str m)
{
	struct header_end whole = { 0 }, part = { 0 };
	int found = header_find_end(m, true, &whole);

	for (size_t n = 0; n < m.n && n < 600; n += 1 + n / 16) {
		int r = header_find_end(fuzz_exact(str_sub(m, 0, n)), false,
		    &part);

		fuzz_check(r == 0 || (r == found && (r == -1 ||
		    (part.fields == whole.fields && part.body == whole.body &&
		    part.start == whole.start &&
		    part.has_blank == whole.has_blank))),
		    "found at %zu octets what is not the end", n);
		if (r != 0)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	unsigned options = fuzz_octet(&in);
	struct str m = fuzz_exact(in.rest);
	struct arena *arena = arena_new(1 << 20);

	fuzz_budget_start();
	check_fields(m, arena);
	fuzz_check_steps(300, n, 2000);
	check_stored(m, options);
	fuzz_check_steps(2000, n, 10000);
	check_growing(m);
	arena_free(&arena);
	fuzz_end();
	return 0;
}
