/*
 * pop3d.c - a client's whole POP3 session on a maildrop (RFC 1939)
 *
 * The input is what the client sends, \001 waits. One +OK or -ERR a command;
 * multi-line answers end with a dot, and RETR gives back the message; what is
 * marked deleted is not given again; QUIT alone removes.
 */
#include <stdio.h>
#include "fakes/maildir.h"
#include "fakes/wire.h"
#include "fuzz.h"
#include "pop3d/session.h"

#define INPUT_MAX 6000

static size_t talk(struct str input, unsigned way, struct buf *out)
{
	struct wire_client client = { .rest = input, .way = way };
	struct pop3d_server server = { .user = "u", .idle_timeout =
		60 * CLOCK_SECOND };
	struct store_status st;
	struct session *s;
	const char *why;

	server.store = fuzz_maildir_open();
	s = session_new(&server, wire_open(wire_client_more, &client, out), STR_NONE);
	fuzz_check(s != NULL, "no session");
	session_run(s);
	wire_end();
	fuzz_check(store_status(server.store, STR("INBOX"), &st, &why) == 0,
	    "INBOX is broken");
	fuzz_maildir_close(&server.store);
	return st.messages;
}

static bool take_line(struct str *in, struct str *line_r)
{
	ssize_t nl = str_chr(*in, '\n');

	if (nl < 0)
		return false;
	*line_r = str_sub(*in, 0, (size_t)nl);
	*in = str_from(*in, (size_t)nl + 1);
	if (line_r->n > 0 && line_r->p[line_r->n - 1] == '\r')
		line_r->n--;
	return true;
}

/* A line of the output; CR LF, and nothing of them inside. */
static bool take_output(struct str *out, struct str *line_r)
{
	ssize_t nl = str_chr(*out, '\n');

	if (out->n == 0)
		return false;
	fuzz_check(nl >= 1 && out->p[nl - 1] == '\r', "a line without CR LF");
	*line_r = str_sub(*out, 0, (size_t)nl - 1);
	fuzz_check(str_chr(*line_r, '\r') < 0, "a CR in a line");
	*out = str_from(*out, (size_t)nl + 1);
	return true;
}

/* Its lines, without the stuffed dots (RFC 1939 3). */
static void take_lines(struct str *out, struct buf *text)
{
	struct str line;

	for (;;) {
		fuzz_check(take_output(out, &line), "no dot at the end");
		if (str_eq_c(line, "."))
			return;
		if (line.n > 0 && line.p[0] == '.') {
			fuzz_check(line.n > 1 && line.p[1] == '.',
			    "a line begins with a dot");
			line = str_from(line, 1);
		}
		buf_append(text, line);
		buf_append_c(text, "\r\n");
	}
}

/* The message on the wire: CRLF lines, and an end of the last. */
static void print_message(size_t i, struct buf *out)
{
	struct str text = fuzz_maildir_text(i);
	char before = 0;

	for (size_t k = 0; k < text.n; before = text.p[k++]) {
		if (text.p[k] == '\n' && before != '\r')
			buf_append_char(out, '\r');
		buf_append_char(out, text.p[k]);
	}
	if (before != '\n')
		buf_append_c(out, "\r\n");
}

static bool is_multi(struct str verb, bool has_arg)
{
	return str_eq_nocase_c(verb, "RETR") ||
	    str_eq_nocase_c(verb, "TOP") || str_eq_nocase_c(verb, "CAPA") ||
	    (!has_arg && (str_eq_nocase_c(verb, "LIST") ||
		str_eq_nocase_c(verb, "UIDL")));
}

static void check_retr(uint64_t number, const struct buf *got)
{
	struct buf want;

	buf_init(&want, 1 << 16);
	fuzz_check(number >= 1 && number <= MAILDIR_MESSAGES, "no message");
	print_message(number - 1, &want);
	fuzz_check_same("RETR", buf_str(&want), buf_str(got));
	buf_fini(&want);
}

static void judge(struct str input, struct str out, size_t left)
{
	bool deleted[MAILDIR_MESSAGES + 1] = { false }, quit = false;
	size_t marked = 0;
	struct buf in, lines;
	struct str part, line, said;

	buf_init(&in, INPUT_MAX + 1);
	buf_init(&lines, 1 << 20);
	while (str_split(&input, '\001', &part))
		buf_append(&in, part);
	input = buf_str(&in);
	fuzz_check(take_output(&out, &said) && str_starts(said, STR("+OK")),
	    "no greeting");
	while (!quit && take_line(&input, &line)) {
		struct str rest = line, verb = STR_NONE, arg = STR_NONE;
		bool has_arg, ok;
		uint64_t number = 0;

		str_word(&rest, " ", &verb);
		has_arg = str_word(&rest, " ", &arg);
		if (has_arg)
			(void)str_to_u64(arg, 1000, &number);
		if (!take_output(&out, &said))
			break; /* it ended for errors, or for a flood */
		ok = str_starts(said, STR("+OK"));
		fuzz_check(ok || str_starts(said, STR("-ERR")),
		    "neither +OK nor -ERR");
		if (!ok)
			continue;
		buf_reset(&lines);
		if (is_multi(verb, has_arg))
			take_lines(&out, &lines);
		if (has_arg && number >= 1 && number <= MAILDIR_MESSAGES)
			fuzz_check(!deleted[number] ||
			    str_eq_nocase_c(verb, "NOOP") ||
			    str_eq_nocase_c(verb, "RSET"),
			    "a deleted message");
		if (str_eq_nocase_c(verb, "RETR"))
			check_retr(number, &lines);
		if (str_eq_nocase_c(verb, "DELE")) {
			fuzz_check(number >= 1 && number <=
			    MAILDIR_MESSAGES, "DELE of nothing");
			deleted[number] = true;
			marked++;
		} else if (str_eq_nocase_c(verb, "RSET")) {
			memset(deleted, 0, sizeof(deleted));
			marked = 0;
		} else if (str_eq_nocase_c(verb, "STAT")) {
			char want[32];

			snprintf(want, sizeof(want), "+OK %zu ",
			    MAILDIR_MESSAGES - marked);
			fuzz_check(str_starts(said, str_of(want)),
			    "STAT counts wrong");
		}
		quit = str_eq_nocase_c(verb, "QUIT");
	}
	while (take_output(&out, &said)) /* a farewell at most */
		fuzz_check(!quit && str_starts(said, STR("-ERR")),
		    "it talks on");
	fuzz_check(left == MAILDIR_MESSAGES - (quit ? marked : 0),
	    "%zu messages are left, %zu were marked%s", left, marked,
	    quit ? "" : ", and no QUIT");
	buf_fini(&in);
	buf_fini(&lines);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_mute_log();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str input = str_n((const char *)p, n);
	struct buf first, other;
	size_t left;

	if (n > INPUT_MAX)
		return 0;
	buf_init(&first, 8 << 20);
	buf_init(&other, 8 << 20);
	fuzz_budget_start();
	left = talk(input, 0, &first);
	fuzz_check_heap(9 << 20);
	judge(input, buf_str(&first), left);
	talk(input, 1, &other);
	fuzz_check_same("octet by octet", buf_str(&first), buf_str(&other));
	buf_fini(&first);
	buf_fini(&other);
	fuzz_end();
	return 0;
}
