/* RFC 5256 2.1: what SORT and THREAD take for a subject */
#include "mail/charset.h"
#include "mail/encoded.h"
#include "mail/header.h"
#include "mail/imap_format.h"

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

static struct str skip_wsp(struct str s)
{
	while (s.n > 0 && is_wsp(s.p[0]))
		s = str_from(s, 1);
	return s;
}

/* subj-trailer: "(fwd)" / WSP. True when one was taken off. */
static bool cut_trailer(struct str *s, bool *reply)
{
	if (s->n > 0 && is_wsp(s->p[s->n - 1])) {
		s->n--;
		return true;
	}
	if (str_ends_nocase(*s, STR("(fwd)"))) {
		s->n -= 5;
		*reply = true;
		return true;
	}
	return false;
}

/* subj-blob: "[" *BLOBCHAR "]" *WSP */
static bool cut_blob(struct str *s)
{
	if (s->n == 0 || s->p[0] != '[')
		return false;
	for (size_t i = 1; i < s->n && s->p[i] != '['; i++)
		if (s->p[i] == ']') {
			*s = skip_wsp(str_from(*s, i + 1));
			return true;
		}
	return false;
}

/* subj-refwd: ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool cut_refwd(struct str *s)
{
	struct str t = *s;

	if (str_starts_nocase(t, STR("re")))
		t = str_from(t, 2);
	else if (str_starts_nocase(t, STR("fwd")))
		t = str_from(t, 3);
	else if (str_starts_nocase(t, STR("fw")))
		t = str_from(t, 2);
	else
		return false;
	t = skip_wsp(t);
	cut_blob(&t);
	if (t.n == 0 || t.p[0] != ':')
		return false;
	*s = str_from(t, 1);
	return true;
}

/* subj-leader: (*subj-blob subj-refwd) / WSP */
static bool cut_leader(struct str *s, bool *reply)
{
	struct str t = *s;

	if (s->n > 0 && is_wsp(s->p[0])) {
		*s = str_from(*s, 1);
		return true;
	}
	while (cut_blob(&t))
		;
	if (!cut_refwd(&t))
		return false;
	*s = t;
	*reply = true;
	return true;
}

/*
 * Blobs before a refwd are passed over again for each try, so more than a
 * few are left alone: time stays linear.
 */
#define STEPS_MAX 100

static struct str cut_subject(struct str s, bool *reply)
{
	struct str t;
	int steps = 0;

	for (;;) {
		while (cut_trailer(&s, reply))
			;
		while (steps++ < STEPS_MAX) {
			if (cut_leader(&s, reply))
				continue;
			t = s;
			if (!cut_blob(&t) || t.n == 0)
				break;
			s = t;
		}
		/* subj-fwd-hdr and subj-fwd-trl */
		if (steps >= STEPS_MAX || !str_starts_nocase(s, STR("[fwd:")) ||
		    !str_ends(s, STR("]")))
			return s;
		*reply = true;
		s = str_n(s.p + 5, s.n - 6);
	}
}

int imap_base_subject(struct str body, struct buf *out, bool *reply_r)
{
	struct buf line, text;
	bool reply = false;
	int r = -1;

	buf_init(&line, body.n + 1);
	buf_init(&text, out->max);
	if (mail_unfold(body, &line) == -1 ||
	    mail_words_decode(buf_str(&line), &text) == -1)
		goto out;
	/* (1): one space for any white space */
	for (size_t i = 0, n = 0; i <= text.n; i++) {
		if (i == text.n) {
			buf_truncate(&text, n);
			break;
		}
		if (is_wsp(text.p[i])) {
			if (n > 0 && text.p[n - 1] == ' ')
				continue;
			text.p[n++] = ' ';
		} else {
			text.p[n++] = text.p[i];
		}
	}
	r = mail_fold(cut_subject(buf_str(&text), &reply), out);
out:
	if (reply_r != NULL)
		*reply_r = reply;
	buf_fini(&line);
	buf_fini(&text);
	return r;
}
