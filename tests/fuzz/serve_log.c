/*
 * serve_log.c - log, sent lines by programs that were taken over
 *
 * One datagram is one line, in the file and for syslog, in the order in which
 * they came, across a rotation: none is lost, none joined with another's.
 * What an honest program sends stands there as it is; no octet ends a line,
 * moves a terminal's cursor or turns a direction, and all of it is UTF-8.
 */
int log_main(int, char **);
#define main log_main
#include "log/main.c"
#undef main
#include <fcntl.h>
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/serve.h"

#define LINES 600

static struct params params;
static int sender = -1;
static struct buf expected;	/* shown lines, LF behind each */
static size_t expected_count;
static struct buf told;		/* by syslog */

void __wrap_openlog(const char *, int, int);
void __wrap_syslog(int, const char *, ...)
    __attribute__((format(printf, 2, 3)));

void __wrap_openlog(const char *ident, int option, int where)
{
	(void)ident;
	(void)option;
	(void)where;
}

void __wrap_syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	fuzz_check(priority >= LOG_EMERG && priority <= LOG_DEBUG,
	    "priority %d", priority);
	va_start(ap, fmt);
	buf_vprintf(&told, fmt, ap);
	va_end(ap);
	buf_append_char(&told, '\n');
}

static void check_line(struct str line)
{
	fuzz_check(!str_has_ctl(line), "a control octet");
	fuzz_check(str_is_utf8(line), "not UTF-8");
	for (size_t i = 0; i + 2 < line.n; i++) {
		const unsigned char *p = (const unsigned char *)line.p + i;

		fuzz_check(p[0] != 0xc2 || p[1] >= 0xa0, "a C1 control");
		fuzz_check(p[0] != 0xe2 || p[1] != 0x80 || ((p[2] < 0x8e ||
		    p[2] > 0x8f) && (p[2] < 0xa8 || p[2] > 0xae)),
		    "it turns or ends the line");
		fuzz_check(p[0] != 0xe2 || p[1] != 0x81 || p[2] < 0xa6 ||
		    p[2] > 0xa9, "it turns the line");
	}
}

static void gather(void)
{
	fake_fire(self.in, LOOP_READ);
	fake_pass(GATHER);
}

static void send_line(struct str line)
{
	size_t n = expected.n;

	while (send(sender, line.p, line.n, MSG_DONTWAIT) < 0)
		gather();
	log_append_shown(&expected, str_sub(str_from(line, 1), 0,
	    LINE_MAX_OCTETS - 1));
	if (expected.n == n)
		return; /* nothing to say */
	buf_append_char(&expected, '\n');
	expected_count++;
}

static void read_file(const char *name, struct buf *out)
{
	int fd = openat(fake_dir, name, O_RDONLY | O_CLOEXEC);
	char piece[4096];
	ssize_t k;

	while (fd >= 0 && (k = read(fd, piece, sizeof(piece))) > 0)
		buf_append_n(out, piece, (size_t)k);
	if (fd >= 0)
		close(fd);
	unlinkat(fake_dir, name, 0);
}

/* Takes "Jan  1 00:00:00 host " away, which is ours. */
static void check_log(struct str text, bool stamped)
{
	struct str rest = buf_str(&expected), line, want;

	fuzz_check(text.n == 0 || text.p[text.n - 1] == '\n', "an open line");
	for (size_t i = 0; i < expected_count; i++) {
		fuzz_check(str_split(&text, '\n', &line), "a line is lost");
		str_split(&rest, '\n', &want);
		if (stamped) {
			size_t k = 16 + strlen(self.host);

			fuzz_check(line.n > k && line.p[k] == ' ' &&
			    line.p[3] == ' ' && line.p[6] == ' ' &&
			    memcmp(line.p + 16, self.host, k - 16) == 0,
			    "no stamp");
			line = str_from(line, k + 1);
		}
		fuzz_check_same("line", line, want);
		check_line(line);
	}
	fuzz_check(text.n == 0, "a line that nobody sent");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *why;
	int pair[2];

	(void)argc;
	(void)argv;
	fake_arena = arena_new(1 << 20);
	fuzz_check(params_load(&params, NULL, 0, fake_arena, &why) == 0, "%s",
	    why);
	fake_params = &params;
	log_main(0, NULL);
	fuzz_check(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) ==
	    0, "no sockets");
	sender = pair[0];
	fake_descriptor = pair[1];
	fake_dir = fuzz_directory(NULL);
	buf_init(&expected, SIZE_MAX);
	buf_init(&told, SIZE_MAX);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	bool to_file = fuzz_bool(&in);
	unsigned copies = (unsigned)fuzz_number(&in, 3);
	struct buf text, line;

	fuzz_budget_start();
	params.maillog_file = to_file ? "/log/mail.log" : "";
	expected_count = 0;
	buf_reset(&expected);
	buf_reset(&told);
	buf_init(&text, SIZE_MAX);
	buf_init(&line, SIZE_MAX);
	self.dir = self.out = -1;
	fuzz_check(serve_program->start() == 0 &&
	    serve_program->ready(NULL) == 0, "no start");
	while (in.rest.n > 0 && expected_count < LINES) {
		struct str one = fuzz_field(&in, '\001');

		buf_reset(&line);
		/* Some are longer than may be. */
		for (size_t i = 0; i < (copies == 3 ? 40 : copies); i++)
			buf_append(&line, one);
		send_line(copies == 0 ? one : buf_str(&line));
		if (one.n % 7 == 3)
			gather();
		if (one.n % 31 == 5 && to_file) {
			gather();
			read_file("mail.old", &text);
			renameat(fake_dir, "mail.log", fake_dir, "mail.old");
			fake_pass(1100 * CLOCK_MS);
		}
	}
	gather();
	fuzz_check(serve_program->drain(true), "it does not end");
	fuzz_check_heap(24 << 20);
	read_file("mail.old", &text);
	read_file("mail.log", &text);
	check_log(to_file ? buf_str(&text) : buf_str(&told), to_file);
	buf_fini(&text);
	buf_fini(&line);
	buf_fini(&self.batch);
	buf_fini(&self.text);
	watch_free(&self.watch);
	timer_free(&self.gather);
	if (self.out >= 0)
		close(self.out);
	fake_forget();
	return 0;
}
