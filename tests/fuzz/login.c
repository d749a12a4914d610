/*
 * login.c - a client before its login: IMAP and POP3, with SASL
 *
 * The input is what the client sends, \001 between packets; at the end the
 * protocol and what auth says. Every IMAP command has one tagged response,
 * every POP3 command one +OK or -ERR; nobody is handed over whom auth does
 * not know; what a client may make us hold is bounded.
 */
int login_main(int, char **);
#define main login_main
#include "login/main.c"
#undef main
#include "msgs/auth.h"
#include "msgs/session.h"
#include "tests/fuzz/fakes/conv.h"
#include "tests/fuzz/fakes/wire.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 20000

static struct params params[2];
static unsigned char answers[8];
static size_t answered;
static unsigned good;

int service_main(int argc, char **argv, const struct service *program)
{
	(void)argc;
	(void)argv;
	(void)program;
	return 0;
}

/* login/relay.c has threads; without TLS nothing is relayed. */
int relay_start(void (*ended)(void *, size_t))
{
	(void)ended;
	return 0;
}

int relay_add(struct stream *s, int session, void *ctx)
{
	(void)s;
	(void)session;
	(void)ctx;
	return -1;
}

void relay_stop(void)
{
}

/* The session's process, over the edge that auth gave: it takes the client,
 * or is just ending. */
static void play_session(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct session_reply r = { .accepted = answers[0] & 1 };

	(void)schema;
	(void)msg;
	fuzz_check(good > 0, "handed over without a login");
	fake_say(c, &session_reply_schema, &r);
}

static void play_auth(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	static const struct msg_schema *const start_kinds[] = {
		&session_start_schema, NULL };
	const struct verify_request *q = msg;
	unsigned a = answers[answered++ % sizeof(answers)] % 6;
	struct verify_reply r = { .status = a, .session = -1,
		.user = STR("anna@our.test") };

	(void)schema;
	fuzz_check(!str_has_nul(q->user) && q->user.n > 0, "no user");
	if (a == 0 || a > 3) {
		fake_leave(c);
		return;
	}
	if (a == AUTH_OK) {
		good++;
		r.session = dup(0);
		fake_lead(r.session, play_session, start_kinds, NULL);
	}
	fake_say(c, &verify_reply_schema, &r);
}

/* --- the client --- */

static bool more(void *ctx, struct str *piece_r)
{
	struct str *rest = ctx;

	while (str_split(rest, '\001', piece_r))
		if (piece_r->n > 0)
			return true;
	return false;
}

static bool more_octets(void *ctx, struct str *piece_r)
{
	struct str *rest = ctx;

	while (rest->n > 0 && rest->p[0] == '\001')
		*rest = str_from(*rest, 1);
	*piece_r = str_sub(*rest, 0, 1);
	*rest = str_from(*rest, 1);
	return piece_r->n > 0;
}

static void talk(struct str input, bool octets, struct buf *out)
{
	struct service_client from = { .listener = "imap" };
	struct str rest = input;

	answered = good = 0;
	session(wire_open(octets ? more_octets : more, &rest, out), &from);
	wire_end();
}

/* --- what came back --- */

static void check_lines(struct str out, bool imap)
{
	struct str line;

	fuzz_check(out.n == 0 || str_ends(out, STR("\r\n")),
	    "a line without end");
	while (str_split(&out, '\n', &line)) {
		if (line.n == 0 && out.p == NULL)
			break;
		fuzz_check(line.n > 0 && line.p[line.n - 1] == '\r',
		    "a line without CR LF");
		line.n--;
		for (size_t i = 0; i < line.n; i++)
			fuzz_check((unsigned char)line.p[i] >= ' ' &&
			    line.p[i] != 127, "a control octet");
		if (!imap)
			continue;
		struct str at = line, word = STR_NONE;

		str_word(&at, " ", &word);
		at = str_trim(at);
		if (str_eq_c(word, "*") || str_eq_c(word, "+"))
			continue;
		fuzz_check(str_starts(at, STR("OK")) ||
		    str_starts(at, STR("NO")) || str_starts(at, STR("BAD")),
		    "a tagged response that is none");
	}
}

/* Lines of the output that answer a command. */
static size_t count_answers(struct str out, bool imap)
{
	size_t n = 0;
	struct str line;

	while (str_split(&out, '\n', &line))
		if (imap ? line.n > 0 && line.p[0] != '+' &&
			(line.p[0] != '*' || str_starts(line, STR("* BAD")))
		    : str_starts(line, STR("+OK")) ||
			str_starts(line, STR("-ERR")))
			n++;
	return n;
}

/* Where nothing spans lines: one answer a line. */
static void check_count(struct str input, struct str out, bool imap)
{
	size_t lines = 0, answers_seen = count_answers(out, imap);
	struct str rest = input, line;

	for (size_t i = 0; i < input.n; i++)
		if (input.p[i] == '{' || input.p[i] == '\001')
			return;
	while (str_split(&rest, '\n', &line) && rest.p != NULL) {
		if (str_find_nocase(line, STR("AUTH")) >= 0)
			return;
		lines++;
	}
	/* the greeting of POP3 is one more; so is a farewell */
	fuzz_check(answers_seen <= lines + (imap ? 1 : 2),
	    "%zu answers to %zu lines", answers_seen, lines);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct str values[2][3] = { { STR("login_protocol=imap"),
		STR("login_plaintext_auth=yes"), STR("mydomain=our.test") },
		{ STR("login_protocol=pop3"), STR("login_plaintext_auth=yes"),
		    STR("mydomain=our.test") } };
	const char *why;

	fuzz_mute_log();
	fake_arena = arena_new(4 << 20);
	for (size_t i = 0; i < 2; i++)
		fuzz_check(params_load(&params[i], values[i], 3, fake_arena,
		    &why) == 0, "%s", why);
	login_main(*argc, *argv);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const auth[] = {
		&verify_request_schema, NULL };
	struct fuzz_in in = fuzz_in(p, n);
	bool imap = !fuzz_bool(&in);
	struct buf first, other;
	struct str input;

	for (size_t i = 0; i < sizeof(answers); i++)
		answers[i] = (unsigned char)fuzz_octet(&in);
	input = fuzz_rest(&in);
	if (input.n > INPUT_MAX)
		return 0;
	fake_params = &params[imap ? 0 : 1];
	fake_edge("auth", play_auth, auth);
	self.limits = limits_client_new(NULL);
	buf_init(&first, 1 << 22);
	buf_init(&other, 1 << 22);
	fuzz_budget_start();
	talk(input, false, &first);
	fuzz_check_heap(3 << 20);
	check_lines(buf_str(&first), imap);
	check_count(input, buf_str(&first), imap);
	talk(input, true, &other);
	fuzz_check_same("octet by octet", buf_str(&first), buf_str(&other));
	buf_fini(&first);
	buf_fini(&other);
	limits_client_free(&self.limits);
	fake_forget();
	fuzz_end();
	return 0;
}
