/* ID (RFC 2971): who the client is, for the log; who we are, in a word */
#include <unistd.h>
#include "base/log.h"
#include "imapd/commands.h"

/* RFC 2971 3.3: at most 30 pairs, field names of 30 octets, values of
 * 1024. */
#define PAIRS_MAX 30
#define NAME_MAX_OCTETS 30
#define VALUE_MAX_OCTETS 1024

/* What a client says must not look like another field of the log line. */
static void append_tame(struct buf *text, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool plain = ascii_is_alpha(c) || ascii_is_digit(c) ||
		    (c != '\0' && strchr(" ._/()+-:@", c) != NULL);

		buf_append_char(text, plain ? c : '?');
	}
}

static int parse_pairs(struct parse *p, struct buf *text)
{
	unsigned pairs = 0;
	struct str name, value;

	if (parse_char(p, '(') < 0)
		return -1;
	while (!parse_try(p, ')')) {
		if (pairs > 0 && parse_space(p) < 0)
			return -1;
		/* Some clients put a space in front of the ")". */
		if (pairs > 0 && parse_try(p, ')'))
			break;
		if (parse_string(p, &name) < 0 || parse_space(p) < 0 ||
		    parse_nstring(p, &value) < 0)
			return -1;
		if (++pairs > PAIRS_MAX)
			return parse_fail(p, "Too many ID fields");
		if (name.n > NAME_MAX_OCTETS)
			return parse_fail(p, "ID field name is too long");
		if (value.n > VALUE_MAX_OCTETS)
			return parse_fail(p, "ID value is too long");
		buf_append_c(text, text->n ? ", " : "");
		append_tame(text, name);
		buf_append_char(text, '=');
		append_tame(text, value);
	}
	return 0;
}

int cmd_id(struct session *s)
{
	struct parse *p = &s->parse;
	struct buf text;
	int rc = 0;

	if (parse_space(p) < 0)
		return -1;
	buf_init(&text, 1500);
	if (!parse_try_word(p, "NIL"))
		rc = parse_pairs(p, &text);
	if (rc == 0)
		rc = parse_end(p);
	if (rc == 0) {
		if (text.n > 0)
			log_info("imap(%s)<%d><%s>: ID sent: %s",
			    s->server->user, (int)getpid(), s->id,
			    buf_cstr(&text));
		session_say(s, "* ID (\"name\" \"Postern\")");
		session_ok(s, "ID completed");
	}
	buf_fini(&text);
	return rc;
}
