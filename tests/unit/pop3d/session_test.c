#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/sys.h"
#include "pop3d/session.h"
#include "store/delivery.h"

struct drop {
	char path[256];
	int root;
	struct pop3d_server server;
	char out[300000];
};

static int setup(void **state)
{
	struct drop *d = calloc(1, sizeof(*d));
	const char *tmp = getenv("TMPDIR");

	snprintf(d->path, sizeof(d->path), "%s/pop3d-test-XXXXXX",
	    tmp != NULL && strlen(tmp) < 200 ? tmp : "/tmp");
	if (mkdtemp(d->path) == NULL ||
	    (d->root = open(d->path, O_RDONLY | O_DIRECTORY)) < 0 ||
	    store_open(d->root, STR("host"), true, &d->server.store,
	    NULL) < 0)
		return -1;
	d->server.user = "u@example.test";
	d->server.idle_timeout = 10 * CLOCK_SECOND;
	*state = d;
	return 0;
}

static int remove_it(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct drop *d = *state;

	sys_set_hook(NULL, NULL);
	store_close(&d->server.store);
	close(d->root);
	nftw(d->path, remove_it, 8, FTW_DEPTH | FTW_PHYS);
	free(d);
	return 0;
}

static void deliver(struct drop *d, const char *text)
{
	struct delivery *m;

	assert_int_equal(delivery_open(d->server.store, STR("INBOX"), &m,
	    NULL), 0);
	assert_int_equal(delivery_write(m, (struct str){ text,
		strlen(text) }), 0);
	assert_int_equal(delivery_commit(&m, NULL), 0);
}

static size_t messages(struct drop *d)
{
	struct store_status st;

	assert_int_equal(store_status(d->server.store, STR("INBOX"), &st,
	    NULL), 0);
	return st.messages;
}

static void *serve(void *session)
{
	session_run(session);
	return NULL;
}

/* A session; the caller talks at *fd_r. */
static pthread_t begin(struct drop *d, struct str input, int *fd_r)
{
	struct session *s;
	pthread_t t;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	s = session_new(&d->server, sv[0], input);
	assert_non_null(s);
	assert_int_equal(pthread_create(&t, NULL, serve, s), 0);
	*fd_r = sv[1];
	return t;
}

static const char *read_all(struct drop *d, int fd)
{
	size_t n = 0;
	ssize_t k;

	while ((k = read(fd, d->out + n, sizeof(d->out) - 1 - n)) > 0)
		n += (size_t)k;
	d->out[n] = '\0';
	close(fd);
	return d->out;
}

/* Everything is sent at once (RFC 2449 6.6), then all answers are read. */
static const char *talk_n(struct drop *d, struct str commands)
{
	int fd;
	pthread_t t = begin(d, STR_NONE, &fd);

	assert_int_equal(write(fd, commands.p, commands.n), commands.n);
	shutdown(fd, SHUT_WR);
	read_all(d, fd);
	pthread_join(t, NULL);
	return d->out;
}

static const char *talk(struct drop *d, const char *commands)
{
	return talk_n(d, (struct str){ commands, strlen(commands) });
}

/* "+OK", "-ERR [IN-USE]": a line for each beginning that is expected. */
static void check(const char *got, const char *const *expected)
{
	const char *at = got;

	for (; *expected != NULL; expected++) {
		const char *end = strstr(at, "\r\n");

		if (end == NULL || strncmp(at, *expected,
		    strlen(*expected)) != 0)
			fail_msg("expected '%s' at '%.80s' of:\n%s",
			    *expected, at, got);
		at = end + 2;
	}
	if (*at != '\0')
		fail_msg("more than expected: %s", at);
}

#define CHECK(got, ...) check(got, (const char *const[]){ __VA_ARGS__, NULL })

static void three(struct drop *d)
{
	deliver(d, "A: 1\r\n\r\none\r\n");			/* 13 */
	deliver(d, "A: 2\r\n\r\n.\r\n..\r\nend\r\n");		/* 20 */
	deliver(d, "A: 3\r\n\r\nl1\r\nl2\r\nl3\r\n");		/* 20 */
}

static void the_session_of_the_rfc(void **state)
{
	struct drop *d = *state;

	three(d);
	CHECK(talk(d, "STAT\r\nLIST\r\nLIST 2\r\nRETR 1\r\nRETR 2\r\n"
	    "DELE 1\r\nSTAT\r\nLIST\r\nRSET\r\nSTAT\r\nNOOP\r\nQUIT\r\n"),
	    "+OK", "+OK 3 53", "+OK 3 messages (53 octets)", "1 13", "2 20",
	    "3 20", ".", "+OK 2 20",
	    "+OK 13 octets", "A: 1", "", "one", ".",
	    "+OK 20 octets", "A: 2", "", "..", "...", "end", ".",
	    "+OK", "+OK 2 40", "+OK 2 messages (40 octets)", "2 20", "3 20",
	    ".", "+OK 3 messages", "+OK 3 53", "+OK", "+OK");
	assert_int_equal(messages(d), 3);
}

static void an_empty_maildrop_has_empty_answers(void **state)
{
	CHECK(talk(*state, "STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nQUIT\r\n"),
	    "+OK", "+OK 0 0", "+OK", ".", "+OK", ".", "-ERR", "+OK");
}

static void what_is_wrong_is_refused(void **state)
{
	static const char *const bad[] = {
		"RETR", "RETR 0", "RETR 4", "RETR -1", "RETR +1", "RETR 1 2",
		"RETR 4294967297", "RETR 99999999999999999999", "RETR x",
		"RETR 1x", "TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 4 1",
		"TOP 1 1 1", "DELE", "DELE 9", "LIST 0", "LIST 1 1",
		"UIDL 7", "STAT 1",
	}, *const unknown[] = {
		"NOOP x", "LAST", "USER x", "PASS x",
		"APOP a b", "AUTH PLAIN", "STLS", "", " ", "XYZ", "RETR\t1",
		"GET / HTTP/1.1", "ST", "STATS",
	};
	struct drop *d = *state;
	char line[100];

	three(d);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "%s\r\nSTAT\r\n", bad[i]);
		CHECK(talk(d, line), "+OK", "-ERR ", "+OK 3 53");
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		snprintf(line, sizeof(line), "%s\r\nSTAT\r\n", unknown[i]);
		CHECK(talk(d, line), "+OK", "-ERR ", "+OK 3 53");
	}
	CHECK(talk_n(d, STR("STAT\0\r\nSTAT\r\n")), "+OK", "-ERR",
	    "+OK 3 53");
	CHECK(talk_n(d, STR("ST\rAT\r\nstat\r\n")), "+OK", "-ERR",
	    "+OK 3 53");
}

static void long_lines_and_many_errors_end_it(void **state)
{
	struct drop *d = *state;
	char *flood = malloc(100001);
	size_t n;
	const char *out;

	memset(flood, 'a', 300);
	memcpy(flood + 300, "\r\nNOOP\r\n", 9);
	CHECK(talk(d, flood), "+OK", "-ERR", "+OK");
	memset(flood, 'a', 100000);
	flood[100000] = '\0';
	CHECK(talk(d, flood), "+OK", "-ERR");
	for (n = 0; n < 200; n++)
		memcpy(flood + 5 * n, "XYZ\r\n", 6);
	out = talk(d, flood);
	for (n = 0; (out = strstr(out, "-ERR")) != NULL; n++)
		out += 4;
	assert_int_equal(n, POP3_ERRORS_MAX + 2);
	free(flood);
}

static void only_quit_removes(void **state)
{
	struct drop *d = *state;

	three(d);
	CHECK(talk(d, "DELE 1\r\nDELE 1\r\nRETR 1\r\nTOP 1 0\r\nUIDL 1\r\n"
	    "LIST 1\r\n"), "+OK", "+OK", "-ERR", "-ERR", "-ERR", "-ERR",
	    "-ERR");
	assert_int_equal(messages(d), 3);
	CHECK(talk(d, "DELE 1\r\nRSET\r\nQUIT\r\n"), "+OK", "+OK", "+OK",
	    "+OK");
	assert_int_equal(messages(d), 3);
	/* A command without its end is none. */
	CHECK(talk(d, "DELE 1\r\nQUIT"), "+OK", "+OK");
	assert_int_equal(messages(d), 3);
	CHECK(talk(d, "DELE 1\r\nDELE 3\r\nQUIT\r\n"), "+OK", "+OK", "+OK",
	    "+OK");
	assert_int_equal(messages(d), 1);
	CHECK(talk(d, "TOP 1 0\r\n"), "+OK", "+OK", "A: 2", "", ".");
}

static int no_sync(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	return !ev->after && (ev->op == SYS_FSYNC || ev->op == SYS_FDATASYNC)
	    ? EIO : 0;
}

static void a_removal_that_fails_is_told(void **state)
{
	struct drop *d = *state;
	pthread_t t;
	int fd;

	three(d);
	messages(d);
	t = begin(d, STR_NONE, &fd);
	/* The greeting says that the maildrop is open. */
	assert_int_equal(read(fd, d->out, 3), 3);
	sys_set_hook(no_sync, NULL);
	assert_int_equal(write(fd, "DELE 1\r\nQUIT\r\n", 14), 14);
	read_all(d, fd);
	pthread_join(t, NULL);
	sys_set_hook(NULL, NULL);
	assert_non_null(strstr(d->out, "-ERR [SYS/TEMP]"));
	assert_int_equal(messages(d), 3);
}

static void unique_ids_stay(void **state)
{
	struct drop *d = *state;
	unsigned v1, v2, u1, u2, n;

	three(d);
	assert_int_equal(sscanf(talk(d, "UIDL 2\r\nDELE 1\r\nQUIT\r\n"),
	    "+OK%*[^+]+OK %u %u.%u", &n, &v1, &u1), 3);
	assert_int_equal(n, 2);
	/* Another number, the same id. */
	assert_int_equal(sscanf(talk(d, "UIDL 1\r\n"),
	    "+OK%*[^+]+OK %u %u.%u", &n, &v2, &u2), 3);
	assert_int_equal(v1, v2);
	assert_int_equal(u1, u2);
	CHECK(talk(d, "UIDL\r\n"), "+OK", "+OK", "1 ", "2 ", ".");
}

static void capabilities_are_named(void **state)
{
	const char *out = talk(*state, "CAPA\r\n");

	assert_non_null(strstr(out, "\r\nTOP\r\n"));
	assert_non_null(strstr(out, "\r\nUIDL\r\n"));
	assert_non_null(strstr(out, "\r\nPIPELINING\r\n"));
	assert_non_null(strstr(out, "\r\nRESP-CODES\r\n"));
	assert_non_null(strstr(out, "\r\nSASL PLAIN"));
	assert_non_null(strstr(out, "\r\n.\r\n"));
}

static void a_second_session_finds_it_in_use(void **state)
{
	struct drop *d = *state;
	pthread_t t;
	int fd;

	three(d);
	t = begin(d, STR_NONE, &fd);
	assert_int_equal(read(fd, d->out, 3), 3);
	CHECK(talk(d, "STAT\r\n"), "-ERR [IN-USE]");
	assert_int_equal(write(fd, "QUIT\r\n", 6), 6);
	while (strstr(d->out, "removed") == NULL) {
		ssize_t k = read(fd, d->out, sizeof(d->out) - 1);

		assert_true(k > 0);
		d->out[k] = '\0';
	}
	/* After the answer to QUIT it is free at once. */
	CHECK(talk(d, "STAT\r\n"), "+OK", "+OK 3 53");
	close(fd);
	pthread_join(t, NULL);
}

static void what_came_before_the_hand_over_counts(void **state)
{
	struct drop *d = *state;
	pthread_t t;
	int fd;

	three(d);
	t = begin(d, STR("STAT\r\nRETR"), &fd);
	assert_int_equal(write(fd, " 1\r\nQUIT\r\n", 10), 10);
	CHECK(read_all(d, fd), "+OK", "+OK 3 53", "+OK 13 octets", "A: 1", "",
	    "one", ".", "+OK");
	pthread_join(t, NULL);
}

static void mail_that_comes_meanwhile_waits_for_the_next_session(void **state)
{
	struct drop *d = *state;
	pthread_t t;
	int fd;

	three(d);
	t = begin(d, STR_NONE, &fd);
	assert_int_equal(read(fd, d->out, 3), 3);
	deliver(d, "late\r\n");
	assert_int_equal(messages(d), 4);
	assert_int_equal(write(fd, "RETR 4\r\nDELE 1\r\nQUIT\r\n", 22), 22);
	read_all(d, fd);
	pthread_join(t, NULL);
	assert_non_null(strstr(d->out, "-ERR No such message"));
	assert_int_equal(messages(d), 3);
}

static void a_silent_client_is_logged_out_without_a_word(void **state)
{
	struct drop *d = *state;
	pthread_t t;
	int fd;

	three(d);
	d->server.idle_timeout = CLOCK_SECOND / 5;
	t = begin(d, STR_NONE, &fd);
	assert_int_equal(write(fd, "DELE 1\r\n", 8), 8);
	CHECK(read_all(d, fd), "+OK", "+OK");
	pthread_join(t, NULL);
	assert_int_equal(messages(d), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_session_of_the_rfc),
		TEST(an_empty_maildrop_has_empty_answers),
		TEST(what_is_wrong_is_refused),
		TEST(long_lines_and_many_errors_end_it),
		TEST(only_quit_removes),
		TEST(a_removal_that_fails_is_told),
		TEST(unique_ids_stay),
		TEST(capabilities_are_named),
		TEST(a_second_session_finds_it_in_use),
		TEST(what_came_before_the_hand_over_counts),
		TEST(mail_that_comes_meanwhile_waits_for_the_next_session),
		TEST(a_silent_client_is_logged_out_without_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
