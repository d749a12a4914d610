/*
 * pickup.c - what a user of the machine leaves in maildrop/
 *
 * Files of any octets, of packets that follow their schema and nothing else,
 * links, pipes, directories, beside an honest message of somebody else's. The
 * honest one is taken in the same pass whatever lies beside it. A file goes
 * only when cleanup has all of its message or refused it for good; nothing is
 * read through a link, or removed behind one. The message is the same however
 * its content was cut.
 */
#include "sendmail/maildrop.c"
#include <sys/random.h>
#include "base/crc32c.h"
#include "msgs/lookup.h"
#include "tests/fuzz/fakes/serve.h"
#include "tests/fuzz/fakes/submit.h"

#define HIS 4
#define SECRET 64

static int dir = -1;
static uint32_t secret_sum;	/* nobody can guess it */
static off_t secret_size;
static struct fuzz_in *input;
static struct arena *scratch;
static unsigned char answers[8];
static size_t answered;

static unsigned answer(void)
{
	return answers[answered++ % sizeof(answers)];
}

static bool is_honest(const struct fake_message *m)
{
	return str_eq_c(m->sender, "honest@our.test");
}

static bool is_notice(const struct fake_message *m)
{
	return m->flags & SUBMIT_INTERNAL;
}

static unsigned answer_submit(const struct fake_message *m, bool whole)
{
	static const unsigned codes[] = { 250, 250, 451, 550, 552, 0 };
	unsigned a = answer();

	fuzz_check(m->local_uid == geteuid(), "another uid");
	if (is_notice(m))
		fuzz_check(m->sender.n == 0 && m->rcpt_count == 1,
		    "a notice that may be answered");
	if (is_honest(m))
		return whole ? 250 : 1;
	if (!whole)
		return a % 16 == 15 ? a & 16 ? 451 : 550 : 1;
	return codes[a % 6];
}

static void play_lookup(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct resolve_request *q = msg;
	struct resolve_reply r = { .status = LOOKUP_OK,
		.klass = LOOKUP_LOCAL, .address = q->address };
	unsigned a = answer();

	(void)schema;
	if (!str_eq_c(q->address, "honest@our.test") && a % 16 > 12)
		r.status = a % 4 + 1;
	fake_say(c, &resolve_reply_schema, &r);
}

/* --- what he leaves ------------------------------------------------------ */

static void append_packet(struct buf *file, struct str wire)
{
	for (unsigned i = 0; i < 4; i++)
		buf_append_char(file, (char)(wire.n >> 8 * i));
	buf_append(file, wire);
}

static void append(struct buf *file, const struct msg_schema *schema,
    const void *msg)
{
	int fds[MSG_FD_MAX];
	size_t nfds = 0;
	const char *why;
	struct buf b;

	buf_init(&b, MSG_MAX);
	fuzz_check(msg_encode(schema, msg, &b, fds, &nfds, &why) == 0, "%s",
	    why);
	append_packet(file, buf_str(&b));
	buf_fini(&b);
}

static uint64_t draw(void *ctx, uint64_t max)
{
	return max == 0 ? 0 : fuzz_number(ctx, max);
}

static void append_garble(struct buf *file)
{
	static const struct msg_schema *const kinds[] = {
		&pickup_submit_schema, &pickup_submit_schema,
		&pickup_rcpts_schema, &pickup_data_schema,
		&pickup_data_schema, &pickup_verify_schema };
	struct garble g = { .draw = draw, .ctx = input, .arena = scratch };
	int fds[MSG_FD_MAX];
	size_t nfds = 0;
	struct buf b;

	buf_init(&b, 2 * MSG_MAX);
	if (garble_packet(&g, kinds[fuzz_number(input, 5)], &b, fds,
	    &nfds) == 0)
		append_packet(file, buf_str(&b));
	buf_fini(&b);
	arena_reset(scratch);
}

/* As the command writes it, with recipients up to what a packet holds. */
static void append_message(struct buf *file, const char *sender,
    struct str content, unsigned way, size_t count, size_t octets)
{
	struct str *rcpts = calloc(count, sizeof(*rcpts)), piece;
	char *address = malloc(octets);
	struct pickup_submit m = { .sender = str_of(sender),
		.rcpts = { rcpts, count } };
	struct fuzz_cuts cuts = fuzz_cuts(content, way);
	struct pickup_data data;

	memset(address, 'a', octets);
	for (size_t i = 0; i < count; i++)
		rcpts[i] = str_n(address, octets);
	append(file, &pickup_submit_schema, &m);
	while (fuzz_piece(&cuts, &piece)) {
		data = (struct pickup_data){ piece, false };
		append(file, &pickup_data_schema, &data);
	}
	data = (struct pickup_data){ STR_NONE, true };
	append(file, &pickup_data_schema, &data);
	free(rcpts);
	free(address);
}

static void write_file(const char *name, struct str octets, mode_t mode)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0600);

	fuzz_check(fd >= 0 && sys_write_all(fd, octets.p, octets.n) == 0 &&
	    fchmod(fd, mode) == 0, "cannot write %s", name);
	close(fd);
}

static const char *const his[HIS] = { "A1", "B2", "Y3", "Z4" };

/* True: it is to stay, for it is not finished or a second link. */
static bool leave(const char *name)
{
	struct buf file;
	size_t count, octets;
	unsigned what = fuzz_octet(input);

	buf_init(&file, 4 << 20);
	switch (what % 10) {
	case 0:
		(void)!symlinkat(".secret", dir, name);
		return false;
	case 1:
		(void)!linkat(dir, ".secret", dir, name, 0);
		return true;
	case 2:
		(void)!mkfifoat(dir, name, 0700);
		return false;
	case 3:
		(void)!mkdirat(dir, name, 0700);
		return false;
	case 4:
		buf_append(&file, fuzz_take(input, fuzz_number(input, 600)));
		break;
	case 5: case 6:
		count = 1 + fuzz_number(input, PICKUP_RCPTS_MAX - 1);
		octets = 1 + fuzz_number(input, 600);
		if (count * (octets + 4) > MSG_MAX - 2000)
			count = (MSG_MAX - 2000) / (octets + 4);
		append_message(&file, "x@our.test", fuzz_take(input,
		    fuzz_number(input, 600)), what / 16 % FUZZ_WAYS, count,
		    octets);
		break;
	default:
		for (size_t i = fuzz_number(input, 6); i > 0; i--)
			append_garble(&file);
	}
	write_file(name, buf_str(&file), what >= 200 ? 0600 : 0700);
	buf_fini(&file);
	return what >= 200;
}

/* --- passes ---------------------------------------------------------------- */

static struct str write_honest(struct str content)
{
	struct buf file;

	buf_init(&file, 4 << 20);
	append_message(&file, "honest@our.test", content,
	    answers[0] % FUZZ_WAYS, 1, 5);
	write_file("honest", buf_str(&file), 0700);
	buf_fini(&file);
	return content;
}

static bool is_there(const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void remove_all(void)
{
	char aside[32];

	for (size_t i = 0; i < HIS; i++) {
		snprintf(aside, sizeof(aside), ".corrupt-%s", his[i]);
		unlinkat(dir, his[i], 0);
		unlinkat(dir, his[i], AT_REMOVEDIR);
		unlinkat(dir, aside, 0);
	}
	unlinkat(dir, "honest", 0);
	unlinkat(dir, ".corrupt-honest", 0);
	map_free(&self.warned, NULL);
}

/* The honest message, and what became of the others. */
static const struct fake_message *check_messages(const bool *is_kept)
{
	const struct fake_message *honest = NULL;

	for (size_t i = 0; i < fake_submit_count(); i++) {
		const struct fake_message *m = fake_submit_nth(i);

		if (is_honest(m)) {
			fuzz_check(honest == NULL, "it is sent twice");
			honest = m;
		}
		fuzz_check(m->content.n != SECRET + 2 ||
		    crc32c(0, m->content.p, SECRET) != secret_sum,
		    "what is behind a link is sent");
	}
	fuzz_check(honest != NULL && honest->whole && !is_there("honest"),
	    "the honest message is not taken");
	for (size_t i = 0; i < HIS; i++)
		fuzz_check(!is_kept[i] || is_there(his[i]), "%s is gone",
		    his[i]);
	return honest;
}

/* What lies behind his links: it would be a message here. */
static void make_secret(void)
{
	char text[SECRET];
	struct buf file;

	fuzz_check(getrandom(text, sizeof(text), 0) == sizeof(text),
	    "no random octets");
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + (text[i] & 15));
	secret_sum = crc32c(0, text, sizeof(text));
	buf_init(&file, 1 << 20);
	append_message(&file, "s@our.test", str_n(text, sizeof(text)), 0, 1,
	    5);
	fuzz_put_file(".secret", buf_str(&file));
	secret_size = (off_t)file.n;
	buf_fini(&file);
	fuzz_check(fchmodat(dir, ".secret", 0700, 0) == 0, "no mode");
	fuzz_end();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct params params;
	const char *why;

	(void)argc;
	(void)argv;
	fuzz_mute_log();
	fake_arena = arena_new(1 << 20);
	scratch = arena_new(8 << 20);
	fuzz_check(params_load(&params, NULL, 0, fake_arena, &why) == 0, "%s",
	    why);
	fake_params = &params;
	fake_submit_answer = answer_submit;
	dir = fuzz_directory(NULL);
	make_secret();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const resolve[] = {
		&resolve_request_schema, NULL };
	struct fuzz_in in = fuzz_in(p, n);
	const struct fake_message *honest;
	struct pass pass = { .dir = dir };
	bool kept[HIS] = { false };
	struct str content = STR_NONE;
	struct stat st;

	input = &in;
	for (size_t i = 0; i < sizeof(answers); i++)
		answers[i] = (unsigned char)fuzz_octet(&in);
	answered = 0;
	/* Many filesystems list the youngest first. */
	if (answers[1] % 2)
		content = write_honest(fuzz_take(&in, 100));
	for (size_t i = fuzz_number(&in, HIS); i > 0; i--)
		kept[i - 1] = leave(his[i - 1]);
	if (answers[1] % 2 == 0)
		content = write_honest(fuzz_rest(&in));
	fake_edge("lookup", play_lookup, resolve);
	fake_submit_start();
	fuzz_budget_start();
	pass_over(&pass);
	fuzz_check_heap(24 << 20);
	honest = check_messages(kept);
	for (size_t i = 0, k = 0; i < content.n; i++) {
		/* The octets are there, in order; line ends are CRLF now. */
		if (content.p[i] == '\r' || content.p[i] == '\n')
			continue;
		while (k < honest->content.n && (honest->content.p[k] == '\r'
		    || honest->content.p[k] == '\n'))
			k++;
		fuzz_check(k < honest->content.n &&
		    honest->content.p[k++] == content.p[i],
		    "octet %zu is another", i);
	}
	fuzz_check(fstatat(dir, ".secret", &st, 0) == 0 &&
	    st.st_size == secret_size, "the file behind a link");
	remove_all();
	fake_submit_end();
	fake_forget();
	fuzz_end();
	return 0;
}
