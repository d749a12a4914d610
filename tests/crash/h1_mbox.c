/*
 * h1_mbox.c - kill a delivery to an mbox before and after each operation
 *
 *	crash-mbox [--kills N] [--seed S] [--dir DIR] [-v]
 *
 * Up to three processes, one after the other, deliver to the same mbox with
 * deliver_mbox() as `deliver` does. Each is killed (SIGKILL) at one of its
 * durable operations or comes to its end; in every second run one of the
 * operations fails. Then the mbox is looked at twice: as the last kill left
 * it, and as a power cut at that moment might have (shadow.h). What was
 * promised must be true, then and when one message more was delivered:
 *
 *	a message of which deliver_mbox() said that it was delivered is there,
 *	once, whole, behind a line "From " that a reader takes for one.
 *
 * First the same is done with syncs left out. If the harness does not catch
 * each of these it is blind, and says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "config/params.h"
#include "local/deliver.h"
#include "queue/commit.h"
#include "scratch.h"
#include "service/service.h"
#include "shadow.h"

#define LIVES 3			/* processes in a run */
#define DELIVERIES 3		/* of each */
#define MESSAGES (1 + LIVES * DELIVERIES + 1)
#define CONTROL_RUNS 4000
#define OPERATIONS 24		/* about two deliveries */

enum order { ORDER_OURS, ORDER_NO_FILE_SYNC, ORDER_NO_DIR_SYNC,
	ORDER_MAKER_SYNCS, ORDER_COUNT };

static const char *const order_names[ORDER_COUNT] = {
	"all syncs", "the mbox is not synced", "its name is not synced",
	"its name is synced only by who made it",
};

/* What the children promised; shared with the parent. */
struct promise {
	bool delivered[MESSAGES];
	int count;		/* messages tried */
	unsigned operations;	/* of this life */
	bool finished;
};

struct run {
	struct promise *promise;
	struct shadow *shadow;
	int live, image;
	enum order order;
	unsigned seed, kill_at, fail_at;
	bool kill_after, was_there;
};

static bool verbose;
static int files[MESSAGES];	/* queue files */
static struct params params;

/* --- what deliver_mbox() has around it in `deliver` ----------------------- */

const struct params *service_params(void)
{
	return &params;
}

int service_dir(const char *role)
{
	(void)role;
	return -1;
}

enum conv_got service_recv(struct conv *c, const struct msg_schema *const *all,
    size_t n, const struct msg_schema **got, void *to, const char **why)
{
	(void)c, (void)all, (void)n, (void)got, (void)to, (void)why;
	abort();
}

/* --- messages ------------------------------------------------------------- */

/* On the wire and as they stand in an mbox; some have no line end, some more
 * than a block. */
static struct str text_of(int number, bool wire)
{
	static char text[16384];
	const char *end = wire ? "\r\n" : "\n";
	int n = snprintf(text, sizeof(text), "Subject: %d%s%s%sFrom here%s",
	    number, end, end, wire ? "" : ">", end);

	for (int i = 0; i < number * number; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
		    "line %d of %d, which is as long as most of them are%s",
		    i, number, end);
	if (number % 3 == 0) {
		n += snprintf(text + n, sizeof(text) - (size_t)n, "no end");
		if (!wire)
			text[n++] = '\n';
	}
	return str_n(text, (size_t)n);
}

/* In dir, where nothing of them stays but the descriptors. */
static void make_queue_files(int dir)
{
	struct queue_recipient rcpt = { .address = STR("r@our.test") };
	struct queue_envelope e = { .arrival = 1, .sender = STR("s@x.test"),
		.recipients = &rcpt, .recipient_count = 1 };

	for (int i = 0; i < MESSAGES; i++) {
		struct queue_commit *c;
		const char *why = "";

		files[i] = openat(dir, "message", O_RDWR | O_CREAT | O_EXCL |
		    O_CLOEXEC, 0600);
		must(files[i], "message");
		must(queue_commit_begin(&c, files[i], (uint64_t)i + 1,
		    1 << 20), "begin");
		must(queue_commit_append(c, text_of(i, true)), "append");
		must(queue_commit(c, &e, &why), why);
		queue_commit_end(&c);
		unlinkat(dir, "message", 0);
	}
}

/* True: deliver_mbox() says that it is delivered. */
static bool deliver(int dir, int number)
{
	static const struct deliver_request request = {
		.what = DELIVER_MAILBOX, .sender = STR("s@x.test"),
		.rcpt = STR("r@our.test") };
	struct delivery_job job = { .request = &request, .root = dir,
		.arena = arena_new(1 << 20) };
	struct deliver_reply reply = { 0 };
	const char *why = "";

	must(queue_reader_open_header(&job.reader, files[number],
	    (uint64_t)number + 1, &why), why);
	deliver_mbox(&job, dir, "mbox", &reply);
	if (reply.status != AGENT_SENT && verbose)
		fprintf(stderr, "crash-mbox: %d: " STR_FMT "\n", number,
		    STR_ARG(reply.text));
	arena_free(&job.arena);
	return reply.status == AGENT_SENT;
}

/* --- the child ------------------------------------------------------------ */

/* Is it a sync that the order leaves out? */
static bool is_left_out(const struct run *run, const struct sys_event *ev)
{
	bool of_dir = ev->op == SYS_FSYNC;

	if (ev->op != SYS_FSYNC && ev->op != SYS_FDATASYNC)
		return false;
	switch (run->order) {
	case ORDER_NO_FILE_SYNC: return !of_dir;
	case ORDER_NO_DIR_SYNC: return of_dir;
	case ORDER_MAKER_SYNCS: return of_dir && run->was_there;
	default: return false;
	}
}

static int hook(const struct sys_event *ev, void *ctx)
{
	struct run *run = ctx;
	struct promise *p = run->promise;

	if (ev->op == SYS_CLOSE)
		return 0;
	if (!ev->after)
		p->operations++;
	else if (!is_left_out(run, ev))
		shadow_event(run->shadow, ev);
	if (p->operations == run->kill_at && ev->after == run->kill_after)
		kill(getpid(), SIGKILL);
	return !ev->after && p->operations == run->fail_at ? EIO : 0;
}

static void live(struct run *run)
{
	struct promise *p = run->promise;

	sys_set_hook(hook, run);
	for (int i = 0; i < DELIVERIES; i++) {
		int number = p->count++;

		run->was_there = faccessat(run->live, "mbox", F_OK, 0) == 0;
		p->delivered[number] = deliver(run->live, number);
	}
	p->finished = true;
	_exit(0);
}

/* --- afterwards ----------------------------------------------------------- */

static size_t read_mbox(int dir, char *to, size_t size)
{
	int fd = openat(dir, "mbox", O_RDONLY);
	ssize_t n = fd < 0 ? 0 : sys_pread_full(fd, to, size, 0);

	if (fd >= 0)
		close(fd);
	must((int)n, "mbox");
	return (size_t)n;
}

/* RFC 4155: the line before `at` begins a message. */
static bool begins(const char *mbox, size_t at)
{
	size_t start = at;

	if (at == 0 || mbox[at - 1] != '\n')
		return false;
	start--;
	while (start > 0 && mbox[start - 1] != '\n')
		start--;
	return at - start > 5 && memcmp(mbox + start, "From ", 5) == 0 &&
	    (start == 0 || (start >= 2 && mbox[start - 2] == '\n'));
}

static int times(const char *mbox, size_t size, int number)
{
	static char want[20000];
	struct str text = text_of(number, false);
	int n = snprintf(want, sizeof(want), "Return-Path: <s@x.test>\n"
	    "Delivered-To: r@our.test\n" STR_FMT "\n", STR_ARG(text)), found = 0;

	for (size_t at = 0; at + (size_t)n <= size; at++) {
		const char *p = memmem(mbox + at, size - at, want, (size_t)n);

		if (p == NULL)
			break;
		at = (size_t)(p - mbox);
		found += begins(mbox, at);
	}
	return found;
}

static int check_promises(const struct run *run, int dir, const char *when)
{
	static char mbox[512 * 1024];
	const struct promise *p = run->promise;
	size_t size = read_mbox(dir, mbox, sizeof(mbox));
	int broken = 0;

	for (int i = 0; i < MESSAGES; i++) {
		int n;

		if (!p->delivered[i] || (n = times(mbox, size, i)) == 1)
			continue;
		broken++;
		if (verbose)
			fprintf(stderr, "crash-mbox: %s: seed %u, kill %s %u, "
			    "failure %u: message %d is there %d times\n", when,
			    run->seed, run->kill_after ? "after" : "before",
			    run->kill_at, run->fail_at, i, n);
	}
	return broken;
}

/* As it is, and when the next message was delivered. */
static int check(const struct run *run, int dir, const char *when)
{
	struct promise *p = run->promise;
	int broken = check_promises(run, dir, when);

	/* the image has not the mode by which a lock is known as ours */
	if (dir == run->image)
		unlinkat(dir, "mbox.lock", 0);
	p->delivered[MESSAGES - 1] = deliver(dir, MESSAGES - 1);
	if (!p->delivered[MESSAGES - 1]) {
		broken++;
		fprintf(stderr, "crash-mbox: %s: seed %u: the next message "
		    "cannot be delivered\n", when, run->seed);
	}
	broken += check_promises(run, dir, when);
	p->delivered[MESSAGES - 1] = false;
	return broken;
}

/* Every second time with a message in the mbox. */
static void prepare(struct run *run)
{
	struct promise *p = run->promise;

	memset(p, 0, sizeof(*p));
	wipe(run->live);
	wipe(run->image);
	if (run->seed % 2)
		p->delivered[0] = deliver(run->live, 0);
	p->count = 1;
	must(shadow_reset(run->shadow, run->live), "shadow");
}

/* True: it died where it was told to. */
static bool go_once(struct run *run)
{
	int status;
	pid_t pid;

	run->promise->operations = 0;
	run->promise->finished = false;
	pid = fork();
	must(pid, "fork");
	if (pid == 0)
		live(run);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFSIGNALED(status) && !run->promise->finished) {
		fprintf(stderr, "crash-mbox: the child failed, status %d\n",
		    status);
		exit(2);
	}
	return WIFSIGNALED(status);
}

/* Kills, of which none or more. */
static unsigned long go(struct run *run, int *broken_r)
{
	unsigned seed = run->seed ^ 0x5bd1e995;
	int lives = 1 + rand_r(&seed) % LIVES;
	unsigned long kills = 0;

	prepare(run);
	for (int i = 0; i < lives; i++) {
		run->kill_at = 1 + (unsigned)rand_r(&seed) % OPERATIONS;
		run->kill_after = rand_r(&seed) % 2;
		run->fail_at = rand_r(&seed) % 2 ? 0
		    : 1 + (unsigned)rand_r(&seed) % OPERATIONS;
		kills += go_once(run);
	}
	if (shadow_overflowed(run->shadow)) {
		fprintf(stderr, "crash-mbox: the shadow's tables are full\n");
		exit(2);
	}
	must(shadow_cut(run->shadow, run->live, run->image,
	    (enum shadow_choice)(rand_r(&seed) % 3), &seed), "cut");
	*broken_r += check(run, run->image, "power cut");
	*broken_r += check(run, run->live, "kill");
	return kills;
}

static unsigned long storm(struct run *run, unsigned long kills,
    unsigned long runs_max, unsigned *seed, int *broken_r)
{
	unsigned long done = 0, runs = 0;

	while (done < kills && runs++ < runs_max) {
		run->seed = (unsigned)rand_r(seed);
		done += go(run, broken_r);
		if (run->order != ORDER_OURS && *broken_r > 0)
			break;
	}
	return done;
}

/* Every losing order has to be caught, else a pass would mean nothing. */
static int try_controls(struct run *run, unsigned *seed)
{
	int blind = 0;

	for (int order = 1; order < ORDER_COUNT; order++) {
		int caught = 0;
		unsigned long done;

		run->order = (enum order)order;
		done = storm(run, CONTROL_RUNS, CONTROL_RUNS, seed, &caught);
		printf("crash-mbox: %s: %s after %lu kills\n",
		    order_names[order], caught > 0 ? "caught" : "NOT CAUGHT",
		    done);
		blind += caught == 0;
	}
	run->order = ORDER_OURS;
	return blind;
}

/* Locks that were left are what the harness makes: they need no line each. */
static void silent(enum log_level level, struct str line, void *ctx)
{
	(void)level, (void)line, (void)ctx;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' },
		{ "seed", required_argument, NULL, 's' },
		{ "dir", required_argument, NULL, 'd' }, { 0 },
	};
	unsigned long kills = 10000, done;
	unsigned seed = (unsigned)clock_wall(), given;
	const char *base = "";
	int64_t start = clock_now();
	int c, blind, violations = 0;
	struct run run = { 0 };
	char root[128];

	while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1)
		switch (c) {
		case 'k': kills = strtoul(optarg, NULL, 10); break;
		case 's': seed = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'd': base = optarg; break;
		case 'v': verbose = true; break;
		default:
			fprintf(stderr, "usage: crash-mbox [--kills N] "
			    "[--seed S] [--dir DIR] [-v]\n");
			return 64;
		}
	given = seed;
	log_set_sink(silent, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	scratch_begin(base, root, &run.live, &run.image);
	make_queue_files(run.live);
	run.shadow = shadow_new();
	run.promise = shared(sizeof(*run.promise));
	must(run.shadow == NULL ? -1 : 0, "mmap");
	blind = try_controls(&run, &seed);
	done = storm(&run, kills, 4 * kills + 100, &seed, &violations);
	printf("crash-mbox: %s: %lu kills, %d violations, %.1f s, seed %u\n",
	    order_names[ORDER_OURS], done, violations,
	    (double)(clock_now() - start) / 1e6, given);
	scratch_end(root, run.live, run.image);
	return blind > 0 || violations > 0 || done < kills ? 1 : 0;
}
