/*
 * imapd.c - a client's IMAP session behind the login (RFC 3501)
 *
 * The input is commands without their tags, \001 between them; each gets the
 * tag T and a number. What comes back is read as a client would read it: the
 * grammar of responses (9, response), one tagged response a command (2.2.2),
 * sequence numbers within EXISTS and EXPUNGE (7.3, 7.4.1), UIDs that rise and
 * stay with their message (2.3.1.1). Octet by octet the answers are the same.
 */
#include <stdio.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include "fakes/maildir.h"
#include "fakes/wire.h"
#include "fuzz.h"
#include "imapd/session.h"
#include "mail/charset.h"

#define INPUT_MAX 6000
#define COMMANDS_MAX 200
#define MESSAGES_MAX 2000

static struct session_list list = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct imapd_server server = { .user = "u", .sessions = &list,
	.append_limit = 100000 };

static void talk(struct str input, unsigned way, struct buf *out)
{
	struct wire_client client = { .rest = input, .way = way };
	struct session *s;

	server.store = fuzz_maildir_open();
	server.idle_timeout = 3600 * CLOCK_SECOND;
	s = session_new(&server, wire_open(wire_client_more, &client, out), STR("L"),
	    STR_NONE, STR("id"));
	fuzz_check(s != NULL, "no session");
	session_run(s);
	wire_end();
	fuzz_maildir_close(&server.store);
}

/* Tags in front, CRLF behind. How many; *plain_r: so many of the first are
 * one line that holds no other and no literal. */
static size_t add_tags(struct str input, struct buf *out, size_t *plain_r)
{
	size_t n = 0;
	bool plain = true;
	struct str part;

	*plain_r = 0;
	while (n < COMMANDS_MAX && str_split(&input, '\001', &part)) {
		struct str rest = part, word = STR_NONE;

		str_word(&rest, " ", &word);
		plain = plain && str_chr(part, '{') < 0 &&
		    str_chr(part, '\n') < 0 && str_chr(part, '\r') < 0 &&
		    str_chr(part, '~') < 0 && !str_eq_nocase_c(word, "IDLE");
		*plain_r += plain;
		buf_printf(out, "T%zu ", n++);
		buf_append(out, part);
		buf_append_c(out, "\r\n\001");
	}
	return n;
}

/* --- the reader --- */

struct reader {
	struct str in;
	uint32_t exists;
	uint32_t uids[MESSAGES_MAX + 1]; /* 0: not known */
	bool selected, bye;
	unsigned tagged[COMMANDS_MAX];
};

/* What stands in a response up to its CRLF, literals jumped over: checks
 * that it is well-formed. */
static struct str take_response(struct reader *r)
{
	struct str all = r->in;
	size_t i = 0;
	int depth = 0;
	bool text = false; /* resp-text: free to the end of the line */

	while (i < all.n) {
		unsigned char c = (unsigned char)all.p[i];

		if (c == '\r') {
			fuzz_check(i + 1 < all.n && all.p[i + 1] == '\n',
			    "a bare CR");
			fuzz_check(text || depth == 0, "\"(\" without \")\"");
			r->in = str_from(all, i + 2);
			return str_sub(all, 0, i);
		}
		fuzz_check(c != '\n' && c != '\0', "LF or NUL in a line");
		if (i == 0 && c == '+')
			text = true;
		if (!text && c == ' ') {
			struct str rest = str_from(all, i + 1);

			/* status responses, RFC 3501 7.1 */
			text = (str_starts(rest, STR("OK ")) ||
				str_starts(rest, STR("NO ")) ||
				str_starts(rest, STR("BAD ")) ||
				str_starts(rest, STR("BYE "))) &&
			    str_chr(str_sub(all, 0, i), ' ') < 0;
		}
		if (text) {
			i++;
			continue;
		}
		if (c == '"') {
			for (i++; i < all.n && all.p[i] != '"'; i++) {
				unsigned char q = (unsigned char)all.p[i];

				fuzz_check(q != '\r' && q != '\n' && q != 0,
				    "a line end in a quoted string");
				if (q == '\\') {
					i++;
					fuzz_check(i < all.n &&
					    (all.p[i] == '"' ||
						all.p[i] == '\\'),
					    "a bad quoted-special");
				}
			}
			fuzz_check(i < all.n, "a quoted string without end");
		} else if (c == '(') {
			depth++;
		} else if (c == ')') {
			depth--;
			fuzz_check(depth >= 0, "\")\" without \"(\"");
		} else if (c == '{') {
			struct str rest = str_from(all, i + 1);
			ssize_t end = str_chr(rest, '}');
			uint64_t n = 0;

			fuzz_check(end > 0 && str_to_u64(str_sub(rest, 0,
			    (size_t)end), all.n, &n) == 0 &&
			    str_starts(str_from(rest, (size_t)end + 1),
				STR("\r\n")), "a bad literal");
			i += (size_t)end + 3 + (size_t)n;
			fuzz_check(i < all.n, "a literal is cut");
		} else {
			fuzz_check(c >= ' ' && c != 127,
			    "a control octet in an atom");
		}
		i++;
	}
	fuzz_fail(__FILE__, __LINE__, "a response without end");
}

/* UID of a FETCH response, or 0. */
static uint32_t uid_of(struct str line)
{
	for (size_t i = 0; i + 5 < line.n; i++) {
		struct str at = str_from(line, i), word;
		uint64_t uid = 0;

		if (line.p[i] == '"' || line.p[i] == '{')
			return 0; /* what follows may be a message's own */
		if ((i > 0 && (line.p[i - 1] == '(' ||
			line.p[i - 1] == ' ')) &&
		    str_starts(at, STR("UID "))) {
			at = str_from(at, 4);
			if (str_word(&at, " )", &word) &&
			    str_to_u64(word, UINT32_MAX, &uid) == 0)
				return (uint32_t)uid;
		}
	}
	return 0;
}

static void learn_uid(struct reader *r, uint32_t seq, uint32_t uid)
{
	fuzz_check(r->uids[seq] == 0 || r->uids[seq] == uid,
	    "UID %u of message %u becomes %u", r->uids[seq], seq, uid);
	r->uids[seq] = uid;
	for (uint32_t i = 1; i <= r->exists; i++)
		if (r->uids[i] != 0)
			fuzz_check(i < seq ? r->uids[i] < uid : i > seq ?
			    r->uids[i] > uid : true, "UIDs do not rise");
}

static void numbered(struct reader *r, uint64_t n, struct str what,
    struct str line)
{
	if (str_eq_c(what, "EXISTS")) {
		fuzz_check(n < MESSAGES_MAX, "so many messages");
		if (r->selected)
			fuzz_check(n >= r->exists, "EXISTS shrinks");
		for (uint64_t i = r->exists + 1; i <= n; i++)
			r->uids[i] = 0;
		r->exists = (uint32_t)n;
		return;
	}
	if (str_eq_c(what, "RECENT")) {
		fuzz_check(n <= r->exists, "more RECENT than EXISTS");
		return;
	}
	fuzz_check(n >= 1 && n <= r->exists, "message %llu of %u",
	    (unsigned long long)n, r->exists);
	if (str_eq_c(what, "EXPUNGE")) {
		memmove(r->uids + n, r->uids + n + 1,
		    (r->exists - n) * sizeof(r->uids[0]));
		r->exists--;
	} else {
		uint32_t uid = uid_of(line);

		fuzz_check(str_eq_c(what, "FETCH"), "an unknown response");
		if (uid != 0)
			learn_uid(r, (uint32_t)n, uid);
	}
}

static void tagged(struct reader *r, struct str tag, struct str rest)
{
	uint64_t k = 0;

	fuzz_check(str_starts(rest, STR("OK ")) ||
	    str_starts(rest, STR("NO ")) || str_starts(rest, STR("BAD ")),
	    "a tagged response that is none");
	if (tag.n > 1 && tag.p[0] == 'T' &&
	    str_to_u64(str_from(tag, 1), COMMANDS_MAX - 1, &k) == 0)
		fuzz_check(++r->tagged[k] == 1, "T%llu is answered twice",
		    (unsigned long long)k);
}

/* A mailbox was opened or closed: what is known of numbers is over. */
static void reset(struct reader *r)
{
	r->exists = 0;
	r->selected = false;
	memset(r->uids, 0, sizeof(r->uids));
}

/* What follows FLAGS when a mailbox was opened: PERMANENTFLAGS, EXISTS. */
static bool is_opening(struct str in)
{
	struct str line = STR_NONE;

	for (unsigned i = 0; i < 2 && str_split(&in, '\n', &line); i++)
		if (!str_starts(line, STR("* OK [PERMANENTFLAGS ")))
			break;
	return str_starts(line, STR("* ")) &&
	    str_ends(line, STR(" EXISTS\r"));
}

static void judge(struct str out, size_t plain)
{
	static struct reader r;

	memset(&r, 0, sizeof(r));
	r.in = out;
	while (r.in.n > 0) {
		struct str line = take_response(&r), rest = line, word, what;
		uint64_t n;

		fuzz_check(!r.bye || !str_starts(line, STR("* BYE")),
		    "BYE twice");
		str_word(&rest, " ", &word);
		rest = str_trim(rest);
		if (str_eq_c(word, "+"))
			continue;
		if (!str_eq_c(word, "*")) {
			if (!str_eq_c(word, "L"))
				tagged(&r, word, rest);
			/* SELECT's and CLOSE's; others say neither */
			if (str_find(rest, STR("[READ-")) >= 0)
				r.selected = true;
			continue;
		}
		str_word(&rest, " ", &what);
		if (str_eq_c(what, "BYE"))
			r.bye = true;
		if (str_eq_c(what, "FLAGS") && is_opening(r.in))
			reset(&r);
		if (str_find(line, STR("* OK [CLOSED]")) == 0)
			reset(&r);
		if (str_to_u64(what, UINT32_MAX, &n) == 0 &&
		    str_word(&rest, " ", &what))
			numbered(&r, n, what, rest);
	}
	for (size_t k = 0; k < plain && !r.bye; k++)
		fuzz_check(r.tagged[k] == 1, "T%zu is answered %u times", k,
		    r.tagged[k]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_mute_log();
	mail_charset_open_all();
	server.stop_fd = eventfd(0, EFD_CLOEXEC);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf in, first, other;
	size_t plain;

	if (n > INPUT_MAX)
		return 0;
	buf_init(&in, 4 * INPUT_MAX);
	buf_init(&first, 16 << 20);
	buf_init(&other, 16 << 20);
	add_tags(str_n((const char *)p, n), &in, &plain);
	fuzz_budget_start();
	talk(buf_str(&in), 0, &first);
	fuzz_check_heap(24 << 20);
	judge(buf_str(&first), plain);
	talk(buf_str(&in), 1, &other);
	fuzz_check_same("octet by octet", buf_str(&first), buf_str(&other));
	buf_fini(&in);
	buf_fini(&first);
	buf_fini(&other);
	fuzz_end();
	return 0;
}
