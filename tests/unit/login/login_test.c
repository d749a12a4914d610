#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "login/imap_command.h"
#include "login/sasl.h"

/* What the client sent and what it got, over a socket pair. */
struct talk {
	struct stream *s;
	int peer;
};

static void talk_init(struct talk *t, struct str input)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	t->s = stream_new(fds[0]);
	t->peer = fds[1];
	assert_int_equal(write(t->peer, input.p, input.n), input.n);
	shutdown(t->peer, SHUT_WR);
}

static void talk_fini(struct talk *t, struct buf *output)
{
	char p[1024];
	ssize_t n;

	stream_free(&t->s);
	while ((n = read(t->peer, p, sizeof(p))) > 0)
		buf_append_n(output, p, (size_t)n);
	close(t->peer);
}

/* "tag name [arg] "arg" ( ) " of a command, or "BAD", "BYE", "CLOSED". */
static void describe(struct str input, struct buf *out, struct buf *sent)
{
	static const struct imap_limits limits = { 100, 20 };
	struct imap_command *c = malloc(sizeof(*c));
	struct arena *arena = arena_new(65536);
	enum stream_result result;
	const char *why;
	struct talk t;

	talk_init(&t, input);
	switch (imap_command_read(t.s, arena, &limits, c, &why, &result)) {
	case IMAP_READ_OK:
		buf_printf(out, STR_FMT " " STR_FMT, STR_ARG(c->tag),
		    STR_ARG(c->name));
		for (size_t i = 0; i < c->count; i++) {
			const struct imap_arg *a = &c->args[i];

			if (a->kind == IMAP_ATOM)
				buf_printf(out, " [" STR_FMT "]",
				    STR_ARG(a->text));
			else if (a->kind == IMAP_STRING)
				buf_printf(out, " \"" STR_FMT "\"",
				    STR_ARG(a->text));
			else
				buf_append_c(out, a->kind == IMAP_OPEN ? " (" :
				    " )");
		}
		break;
	case IMAP_READ_BAD:
		assert_non_null(why);
		buf_printf(out, STR_FMT " BAD", STR_ARG(c->tag));
		break;
	case IMAP_READ_BYE:
		assert_non_null(why);
		buf_append_c(out, "BYE");
		break;
	case IMAP_READ_CLOSED:
		buf_append_c(out, "CLOSED");
		break;
	}
	talk_fini(&t, sent);
	arena_free(&arena);
	free(c);
}

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void commands_are_parsed_or_refused(void **state)
{
	static const struct { struct str in; const char *want, *sent; }
	cases[] = {
		{ STR("a NOOP\r\n"), "a NOOP", "" },
		{ STR("a NOOP\n"), "a NOOP", "" },
		{ STR("a LOGIN u p\r\n"), "a LOGIN [u] [p]", "" },
		{ STR("a LOGIN \"u \\\"\\\\\" \"\"\r\n"),
		    "a LOGIN \"u \"\\\" \"\"", "" },
		{ STR("a LOGIN {3}\r\nu\r\n {2}\r\npw\r\n"),
		    "a LOGIN \"u\r\n\" \"pw\"", "+ OK\r\n+ OK\r\n" },
		{ STR("a LOGIN {1+}\r\nu p\r\n"), "a LOGIN \"u\" [p]", "" },
		{ STR("a LOGIN {0}\r\n {0}\r\n\r\n"), "a LOGIN \"\" \"\"",
		    "+ OK\r\n+ OK\r\n" },
		{ STR("a ID (\"k\" \"v\" \"n\" NIL)\r\n"),
		    "a ID ( \"k\" \"v\" \"n\" [NIL] )", "" },
		{ STR("a ID NIL\r\n"), "a ID [NIL]", "" },
		{ STR("a AUTHENTICATE PLAIN AHUAcA==\r\n"),
		    "a AUTHENTICATE [PLAIN] [AHUAcA==]", "" },
		{ STR("a LOGIN \"\303\244\" p\r\n"),
		    "a LOGIN \"\303\244\" [p]", "" },
		/* literals that are none, or too large */
		{ STR("a LOGIN {4294967295}\r\n"), "a BAD", "" },
		{ STR("a LOGIN {4294967295+}\r\n"), "BYE", "" },
		{ STR("a LOGIN {18446744073709551616}\r\n"), "a BAD", "" },
		{ STR("a LOGIN {18446744073709551616+}\r\n"), "BYE", "" },
		{ STR("a LOGIN {21}\r\n"), "a BAD", "" },
		{ STR("a LOGIN {20}\r\n01234567890123456789 {1+}\r\n"), "BYE",
		    "+ OK\r\n" },
		{ STR("a LOGIN {-1}\r\n"), "a BAD", "" },
		{ STR("a LOGIN {5}x\r\n"), "a BAD", "" },
		{ STR("a LOGIN {}\r\n"), "a BAD", "" },
		{ STR("a LOGIN {5\r\n"), "a BAD", "" },
		{ STR("a LOGIN {5}\r\nab"), "CLOSED", "+ OK\r\n" },
		/* tags and octets */
		{ STR("\0\r\n"), "* BAD", "" },
		{ STR("\r\n"), "* BAD", "" },
		{ STR("a\r\n"), "* BAD", "" },
		{ STR("a \r\n"), "* BAD", "" },
		{ STR(" NOOP\r\n"), "* BAD", "" },
		{ STR("+ NOOP\r\n"), "* BAD", "" },
		{ STR("a*b NOOP\r\n"), "* BAD", "" },
		{ STR("a(b NOOP\r\n"), "* BAD", "" },
		{ STR("a LOGIN u\0 p\r\n"), "a BAD", "" },
		{ STR("a LOGIN \"u\0\" p\r\n"), "a BAD", "" },
		{ STR("a LOGIN \"\377\" p\r\n"), "a BAD", "" },
		{ STR("a LOGIN \377 p\r\n"), "a BAD", "" },
		{ STR("a LOGIN \"u p\r\n"), "a BAD", "" },
		{ STR("a LOGIN \"u\\\r\n"), "a BAD", "" },
		{ STR("a LOGIN \"u\\x\" p\r\n"), "a BAD", "" },
		{ STR("a LOGIN \"u\"p\r\n"), "a BAD", "" },
		{ STR("a LOGIN u\rp q\r\n"), "a BAD", "" },
		{ STR("a LOGIN u  p\r\n"), "a BAD", "" },
		{ STR("a NOOP \r\n"), "a BAD", "" },
		/* parentheses */
		{ STR("a LOGIN ((\r\n"), "a BAD", "" },
		{ STR("a ID (\"k\" \"v\"\r\n"), "a BAD", "" },
		{ STR("a ID )\r\n"), "a BAD", "" },
		/* lines */
		{ STR("a LOGIN " X50 X50 "\r\n"), "a BAD", "" },
		{ STR(X50 X50 X50 " NOOP\r\n"), "* BAD", "" },
		{ STR("a NOOP"), "CLOSED", "" }, { STR(""), "CLOSED", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf got, sent;

		buf_init(&got, 10000);
		buf_init(&sent, 10000);
		describe(cases[i].in, &got, &sent);
		if (strcmp(buf_cstr(&got), cases[i].want) != 0)
			fail_msg("case %zu: got %s, want %s", i, got.p,
			    cases[i].want);
		assert_string_equal(buf_cstr(&sent), cases[i].sent);
		buf_fini(&got);
		buf_fini(&sent);
	}
}

static void too_many_arguments_are_refused(void **state)
{
	struct buf in, got, sent;

	(void)state;
	buf_init(&in, 10000);
	buf_init(&got, 10000);
	buf_init(&sent, 10000);
	buf_append_c(&in, "a X");
	for (int i = 0; i < 45; i++)
		buf_append_c(&in, " y");
	buf_append_c(&in, "\r\n");
	describe(buf_str(&in), &got, &sent);
	assert_memory_equal(got.p, "a X [y] [y]", 11);
	buf_reset(&got);
	buf_truncate(&in, 3);
	/* over the limit by literals of no octets, a line each */
	for (int i = 0; i < IMAP_ARGS_MAX + 1; i++)
		buf_append_c(&in, " {0+}\r\n");
	buf_append_c(&in, "\r\n");
	describe(buf_str(&in), &got, &sent);
	assert_string_equal(buf_cstr(&got), "a BAD");
	buf_fini(&in);
	buf_fini(&got);
	buf_fini(&sent);
}

static void exchanges_give_a_name_and_a_password(void **state)
{
	static const struct { const char *mechanism, *initial, *input;
		enum sasl_result want; const char *user, *password, *sent; }
	cases[] = {
		/* \0user\0pass */
		{ "PLAIN", "AHVzZXIAcGFzcw==", "", SASL_DONE, "user", "pass",
		    "" },
		{ "plain", NULL, "AHVzZXIAcGFzcw==\r\n", SASL_DONE, "user",
		    "pass", "+ \r\n" },
		/* user\0user\0pass, root\0user\0pass */
		{ "PLAIN", "dXNlcgB1c2VyAHBhc3M=", "", SASL_DONE, "user",
		    "pass", "" },
		{ "PLAIN", "cm9vdAB1c2VyAHBhc3M=", "", SASL_DENIED, 0, 0, "" },
		/* empty password; no NUL; one NUL; a third NUL; no user */
		{ "PLAIN", "AHVzZXIA", "", SASL_DONE, "user", "", "" },
		{ "PLAIN", "dXNlcg==", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", "AHVzZXI=", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", "AHVzZXIAcGEAc3M=", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", "AABwYXNz", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", "=", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", "!!!", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", "AHVzZXIAcGFzcw", "", SASL_MALFORMED, 0, 0, "" },
		{ "PLAIN", NULL, "*\r\n", SASL_CANCELLED, 0, 0, "+ \r\n" },
		{ "PLAIN", "*", "", SASL_CANCELLED, 0, 0, "" },
		{ "PLAIN", NULL, "", SASL_CLOSED, 0, 0, "+ \r\n" },
		{ "LOGIN", NULL, "dXNlcg==\r\ncGFzcw==\r\n", SASL_DONE,
		    "user", "pass",
		    "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n" },
		{ "LOGIN", "dXNlcg==", "cGFzcw==\r\n", SASL_DONE, "user",
		    "pass", "+ UGFzc3dvcmQ6\r\n" },
		{ "LOGIN", "dXNlcg==", "*\r\n", SASL_CANCELLED, 0, 0,
		    "+ UGFzc3dvcmQ6\r\n" },
		{ "LOGIN", "=", "cGFzcw==\r\n", SASL_MALFORMED, 0, 0,
		    "+ UGFzc3dvcmQ6\r\n" },
		{ "LOGIN", "dXMAcg==", "cGFzcw==\r\n", SASL_MALFORMED, 0, 0,
		    "+ UGFzc3dvcmQ6\r\n" },
		{ "NTLM", "TlRM", "", SASL_UNKNOWN, 0, 0, "" },
		{ "", NULL, "", SASL_UNKNOWN, 0, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sasl sasl;
		struct talk t;
		struct buf sent;
		enum stream_result result;
		enum sasl_result r;

		buf_init(&sent, 10000);
		talk_init(&t, str_of(cases[i].input));
		sasl_init(&sasl);
		r = sasl_run(&sasl, t.s, str_of(cases[i].mechanism),
		    str_of(cases[i].initial), &result);
		if (r != cases[i].want)
			fail_msg("case %zu: %d", i, r);
		if (r == SASL_DONE) {
			assert_true(str_eq_c(sasl.user, cases[i].user));
			assert_true(str_eq_c(sasl.password,
			    cases[i].password));
		}
		sasl_fini(&sasl);
		talk_fini(&t, &sent);
		assert_string_equal(buf_cstr(&sent), cases[i].sent);
		buf_fini(&sent);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_parsed_or_refused),
		cmocka_unit_test(too_many_arguments_are_refused),
		cmocka_unit_test(exchanges_give_a_name_and_a_password),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
